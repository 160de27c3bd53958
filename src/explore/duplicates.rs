//! Files of the same recording with another codec, bit rate or level.
//!
//! Candidates are near tracks of one length; their audio decides (see [`audio_match`](super::audio_match)). Nothing is
//! deleted here.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::{KnnGraph, TrackMeta};
use voisin_base::text::fold;
use voisin_base::track::TrackId;

pub const NEIGHBOURS: usize = 8;

/// Least cosine of track vectors of a pair to compare.
const CANDIDATE: f32 = 0.6;
/// Largest difference in seconds between the lengths of such a pair: encoders' padding and pauses between tracks are shorter.
const SAME_LENGTH: f64 = 5.0;
/// Seconds by which a copy may be longer than the kept file, which must lack nothing: encoders add less.
const LONGER: f64 = 0.3;
/// Least cosine of a pair of any lengths: a song followed by five minutes of silence has 0.98.
const SILENT: f32 = 0.95;

#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateGroup {
    pub best: TrackId,
    /// Why it is better than the second best file.
    pub reason: String,
    pub others: Vec<TrackId>,
    pub bytes: u64,
}

/// Groups files of the same recording, those that free most bytes first. Each file of a group is the same recording as the one
/// to keep; similarity to another copy is not enough.
///
/// - `graph`, `meta`: same rows
/// - `begin`: called once with the number of pairs
/// - `is_same`: whether the audio of two tracks is one recording
pub fn duplicates(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    begin: impl FnOnce(usize),
    is_same: impl Fn(&TrackMeta, &TrackMeta) -> bool + Sync,
) -> Vec<DuplicateGroup> {
    let pairs = candidates(graph, meta);
    begin(pairs.len());
    let is_same = |&(a, b): &(usize, usize)| is_same(&meta[a], &meta[b]);
    let verdicts: Vec<bool> = pairs.par_iter().map(is_same).collect();
    let mut known: HashMap<(usize, usize), bool> = pairs.into_iter().zip(verdicts).collect();
    let mut answer = Vec::new();
    for mut rows in connected(&known) {
        // Files that are no copies of the kept one may be a group of their own.
        while rows.len() > 1 {
            rows.sort_by(|&a, &b| better(&meta[a], &meta[b]));
            let keep = rows.remove(0);
            let open: Vec<(usize, usize)> = rows
                .iter()
                .map(|&row| ordered(keep, row))
                .filter(|pair| !known.contains_key(pair) && !is_other_song(meta, *pair))
                .collect();
            let verdicts: Vec<bool> = open.par_iter().map(is_same).collect();
            known.extend(open.into_iter().zip(verdicts));
            let mut others: Vec<usize> = Vec::new();
            rows.retain(|&row| {
                let is_copy = known.get(&ordered(keep, row)) == Some(&true)
                    && meta[row].seconds <= meta[keep].seconds + LONGER
                    // Two songs may both seem to be the untagged one that is kept.
                    && !others.iter().any(|&other| is_other_song(meta, (other, row)));
                if is_copy {
                    others.push(row);
                }
                !is_copy
            });
            answer.extend(group(keep, &others, meta));
        }
    }
    answer.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.best.cmp(&b.best)));
    answer
}

/// Pairs of near rows of one length, each once, in order, without those of other songs.
fn candidates(graph: &KnnGraph, meta: &[TrackMeta]) -> Vec<(usize, usize)> {
    let near = |row| {
        let neighbours = graph.row(row).take(NEIGHBOURS);
        neighbours.map(move |(other, similarity)| (ordered(row, other), similarity))
    };
    let mut pairs: Vec<(usize, usize)> = (0..graph.len())
        .flat_map(near)
        .filter(|&((a, b), similarity)| {
            let [a, b] = [a, b].map(|row| meta[row].seconds);
            let lengths_agree = a <= 0.0 || b <= 0.0 || (a - b).abs() <= SAME_LENGTH;
            similarity >= if lengths_agree { CANDIDATE } else { SILENT }
        })
        .map(|(pair, _)| pair)
        .filter(|&pair| !is_other_song(meta, pair))
        .collect();
    pairs.sort_unstable();
    // A pair is found from both of its tracks.
    pairs.dedup();
    pairs
}

fn ordered(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// Groups of two or more rows that are connected by pairs of one recording, each ascending.
fn connected(known: &HashMap<(usize, usize), bool>) -> Vec<Vec<usize>> {
    let mut same: Vec<(usize, usize)> = known
        .iter()
        .filter(|(_, is_same)| **is_same)
        .map(|(&pair, _)| pair)
        .collect();
    // A hash map is not ordered.
    same.sort_unstable();
    let mut parents: BTreeMap<usize, usize> = BTreeMap::new();
    for (a, b) in same {
        let [a, b] = [a, b].map(|row| root(&mut parents, row));
        parents.insert(a.max(b), a.min(b));
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in parents.keys().copied().collect::<Vec<_>>() {
        groups.entry(root(&mut parents, row)).or_default().push(row);
    }
    groups.into_values().collect()
}

/// The row that stands for the set of a row, with path halving.
fn root(parents: &mut BTreeMap<usize, usize>, mut row: usize) -> usize {
    loop {
        let parent = *parents.entry(row).or_insert(row);
        if parent == row {
            return row;
        }
        let grandparent = parents[&parent];
        parents.insert(row, grandparent);
        row = grandparent;
    }
}

/// Whether titles and artists of two rows are known and both differ. Such a pair is never offered, whatever its audio.
fn is_other_song(meta: &[TrackMeta], (a, b): (usize, usize)) -> bool {
    let [a, b] = [&meta[a], &meta[b]];
    let [titles_a, titles_b] = [a, b].map(|track| fold(&track.title));
    let [artists_a, artists_b] = [a, b].map(TrackMeta::artist_keys);
    let titles_differ = !titles_a.is_empty() && !titles_b.is_empty() && titles_a != titles_b;
    let artists_differ = !artists_a.is_empty()
        && !artists_b.is_empty()
        && !artists_a.iter().any(|artist| artists_b.contains(artist));
    titles_differ && artists_differ
}

/// A file and its copies, better ones first; `None` without copies.
fn group(keep: usize, others: &[usize], meta: &[TrackMeta]) -> Option<DuplicateGroup> {
    let second = others.first()?;
    Some(DuplicateGroup {
        best: meta[keep].id,
        reason: reason(&meta[keep], &meta[*second]),
        others: others.iter().map(|&row| meta[row].id).collect(),
        bytes: others.iter().map(|&row| meta[row].bytes).sum(),
    })
}

fn lossless(track: &TrackMeta) -> bool {
    let codec = track.codec.to_lowercase();
    let is_one_of = |names: &[&str]| names.iter().any(|name| codec.contains(name));
    // Some have "pcm" in their names, but 4 or 8 bits per sample.
    !is_one_of(&["adpcm", "alaw", "mulaw"])
        && is_one_of(&["flac", "alac", "pcm", "wav", "aiff", "wavpack", "ape"])
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

/// Orders two files of one recording, the better one first.
fn better(a: &TrackMeta, b: &TrackMeta) -> std::cmp::Ordering {
    let damaged = |t: &TrackMeta| (t.damaged * 100.0).round() as i64;
    // Audio quality first, since tags and size can be changed later.
    damaged(a)
        .cmp(&damaged(b))
        .then_with(|| lossless(b).cmp(&lossless(a)))
        .then_with(|| {
            if lossless(a) {
                b.sample_rate.cmp(&a.sample_rate)
            } else {
                worth(b).total_cmp(&worth(a))
            }
        })
        .then_with(|| b.channels.cmp(&a.channels))
        .then_with(|| b.seconds.round().total_cmp(&a.seconds.round()))
        .then_with(|| tags(b).cmp(&tags(a)))
        .then_with(|| a.bytes.cmp(&b.bytes))
        // Of equals the older one, so that the order is deterministic.
        .then(a.id.cmp(&b.id))
}

fn tags(t: &TrackMeta) -> usize {
    usize::from(t.artist.is_some())
        + usize::from(t.album.is_some())
        + usize::from(!t.title.is_empty())
        + usize::from(!t.genres.is_empty())
        + usize::from(t.year.is_some())
}

fn reason(best: &TrackMeta, second: &TrackMeta) -> String {
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
    let [one, other] = [best, second].map(describe);
    if second.damaged - best.damaged > 0.01 {
        let damaged = 100.0 * second.damaged;
        format!("undamaged: the next has {damaged:.0} % damaged")
    } else if lossless(best) != lossless(second) {
        format!("lossless ({one}) rather than {other}{origin}")
    } else if !lossless(best) && worth(best) > worth(second) {
        format!("{one} rather than {other}{origin}")
    } else {
        "alike in quality".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::unit_vectors;
    use super::*;
    use ndarray::Array2;

    fn track(id: i64, codec: &str, kilobits: f64) -> TrackMeta {
        TrackMeta {
            seconds: 30.0,
            bytes: (30.0 * kilobits * 125.0) as u64,
            codec: codec.to_owned(),
            sample_rate: 44_100,
            channels: 2,
            ..TrackMeta::new(TrackId(id), format!("{id}.{codec}"))
        }
    }

    fn titled(titles: &[(&str, &str)]) -> Vec<TrackMeta> {
        let named = |((artist, title), id): (&(&str, &str), i64)| TrackMeta {
            title: (*title).to_owned(),
            artist: (!artist.is_empty()).then(|| (*artist).to_owned()),
            // The first is the best one.
            ..track(id, "mp3", 240.0 - 8.0 * id as f64)
        };
        titles.iter().zip(0..).map(named).collect()
    }

    /// Groups among equal vectors, as numbers, with the kept file first.
    fn groups(
        meta: &[TrackMeta],
        is_same: impl Fn(&TrackMeta, &TrackMeta) -> bool + Sync,
    ) -> Vec<Vec<i64>> {
        let mut vectors = Array2::zeros((meta.len(), 2));
        vectors.column_mut(0).fill(1.0);
        let graph = KnnGraph::exact(vectors.view(), meta.len() - 1).expect("unit vectors");
        let found = duplicates(&graph, meta, |_| {}, is_same);
        let numbers = |group: DuplicateGroup| {
            let mut others: Vec<i64> = group.others.iter().map(|track| track.0).collect();
            others.sort_unstable();
            [vec![group.best.0], others].concat()
        };
        found.into_iter().map(numbers).collect()
    }

    #[test]
    fn versions_are_grouped_and_similar_music_is_not() {
        // 40 and 41 hold the recording of 3, 42 that of 8, and 9 is as near to 8.
        let mut vectors = unit_vectors(43, 64, 1);
        for (copy, of) in [(40, 3), (41, 3), (42, 8), (9, 8)] {
            let row = vectors.row(of).to_owned();
            vectors.row_mut(copy).assign(&row);
        }
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let mut meta: Vec<TrackMeta> = (0..43).map(|id| track(id, "mp3", 107.0)).collect();
        meta[41] = track(41, "flac", 800.0);
        let piece = |track: &TrackMeta| match track.id.0 {
            40 | 41 => 3,
            42 => 8,
            other => other,
        };
        let mut compared = 0;
        let is_same = |a: &TrackMeta, b: &TrackMeta| piece(a) == piece(b);
        let found = duplicates(&graph, &meta, |pairs| compared = pairs, is_same);
        assert_eq!((found.len(), compared), (2, 6));
        assert_eq!(found[0].best, TrackId(41));
        assert_eq!(found[0].others, [TrackId(3), TrackId(40)]);
        assert_eq!(found[0].bytes, 2 * meta[3].bytes);
        assert_eq!(
            found[0].reason,
            "lossless (flac) rather than mp3 at 107 kbit/s, if not made from it"
        );
        assert_eq!(found[1].others, [TrackId(42)]);
        // Other lengths are compared only where the vectors are nearly equal.
        meta[42].seconds = 40.0;
        vectors.row_mut(42)[0] += 0.5;
        let norm = vectors.row(42).dot(&vectors.row(42)).sqrt();
        vectors.row_mut(42).mapv_inplace(|value| value / norm);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let found = duplicates(&graph, &meta, |_| {}, is_same);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn other_titles_by_other_artists_are_never_copies() {
        let heard = |tags: &[(&str, &str)]| groups(&titled(tags), |_, _| true);
        let anna = ("Anna", "Morning");
        let bob = ("Bob", "Evening");
        assert_eq!(heard(&[anna, bob]), Vec::<Vec<i64>>::new());
        // Nothing is known of what a tag does not name.
        for other in [
            ("Anna", "Evening"),
            ("Bob", "Morning"),
            ("Bob", ""),
            ("", "Evening"),
        ] {
            assert_eq!(heard(&[anna, other]), [[0, 1]], "{other:?}");
        }
        // Both sound like an untagged file, which is a copy of one of them at most.
        assert_eq!(heard(&[anna, bob, ("", "")]), [[0, 2]]);
        assert_eq!(heard(&[("", ""), anna, bob]), [[0, 1]]);
    }

    #[test]
    fn the_better_file_is_kept() {
        let order = |a: &TrackMeta, b: &TrackMeta| {
            let mut both = [a, b];
            both.sort_by(|a, b| better(a, b));
            (both[0].id.0, reason(both[0], both[1]))
        };
        // Compressed PCM is not lossless.
        let whole = track(2, "pcm_s16le", 1411.0);
        for codec in ["adpcm_ms", "adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"] {
            let (kept, words) = order(&track(1, codec, 353.0), &whole);
            assert!(
                kept == 2 && words.starts_with("lossless (pcm_s16le) rather than"),
                "{words}"
            );
        }
        let damaged = TrackMeta {
            damaged: 0.5,
            ..track(1, "flac", 900.0)
        };
        let (kept, words) = order(&damaged, &track(2, "mp3", 128.0));
        assert_eq!(
            (kept, words.as_str()),
            (2, "undamaged: the next has 50 % damaged")
        );
        let (kept, words) = order(&track(1, "mp3", 128.0), &track(2, "opus", 96.0));
        assert_eq!(kept, 2);
        assert!(
            words.starts_with("opus at 96 kbit/s rather than mp3"),
            "{words}"
        );
        let (kept, words) = order(&track(1, "flac", 900.0), &track(2, "flac", 800.0));
        assert_eq!((kept, words.as_str()), (2, "alike in quality"));
        let cut = |id, codec, kilobits| TrackMeta {
            seconds: 28.5,
            ..track(id, codec, kilobits)
        };
        let whole = track(1, "flac", 800.0);
        assert_eq!(order(&cut(2, "flac", 800.0), &whole).0, 1);
        // What is better in quality and lacks something frees nothing.
        let heard = |files: &[TrackMeta]| groups(files, |_, _| true);
        assert_eq!(heard(&[cut(0, "flac", 800.0), whole.clone()]), [[1, 0]]);
        let low = track(1, "mp3", 128.0);
        assert_eq!(heard(&[cut(0, "mp3", 160.0), low]), [[0; 0]; 0]);
    }

    #[test]
    fn a_copy_of_a_copy_is_compared_with_the_file_kept() {
        let meta = titled(&[("Tom", "A"), ("Tom", "B"), ("Tom", "C"), ("Tom", "D")]);
        // Each matches the next, but the first and the third do not match.
        let chain = |a: &TrackMeta, b: &TrackMeta| (a.id.0 - b.id.0).abs() == 1;
        assert_eq!(groups(&meta, chain), [[0, 1], [2, 3]]);
    }
}
