//! A first guess of genres from the model's tags, for libraries with too few labels.

use std::path::Path;
use std::sync::Arc;

use super::answer::GenreAnswer;
use crate::{Embedder, Engine, EngineError, Seed, WindowPlan};
use voisin_genre::{DefaultGenres, Guess, LabelCount, Taxonomy, UnknownReason};
use voisin_library::stored_path;

/// Guesses genres by the model's tags; the result is "unknown" if the model has none.
pub struct FirstGuess {
    guesser: Option<Guesser>,
    labelled: LabelCount,
}

struct Guesser {
    genres: DefaultGenres,
    embedder: Arc<Embedder>,
    windows: WindowPlan,
}

impl FirstGuess {
    /// - `engine`: the library whose windows setting is used, if there is one
    /// - `embedder`: `None`: the library's model is not on this machine
    /// - `labelled`: the number of labels, which is too small
    pub(super) fn new(
        engine: Option<&Engine>,
        embedder: Option<Arc<Embedder>>,
        labelled: LabelCount,
    ) -> Result<Self, EngineError> {
        let guesser = embedder.map_or(Ok(None), |embedder| Guesser::new(engine, embedder))?;
        Ok(Self { guesser, labelled })
    }

    pub(super) fn labelled(&self) -> LabelCount {
        self.labelled
    }

    pub(super) fn is_possible(&self) -> bool {
        self.guesser.is_some()
    }

    /// Analyses a file and guesses its genre.
    pub fn classify(&self, path: &Path) -> Result<GenreAnswer, EngineError> {
        let guessed = match &self.guesser {
            Some(guesser) => Some(guesser.guess(path)?),
            None => None,
        };
        let (guess, is_steady) = guessed.unzip();
        let seed = Seed {
            path: stored_path(path),
            is_named_file: true,
            ..Seed::of_vector(Vec::new())
        };
        let mut answer = GenreAnswer::guessed(guess, seed, self.labelled);
        if is_steady == Some(true) {
            answer.reject(UnknownReason::Steady);
        }
        Ok(answer)
    }
}

impl Guesser {
    /// `None` unless the model has the fifty tags of the Million Song Dataset.
    fn new(engine: Option<&Engine>, embedder: Arc<Embedder>) -> Result<Option<Self>, EngineError> {
        let genres = DefaultGenres::shipped(&Taxonomy::default())?;
        let encoder = embedder.encoder();
        let tags = encoder.manifest().tags.as_deref().unwrap_or_default();
        // Tags of further networks of a model come after these.
        if tags != genres.tags() || encoder.tags() < tags.len() {
            return Ok(None);
        }
        let windows = engine.map_or(Ok(WindowPlan::default()), Engine::windows_setting)?;
        Ok(Some(Self {
            genres,
            embedder,
            windows,
        }))
    }

    /// A guess, and whether the sound never changes.
    fn guess(&self, path: &Path) -> Result<(Guess, bool), EngineError> {
        let info = voisin_audio::probe(path)?;
        let embedded = self.embedder.embed_seed(path, &info, self.windows)?;
        let tags = &embedded.logits[..self.genres.tags().len()];
        Ok((
            self.genres.guess(tags)?,
            embedded.is_steady.unwrap_or(false),
        ))
    }
}
