//! A list of tracks around seeds, as `playlist` makes it.

use std::collections::{BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::{duplicate_groups, neighbours_of_duplicates};
use super::similar::FarJson;
use super::track::ListedJson;
use crate::spans::ScaleCurve;
use voisin_base::track::TrackId;
use voisin_engine::{Collection, Engine, EngineError, FileListener, GraphUse, Seed, Standing};
use voisin_explore::duplicates::{DuplicateOptions, PairListener};
use voisin_explore::playlist::{Entry, Length, PlaylistOptions, chain, playlist_near};
use voisin_explore::{Course, KnnGraph, TrackMeta};
use voisin_library::{Descriptors, SongSet, Track, TrackSet};

/// Tempos count as they are shown, rounded.
const SHOWN: f64 = 0.5;
/// So many times the length of a list are candidates where key and tempo choose among them, and so many times as many where
/// these were too few.
pub const MIX_REACH: usize = 8;
const WIDER: usize = 4;
/// Points by which a track may be off a curve: more only where the list would not be filled.
// Doubled each time; the last lets any value pass.
const TOLERANCES: [f64; 5] = [4.0, 8.0, 16.0, 32.0, 100.0];
/// Pairs of a list that are listened to at most: a few seconds' worth.
const MOST_HEARD: usize = 500;

/// The treatment of copies of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Those are left out that vectors, names and lengths tell.
    LeftOut,
    /// Candidates for copies of another track of the list are decoded and compared: finds those of low bit rates, too.
    LookedFor,
    /// They stay.
    Kept,
}

/// Constraints of a list besides its options.
#[derive(Debug, Clone, Copy)]
pub struct PlaylistConstraints<'a> {
    /// Copies of one recording that were left out.
    pub copies: Copies,
    /// Other versions of a song that is in the list stay.
    pub keeps_versions: bool,
    /// Each track's key mixes with that of the one before.
    pub harmonic: bool,
    /// Beats a minute from one track to the next.
    pub max_bpm_step: Option<f64>,
    /// How a scale changes along the list.
    pub(crate) curve: Option<ScaleCurve>,
    /// Which tracks may be in it besides those that are named as seeds; `None`: all.
    pub allowed: Option<&'a TrackSet>,
    /// Seconds from which a track is too long for it, as a set of a whole evening, unless it is named as a seed.
    pub longest: Option<f64>,
    /// Similarities to seeds, by their rows, that no track exceeds which is not in the collection.
    pub least: &'a HashMap<usize, f32>,
}

/// A list, as rows of the collection.
#[derive(Debug, Default)]
pub struct PlaylistRows {
    /// Rows of the collection, in the order of the list.
    pub rows: Vec<usize>,
    /// Whether nothing else follows in key and tempo although the list is not full.
    pub is_short: bool,
    /// How near the seeds have anything here, where there are any.
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
    /// - `seeds`: of which what phrases stand for is noted
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

/// Makes a list; `None` where tracks might belong into it that are not in the collection.
///
/// - `seeds`: rows to start from, those that are named one by one first
/// - `named`: how many those are
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
        // A wider reach found no more candidates: all that may be in the list were looked at.
        let is_through = candidates <= seen;
        if list.rows.len() > longest.rows.len() || !list.is_short {
            longest = list;
        }
        if !longest.is_short || is_through {
            return Ok(Some(longest));
        }
        // Only a part of the tracks is here: let the caller read all before the search gets wider.
        if !wanted.least.is_empty() {
            return Ok(None);
        }
        longest.is_short = true;
        seen = candidates;
        reach = reach.saturating_mul(WIDER);
    }
}

/// - `reach`: so many times the list's length are candidates where key and tempo choose
/// - returns: the list, and how many candidates it was chosen from
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
    let mixed = wanted.harmonic || wanted.max_bpm_step.is_some() || wanted.curve.is_some();
    // The limits are of what is chosen: among the candidates there is room for more.
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
    // The graph of the whole collection, made once: the loop below looks at parts of it.
    let looked_for = if wanted.copies == Copies::LookedFor {
        let graph = engine.knn_graph(
            collection,
            neighbours_of_duplicates(collection),
            GraphUse::Copies,
        )?;
        Some((graph, FileListener::new(engine.library(), |_| {})?))
    } else {
        None
    };
    let vectors = collection.vectors.view();
    let space = engine.space()?.clone();
    let with_genres = |row: usize| {
        let genres = collection.genres.get(row).map_or(&[][..], Vec::as_slice);
        (collection.ids[row], genres)
    };
    let speech = engine
        .genres()
        .speech(seeds.iter().copied().map(with_genres))?;
    let is_speech = |row: &usize| speech.contains(&collection.ids[*row]);
    // Rows of a filter are no wish for each of its kinds.
    // Speech is left out of a list unless a seed is speech itself.
    let takes_speech = if named > 0 {
        seeds[..named].iter().any(is_speech)
    } else {
        seeds.iter().all(is_speech)
    };
    let unwanted = if takes_speech {
        HashSet::new()
    } else {
        engine
            .genres()
            .speech((0..collection.ids.len()).map(with_genres))?
    };
    // Again and again without the copies that were found, as leaving them out makes room for
    // others. It ends, since each turn excludes rows.
    let entries = loop {
        let is_out = |row: usize| {
            excluded.contains(&row)
                || unwanted.contains(&collection.ids[row])
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
                // Nothing is missing from the collection.
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
        let listed = || {
            entries
                .iter()
                .map(|entry| entry.row)
                .chain(seeds[..named].iter().copied())
        };
        // A file that is a seed from outside has no id.
        let ids: Vec<TrackId> = listed()
            .map(|row| collection.ids[row])
            .filter(|id| !wanted.keeps_versions && id.0 > 0)
            .collect();
        let tracks = engine.library().tracks_by_id(&ids)?;
        let known = engine.library().derived().known_songs(&ids)?;
        let tracks: HashMap<TrackId, &Track> =
            tracks.iter().map(|track| (track.id, track)).collect();
        let song = |row: usize| {
            let id = collection.ids[row];
            tracks
                .get(&id)
                .map(|&track| (track, known.get(&id).copied()))
        };
        let sound = |row: usize| space.restore(&vectors.row(row).to_vec());
        let mut again = repeated(&entries, &seeds[..named], is_copy, song, sound);
        if let Some((graph, listener)) = &looked_for {
            let rows: BTreeSet<usize> = listed().filter(|row| !again.contains(row)).collect();
            again.extend(heard_copies(
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
    // Of the candidates, nearest first, a chain is chosen that fits in key, tempo and curve.
    if mixed {
        let known = engine.library().derived().descriptors(&collection.ids)?;
        let unknown = Descriptors::default();
        let descriptors_of = |row: usize| known.get(&collection.ids[row]).unwrap_or(&unknown);
        let value = |row: usize| {
            let known = known.get(&collection.ids[row])?;
            Some(known.scales.get(&wanted.curve?.scale)?.value)
        };
        let shape = |place: f64| wanted.curve.map_or(0.0, |curve| curve.at(place));
        let course = wanted.curve.map(|_| {
            let seconds = rows.iter().map(|&row| collection.meta[row].seconds);
            // A guess at how many tracks fill a length: the curve needs to know where its end is.
            let mean = seconds.sum::<f64>() / rows.len().max(1) as f64;
            let count = match length {
                Length::Tracks(tracks) => tracks as f64,
                Length::Seconds(seconds) => seconds / mean.max(1.0),
            };
            Course::new(&shape, count, rows.iter().filter_map(|&row| value(row)))
        });
        if let (0, Some(course)) = (named, &course) {
            // No seed opens the list: it begins where the curve does.
            let off = |row: &usize| value(*row).map_or(f64::INFINITY, |x| course.off(0, x));
            let first = (0..rows.len()).min_by(|&a, &b| off(&rows[a]).total_cmp(&off(&rows[b])));
            // `None` where length or speech left out every candidate.
            if let Some(first) = first {
                rows[..=first].rotate_right(1);
            }
        }
        let follows = |from: usize, to: usize| {
            let from = descriptors_of(from);
            let to = descriptors_of(to);
            let in_key = from
                .key
                .zip(to.key)
                // A track whose key or tempo is not known follows nothing.
                .is_some_and(|(from, to)| from.compatible().contains(&to));
            let step = from.tempo.zip(to.tempo).map(|(from, to)| (from - to).abs());
            (!wanted.harmonic || in_key)
                && wanted
                    .max_bpm_step
                    .is_none_or(|most| step.is_some_and(|step| step <= most + SHOWN))
        };
        let all = std::mem::take(&mut rows);
        // Close to the curve first; each turn looser, until the list is full.
        for most in TOLERANCES {
            let fits = |place: usize, from: usize, to: usize| {
                follows(from, to)
                    && course.as_ref().is_none_or(|course| {
                        value(to).is_some_and(|value| course.off(place, value) <= most)
                    })
            };
            let found = chain(&all, &collection.meta, options, &fits);
            if found.len() > rows.len() {
                rows = found;
            }
            is_short = match length {
                Length::Tracks(n) => rows.len() < n,
                Length::Seconds(seconds) => {
                    rows.iter()
                        .map(|&row| collection.meta[row].seconds)
                        .sum::<f64>()
                        // A list that fills four fifths of its time is
                        // not called short: the next track may be long.
                        < 0.8 * seconds
                }
            };
            if !is_short || course.is_none() {
                break;
            }
        }
    }
    let list = PlaylistRows {
        rows,
        is_short,
        standing: None,
    };
    Ok(Some((list, candidates)))
}

/// Rows of a list that are copies of others in it, by listening where that is in doubt.
///
/// - `graph`: of the collection
/// - `named`: seeds; of a recording that is one of them, every other copy is left out
fn heard_copies(
    engine: &Engine,
    collection: &Collection,
    graph: &KnnGraph,
    listener: &dyn PairListener,
    rows: BTreeSet<usize>,
    named: &[usize],
) -> Result<Vec<usize>, EngineError> {
    let rows: Vec<usize> = rows.into_iter().collect();
    let meta: Vec<TrackMeta> = rows
        .iter()
        .map(|&row| collection.meta[row].clone())
        .collect();
    let options = DuplicateOptions {
        most_heard: MOST_HEARD,
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
            // A seed that was named stays, even where another copy is better.
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

/// Rows of a list that repeat one before them; a seed that was named never does.
///
/// - `song`: a track, and which song it is known to be; `None` where another version repeats nothing
/// - `sound`: a row's vector as the model gave it
fn repeated<'a>(
    entries: &[Entry],
    named: &[usize],
    is_copy: impl Fn(usize, usize) -> bool,
    song: impl Fn(usize) -> Option<(&'a Track, Option<TrackId>)>,
    sound: impl Fn(usize) -> Vec<f32>,
) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    let mut songs = SongSet::default();
    let mut found = Vec::new();
    let others = entries
        .iter()
        .map(|entry| entry.row)
        .filter(|row| !named.contains(row));
    // Named ones first, so that all others are compared with them.
    for row in named.iter().copied().chain(others) {
        let song = song(row).map(|(track, known)| (track, known, sound(row)));
        let is_again = kept.iter().any(|&other| is_copy(row, other))
            || song
                .as_ref()
                .is_some_and(|(track, known, vector)| songs.contains(track, *known, Some(vector)));
        if is_again && !named.contains(&row) {
            found.push(row);
        } else {
            kept.push(row);
            song.iter()
                .for_each(|(track, known, vector)| songs.insert(track, *known, Some(vector)));
        }
    }
    found
}
