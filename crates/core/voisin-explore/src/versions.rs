//! Recordings of the same song: live takes, remasters, edits and other versions.
//!
//! Candidates are pairs with agreeing titles or near vectors ([`candidates`]); the works in tags, or else
//! the likeness of chords ([`likeness`]), decide whether they are the same song
//! ([`versions`]).
//!
//! Not for: copies of one recording (see [`duplicates`](super::duplicates)).

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::union::DisjointSets;
use super::{KnnGraph, Result, TrackMeta, same_length};
use voisin_music::song::{SongTitle, TitleLikeness};

/// Least likeness of tracks with agreeing titles. 95 % of 584 pairs of different songs by one artist, 30 s each, have less.
const AGREEING: f32 = 0.3;
/// Least likeness of tracks without agreeing titles; those pairs have at most 0.44.
pub const ALONE: f32 = 0.5;
/// Neighbours of each track to compare without agreeing titles, and their least cosine.
const NEIGHBOURS: usize = 8;
const NEAR: f32 = 0.85;
/// Most such pairs, the nearest first.
const MOST_NEAR: usize = 2000;
/// Most tracks of one title that are paired with all others of that title.
const MOST_OF_TITLE: usize = 10;

/// Frames per comparison: 2 s of chords are more specific than one chord.
const SPAN: usize = 8;
/// Share of the other track's positions that are recurrences of each position.
const RECURRING: f32 = 0.1;
/// Cost of a position on a path without recurrence.
const GAP: f32 = 0.5;
/// Transpositions to try, the most likely by the mean of all notes first.
const TRANSPOSITIONS: usize = 2;

/// Two tracks that may be versions of one song.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionCandidate {
    /// Row of one.
    pub a: usize,
    /// Row of the other, the greater.
    pub b: usize,
    /// Likeness of the titles, if the artists agree and the titles have the same beginning; `None`: their vectors are near.
    pub titles: Option<TitleLikeness>,
}

impl VersionCandidate {
    /// Whether the titles are those of versions, so that a lower likeness of chords suffices.
    fn titles_agree(self) -> bool {
        use TitleLikeness::{Same, Versions};
        matches!(self.titles, Some(Same | Versions))
    }
}

/// Candidate pairs of tracks, each once, in order.
///
/// Pairs with agreeing titles, and at most 2000 pairs by the same artist (or without an artist) with near vectors.
///
/// - `graph`: of the same rows as `meta`; `None` uses titles alone
pub fn candidates(graph: Option<&KnnGraph>, meta: &[TrackMeta]) -> Result<Vec<VersionCandidate>> {
    let songs: Vec<Option<SongTitle>> = meta.iter().map(TrackMeta::song).collect();
    let mut titles: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, song) in songs.iter().enumerate() {
        if let Some(song) = song {
            titles.entry(song.key()).or_default().push(row);
        }
    }
    let likeness = |a: usize, b: usize| songs[a].as_ref()?.likeness(songs[b].as_ref()?);
    let mut found: Vec<VersionCandidate> = Vec::new();
    for rows in titles.values_mut() {
        // The plain song first, with which all its versions are compared.
        rows.sort_by_key(|&row| (songs[row].as_ref().is_none_or(|song| !song.is_plain()), row));
        // Bounded, since a hundred tracks called "Intro" would have 4 950 pairs.
        for (i, &a) in rows.iter().enumerate().take(MOST_OF_TITLE) {
            found.extend(rows[i + 1..].iter().filter_map(|&b| {
                let titles = Some(likeness(a, b)?);
                Some(VersionCandidate {
                    a: a.min(b),
                    b: a.max(b),
                    titles,
                })
            }));
        }
    }
    // A title with additional words may be a version of the shorter one.
    for (b, song) in songs.iter().enumerate() {
        let shorter = song.iter().flat_map(SongTitle::shorter_keys);
        let rows = shorter.filter_map(|key| titles.get(key));
        for &a in rows.flat_map(|rows| rows.iter().take(MOST_OF_TITLE)) {
            found.extend(likeness(a, b).map(|titles| VersionCandidate {
                a: a.min(b),
                b: a.max(b),
                titles: Some(titles),
            }));
        }
    }
    if let Some(graph) = graph {
        same_length("metadata", graph.len(), meta.len())?;
        let artists: Vec<Vec<String>> = meta.iter().map(TrackMeta::artist_keys).collect();
        // For different artists only titles are evidence, and pairs with one title are already
        // candidates.
        let may_be_one = |a: usize, b: usize| {
            let x = &artists[a];
            let y = &artists[b];
            (x.is_empty() || y.is_empty() || x.iter().any(|artist| y.contains(artist)))
                && likeness(a, b) != Some(TitleLikeness::Same)
        };
        let mut near: Vec<(f32, usize, usize)> = (0..graph.len())
            .flat_map(|i| {
                graph
                    .row(i)
                    .take(NEIGHBOURS)
                    .map(move |(j, s)| (s, i.min(j), i.max(j)))
            })
            .filter(|&(similarity, a, b)| similarity >= NEAR && may_be_one(a, b))
            .collect();
        near.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
        near.dedup_by_key(|&mut (_, a, b)| (a, b));
        near.truncate(MOST_NEAR);
        found.extend(
            near.into_iter()
                .map(|(_, a, b)| VersionCandidate { a, b, titles: None }),
        );
    }
    // Stable, so that pairs by titles come first.
    found.sort_by_key(|pair| (pair.a, pair.b));
    found.dedup_by_key(|pair| (pair.a, pair.b));
    Ok(found)
}

/// Facts from a file about its song.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SongFacts {
    /// Ids of the works in its tags.
    pub works: Vec<String>,
    /// Its chromagram; `None` if it could not be decoded.
    pub chords: Option<Vec<[u8; 12]>>,
}

/// Two tracks of one song.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VersionPair {
    /// Row of one.
    pub a: usize,
    /// Row of the other.
    pub b: usize,
    /// Likeness of their chords (see [`likeness`]), if both were decoded.
    pub likeness: Option<f32>,
}

/// The candidates that are the same song: if both have works, those with a common one; else those with similar chords; and without
/// chords, those with agreeing titles.
///
/// - `facts`: by row; missing ones are unknown
pub fn versions(
    candidates: &[VersionCandidate],
    facts: &BTreeMap<usize, SongFacts>,
) -> Vec<VersionPair> {
    let unknown = SongFacts::default();
    candidates
        .par_iter()
        .filter_map(|&candidate| {
            let VersionCandidate { a, b, .. } = candidate;
            let [of_a, of_b] = [a, b].map(|row| facts.get(&row).unwrap_or(&unknown));
            let chords = of_a.chords.as_ref().zip(of_b.chords.as_ref());
            let likeness = chords.and_then(|(a, b)| likeness(a, b));
            is_version(candidate, [&of_a.works, &of_b.works], likeness).then_some(VersionPair {
                a,
                b,
                likeness,
            })
        })
        .collect()
}

fn is_version(candidate: VersionCandidate, works: [&[String]; 2], likeness: Option<f32>) -> bool {
    if works.iter().all(|named| !named.is_empty()) {
        // Works of MusicBrainz were entered by people and take precedence over chords.
        return works[0].iter().any(|work| works[1].contains(work));
    }
    let is_named_alike = candidate.titles.is_some_and(TitleLikeness::is_sure);
    likeness.map_or(is_named_alike, |likeness| {
        likeness
            >= if candidate.titles_agree() {
                AGREEING
            } else {
                ALONE
            }
    })
}

/// The pairs that connect the first track of each group with others, since similarity to a version is not enough.
///
/// - `order`: all rows, each song before its versions
pub fn from_heads(
    pairs: &[VersionPair],
    order: impl IntoIterator<Item = usize>,
) -> Vec<(usize, usize)> {
    let mut partners: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for pair in pairs {
        partners.entry(pair.a).or_default().push(pair.b);
        partners.entry(pair.b).or_default().push(pair.a);
    }
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for head in order {
        let Some(partners) = partners.get(&head).filter(|_| taken.insert(head)) else {
            continue;
        };
        let new = partners.iter().copied().filter(|&row| taken.insert(row));
        found.extend(new.map(|row| (head, row)));
    }
    found
}

/// The groups that these pairs form, each in order; tracks without a pair are in none.
///
/// - `tracks`: their number
pub fn joined(tracks: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut sets = DisjointSets::new(tracks);
    for (a, b) in pairs {
        sets.join(a, b);
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in 0..tracks {
        groups.entry(sets.find(row)).or_default().push(row);
    }
    groups.into_values().filter(|rows| rows.len() > 1).collect()
}

/// Likeness of the chords of two tracks: the longest matching stretch as a share of the shorter track, 0 to 1, and slightly more
/// if the other one is slower. `None` if one of them is shorter than 4 s.
///
/// Qmax (Serrà, Serra and Andrzejak, *Cross recurrence quantification for cover song identification*, New Journal of Physics
/// 11, 2009): positions of both tracks recur if each is among the other's nearest; the result is the best path through
/// recurrences, which allows for changes of tempo and gaps. The two most likely transpositions are tried (their *optimal
/// transposition index*). Different songs have about 0.2, and most of 30 s less than 0.3.
///
/// - `a`, `b`: chromagrams with the same frame rate
pub fn likeness(a: &[[u8; 12]], b: &[[u8; 12]]) -> Option<f32> {
    if a.len().min(b.len()) < 2 * SPAN {
        return None;
    }
    let a = unit(a);
    let b = unit(b);
    let all_a = a.sum_axis(Axis(0));
    let all_b = b.sum_axis(Axis(0));
    let fit = |up: usize| {
        (0..12)
            .map(|pitch| all_a[(pitch + up) % 12] * all_b[pitch])
            .sum::<f32>()
    };
    let mut transpositions: Vec<usize> = (0..12).collect();
    transpositions.sort_by(|&x, &y| fit(y).total_cmp(&fit(x)));
    let longest = transpositions.into_iter().take(TRANSPOSITIONS).map(|up| {
        let order: Vec<usize> = (0..12).map(|pitch| (pitch + 12 - up) % 12).collect();
        longest_path(&recurrences(&a, &b.select(Axis(1), &order)))
    });
    let shorter = a.nrows().min(b.nrows()) + 1 - SPAN;
    Some(longest.fold(0.0, f32::max) / shorter as f32)
}

fn unit(frames: &[[u8; 12]]) -> Array2<f32> {
    let mut values =
        Array2::from_shape_fn((frames.len(), 12), |(i, pitch)| f32::from(frames[i][pitch]));
    for mut frame in values.rows_mut() {
        let norm = frame.dot(&frame).sqrt().max(1e-9);
        frame /= norm;
    }
    values
}

/// For each pair of positions, whether they are among each other's nearest.
fn recurrences(a: &Array2<f32>, b: &Array2<f32>) -> Array2<bool> {
    let products = a.dot(&b.t());
    let rows = a.nrows() + 1 - SPAN;
    let columns = b.nrows() + 1 - SPAN;
    let mut spans = Array2::<f32>::zeros((rows, columns));
    // Sums along diagonals are products of whole spans of frames.
    for late in 0..SPAN {
        spans += &products.slice(s![late..late + rows, late..late + columns]);
    }
    let least = |lane: ndarray::ArrayView1<'_, f32>| {
        let mut values = lane.to_vec();
        // By rank, because the similarity of chords depends on the sound of the recordings.
        let nearest = ((RECURRING * values.len() as f32) as usize).max(1);
        *values
            .select_nth_unstable_by(nearest - 1, |x, y| y.total_cmp(x))
            .1
    };
    let of_rows: Vec<f32> = spans.rows().into_iter().map(least).collect();
    let of_columns: Vec<f32> = spans.columns().into_iter().map(least).collect();
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        spans[[i, j]] >= of_rows[i] && spans[[i, j]] >= of_columns[j]
    })
}

/// The best score of a path through recurrences: 1 for each, minus [`GAP`] for each position between.
fn longest_path(recur: &Array2<bool>) -> f32 {
    let columns = recur.ncols();
    // Two zeros before each row, so that paths can begin anywhere.
    let mut before = vec![0.0_f32; columns + 2];
    let mut last = vec![0.0_f32; columns + 2];
    let mut longest = 0.0_f32;
    for row in recur.rows() {
        let mut here = vec![0.0_f32; columns + 2];
        for (j, &recurs) in row.iter().enumerate() {
            // Diagonally, or two positions of one track for one of the other, since a version may be
            // slower or faster.
            let so_far = last[j + 1].max(before[j + 1]).max(last[j]);
            here[j + 2] = if recurs {
                so_far + 1.0
            } else {
                (so_far - GAP).max(0.0)
            };
            longest = longest.max(here[j + 2]);
        }
        before = std::mem::replace(&mut last, here);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;

    /// Random triads, 4 frames each, with noise in the other pitch classes.
    fn song(seed: u64, chords: usize) -> Vec<[u8; 12]> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut frames = Vec::new();
        for _ in 0..chords {
            let root = random(12) as usize;
            let third = 3 + random(2) as usize;
            for _ in 0..4 {
                let mut frame: [u8; 12] = std::array::from_fn(|_| random(60) as u8);
                for step in [0, third, 7] {
                    frame[(root + step) % 12] = 180 + random(75) as u8;
                }
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn versions_in_another_key_tempo_and_length_are_alike() {
        let original = song(1, 60);
        let higher: Vec<[u8; 12]> = original
            .iter()
            .map(|f| std::array::from_fn(|p| f[(p + 9) % 12]))
            .collect();
        let faster: Vec<[u8; 12]> = higher
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 12 != 5)
            .map(|(_, f)| *f)
            .collect();
        let edit = faster[60..180].to_vec();
        for version in [&original, &higher, &faster, &edit] {
            let found = likeness(&original, version).unwrap();
            assert!(found > 0.8 && found < 1.1, "{found}");
            let turned = likeness(version, &original).unwrap();
            assert!((turned - found).abs() < 0.02, "symmetric: {turned} {found}");
        }
        let most = (2..12)
            .filter_map(|seed| likeness(&original, &song(seed, 50)))
            .fold(0.0, f32::max);
        assert!(most < ALONE, "{most}");
        assert_eq!(likeness(&original, &original[..2 * SPAN - 1]), None);
        assert!(likeness(&[[0; 12]; 40], &original).is_some_and(f32::is_finite));
    }

    #[test]
    fn works_take_precedence_over_chords_and_these_over_titles() {
        let is_version = |titles, works: [&[String]; 2], likeness| {
            let titles = [None, Some(TitleLikeness::Same)][usize::from(titles)];
            is_version(VersionCandidate { a: 0, b: 1, titles }, works, likeness)
        };
        let one = ["w1".to_owned(), "w3".to_owned()];
        let other = ["w2".to_owned()];
        assert!(is_version(false, [&one, &one[1..]], Some(0.0)));
        assert!(!is_version(true, [&one, &other], Some(1.0)));
        assert!(is_version(true, [&one, &[]], None) && !is_version(false, [&one, &[]], None));
        assert!(
            is_version(true, [&[], &[]], Some(0.4)) && !is_version(true, [&[], &[]], Some(0.2))
        );
        assert!(
            is_version(false, [&[], &[]], Some(0.6)) && !is_version(false, [&[], &[]], Some(0.4))
        );
    }

    #[test]
    fn agreeing_titles_and_near_tracks_are_candidates() {
        let track = |id: i64, artist: &str, title: &str| {
            let artist = (!artist.is_empty()).then(|| artist.to_owned());
            TrackMeta {
                artist,
                title: title.into(),
                ..TrackMeta::new(TrackId(id), format!("{id}.mp3"))
            }
        };
        let meta = [
            track(1, "Alpha", "Hurt"),
            track(2, "Alpha", "Hurt (Live)"),
            track(3, "Alpha", "Other"),
            track(4, "Beta", "Hurt"),
            track(5, "", ""),
            track(6, "Alpha", "Hurt Live at Wembley"),
        ];
        let mut vectors =
            Array2::from_shape_fn((6, 3), |(i, j)| if j == 0 { 1.0 } else { 0.001 * i as f32 });
        for mut row in vectors.rows_mut() {
            let norm = row.dot(&row).sqrt();
            row /= norm;
        }
        let graph = KnnGraph::exact(vectors.view(), 5).unwrap();
        let pairs = |graph| {
            let found = candidates(graph, &meta).unwrap();
            found
                .into_iter()
                .map(|pair| (pair.a, pair.b, pair.titles_agree()))
                .collect::<Vec<_>>()
        };
        assert_eq!(pairs(None), [(0, 1, true), (0, 5, true), (1, 5, true)]);
        let expected = [
            (0, 1, true),
            (0, 2, false),
            (0, 4, false),
            (0, 5, true),
            (1, 2, false),
            (1, 4, false),
            (1, 5, true),
            (2, 4, false),
            (2, 5, false),
            (3, 4, false),
            (4, 5, false),
        ];
        assert_eq!(pairs(Some(&graph)), expected);
    }

    #[test]
    fn a_version_of_a_version_is_not_one_of_the_song() {
        let pair = |a, b| VersionPair {
            a,
            b,
            likeness: None,
        };
        let pairs = [pair(0, 2), pair(2, 3), pair(1, 4), pair(3, 5)];
        assert_eq!(from_heads(&pairs, 0..6), [(0, 2), (1, 4), (3, 5)]);
        assert_eq!(
            from_heads(&pairs, [2, 0, 1, 3, 4, 5]),
            [(2, 0), (2, 3), (1, 4)]
        );
    }

    #[test]
    fn pairs_form_groups() {
        assert_eq!(
            joined(6, [(0, 2), (4, 5), (2, 3)]),
            [vec![0, 2, 3], vec![4, 5]]
        );
    }
}
