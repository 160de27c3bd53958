//! No more than so many tracks of one artist.

use std::collections::HashMap;

use super::EngineError;
use voisin_base::track::TrackId;
use voisin_library::{Library, Track, fold};

/// Counts what has names, up to a limit for each.
pub(super) struct Limited {
    most: usize,
    taken: HashMap<String, usize>,
}

impl Limited {
    /// - `most`: `None`: as many as there are
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most: most.unwrap_or(usize::MAX), taken: HashMap::new() }
    }

    /// Whether none of these names has been taken as often as may be; without names there is room.
    pub(super) fn has_room(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.taken.get(name).is_none_or(|taken| *taken < self.most))
    }

    pub(super) fn take(&mut self, names: Vec<String>) {
        names.into_iter().for_each(|name| *self.taken.entry(name).or_default() += 1);
    }
}

/// At most so many tracks of one artist; tracks whose artist is not known are not counted.
pub(super) struct ArtistLimit<'a> {
    library: &'a Library,
    /// `None`: as many as there are.
    taken: Option<Limited>,
}

impl<'a> ArtistLimit<'a> {
    pub(super) fn new(library: &'a Library, most: Option<usize>) -> Self {
        Self { library, taken: most.map(|most| Limited::new(Some(most))) }
    }

    /// The candidates, in order, that do not exceed the limit together with all chosen before; one read of the library.
    pub(super) fn choose<T>(
        &mut self,
        candidates: Vec<T>,
        track: impl Fn(&T) -> TrackId,
    ) -> Result<Vec<T>, EngineError> {
        let Some(taken) = &mut self.taken else { return Ok(candidates) };
        let ids: Vec<TrackId> = candidates.iter().map(track).collect();
        let tracks = self.library.tracks_by_id(&ids)?;
        let mut admits = |track: &Track| {
            let artists: Vec<String> = track.people().into_iter().map(fold).collect();
            let admitted = taken.has_room(&artists);
            if admitted {
                taken.take(artists);
            }
            admitted
        };
        Ok(candidates.into_iter().zip(tracks).filter(|(_, track)| admits(track)).map(|pair| pair.0).collect())
    }

    /// The first `limit` candidates that may be chosen, best first.
    pub(super) fn first<T>(
        &mut self,
        candidates: Vec<T>,
        limit: usize,
        track: impl Fn(&T) -> TrackId,
    ) -> Result<Vec<T>, EngineError> {
        let mut chosen = Vec::new();
        let mut candidates = candidates.into_iter();
        while chosen.len() < limit {
            let some: Vec<T> = candidates.by_ref().take(limit.saturating_mul(3).saturating_add(10)).collect();
            if some.is_empty() {
                break;
            }
            chosen.extend(self.choose(some, &track)?);
        }
        chosen.truncate(limit);
        Ok(chosen)
    }
}
