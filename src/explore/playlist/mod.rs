//! Playlists: tracks near some seeds, with limits per artist and album and adjustable variety.
//!
//! For: choosing and ordering tracks, and writing them as files that players read. Not for: reading
//! playlists; that is `library::scan`.

mod formats;

pub(crate) use formats::relative;
pub use formats::{Format, PathStyle, address, write};

use std::collections::HashSet;

use ndarray::ArrayView2;

use super::{NameLimit, TrackMeta};
use voisin_base::random::Random;

#[derive(Debug, Clone, Copy)]
pub enum Length {
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

#[derive(Debug, Clone, Copy, Default)]
pub enum SeedUse {
    #[default]
    Leave,
    /// So many of the first ones begin the list; the others may be chosen like any other track, as for a genre, a cluster or
    /// a playlist.
    Open(usize),
}

#[derive(Debug, Clone)]
pub struct PlaylistOptions {
    pub length: Length,
    pub max_per_artist: Option<usize>,
    /// Most tracks of one album (see [`TrackMeta::album_key`]).
    pub max_per_album: Option<usize>,
    /// Each track is drawn from the nearest 1 + 40 × this that the list admits; 0 takes the best, 1 is most.
    pub variety: f32,
    pub random: u64,
    pub seeds: SeedUse,
}

impl Default for PlaylistOptions {
    fn default() -> Self {
        Self {
            length: Length::Tracks(20),
            max_per_artist: None,
            max_per_album: None,
            variety: 0.0,
            random: 0,
            seeds: SeedUse::Leave,
        }
    }
}

/// The chosen tracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub entries: Vec<Entry>,
    /// Whether it is as long as requested.
    pub is_full: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub row: usize,
    pub seed: usize,
    pub similarity: f32,
}

/// Most seeds that are used separately; of more, some that are spread evenly over them.
const MOST_SEEDS: usize = 32;
/// Tracks from which one is drawn at full variety, besides the best.
const DRAWN_FROM: f32 = 40.0;
/// Length in seconds assumed for tracks of unknown length.
const USUAL_SECONDS: f64 = 240.0;

/// Chooses tracks near `seeds`.
///
/// Each seed gets the same share of the list: in turn, each takes a track that is near it.
///
/// - `vectors`: `[n, dim]` unit vectors; `meta`: same rows
/// - `seeds`: row numbers; without any the list is empty
/// - `usable`: whether a row with this similarity to a seed may be chosen
///
/// The list is shorter than requested if no more tracks fulfil the conditions.
pub fn playlist(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    seeds: &[usize],
    usable: &dyn Fn(usize, f32) -> bool,
    options: &PlaylistOptions,
) -> Chosen {
    let mut list = Builder::new(meta, options);
    let left_out: HashSet<usize> = match options.seeds {
        SeedUse::Leave => seeds.iter().copied().collect(),
        SeedUse::Open(first) => list.open_with(&seeds[..first.min(seeds.len())]),
    };
    let opening = list.entries.len();
    // From here on each seed chooses in turn, which gives each the same share.
    let usable = |row: usize, near: f32| !left_out.contains(&row) && usable(row, near);
    let mut pools: Vec<CandidatePool> = thinned(seeds)
        .map(|seed| CandidatePool::new(vectors, seed, usable))
        .collect();
    let drawn_from = 1 + (DRAWN_FROM * options.variety) as usize;
    let mut random = Random::new(options.random);
    let mut idle = 0;
    let is_full = 'list: loop {
        // No pool has a track to add.
        if idle >= pools.len() {
            break !list.wants_more();
        }
        for pool in &mut pools {
            if !list.wants_more() {
                break 'list true;
            }
            let draw = |near: usize| random.below(near);
            match pool.take(&list, drawn_from, draw) {
                Some((row, similarity)) if list.push(row, pool.seed, similarity) => idle = 0,
                Some(_) => break 'list true,
                None => idle += 1,
            }
        }
    };
    let mut entries = list.entries;
    if let Some(&first) = seeds.first() {
        order_by_small_steps(vectors, &mut entries, opening, first);
    }
    Chosen { entries, is_full }
}

/// Distinct seeds; of many, every so-many-th.
fn thinned(seeds: &[usize]) -> impl Iterator<Item = usize> {
    let mut seen = HashSet::new();
    let mut distinct = seeds.to_vec();
    distinct.retain(|&seed| seen.insert(seed));
    let step = distinct.len().div_ceil(MOST_SEEDS).max(1);
    distinct.into_iter().step_by(step)
}

/// Orders entries after `opening` so that each is followed by the nearest of those left.
fn order_by_small_steps(
    vectors: ArrayView2<'_, f32>,
    entries: &mut [Entry],
    opening: usize,
    seed: usize,
) {
    let mut here = match opening.checked_sub(1) {
        Some(last) => entries[last].row,
        None => seed,
    };
    for i in opening..entries.len() {
        let similarity = |at: usize| vectors.row(here).dot(&vectors.row(entries[at].row));
        let next = (i..entries.len())
            .max_by(|&a, &b| similarity(a).total_cmp(&similarity(b)).then(b.cmp(&a)))
            .expect("the range is not empty");
        entries.swap(i, next);
        here = entries[i].row;
    }
}

/// A list under construction, with its limits.
struct Builder<'a> {
    meta: &'a [TrackMeta],
    options: &'a PlaylistOptions,
    entries: Vec<Entry>,
    seconds: f64,
    taken: HashSet<usize>,
    artists: NameLimit,
    albums: NameLimit,
}

impl<'a> Builder<'a> {
    fn new(meta: &'a [TrackMeta], options: &'a PlaylistOptions) -> Self {
        Self {
            meta,
            options,
            entries: Vec::new(),
            seconds: 0.0,
            taken: HashSet::new(),
            artists: NameLimit::new(options.max_per_artist),
            albums: NameLimit::new(options.max_per_album),
        }
    }

    /// Begins with these seeds, each once, and returns them.
    fn open_with(&mut self, seeds: &[usize]) -> HashSet<usize> {
        let mut opened = HashSet::new();
        for &seed in seeds {
            if opened.insert(seed) && self.wants_more() {
                self.push(seed, seed, 1.0);
            }
        }
        opened
    }

    fn wants_more(&self) -> bool {
        match self.options.length {
            Length::Tracks(tracks) => self.entries.len() < tracks,
            Length::Seconds(seconds) => self.seconds < seconds,
        }
    }

    fn admits(&self, row: usize) -> bool {
        !self.taken.contains(&row)
            && self.artists.has_room(&self.meta[row].artist_keys())
            && self.albums.has_room(&self.albums_of(row))
    }

    fn albums_of(&self, row: usize) -> Vec<String> {
        let is_counted = self.options.max_per_album.is_some();
        let album = is_counted.then(|| self.meta[row].album_key());
        album.flatten().into_iter().collect()
    }

    /// Adds a track; `false` if the list is nearer to the requested length without it.
    fn push(&mut self, row: usize, seed: usize, similarity: f32) -> bool {
        let track = &self.meta[row];
        let seconds = if track.seconds > 0.0 {
            track.seconds
        } else {
            USUAL_SECONDS
        };
        if let Length::Seconds(wanted) = self.options.length
            && !self.entries.is_empty()
            // With it the list would be off by more than without it.
            && self.seconds + seconds - wanted > wanted - self.seconds
        {
            return false;
        }
        self.seconds += seconds;
        self.taken.insert(row);
        self.artists.take(track.artist_keys());
        self.albums.take(self.albums_of(row));
        self.entries.push(Entry {
            row,
            seed,
            similarity,
        });
        true
    }
}

struct CandidatePool {
    seed: usize,
    /// Row and similarity to the seed, nearest first.
    candidates: Vec<(usize, f32)>,
    /// Number of candidates considered so far.
    seen: usize,
    /// Those of them that the list admits, nearest first.
    near: Vec<(usize, f32)>,
}

impl CandidatePool {
    fn new(vectors: ArrayView2<'_, f32>, seed: usize, usable: impl Fn(usize, f32) -> bool) -> Self {
        let similarities = vectors.dot(&vectors.row(seed));
        let mut candidates: Vec<(usize, f32)> = similarities
            .iter()
            .enumerate()
            .map(|(row, &similarity)| (row, similarity))
            .filter(|&(row, similarity)| usable(row, similarity))
            .collect();
        candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Self {
            seed,
            candidates,
            seen: 0,
            near: Vec::new(),
        }
    }

    /// One of the `most` nearest candidates that the list admits; farther ones replace those that are taken. A candidate
    /// that the list refuses is dropped, since it would be refused again.
    ///
    /// - `draw`: which of so many to take, by place, the nearest at 0
    fn take(
        &mut self,
        list: &Builder<'_>,
        most: usize,
        draw: impl FnOnce(usize) -> usize,
    ) -> Option<(usize, f32)> {
        self.near.retain(|&(row, _)| list.admits(row));
        let left = &self.candidates[self.seen..];
        for &candidate in left {
            if self.near.len() >= most {
                break;
            }
            self.seen += 1;
            if list.admits(candidate.0) {
                self.near.push(candidate);
            }
        }
        self.near.get(draw(self.near.len())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;
    use voisin_base::track::TrackId;

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

    fn tracks(tracks: usize) -> PlaylistOptions {
        PlaylistOptions {
            length: Length::Tracks(tracks),
            ..PlaylistOptions::default()
        }
    }

    fn rows(seeds: &[usize], options: &PlaylistOptions) -> Vec<usize> {
        let (vectors, _, meta) = collection();
        let list = playlist(vectors.view(), &meta, seeds, &|_, _| true, options);
        list.entries.into_iter().map(|entry| entry.row).collect()
    }

    /// Rows but for one by their similarity to it, nearest first.
    fn nearest(row: usize) -> Vec<usize> {
        let near = collection().0;
        let near = near.dot(&near.row(row));
        let mut nearest: Vec<usize> = (0..200).filter(|&other| other != row).collect();
        nearest.sort_by(|&a, &b| near[b].total_cmp(&near[a]));
        nearest
    }

    #[test]
    fn a_list_has_the_nearest_tracks_without_excluded_ones() {
        let (vectors, _, meta) = collection();
        let list = playlist(
            vectors.view(),
            &meta,
            &[3],
            &|row, _| row % 2 == 1,
            &tracks(12),
        );
        let mut found: Vec<usize> = list.entries.iter().map(|entry| entry.row).collect();
        found.sort_unstable();
        let mut plain = nearest(3);
        plain.retain(|row| row % 2 == 1);
        plain.truncate(12);
        plain.sort_unstable();
        assert_eq!(found, plain);
        let all = PlaylistOptions {
            length: Length::Seconds(1e300),
            ..PlaylistOptions::default()
        };
        assert_eq!(rows(&[3], &all).len(), 199);
    }

    #[test]
    fn artists_and_albums_are_limited() {
        let (vectors, _, mut meta) = collection();
        let options = PlaylistOptions {
            max_per_artist: Some(1),
            ..tracks(12)
        };
        let artists: HashSet<_> = rows(&[3], &options)
            .iter()
            .map(|&row| meta[row].artist_keys())
            .collect();
        assert_eq!(artists.len(), 12);
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
        let options = PlaylistOptions {
            max_per_album: Some(2),
            ..tracks(12)
        };
        let list = playlist(vectors.view(), &meta, &[3], &|_, _| true, &options).entries;
        let of_sampler = list.iter().filter(|entry| is_on_sampler(entry.row));
        assert_eq!((list.len(), of_sampler.count()), (12, 2));
    }

    #[test]
    fn seeds_share_the_list_and_time_is_met() {
        let (vectors, labels, meta) = collection();
        let options = PlaylistOptions {
            length: Length::Seconds(5400.0),
            ..PlaylistOptions::default()
        };
        let list = playlist(vectors.view(), &meta, &[0, 1, 2], &|_, _| true, &options).entries;
        let total: f64 = list.iter().map(|e| meta[e.row].seconds).sum();
        assert!((total - 5400.0).abs() < 200.0, "{total}");
        for seed in 0..3 {
            let of_seed = || list.iter().filter(|e| e.seed == seed);
            assert!(of_seed().count().abs_diff(list.len() / 3) <= 1);
            assert!(of_seed().all(|e| labels[e.row] == labels[seed]));
        }
        // Many seeds are thinned out.
        let seeds: Vec<usize> = (0..100).collect();
        let options = PlaylistOptions {
            seeds: SeedUse::Open(0),
            ..tracks(64)
        };
        let list = playlist(vectors.view(), &meta, &seeds, &|_, _| true, &options).entries;
        let used: HashSet<usize> = list.iter().map(|e| e.seed).collect();
        assert_eq!((list.len(), used.len()), (64, 25));
    }

    #[test]
    fn variety_draws_from_the_nearest() {
        let drawn = |variety: f32, random: u64| {
            let options = PlaylistOptions {
                variety,
                random,
                ..tracks(10)
            };
            rows(&[7], &options)
        };
        assert_eq!(drawn(0.0, 1), drawn(0.0, 2));
        assert_eq!(drawn(1.0, 1), drawn(1.0, 1));
        assert_ne!(drawn(1.0, 1), drawn(1.0, 2));
        // The last of ten is one of the nearest 41 that are left: none beyond the nearest 50.
        let near = &nearest(7)[..50];
        assert!(drawn(1.0, 3).iter().all(|row| near.contains(row)));
    }

    #[test]
    fn a_drawn_list_is_full_while_near_tracks_are_left() {
        let (vectors, _, meta) = collection();
        let to_seed = vectors.dot(&vectors.row(7));
        let least = to_seed[nearest(7)[14]];
        for random in 0..9 {
            let options = PlaylistOptions {
                variety: 1.0,
                random,
                ..tracks(10)
            };
            let is_near = |_: usize, similarity: f32| similarity >= least;
            let list = playlist(vectors.view(), &meta, &[7], &is_near, &options);
            assert!(list.is_full && list.entries.iter().all(|e| e.similarity >= least));
            let list = playlist(vectors.view(), &meta, &[7], &is_near, &tracks(16));
            assert!(!list.is_full && list.entries.len() == 15);
        }
    }

    #[test]
    fn each_track_is_followed_by_the_nearest_of_those_left() {
        let vectors = collection().0;
        let options = PlaylistOptions {
            seeds: SeedUse::Open(2),
            ..tracks(40)
        };
        let list = rows(&[0, 1], &options);
        assert_eq!(list[..2], [0, 1]);
        for at in 2..list.len() {
            let near = |row: usize| vectors.row(list[at - 1]).dot(&vectors.row(row));
            assert!(list[at..].iter().all(|&row| near(row) <= near(list[at])));
        }
    }
}
