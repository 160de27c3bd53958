//! The tracks that fit a filter, kept until something changes.

use std::time::SystemTime;

use voisin_library::{TrackFilter, TrackSet};

/// Filters whose tracks are kept.
const MOST_KNOWN: usize = 16;

/// The state that the tracks of a filter depend on.
#[derive(Debug, PartialEq)]
pub(crate) struct FilterState {
    /// Of the database.
    pub(crate) library: (i64, u64),
    /// Where labels come from.
    pub(crate) source: String,
    /// Length and time of the user's tables.
    pub(crate) tables: [Option<(u64, SystemTime)>; 2],
}

/// Tracks that fit filters, in one state of the library: a bit each.
#[derive(Debug, Default)]
pub(crate) struct KnownFilters {
    of: Option<FilterState>,
    /// The one that was asked for last is last.
    sets: Vec<(TrackFilter, TrackSet)>,
}

impl KnownFilters {
    pub(crate) fn get(&mut self, state: &FilterState, filter: &TrackFilter) -> Option<TrackSet> {
        // One change of the library may change any filter's tracks: all of them go.
        if self.of.as_ref() != Some(state) {
            *self = Self::default();
        }
        let at = self.sets.iter().position(|(known, _)| known == filter)?;
        // The filter that was used last moves to the end, where it is dropped last.
        self.sets[at..].rotate_left(1);
        self.sets.last().map(|(_, set)| set.clone())
    }

    pub(crate) fn put(&mut self, state: FilterState, filter: &TrackFilter, set: &TrackSet) {
        if self.of.as_ref() != Some(&state) {
            *self = Self {
                of: Some(state),
                sets: Vec::new(),
            };
        }
        // The first is the one that was used longest ago.
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
