//! Replaces the voters of a trained model.

use super::{
    Genre, GenreError, GenreModel, LabelledVectors, choose::sample_groups, data::Examples,
    fitted::Core,
};

/// Most reference tracks; more are sampled by whole groups.
const MOST: usize = 20_000;
/// Seed of the random numbers for the sample.
const SEED: u64 = 1;

impl GenreModel {
    /// The model with these labelled tracks as voters instead of the training tracks; head, space
    /// and fusion are unchanged.
    ///
    /// Removed tracks no longer vote, new ones do; new genres can be predicted only by
    /// neighbours.
    pub fn with_voters(self, set: &LabelledVectors) -> Result<Self, GenreError> {
        if set.vectors.ncols() != self.dimension() {
            return Err(GenreError::Dimension {
                what: "vectors",
                expected: self.dimension(),
                found: set.vectors.ncols(),
            });
        }
        let examples = sample_groups(&Examples::new(set)?, MOST, SEED);
        let Core {
            mut settings,
            space,
            head,
            ..
        } = self.core;
        let headed: Vec<Genre> = settings
            .head_classes
            .iter()
            .map(|&c| self.genres[c].clone())
            .collect();
        let mut genres = examples.genres.clone();
        genres.extend(
            headed
                .iter()
                .filter(|g| examples.genres.binary_search(g).is_err())
                .cloned(),
        );
        genres.sort();
        let place = |genre: &Genre| genres.binary_search(genre).unwrap_or_default();
        // Both lists are ordered by key, so that the head's columns keep their order.
        settings.head_classes = headed.iter().map(place).collect();
        let places: Vec<usize> = examples.genres.iter().map(place).collect();
        let classes: Vec<Vec<usize>> = examples
            .classes
            .iter()
            .map(|classes| classes.iter().map(|&c| places[c]).collect())
            .collect();
        Ok(Self {
            core: Core::assemble(settings, space, head, examples.x, classes, genres.len()),
            genres,
            ids: examples.ids,
            groups: examples.groups,
            ..self
        })
    }
}
