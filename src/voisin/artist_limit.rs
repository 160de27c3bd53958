//! Limits the number of tracks per artist.

use super::EngineError;
use voisin_base::track::TrackId;
use voisin_explore::NameLimit;
use voisin_library::{Library, Track, fold};

/// The artists that a track counts for: "A feat. B" counts for A and for B.
pub(super) fn artists_of(track: &Track) -> Vec<String> {
    track.artists().into_iter().map(fold).collect()
}

/// A limit of tracks per artist; tracks without an artist are not limited.
pub(super) struct ArtistLimit<'a> {
    library: &'a Library,
    taken: Option<NameLimit>,
}

impl<'a> ArtistLimit<'a> {
    pub(super) fn new(library: &'a Library, most: Option<usize>) -> Self {
        Self {
            library,
            taken: most.map(|most| NameLimit::new(Some(most))),
        }
    }

    /// The candidates, in order, that keep the limit together with all chosen before; reads the library once.
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
}
