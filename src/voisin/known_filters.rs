//! A cache of the tracks that pass filters, valid until the library changes.

use std::time::SystemTime;

use voisin_library::{TrackFilter, TrackSet};

const MOST_KNOWN: usize = 16;

#[derive(Debug, PartialEq)]
pub(crate) struct FilterState {
    pub(crate) library: (i64, u64),
    pub(crate) source: String,
    pub(crate) synonyms: Option<(u64, SystemTime)>,
}

#[derive(Debug, Default)]
pub(crate) struct KnownFilters {
    state: Option<FilterState>,
    /// Least recently used first.
    sets: Vec<(TrackFilter, TrackSet)>,
}

impl KnownFilters {
    pub(crate) fn get(&mut self, state: &FilterState, filter: &TrackFilter) -> Option<TrackSet> {
        // A change of the library may affect every filter.
        if self.state.as_ref() != Some(state) {
            *self = Self::default();
        }
        let at = self.sets.iter().position(|(known, _)| known == filter)?;
        // The most recently used moves to the end.
        self.sets[at..].rotate_left(1);
        self.sets.last().map(|(_, set)| set.clone())
    }

    pub(crate) fn put(&mut self, state: FilterState, filter: &TrackFilter, set: &TrackSet) {
        if self.state.as_ref() != Some(&state) {
            *self = Self {
                state: Some(state),
                sets: Vec::new(),
            };
        }
        if self.sets.len() == MOST_KNOWN {
            self.sets.remove(0);
        }
        self.sets.push((filter.clone(), set.clone()));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    #[cfg(test)]
    pub(crate) fn last(&self) -> Option<&TrackFilter> {
        self.sets.last().map(|(filter, _)| filter)
    }
}
