//! The trained genre head of a library: trains, stores, renews and applies it.

use std::path::PathBuf;

use super::labels::{LabelSource, LabelledTracks};
use crate::{Engine, EngineError};
use voisin_genre::{FitOptions, GenreModel, Provenance};

/// Name of the trained head inside a library's folder.
pub const GENRE_MODEL_FILE: &str = "genre.safetensors";

/// Share of changed labels from which `voisin classify` trains the head again.
pub const RETRAIN_SHARE: f64 = 0.1;

/// A trained head with its origin.
#[derive(Debug, Clone)]
pub struct GenreHead {
    pub model: GenreModel,
    pub provenance: Provenance,
}

impl GenreHead {
    /// Where its labels came from.
    pub fn source(&self) -> LabelSource {
        // Every text is a source, so parsing cannot fail.
        let Ok(source) = self.provenance.labels.parse();
        source
    }
}

impl Engine {
    pub fn genre_model_path(&self) -> PathBuf {
        self.library().dir().join(GENRE_MODEL_FILE)
    }

    /// Trains a head on the stored vectors of the library's labelled tracks, and saves it in the library's folder.
    pub fn train_genre(
        &self,
        source: &LabelSource,
        options: &FitOptions,
    ) -> Result<(GenreHead, LabelledTracks), EngineError> {
        // Absolute, because it is stored with the head, which may be trained again from another folder.
        let source = source.absolute();
        let tracks = self.labelled_tracks(&source)?;
        Ok((self.fit_genre(&tracks, &source, options)?, tracks))
    }

    /// The trained head, if there is one; an error if it cannot be used.
    pub fn genre_head(&self) -> Result<Option<GenreHead>, EngineError> {
        let path = self.genre_model_path();
        if !path.exists() {
            return Ok(None);
        }
        let (model, provenance) = GenreModel::load(&path, &self.model()?.fingerprint)?;
        Ok(Some(GenreHead { model, provenance }))
    }

    pub(super) fn fit_genre(
        &self,
        tracks: &LabelledTracks,
        source: &LabelSource,
        options: &FitOptions,
    ) -> Result<GenreHead, EngineError> {
        let fingerprint = self.model()?.fingerprint;
        let (model, _) = GenreModel::fit(&tracks.set(), options)?;
        let provenance = Provenance::new(
            &fingerprint,
            &source.to_string(),
            options,
            &tracks.ids,
            &tracks.labels,
        );
        model.save(&self.genre_model_path(), &provenance)?;
        Ok(GenreHead { model, provenance })
    }
}
