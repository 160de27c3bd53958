//! Tempo, key, loudness and scales in searches.

use std::collections::BTreeMap;

use super::artist_limit::ArtistLimit;
use super::{Engine, EngineError, Seed, SimilarOptions, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, MusicalKey, ScaleName, ScaleOrigin, Scales, SortBy};

/// Candidates for a list by feel: per track of the list, and at least.
const FEEL_REACH: usize = 20;
const FEEL_LEAST: usize = 200;

/// The means of the seeds' energy and of their learned scales, at least one of which exists.
pub(super) struct Feel {
    means: Vec<(ScaleName, f64)>,
}

impl Feel {
    /// The mean difference of a track's values from these, 0 to 1.
    fn off(&self, scales: Option<&Scales>) -> f64 {
        let off = |(name, mean): &(ScaleName, f64)| {
            let scale = scales.and_then(|scales| scales.get(name));
            scale.map_or(0.5, |scale| (scale.value - mean).abs() / 100.0)
        };
        self.means.iter().map(off).sum::<f64>() / self.means.len() as f64
    }
}

impl Engine {
    /// The keys that mix with those of the seeds; empty if no key of a seed is known.
    pub fn compatible_keys(&self, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = self.library().derived().descriptors(&tracks)?;
        let keys = known.values().filter_map(|known| known.key);
        Ok(keys.flat_map(MusicalKey::compatible).collect())
    }

    /// As [`similar`](Self::similar), reranked by feel: the nearest tracks with the greatest similarity minus `feel` times the
    /// mean difference (0 to 1) of their energy and learned scales from the seeds' means; best first. An unknown value counts
    /// as a difference of half the scale.
    ///
    /// # Errors
    /// Neither the energy nor a learned scale of any seed is known.
    pub fn similar_in_feel(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
        feel: f32,
    ) -> Result<Vec<SimilarTrack>, EngineError> {
        let seeds_feel = self.feel_of(seeds)?.ok_or(EngineError::NoEnergy)?;
        let wide = SimilarOptions {
            // Wider than the result, because feel reorders it; without the limit per artist, which
            // might drop the tracks that feel prefers.
            limit: options.limit.saturating_mul(FEEL_REACH).max(FEEL_LEAST),
            max_per_artist: None,
            ..options.clone()
        };
        let found = self.similar(seeds, &wide)?;
        let near = |found: &SimilarTrack| (found.track.id, found.similarity);
        let found = self.in_order_of_feel(found, &seeds_feel, feel, near)?;
        let mut artists = ArtistLimit::new(self.library(), options.max_per_artist);
        artists.first(found, options.limit, |found| found.track.id)
    }

    /// The feel of the seeds; `None` if no value is known.
    pub(super) fn feel_of(&self, seeds: &[Seed]) -> Result<Option<Feel>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let mut values: BTreeMap<ScaleName, Vec<f64>> = BTreeMap::new();
        for scales in self.library().scales().values(&tracks)?.into_values() {
            for (name, scale) in scales {
                if name.as_str() == "energy" || scale.origin != ScaleOrigin::Measured {
                    values.entry(name).or_default().push(scale.value);
                }
            }
        }
        let means = values.into_iter().map(|(name, values)| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (name, mean)
        });
        let means: Vec<_> = means.collect();
        Ok((!means.is_empty()).then_some(Feel { means }))
    }

    /// Sorts tracks by similarity minus `weight` times their difference in feel.
    ///
    /// - `near`: returns a track and its similarity
    pub(super) fn in_order_of_feel<T>(
        &self,
        found: Vec<T>,
        feel: &Feel,
        weight: f32,
        near: impl Fn(&T) -> (TrackId, f32),
    ) -> Result<Vec<T>, EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| near(found).0).collect();
        let known = self.library().scales().values(&ids)?;
        let scored = found.into_iter().map(|found| {
            let (id, similarity) = near(&found);
            (similarity - weight * feel.off(known.get(&id)) as f32, found)
        });
        let mut scored: Vec<(f32, T)> = scored.collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(scored.into_iter().map(|(_, found)| found).collect())
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
