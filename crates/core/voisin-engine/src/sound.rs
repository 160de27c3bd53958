//! Tempo, key and loudness in searches.

use super::{Engine, EngineError, Seed, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, MusicalKey, SortBy};

impl Engine {
    /// The keys that mix with those of the seeds; none where no key of a seed is known.
    pub fn compatible_keys(&self, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = self.library().descriptors(&tracks)?;
        let keys = known.values().filter_map(|known| known.key);
        Ok(keys.flat_map(MusicalKey::compatible).collect())
    }

    /// Sorts an answer by tempo, key (around the Camelot wheel) or loudness. Tracks of which it is not known come last, and
    /// equal ones stay in their order.
    #[doc(hidden)]
    pub fn sort_by_sound(&self, found: &mut [SimilarTrack], by: SortBy) -> Result<(), EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let known = self.library().descriptors(&ids)?;
        let read = |of: &Descriptors| match by {
            SortBy::Bpm => of.tempo,
            SortBy::Key => of
                .key
                .map(|key| f64::from(key.hour() * 2 + u8::from(!key.is_minor()))),
            SortBy::Loudness => of.loudness,
            _ => None,
        };
        let value = |found: &SimilarTrack| {
            known
                .get(&found.track.id)
                .and_then(read)
                .unwrap_or(f64::INFINITY)
        };
        found.sort_by(|a, b| value(a).total_cmp(&value(b)));
        Ok(())
    }
}
