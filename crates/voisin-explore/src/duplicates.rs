//! The same recording in another file: other codec, bit rate, level, or silence at its ends.
//!
//! Candidates come from the neighbour graph; window vectors laid over each other in time tell the same
//! recording from merely similar music, and where they leave a doubt, the audio itself is listened to
//! (see [`outline`](super::outline)). Nothing is ever deleted here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::union::DisjointSets;
use super::{KnnGraph, Result, TrackMeta, WindowSet, WindowSource, align, same_length};
use voisin_base::track::TrackId;

/// Thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateOptions {
    /// Pairs of tracks below this cosine of track vectors are not looked at.
    pub candidate_similarity: f32,
    /// Neighbours of each track that are looked at.
    pub neighbours: usize,
    /// Windows that leave no doubt.
    pub certain: Fit,
    /// Windows that leave a doubt: the pair is listened to.
    pub possible: Fit,
    /// What decides where a pair is not listened to: one of the two must be reached.
    pub unheard: [Fit; 2],
    /// Pairs that are listened to at most, the most distinct first.
    pub most_heard: usize,
    /// Least correlation of the audio (see [`PairListener`]) of one recording.
    pub correlation: f32,
    /// Least share of the shorter track that must be covered, 0 to 1.
    pub coverage: f32,
    /// Largest difference of where the music starts, in seconds.
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
        Self { similarity, distinctness }
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
            neighbours: 8,
            certain: Fit::new(0.9, 0.8),
            possible: Fit::new(0.5, 0.2),
            unheard: [Fit::new(0.9, 0.5), Fit::new(0.75, 0.6)],
            most_heard: 20_000,
            correlation: 0.7,
            coverage: 0.7,
            most_offset: 15.0,
        }
    }
}

/// Listens to two files, where their windows leave a doubt.
pub trait PairListener: Sync {
    /// Told once, before the first pair.
    ///
    /// - `pairs`: how many are in doubt, as far as they are listened to
    /// - `unheard`: how many more there are, which their windows decide alone
    fn begin(&self, pairs: usize, unheard: usize) {
        let _ = (pairs, unheard);
    }

    /// What an earlier listening found: whether two tracks are one recording.
    fn known(&self, a: TrackId, b: TrackId) -> Option<bool> {
        let _ = (a, b);
        None
    }

    /// How well the audio of two tracks fits, −1 to 1; `None` where it cannot be said (a file is gone, or silent).
    fn correlation(&self, a: &TrackMeta, b: &TrackMeta) -> Option<f32>;

    /// Told what became of a pair whose correlation it gave.
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
    /// The pairs that join the group.
    pub pairs: Vec<DuplicatePair>,
}

/// Window sets kept at once.
const CACHE: usize = 4096;
/// Pairs compared between two visits to the source.
const BATCH: usize = 512;

/// Groups files of the same recording, most bytes to be won first.
///
/// - `graph`, `meta`: same rows
/// - `source`: window vectors, dropped before anything is listened to; pairs of which one has none are left out
/// - `listener`: hears what windows leave in doubt; without one they alone decide
pub fn duplicates(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    source: impl WindowSource,
    listener: Option<&dyn PairListener>,
    options: &DuplicateOptions,
) -> Result<Vec<DuplicateGroup>> {
    same_length("metadata", graph.len(), meta.len())?;
    let mut possible = laid_over(graph, meta, source, options);
    let fit = |pair: &DuplicatePair| Fit::new(pair.similarity, pair.distinctness);
    // The most distinct first: they join most, and what is joined need not be listened to.
    possible.sort_by(|x, y| y.2.distinctness.total_cmp(&x.2.distinctness).then((x.0, x.1).cmp(&(y.0, y.1))));
    let (certain, doubtful): (Vec<_>, Vec<_>) =
        possible.into_iter().partition(|(_, _, pair)| fit(pair).reaches(&options.certain));
    let mut sets = DisjointSets::new(meta.len());
    for &(a, b, _) in &certain {
        sets.join(a, b);
    }
    let mut found = certain;
    let (remembered, doubtful): (Vec<_>, Vec<_>) = doubtful
        .into_iter()
        .map(|(a, b, pair)| {
            (listener.and_then(|listener| listener.known(meta[a].id, meta[b].id)), (a, b, pair))
        })
        .partition(|(known, _)| known.is_some());
    for (known, (a, b, pair)) in remembered {
        if known == Some(true) && sets.find(a) != sets.find(b) {
            sets.join(a, b);
            found.push((a, b, pair));
        }
    }
    let doubtful: Vec<_> = doubtful.into_iter().map(|(_, pair)| pair).collect();
    let mut left = options.most_heard;
    if let Some(listener) = listener.filter(|_| !doubtful.is_empty()) {
        listener.begin(doubtful.len().min(left), doubtful.len().saturating_sub(left));
    }
    for batch in doubtful.chunks(BATCH) {
        let open: Vec<&(usize, usize, DuplicatePair)> =
            batch.iter().filter(|(a, b, _)| sets.find(*a) != sets.find(*b)).collect();
        let heard = listener.map_or(0, |_| open.len().min(left));
        left -= heard;
        let answers: Vec<Option<f32>> = open[..heard]
            .par_iter()
            .map(|(a, b, _)| {
                let listener = listener?;
                let correlation = listener.correlation(&meta[*a], &meta[*b])?;
                listener.decided(meta[*a].id, meta[*b].id, correlation >= options.correlation);
                Some(correlation)
            })
            .collect();
        let answers = answers.into_iter().chain(std::iter::repeat(None));
        for ((a, b, pair), correlation) in open.into_iter().zip(answers) {
            let same = match correlation {
                Some(correlation) => correlation >= options.correlation,
                None => options.unheard.iter().any(|least| fit(pair).reaches(least)),
            };
            if same {
                sets.join(*a, *b);
                found.push((*a, *b, DuplicatePair { correlation, ..pair.clone() }));
            }
        }
    }
    let mut groups: BTreeMap<usize, (Vec<usize>, Vec<DuplicatePair>)> = BTreeMap::new();
    for (a, b, pair) in found {
        let group = groups.entry(sets.find(a)).or_default();
        group.0.extend([a, b]);
        group.1.push(pair);
    }
    let mut answer: Vec<DuplicateGroup> = groups
        .into_values()
        .map(|(mut rows, pairs)| {
            rows.sort_unstable();
            rows.dedup();
            rows.sort_by(|&a, &b| better(&meta[a], &meta[b]));
            DuplicateGroup {
                best: meta[rows[0]].id,
                reason: reason(&meta[rows[0]], &meta[rows[1]]),
                others: rows[1..].iter().map(|&row| meta[row].id).collect(),
                bytes: rows[1..].iter().map(|&row| meta[row].bytes).sum(),
                pairs,
            }
        })
        .collect();
    answer.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.best.cmp(&b.best)));
    Ok(answer)
}

/// How the windows of two tracks fit, where they alone say that the tracks are one recording.
pub fn same_by_windows(
    a: (TrackId, &WindowSet),
    b: (TrackId, &WindowSet),
    options: &DuplicateOptions,
) -> Option<DuplicatePair> {
    let pair = lay_over(a.0, a.1, b.0, b.1, options)?;
    let fit = Fit::new(pair.similarity, pair.distinctness);
    options.unheard.iter().chain([&options.certain]).any(|least| fit.reaches(least)).then_some(pair)
}

/// Pairs of rows worth a look, each once, in order.
fn candidates(graph: &KnnGraph, meta: &[TrackMeta], options: &DuplicateOptions) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = (0..graph.len())
        .flat_map(|i| {
            graph
                .row(i)
                .take(options.neighbours)
                .filter(|&(_, similarity)| similarity >= options.candidate_similarity)
                .map(move |(j, _)| (i.min(j), i.max(j)))
        })
        .filter(|&(a, b)| {
            // The shorter must be covered, and starts and ends may differ.
            let (a, b) = (meta[a].seconds, meta[b].seconds);
            a <= 0.0 || b <= 0.0 || (a - b).abs() <= 2.0 * f64::from(options.most_offset)
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Candidates whose windows allow that they are one recording.
fn laid_over(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    mut source: impl WindowSource,
    options: &DuplicateOptions,
) -> Vec<(usize, usize, DuplicatePair)> {
    let mut cache: HashMap<usize, Option<Arc<WindowSet>>> = HashMap::new();
    let mut found = Vec::new();
    for batch in candidates(graph, meta, options).chunks(BATCH) {
        if cache.len() > CACHE {
            cache.clear();
        }
        let mut windows = |row: usize| {
            cache.entry(row).or_insert_with(|| source.windows(meta[row].id).map(Arc::new)).clone()
        };
        let loaded: Vec<(usize, usize, Arc<WindowSet>, Arc<WindowSet>)> =
            batch.iter().filter_map(|&(a, b)| Some((a, b, windows(a)?, windows(b)?))).collect();
        found.par_extend(loaded.par_iter().filter_map(|(a, b, first, second)| {
            let pair = lay_over(meta[*a].id, first, meta[*b].id, second, options)?;
            Some((*a, *b, pair))
        }));
    }
    found
}

/// Lays the windows of two tracks over each other; `None` if they cannot be one recording, or have no windows.
fn lay_over(
    a: TrackId,
    first: &WindowSet,
    b: TrackId,
    second: &WindowSet,
    options: &DuplicateOptions,
) -> Option<DuplicatePair> {
    let best = align::best(first, second, options.coverage, options.most_offset)?;
    let products: ndarray::Array2<f32> = first.vectors.dot(&second.vectors.t());
    let usual = products.mean()?.min(0.999_9);
    let fit = Fit::new(best.similarity, (best.similarity - usual) / (1.0 - usual));
    fit.reaches(&options.possible).then_some(DuplicatePair {
        a,
        b,
        similarity: fit.similarity,
        distinctness: fit.distinctness,
        correlation: None,
        offset: best.offset,
        coverage: best.coverage,
    })
}

/// Whether nothing is lost by the codec.
fn lossless(track: &TrackMeta) -> bool {
    let codec = track.codec.to_lowercase();
    ["flac", "alac", "pcm", "wav", "aiff", "wavpack", "ape"].iter().any(|name| codec.contains(name))
}

/// Bit rate that an MP3 of like quality would need, in kbit/s: newer codecs need less.
fn worth(track: &TrackMeta) -> f64 {
    let codec = track.codec.to_lowercase();
    let factor = if codec.contains("opus") {
        1.6
    } else if codec.contains("aac") || codec.contains("vorbis") {
        1.3
    } else {
        1.0
    };
    (track.kilobits_per_second().unwrap_or(0.0) * factor / 8.0).round() * 8.0
}

/// The better file first.
fn better(a: &TrackMeta, b: &TrackMeta) -> std::cmp::Ordering {
    let damage = |t: &TrackMeta| (t.decoded_share * 100.0).round() as i64;
    damage(b)
        .cmp(&damage(a))
        .then_with(|| lossless(b).cmp(&lossless(a)))
        .then_with(|| {
            if lossless(a) { b.sample_rate.cmp(&a.sample_rate) } else { worth(b).total_cmp(&worth(a)) }
        })
        .then_with(|| b.channels.cmp(&a.channels))
        // A second of silence more or less says nothing.
        .then_with(|| ((b.seconds / 2.0).round() as i64).cmp(&((a.seconds / 2.0).round() as i64)))
        .then_with(|| tags(b).cmp(&tags(a)))
        .then_with(|| a.bytes.cmp(&b.bytes))
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

fn reason(best: &TrackMeta, second: &TrackMeta) -> String {
    let describe = |t: &TrackMeta| {
        let codec = if t.codec.is_empty() { "a file of unknown codec" } else { t.codec.as_str() };
        match t.kilobits_per_second() {
            Some(rate) if !lossless(t) => format!("{codec} at {rate:.0} kbit/s"),
            _ => codec.to_owned(),
        }
    };
    if best.decoded_share - second.decoded_share > 0.01 {
        format!("undamaged: the next has {:.0} % damaged", 100.0 * (1.0 - second.decoded_share))
    } else if lossless(best) != lossless(second) {
        format!("lossless ({}) rather than {}", describe(best), describe(second))
    } else if lossless(best) && best.sample_rate != second.sample_rate {
        format!("{} Hz rather than {} Hz", best.sample_rate, second.sample_rate)
    } else if !lossless(best) && worth(best) > worth(second) {
        format!("{} rather than {}", describe(best), describe(second))
    } else if best.channels > second.channels {
        "more channels".to_owned()
    } else if best.seconds > second.seconds + 1.0 {
        format!("{:.0} s longer", best.seconds - second.seconds)
    } else if tags(best) > tags(second) {
        "alike in quality, more tags".to_owned()
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
        let own = unit_vectors(34, 32, seed);
        let mut rng = StdRng::seed_from_u64(seed * 31 + cut as u64);
        let raw = Array2::from_shape_fn((30, 32), |(i, d)| {
            3.0 * common[[0, d]] + own[[i + cut, d]] + noise * normal(&mut rng) / 32.0_f32.sqrt()
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
            means.slice_mut(s![i, ..]).assign(&(&mean / mean.dot(&mean).sqrt()));
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
        let groups =
            duplicates(&graph, &meta, source, None, &DuplicateOptions::default()).expect("same rows");
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].best, groups[0].bytes), (TrackId(41), 800_000));
        assert!(
            groups[0].reason.starts_with("lossless (flac) rather than mp3 at 107 kbit/s"),
            "{}",
            groups[0].reason
        );
        let mut others = groups[0].others.clone();
        others.sort();
        assert_eq!(others, [TrackId(3), TrackId(40)]);
        assert_eq!(groups[1].others.len(), 1);
        let cut =
            groups[0].pairs.iter().find(|p| (p.a, p.b) == (TrackId(3), TrackId(40))).expect("the cut one");
        assert!((cut.offset + 2.0).abs() < 0.15, "{cut:?}");
    }

    /// Hears of each pair what the test says; counts what it was asked.
    struct Ears {
        says: f32,
        asked: std::sync::Mutex<Vec<(TrackId, TrackId)>>,
        told: std::sync::Mutex<Vec<(usize, usize)>>,
    }

    impl PairListener for Ears {
        fn begin(&self, pairs: usize, unheard: usize) {
            self.told.lock().expect("no panic").push((pairs, unheard));
        }

        fn correlation(&self, a: &TrackMeta, b: &TrackMeta) -> Option<f32> {
            self.asked.lock().expect("no panic").push((a.id, b.id));
            (a.seconds > 0.0).then_some(self.says)
        }
    }

    #[test]
    fn pairs_that_windows_leave_in_doubt_are_compared_by_sound() {
        // 0 and 1: the same without noise; 3: a noisy copy of 2; 4 differs.
        let sets =
            [piece(1, 0, 0.0), piece(1, 0, 0.05), piece(2, 0, 0.0), piece(2, 0, 1.6), piece(5, 0, 0.0)];
        let means = Array2::from_shape_fn((5, 32), |(i, d)| sets[i].vectors.column(d).sum());
        let norms = means.map_axis(Axis(1), |row| row.dot(&row).sqrt()).insert_axis(Axis(1));
        let graph = KnnGraph::exact((&means / &norms).view(), 4).expect("unit vectors");
        let mut meta: Vec<TrackMeta> =
            (0..5).map(|i| TrackMeta::new(TrackId(i), format!("{i}.mp3"))).collect();
        meta.iter_mut().for_each(|track| track.seconds = 30.0);
        let groups = |says: f32, meta: &[TrackMeta], most_heard: usize| {
            let ears = Ears { says, asked: std::sync::Mutex::default(), told: std::sync::Mutex::default() };
            let source = |track: TrackId| sets.get(track.0 as usize).cloned();
            let options = DuplicateOptions { most_heard, ..DuplicateOptions::default() };
            let found = duplicates(&graph, meta, source, Some(&ears), &options).expect("same rows");
            let heard = most_heard.min(1);
            assert_eq!(
                ears.told.into_inner().expect("no panic"),
                [(heard, 1 - heard)],
                "one pair is in doubt"
            );
            (found, ears.asked.into_inner().expect("no panic"))
        };
        let (same, asked) = groups(0.9, &meta, 100);
        assert_eq!(same.len(), 2, "{same:?}");
        assert_eq!(asked, [(TrackId(2), TrackId(3))], "certain and impossible pairs are not heard");
        assert_eq!((same[0].pairs[0].correlation, same[1].pairs[0].correlation), (None, Some(0.9)));
        assert_eq!(groups(0.5, &meta, 100).0.len(), 1, "the audio says no");
        // Not heard, or not to be heard: the windows alone decide, and they are too far apart.
        assert_eq!(groups(0.9, &meta, 0).0.len(), 1);
        meta.iter_mut().for_each(|track| track.seconds = 0.0);
        assert_eq!(groups(0.9, &meta, 100).0.len(), 1);
    }
}
