//! Genres that tracks have together: which is within which, and the probability that a track has
//! each.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::{Genre, GenreShare, Spellings};

/// Fewest tracks of a genre within another; with fewer it may be chance.
const FEWEST: usize = 3;
/// Least share of its tracks that must have the other genre, too.
const NEARLY_ALL: f64 = 0.9;
/// Least share of a second genre in a result.
const LEAST: f32 = 0.5;
/// Most genres in a result.
const MOST: usize = 4;
/// Iterations of expectation maximisation.
const ROUNDS: usize = 100;

/// How the genres of some tracks overlap.
#[derive(Debug, Clone)]
pub struct Nesting {
    /// Ascending.
    genres: Vec<Genre>,
    /// Tracks of each.
    tracks: Vec<usize>,
    /// Number of tracks with two genres, the smaller number first.
    both: BTreeMap<(usize, usize), usize>,
    /// Sets of genres that tracks have, with their share of the tracks; a genre without tracks is a
    /// set, too.
    sets: Vec<(Vec<usize>, f64)>,
}

impl Nesting {
    /// From the labels of tracks.
    pub fn of(labels: &[Vec<Genre>]) -> Self {
        let genres = Spellings::count(labels.iter().flatten()).genres();
        let classes: Vec<Vec<usize>> = labels
            .iter()
            .map(|track_classes| {
                let mut track_classes: Vec<usize> = track_classes
                    .iter()
                    .filter_map(|g| genres.binary_search(g).ok())
                    .collect();
                track_classes.sort_unstable();
                track_classes.dedup();
                track_classes
            })
            .collect();
        Self::new(genres, &classes)
    }

    /// - `genres`: ascending; `classes`: of each track, ascending numbers of genres
    pub(super) fn new(genres: Vec<Genre>, classes: &[Vec<usize>]) -> Self {
        let mut sets: BTreeMap<&[usize], usize> = BTreeMap::new();
        for set in classes.iter().filter(|set| !set.is_empty()) {
            *sets.entry(set).or_default() += 1;
        }
        Self::of_sets(genres, &sets)
    }

    /// - `genres`: ascending
    /// - `sets`: ascending numbers of genres, none empty, and the number of tracks with exactly these
    pub fn of_sets(genres: Vec<Genre>, sets: &BTreeMap<&[usize], usize>) -> Self {
        let mut tracks = vec![0; genres.len()];
        let mut both = BTreeMap::new();
        for (set, count) in sets {
            for (i, &a) in set.iter().enumerate() {
                tracks[a] += count;
                set[i + 1..]
                    .iter()
                    .for_each(|&b| *both.entry((a, b)).or_default() += count);
            }
        }
        let n = sets.values().sum::<usize>().max(1) as f64;
        let mut sets: Vec<(Vec<usize>, f64)> = sets
            .iter()
            .map(|(set, &count)| (set.to_vec(), count as f64 / n))
            .collect();
        // A genre without tracks needs a set, or its probability would vanish.
        sets.extend(
            (0..genres.len())
                .filter(|&c| tracks[c] == 0)
                .map(|c| (vec![c], 1.0 / n)),
        );
        Self {
            genres,
            tracks,
            both,
            sets,
        }
    }

    fn both(&self, a: usize, b: usize) -> usize {
        self.both.get(&(a.min(b), a.max(b))).copied().unwrap_or(0)
    }

    /// Whether all or nearly all tracks of a genre have another one, too, and not the reverse.
    fn is_within(&self, part: usize, whole: usize) -> bool {
        let nearly_all =
            |genre: usize| self.both(part, whole) as f64 >= NEARLY_ALL * self.tracks[genre] as f64;
        // Not the reverse, since two names of the same tracks are within each other, and neither is a
        // part.
        part != whole && self.tracks[part] >= FEWEST && nearly_all(part) && !nearly_all(whole)
    }

    /// The genres that one is within; of nested ones the narrowest.
    pub fn wholes(&self, genre: &Genre) -> Vec<Genre> {
        let Ok(part) = self.genres.binary_search(genre) else {
            return Vec::new();
        };
        let around: Vec<usize> = (0..self.genres.len())
            .filter(|&whole| self.is_within(part, whole))
            .collect();
        let narrowest =
            |whole: &&usize| !around.iter().any(|&other| self.is_within(other, **whole));
        around
            .iter()
            .filter(narrowest)
            .map(|&whole| self.genres[whole].clone())
            .collect()
    }

    /// The best genre and those that the track most likely has as well: more likely than not, and on
    /// tracks that have both.
    ///
    /// - `shares`: largest first
    pub fn together(&self, shares: &[GenreShare]) -> Vec<Genre> {
        let place = |share: &GenreShare| self.genres.binary_search(&share.genre).ok();
        let best = shares.first().and_then(place);
        let goes_along = |share: &&GenreShare| match (best, place(share)) {
            (Some(best), Some(other)) => share.share >= LEAST && self.both(best, other) > 0,
            _ => false,
        };
        let others = shares.iter().skip(1).filter(goes_along);
        shares
            .first()
            .into_iter()
            .chain(others)
            .take(MOST)
            .map(|share| share.genre.clone())
            .collect()
    }

    /// Genres of one track as text, such as "Jazz, and Bebop within it".
    pub fn words(&self, genres: &[Genre]) -> String {
        let Some((best, others)) = genres.split_first() else {
            return String::new();
        };
        let place = |genre: &Genre| self.genres.binary_search(genre).ok();
        let is_inside = |genre: &&Genre| match (place(genre), place(best)) {
            (Some(part), Some(whole)) => self.is_within(part, whole),
            _ => false,
        };
        let (inside, beside): (Vec<&Genre>, Vec<&Genre>) = others.iter().partition(is_inside);
        let mut words = best.to_string();
        beside
            .iter()
            .for_each(|genre| words += &format!(" and {genre}"));
        if !inside.is_empty() {
            let inside: Vec<&str> = inside.into_iter().map(Genre::name).collect();
            words += &format!(", and {} within it", inside.join(" and "));
        }
        words
    }

    /// Converts rows that sum to 1 over a track's genres to the probabilities that it has
    /// each.
    ///
    /// A row is explained by the sets of genres that tracks have, whose probabilities are fitted by
    /// maximum likelihood with expectation maximisation (Dempster, Laird and Rubin, 1977), from the
    /// sets' shares of the tracks. If each track has one genre, nothing changes.
    pub(super) fn undivide(&self, probabilities: &mut Array2<f32>) {
        // With one genre per track nothing is divided.
        if self.sets.iter().all(|(set, _)| set.len() == 1) {
            return;
        }
        for mut row in probabilities.outer_iter_mut() {
            let mut sets: Vec<(&[usize], f64)> = self
                .sets
                .iter()
                .map(|(set, share)| (&set[..], *share))
                .collect();
            for _ in 0..ROUNDS {
                // A small value for every genre avoids divisions by zero.
                let mut explained = vec![1e-12; row.len()];
                for (set, share) in &sets {
                    set.iter()
                        .for_each(|&class| explained[class] += share / set.len() as f64);
                }
                let mut change = 0.0f64;
                for (set, share) in &mut sets {
                    let factor = |&class: &usize| f64::from(row[class]) / explained[class];
                    let next = *share * set.iter().map(factor).sum::<f64>() / set.len() as f64;
                    change = change.max((next - *share).abs());
                    *share = next;
                }
                // Sets with such a low share do not recover, and each costs time.
                sets.retain(|(_, share)| *share > 1e-7);
                if change < 1e-5 {
                    break;
                }
            }
            let total: f64 = sets.iter().map(|(_, share)| share).sum::<f64>().max(1e-12);
            let mut whole = vec![0.0; row.len()];
            for (set, share) in sets {
                set.iter().for_each(|&class| whole[class] += share / total);
            }
            // A probability of 0 stays 0.
            row.iter_mut()
                .zip(whole)
                .filter(|(p, _)| **p > 0.0)
                .for_each(|(p, w)| *p = w.min(1.0) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(tracks: &[(usize, &[&str])]) -> Vec<Vec<Genre>> {
        let genres_of = |names: &[&str]| {
            names
                .iter()
                .map(|name| Genre::plain(name))
                .collect::<Vec<_>>()
        };
        tracks
            .iter()
            .flat_map(|(n, names)| std::iter::repeat_n(genres_of(names), *n))
            .collect()
    }

    fn jazz() -> Nesting {
        Nesting::of(&labels(&[
            (20, &["Jazz"]),
            (10, &["Jazz", "Bebop"]),
            (5, &["Hard Bop", "Bebop", "Jazz"]),
            (30, &["Rock"]),
            (4, &["Rock", "Pop"]),
            (8, &["Pop"]),
            (6, &["Metal", "Heavy"]),
            (2, &["Ska", "Rock"]),
        ]))
    }

    #[test]
    fn labels_that_imply_each_other_are_nested() {
        let nesting = jazz();
        let wholes = |name: &str| -> Vec<String> {
            nesting
                .wholes(&Genre::plain(name))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(wholes("Bebop"), ["Jazz"]);
        assert_eq!(wholes("Hard Bop"), ["Bebop"], "the narrowest that holds it");
        for apart in ["Jazz", "Rock", "Pop", "Metal", "Heavy", "Ska", "Polka"] {
            assert_eq!(wholes(apart), Vec::<String>::new(), "{apart}");
        }
        // Nearly all are enough: one Bebop track in sixteen lacks Jazz.
        let mut tracks = labels(&[(20, &["Jazz"]), (15, &["Jazz", "Bebop"]), (1, &["Bebop"])]);
        assert_eq!(Nesting::of(&tracks).wholes(&Genre::plain("bebop")).len(), 1);
        tracks.extend(labels(&[(3, &["Bebop"])]));
        assert!(
            Nesting::of(&tracks)
                .wholes(&Genre::plain("bebop"))
                .is_empty()
        );
    }

    #[test]
    fn results_include_the_genres_that_tracks_have_together() {
        let nesting = jazz();
        let words = |shares: &[(&str, f32)]| {
            let share = |&(name, share): &(&str, f32)| GenreShare {
                genre: Genre::plain(name),
                share,
            };
            let shares: Vec<GenreShare> = shares.iter().map(share).collect();
            nesting.words(&nesting.together(&shares))
        };
        assert_eq!(
            words(&[("Jazz", 1.0), ("Bebop", 0.8), ("Hard Bop", 0.2)]),
            "Jazz, and Bebop within it"
        );
        assert_eq!(words(&[("Rock", 0.9), ("Pop", 0.6)]), "Rock and Pop");
        assert_eq!(words(&[("Metal", 0.9), ("Heavy", 0.9)]), "Metal and Heavy");
        assert_eq!(
            words(&[("Rock", 0.5), ("Jazz", 0.5)]),
            "Rock",
            "never on one track"
        );
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn divided_probabilities_become_those_of_having_a_genre() {
        let nesting = jazz();
        let at = |name: &str| nesting.genres.binary_search(&Genre::plain(name)).unwrap();
        let whole = |parts: &[(&str, f32)]| {
            let mut row = Array2::zeros((1, nesting.genres.len()));
            parts.iter().for_each(|(name, p)| row[[0, at(name)]] = *p);
            nesting.undivide(&mut row);
            row
        };
        let close = |row: &Array2<f32>, name: &str, p: f32| {
            assert!((row[[0, at(name)]] - p).abs() < 0.01, "{name}: {row}");
        };
        let row = whole(&[("Jazz", 0.5), ("Bebop", 0.5)]);
        close(&row, "Jazz", 1.0);
        close(&row, "Bebop", 1.0);
        close(&row, "Hard Bop", 0.0);
        let row = whole(&[("Jazz", 1.0)]);
        close(&row, "Jazz", 1.0);
        close(&row, "Bebop", 0.0);
        // Half of it is plain jazz.
        let row = whole(&[("Jazz", 0.6), ("Bebop", 0.2), ("Rock", 0.2)]);
        close(&row, "Jazz", 0.8);
        close(&row, "Bebop", 0.4);
        close(&row, "Rock", 0.2);
        // If each track has one genre, nothing changes.
        let single = Nesting::of(&labels(&[(3, &["A"]), (4, &["B"])]));
        let mut row = ndarray::array![[0.123_456_7_f32, 0.876_543_3]];
        let before = row.clone();
        single.undivide(&mut row);
        assert_eq!(row, before);
    }
}
