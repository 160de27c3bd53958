//! Folds that never split a group (an artist) and spread classes evenly.

use std::collections::BTreeMap;

use voisin_base::random::Random;

/// Splits rows into `k` folds: a group is never split, and genres are spread as evenly as groups
/// allow.
///
/// - `classes`: the classes of each row; `groups`: the group of each row
/// - returns: the fold of each row, in `0..k` (with fewer groups some folds are empty)
///
/// Greedy, from the largest group down, into the fold that keeps the class counts most even.
/// Deterministic for a seed.
pub fn grouped_folds(
    classes: &[Vec<usize>],
    n_classes: usize,
    groups: &[usize],
    k: usize,
    seed: u64,
) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, &group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(row);
    }
    let mut order: Vec<Vec<usize>> = members.into_values().collect();
    Random::new(seed).shuffle(&mut order);
    // The largest groups are placed first, while all folds are open; groups of equal size stay in
    // shuffled order.
    order.sort_by_key(|rows| std::cmp::Reverse(rows.len()));

    let mut total = vec![0.0f64; n_classes];
    for &class in classes.iter().flatten() {
        total[class] += 1.0;
    }
    let k = k.max(1);
    let mut counts = vec![vec![0.0f64; n_classes]; k];
    let mut sizes = vec![0usize; k];
    let mut fold_of = vec![0; groups.len()];
    for rows in order {
        let mut group_counts: BTreeMap<usize, f64> = BTreeMap::new();
        for &class in rows.iter().flat_map(|&r| &classes[r]) {
            *group_counts.entry(class).or_default() += 1.0;
        }
        // Increase of the sum of squared class shares: smallest where these classes are rarest.
        let cost = |fold: usize| -> f64 {
            group_counts
                .iter()
                .map(|(&class, &n)| {
                    ((counts[fold][class] + n).powi(2) - counts[fold][class].powi(2))
                        / total[class].powi(2)
                })
                .sum()
        };
        let best = (0..k)
            .min_by(|&a, &b| cost(a).total_cmp(&cost(b)).then(sizes[a].cmp(&sizes[b])))
            .unwrap_or(0);
        for (&class, &n) in &group_counts {
            counts[best][class] += n;
        }
        sizes[best] += rows.len();
        for row in rows {
            fold_of[row] = best;
        }
    }
    fold_of
}

/// Rows to train on and rows to evaluate, without a group on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Its repeat, from 0.
    pub repeat: usize,
    /// Its number in that repeat, from 0.
    pub number: usize,
    /// Rows to train on, ascending.
    pub train: Vec<usize>,
    /// Rows to evaluate, ascending.
    pub test: Vec<usize>,
}

/// The folds of [`grouped_folds`], once for each seed, without folds that have an empty side.
pub fn split_folds(
    classes: &[Vec<usize>],
    n_classes: usize,
    groups: &[usize],
    k: usize,
    seeds: impl IntoIterator<Item = u64>,
) -> Vec<Fold> {
    let mut folds = Vec::new();
    for (repeat, seed) in seeds.into_iter().enumerate() {
        let fold_of = grouped_folds(classes, n_classes, groups, k, seed);
        folds.extend((0..k).map(|number| {
            let (test, train) = (0..groups.len()).partition(|&row| fold_of[row] == number);
            Fold {
                repeat,
                number,
                train,
                test,
            }
        }));
    }
    // With few groups some folds are empty.
    folds.retain(|fold| !fold.train.is_empty() && !fold.test.is_empty());
    folds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_stay_whole(rows in prop::collection::vec((0usize..4, 0usize..12), 1..80), k in 1usize..6, seed in 0u64..5) {
            let classes: Vec<Vec<usize>> = rows.iter().map(|r| vec![r.0]).collect();
            let groups: Vec<usize> = rows.iter().map(|r| r.1).collect();
            let folds = grouped_folds(&classes, 4, &groups, k, seed);
            for i in 0..rows.len() {
                prop_assert!(folds[i] < k);
                for j in 0..i {
                    prop_assert!(groups[i] != groups[j] || folds[i] == folds[j]);
                }
            }
            prop_assert_eq!(&folds, &grouped_folds(&classes, 4, &groups, k, seed));
        }
    }

    #[test]
    fn genres_are_spread_evenly() {
        // 60 tracks in groups of 2, three genres in proportion 3 : 2 : 1
        let classes: Vec<Vec<usize>> = (0..60)
            .map(|i| {
                vec![if i < 30 {
                    0
                } else if i < 50 {
                    1
                } else {
                    2
                }]
            })
            .collect();
        let groups: Vec<usize> = (0..60).map(|i| i / 2).collect();
        let folds = grouped_folds(&classes, 3, &groups, 5, 1);
        for fold in 0..5 {
            let count = |c: usize| {
                (0..60)
                    .filter(|&i| folds[i] == fold && classes[i][0] == c)
                    .count()
            };
            assert_eq!([count(0), count(1), count(2)], [6, 4, 2]);
        }
    }
}
