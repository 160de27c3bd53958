//! Files of the same recording with another codec, bit rate, level, or silence at the ends.
//!
//! Candidates come from the neighbour graph. Window vectors aligned in time separate the same recording from
//! similar music; in doubtful cases the audio is compared (see [`audio_match`](super::audio_match)). Nothing
//! is deleted here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::union::DisjointSets;
use super::{KnnGraph, Result, TrackMeta, WindowSet, WindowSource, align, same_length};
use voisin_base::text::fold;
use voisin_base::track::TrackId;

/// Neighbours of each track to compare.
pub const NEIGHBOURS: usize = 8;

// Chosen on free music: the nearest pairs of 766 excerpts of 30 s, and 296 of the excerpts also at 64 kbit/s MP3 and AAC, Opus
// 48 and 2 s late. The most distinct pair of different recordings has 0.68; the audio of three pairs for four tracks is
// compared. The correlation is at most 0.48 for different recordings, 0.7 for new mixes of one piece, and at least 0.84 for
// true pairs (AAC: 0.70).

/// Least cosine of track vectors of a pair to compare.
const CANDIDATE: f32 = 0.5;
/// The same for tracks whose lengths differ by more than twice [`MOST_OFFSET`], as with silence at an end of one: a song
/// followed by five minutes of silence has 0.98.
const SILENT: f32 = 0.9;
/// Fit of windows that proves the same recording.
const CERTAIN: Fit = Fit {
    similarity: 0.9,
    distinctness: 0.8,
};
/// Least fit of windows for the audio to be compared.
const POSSIBLE: Fit = Fit {
    similarity: 0.5,
    distinctness: 0.2,
};
/// Largest difference in seconds between the lengths of the music, without silence at its ends, if windows decide: encoders'
/// padding and pauses between tracks are shorter.
const SAME_LENGTH: f64 = 5.0;
/// Most pairs whose audio is compared in one run, the most distinct first.
const MOST_COMPARED: usize = 20_000;
/// Least correlation of the audio (see [`PairComparer`]) of one recording.
const CORRELATION: f32 = 0.7;
/// Least share of the shorter track that must be covered, 0 to 1.
const COVERAGE: f32 = 0.7;
/// Largest difference between the starts of the music, in seconds, besides silence before it.
const MOST_OFFSET: f32 = 15.0;

/// Similarity of two tracks by aligned windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Mean cosine of aligned windows.
    pub similarity: f32,
    /// Similarity at the best offset relative to any two moments of the tracks, up to 1: (s − m) / (1 − m), where s is the
    /// mean cosine at the offset and m the mean over all pairs of windows.
    pub distinctness: f32,
}

impl Fit {
    fn new(similarity: f32, distinctness: f32) -> Self {
        Self {
            similarity,
            distinctness,
        }
    }

    fn reaches(&self, least: &Self) -> bool {
        self.similarity >= least.similarity && self.distinctness >= least.distinctness
    }
}

/// Compares the audio of doubtful pairs.
pub trait PairComparer: Sync {
    /// Called once, before the first pair.
    ///
    /// - `pairs`: number of pairs to compare at most
    /// - `skipped`: number of further pairs, which count as different
    fn begin(&self, pairs: usize, skipped: usize) {
        let _ = (pairs, skipped);
    }

    /// Result of an earlier comparison: whether two tracks are one recording.
    fn known(&self, a: TrackId, b: TrackId) -> Option<bool> {
        let _ = (a, b);
        None
    }

    /// Correlation of the audio of two tracks, −1 to 1; `None` if they cannot be
    /// compared (a file is gone or silent).
    ///
    /// - `lead`: seconds by which silence before the music of `b` is longer, if known
    fn correlation(&self, a: &TrackMeta, b: &TrackMeta, lead: f32) -> Option<f32>;

    /// Seconds of a track without silence at its ends; `None` if unknown.
    fn music_seconds(&self, track: &TrackMeta) -> Option<f64> {
        let _ = track;
        None
    }

    /// Called with the result for a pair whose correlation was computed.
    fn decided(&self, a: TrackId, b: TrackId, same: bool) {
        let _ = (a, b, same);
    }
}

/// Two files of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicatePair {
    /// One track.
    pub a: TrackId,
    /// The other.
    pub b: TrackId,
    /// Mean cosine similarity of aligned windows.
    pub similarity: f32,
    /// See [`Fit::distinctness`].
    pub distinctness: f32,
    /// Correlation of the audio, if it was compared in this run.
    pub correlation: Option<f32>,
    /// Seconds by which `b` is late: time t of `a` sounds at t + offset in `b`.
    pub offset: f32,
    /// Share of the shorter track's windows with a partner.
    pub coverage: f32,
}

/// Files of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// The file to keep.
    pub best: TrackId,
    /// Why it is better than the second best file.
    pub reason: String,
    /// The others, better ones first.
    pub others: Vec<TrackId>,
    /// Bytes freed by deleting the others.
    pub bytes: u64,
    /// The file to keep with each of the others.
    pub pairs: Vec<DuplicatePair>,
}

/// No minimum.
const ANY: Fit = Fit {
    similarity: -1.0,
    distinctness: f32::NEG_INFINITY,
};
/// Window sets in the cache.
const CACHE: usize = 4096;
/// Pairs per batch, whose windows are loaded together.
const BATCH: usize = 512;

/// Groups files of the same recording, those that free most bytes first. Each file of a group is the same recording as the one
/// to keep; similarity to another copy is not enough.
///
/// A pair whose titles and artists both differ never counts, and none whose audio cannot be compared, unless their windows are
/// nearly equal.
///
/// - `graph`, `meta`: same rows
/// - `source`: opens window vectors, closed again before any audio is compared; pairs without them are left out
/// - `comparer`: compares the audio of doubtful pairs
pub fn duplicates<S: WindowSource>(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    source: impl Fn() -> S,
    comparer: &dyn PairComparer,
) -> Result<Vec<DuplicateGroup>> {
    same_length("metadata", graph.len(), meta.len())?;
    let aligned = align_pairs(&candidates(graph, meta), meta, source(), &POSSIBLE);
    let mut decider = PairDecider {
        meta,
        comparer,
        aligned,
        same: BTreeMap::new(),
        left: MOST_COMPARED,
    };
    decider.candidates();
    // Confirmed rows that are in no group yet. Each round removes at least the kept ones, so that the
    // loop ends.
    let mut open: BTreeSet<usize> = decider.confirmed().flat_map(|(a, b)| [a, b]).collect();
    let mut answer = Vec::new();
    loop {
        let mut copies = decider.copies_among(&open);
        if copies.is_empty() {
            break;
        }
        // Decoded once for all groups of the round, since the best file may depend on it.
        let music = decider.music(&copies);
        for rows in &mut copies {
            rank(rows, meta, &music);
        }
        // Copies of a copy were not compared with the file to keep.
        let open_pairs: Vec<(usize, usize)> = copies
            .iter()
            .flat_map(|rows| rows[1..].iter().map(|&row| ordered(rows[0], row)))
            .filter(|pair| !decider.same.contains_key(pair))
            .collect();
        let unknown: Vec<_> = open_pairs
            .iter()
            .copied()
            .filter(|pair| !decider.aligned.contains_key(pair))
            .collect();
        // Without a minimum, because these pairs have to be decided in any case.
        if !unknown.is_empty() {
            decider
                .aligned
                .extend(align_pairs(&unknown, meta, source(), &ANY));
        }
        decider.decide(&open_pairs);
        for rows in copies {
            let keep = rows[0];
            let mut others: Vec<usize> = Vec::new();
            for &row in &rows[1..] {
                // Two songs may both seem to be the untagged one that is kept.
                let is_other = |&copy: &usize| other_song(&meta[copy], &meta[row]);
                if decider.is_same(ordered(keep, row)) && !others.iter().any(is_other) {
                    others.push(row);
                }
            }
            let others = expendable(keep, others, meta, &music);
            // Files that are no copies of the kept one stay open, and may be a group of their own in the
            // next round.
            open.remove(&keep);
            open.retain(|row| !others.contains(row));
            answer.extend(decider.group(keep, &others, &music));
        }
    }
    answer.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.best.cmp(&b.best)));
    Ok(answer)
}

/// The alignment of two tracks.
#[derive(Debug, Clone)]
struct Aligned {
    pair: DuplicatePair,
    /// Seconds by which the silence at the start of the second is longer, estimated from
    /// windows.
    lead: f32,
    /// Whether the music of both has the same length.
    lengths_agree: bool,
}

impl Aligned {
    fn fit(&self) -> Fit {
        Fit::new(self.pair.similarity, self.pair.distinctness)
    }
}

/// Decides whether pairs of rows are one recording.
struct PairDecider<'a> {
    meta: &'a [TrackMeta],
    comparer: &'a dyn PairComparer,
    aligned: HashMap<(usize, usize), Aligned>,
    /// Decided pairs: whether they are one recording, and the correlation if their audio was compared.
    same: BTreeMap<(usize, usize), (bool, Option<f32>)>,
    /// Number of pairs that may still be compared.
    left: usize,
}

impl PairDecider<'_> {
    fn is_same(&self, pair: (usize, usize)) -> bool {
        self.same.get(&pair).is_some_and(|&(same, _)| same)
    }

    fn confirmed(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.same
            .iter()
            .filter(|(_, (same, _))| *same)
            .map(|(&pair, _)| pair)
    }

    /// Decides enough pairs to know the connected groups of tracks.
    fn candidates(&mut self) {
        let mut pairs: Vec<(usize, usize)> = self.aligned.keys().copied().collect();
        // The most distinct first: they join most groups, within which no audio has to be compared.
        let distinctness = |pair: &(usize, usize)| self.aligned[pair].pair.distinctness;
        pairs.sort_by(|x, y| distinctness(y).total_cmp(&distinctness(x)).then(x.cmp(y)));
        // Decisions by windows are cheap and join most sets; audio is compared for the rest.
        let (sure, doubtful): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .partition(|&pair| self.without_audio(pair).is_some());
        self.decide(&sure);
        let mut sets = DisjointSets::new(self.meta.len());
        for (a, b) in self.confirmed() {
            sets.join(a, b);
        }
        if !doubtful.is_empty() {
            self.comparer.begin(
                doubtful.len().min(self.left),
                doubtful.len().saturating_sub(self.left),
            );
        }
        for batch in doubtful.chunks(BATCH) {
            let open: Vec<(usize, usize)> = batch
                .iter()
                .copied()
                // Tracks that are already joined need not be compared here.
                .filter(|&(a, b)| sets.find(a) != sets.find(b))
                .collect();
            self.decide(&open);
            for (a, b) in open.into_iter().filter(|&pair| self.is_same(pair)) {
                sets.join(a, b);
            }
        }
    }

    /// Decides these pairs in parallel; a pair that was not aligned is not one recording.
    fn decide(&mut self, pairs: &[(usize, usize)]) {
        let (sure, doubtful): (Vec<_>, Vec<_>) = pairs
            .iter()
            .map(|&pair| (pair, self.without_audio(pair)))
            .partition(|(_, known)| known.is_some());
        self.same.extend(
            sure.into_iter()
                .map(|(pair, known)| (pair, (known == Some(true), None))),
        );
        let count = doubtful.len().min(self.left);
        self.left -= count;
        let answers: Vec<Option<f32>> = doubtful[..count]
            .par_iter()
            .map(|&(pair, _)| self.correlation(pair))
            .collect();
        let answers = answers.into_iter().chain(std::iter::repeat(None));
        for ((pair, _), correlation) in doubtful.into_iter().zip(answers) {
            let same = correlation.is_some_and(|correlation| correlation >= CORRELATION);
            self.same.insert(pair, (same, correlation));
        }
    }

    /// Whether a pair is one recording, if that is known without comparing audio.
    fn without_audio(&self, pair: (usize, usize)) -> Option<bool> {
        let Some(aligned) = self.aligned.get(&pair) else {
            return Some(false);
        };
        let [a, b] = [&self.meta[pair.0], &self.meta[pair.1]];
        if other_song(a, b) {
            return Some(false);
        }
        // With a different title or artist the audio is compared even for a perfect fit, which two mixes of one
        // piece may have.
        let is_certain = aligned.fit().reaches(&CERTAIN) && aligned.lengths_agree;
        if is_certain && !titles_differ(a, b) {
            return Some(true);
        }
        self.comparer.known(a.id, b.id)
    }

    fn correlation(&self, pair: (usize, usize)) -> Option<f32> {
        let [a, b] = [&self.meta[pair.0], &self.meta[pair.1]];
        let lead = self.aligned[&pair].lead;
        let correlation = self.comparer.correlation(a, b, lead)?;
        self.comparer
            .decided(a.id, b.id, correlation >= CORRELATION);
        Some(correlation)
    }

    /// Groups of two or more rows, connected by pairs of one recording.
    fn copies_among(&self, rows: &BTreeSet<usize>) -> Vec<Vec<usize>> {
        let mut sets = DisjointSets::new(self.meta.len());
        let joined = self
            .confirmed()
            .filter(|(a, b)| rows.contains(a) && rows.contains(b));
        joined.for_each(|(a, b)| {
            sets.join(a, b);
        });
        let mut copies: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &row in rows {
            copies.entry(sets.find(row)).or_default().push(row);
        }
        copies.into_values().filter(|rows| rows.len() > 1).collect()
    }

    /// Seconds of music of files that differ in length from their copies; for all files of a group or
    /// none.
    fn music(&self, copies: &[Vec<usize>]) -> HashMap<TrackId, f64> {
        let lengths = copies.par_iter().filter_map(|rows| {
            let seconds = || rows.iter().map(|&row| self.meta[row].seconds);
            let longest = seconds().fold(f64::NEG_INFINITY, f64::max);
            let shortest = seconds().fold(f64::INFINITY, f64::min);
            if longest - shortest <= 1.0 {
                return None;
            }
            let music = |&row: &usize| {
                Some((
                    self.meta[row].id,
                    self.comparer.music_seconds(&self.meta[row])?,
                ))
            };
            rows.iter().map(music).collect::<Option<Vec<_>>>()
        });
        lengths.flatten_iter().collect()
    }

    /// A file and its copies, better ones first; `None` without copies.
    fn group(
        &self,
        keep: usize,
        others: &[usize],
        music: &HashMap<TrackId, f64>,
    ) -> Option<DuplicateGroup> {
        let second = others.first()?;
        let pairs = others
            .iter()
            .map(|&row| ordered(keep, row))
            .map(|pair| DuplicatePair {
                correlation: self.same[&pair].1,
                ..self.aligned[&pair].pair.clone()
            });
        let mut reason = reason(&self.meta[keep], &self.meta[*second], music);
        let named = named_versions(others.iter().chain([&keep]).map(|&row| &self.meta[row]));
        if !named.is_empty() {
            reason.push_str(&format!(
                "; named as several versions: {}",
                named.join(", ")
            ));
        }
        Some(DuplicateGroup {
            best: self.meta[keep].id,
            reason,
            others: others.iter().map(|&row| self.meta[row].id).collect(),
            bytes: others.iter().map(|&row| self.meta[row].bytes).sum(),
            pairs: pairs.collect(),
        })
    }
}

fn ordered(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// Whether titles or artists of two tracks are known and differ.
fn titles_differ(a: &TrackMeta, b: &TrackMeta) -> bool {
    names_agree(a, b) == Some(false)
        || names_agree(a, b).is_some() && artists_agree(a, b) == Some(false)
}

/// Whether two titles agree; `None` if one is missing.
fn names_agree(a: &TrackMeta, b: &TrackMeta) -> Option<bool> {
    let are_known = !a.title.trim().is_empty() && !b.title.trim().is_empty();
    are_known.then(|| fold(&a.title) == fold(&b.title))
}

/// Whether two tracks have an artist in common; `None` if one has none.
fn artists_agree(a: &TrackMeta, b: &TrackMeta) -> Option<bool> {
    let [one, other] = [a, b].map(TrackMeta::artist_keys);
    let are_known = !one.is_empty() && !other.is_empty();
    are_known.then(|| one.iter().any(|artist| other.contains(artist)))
}

/// Whether titles and artists of two tracks are known and both differ. Such a pair is never offered: songs over one
/// backing have most of their audio in common, and what they do not have in common is not measured.
fn other_song(a: &TrackMeta, b: &TrackMeta) -> bool {
    artists_agree(a, b) == Some(false) && names_agree(a, b) == Some(false)
}

/// The distinct titles of copies if their tags name different versions; else empty.
fn named_versions<'a>(tracks: impl Iterator<Item = &'a TrackMeta>) -> Vec<&'a str> {
    let mut named: BTreeMap<String, &str> = BTreeMap::new();
    for track in tracks.filter(|track| !track.title.trim().is_empty()) {
        named
            .entry(fold(&track.title))
            .or_insert_with(|| track.display_title());
    }
    if named.len() > 1 {
        named.into_values().collect()
    } else {
        Vec::new()
    }
}

/// Candidate pairs of rows, each once, in order.
fn candidates(graph: &KnnGraph, meta: &[TrackMeta]) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = (0..graph.len())
        .flat_map(|i| {
            graph
                .row(i)
                .take(NEIGHBOURS)
                .filter(|&(_, similarity)| similarity >= CANDIDATE)
                .map(move |(j, similarity)| (ordered(i, j), similarity))
        })
        .filter(|&((a, b), similarity)| {
            // The shorter one must be covered, though starts and ends may differ.
            let a = meta[a].seconds;
            let b = meta[b].seconds;
            let lengths_agree = (a - b).abs() <= 2.0 * f64::from(MOST_OFFSET);
            a <= 0.0 || b <= 0.0 || lengths_agree || similarity >= SILENT
        })
        .map(|(pair, _)| pair)
        .collect();
    pairs.sort_unstable();
    // A pair is found from both of its tracks.
    pairs.dedup();
    pairs
}

/// Aligns these pairs and keeps those with at least this fit.
fn align_pairs(
    pairs: &[(usize, usize)],
    meta: &[TrackMeta],
    mut source: impl WindowSource,
    least: &Fit,
) -> HashMap<(usize, usize), Aligned> {
    let mut cache: HashMap<usize, Option<Arc<WindowSet>>> = HashMap::new();
    let mut found = HashMap::new();
    for batch in pairs.chunks(BATCH) {
        if cache.len() > CACHE {
            // Pairs are mostly in ascending order, so that old rows are rarely needed again.
            cache.clear();
        }
        let mut windows = |row: usize| {
            cache
                .entry(row)
                .or_insert_with(|| source.windows(meta[row].id).map(Arc::new))
                .clone()
        };
        let loaded: Vec<(usize, usize, Arc<WindowSet>, Arc<WindowSet>)> = batch
            .iter()
            .filter_map(|&(a, b)| Some((a, b, windows(a)?, windows(b)?)))
            .collect();
        found.par_extend(loaded.par_iter().filter_map(|(a, b, first, second)| {
            Some((
                (*a, *b),
                align_windows((&meta[*a], first), (&meta[*b], second), least)?,
            ))
        }));
    }
    found
}

/// Aligns the windows of two tracks; `None` if their fit is below `least` or they have no windows.
fn align_windows(
    (a, first): (&TrackMeta, &WindowSet),
    (b, second): (&TrackMeta, &WindowSet),
    least: &Fit,
) -> Option<Aligned> {
    let one = Extent::of(a, first);
    let other = Extent::of(b, second);
    let apart = if a.seconds > 0.0 && b.seconds > 0.0 {
        (one.seconds - other.seconds).abs()
    } else {
        0.0
    };
    // The start of silence is known only to the spacing of windows.
    let slack = one.slack.max(other.slack);
    if apart > 2.0 * f64::from(MOST_OFFSET) + slack {
        return None;
    }
    let lead = (other.lead - one.lead) as f32;
    let best = align::best(first, second, COVERAGE, lead, MOST_OFFSET)?;
    let products: ndarray::Array2<f32> = first.vectors.dot(&second.vectors.t());
    // The mean similarity of any two moments of the tracks, which is high for monotonous styles. Below 1,
    // or a steady tone would divide by 0.
    let usual = products.mean()?.min(0.999_9);
    let fit = Fit::new(best.similarity, (best.similarity - usual) / (1.0 - usual));
    fit.reaches(least).then_some(Aligned {
        pair: DuplicatePair {
            a: a.id,
            b: b.id,
            similarity: fit.similarity,
            distinctness: fit.distinctness,
            correlation: None,
            offset: best.offset,
            coverage: best.coverage,
        },
        lead,
        lengths_agree: apart <= SAME_LENGTH + slack,
    })
}

/// The extent of the music in a file in seconds, estimated from its windows, since silent ones are not
/// stored.
struct Extent {
    /// Silence before the music.
    lead: f64,
    /// Length of the music.
    seconds: f64,
    /// Largest error of these; 0 if there seems to be no silence.
    slack: f64,
}

impl Extent {
    /// Longest possible window: a rest after the last window longer than this and two spacings is
    /// silence.
    const LONGEST_WINDOW: f64 = 4.0;

    fn of(track: &TrackMeta, windows: &WindowSet) -> Self {
        let spacing = f64::from(align::spacing(windows));
        let first = windows
            .starts
            .first()
            .map_or(0.0, |&start| f64::from(start));
        let behind = windows
            .starts
            .last()
            .map_or(0.0, |&start| track.seconds - f64::from(start));
        // Windows are spread evenly, so that the first one is no later than their spacing.
        let lead = if first > spacing + 1.0 {
            first - spacing / 2.0
        } else {
            0.0
        };
        let longest = Self::LONGEST_WINDOW;
        let tail = if behind > 2.0 * spacing + longest {
            behind - spacing / 2.0
        } else {
            0.0
        };
        let slack = if tail > 0.0 {
            spacing + longest
        } else if lead > 0.0 {
            spacing
        } else {
            0.0
        };
        Self {
            lead,
            seconds: track.seconds - lead - tail,
            slack,
        }
    }
}

/// Whether the codec is lossless.
fn lossless(track: &TrackMeta) -> bool {
    let codec = track.codec.to_lowercase();
    // These have "pcm" in their names, but 4 or 8 bits per sample.
    if ["adpcm", "alaw", "mulaw"]
        .iter()
        .any(|name| codec.contains(name))
    {
        return false;
    }
    ["flac", "alac", "pcm", "wav", "aiff", "wavpack", "ape"]
        .iter()
        .any(|name| codec.contains(name))
}

/// Bit rate of an MP3 of similar quality, in kbit/s; newer codecs need less.
fn worth(track: &TrackMeta) -> f64 {
    let codec = track.codec.to_lowercase();
    // A rough estimate suffices to order copies of one recording.
    let factor = if codec.contains("opus") {
        1.6
    } else if codec.contains("aac") || codec.contains("vorbis") {
        1.3
    } else {
        1.0
    };
    (track.kilobits_per_second().unwrap_or(0.0) * factor / 8.0).round() * 8.0
}

/// Seconds of music by which one copy must be longer than another to be clearly longer.
///
/// Padding and the silent end of a fade differ by less between codecs, and so do copies with two seconds cut off, as in
/// `scripts/gates duplicates`.
const LONGER_SECONDS: f64 = 2.5;

fn is_clearly_longer(seconds: f64, other: f64) -> bool {
    seconds - other > LONGER_SECONDS
}

/// Seconds of music without damage; 0 if not measured.
fn intact(track: &TrackMeta, music: &HashMap<TrackId, f64>) -> f64 {
    let seconds = music.get(&track.id);
    seconds.map_or(0.0, |seconds| seconds * track.decoded_share)
}

/// The copies of a file that can be deleted without losing music: none that has more of it. Parts of the file are left to
/// groups of their own if one may be more than a cut copy, such as a song of a medley, by its title or for lossless audio.
fn expendable(
    keep: usize,
    mut copies: Vec<usize>,
    meta: &[TrackMeta],
    music: &HashMap<TrackId, f64>,
) -> Vec<usize> {
    let whole = &meta[keep];
    let length = |row: usize| intact(&meta[row], music);
    copies.retain(|&row| !is_clearly_longer(length(row), length(keep)));
    let is_part = |row: usize| is_clearly_longer(length(keep), length(row));
    let is_song = |row: usize| {
        let part = &meta[row];
        lossless(part) && !lossless(whole) || titles_differ(whole, part)
    };
    if copies.iter().any(|&row| is_part(row) && is_song(row)) {
        copies.retain(|&row| !is_part(row));
    }
    copies
}

/// Sorts copies, the better ones first: a file that lacks a part of the music comes after all that
/// have it, whatever their codecs.
///
/// - `music`: seconds without silence, of all files or of none
fn rank(rows: &mut [usize], meta: &[TrackMeta], music: &HashMap<TrackId, f64>) {
    // Damaged parts count as missing.
    let intact = |row: usize| intact(&meta[row], music);
    rows.sort_by(|&a, &b| intact(b).total_cmp(&intact(a)));
    // "Clearly longer than the next" is not transitive; steps below the longest are.
    let mut steps: HashMap<usize, usize> = HashMap::new();
    let mut step = 0;
    let mut longest = rows.first().map_or(0.0, |&row| intact(row));
    for &row in rows.iter() {
        if is_clearly_longer(longest, intact(row)) {
            longest = intact(row);
            step += 1;
        }
        steps.insert(row, step);
    }
    rows.sort_by(|&a, &b| {
        steps[&a]
            .cmp(&steps[&b])
            .then_with(|| better(&meta[a], &meta[b], music))
    });
}

/// Orders two files without missing music, the better one first.
///
/// - `music`: seconds without silence, of all files or of none
fn better(a: &TrackMeta, b: &TrackMeta, music: &HashMap<TrackId, f64>) -> std::cmp::Ordering {
    // Without silence, and in steps of two seconds, so that a second does not decide.
    let length = |t: &TrackMeta| {
        music
            .get(&t.id)
            .map_or(0, |seconds| (seconds / 2.0).round() as i64)
    };
    let silence = |t: &TrackMeta| {
        music
            .get(&t.id)
            .map_or(0, |seconds| ((t.seconds - seconds) / 2.0).round() as i64)
    };
    let damage = |t: &TrackMeta| (t.decoded_share * 100.0).round() as i64;
    // Audio quality first, since tags and size can be changed later.
    damage(b)
        .cmp(&damage(a))
        .then_with(|| lossless(b).cmp(&lossless(a)))
        .then_with(|| {
            if lossless(a) {
                b.sample_rate.cmp(&a.sample_rate)
            } else {
                worth(b).total_cmp(&worth(a))
            }
        })
        .then_with(|| b.channels.cmp(&a.channels))
        .then_with(|| length(b).cmp(&length(a)))
        .then_with(|| tags(b).cmp(&tags(a)))
        .then_with(|| silence(a).cmp(&silence(b)))
        .then_with(|| a.bytes.cmp(&b.bytes))
        // Of equals the older one, so that the order is deterministic.
        .then(a.id.cmp(&b.id))
}

/// Number of tags that are not empty.
fn tags(t: &TrackMeta) -> usize {
    usize::from(t.artist.is_some())
        + usize::from(t.album.is_some())
        + usize::from(!t.title.is_empty())
        + usize::from(!t.genres.is_empty())
        + usize::from(t.year.is_some())
}

fn reason(best: &TrackMeta, second: &TrackMeta, music: &HashMap<TrackId, f64>) -> String {
    let lengths = music.get(&best.id).zip(music.get(&second.id));
    let longer = lengths.map_or(0.0, |(best, second)| best - second);
    let describe = |t: &TrackMeta| {
        let codec = if t.codec.is_empty() {
            "a file of unknown codec"
        } else {
            t.codec.as_str()
        };
        match t.kilobits_per_second() {
            Some(rate) if !lossless(t) => format!("{codec} at {rate:.0} kbit/s"),
            _ => codec.to_owned(),
        }
    };
    // There is no cheap test whether a FLAC was made from an MP3.
    let origin = if best.codec == second.codec {
        ""
    } else {
        ", if not made from it"
    };
    if lengths.is_some_and(|(best, second)| is_clearly_longer(*best, *second)) {
        format!("{longer:.0} s longer: the next is a part of it")
    } else if best.decoded_share - second.decoded_share > 0.01 {
        format!(
            "undamaged: the next has {:.0} % damaged",
            100.0 * (1.0 - second.decoded_share)
        )
    } else if lossless(best) != lossless(second) {
        format!(
            "lossless ({}) rather than {}{origin}",
            describe(best),
            describe(second)
        )
    } else if !lossless(best) && worth(best) > worth(second) {
        format!(
            "{} rather than {}{origin}",
            describe(best),
            describe(second)
        )
    } else {
        "alike in quality".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{normal, unit_vectors};
    use super::*;
    use ndarray::{Array2, Axis, s};
    use rand::{SeedableRng, rngs::StdRng};

    /// Thirty windows of one piece, a second apart; `noise` simulates a codec.
    fn piece(seed: u64, cut: usize, noise: f32) -> WindowSet {
        let common = unit_vectors(1, 32, 1000);
        let changing = unit_vectors(34, 32, seed);
        let mut rng = StdRng::seed_from_u64(seed * 31 + cut as u64);
        let raw = Array2::from_shape_fn((30, 32), |(i, d)| {
            3.0 * common[[0, d]]
                + changing[[i + cut, d]]
                + noise * normal(&mut rng) / 32.0_f32.sqrt()
        });
        WindowSet::new(&(0..30).map(|i| i as f32).collect::<Vec<_>>(), &raw)
    }

    /// Hears one recording where two tracks are of one piece.
    struct Pieces(Vec<u64>);

    impl PairComparer for Pieces {
        fn correlation(&self, a: &TrackMeta, b: &TrackMeta, _: f32) -> Option<f32> {
            let [a, b] = [a, b].map(|track| self.0[track.id.0 as usize]);
            Some(if a == b { 0.9 } else { 0.1 })
        }
    }

    #[test]
    fn versions_are_grouped_and_similar_music_is_not() {
        let mut sets: Vec<WindowSet> = (0..40).map(|i| piece(i, 0, 0.0)).collect();
        sets.push(piece(3, 2, 0.1));
        sets.push(piece(3, 0, 0.2));
        sets.push(piece(8, 0, 0.1));
        let mut means = Array2::zeros((43, 32));
        for (i, set) in sets.iter().enumerate() {
            let mean = set.vectors.mean_axis(Axis(0)).expect("windows");
            means
                .slice_mut(s![i, ..])
                .assign(&(&mean / mean.dot(&mean).sqrt()));
        }
        let graph = KnnGraph::exact(means.view(), 10).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..43)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i), format!("{i}.mp3"));
                (track.seconds, track.bytes, track.codec) = (30.0, 400_000, "mp3".into());
                if i == 41 {
                    (track.codec, track.bytes) = ("flac".into(), 3_000_000);
                }
                track
            })
            .collect();
        let source = |track: TrackId| sets.get(track.0 as usize).cloned();
        let pieces = Pieces((0..40).chain([3, 3, 8]).collect());
        let groups = duplicates(&graph, &meta, || source, &pieces).expect("same rows");
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].best, groups[0].bytes), (TrackId(41), 800_000));
        assert!(
            groups[0]
                .reason
                .starts_with("lossless (flac) rather than mp3 at 107 kbit/s"),
            "{}",
            groups[0].reason
        );
        let mut others = groups[0].others.clone();
        others.sort();
        assert_eq!(others, [TrackId(3), TrackId(40)]);
        assert_eq!(groups[1].others.len(), 1);
        let cut = groups[0]
            .pairs
            .iter()
            .find(|p| (p.a, p.b) == (TrackId(40), TrackId(41)))
            .expect("the cut file");
        assert!((cut.offset - 2.0).abs() < 0.15, "{cut:?}");
    }

    /// Groups of tracks with these windows, as numbers, with the kept file first.
    fn groups(
        sets: &[WindowSet],
        meta: &[TrackMeta],
        comparer: &dyn PairComparer,
    ) -> Vec<Vec<i64>> {
        let dim = sets[0].vectors.ncols();
        let means =
            Array2::from_shape_fn((sets.len(), dim), |(i, d)| sets[i].vectors.column(d).sum());
        let norms = means
            .map_axis(Axis(1), |row| row.dot(&row).sqrt())
            .insert_axis(Axis(1));
        let graph =
            KnnGraph::exact((&means / &norms).view(), sets.len() - 1).expect("unit vectors");
        let source = |track: TrackId| sets.get(track.0 as usize).cloned();
        let found = duplicates(&graph, meta, || source, comparer);
        let numbers = |group: DuplicateGroup| {
            let mut others: Vec<i64> = group.others.iter().map(|track| track.0).collect();
            others.sort_unstable();
            [vec![group.best.0], others].concat()
        };
        found.expect("same rows").into_iter().map(numbers).collect()
    }

    fn titled(titles: &[(&str, &str, f64)]) -> Vec<TrackMeta> {
        let track = |(i, &(artist, title, seconds)): (usize, &(&str, &str, f64))| TrackMeta {
            title: title.to_owned(),
            artist: (!artist.is_empty()).then(|| artist.to_owned()),
            seconds,
            // The first is the best one.
            bytes: 900_000 + 1000 * i as u64,
            codec: "mp3".to_owned(),
            ..TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"))
        };
        titles.iter().enumerate().map(track).collect()
    }

    /// Hears one recording in every pair, and remembers the same.
    struct OneSound;

    impl PairComparer for OneSound {
        fn known(&self, _: TrackId, _: TrackId) -> Option<bool> {
            Some(true)
        }

        fn correlation(&self, _: &TrackMeta, _: &TrackMeta, _: f32) -> Option<f32> {
            Some(1.0)
        }
    }

    #[test]
    fn other_titles_by_other_artists_are_never_copies() {
        let sets = [piece(1, 0, 0.0), piece(1, 0, 0.02), piece(1, 0, 0.02)];
        let heard =
            |tags: &[(&str, &str, f64)]| groups(&sets[..tags.len()], &titled(tags), &OneSound);
        let anna = ("Anna", "Morning", 30.0);
        let bob = ("Bob", "Evening", 30.0);
        assert_eq!(heard(&[anna, bob]), Vec::<Vec<i64>>::new());
        // Nothing is known of what a tag does not name.
        for other in [
            ("Anna", "Evening", 30.0),
            ("Bob", "Morning", 30.0),
            ("Bob", "", 30.0),
            ("", "Evening", 30.0),
        ] {
            assert_eq!(heard(&[anna, other]), [[0, 1]], "{other:?}");
        }
        // Both sound like an untagged file, which is a copy of one of them at most.
        let mut tags = titled(&[("", "", 30.0), anna, bob]);
        assert_eq!(groups(&sets, &tags, &OneSound), [[1, 0]]);
        tags[0].codec = "flac".to_owned();
        assert_eq!(groups(&sets, &tags, &OneSound), [[0, 1]]);
    }

    #[test]
    fn compressed_pcm_is_not_kept_in_place_of_a_lossless_copy() {
        let file = |id: i64, codec: &str, bytes: u64| TrackMeta {
            seconds: 30.0,
            bytes,
            codec: codec.to_owned(),
            sample_rate: 44_100,
            channels: 2,
            ..TrackMeta::new(TrackId(id), format!("{id}.wav"))
        };
        let whole = file(2, "pcm_s16le", 5_292_000);
        for codec in ["adpcm_ms", "adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"] {
            let compressed = file(1, codec, 1_323_000);
            let order = better(&whole, &compressed, &HashMap::new());
            assert!(order.is_lt(), "{codec}");
            let words = reason(&whole, &compressed, &HashMap::new());
            assert!(
                words.starts_with("lossless (pcm_s16le) rather than"),
                "{words}"
            );
        }
    }

    #[test]
    fn a_cut_file_is_not_kept_in_place_of_a_whole_one() {
        let file = |id: i64, codec: &str, seconds: f64, rate: f64| TrackMeta {
            seconds,
            bytes: (seconds * rate * 125.0) as u64,
            codec: codec.to_owned(),
            ..TrackMeta::new(TrackId(id), format!("/m/{id}.{codec}"))
        };
        let order = |meta: &[TrackMeta]| {
            let music: HashMap<TrackId, f64> =
                meta.iter().map(|track| (track.id, track.seconds)).collect();
            let mut rows: Vec<usize> = (0..meta.len()).collect();
            rank(&mut rows, meta, &music);
            let words = reason(&meta[rows[0]], &meta[rows[1]], &music);
            let others = expendable(rows[0], rows[1..].to_vec(), meta, &music);
            let listed = [vec![rows[0]], others].concat();
            (rows, words, listed)
        };
        let cut_words = "25 s longer: the next is a part of it";
        let whole = file(1, "mp3", 150.0, 192.0);
        let cut = file(2, "flac", 125.0, 900.0);
        let (rows, words, listed) = order(&[cut.clone(), whole.clone()]);
        assert_eq!((rows, words.as_str()), (vec![1, 0], cut_words));
        assert_eq!(
            listed,
            [1],
            "it may be a part that the longer one was assembled from"
        );
        let loud = file(3, "mp3", 127.0, 320.0);
        let (rows, words, listed) = order(&[loud.clone(), cut.clone(), whole.clone()]);
        assert_eq!((rows, words.as_str()), (vec![2, 1, 0], cut_words));
        assert_eq!(listed, [2]);
        let (rows, words, listed) = order(&[loud.clone(), whole.clone()]);
        assert_eq!(
            (rows, words.as_str()),
            (vec![1, 0], "23 s longer: the next is a part of it")
        );
        assert_eq!(listed, [1, 0], "the same codec as the whole: a cut copy");
        let named = |track: &TrackMeta, title: &str| TrackMeta {
            title: title.to_owned(),
            ..track.clone()
        };
        let songs = [named(&loud, "Dixie"), named(&whole, "Pigeons")];
        assert_eq!(order(&songs).2, [1]);
        // The last seconds of a fade do not decide.
        let later = file(4, "flac", 147.0, 900.0);
        assert_eq!(order(&[whole.clone(), later]).2, [0]);
        let (rows, words, listed) = order(&[whole.clone(), file(4, "flac", 148.0, 900.0)]);
        assert_eq!((rows, listed), (vec![1, 0], vec![1, 0]));
        assert_eq!(
            words,
            "lossless (flac) rather than mp3 at 192 kbit/s, if not made from it"
        );
        // Half of the longer one is noise.
        let damaged = TrackMeta {
            decoded_share: 0.5,
            ..whole.clone()
        };
        let (rows, words, _) = order(&[damaged, cut.clone()]);
        assert_eq!(rows, [1, 0]);
        assert!(words.starts_with("undamaged"), "{words}");
    }

    #[test]
    fn titles_of_several_versions_are_listed() {
        let named = |titles: [&str; 3]| {
            let meta = titled(&titles.map(|title| ("Tom", title, 30.0)));
            named_versions(meta.iter()).join(", ")
        };
        assert_eq!(
            named(["Dixie", "Dixie (2011 Remaster)", ""]),
            "Dixie, Dixie (2011 Remaster)"
        );
        assert_eq!(named(["Dixie", "DIXIE!", ""]), "");
    }

    #[test]
    fn a_copy_of_a_copy_is_compared_with_the_file_kept() {
        // Each matches the next, but the first and the third do not match.
        struct Chain;
        impl PairComparer for Chain {
            fn correlation(&self, a: &TrackMeta, b: &TrackMeta, _: f32) -> Option<f32> {
                Some(if (a.id.0 - b.id.0).abs() == 1 {
                    0.9
                } else {
                    0.1
                })
            }
        }
        let sets = [
            piece(1, 0, 0.0),
            piece(1, 0, 1.2),
            piece(1, 0, 1.3),
            piece(1, 0, 1.4),
        ];
        let meta = titled(&[
            ("Tom", "A", 30.0),
            ("Tom", "B", 30.0),
            ("Tom", "C", 30.0),
            ("Tom", "D", 30.0),
        ]);
        let found = groups(&sets, &meta, &Chain);
        assert_eq!(found, [[2, 3], [0, 1]]);
    }

    #[test]
    fn silence_at_the_ends_does_not_count_as_length() {
        struct Music(Vec<f64>);
        impl PairComparer for Music {
            fn correlation(&self, a: &TrackMeta, b: &TrackMeta, lead: f32) -> Option<f32> {
                let [before, expected] =
                    [a, b].map(|track| [0.0, 4.0, 0.0, 60.0][track.id.0 as usize]);
                Some(if (lead - (expected - before)).abs() < 2.0 {
                    0.9
                } else {
                    0.1
                })
            }
            fn music_seconds(&self, track: &TrackMeta) -> Option<f64> {
                Some(self.0[track.id.0 as usize])
            }
        }
        // The same song: unchanged, with silence before, after, and long before it.
        let late = |seconds: f32, noise: f32| {
            let original = piece(1, 0, noise);
            WindowSet {
                starts: original
                    .starts
                    .iter()
                    .map(|start| start + seconds)
                    .collect(),
                ..original
            }
        };
        let sets = [
            late(0.0, 0.0),
            late(4.0, 1.0),
            late(0.0, 1.1),
            late(60.0, 1.2),
        ];
        let seconds = [31.0, 35.0, 151.0, 91.0];
        let meta = titled(&seconds.map(|seconds| ("Tom", "Dixie", seconds)));
        let music = Music(vec![31.0; 4]);
        let reason_for = |music: &Music, rows: &[usize]| {
            let lengths: HashMap<TrackId, f64> = rows
                .iter()
                .map(|&row| (meta[row].id, music.0[row]))
                .collect();
            reason(&meta[rows[0]], &meta[rows[1]], &lengths)
        };
        let found = groups(&sets, &meta, &music);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].len(), 4, "{found:?}");
        assert_eq!(
            reason_for(&music, &[0, 3]),
            "mp3 at 232 kbit/s rather than mp3 at 79 kbit/s"
        );
        let wav = |seconds: f64, id: i64| TrackMeta {
            codec: "pcm_s16le".to_owned(),
            seconds,
            bytes: (seconds * 88_200.0) as u64,
            ..TrackMeta::new(TrackId(id), format!("{id}.wav"))
        };
        let known = |lengths: &[f64]| -> HashMap<TrackId, f64> {
            lengths
                .iter()
                .enumerate()
                .map(|(i, &length)| (TrackId(i as i64), length))
                .collect()
        };
        let plain = wav(31.0, 0);
        let silent = wav(91.0, 1);
        assert!(better(&plain, &silent, &known(&[31.0, 31.0])).is_lt());
        assert_eq!(
            reason(&plain, &silent, &known(&[31.0, 31.0])),
            "alike in quality"
        );
        assert!(
            better(&silent, &plain, &known(&[31.0, 80.0])).is_lt(),
            "longer by music"
        );
        assert_eq!(
            reason(&silent, &plain, &known(&[31.0, 80.0])),
            "49 s longer: the next is a part of it"
        );
    }

    /// Returns the test's correlation for each pair, and records its calls.
    struct RecordingComparer {
        result: f32,
        pairs: std::sync::Mutex<Vec<(TrackId, TrackId)>>,
        begun: std::sync::Mutex<Vec<(usize, usize)>>,
    }

    impl PairComparer for RecordingComparer {
        fn begin(&self, pairs: usize, skipped: usize) {
            self.begun.lock().expect("no panic").push((pairs, skipped));
        }

        fn correlation(&self, a: &TrackMeta, b: &TrackMeta, _: f32) -> Option<f32> {
            self.pairs.lock().expect("no panic").push((a.id, b.id));
            (a.seconds > 0.0).then_some(self.result)
        }
    }

    #[test]
    fn doubtful_pairs_are_compared_by_audio() {
        // 0 and 1: the same without noise; 3: a noisy copy of 2; 4 differs.
        let sets = [
            piece(1, 0, 0.0),
            piece(1, 0, 0.05),
            piece(2, 0, 0.0),
            piece(2, 0, 1.6),
            piece(5, 0, 0.0),
        ];
        let means = Array2::from_shape_fn((5, 32), |(i, d)| sets[i].vectors.column(d).sum());
        let norms = means
            .map_axis(Axis(1), |row| row.dot(&row).sqrt())
            .insert_axis(Axis(1));
        let graph = KnnGraph::exact((&means / &norms).view(), 4).expect("unit vectors");
        let mut meta: Vec<TrackMeta> = (0..5)
            .map(|i| TrackMeta::new(TrackId(i), format!("{i}.mp3")))
            .collect();
        meta.iter_mut().for_each(|track| track.seconds = 30.0);
        let groups = |result: f32, meta: &[TrackMeta]| {
            let comparer = RecordingComparer {
                result,
                pairs: std::sync::Mutex::default(),
                begun: std::sync::Mutex::default(),
            };
            let source = |track: TrackId| sets.get(track.0 as usize).cloned();
            let found = duplicates(&graph, meta, || source, &comparer).expect("same rows");
            assert_eq!(
                comparer.begun.into_inner().expect("no panic"),
                [(1, 0)],
                "one pair is doubtful"
            );
            (found, comparer.pairs.into_inner().expect("no panic"))
        };
        let (same, compared) = groups(0.9, &meta);
        assert_eq!(same.len(), 2, "{same:?}");
        assert_eq!(
            compared,
            [(TrackId(2), TrackId(3))],
            "certain and impossible pairs are not compared"
        );
        assert_eq!(
            (same[0].pairs[0].correlation, same[1].pairs[0].correlation),
            (None, Some(0.9))
        );
        assert_eq!(groups(0.5, &meta).0.len(), 1, "the audio differs");
        meta.iter_mut().for_each(|track| track.seconds = 0.0);
        assert_eq!(groups(0.9, &meta).0.len(), 1);
    }
}
