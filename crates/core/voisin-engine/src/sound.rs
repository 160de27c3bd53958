//! Tempo, key, loudness and scales in searches.

use std::collections::HashMap;

use super::artist_limit::ArtistLimit;
use super::{Engine, EngineError, Seed, SimilarOptions, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, MusicalKey, Scales, SortBy};

/// Tracks that are looked at for a list that is alike in feel, for each of the list, and at least.
const FEEL_REACH: usize = 20;
const FEEL_LEAST: usize = 200;

impl Engine {
    /// The keys that mix with those of the seeds; none where no key of a seed is known.
    pub fn compatible_keys(&self, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = self.library().descriptors(&tracks)?;
        let keys = known.values().filter_map(|known| known.key);
        Ok(keys.flat_map(MusicalKey::compatible).collect())
    }

    /// As [`similar`](Self::similar), among tracks that are alike in energy, too: of the nearest ones those whose similarity,
    /// less `feel` times the difference of their energy (0 to 1) to the seeds' mean, is greatest; best first. A track whose
    /// energy is not known counts as if it were half of the scale away.
    ///
    /// # Errors
    /// The energy of no seed is known.
    pub fn similar_in_feel(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
        feel: f32,
    ) -> Result<Vec<SimilarTrack>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let of_seeds = self.energies(&tracks)?;
        if of_seeds.is_empty() {
            return Err(EngineError::NoEnergy);
        }
        let mean = of_seeds.values().sum::<f64>() / of_seeds.len() as f64;
        let wide = SimilarOptions {
            limit: options.limit.saturating_mul(FEEL_REACH).max(FEEL_LEAST),
            max_per_artist: None,
            ..options.clone()
        };
        let found = self.similar(seeds, &wide)?;
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let known = self.energies(&ids)?;
        let score = |found: &SimilarTrack| {
            let energy = known.get(&found.track.id);
            let off = energy.map_or(0.5, |energy| (energy - mean).abs() / 100.0);
            found.similarity - feel * off as f32
        };
        let mut found: Vec<(f32, SimilarTrack)> = found
            .into_iter()
            .map(|found| (score(&found), found))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut artists = ArtistLimit::new(self.library(), options.max_per_artist);
        let chosen = artists.first(found, options.limit, |(_, found)| found.track.id)?;
        Ok(chosen.into_iter().map(|(_, found)| found).collect())
    }

    fn energies(&self, tracks: &[TrackId]) -> Result<HashMap<TrackId, f64>, EngineError> {
        let known = self.library().scales(tracks)?;
        let energy = |scales: Scales| {
            let (_, value) = scales
                .into_iter()
                .find(|(name, _)| name.as_str() == "energy")?;
            Some(value.value)
        };
        let known = known
            .into_iter()
            .filter_map(|(id, scales)| Some((id, energy(scales)?)));
        Ok(known.collect())
    }

    /// Sorts an answer by tempo, key (around the Camelot wheel), loudness or a scale. Tracks of which it is not known come last, and
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
            SortBy::Scale(scale) => of.scales.get(&scale).map(|value| value.value),
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
