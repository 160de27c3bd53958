//! Rates a similarity by the library itself: compares it with how near the library's tracks have their nearest neighbour by
//! another artist.
//!
//! After centring, noise is no farther from music than music is from music, so a sound that hardly changes is far as well
//! (`scripts/gates far`).

use ndarray::{Array2, aview1};
use serde::{Deserialize, Serialize};

use super::engine::OpenIndex;
use super::{Engine, EngineError, Seed};
use voisin_base::track::{TrackId, is_same_recording};
use voisin_index::{Neighbor, SearchParams};
use voisin_library::OpenMode;

const SAMPLE: usize = 1000;
/// Fewest tracks with a neighbour by another artist for percentiles to be computed.
const LEAST: usize = 20;
const REACH: usize = 64;
/// Share of the tracks that must change before the percentiles are measured again.
const RENEWAL_SHARE: f64 = 0.05;
const FAR_BELOW: u8 = 5;
const CLOSE_FROM: u8 = 50;

/// Percentiles 0 to 100 of how near the library's tracks are to others by another artist; empty if fewer than [`LEAST`]
/// tracks have such a neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nearness {
    space: String,
    /// The index generation at which it was measured, and the number of tracks then.
    generation: u64,
    tracks: u64,
    nearest: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    Same,
    /// Nearer than the nearest neighbours by another artist of at least half of the tracks.
    Close,
    Related,
    /// Farther than those of nearly all tracks.
    Far,
}

impl std::fmt::Display for Closeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::Close => "close",
            Self::Related => "related",
            Self::Far => "far",
        })
    }
}

#[derive(Debug, Clone)]
pub struct Standing {
    points: Vec<f32>,
    nearest: Option<f32>,
    is_steady: bool,
}

impl Standing {
    /// Percentage of the library's tracks whose nearest by another artist is no nearer than this; `None` in a library with
    /// too few tracks or artists.
    pub fn percentile(&self, similarity: f32) -> Option<u8> {
        let below = self.points.partition_point(|point| *point <= similarity);
        (!self.points.is_empty()).then(|| below.saturating_sub(1).min(100) as u8)
    }

    pub fn closeness(&self, similarity: f32) -> Option<Closeness> {
        // Before the percentile: a copy is the same recording, however dense the library is around
        // it.
        if is_same_recording(similarity) {
            return Some(Closeness::Same);
        }
        if self.is_steady {
            return Some(Closeness::Far);
        }
        Some(match self.percentile(similarity)? {
            ..FAR_BELOW => Closeness::Far,
            FAR_BELOW..CLOSE_FROM => Closeness::Related,
            _ => Closeness::Close,
        })
    }

    #[must_use]
    pub fn beside(self, similarities: impl IntoIterator<Item = f32>) -> Self {
        let nearest = similarities.into_iter().max_by(f32::total_cmp);
        Self { nearest, ..self }
    }

    /// A sentence for the user if no result is much like the query.
    pub fn far(&self) -> Option<String> {
        if self.closeness(self.nearest?) != Some(Closeness::Far) {
            return None;
        }
        let why = if self.is_steady {
            "it hardly changes from beginning to end, as a tone or noise"
        } else {
            "nearly all of your tracks have nearer neighbours"
        };
        Some(format!("nothing here sounds much like this: {why}"))
    }
}

fn percentiles(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    if values.len() < LEAST {
        return Vec::new();
    }
    let last = values.len() - 1;
    (0..=100)
        .map(|percent| {
            let place = percent as f32 / 100.0 * last as f32;
            let below = place.floor() as usize;
            let above = values[last.min(below + 1)];
            values[below] + place.fract() * (above - values[below])
        })
        .collect()
}

impl Engine {
    /// The measure of results for these seeds; `None` for a library that is too small, or whose mean is fixed, since it may
    /// be a part of a larger one.
    pub fn standing(&mut self, seeds: &[Seed]) -> Result<Option<Standing>, EngineError> {
        self.space()?;
        // A fixed mean comes from a larger collection: relative to it, this library's tracks would
        // seem closer to each other than they are.
        if self.library.mean()?.is_some_and(|mean| mean.is_fixed) {
            return Ok(None);
        }
        let points = self.nearness()?.nearest;
        // Several seeds are searched for by their mean, which is not the sound of any of them.
        let is_steady = match seeds {
            [seed] => self.is_steady(seed)?,
            _ => false,
        };
        Ok((!points.is_empty() || is_steady).then_some(Standing {
            points,
            nearest: None,
            is_steady,
        }))
    }

    /// The stored percentiles, or new ones, which are stored. The index must have been opened.
    pub(crate) fn nearness(&mut self) -> Result<Nearness, EngineError> {
        let name = format!("nearness.{}", self.model()?.fingerprint);
        let stamp = &self.opened().stamp;
        let is_current = |kept: &Nearness| {
            let changes = stamp.generation.abs_diff(kept.generation);
            kept.space == stamp.model_fingerprint
                && (changes == 0 || (changes as f64) < RENEWAL_SHARE * kept.tracks as f64)
        };
        let kept = self
            .library
            .setting(&name)?
            .and_then(|text| serde_json::from_str(&text).ok());
        if let Some(kept) = kept.filter(is_current) {
            return Ok(kept);
        }
        let measured = self.measure_nearness()?;
        if self.library.mode() != OpenMode::ReadOnly {
            // If it cannot be stored, it is measured again next time.
            let text = serde_json::to_string(&measured).unwrap_or_default();
            self.library.set_setting(&name, Some(&text)).ok();
        }
        Ok(measured)
    }

    fn measure_nearness(&self) -> Result<Nearness, EngineError> {
        let OpenIndex { index, stamp, .. } = self.opened();
        let tracks = index.ids();
        let sample: Vec<TrackId> = tracks
            .iter()
            .copied()
            // Spread over the ids, and so over the time at which tracks were added.
            .step_by(tracks.len().div_ceil(SAMPLE).max(1))
            .collect();
        let mut queries = Array2::zeros((sample.len(), stamp.dimension));
        for (mut row, &track) in queries.rows_mut().into_iter().zip(&sample) {
            if let Some(vector) = index.vector(track) {
                row.assign(&aview1(&vector));
            }
        }
        let found = index.search_batch(queries.view(), REACH, &SearchParams::default())?;
        let mut nearest = Vec::new();
        for (track, found) in sample.into_iter().zip(found) {
            nearest.extend(self.nearest_other(track, &found)?);
        }
        Ok(Nearness {
            space: stamp.model_fingerprint.clone(),
            generation: stamp.generation,
            tracks: tracks.len() as u64,
            nearest: percentiles(nearest),
        })
    }

    /// The similarity of the first neighbour that is by another artist and another recording.
    fn nearest_other(
        &self,
        track: TrackId,
        found: &[Neighbor],
    ) -> Result<Option<f32>, EngineError> {
        let artists = |id| Ok::<_, EngineError>(self.library.track(id)?.artist_keys());
        let own = artists(track)?;
        for near in found {
            if near.id != track && !is_same_recording(near.similarity) {
                let others = artists(near.id)?;
                if !own.iter().any(|artist| others.contains(artist)) {
                    return Ok(Some(near.similarity));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::SimilarOptions;
    use voisin_base::random::Random;
    use voisin_base::vector::make_unit;
    use voisin_library::StoredMean;
    use voisin_library::testing::{library, track};

    const DIMENSION: usize = 16;

    fn about(axis: usize, rng: &mut Random) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..DIMENSION).map(|_| 0.4 * (rng.f32() - 0.5)).collect();
        vector[axis] += 1.0;
        make_unit(&mut vector);
        vector
    }

    /// Artists with two tracks each, much more alike than tracks of different artists.
    fn engine(dir: &Path, artists: usize) -> Engine {
        let mut library = library(dir, DIMENSION);
        let mut rng = Random::new(3);
        for artist in 0..artists {
            let first = about(artist % 3, &mut rng);
            let mut second = first.clone();
            second[9] += 0.05;
            make_unit(&mut second);
            for (at, vector) in [first, second].into_iter().enumerate() {
                let mut new = track((2 * artist + at) as u64, vector);
                new.tags.artist = Some(format!("artist {artist}"));
                library.insert_track(&new).unwrap();
            }
        }
        Engine::from_library(library)
    }

    fn outside(vector: Vec<f32>) -> Seed {
        Seed {
            path: "x.wav".into(),
            is_named_file: true,
            ..Seed::of_vector(vector)
        }
    }

    fn standing(engine: &mut Engine, seed: &Seed) -> Standing {
        let seed = std::slice::from_ref(seed);
        let found = engine.similar(seed, &SimilarOptions::default()).unwrap();
        let standing = engine.standing(seed).unwrap().unwrap();
        standing.beside(found.iter().map(|found| found.similarity))
    }

    #[test]
    fn foreign_sounds_are_far_and_library_tracks_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), 60);
        for id in engine.library().track_ids().unwrap() {
            let seed = engine.seed_of(id).unwrap();
            assert_eq!(standing(&mut engine, &seed).far(), None);
        }
        let mut rng = Random::new(4);
        for axis in 0..3 {
            let known = outside(about(axis, &mut rng));
            assert_eq!(standing(&mut engine, &known).far(), None, "{axis}");
        }
        let outlier = outside(about(5, &mut rng));
        let far = standing(&mut engine, &outlier);
        let message =
            "nothing here sounds much like this: nearly all of your tracks have nearer neighbours";
        assert_eq!(far.far().as_deref(), Some(message));
        let nearest = far.nearest.unwrap();
        assert_eq!(
            (far.percentile(nearest), far.closeness(nearest)),
            (Some(0), Some(Closeness::Far))
        );
        // A copy of it, by any artist, prevents the note.
        let beside = far.beside([nearest, 0.999_99]);
        assert_eq!(beside.far(), None);
        assert_eq!(beside.closeness(0.999_99), Some(Closeness::Same));
        // A sound that never changes is far in the middle of a style.
        let steady = Seed {
            is_steady: Some(true),
            ..outside(about(0, &mut rng))
        };
        let message = standing(&mut engine, &steady).far().unwrap();
        assert!(message.ends_with("as a tone or noise"), "{message}");
    }

    #[test]
    fn small_and_partial_libraries_have_no_standing() {
        let dir = tempfile::tempdir().unwrap();
        let mut small = engine(dir.path(), 9);
        let seed = [small.seed_of(TrackId(1)).unwrap()];
        assert!(small.standing(&seed).unwrap().is_none());
        let dir = tempfile::tempdir().unwrap();
        let mut part = engine(dir.path(), 20);
        assert!(part.standing(&seed).unwrap().is_some());
        let values = part.space().unwrap().mean().to_vec();
        let fixed = StoredMean {
            values,
            tracks: 0,
            generation: 0,
            is_fixed: true,
        };
        part.library_mut().set_mean(&fixed).unwrap();
        assert!(part.standing(&seed).unwrap().is_none());
    }
}
