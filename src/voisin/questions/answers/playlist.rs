//! Assembling a playlist around seeds, and its JSON.

use std::cell::Cell;
use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::similar::FarJson;
use super::track::Hit;
use crate::{Collection, Standing};
use voisin_base::track::TrackId;
use voisin_explore::playlist::{Chosen, Entry, PlaylistOptions, playlist};
use voisin_library::TrackSet;

/// Constraints of a list besides its options.
#[derive(Debug, Clone, Copy)]
pub struct PlaylistConstraints<'a> {
    /// Whether copies of one recording stay; else they are left out by vectors, names and lengths.
    pub keeps_copies: bool,
    /// Tracks that may be in it besides named seeds; `None`: all.
    pub allowed: Option<&'a TrackSet>,
    /// Longest track in seconds, to exclude long sets, except for named seeds.
    pub longest: Option<f64>,
    /// Tracks that are not in it.
    pub excluded: &'a HashSet<TrackId>,
    /// How near the library's tracks are to one another: the list ends where nothing near is left. `None`: as long as there
    /// are tracks.
    pub standing: Option<&'a Standing>,
}

/// Similarities below this percentile of the nearest ones in the library are not near.
const NEAR_FROM: u8 = 5;

/// A list, as rows of the collection.
pub struct PlaylistRows {
    pub rows: Vec<usize>,
    /// Whether it is shorter than requested, since nothing near is left.
    pub ends: bool,
    /// How near the library is to the seeds, if there are any.
    pub standing: Option<Standing>,
}

/// The documented JSON of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlaylistJson {
    /// The tracks.
    pub items: Vec<Hit>,
    #[serde(flatten)]
    pub far: FarJson,
    /// Whether it is shorter than requested, since nothing near is left.
    #[serde(skip)]
    pub ends: bool,
}

/// Makes a list.
///
/// - `seeds`: rows of the seeds, those named one by one first
/// - `named`: number of those
pub fn listed(
    collection: &Collection,
    seeds: &[usize],
    named: usize,
    wanted: &PlaylistConstraints<'_>,
    options: &PlaylistOptions,
) -> PlaylistRows {
    let mut excluded: HashSet<usize> = HashSet::new();
    let is_seed: HashSet<usize> = seeds.iter().copied().collect();
    // Repeated without the copies found, which makes room for others. It ends, since each turn
    // excludes rows.
    loop {
        let is_out = |row: usize| {
            let id = collection.ids[row];
            excluded.contains(&row)
                || wanted.excluded.contains(&id)
                || wanted.allowed.is_some_and(|set| !set.contains(id))
                || wanted
                    .longest
                    .is_some_and(|longest| collection.meta[row].seconds > longest)
        };
        let nearest = Cell::new(f32::NEG_INFINITY);
        let are_far_left = Cell::new(false);
        // Before tracks are drawn, so that no draw is lost to a far one.
        let usable = |row: usize, similarity: f32| {
            if is_out(row) {
                return false;
            }
            // A cluster is all of its tracks, however far apart.
            if is_seed.contains(&row) {
                return true;
            }
            nearest.set(nearest.get().max(similarity));
            let percentile = wanted.standing.and_then(|s| s.percentile(similarity));
            let is_far = percentile.is_some_and(|percentile| percentile < NEAR_FROM);
            are_far_left.set(are_far_left.get() || is_far);
            !is_far
        };
        let vectors = collection.vectors.view();
        let Chosen { entries, is_full } =
            playlist(vectors, &collection.meta, seeds, &usable, options);
        let again = if wanted.keeps_copies {
            Vec::new()
        } else {
            repeated(collection, &entries, &seeds[..named])
        };
        if again.is_empty() {
            let nearest = Some(nearest.get()).filter(|nearest| nearest.is_finite());
            return PlaylistRows {
                ends: !is_full && are_far_left.get(),
                rows: entries.iter().map(|entry| entry.row).collect(),
                standing: wanted.standing.cloned().map(|all| all.beside(nearest)),
            };
        }
        excluded.extend(again);
    }
}

fn are_copies(collection: &Collection, a: usize, b: usize) -> bool {
    let recording = |row: usize| collection.meta[row].recording();
    let similarity = collection.vectors.row(a).dot(&collection.vectors.row(b));
    recording(a).is_copy(&recording(b), similarity)
}

/// Rows of a list that repeat one before them, never named seeds.
fn repeated(collection: &Collection, entries: &[Entry], named: &[usize]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    let mut songs: HashSet<[String; 2]> = HashSet::new();
    let mut found = Vec::new();
    let others = entries
        .iter()
        .map(|entry| entry.row)
        .filter(|row| !named.contains(row));
    // Named seeds first, so that all others are compared with them.
    for row in named.iter().copied().chain(others) {
        let song = collection.meta[row].song();
        let mut kept_before = kept.iter();
        let is_again = kept_before.any(|&other| are_copies(collection, row, other))
            || song.as_ref().is_some_and(|song| songs.contains(song));
        if is_again && !named.contains(&row) {
            found.push(row);
        } else {
            kept.push(row);
            songs.extend(song);
        }
    }
    found
}
