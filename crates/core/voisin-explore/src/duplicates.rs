//! The same recording in another file: other codec, bit rate, level, or silence at its ends.
//!
//! Candidates come from the neighbour graph; window vectors laid over each other in time tell the same
//! recording from merely similar music, and where they leave a doubt, the audio itself is listened to
//! (see [`audio_match`](super::audio_match)). Nothing is ever deleted here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::union::DisjointSets;
use super::{KnnGraph, Result, TrackMeta, WindowSet, WindowSource, align, same_length};
use voisin_base::system_folders::Tidiness;
use voisin_base::text::fold;
use voisin_base::track::TrackId;
use voisin_music::song::song;

/// Thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateOptions {
    /// Pairs of tracks below this cosine of track vectors are not compared.
    pub candidate_similarity: f32,
    /// Least cosine of tracks whose lengths differ by more than twice `most_offset`, as with silence at an end of one.
    pub silent_similarity: f32,
    /// Neighbours of each track that are compared.
    pub neighbours: usize,
    /// Windows that leave no doubt.
    pub certain: Fit,
    /// Windows that leave a doubt: the pair is listened to.
    pub possible: Fit,
    /// Windows that decide where a pair's audio is not compared, if titles and artists agree: one
    /// of the two must be reached.
    pub unheard: [Fit; 2],
    /// The same, where titles or artists are missing.
    pub untitled: Fit,
    /// Seconds by which the music of two files differs in length at most, without silence at its ends, where windows decide.
    pub unheard_difference: f64,
    /// Pairs that are listened to at most, the most distinct first.
    pub most_heard: usize,
    /// Least correlation of the audio (see [`PairListener`]) of one recording.
    pub correlation: f32,
    /// Least share of the shorter track that must be covered, 0 to 1.
    pub coverage: f32,
    /// Largest difference of where the music starts, in seconds, besides silence before it.
    pub most_offset: f32,
}

/// How well the windows of two tracks fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Mean cosine of windows laid over each other.
    pub similarity: f32,
    /// How much of what separates any two moments of the two tracks vanishes at the right offset, up to 1:
    /// (s − m) / (1 − m), where s is the mean cosine at the offset and m the mean over all pairs of windows.
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

/// Chosen on free music (`research/quality/duplicates_thresholds.py`): the nearest pairs of 766 excerpts of 30 s, and 296 of the
/// excerpts also at 64 kbit/s MP3 and AAC, Opus 48 and 2 s late. The most distinct pair of different recordings has 0.68;
/// those worth listening to are three pairs for four tracks. Their audio correlates by 0.48 at most, that of new mixes
/// of one piece by 0.7, that of true pairs by 0.84 at least (AAC: 0.70).
impl Default for DuplicateOptions {
    fn default() -> Self {
        Self {
            candidate_similarity: 0.5,
            // A song with five minutes of silence behind it has 0.98.
            silent_similarity: 0.9,
            neighbours: 8,
            certain: Fit::new(0.9, 0.8),
            possible: Fit::new(0.5, 0.2),
            unheard: [Fit::new(0.9, 0.5), Fit::new(0.75, 0.6)],
            // above the most distinct pair of different recordings, 0.68
            untitled: Fit::new(0.9, 0.72),
            // Encoders' padding and pauses between tracks are shorter.
            unheard_difference: 5.0,
            most_heard: 20_000,
            correlation: 0.7,
            coverage: 0.7,
            most_offset: 15.0,
        }
    }
}

/// Listens to two files, where their windows leave a doubt.
pub trait PairListener: Sync {
    /// Called once, before the first pair.
    ///
    /// - `pairs`: how many are in doubt, as far as they are listened to
    /// - `unheard`: how many more there are, which their windows decide alone
    fn begin(&self, pairs: usize, unheard: usize) {
        let _ = (pairs, unheard);
    }

    /// Verdict of an earlier comparison: whether two tracks are one recording.
    fn known(&self, a: TrackId, b: TrackId) -> Option<bool> {
        let _ = (a, b);
        None
    }

    /// How well the audio of two tracks fits, −1 to 1; `None` where they cannot be
    /// compared (a file is gone, or silent).
    ///
    /// - `lead`: seconds by which silence before the music of `b` is longer, as far as that is known
    fn correlation(&self, a: &TrackMeta, b: &TrackMeta, lead: f32) -> Option<f32>;

    /// Seconds of a track without silence at its ends; `None` where they are not known.
    fn music_seconds(&self, track: &TrackMeta) -> Option<f64> {
        let _ = track;
        None
    }

    /// Called with the verdict on a pair whose correlation it returned.
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
    /// Mean cosine similarity of windows laid over each other.
    pub similarity: f32,
    /// See [`Fit::distinctness`].
    pub distinctness: f32,
    /// How well the audio itself fits, where it was listened to in this run.
    pub correlation: Option<f32>,
    /// Seconds by which `b` is late: time t of `a` sounds at t + offset in `b`.
    pub offset: f32,
    /// Share of the shorter track's windows that have a partner.
    pub coverage: f32,
}

/// Files of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// The file to keep.
    pub best: TrackId,
    /// Why it is better than the second best.
    pub reason: String,
    /// The others, better ones first.
    pub others: Vec<TrackId>,
    /// Bytes to be won by deleting the others.
    pub bytes: u64,
    /// The file to keep with each of the others.
    pub pairs: Vec<DuplicatePair>,
}

/// However windows fit.
const ANY: Fit = Fit {
    similarity: -1.0,
    distinctness: f32::NEG_INFINITY,
};
/// Window sets kept at once.
const CACHE: usize = 4096;
/// Pairs compared at once, whose windows are loaded together.
const BATCH: usize = 512;

/// Groups files of the same recording, most bytes to be won first. Each file of a group was found to be the same recording as
/// the one to keep: that it is like another copy is not enough.
///
/// A pair whose audio is not compared counts where the music is of one length
/// ([`DuplicateOptions::unheard_difference`]) and titles and artists do not differ: windows alone
/// take songs by one man at a piano for one recording.
///
/// - `graph`, `meta`: same rows
/// - `source`: opens window vectors, closed again before anything is listened to; pairs of which one has none are left out
/// - `listener`: hears what windows leave in doubt; without one they decide with lengths and titles
pub fn duplicates<S: WindowSource>(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    source: impl Fn() -> S,
    listener: Option<&dyn PairListener>,
    options: &DuplicateOptions,
) -> Result<Vec<DuplicateGroup>> {
    same_length("metadata", graph.len(), meta.len())?;
    let aligned = align_pairs(
        &candidates(graph, meta, options),
        meta,
        source(),
        options,
        &options.possible,
    );
    let mut decider = PairDecider {
        meta,
        listener,
        options,
        aligned,
        same: BTreeMap::new(),
        left: options.most_heard,
    };
    decider.candidates();
    // Rows that some pair confirms and no group has yet. Each round takes at least the kept ones
    // out, so the loop ends.
    let mut open: BTreeSet<usize> = decider.confirmed().flat_map(|(a, b)| [a, b]).collect();
    let mut answer = Vec::new();
    loop {
        let mut copies = decider.copies_among(&open);
        if copies.is_empty() {
            break;
        }
        // Decoded once for all groups of the round: which file is best may turn on it.
        let music = decider.music(&copies);
        for rows in &mut copies {
            rank(rows, meta, &music);
        }
        // Copies of a copy were not compared with the file that is kept.
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
        // However the windows fit: the verdict is needed even where a pair looks unlike.
        if !unknown.is_empty() {
            decider
                .aligned
                .extend(align_pairs(&unknown, meta, source(), options, &ANY));
        }
        decider.decide(&open_pairs);
        for rows in copies {
            let keep = rows[0];
            let others: Vec<usize> = rows[1..]
                .iter()
                .copied()
                .filter(|&row| decider.is_same(ordered(keep, row)))
                .collect();
            let others = expendable(keep, others, meta, &music);
            // Copies that are not the kept file's stay open, and may be a group of their own in the
            // next round.
            open.remove(&keep);
            open.retain(|row| !others.contains(row));
            answer.extend(decider.group(keep, &others, &music));
        }
    }
    answer.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.best.cmp(&b.best)));
    Ok(answer)
}

/// Two tracks' windows laid over each other.
#[derive(Debug, Clone)]
struct Aligned {
    pair: DuplicatePair,
    /// Seconds by which the silence at the start of the second is longer, estimated from the
    /// windows.
    lead: f32,
    /// Whether the music of both is of one length.
    lengths_agree: bool,
}

impl Aligned {
    fn fit(&self) -> Fit {
        Fit::new(self.pair.similarity, self.pair.distinctness)
    }
}

/// Decides for pairs of rows whether they are one recording.
struct PairDecider<'a> {
    meta: &'a [TrackMeta],
    listener: Option<&'a dyn PairListener>,
    options: &'a DuplicateOptions,
    aligned: HashMap<(usize, usize), Aligned>,
    /// Pairs that were decided: whether they are one recording, and the correlation where they were listened to.
    same: BTreeMap<(usize, usize), (bool, Option<f32>)>,
    /// Pairs that may still be listened to.
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

    /// Decides as many pairs as it takes to know the connected groups of tracks.
    fn candidates(&mut self) {
        let mut pairs: Vec<(usize, usize)> = self.aligned.keys().copied().collect();
        // The most distinct first: they join most, and what is joined need not be listened to.
        let distinctness = |pair: &(usize, usize)| self.aligned[pair].pair.distinctness;
        pairs.sort_by(|x, y| distinctness(y).total_cmp(&distinctness(x)).then(x.cmp(y)));
        // Proof by windows costs nothing and joins most sets; listening is for what is left.
        let (sure, doubtful): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .partition(|&pair| self.without_listening(pair).is_some());
        self.decide(&sure);
        let mut sets = DisjointSets::new(self.meta.len());
        for (a, b) in self.confirmed() {
            sets.join(a, b);
        }
        if let Some(listener) = self.listener.filter(|_| !doubtful.is_empty()) {
            listener.begin(
                doubtful.len().min(self.left),
                doubtful.len().saturating_sub(self.left),
            );
        }
        for batch in doubtful.chunks(BATCH) {
            let open: Vec<(usize, usize)> = batch
                .iter()
                .copied()
                // Tracks that are joined already need no further proof at this stage.
                .filter(|&(a, b)| sets.find(a) != sets.find(b))
                .collect();
            self.decide(&open);
            for (a, b) in open.into_iter().filter(|&pair| self.is_same(pair)) {
                sets.join(a, b);
            }
        }
    }

    /// Decides these pairs, in parallel; a pair whose windows were not laid over each other is none.
    fn decide(&mut self, pairs: &[(usize, usize)]) {
        let (sure, doubtful): (Vec<_>, Vec<_>) = pairs
            .iter()
            .map(|&pair| (pair, self.without_listening(pair)))
            .partition(|(_, known)| known.is_some());
        self.same.extend(
            sure.into_iter()
                .map(|(pair, known)| (pair, (known == Some(true), None))),
        );
        // Pairs beyond the limit are decided by their windows, as if there were no listener.
        let heard = self.listener.map_or(0, |_| doubtful.len().min(self.left));
        self.left -= heard;
        let answers: Vec<Option<f32>> = doubtful[..heard]
            .par_iter()
            .map(|&(pair, _)| self.correlation(pair))
            .collect();
        let answers = answers.into_iter().chain(std::iter::repeat(None));
        for ((pair, _), correlation) in doubtful.into_iter().zip(answers) {
            let same = correlation.map_or_else(
                || self.is_likely(pair),
                |correlation| correlation >= self.options.correlation,
            );
            self.same.insert(pair, (same, correlation));
        }
    }

    /// Whether a pair is one recording, where that is known without listening.
    fn without_listening(&self, pair: (usize, usize)) -> Option<bool> {
        let Some(aligned) = self.aligned.get(&pair) else {
            return Some(false);
        };
        let [a, b] = [&self.meta[pair.0], &self.meta[pair.1]];
        // Titles that differ send even a perfect fit to the ears: two mixes of one piece may fit as
        // well.
        let is_certain = aligned.fit().reaches(&self.options.certain) && aligned.lengths_agree;
        if is_certain && titles(a, b) != Titles::Differ {
            return Some(true);
        }
        self.listener
            .and_then(|listener| listener.known(a.id, b.id))
    }

    /// Whether a pair that nobody could listen to counts as one recording.
    fn is_likely(&self, pair: (usize, usize)) -> bool {
        let aligned = &self.aligned[&pair];
        let reaches = |least: &Fit| aligned.fit().reaches(least);
        aligned.lengths_agree
            && match titles(&self.meta[pair.0], &self.meta[pair.1]) {
                Titles::Agree => self.options.unheard.iter().any(reaches),
                Titles::Unknown => reaches(&self.options.untitled),
                Titles::Differ => false,
            }
    }

    fn correlation(&self, pair: (usize, usize)) -> Option<f32> {
        let listener = self.listener?;
        let [a, b] = [&self.meta[pair.0], &self.meta[pair.1]];
        let correlation = listener.correlation(a, b, self.aligned[&pair].lead)?;
        listener.decided(a.id, b.id, correlation >= self.options.correlation);
        Some(correlation)
    }

    /// Groups of two or more rows that pairs of one recording connect.
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

    /// Seconds of music of files that differ in length from their copies; for none or all of a
    /// group.
    fn music(&self, copies: &[Vec<usize>]) -> HashMap<TrackId, f64> {
        let Some(listener) = self.listener else {
            return HashMap::new();
        };
        let lengths = copies.par_iter().filter_map(|rows| {
            let seconds = || rows.iter().map(|&row| self.meta[row].seconds);
            let longest = seconds().fold(f64::NEG_INFINITY, f64::max);
            let shortest = seconds().fold(f64::INFINITY, f64::min);
            if longest - shortest <= 1.0 {
                return None;
            }
            let music =
                |&row: &usize| Some((self.meta[row].id, listener.music_seconds(&self.meta[row])?));
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

/// Agreement of two tracks' titles and artists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Titles {
    /// One artist, and one title up to words that distinguish versions.
    Agree,
    /// Titles or artists are missing, or are such as many pieces have.
    Unknown,
    Differ,
}

fn titles(a: &TrackMeta, b: &TrackMeta) -> Titles {
    if a.title.trim().is_empty() || b.title.trim().is_empty() {
        return Titles::Unknown;
    }
    // with the same artist for both, so that only the titles are compared
    let [one, other] = [a, b].map(|track| song(Some("anybody"), Some(track.title.as_str())));
    let names_agree = match (&one, &other) {
        (Some(one), Some(other)) => one == other,
        (None, None) => fold(&a.title) == fold(&b.title),
        _ => return Titles::Unknown,
    };
    let artists = [a, b].map(TrackMeta::artist_keys);
    let artists_differ = artists.iter().all(|keys| !keys.is_empty())
        && !artists[0].iter().any(|artist| artists[1].contains(artist));
    if !names_agree || artists_differ {
        Titles::Differ
    } else if one.is_none() || artists.iter().any(Vec::is_empty) {
        Titles::Unknown
    } else {
        Titles::Agree
    }
}

/// The titles of copies whose tags distinguish versions, each once; none where they do not.
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

/// How the windows of two tracks fit, where the windows alone prove one recording and titles and
/// artists do not differ.
pub fn same_by_windows(
    a: (&TrackMeta, &WindowSet),
    b: (&TrackMeta, &WindowSet),
    options: &DuplicateOptions,
) -> Option<DuplicatePair> {
    let aligned = align_windows(a, b, options, &options.possible)
        .filter(|_| titles(a.0, b.0) != Titles::Differ)?;
    let fits = options
        .unheard
        .iter()
        .chain([&options.certain])
        .any(|least| aligned.fit().reaches(least));
    fits.then_some(aligned.pair)
}

/// Pairs of rows worth a look, each once, in order.
fn candidates(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    options: &DuplicateOptions,
) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = (0..graph.len())
        .flat_map(|i| {
            graph
                .row(i)
                .take(options.neighbours)
                .filter(|&(_, similarity)| similarity >= options.candidate_similarity)
                .map(move |(j, similarity)| (ordered(i, j), similarity))
        })
        .filter(|&((a, b), similarity)| {
            // The shorter must be covered, and starts and ends may differ.
            let a = meta[a].seconds;
            let b = meta[b].seconds;
            let lengths_agree = (a - b).abs() <= 2.0 * f64::from(options.most_offset);
            a <= 0.0 || b <= 0.0 || lengths_agree || similarity >= options.silent_similarity
        })
        .map(|(pair, _)| pair)
        .collect();
    pairs.sort_unstable();
    // a pair is found from both of its ends
    pairs.dedup();
    pairs
}

/// Aligns these pairs and keeps those whose windows fit at least so well.
fn align_pairs(
    pairs: &[(usize, usize)],
    meta: &[TrackMeta],
    mut source: impl WindowSource,
    options: &DuplicateOptions,
    least: &Fit,
) -> HashMap<(usize, usize), Aligned> {
    let mut cache: HashMap<usize, Option<Arc<WindowSet>>> = HashMap::new();
    let mut found = HashMap::new();
    for batch in pairs.chunks(BATCH) {
        if cache.len() > CACHE {
            // pairs mostly come in ascending order, so old rows hardly come again
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
                align_windows((&meta[*a], first), (&meta[*b], second), options, least)?,
            ))
        }));
    }
    found
}

/// Lays the windows of two tracks over each other; `None` if they fit less well than `least`, or have no windows.
fn align_windows(
    (a, first): (&TrackMeta, &WindowSet),
    (b, second): (&TrackMeta, &WindowSet),
    options: &DuplicateOptions,
    least: &Fit,
) -> Option<Aligned> {
    let one = Extent::of(a, first);
    let other = Extent::of(b, second);
    let apart = if a.seconds > 0.0 && b.seconds > 0.0 {
        (one.seconds - other.seconds).abs()
    } else {
        0.0
    };
    // Where silence begins is only known to the space between windows.
    let slack = one.slack.max(other.slack);
    if apart > 2.0 * f64::from(options.most_offset) + slack {
        return None;
    }
    let lead = (other.lead - one.lead) as f32;
    let best = align::best(first, second, options.coverage, lead, options.most_offset)?;
    let products: ndarray::Array2<f32> = first.vectors.dot(&second.vectors.t());
    // below 1, which would divide by 0 in a steady tone
    // The likeness of any two moments of the two tracks: a monotonous style fits everywhere.
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
        lengths_agree: apart <= options.unheard_difference + slack,
    })
}

/// Where the music of a file lies, in seconds, estimated from its windows: silent ones are not
/// kept.
struct Extent {
    /// Silence before the music.
    lead: f64,
    /// Length of the music.
    seconds: f64,
    /// By how much that may be wrong; 0 where there seems to be no silence.
    slack: f64,
}

impl Extent {
    /// Silence behind the last window that is longer than this and two spaces between windows was heard as such: a window
    /// itself is at most so long.
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
        // Windows are spread evenly: the first one is no later than the space between them.
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

/// Whether nothing is lost by the codec.
fn lossless(track: &TrackMeta) -> bool {
    let codec = track.codec.to_lowercase();
    // these carry "pcm" in their names, but keep 4 or 8 bits of each sample
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

/// Bit rate that an MP3 of like quality would need, in kbit/s: newer codecs need less.
fn worth(track: &TrackMeta) -> f64 {
    let codec = track.codec.to_lowercase();
    // Roughly: it only has to order copies of one recording.
    let factor = if codec.contains("opus") {
        1.6
    } else if codec.contains("aac") || codec.contains("vorbis") {
        1.3
    } else {
        1.0
    };
    (track.kilobits_per_second().unwrap_or(0.0) * factor / 8.0).round() * 8.0
}

/// Seconds of music that one copy must have more than another to be clearly longer: they are in no other file.
///
/// Padding, and the end of a fade that counts as silence, differ by less between codecs; so do copies of which two seconds
/// were cut off, as in `research/quality/duplicates_recall.py`.
const LONGER_SECONDS: f64 = 2.5;

fn is_clearly_longer(seconds: f64, other: f64) -> bool {
    seconds - other > LONGER_SECONDS
}

/// Seconds of music that are not damaged; 0 where they were not measured.
fn intact(track: &TrackMeta, music: &HashMap<TrackId, f64>) -> f64 {
    let seconds = music.get(&track.id);
    seconds.map_or(0.0, |seconds| seconds * track.decoded_share)
}

/// Those copies of a file without which no music is lost: none that has more of it. Parts of the file are left to groups of
/// their own if one of them may be more than a cut copy: a song of a medley, by its title or for lossless audio.
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
        lossless(part) && !lossless(whole) || titles(whole, part) == Titles::Differ
    };
    if copies.iter().any(|&row| is_part(row) && is_song(row)) {
        copies.retain(|&row| !is_part(row));
    }
    copies
}

/// Sorts copies, the better ones first: one that lacks a part of the music comes behind all that
/// have it, whatever their codecs.
///
/// - `music`: seconds without silence, of all files or of none
fn rank(rows: &mut [usize], meta: &[TrackMeta], music: &HashMap<TrackId, f64>) {
    // Damaged parts are lost as well.
    let intact = |row: usize| intact(&meta[row], music);
    rows.sort_by(|&a, &b| intact(b).total_cmp(&intact(a)));
    // "Clearly longer than the next" is no order; steps below the longest are.
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
    // Whoever empties the bin, or clears the downloads, must not lose the one that was kept.
    let place = |row: usize| (Tidiness::of(meta[row].system_path()), steps[&row]);
    rows.sort_by(|&a, &b| {
        place(a)
            .cmp(&place(b))
            .then_with(|| better(&meta[a], &meta[b], music))
    });
}

/// The better of two files that lack nothing of each other first.
///
/// - `music`: seconds without silence, of all files or of none
fn better(a: &TrackMeta, b: &TrackMeta, music: &HashMap<TrackId, f64>) -> std::cmp::Ordering {
    // Silence is no length, and steps of two seconds keep a second more or less from deciding.
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
    let tidiness = |t: &TrackMeta| Tidiness::of(t.system_path());
    tidiness(a)
        .cmp(&tidiness(b))
        // In this order: what is lost cannot be had back, tags and size can.
        .then_with(|| damage(b).cmp(&damage(a)))
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
        // Of equals the one that came first, so that two runs agree.
        .then(a.id.cmp(&b.id))
}

/// How many of its tags are filled in.
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
    let silence = lengths.map_or(0.0, |_| second.seconds - best.seconds + longer);
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
    // Nothing cheap tells a FLAC that was made from an MP3 from one that was not.
    let origin = if best.codec == second.codec {
        ""
    } else {
        ", if not made from it"
    };
    let other = Tidiness::of(second.system_path());
    if Tidiness::of(best.system_path()) < other {
        let quality = |t: &TrackMeta| (lossless(t), worth(t) as u64);
        let better = if quality(second) > quality(best) {
            format!(
                ", although it is {} and this {}",
                describe(second),
                describe(best)
            )
        } else {
            String::new()
        };
        format!("the next is {}{better}", other.words())
    } else if lengths.is_some_and(|(best, second)| is_clearly_longer(*best, *second)) {
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
    } else if lossless(best) && best.sample_rate != second.sample_rate {
        format!(
            "{} Hz rather than {} Hz",
            best.sample_rate, second.sample_rate
        )
    } else if !lossless(best) && worth(best) > worth(second) {
        format!(
            "{} rather than {}{origin}",
            describe(best),
            describe(second)
        )
    } else if best.channels > second.channels {
        "more channels".to_owned()
    } else if longer > 1.0 {
        format!("{longer:.0} s longer")
    } else if tags(best) > tags(second) {
        "alike in quality, more tags".to_owned()
    } else if silence > 1.0 {
        format!("alike in quality, with {silence:.0} s less of silence")
    } else if best.bytes < second.bytes {
        "alike in quality, the smaller file".to_owned()
    } else {
        "alike in quality, longer in the library".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{normal, unit_vectors};
    use super::*;
    use ndarray::{Array2, Axis, s};
    use rand::{SeedableRng, rngs::StdRng};

    /// Thirty windows a second apart of one piece; `noise` is what a codec changes.
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
        let groups = duplicates(&graph, &meta, || source, None, &DuplicateOptions::default())
            .expect("same rows");
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
            .expect("the cut one");
        assert!((cut.offset - 2.0).abs() < 0.15, "{cut:?}");
    }

    /// Groups of tracks with these windows, by their numbers: the file that is kept first.
    fn groups(
        sets: &[WindowSet],
        meta: &[TrackMeta],
        listener: Option<&dyn PairListener>,
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
        let found = duplicates(
            &graph,
            meta,
            || source,
            listener,
            &DuplicateOptions::default(),
        );
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

    #[test]
    fn unheard_pairs_need_titles_and_lengths_that_agree() {
        // As alike as songs by one man at a piano: well above what windows alone must reach.
        let sets = [piece(1, 0, 0.0), piece(1, 0, 1.0)];
        let pair =
            |a: (&str, &str, f64), b: (&str, &str, f64)| groups(&sets, &titled(&[a, b]), None);
        let one = ("Tom", "Dixie", 29.0);
        assert_eq!(pair(one, ("Tom", "Dixie (Live)", 34.0)), [[0, 1]]);
        assert_eq!(pair(one, ("TOM; Ann", "dixie", 30.0)), [[0, 1]]);
        for other in [
            ("Tom", "Pigeons", 30.0),
            ("Ann", "Dixie", 30.0),
            ("Tom", "Dixie", 35.0),
            ("Tom", "", 30.0),
            ("", "Dixie", 30.0),
            ("", "Pigeons", 30.0),
            ("Tom", "Track 07", 30.0),
        ] {
            assert_eq!(pair(one, other), Vec::<Vec<i64>>::new(), "{other:?}");
        }
        // The very same sound: only what contradicts it counts.
        let sets = [piece(1, 0, 0.0), piece(1, 0, 0.05)];
        let pair =
            |a: (&str, &str, f64), b: (&str, &str, f64)| groups(&sets, &titled(&[a, b]), None);
        for other in [
            ("Tom", "", 30.0),
            ("", "", 34.0),
            ("", "Dixie", 30.0),
            ("Tom", "Track 07", 30.0),
        ] {
            assert_eq!(pair(one, other), [[0, 1]], "{other:?}");
        }
        for other in [
            ("Tom", "Pigeons", 30.0),
            ("Ann", "Dixie", 30.0),
            ("Tom", "Dixie", 35.0),
        ] {
            assert_eq!(pair(one, other), Vec::<Vec<i64>>::new(), "{other:?}");
        }
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
        let mut cut = file(2, "flac", 125.0, 900.0);
        let (rows, words, listed) = order(&[cut.clone(), whole.clone()]);
        assert_eq!((rows, words.as_str()), (vec![1, 0], cut_words));
        assert_eq!(
            listed,
            [1],
            "it may be what the longer one was put together of"
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
        assert_eq!(listed, [1, 0], "of the kind of the whole: a cut copy");
        let named = |track: &TrackMeta, title: &str| TrackMeta {
            title: title.to_owned(),
            ..track.clone()
        };
        let songs = [named(&loud, "Dixie"), named(&whole, "Pigeons")];
        assert_eq!(order(&songs).2, [1]);
        // A fade's last seconds do not decide, and no more than those is lost with a copy.
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
        let binned = TrackMeta {
            path: "/m/#recycle/1.mp3".to_owned(),
            ..whole
        };
        cut.codec = "mp3".to_owned();
        let (rows, _, listed) = order(&[binned, cut]);
        assert_eq!((rows, listed), (vec![1, 0], vec![1]));
    }

    #[test]
    fn titles_of_several_versions_are_named() {
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
        // Each fits the next, and the first and the third do not.
        struct Chain;
        impl PairListener for Chain {
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
        let found = groups(&sets, &meta, Some(&Chain));
        assert_eq!(found, [[2, 3], [0, 1]]);
    }

    #[test]
    fn silence_at_the_ends_is_no_length() {
        struct Music(Vec<f64>);
        impl PairListener for Music {
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
        // The same song: as it is, with silence before it, behind it, and long before it.
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
        let found = groups(&sets, &meta, Some(&music));
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
            "alike in quality, with 60 s less of silence"
        );
        assert!(
            better(&silent, &plain, &known(&[31.0, 80.0])).is_lt(),
            "longer by music"
        );
        assert_eq!(
            reason(&silent, &plain, &known(&[31.0, 80.0])),
            "49 s longer: the next is a part of it"
        );
        assert_eq!(
            reason(&plain, &silent, &known(&[])),
            "alike in quality, the smaller file"
        );
    }

    #[test]
    fn a_file_in_a_bin_is_not_the_better_one() {
        let track = |id, path: &str, codec: &str| {
            let mut track = TrackMeta::new(TrackId(id), path);
            track.codec = codec.to_owned();
            (track.seconds, track.bytes) = (100.0, 2_000_000);
            track
        };
        let unknown = HashMap::new();
        let living = track(9, "/m/Artist/Album/01.mp3", "mp3");
        for (path, words) in [
            (
                "/m/#recycle/Artist/Album/01.flac",
                "the next is in a bin or a snapshot",
            ),
            (
                "/home/me/Downloads/01.flac",
                "the next is in a folder of downloads",
            ),
            (
                "/m/Artist/Album/01 (1).flac",
                "the next is a copy by its name",
            ),
        ] {
            let other = track(1, path, "flac");
            assert_eq!(
                better(&living, &other, &unknown),
                std::cmp::Ordering::Less,
                "{path}"
            );
            assert_eq!(
                better(&other, &living, &unknown),
                std::cmp::Ordering::Greater,
                "{path}"
            );
            let expected = format!("{words}, although it is flac and this mp3 at 160 kbit/s");
            assert_eq!(reason(&living, &other, &unknown), expected);
            assert_eq!(reason(&living, &track(1, path, "mp3"), &unknown), words);
        }
        let lossless = track(1, "/m/Artist/Album/02.flac", "flac");
        assert_eq!(
            better(&lossless, &living, &unknown),
            std::cmp::Ordering::Less
        );
    }

    /// Returns the test's correlation for each pair, and records its calls.
    struct Ears {
        says: f32,
        asked: std::sync::Mutex<Vec<(TrackId, TrackId)>>,
        told: std::sync::Mutex<Vec<(usize, usize)>>,
    }

    impl PairListener for Ears {
        fn begin(&self, pairs: usize, unheard: usize) {
            self.told.lock().expect("no panic").push((pairs, unheard));
        }

        fn correlation(&self, a: &TrackMeta, b: &TrackMeta, _: f32) -> Option<f32> {
            self.asked.lock().expect("no panic").push((a.id, b.id));
            (a.seconds > 0.0).then_some(self.says)
        }
    }

    #[test]
    fn pairs_that_windows_leave_in_doubt_are_compared_by_sound() {
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
        let groups = |says: f32, meta: &[TrackMeta], most_heard: usize| {
            let ears = Ears {
                says,
                asked: std::sync::Mutex::default(),
                told: std::sync::Mutex::default(),
            };
            let source = |track: TrackId| sets.get(track.0 as usize).cloned();
            let options = DuplicateOptions {
                most_heard,
                ..DuplicateOptions::default()
            };
            let found =
                duplicates(&graph, meta, || source, Some(&ears), &options).expect("same rows");
            let heard = most_heard.min(1);
            assert_eq!(
                ears.told.into_inner().expect("no panic"),
                [(heard, 1 - heard)],
                "one pair is in doubt"
            );
            (found, ears.asked.into_inner().expect("no panic"))
        };
        let (same, heard) = groups(0.9, &meta, 100);
        assert_eq!(same.len(), 2, "{same:?}");
        assert_eq!(
            heard,
            [(TrackId(2), TrackId(3))],
            "certain and impossible pairs are not heard"
        );
        assert_eq!(
            (same[0].pairs[0].correlation, same[1].pairs[0].correlation),
            (None, Some(0.9))
        );
        assert_eq!(groups(0.5, &meta, 100).0.len(), 1, "the audio differs");
        // Not heard, or not to be heard: the windows alone decide, and they are too far apart.
        assert_eq!(groups(0.9, &meta, 0).0.len(), 1);
        meta.iter_mut().for_each(|track| track.seconds = 0.0);
        assert_eq!(groups(0.9, &meta, 100).0.len(), 1);
    }
}
