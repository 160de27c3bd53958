//! No more than so many tracks of one artist.

use super::EngineError;
use voisin_base::track::TrackId;
use voisin_explore::NameLimit;
use voisin_library::{Library, Track, fold};

/// Whose a track is, to compare by: "A feat. B" is a song of A and of B.
pub(super) fn artists_of(track: &Track) -> Vec<String> {
    track.people().into_iter().map(fold).collect()
}

/// At most so many tracks of one artist; tracks whose artist is not known are not counted.
pub(super) struct ArtistLimit<'a> {
    library: &'a Library,
    /// `None`: as many as there are.
    taken: Option<NameLimit>,
}

impl<'a> ArtistLimit<'a> {
    pub(super) fn new(library: &'a Library, most: Option<usize>) -> Self {
        Self {
            library,
            taken: most.map(|most| NameLimit::new(Some(most))),
        }
    }

    /// The candidates, in order, that do not exceed the limit together with all chosen before; one read of the library.
    pub(super) fn choose<T>(
        &mut self,
        candidates: Vec<T>,
        track: impl Fn(&T) -> TrackId,
    ) -> Result<Vec<T>, EngineError> {
        let Some(taken) = &mut self.taken else {
            return Ok(candidates);
        };
        let ids: Vec<TrackId> = candidates.iter().map(track).collect();
        let tracks = self.library.tracks_by_id(&ids)?;
        let chosen = candidates
            .into_iter()
            .zip(tracks)
            .filter(|(_, track)| taken.admit(artists_of(track)));
        Ok(chosen.map(|(candidate, _)| candidate).collect())
    }

    /// The first `limit` candidates that may be chosen, best first.
    pub(super) fn first<T>(
        &mut self,
        candidates: impl IntoIterator<Item = T>,
        limit: usize,
        track: impl Fn(&T) -> TrackId,
    ) -> Result<Vec<T>, EngineError> {
        let mut chosen = Vec::new();
        let mut candidates = candidates.into_iter();
        while chosen.len() < limit {
            let some: Vec<T> = candidates
                .by_ref()
                // Three times as many as wanted, because the limit drops some and each round reads
                // the library.
                .take(limit.saturating_mul(3).saturating_add(10))
                .collect();
            if some.is_empty() {
                break;
            }
            chosen.extend(self.choose(some, &track)?);
        }
        chosen.truncate(limit);
        Ok(chosen)
    }
}
