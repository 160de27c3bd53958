//! Rates a similarity by the library itself: compares it with how near the library's tracks have their nearest neighbour by
//! another artist.
//!
//! [`Standing::far`] decides separately whether anything is near at all. After centring, noise is no farther from music than
//! music is from music; so it compares raw vectors, over several neighbours, and checks whether the sound changes over time.
//! The rule was chosen on music and noise from outside the library (`scripts/gates far`).

use std::collections::HashMap;

use ndarray::{Array2, aview1};
use serde::{Deserialize, Serialize};

use super::{Engine, EngineError, Seed, SimilarOptions};
use voisin_base::track::{TrackId, is_same_recording};
use voisin_base::vector::{dot, make_unit};
use voisin_index::{Neighbor, SearchParams};
use voisin_library::{OpenMode, TrackSet, fold};

/// Most tracks in the sample that the percentiles are measured on.
const SAMPLE: usize = 1000;
/// Fewest tracks with a neighbour by another artist for percentiles to be computed.
const LEAST: usize = 20;
/// Neighbours to fetch: first, and again if too few of the first are by other artists.
const REACH: [usize; 2] = [24, 64];
/// Neighbours by other artists over which the mean raw cosine is taken.
const AROUND: usize = 10;
/// Share of the tracks that must change before the percentiles are measured again.
const RENEWAL_SHARE: f64 = 0.05;
/// Similarities below this percentile are [`Closeness::Far`].
const FAR_BELOW: u8 = 5;
/// Similarities from this percentile on are [`Closeness::Close`].
const CLOSE_FROM: u8 = 50;

/// Percentiles 0 to 100 of how near the library's tracks are to others by another artist; empty if fewer than [`LEAST`]
/// tracks have such a neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nearness {
    /// The space that it was measured in.
    space: String,
    /// The index generation at which it was measured, and the number of tracks then.
    generation: u64,
    tracks: u64,
    /// Similarity to the nearest.
    nearest: Vec<f32>,
    /// Mean cosine of raw vectors to the [`AROUND`] nearest.
    around: Vec<f32>,
}

/// A similarity as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// The same recording.
    Same,
    /// Nearer than the nearest neighbours by another artist of at least half of the tracks.
    Close,
    /// In between.
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

/// How near the query is to the tracks that pass the filters, compared with the rest of the library.
#[derive(Debug, Clone)]
pub struct Standing {
    nearness: Nearness,
    /// Percentage of the tracks that are as far from all others; `None` if no track by another artist passes the filters.
    share: Option<u8>,
    /// Similarity of the nearest track by another artist.
    nearest: Option<f32>,
    /// Similarity of the nearest result, by any artist.
    first: Option<f32>,
    /// The query hardly changes from beginning to end, and most of its neighbours do.
    is_steady: bool,
    is_filtered: bool,
}

impl Standing {
    /// Percentage of the library's tracks whose nearest by another artist is no nearer than this; `None` in a library with
    /// too few tracks or artists.
    pub fn percentile(&self, similarity: f32) -> Option<u8> {
        let points = &self.nearness.nearest;
        (!points.is_empty()).then(|| percentile(points, similarity))
    }

    /// The same as a word; [`Related`](Closeness::Related) becomes far where [`far`](Self::far) says that nothing is near.
    pub fn closeness(&self, similarity: f32) -> Option<Closeness> {
        let closeness = self.closeness_alone(similarity)?;
        let is_denied = closeness == Closeness::Related && self.far().is_some();
        Some(if is_denied { Closeness::Far } else { closeness })
    }

    /// The word for a similarity, regardless of the other results.
    fn closeness_alone(&self, similarity: f32) -> Option<Closeness> {
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

    /// Adds the results: if the nearest of them is close, [`far`](Self::far) returns nothing.
    ///
    /// - `similarities`: of the results
    #[must_use]
    pub fn beside(self, similarities: impl IntoIterator<Item = f32>) -> Self {
        let first = similarities.into_iter().max_by(f32::total_cmp);
        Self { first, ..self }
    }

    /// Whether a result is close, or with filters any track that passes them.
    fn has_close(&self) -> bool {
        let filtered = self.nearest.filter(|_| self.is_filtered);
        let nearest = filtered.into_iter().chain(self.first);
        nearest
            .filter_map(|similarity| self.closeness_alone(similarity))
            .any(|closeness| matches!(closeness, Closeness::Same | Closeness::Close))
    }

    /// A sentence for the user if no track that passes the filters is much like the query.
    pub fn far(&self) -> Option<String> {
        let nothing = if self.is_filtered {
            "nothing that passes the filters sounds much like this"
        } else {
            "nothing here sounds much like this"
        };
        // One near track is enough, however far the others are.
        if self.has_close() {
            return None;
        }
        if self.is_steady {
            return Some(format!(
                "{nothing}: it hardly changes from beginning to end, as a tone or noise"
            ));
        }
        match self.share? {
            0 => Some(format!(
                "{nothing}: nearly all of your tracks have nearer neighbours"
            )),
            share @ 1..FAR_BELOW => Some(format!(
                "{nothing}: {} % of your tracks have nearer neighbours",
                100 - share
            )),
            _ => None,
        }
    }
}

/// - `points`: percentiles from 0 to 100
fn percentile(points: &[f32], value: f32) -> u8 {
    // A value below the smallest point is at 0, one above all of them at 100.
    points
        .partition_point(|point| *point <= value)
        .saturating_sub(1)
        .min(100) as u8
}

/// Percentiles from 0 to 100 of [`LEAST`] values at least; of fewer, none.
fn percentiles(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |percent: usize| {
        let place = percent as f32 / 100.0 * last as f32;
        let below = place.floor() as usize;
        let part = place.fract();
        values[below] + part * (values[last.min(below + 1)] - values[below])
    };
    if values.len() < LEAST {
        Vec::new()
    } else {
        (0..=100).map(at).collect()
    }
}

/// Artists by track, read on demand.
#[derive(Default)]
struct Artists(HashMap<TrackId, Vec<String>>);

impl Artists {
    fn read(
        &mut self,
        engine: &Engine,
        tracks: impl Iterator<Item = TrackId>,
    ) -> Result<(), EngineError> {
        let new: Vec<TrackId> = tracks.filter(|track| !self.0.contains_key(track)).collect();
        for track in engine.library.tracks_by_id(&new)? {
            self.0
                .insert(track.id, track.artists().into_iter().map(fold).collect());
        }
        Ok(())
    }

    fn of(&self, track: TrackId) -> &[String] {
        self.0.get(&track).map_or(&[], Vec::as_slice)
    }
}

impl Engine {
    /// Compares the query with the tracks that pass the filters; `None` for a library that is too small, or whose mean is
    /// fixed, since it may be a part of a larger one.
    pub fn standing(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Option<Standing>, EngineError> {
        self.space()?;
        // A fixed mean comes from a larger collection: relative to it, this library's tracks would
        // seem closer to each other than they are.
        if self.library.mean()?.is_some_and(|mean| mean.is_fixed) {
            return Ok(None);
        }
        let allowed = self.matching(&options.filter)?;
        let (centred, query) = self.space()?.query(seeds)?;
        let nearness = self.nearness()?;
        // Several seeds are searched for by their mean, which is not the sound of any of them.
        let is_steady = match seeds {
            [seed] => self.is_steady(seed)?,
            _ => false,
        };
        if nearness.nearest.is_empty() && !is_steady {
            return Ok(None);
        }
        let query = aview1(query.as_slice())
            .insert_axis(ndarray::Axis(0))
            .to_owned();
        let mut artists = Artists::default();
        let seed_tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        artists.read(self, seed_tracks.iter().copied())?;
        let mut others = Vec::new();
        // A narrow search first: it suffices unless nearly all nearest tracks are by the seeds'
        // artists.
        for reach in REACH {
            let found = self
                .near(&query, reach, allowed.as_ref())?
                .pop()
                .unwrap_or_default();
            others = self.others(&found, &mut artists, |artists, near| {
                let is_own = |&track: &TrackId| track == near.id || same(artists, track, near.id);
                let is_copy = |seed: &Seed| {
                    let vector = self.loaded_index().vector(near.id);
                    vector.is_some_and(|vector| is_same_recording(dot(&seed.vector, &vector)))
                };
                seed_tracks.iter().any(is_own) || centred.iter().any(is_copy)
            })?;
            if others.len() >= AROUND || found.len() < reach {
                break;
            }
        }
        // Raw vectors, as `around` was measured: after centring, noise is no farther from music than
        // music is.
        let mut raw = vec![0.0; query.ncols()];
        seeds.iter().for_each(|seed| {
            raw.iter_mut()
                .zip(&seed.vector)
                .for_each(|(sum, value)| *sum += value);
        });
        make_unit(&mut raw);
        let around = self
            .around(&raw, &others)?
            .filter(|_| !nearness.around.is_empty());
        let around_it = &others[..others.len().min(AROUND)];
        // A steady sound whose neighbours are steady, as in a library of test tones, is not far from
        // them.
        let mut steady = 0;
        for near in around_it.iter().filter(|_| is_steady) {
            steady += usize::from(self.is_track_steady(near.id)?);
        }
        Ok(Some(Standing {
            share: around.map(|around| percentile(&nearness.around, around)),
            nearest: others.first().map(|near| near.similarity),
            first: None,
            nearness,
            is_steady: is_steady && 2 * steady < around_it.len(),
            is_filtered: allowed.is_some(),
        }))
    }

    /// The stored percentiles, or new ones, which are stored. The index must have been opened.
    pub(crate) fn nearness(&mut self) -> Result<Nearness, EngineError> {
        let name = format!("nearness.{}", self.model()?.fingerprint);
        let is_current = |kept: &Nearness| {
            let changes = self.stamp.generation.abs_diff(kept.generation);
            kept.space == self.stamp.model_fingerprint
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
        let index = self.loaded_index();
        let tracks = index.ids();
        let sample: Vec<TrackId> = tracks
            .iter()
            .copied()
            // Spread over the ids, and so over the time at which tracks were added.
            .step_by(tracks.len().div_ceil(SAMPLE).max(1))
            .collect();
        let mut queries = Array2::zeros((sample.len(), self.stamp.dimension));
        for (mut row, &track) in queries.rows_mut().into_iter().zip(&sample) {
            if let Some(vector) = index.vector(track) {
                row.assign(&aview1(&vector));
            }
        }
        let mut artists = Artists::default();
        let mut nearest = Vec::new();
        let mut around = Vec::new();
        // The wide reach at once, since all samples are searched in one batch.
        let found = self.near(&queries, REACH[1], None)?;
        artists.read(self, sample.iter().copied())?;
        for (&track, found) in sample.iter().zip(found) {
            let others = self.others(&found, &mut artists, |artists, near| {
                near.id == track
                    || is_same_recording(near.similarity)
                    || same(artists, track, near.id)
            })?;
            let Some(raw) = self.library.vector(track)? else {
                continue;
            };
            if let (Some(first), Some(mean)) = (others.first(), self.around(&raw, &others)?) {
                nearest.push(first.similarity);
                around.push(mean);
            }
        }
        Ok(Nearness {
            space: self.stamp.model_fingerprint.clone(),
            generation: self.stamp.generation,
            tracks: tracks.len() as u64,
            nearest: percentiles(nearest),
            around: percentiles(around),
        })
    }

    /// The `reach` nearest neighbours of each query.
    fn near(
        &self,
        queries: &Array2<f32>,
        reach: usize,
        allowed: Option<&TrackSet>,
    ) -> Result<Vec<Vec<Neighbor>>, EngineError> {
        let subset = allowed.map(|set| self.subset(set));
        let params = SearchParams {
            subset: subset.as_deref(),
            ..SearchParams::default()
        };
        Ok(self
            .loaded_index()
            .search_batch(queries.view(), reach, &params)?)
    }

    /// The first neighbours for which `is_own` is false, at least [`AROUND`] if there are as many. Reads the artists of no
    /// more neighbours than necessary.
    fn others(
        &self,
        found: &[Neighbor],
        artists: &mut Artists,
        is_own: impl Fn(&Artists, &Neighbor) -> bool,
    ) -> Result<Vec<Neighbor>, EngineError> {
        let mut others = Vec::new();
        // Two more than are needed, since the track itself and a copy of it are usually the first.
        for some in found.chunks(AROUND + 2) {
            artists.read(self, some.iter().map(|near| near.id))?;
            others.extend(some.iter().filter(|near| !is_own(artists, near)).copied());
            if others.len() >= AROUND {
                break;
            }
        }
        Ok(others)
    }

    /// Mean cosine of raw vectors to the first [`AROUND`] neighbours; `None` without any.
    fn around(&self, raw: &[f32], others: &[Neighbor]) -> Result<Option<f32>, EngineError> {
        let mut sum = 0.0;
        let mut count = 0;
        for near in others.iter().take(AROUND) {
            if let Some(vector) = self.library.vector(near.id)? {
                sum += dot(raw, &vector);
                count += 1;
            }
        }
        Ok((count > 0).then(|| sum / count as f32))
    }
}

/// Whether two tracks are known to have an artist in common.
fn same(artists: &Artists, a: TrackId, b: TrackId) -> bool {
    artists
        .of(a)
        .iter()
        .any(|artist| artists.of(b).contains(artist))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use voisin_base::random::Random;
    use voisin_library::Descriptors;
    use voisin_library::testing::{library, track};
    use voisin_library::{StoredMean, TrackFilter};

    #[test]
    fn one_near_track_that_passes_the_filters_prevents_the_far_note() {
        let points: Vec<f32> = (0..=100).map(|percent| percent as f32 / 100.0).collect();
        let nearness = Nearness {
            space: String::new(),
            generation: 1,
            tracks: 100,
            nearest: points.clone(),
            around: points,
        };
        let far = |nearest: f32, is_filtered: bool| {
            let share = Some(0);
            let nearness = nearness.clone();
            Standing {
                first: None,
                nearness,
                share,
                nearest: Some(nearest),
                is_steady: false,
                is_filtered,
            }
            .far()
        };
        assert_eq!(far(0.9, true), None);
        let message = far(0.3, true).unwrap_or_default();
        assert!(
            message.starts_with("nothing that passes the filters sounds much like this"),
            "{message}"
        );
        // Without a filter the share decides alone: noise, too, has a near track.
        assert!(far(0.9, false).is_some());
    }

    #[test]
    fn closeness_never_contradicts_the_far_note() {
        let points: Vec<f32> = (0..=100).map(|percent| percent as f32 / 100.0).collect();
        for is_steady in [false, true] {
            for share in [Some(0), Some(3), Some(50), None] {
                for first in [0.02, 0.3, 0.7, 0.999_99] {
                    let standing = Standing {
                        nearness: Nearness {
                            space: String::new(),
                            generation: 1,
                            tracks: 100,
                            nearest: points.clone(),
                            around: points.clone(),
                        },
                        share,
                        nearest: Some(first),
                        first: None,
                        is_steady,
                        is_filtered: false,
                    }
                    .beside([first, 0.02]);
                    let words = [first, 0.02].map(|similarity| standing.closeness(similarity));
                    let is_near = words.iter().any(|word| *word != Some(Closeness::Far));
                    let note = standing.far();
                    assert!(
                        note.is_none() || !is_near,
                        "{words:?} beside {note:?}, steady: {is_steady}"
                    );
                }
            }
        }
    }

    const DIMENSION: usize = 16;

    /// A unit vector near one of three directions.
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

    #[test]
    fn foreign_sounds_are_far_and_library_tracks_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), 60);
        let options = SimilarOptions::default();
        let mut far = 0;
        for id in engine.library().track_ids().unwrap() {
            let seed = [engine.seed_of(id).unwrap()];
            far += usize::from(
                engine
                    .standing(&seed, &options)
                    .unwrap()
                    .unwrap()
                    .far()
                    .is_some(),
            );
        }
        assert!((1..=6).contains(&far), "{far} of 120: a twentieth at most");
        let mut rng = Random::new(4);
        for axis in 0..3 {
            let known = engine
                .standing(&[outside(about(axis, &mut rng))], &options)
                .unwrap()
                .unwrap();
            assert_eq!(known.far(), None, "{axis}");
        }
        let outlier = outside(about(5, &mut rng));
        let standing = engine
            .standing(std::slice::from_ref(&outlier), &options)
            .unwrap()
            .unwrap();
        let message =
            "nothing here sounds much like this: nearly all of your tracks have nearer neighbours";
        assert_eq!(standing.far().as_deref(), Some(message));
        let nearest = engine.similar(&[outlier], &options).unwrap()[0].similarity;
        assert_eq!(
            (standing.percentile(nearest), standing.closeness(nearest)),
            (Some(0), Some(Closeness::Far))
        );
        // A copy of it, by any artist, prevents the note.
        let beside = standing.clone().beside([nearest, 0.999_99]);
        assert_eq!(beside.far(), None);
        assert_eq!(beside.closeness(0.999_99), Some(Closeness::Same));
        assert_eq!(standing.beside([nearest]).far().as_deref(), Some(message));
        // Only tracks that pass the filter count, however near the others are.
        let seed = [engine.seed_of(TrackId(1)).unwrap()];
        let filter = TrackFilter {
            artists: vec!["artist 1".to_owned()],
            ..TrackFilter::default()
        };
        let filtered = SimilarOptions {
            filter,
            ..SimilarOptions::default()
        };
        let message = engine
            .standing(&seed, &filtered)
            .unwrap()
            .unwrap()
            .far()
            .unwrap();
        assert!(
            message.starts_with("nothing that passes the filters sounds much like this"),
            "{message}"
        );
        // With only the same artist's tracks there is nothing to compare with.
        let filter = TrackFilter {
            artists: vec!["artist 0".to_owned()],
            ..TrackFilter::default()
        };
        let unfiltered = SimilarOptions {
            filter,
            ..SimilarOptions::default()
        };
        assert_eq!(
            engine.standing(&seed, &unfiltered).unwrap().unwrap().far(),
            None
        );
    }

    #[test]
    fn percentiles_measure_the_nearest_track_by_another_artist() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), 60);
        let options = SimilarOptions {
            limit: 120,
            ..SimilarOptions::default()
        };
        let mut nearest = Vec::new();
        let seeds: Vec<Seed> = (1..=120)
            .map(|id| engine.seed_of(TrackId(id)).unwrap())
            .collect();
        for seed in &seeds {
            let found = engine
                .similar(std::slice::from_ref(seed), &options)
                .unwrap();
            let artist = engine
                .library()
                .track(seed.track.unwrap())
                .unwrap()
                .tags
                .artist;
            let other = found
                .iter()
                .find(|near| near.track.tags.artist != artist)
                .unwrap();
            assert!(
                found[0].similarity > other.similarity + 0.02,
                "the artist's own is nearer"
            );
            nearest.push(other.similarity);
        }
        let standing = engine.standing(&seeds[..1], &options).unwrap().unwrap();
        for value in [nearest[0], nearest[50], nearest[119]] {
            let below = nearest.iter().filter(|one| **one <= value).count() as i32 * 100 / 120;
            let percentile = i32::from(standing.percentile(value).unwrap());
            assert!(
                (percentile - below).abs() <= 2,
                "{percentile} instead of {below}"
            );
        }
        assert_eq!(
            (standing.percentile(1.0), standing.percentile(-1.0)),
            (Some(100), Some(0))
        );
        assert_eq!(standing.closeness(1.0), Some(Closeness::Same));
        nearest.sort_by(f32::total_cmp);
        assert_eq!(standing.closeness(nearest[119]), Some(Closeness::Close));
        assert_eq!(standing.closeness(-1.0), Some(Closeness::Far));
    }

    #[test]
    fn a_steady_sound_is_far_unless_its_neighbours_are_steady() {
        let far = |engine: &mut Engine, seed| {
            let standing = engine
                .standing(&[seed], &SimilarOptions::default())
                .unwrap();
            standing
                .and_then(|standing| standing.far())
                .unwrap_or_default()
        };
        for artists in [1, 5, 60] {
            let dir = tempfile::tempdir().unwrap();
            let mut engine = engine(dir.path(), artists);
            let mut middle = vec![0.02; DIMENSION];
            middle[0] = 1.0;
            make_unit(&mut middle);
            let changing = outside(middle.clone());
            let steady = Seed {
                is_steady: Some(true),
                ..changing.clone()
            };
            assert_eq!(far(&mut engine, changing), "", "in the middle of a style");
            let message = far(&mut engine, steady.clone());
            assert!(
                message.ends_with("it hardly changes from beginning to end, as a tone or noise"),
                "{message}"
            );
            let standing =
                engine.standing(std::slice::from_ref(&steady), &SimilarOptions::default());
            assert_eq!(
                standing.unwrap().unwrap().percentile(0.5).is_some(),
                artists == 60
            );
            // Ten tracks near it that never change; one of them is the seed, by its id.
            for seed in 500..510 {
                let mut new = track(seed, middle.clone());
                new.descriptors = Some(Descriptors {
                    version: 1,
                    is_steady: true,
                    ..Descriptors::default()
                });
                engine.library_mut().insert_track(&new).unwrap();
            }
            let mut apart = middle.clone();
            apart[7] += 0.1;
            make_unit(&mut apart);
            assert_eq!(
                far(
                    &mut engine,
                    Seed {
                        vector: apart,
                        ..steady
                    }
                ),
                "",
                "{artists}"
            );
            let of_it = engine
                .seed_of(engine.library().track_ids().unwrap().pop().unwrap())
                .unwrap();
            assert!(engine.is_steady(&of_it).unwrap());
        }
    }

    #[test]
    fn small_and_partial_libraries_have_no_standing() {
        let dir = tempfile::tempdir().unwrap();
        let mut small = engine(dir.path(), 9);
        let seed = [small.seed_of(TrackId(1)).unwrap()];
        assert!(
            small
                .standing(&seed, &SimilarOptions::default())
                .unwrap()
                .is_none()
        );
        let dir = tempfile::tempdir().unwrap();
        let mut part = engine(dir.path(), 20);
        assert!(
            part.standing(&seed, &SimilarOptions::default())
                .unwrap()
                .is_some()
        );
        let values = part.space().unwrap().mean().to_vec();
        let fixed = StoredMean {
            values,
            tracks: 0,
            generation: 0,
            is_fixed: true,
        };
        part.library_mut().set_mean(&fixed).unwrap();
        assert!(
            part.standing(&seed, &SimilarOptions::default())
                .unwrap()
                .is_none()
        );
        // A single artist: nothing to compare with.
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), DIMENSION);
        let mut rng = Random::new(5);
        for i in 0..80 {
            let mut new = track(i, about(0, &mut rng));
            new.tags.artist = Some("the only one".to_owned());
            library.insert_track(&new).unwrap();
        }
        let mut one = Engine::from_library(library);
        assert!(
            one.standing(&seed, &SimilarOptions::default())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn nearness_is_measured_again_after_many_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), 60);
        engine.maintain_index().unwrap();
        let name = format!("nearness.{}", engine.model().unwrap().fingerprint);
        let kept = |engine: &Engine| engine.library().setting(&name).unwrap().unwrap();
        let first = kept(&engine);
        let mut rng = Random::new(6);
        let mut put = |engine: &mut Engine, range: std::ops::Range<u64>| {
            for i in range {
                engine
                    .library_mut()
                    .insert_track(&track(i, about(0, &mut rng)))
                    .unwrap();
            }
            engine.maintain_index().unwrap();
        };
        put(&mut engine, 200..205);
        assert_eq!(kept(&engine), first);
        put(&mut engine, 205..210);
        assert_ne!(kept(&engine), first);
        // An unreadable value is measured again.
        engine.library_mut().set_setting(&name, Some("{}")).unwrap();
        let seed = [engine.seed_of(TrackId(1)).unwrap()];
        assert!(
            engine
                .standing(&seed, &SimilarOptions::default())
                .unwrap()
                .is_some()
        );
        assert!(kept(&engine).len() > 1000);
    }
}
