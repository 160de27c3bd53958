//! Probes: accuracy of simple classifiers that predict labels from vectors, with all tracks of an artist on one side.
//!
//! The linear probe is multinomial logistic regression with a square penalty (Alain and Bengio, "Understanding
//! intermediate layers using linear classifier probes", 2016); the other is the support vector machine of [`Svm`].

use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use crate::eval::retrieval::RetrievalError;
use voisin_learn::metrics::Spread;
use voisin_learn::{Fold, split_folds};
use voisin_learn::{Logistic, Penalty, Svm};

/// Options of the probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeOptions {
    /// Number of folds; all tracks of an artist are in one.
    pub folds: usize,
    /// Repeats, each with other folds; the spread is taken over them.
    pub seeds: u64,
    /// Weight of errors in the support vector machine.
    pub svm_c: f64,
    /// Weight of errors in the logistic regression, as scikit-learn's `C`.
    pub linear_c: f64,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            folds: 5,
            seeds: 3,
            svm_c: 3.0,
            linear_c: 0.1,
        }
    }
}

/// Results of the probes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probes {
    /// Labelled tracks.
    pub tracks: usize,
    /// Artists; a track without one counts as its own artist.
    pub groups: usize,
    /// Number of folds.
    pub folds: usize,
    /// Repeats.
    pub seeds: u64,
    /// Accuracy of always predicting the most common label.
    pub majority: f64,
    /// Accuracy of logistic regression; mean and deviation over repeats.
    pub linear: Spread,
    /// The same for the support vector machine with an RBF kernel.
    pub svm: Spread,
    /// The machine's accuracy within each label, in the order of the labels' numbers; NaN without tracks.
    pub svm_by_label: Vec<f64>,
}

/// Probes labelled vectors: each is predicted by classifiers trained on other artists.
///
/// - `vectors`: `[tracks, dimension]`
/// - `labels`: number of each track's label; `artists`: number of each track's artist
pub fn probes(
    vectors: ArrayView2<f32>,
    labels: &[usize],
    artists: &[Option<usize>],
    options: ProbeOptions,
) -> Result<Probes, RetrievalError> {
    let n = vectors.nrows();
    if labels.len() != n || artists.len() != n {
        return Err(RetrievalError::Lengths {
            vectors: n,
            labels: labels.len(),
            artists: artists.len(),
        });
    }
    let named = artists.iter().flatten().max().map_or(0, |most| most + 1);
    let groups: Vec<usize> = artists
        .iter()
        .enumerate()
        // a track without an artist is its own group
        .map(|(row, artist)| artist.unwrap_or(named + row))
        .collect();
    let count = groups
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let mut sizes = vec![0usize; classes];
    labels.iter().for_each(|&label| sizes[label] += 1);
    if count < options.folds.max(2) || sizes.iter().filter(|&&size| size > 0).count() < 2 {
        return Err(RetrievalError::TooFewGroups {
            groups: count,
            folds: options.folds.max(2),
        });
    }
    let classes_of: Vec<Vec<usize>> = labels.iter().map(|&label| vec![label]).collect();
    let seeds = options.seeds.max(1);
    let [mut linear, mut svm] = [(); 2].map(|()| vec![0.0; seeds as usize]);
    let mut right_by_label = vec![0usize; classes];
    for Fold {
        repeat,
        train: training_rows,
        test: test_rows,
        ..
    } in split_folds(
        &classes_of,
        classes,
        &groups,
        options.folds.max(2),
        0..seeds,
    ) {
        let train = vectors.select(Axis(0), &training_rows);
        let test = vectors.select(Axis(0), &test_rows);
        let known: Vec<usize> = training_rows.iter().map(|&row| labels[row]).collect();
        let probe = Logistic::of_classes(
            train.view(),
            &known,
            classes,
            (options.linear_c, Penalty::L2),
        )
        .predict(test.view());
        let machine = Svm::fit(train.view(), &known, classes, options.svm_c).predict(test.view());
        for (at, label) in test_rows.iter().map(|&row| labels[row]).enumerate() {
            // Summed over the folds of a repeat, which predict each row once.
            linear[repeat] += f64::from(u8::from(probe[at] == label));
            svm[repeat] += f64::from(u8::from(machine[at] == label));
            right_by_label[label] += usize::from(machine[at] == label);
        }
    }
    linear
        .iter_mut()
        .chain(&mut svm)
        .for_each(|right| *right /= n as f64);
    Ok(Probes {
        tracks: n,
        groups: count,
        folds: options.folds.max(2),
        seeds,
        majority: sizes
            .iter()
            .max()
            .map_or(0.0, |&most| most as f64 / n as f64),
        linear: Spread::of(&linear),
        svm: Spread::of(&svm),
        svm_by_label: right_by_label
            .iter()
            .zip(&sizes)
            .map(|(&right, &size)| right as f64 / (size as f64 * seeds as f64))
            .collect(),
    })
}
