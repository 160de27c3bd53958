//! The trained genre head of a library: trains, stores, renews and applies it.

use std::ops::Deref;
use std::path::PathBuf;

use super::answer::{Finding, GenreAnswer};
use super::labels::{GroupBy, LabelSource, LabelledTracks};
use super::vote::Voters;
use crate::parts::EngineGenres;
use crate::seed::stacked;
use crate::{Engine, EngineError, Seed};
use voisin_base::track::{SAME_RECORDING, TrackId};
use voisin_genre::{
    FitOptions, GenreModel, LabelCount, PredictOptions, Provenance, QueryVectors, Recipe,
};

/// Name of the trained head inside a library's folder.
pub const GENRE_MODEL_FILE: &str = "genre.safetensors";

/// Share of changed labels from which `voisin classify` trains the head again.
pub const RETRAIN_SHARE: f64 = 0.1;

/// Tracks per batch, which bounds the memory for their vectors.
const BATCH: usize = 1000;

/// A trained head with its origin.
#[derive(Debug, Clone)]
pub struct GenreHead {
    /// The model.
    #[doc(hidden)]
    pub model: GenreModel,
    /// Where it comes from.
    #[doc(hidden)]
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

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// The path of the trained head.
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
        let tracks = self.labelled_tracks(&source, GroupBy::Artist)?;
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
}

impl Engine {
    fn fit_genre(
        &self,
        tracks: &LabelledTracks,
        source: &LabelSource,
        options: &FitOptions,
    ) -> Result<GenreHead, EngineError> {
        let fingerprint = self.model()?.fingerprint;
        let (model, _) = GenreModel::fit(&tracks.set(), options)?;
        let mut provenance = Provenance::new(
            &fingerprint,
            &source.to_string(),
            &tracks.ids,
            &tracks.labels,
        );
        let min_tracks = options.min_tracks;
        let folds = options.folds;
        let seed = options.seed;
        provenance.recipe = Some(Recipe {
            min_tracks,
            folds,
            seed,
        });
        model.save(&self.genres().genre_model_path(), &provenance)?;
        Ok(GenreHead { model, provenance })
    }

    /// Trains a head again with the same options on the current labels.
    ///
    /// - `tracks`: with the labels of the head's source
    pub(super) fn retrain_genre(
        &self,
        head: &GenreHead,
        tracks: &LabelledTracks,
    ) -> Result<GenreHead, EngineError> {
        // A head of an older version has no recipe and is trained with the current defaults.
        let mut options = FitOptions::default();
        if let Some(recipe) = head.provenance.recipe {
            (options.min_tracks, options.folds) = (recipe.min_tracks, recipe.folds);
            options.seed = recipe.seed;
        }
        self.fit_genre(tracks, &head.source(), &options)
    }

    /// Predicts the genres of tracks by the trained head and the current labelled tracks.
    ///
    /// Neither a track nor its copies vote for itself.
    ///
    /// - `head`: with current voters, see [`GenreModel::with_voters`]
    /// - `labelled`: the number of labelled tracks
    pub(super) fn predict_by_head(
        &self,
        head: &GenreModel,
        voters: &Voters,
        labelled: LabelCount,
        seeds: Vec<Seed>,
        options: &PredictOptions,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        let mut answers = Vec::with_capacity(seeds.len());
        let mut ballots = voters.ballots(self)?;
        let mut seeds = seeds.into_iter();
        loop {
            let batch: Vec<Seed> = seeds.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(answers);
            }
            let vectors = stacked(&batch, head.dimension())?;
            let ids: Vec<Option<TrackId>> = batch.iter().map(|seed| seed.track).collect();
            let queries = QueryVectors {
                ids: &ids,
                same_recording: Some(SAME_RECORDING),
                ..QueryVectors::of(vectors.view())
            };
            for (seed, prediction) in batch.into_iter().zip(head.predict(&queries, options)?) {
                let evidence = ballots.evidence(self, &prediction.votes.voters)?;
                let finding = Finding::Head {
                    prediction: Box::new(prediction),
                    evidence,
                };
                answers.push(GenreAnswer::new(seed, labelled, finding));
            }
        }
    }
}
