//! Assembling a playlist around seeds, and its JSON.

use std::collections::{BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::{duplicate_groups, neighbours_of_duplicates};
use super::similar::FarJson;
use super::track::ListedJson;
use voisin_base::track::TrackId;
use voisin_engine::{AudioComparer, Collection, Engine, EngineError, GraphUse, Seed, Standing};
use voisin_explore::duplicates::{DuplicateOptions, PairComparer};
use voisin_explore::playlist::{Entry, Length, PlaylistOptions, chain, playlist_near};
use voisin_explore::{KnnGraph, TrackMeta};
use voisin_library::{Descriptors, TrackSet};

/// Half a step of the rounded tempos that are shown.
const SHOWN: f64 = 0.5;
/// Candidates for a list with rules of key or tempo: this many times its length, and this many times as many if they were too
/// few.
pub const MIX_REACH: usize = 8;
const WIDER: usize = 4;
/// Pairs of a list whose audio is compared at most, which takes a few seconds.
const MOST_COMPARED: usize = 500;

/// The treatment of copies of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Copies by vectors, names and lengths are left out.
    LeftOut,
    /// Candidates for copies are decoded and compared, which finds those of low bit rates, too.
    LookedFor,
    /// Copies stay.
    Kept,
}

/// Constraints of a list besides its options.
#[derive(Debug, Clone, Copy)]
pub struct PlaylistConstraints<'a> {
    /// The treatment of copies.
    pub copies: Copies,
    /// Each track's key mixes with that of the previous one.
    pub harmonic: bool,
    /// Largest step of tempo from one track to the next, in beats a minute.
    pub max_bpm_step: Option<f64>,
    /// Tracks that may be in it besides named seeds; `None`: all.
    pub allowed: Option<&'a TrackSet>,
    /// Longest track in seconds, to exclude long sets, except for named seeds.
    pub longest: Option<f64>,
    /// Upper bounds of the similarity to seeds, by their rows, of tracks that are not in the collection.
    pub least: &'a HashMap<usize, f32>,
    /// Tracks that are not in it.
    pub excluded: &'a HashSet<TrackId>,
}

/// A list, as rows of the collection.
#[derive(Debug, Default)]
pub struct PlaylistRows {
    /// Rows of the collection, in the order of the list.
    pub rows: Vec<usize>,
    /// Whether the list is not full because no other track fits in key and tempo.
    pub is_short: bool,
    /// How near the library is to the seeds, if there are any.
    pub standing: Option<Standing>,
}

/// The documented JSON of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlaylistJson {
    /// The tracks.
    pub items: Vec<ListedJson>,
    #[serde(flatten)]
    far: FarJson,
}

impl PlaylistJson {
    /// As programs read it.
    ///
    /// - `seeds`: for notes on phrases
    pub fn new(
        engine: &Engine,
        seeds: &[Seed],
        tracks: &[&TrackMeta],
        standing: Option<&Standing>,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            items: ListedJson::list(engine, tracks)?,
            far: FarJson::new(standing).of_seeds(seeds),
        })
    }
}

/// Makes a list; `None` if tracks outside of the collection might belong in it.
///
/// - `seeds`: rows of the seeds, those named one by one first
/// - `named`: number of those
pub fn listed(
    engine: &mut Engine,
    collection: &Collection,
    seeds: &[usize],
    named: usize,
    wanted: &PlaylistConstraints<'_>,
    options: &PlaylistOptions,
) -> Result<Option<PlaylistRows>, EngineError> {
    let mut reach = MIX_REACH;
    let mut longest = PlaylistRows::default();
    let mut seen = 0;
    loop {
        let found = listed_among(engine, collection, seeds, named, wanted, options, reach)?;
        let Some((list, candidates)) = found else {
            return Ok(None);
        };
        // A wider reach found no more candidates, so there are none.
        let is_through = candidates <= seen;
        if list.rows.len() > longest.rows.len() || !list.is_short {
            longest = list;
        }
        if !longest.is_short || is_through {
            return Ok(Some(longest));
        }
        // The collection has a part of the tracks: the caller reads all before the search gets wider.
        if !wanted.least.is_empty() {
            return Ok(None);
        }
        longest.is_short = true;
        seen = candidates;
        reach = reach.saturating_mul(WIDER);
    }
}

/// - `reach`: candidates as a multiple of the list's length, for rules of key and tempo
/// - returns: the list, and the number of candidates
fn listed_among(
    engine: &mut Engine,
    collection: &Collection,
    seeds: &[usize],
    named: usize,
    wanted: &PlaylistConstraints<'_>,
    options: &PlaylistOptions,
    reach: usize,
) -> Result<Option<(PlaylistRows, usize)>, EngineError> {
    let length = options.length;
    let mixed = wanted.harmonic || wanted.max_bpm_step.is_some();
    // The limits hold for the list: there may be more among the candidates.
    let most = |most: Option<usize>| most.map(|most| most.saturating_mul(reach));
    let pool_options = if mixed {
        PlaylistOptions {
            length: length.times(reach),
            max_per_artist: most(options.max_per_artist),
            max_per_album: most(options.max_per_album),
            ..options.clone()
        }
    } else {
        options.clone()
    };
    let mut excluded: HashSet<usize> = HashSet::new();
    // The graph of the whole collection, computed once: the loop below uses parts of it.
    let looked_for = if wanted.copies == Copies::LookedFor {
        let graph = engine.knn_graph(
            collection,
            neighbours_of_duplicates(collection),
            GraphUse::Copies,
        )?;
        Some((graph, AudioComparer::new(engine.library(), |_| {})?))
    } else {
        None
    };
    let vectors = collection.vectors.view();
    // Repeated without the copies found, which makes room for others. It ends, since each turn
    // excludes rows.
    let entries = loop {
        let is_out = |row: usize| {
            excluded.contains(&row)
                || wanted.excluded.contains(&collection.ids[row])
                || wanted
                    .allowed
                    .is_some_and(|set| !set.contains(collection.ids[row]))
                || wanted
                    .longest
                    .is_some_and(|longest| collection.meta[row].seconds > longest)
        };
        let least = |seed: usize| {
            wanted
                .least
                .get(&seed)
                .copied()
                // The collection is complete.
                .unwrap_or(f32::NEG_INFINITY)
        };
        let entries = playlist_near(
            vectors,
            &collection.meta,
            seeds,
            &is_out,
            &pool_options,
            &least,
        )?;
        let Some(entries) = entries else {
            return Ok(None);
        };
        let is_copy =
            |a: usize, b: usize| wanted.copies != Copies::Kept && are_copies(collection, a, b);
        let song = |row: usize| {
            let is_compared = wanted.copies != Copies::Kept;
            is_compared.then(|| collection.meta[row].song()).flatten()
        };
        let mut again = repeated(&entries, &seeds[..named], is_copy, song);
        if let Some((graph, listener)) = &looked_for {
            let listed = entries.iter().map(|entry| entry.row);
            let rows: BTreeSet<usize> = listed
                .chain(seeds[..named].iter().copied())
                .filter(|row| !again.contains(row))
                .collect();
            again.extend(copies_by_audio(
                engine,
                collection,
                graph,
                listener,
                rows,
                &seeds[..named],
            )?);
        }
        if again.is_empty() {
            break entries;
        }
        excluded.extend(again);
    };
    let mut rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
    let candidates = rows.len();
    let mut is_short = false;
    // A chain of candidates, nearest first, that fits in key and tempo.
    if mixed {
        let known = engine.library().derived().descriptors(&collection.ids)?;
        let unknown = Descriptors::default();
        let descriptors_of = |row: usize| known.get(&collection.ids[row]).unwrap_or(&unknown);
        let follows = |from: usize, to: usize| {
            let from = descriptors_of(from);
            let to = descriptors_of(to);
            let in_key = from
                .key
                .zip(to.key)
                // A track of unknown key or tempo follows none.
                .is_some_and(|(from, to)| from.compatible().contains(&to));
            let step = from.tempo.zip(to.tempo).map(|(from, to)| (from - to).abs());
            (!wanted.harmonic || in_key)
                && wanted
                    .max_bpm_step
                    .is_none_or(|most| step.is_some_and(|step| step <= most + SHOWN))
        };
        rows = chain(&rows, &collection.meta, options, &follows);
        is_short = match length {
            Length::Tracks(n) => rows.len() < n,
            Length::Seconds(seconds) => {
                rows.iter()
                    .map(|&row| collection.meta[row].seconds)
                    .sum::<f64>()
                    // A list that fills four fifths of its time is
                    // not short: the next track may be long.
                    < 0.8 * seconds
            }
        };
    }
    let list = PlaylistRows {
        rows,
        is_short,
        standing: None,
    };
    Ok(Some((list, candidates)))
}

/// Rows of a list that are copies of others in it, by comparing audio in doubtful cases.
///
/// - `graph`: of the collection
/// - `named`: seeds, of which every other copy is left out
fn copies_by_audio(
    engine: &Engine,
    collection: &Collection,
    graph: &KnnGraph,
    listener: &dyn PairComparer,
    rows: BTreeSet<usize>,
    named: &[usize],
) -> Result<Vec<usize>, EngineError> {
    let rows: Vec<usize> = rows.into_iter().collect();
    let meta: Vec<TrackMeta> = rows
        .iter()
        .map(|&row| collection.meta[row].clone())
        .collect();
    let options = DuplicateOptions {
        most_compared: MOST_COMPARED,
        ..DuplicateOptions::default()
    };
    let groups = duplicate_groups(
        engine,
        &graph.induced(&rows),
        &meta,
        Some(listener),
        &options,
    )?;
    let copies = groups.iter().flat_map(|group| {
        let files = || {
            [&group.best]
                .into_iter()
                .chain(&group.others)
                .filter_map(|&track| collection.row(track))
        };
        let kept = files()
            // A named seed stays, even if another copy is better.
            .find(|row| named.contains(row))
            .or_else(|| files().next());
        files()
            .filter(move |row| Some(*row) != kept && !named.contains(row))
            .collect::<Vec<_>>()
    });
    Ok(copies.collect())
}

fn are_copies(collection: &Collection, a: usize, b: usize) -> bool {
    let recording = |row: usize| collection.meta[row].recording();
    let similarity = collection.vectors.row(a).dot(&collection.vectors.row(b));
    recording(a).is_copy(&recording(b), similarity)
}

/// Rows of a list that repeat one before them, never named seeds.
///
/// - `song`: artist and title of a row, if it has both
fn repeated(
    entries: &[Entry],
    named: &[usize],
    is_copy: impl Fn(usize, usize) -> bool,
    song: impl Fn(usize) -> Option<[String; 2]>,
) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    let mut songs: HashSet<[String; 2]> = HashSet::new();
    let mut found = Vec::new();
    let others = entries
        .iter()
        .map(|entry| entry.row)
        .filter(|row| !named.contains(row));
    // Named seeds first, so that all others are compared with them.
    for row in named.iter().copied().chain(others) {
        let song = song(row);
        let is_again = kept.iter().any(|&other| is_copy(row, other))
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
