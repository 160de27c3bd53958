//! A first guess from the model's tags, for music that nobody has labelled yet.

use std::path::Path;
use std::sync::Arc;

use super::answer::{Finding, GenreAnswer};
use crate::audio;
use crate::engine::{DEFAULT_WINDOWS, Embedder, Engine, EngineError, WindowPlan};
use crate::genre::{DefaultGenres, Genre, GenreError, Taxonomy};

/// Guesses genres by listening for the model's tags.
pub struct FirstGuess {
    genres: DefaultGenres,
    embedder: Arc<Embedder>,
    windows: WindowPlan,
    among: Vec<Genre>,
}

impl FirstGuess {
    /// `None` where the model has other tags than the fifty of the Million Song Dataset.
    ///
    /// - `engine`: the library whose windows setting is used, if there is a library
    /// - `among`: the genres that an answer may be; none: all
    ///
    /// # Errors
    /// `among` names a genre that no guess can be.
    pub(super) fn new(
        engine: Option<&Engine>,
        embedder: Arc<Embedder>,
        among: &[Genre],
    ) -> Result<Option<Self>, EngineError> {
        let genres = DefaultGenres::shipped(&Taxonomy::default())?;
        let encoder = embedder.encoder();
        let tags = encoder.manifest().tags.as_deref().unwrap_or_default();
        // What further networks of a model say comes behind.
        if tags != genres.tags() || encoder.tags() < tags.len() {
            return Ok(None);
        }
        GenreError::check_among(among, genres.genres().map(|(genre, _)| genre))?;
        let windows = engine.map_or(Ok(DEFAULT_WINDOWS), Engine::windows_setting)?;
        Ok(Some(Self { genres, embedder, windows, among: among.to_vec() }))
    }

    /// Listens to a file.
    pub fn listen(&self, path: &Path) -> Result<GenreAnswer, EngineError> {
        let info = audio::probe(path)?;
        let logits = self.embedder.tag_logits(path, &info, self.windows)?;
        let guess = self.genres.guess(&logits[..self.genres.tags().len()], &self.among)?;
        Ok(GenreAnswer {
            track: None,
            path: path.to_owned(),
            is_named_file: true,
            is_limited: !self.among.is_empty(),
            finding: Finding::FirstGuess(guess),
        })
    }
}
