//! A first guess of genres from the model's tags, for libraries with too few labels.

use std::path::Path;
use std::sync::Arc;

use super::answer::GenreAnswer;
use crate::{Embedder, Engine, EngineError, Seed};
use voisin_audio::tags::read_tags;
use voisin_genre::{DefaultGenres, LabelCount, Taxonomy, UnknownReason};
use voisin_library::stored_path;

/// Guesses genres by the model's tags; the result is "unknown" if the model has none.
pub struct FirstGuess {
    /// `None` without a model, or with one that lacks the fifty tags of the Million Song Dataset.
    guesser: Option<(DefaultGenres, Arc<Embedder>)>,
    pub(super) labelled: LabelCount,
}

impl FirstGuess {
    /// - `embedder`: `None`: the library's model is not on this machine
    /// - `labelled`: the number of labels, which is too small
    pub(super) fn new(embedder: Option<Arc<Embedder>>, labelled: LabelCount) -> Self {
        let genres = DefaultGenres::shipped(&Taxonomy::default());
        let has_tags = |embedder: &Arc<Embedder>| {
            let encoder = embedder.encoder();
            let tags = encoder.manifest().tags.as_deref().unwrap_or_default();
            // Tags of further networks of a model come after these.
            tags == genres.tags() && encoder.tags() >= tags.len()
        };
        let embedder = embedder.filter(has_tags);
        let guesser = embedder.map(|embedder| (genres, embedder));
        Self { guesser, labelled }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.guesser.is_some()
    }

    /// Guesses the genre of a file; one that `library` has the tags of is not read, and may be gone.
    pub fn classify(
        &self,
        library: Option<&Engine>,
        path: &Path,
    ) -> Result<GenreAnswer, EngineError> {
        let mut seed = Seed {
            path: stored_path(path),
            is_named_file: true,
            ..Seed::of_vector(Vec::new())
        };
        let Some((genres, embedder)) = &self.guesser else {
            return Ok(GenreAnswer::guessed(None, seed, self.labelled));
        };
        if let Some(engine) = library {
            seed.track = engine.library().find_by_path(path)?;
            let mut known = engine.stored_guess(genres, seed.clone(), self.labelled)?;
            if known.guess.is_some() {
                let tracks = engine.library().tracks_by_id(known.track.as_slice())?;
                known.labels = engine.genres_of(&tracks)?.concat();
                return Ok(known);
            }
        }
        let info = voisin_audio::probe(path)?;
        let embedded = embedder.embed(path, &info, embedder.plan())?;
        let guess = genres.guess(&embedded.logits[..genres.tags().len()])?;
        let mut answer = GenreAnswer::guessed(Some(guess), seed, self.labelled);
        let tags = read_tags(path).unwrap_or_default();
        answer.labels = Taxonomy::default().parse(&tags.genres);
        if embedded.is_steady == Some(true) {
            answer.reject(UnknownReason::Steady);
        }
        Ok(answer)
    }
}

impl Engine {
    /// A first guess from the tags that the library keeps of a track; nobody's answer without them.
    pub(crate) fn stored_guess(
        &self,
        genres: &DefaultGenres,
        seed: Seed,
        labelled: LabelCount,
    ) -> Result<GenreAnswer, EngineError> {
        let names = self.tag_names()?.unwrap_or_default();
        let mut logits = Vec::new();
        if names.starts_with(genres.tags()) {
            logits = self.tag_logits(&names, Some(seed.track.as_slice()))?;
        }
        let tags = logits.first().map(|(_, all)| &all[..genres.tags().len()]);
        let guess = tags.map(|tags| genres.guess(tags)).transpose()?;
        let is_steady = self.is_steady(&seed)?;
        let mut answer = GenreAnswer::guessed(guess, seed, labelled);
        // A tone or noise has no genre, whatever tags the model predicts.
        if is_steady {
            answer.reject(UnknownReason::Steady);
        }
        Ok(answer)
    }
}
