//! Tempo, key, loudness and scales in searches.

use super::{Engine, EngineError, Seed, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, MusicalKey, SortBy};

impl Engine {
    /// The keys that mix with those of the seeds; empty if no key of a seed is known.
    pub fn compatible_keys(&self, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = self.library().derived().descriptors(&tracks)?;
        let keys = known.values().filter_map(|known| known.key);
        Ok(keys.flat_map(MusicalKey::compatible).collect())
    }

    /// Sorts results by tempo, key (around the Camelot wheel), loudness or a scale. Tracks without a value come last, and
    /// equal ones keep their order.
    #[doc(hidden)]
    pub fn sort_by_sound(&self, found: &mut [SimilarTrack], by: SortBy) -> Result<(), EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let known = self.library().derived().descriptors(&ids)?;
        let read = |descriptors: &Descriptors| match by {
            SortBy::Bpm => descriptors.tempo,
            SortBy::Key => descriptors
                .key
                .map(|key| f64::from(key.hour() * 2 + u8::from(!key.is_minor()))),
            SortBy::Loudness => descriptors.loudness,
            SortBy::Scale(scale) => descriptors.scales.get(&scale).map(|value| value.value),
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
