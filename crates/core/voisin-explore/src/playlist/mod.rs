//! Playlists: tracks near some seeds, with limits per artist and album and adjustable diversity.
//!
//! For: choosing and ordering tracks, and writing them as files that players read. Not for: reading
//! playlists; that is `library::scan`.

mod escape;
mod formats;
mod pool;

pub use escape::address;
pub(crate) use formats::relative;
pub use formats::{Format, PathStyle, write};

use std::collections::HashSet;

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use self::pool::{CandidatePool, PlaylistBuilder};
use super::{ExploreError, Result, TrackMeta, same_length};
use voisin_base::random::Random;
use voisin_base::track::TrackId;

/// How long a list is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Length {
    /// Number of tracks.
    Tracks(usize),
    /// Total time in seconds, approximated with whole tracks.
    Seconds(f64),
}

impl Length {
    /// Number of tracks to search for.
    pub fn search_count(self) -> usize {
        match self {
            Self::Tracks(tracks) => tracks,
            Self::Seconds(seconds) => {
                ((seconds / USUAL_SECONDS * 1.5).ceil() as usize).saturating_add(4)
            }
        }
    }
}

/// How the seeds are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SeedUse {
    /// They are not in the list.
    #[default]
    Leave,
    /// So many of the first ones begin the list; the others may be chosen like any other track, as for a genre, a cluster or
    /// a playlist.
    Open(usize),
}

/// Settings of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistOptions {
    /// Its length.
    pub length: Length,
    /// Most tracks of one artist.
    pub max_per_artist: Option<usize>,
    /// Most tracks of one album (see [`TrackMeta::album_key`]).
    pub max_per_album: Option<usize>,
    /// 0: nearest to the seeds only; 1: as varied as the neighbourhood allows, which is [`REACH`] times the list's length,
    /// and at most a quarter of all tracks unless the list is longer.
    pub diversity: f32,
    /// Each track is drawn from the nearest 1 + 40 × this that the list admits; 0 takes the best.
    pub variety: f32,
    /// Seed of those random numbers.
    pub random: u64,
    /// Shuffles with this seed; `None` orders by small steps.
    pub shuffle: Option<u64>,
    /// How the seeds are used.
    pub seeds: SeedUse,
    /// Least cosine similarity of a track to its seed.
    pub min_similarity: Option<f32>,
}

impl Default for PlaylistOptions {
    fn default() -> Self {
        Self {
            length: Length::Tracks(20),
            max_per_artist: None,
            max_per_album: None,
            diversity: 0.0,
            variety: 0.0,
            random: 0,
            shuffle: None,
            seeds: SeedUse::Leave,
            min_similarity: None,
        }
    }
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// The row of its seed.
    pub seed: usize,
    /// Cosine similarity to that seed.
    pub similarity: f32,
}

/// Most seeds that are used separately; more are thinned out to the most different ones.
const MOST_SEEDS: usize = 32;
/// Tracks from which one is drawn at full variety, besides the best.
const DRAWN_FROM: f32 = 40.0;
/// Nearest tracks per track of the list in its neighbourhood at full diversity.
pub const REACH: usize = 3;
/// Length in seconds assumed for tracks of unknown length.
const USUAL_SECONDS: f64 = 240.0;

/// Chooses tracks near `seeds`.
///
/// Each seed gets the same share of the list: in turn, each takes the track that is near it and (by
/// `diversity`) unlike those already taken (maximal marginal relevance, Carbonell and Goldstein, 1998).
///
/// - `vectors`: `[n, dim]` unit vectors; `meta`: same rows
/// - `seeds`: row numbers
/// - `excluded`: rows to leave out, such as duplicates
///
/// The list is shorter than requested if no more tracks fulfil the conditions.
pub fn playlist(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    seeds: &[usize],
    excluded: &dyn Fn(usize) -> bool,
    options: &PlaylistOptions,
) -> Result<Vec<Entry>> {
    check(vectors, meta, seeds, options)?;
    let mut list = PlaylistBuilder::new(meta, options);
    let left_out: HashSet<usize> = match options.seeds {
        SeedUse::Leave => seeds.iter().copied().collect(),
        SeedUse::Open(first) => {
            let mut opened = HashSet::new();
            for &seed in seeds.iter().take(first) {
                if opened.insert(seed) && list.wants_more() {
                    list.push(seed, seed, 1.0);
                }
            }
            opened
        }
    };
    let opening = list.entries.len();
    // From here on each seed chooses in turn, which gives each the same share.
    let sources = thin_out(vectors, seeds);
    let wanted_tracks = options.length.search_count();
    let mut pools: Vec<CandidatePool> = sources
        .iter()
        .map(|&seed| {
            let usable = |row: usize| !left_out.contains(&row) && !excluded(row);
            let wanted = options.min_similarity.unwrap_or(f32::NEG_INFINITY);
            CandidatePool::new(vectors, seed, wanted, usable)
        })
        .collect();
    // At most a quarter of a small library, and at least the length of the list.
    let most = wanted_tracks.max(vectors.nrows() / 4);
    let widest = REACH.saturating_mul(wanted_tracks) as f32;
    let reach = ((options.diversity * widest) as usize).clamp(1, most.max(1));
    let drawn_from = 1 + (DRAWN_FROM * options.variety) as usize;
    let reach = reach.max(drawn_from);
    let mut random = Random::new(options.random);
    let mut turn = 0;
    let mut idle = 0;
    // Ends when no pool has a track to add.
    while list.wants_more() && idle < pools.len() {
        let pool = &mut pools[turn % sources.len()];
        turn += 1;
        let taken = pool.take(vectors, &list, opening, reach, |best| {
            random.below(drawn_from.min(best))
        });
        match taken {
            Some((row, similarity)) => {
                idle = 0;
                let seed = pool.seed;
                if !list.push(row, seed, similarity) {
                    break;
                }
            }
            None => idle += 1,
        }
    }
    let mut entries = list.entries;
    match options.shuffle {
        Some(seed) => Random::new(seed).shuffle(&mut entries[opening..]),
        None => order_by_small_steps(vectors, &mut entries, opening, seeds[0]),
    }
    Ok(entries)
}

fn check(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    seeds: &[usize],
    options: &PlaylistOptions,
) -> Result<()> {
    same_length("metadata", vectors.nrows(), meta.len())?;
    if let Some(&bad) = seeds.iter().find(|&&seed| seed >= meta.len()) {
        return Err(ExploreError::Row {
            row: bad,
            rows: meta.len(),
        });
    }
    if seeds.is_empty() {
        return Err(ExploreError::TooFew {
            what: "a playlist's seeds",
            needed: 1,
            found: 0,
        });
    }
    if !(0.0..=1.0).contains(&options.diversity) {
        return Err(ExploreError::Parameter {
            name: "diversity",
            found: options.diversity.to_string(),
            expected: "0 to 1",
        });
    }
    if !(0.0..=1.0).contains(&options.variety) {
        return Err(ExploreError::Parameter {
            name: "variety",
            found: options.variety.to_string(),
            expected: "0 to 1",
        });
    }
    if let Some(least) = options
        .min_similarity
        .filter(|least| !(-1.0..=1.0).contains(least))
    {
        return Err(ExploreError::Parameter {
            name: "least similarity",
            found: least.to_string(),
            expected: "-1 to 1",
        });
    }
    if let Length::Seconds(seconds) = options.length
        && !(seconds.is_finite() && seconds > 0.0)
    {
        return Err(ExploreError::Parameter {
            name: "length",
            found: seconds.to_string(),
            expected: "more than 0 seconds",
        });
    }
    Ok(())
}

/// Distinct seeds; if there are many, the most central one and then each time the one farthest from those taken.
fn thin_out(vectors: ArrayView2<'_, f32>, seeds: &[usize]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let seeds: Vec<usize> = seeds
        .iter()
        .copied()
        .filter(|&seed| seen.insert(seed))
        .collect();
    if seeds.len() <= MOST_SEEDS {
        return seeds;
    }
    let part = vectors.select(Axis(0), &seeds);
    // The most typical seed first.
    let centre = part.mean_axis(Axis(0)).expect("there are seeds");
    let first = (0..seeds.len())
        .max_by(|&a, &b| {
            part.row(a)
                .dot(&centre)
                .total_cmp(&part.row(b).dot(&centre))
        })
        .expect("there are seeds");
    let mut taken = vec![first];
    let mut nearest = part.dot(&part.row(first));
    while taken.len() < MOST_SEEDS {
        let next = (0..seeds.len())
            .min_by(|&a, &b| nearest[a].total_cmp(&nearest[b]))
            .expect("there are seeds");
        taken.push(next);
        nearest.zip_mut_with(&part.dot(&part.row(next)), |old, &new| *old = old.max(new));
    }
    taken.into_iter().map(|i| seeds[i]).collect()
}

/// Orders entries after `opening` by small steps: nearest neighbour, then 2-opt.
fn order_by_small_steps(
    vectors: ArrayView2<'_, f32>,
    entries: &mut [Entry],
    opening: usize,
    seed: usize,
) {
    let distance = |a: usize, b: usize| 1.0 - vectors.row(a).dot(&vectors.row(b));
    let start = if opening > 0 {
        entries[opening - 1].row
    } else {
        seed
    };
    let rest = &mut entries[opening..];
    let mut here = start;
    for i in 0..rest.len() {
        let next = (i..rest.len())
            .min_by(|&a, &b| distance(here, rest[a].row).total_cmp(&distance(here, rest[b].row)))
            .expect("the range is not empty");
        rest.swap(i, next);
        here = rest[i].row;
    }
    let before = |rest: &[Entry], i: usize| if i == 0 { start } else { rest[i - 1].row };
    // Each round takes the square of the length; long lists keep the greedy
    // order.
    for _ in 0..if rest.len() <= 300 { 20 } else { 0 } {
        let mut better = false;
        for i in 0..rest.len() {
            for j in i + 1..rest.len() {
                let old = distance(before(rest, i), rest[i].row)
                    + rest
                        .get(j + 1)
                        .map_or(0.0, |next| distance(rest[j].row, next.row));
                let new = distance(before(rest, i), rest[j].row)
                    + rest
                        .get(j + 1)
                        .map_or(0.0, |next| distance(rest[i].row, next.row));
                // By more than rounding, or orders of equal length would be swapped in every
                // round.
                if new < old - 1e-6 {
                    rest[i..=j].reverse();
                    better = true;
                }
            }
        }
        if !better {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;

    fn collection() -> (ndarray::Array2<f32>, Vec<usize>, Vec<TrackMeta>) {
        let (vectors, labels) = grouped(4, 50, 16, 0.7, 6);
        let meta = (0..200)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"));
                track.artist = Some(format!("artist {}", i % 25));
                track.seconds = 180.0 + i as f64;
                track
            })
            .collect();
        (vectors, labels, meta)
    }

    #[test]
    fn a_list_without_a_limit_takes_all_tracks() {
        let (vectors, _, meta) = collection();
        let options = PlaylistOptions {
            length: Length::Seconds(1e300),
            ..PlaylistOptions::default()
        };
        let list = playlist(vectors.view(), &meta, &[3], &|_| false, &options).unwrap();
        assert_eq!(list.len(), 199);
    }

    #[test]
    fn the_limit_per_album_applies_to_compilations() {
        let (vectors, _, mut meta) = collection();
        let is_on_sampler = |row: usize| (row / 8).is_multiple_of(2);
        for (row, track) in meta.iter_mut().enumerate() {
            // One compilation without an album artist, and albums of one folder each.
            track.album = Some("Sampler".to_owned());
            track.path = if is_on_sampler(row) {
                format!("/m/sampler/{row}.mp3")
            } else {
                format!("/m/album {row}/x.mp3")
            };
        }
        let from_sampler = |max_per_album| {
            let options = PlaylistOptions {
                max_per_album,
                length: Length::Tracks(12),
                ..PlaylistOptions::default()
            };
            let list = playlist(vectors.view(), &meta, &[3], &|_| false, &options).unwrap();
            assert_eq!(list.len(), 12);
            list.iter().filter(|entry| is_on_sampler(entry.row)).count()
        };
        assert!(from_sampler(None) > 2);
        assert_eq!(from_sampler(Some(2)), 2);
    }

    #[test]
    fn nearest_tracks_within_the_artist_cap() {
        let (vectors, _, meta) = collection();
        let options = PlaylistOptions {
            max_per_artist: Some(1),
            length: Length::Tracks(12),
            ..PlaylistOptions::default()
        };
        let list = playlist(vectors.view(), &meta, &[3], &|_| false, &options).expect("a list");
        assert_eq!(list.len(), 12);
        let artists: HashSet<_> = list.iter().map(|e| meta[e.row].artist_keys()).collect();
        assert_eq!(artists.len(), 12);
        assert!(list.iter().all(|e| e.row != 3 && e.seed == 3));
        let free = PlaylistOptions {
            length: Length::Tracks(12),
            ..PlaylistOptions::default()
        };
        let list =
            playlist(vectors.view(), &meta, &[3], &|row| row % 2 == 0, &free).expect("a list");
        let mut plain: Vec<usize> = (0..200).filter(|row| row % 2 == 1 && *row != 3).collect();
        let similarity = vectors.dot(&vectors.row(3));
        plain.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]));
        let mut rows: Vec<usize> = list.iter().map(|e| e.row).collect();
        rows.sort_unstable();
        plain.truncate(12);
        plain.sort_unstable();
        assert_eq!(rows, plain);
    }

    #[test]
    fn seeds_share_the_list_and_time_is_met() {
        let (vectors, labels, meta) = collection();
        let options = PlaylistOptions {
            length: Length::Seconds(5400.0),
            ..PlaylistOptions::default()
        };
        let list =
            playlist(vectors.view(), &meta, &[0, 1, 2], &|_| false, &options).expect("a list");
        let total: f64 = list.iter().map(|e| meta[e.row].seconds).sum();
        assert!((total - 5400.0).abs() < 200.0, "{total}");
        for seed in 0..3 {
            let share = list.iter().filter(|e| e.seed == seed).count();
            assert!(share.abs_diff(list.len() / 3) <= 1);
            assert!(
                list.iter()
                    .filter(|e| e.seed == seed)
                    .all(|e| labels[e.row] == labels[seed])
            );
        }
    }

    #[test]
    fn diversity_widens_and_shuffles_repeat() {
        let (vectors, _, meta) = collection();
        let mean = |diversity: f32| {
            let options = PlaylistOptions {
                diversity,
                length: Length::Tracks(15),
                ..PlaylistOptions::default()
            };
            let list = playlist(vectors.view(), &meta, &[7], &|_| false, &options).expect("a list");
            let pairs = list
                .iter()
                .flat_map(|a| list.iter().map(move |b| (a.row, b.row)));
            pairs
                .map(|(a, b)| vectors.row(a).dot(&vectors.row(b)))
                .sum::<f32>()
        };
        assert!(mean(0.0) > mean(0.5) && mean(0.5) > mean(1.0));
        // With full diversity it stays near the seed.
        let options = PlaylistOptions {
            diversity: 1.0,
            length: Length::Tracks(4),
            ..PlaylistOptions::default()
        };
        let list = playlist(vectors.view(), &meta, &[7], &|_| false, &options).expect("a list");
        let similarity = vectors.dot(&vectors.row(7));
        for entry in list {
            let rank = (0..200)
                .filter(|&row| similarity[row] > similarity[entry.row])
                .count();
            assert!(rank <= (REACH + 1) * 4, "rank {rank}");
        }
        let shuffled = |seed| {
            let options = PlaylistOptions {
                shuffle: Some(seed),
                ..PlaylistOptions::default()
            };
            playlist(vectors.view(), &meta, &[7], &|_| false, &options).expect("a list")
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
    }

    #[test]
    fn variety_draws_from_the_nearest() {
        let (vectors, _, meta) = collection();
        let rows = |variety: f32, random: u64| -> Vec<usize> {
            let options = PlaylistOptions {
                length: Length::Tracks(10),
                variety,
                random,
                ..PlaylistOptions::default()
            };
            let list = playlist(vectors.view(), &meta, &[7], &|_| false, &options).expect("a list");
            let mut rows: Vec<usize> = list.into_iter().map(|entry| entry.row).collect();
            rows.sort_unstable();
            rows
        };
        assert_eq!(rows(0.0, 1), rows(0.0, 2));
        assert_eq!(rows(1.0, 1), rows(1.0, 1));
        assert_ne!(rows(1.0, 1), rows(1.0, 2));
        // The last of ten is one of the nearest 41 that are left: none beyond the nearest 50.
        let near = vectors.dot(&vectors.row(7));
        let mut nearest: Vec<usize> = (0..200).filter(|&row| row != 7).collect();
        nearest.sort_by(|&a, &b| near[b].total_cmp(&near[a]));
        let drawn = rows(1.0, 3);
        assert!(
            drawn.iter().all(|row| nearest[..50].contains(row)),
            "{drawn:?}"
        );
    }

    #[test]
    fn ordered_steps_are_smaller_than_shuffled_ones() {
        let (vectors, _, meta) = collection();
        let longest = |shuffle| {
            let options = PlaylistOptions {
                shuffle,
                seeds: SeedUse::Open(2),
                length: Length::Tracks(40),
                ..PlaylistOptions::default()
            };
            let list =
                playlist(vectors.view(), &meta, &[0, 1], &|_| false, &options).expect("a list");
            assert_eq!((list[0].row, list[1].row), (0, 1));
            list.windows(2)
                .map(|w| 1.0 - vectors.row(w[0].row).dot(&vectors.row(w[1].row)))
                .sum::<f32>()
        };
        assert!(longest(None) < 0.8 * longest(Some(1)));
    }

    #[test]
    fn many_seeds_are_thinned_out() {
        let (vectors, _, meta) = collection();
        let seeds: Vec<usize> = (0..100).collect();
        let options = PlaylistOptions {
            seeds: SeedUse::Open(0),
            length: Length::Tracks(64),
            ..PlaylistOptions::default()
        };
        let list = playlist(vectors.view(), &meta, &seeds, &|_| false, &options).expect("a list");
        assert_eq!(list.len(), 64);
        assert_eq!(
            list.iter().map(|e| e.seed).collect::<HashSet<_>>().len(),
            MOST_SEEDS
        );
    }
}
