//! A first guess from the model's tags, where too little music is labelled to tell genres by.

use std::path::Path;
use std::sync::Arc;

use super::answer::{Finding, GenreAnswer};
use crate::{Embedder, Engine, EngineError, WindowPlan};
use voisin_genre::{DefaultGenres, Genre, GenreError, Guess, LabelCount, Taxonomy, UnknownReason};
use voisin_library::stored_path;

/// Guesses genres by listening for the model's tags; answers "unknown" where the model has none.
pub struct FirstGuess {
    guesser: Option<Guesser>,
    is_limited: bool,
    labelled: LabelCount,
}

struct Guesser {
    genres: DefaultGenres,
    embedder: Arc<Embedder>,
    windows: WindowPlan,
    among: Vec<Genre>,
}

impl FirstGuess {
    /// - `engine`: the library whose windows setting is used, if there is a library
    /// - `embedder`: `None`: the library's model is not on this machine
    /// - `among`: the genres that an answer may be; none: all
    /// - `labelled`: why the library's own labels do not answer
    ///
    /// # Errors
    /// `among` names a genre that no guess can be.
    pub(super) fn new(
        engine: Option<&Engine>,
        embedder: Option<Arc<Embedder>>,
        among: &[Genre],
        labelled: LabelCount,
    ) -> Result<Self, EngineError> {
        let guesser =
            embedder.map_or(Ok(None), |embedder| Guesser::new(engine, embedder, among))?;
        Ok(Self {
            guesser,
            is_limited: !among.is_empty(),
            labelled,
        })
    }

    /// Why the library's own labels do not answer.
    pub(super) fn labelled(&self) -> LabelCount {
        self.labelled
    }

    /// Whether it can only say that nothing is known.
    pub(super) fn is_mute(&self) -> bool {
        self.guesser.is_none()
    }

    /// Listens to a file.
    pub fn listen(&self, path: &Path) -> Result<GenreAnswer, EngineError> {
        let (finding, rejected) = match &self.guesser {
            Some(guesser) => {
                let (guess, is_steady) = guesser.listen(path)?;
                (
                    Finding::FirstGuess(guess),
                    is_steady.then_some(UnknownReason::Steady),
                )
            }
            None => (Finding::Nobody, None),
        };
        Ok(GenreAnswer {
            before_doubt: None,
            track: None,
            path: stored_path(path),
            is_named_file: true,
            is_limited: self.is_limited,
            labelled: self.labelled,
            familiar: None,
            sounds_like: None,
            rejected,
            finding,
        })
    }
}

impl Guesser {
    /// `None` where the model has other tags than the fifty of the Million Song Dataset.
    fn new(
        engine: Option<&Engine>,
        embedder: Arc<Embedder>,
        among: &[Genre],
    ) -> Result<Option<Self>, EngineError> {
        let genres = DefaultGenres::shipped(&Taxonomy::default())?;
        let encoder = embedder.encoder();
        let tags = encoder.manifest().tags.as_deref().unwrap_or_default();
        // Tags of further networks of a model come behind.
        if tags != genres.tags() || encoder.tags() < tags.len() {
            return Ok(None);
        }
        GenreError::check_among(among, genres.genres().map(|(genre, _)| genre))?;
        let windows = engine.map_or(Ok(WindowPlan::default()), Engine::windows_setting)?;
        Ok(Some(Self {
            genres,
            embedder,
            windows,
            among: among.to_vec(),
        }))
    }

    /// A guess, and whether the sound never changes.
    fn listen(&self, path: &Path) -> Result<(Guess, bool), EngineError> {
        let info = voisin_audio::probe(path)?;
        let (logits, is_steady) = self.embedder.tag_logits(path, &info, self.windows)?;
        Ok((
            self.genres
                .guess(&logits[..self.genres.tags().len()], &self.among)?,
            is_steady,
        ))
    }
}
