//! A trained model among today's tracks.

use super::{
    Genre, GenreError, GenreModel, LabelledVectors, Nesting, choose::sample_groups, data::Examples,
    fitted::Core,
};

/// Reference tracks, at most; more are sampled by whole groups.
const MOST: usize = 20_000;
/// Start of the random numbers that sample them.
const SEED: u64 = 1;

impl GenreModel {
    /// Lets these labelled tracks vote instead of those it was trained on; head, space and fusion
    /// stay as they are.
    ///
    /// Removed tracks no longer vote, new ones do; genres that came since are left to the
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
        // both lists are in the order of the keys, so the head's columns keep theirs
        settings.head_classes = headed.iter().map(place).collect();
        let places: Vec<usize> = examples.genres.iter().map(place).collect();
        let classes: Vec<Vec<usize>> = examples
            .classes
            .iter()
            .map(|classes| classes.iter().map(|&c| places[c]).collect())
            .collect();
        Ok(Self {
            nesting: Nesting::new(genres.clone(), &classes),
            core: Core::assemble(settings, space, head, examples.x, classes, genres.len()),
            genres,
            ids: examples.ids,
            groups: examples.groups,
            ..self
        })
    }
}
