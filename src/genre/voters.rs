//! A trained model among today's tracks.

use super::{
    Genre, GenreError, GenreModel, LabelledVectors, Unit, choose::sample_groups, core::Core, data::Examples,
};

/// Reference tracks, at most; more are sampled by whole groups.
const MOST: usize = 20_000;

impl GenreModel {
    /// Whether it looks at window vectors where a query has them.
    pub fn uses_windows(&self) -> bool {
        self.settings().members.iter().any(|member| member.unit == Unit::Window)
    }

    /// Lets these labelled tracks vote instead of those it was trained on; heads, spaces and fusion stay as they are.
    ///
    /// Removed tracks no longer vote, new ones do; genres that came since are left to the neighbours. Windows of the
    /// set are not looked at.
    pub fn with_voters(self, set: &LabelledVectors) -> Result<Self, GenreError> {
        if set.vectors.ncols() != self.dimension() {
            return Err(GenreError::Dimension {
                what: "vectors",
                expected: self.dimension(),
                found: set.vectors.ncols(),
            });
        }
        let set = LabelledVectors { windows: None, ..*set };
        let seed = self.core.settings.members.first().map_or(1, |member| member.head.seed);
        let examples = sample_groups(&Examples::new(&set)?, MOST, seed);
        let Core { mut settings, space, members, .. } = self.core;
        let headed: Vec<Genre> = settings.head_classes.iter().map(|&c| self.genres[c].clone()).collect();
        let mut genres = examples.genres.clone();
        genres.extend(headed.iter().filter(|g| examples.genres.binary_search(g).is_err()).cloned());
        genres.sort();
        let place = |genre: &Genre| genres.binary_search(genre).unwrap_or_default();
        // both lists are in the order of the keys, so the head's columns keep theirs
        settings.head_classes = headed.iter().map(place).collect();
        let places: Vec<usize> = examples.genres.iter().map(place).collect();
        let classes = examples.classes.iter().map(|own| own.iter().map(|&c| places[c]).collect()).collect();
        Ok(Self {
            core: Core::assemble(settings, space, members, examples.x, classes, genres.len()),
            genres,
            ids: examples.ids,
            groups: examples.groups,
            ..self
        })
    }
}
