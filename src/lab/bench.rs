//! Labelled rows of a run, and the evaluation of algorithms on the held-out ones.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis};

use super::LabError;
use super::classifiers::Training;
use super::config::Config;
use super::matrix::{Matrix, class_of};
use super::model::{Algorithm, Model};
use super::report::{Answers, Importance, Method, intervals};
use super::split::{Split, at_random, hold_out, split_rows};
use crate::dataset::{Part, class_names, group_of};
use voisin_base::random::Random;
use voisin_genre::metrics::{Spread, argmax};
use voisin_genre::{Fold, grouped_folds, split_folds};

/// In place of the number of settings tried: this run is one of the trials of a search.
pub const TRIAL: usize = usize::MAX;

/// Folds inside the training rows, for algorithms that calibrate on rows they were not fitted on.
const INNER: usize = 5;
/// Shuffles per group of columns in permutation importance.
const SHUFFLES: u64 = 10;
/// Rows on which permutation importance is measured.
const IMPORTANCE_ROWS: usize = 500;

/// Labelled rows with everything that the fits need.
pub(super) struct Bench<'a> {
    pub(super) config: &'a Config,
    pub(super) matrix: Matrix,
    pub(super) classes: Vec<String>,
    pub(super) class_of: Vec<usize>,
    pub(super) split: Split,
}

pub(super) struct FoldPredictions {
    pub(super) algorithm: Algorithm,
    /// `[rows, classes]` each
    pub(super) p: Vec<Array2<f32>>,
    pub(super) seconds: f64,
}

/// Weights of an ensemble by greedy selection with replacement: in each round the member is added
/// that lowers the log loss most. Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection
/// from libraries of models", 2004.
///
/// - `p`: for each algorithm, the probability of the true class on each row
fn greedy(p: &[Vec<f64>]) -> Vec<f64> {
    const ROUNDS: usize = 50;
    let mut counts = vec![0.0; p.len()];
    let mut sum = vec![0.0; p.first().map_or(0, Vec::len)];
    for round in 1..=ROUNDS {
        let gain = |probabilities: &Vec<f64>| -> f64 {
            sum.iter()
                .zip(probabilities)
                // a single probability of 0 must not outweigh all other rows
                .map(|(sum, p)| ((sum + p) / round as f64).max(1e-6).ln())
                .sum()
        };
        let best = argmax(p.iter().map(gain));
        sum.iter_mut().zip(&p[best]).for_each(|(sum, p)| *sum += p);
        // the share of rounds in which a member is added is its weight
        counts[best] += 1.0 / ROUNDS as f64;
    }
    counts
}

impl<'a> Bench<'a> {
    pub(super) fn new(config: &'a Config, matrix: Matrix) -> Result<Self, LabError> {
        let classes = class_names(matrix.rows.iter().map(|row| &row.item));
        if classes.len() < 2 {
            let found = classes.first();
            let found = found.map_or_else(|| "none".to_owned(), |only| format!("only \"{only}\""));
            return Err(LabError::Options(format!(
                "expected tracks of two classes or more, found {found}: name the column of labels (,label=COLUMN), or put each class into its own folder"
            )));
        }
        let class_of = class_of(&matrix.rows, &classes);
        let how = &config.data.split;
        let mut split = split_rows(&matrix.rows, &class_of, classes.len(), how, config.seed)?;
        let folds = config.data.folds;
        let groups = split.groups.iter().collect::<BTreeSet<_>>().len();
        // a fold without a group would be empty
        if groups < folds {
            return Err(LabError::Options(format!(
                "expected at least {folds} groups (artists), one for each fold, found {groups}: use fewer folds, or --split track, which marks the figures"
            )));
        }
        // Folds do not touch a test part of the data set; otherwise every track is held out once.
        if folds > 0 && !matches!(split.how.as_str(), "given" | "table") {
            split.parts.fill(Some(Part::Training));
            let how = &split.how;
            let note = if split.at_random {
                format!(": {}", at_random(&matrix.rows, how))
            } else {
                format!(", no {how} on two sides")
            };
            split.summary = format!("{folds} folds by {how}{note}");
        }
        Ok(Self {
            config,
            matrix,
            classes,
            class_of,
            split,
        })
    }

    pub(super) fn learnt_rows(&self) -> Vec<usize> {
        let is_learnt = |row: &usize| {
            let part = self.split.parts[*row];
            matches!(part, Some(Part::Training | Part::Validation))
        };
        (0..self.class_of.len()).filter(is_learnt).collect()
    }

    /// Rows of the test part; none for a trial, which must not see them.
    pub(super) fn test_rows(&self, chosen_among: usize) -> Vec<usize> {
        let test = self.split.rows(Part::Test);
        if chosen_among == TRIAL {
            Vec::new()
        } else {
            test
        }
    }

    /// The folds on which algorithms are evaluated; without cross-validation, the validation part
    /// is the only one.
    pub(super) fn folds(&self) -> Vec<Fold> {
        let data = &self.config.data;
        if data.folds == 0 {
            return vec![Fold {
                repeat: 0,
                number: 0,
                train: self.split.rows(Part::Training),
                test: self.split.rows(Part::Validation),
            }];
        }
        let rows = self.learnt_rows();
        let (labels, groups) = self.classes_and_groups(&rows);
        let repeats = 0..data.repeats as u64;
        let seeds = repeats.map(|repeat| self.config.seed.wrapping_add(1000 + repeat));
        let mut folds = split_folds(&labels, self.classes.len(), &groups, data.folds, seeds);
        // Folds have indices of training rows, which are mapped to rows of the matrix here.
        for fold in &mut folds {
            let all = fold.train.iter_mut().chain(&mut fold.test);
            all.for_each(|at| *at = rows[*at]);
        }
        folds
    }

    fn classes_and_groups(&self, rows: &[usize]) -> (Vec<Vec<usize>>, Vec<usize>) {
        rows.iter()
            .map(|&row| (vec![self.class_of[row]], self.split.groups[row]))
            .unzip()
    }

    /// Weights of the algorithms in an ensemble, and the ensemble's predictions for each fold's
    /// rows. These use weights fitted on the other folds, so that no row influences the weights by
    /// which it is evaluated.
    pub(super) fn select(
        &self,
        folds: &[Fold],
        evaluated: &[FoldPredictions],
    ) -> (Vec<f64>, Vec<Array2<f32>>) {
        // Weights by the probabilities of the true class on the rows of some folds.
        let weights = |wanted: &dyn Fn(&Fold) -> bool| -> Vec<f64> {
            let of_truth = |one: &FoldPredictions| -> Vec<f64> {
                let mut found = Vec::new();
                for (fold, p) in folds.iter().zip(&one.p).filter(|(fold, _)| wanted(fold)) {
                    let rows = fold.test.iter().zip(p.outer_iter());
                    found.extend(rows.map(|(&row, p)| f64::from(p[self.class_of[row]])));
                }
                found
            };
            greedy(&evaluated.iter().map(of_truth).collect::<Vec<_>>())
        };
        let mut joint = Vec::new();
        for (at, fold) in folds.iter().enumerate() {
            // Of the same repeat, since in another one rows of this fold are spread over the others.
            let is_other = |one: &Fold| one.repeat == fold.repeat && one.number != fold.number;
            let mut all = Array2::zeros((fold.test.len(), self.classes.len()));
            for (one, weight) in evaluated.iter().zip(weights(&is_other)) {
                all.scaled_add(weight as f32, &one.p[at]);
            }
            joint.push(all);
        }
        (weights(&|_| true), joint)
    }

    /// Folds inside some rows; a group is in one fold.
    fn inner_folds(&self, rows: &[usize]) -> Vec<usize> {
        let (labels, groups) = self.classes_and_groups(rows);
        let seed = self.config.seed;
        grouped_folds(&labels, self.classes.len(), &groups, INNER, seed)
    }

    /// Splits rows into those that a network is trained on, and the fifth by which its epoch is chosen; groups whole.
    pub(super) fn without_fifth(&self, rows: &[usize]) -> [Vec<usize>; 2] {
        let of =
            |numbers: &[usize]| -> Vec<usize> { rows.iter().map(|&row| numbers[row]).collect() };
        let [labels, groups] = [of(&self.class_of), of(&self.split.groups)];
        let seed = self.config.seed;
        let held = hold_out(&labels, self.classes.len(), &groups, 1, INNER, seed);
        let part = |part| {
            let rows = rows.iter().zip(&held);
            rows.filter(|(_, held)| **held == part)
                .map(|(row, _)| *row)
                .collect()
        };
        [part(0), part(1)]
    }

    pub(super) fn fit_all(
        &self,
        algorithms: &[(Algorithm, f64)],
        rows: &[usize],
    ) -> Result<Model, LabError> {
        let mut models = Vec::new();
        for &(algorithm, weight) in algorithms {
            models.push((weight, self.fit(algorithm, rows)?));
        }
        Model::joined(models)
            .ok_or_else(|| LabError::Options("expected at least one algorithm".to_owned()))
    }

    pub(super) fn fit(&self, algorithm: Algorithm, rows: &[usize]) -> Result<Model, LabError> {
        let x = self.matrix.values.select(Axis(0), rows);
        let class_of: Vec<usize> = rows.iter().map(|&row| self.class_of[row]).collect();
        // Groups stay whole inside the training rows too, or calibration would be too confident.
        let folds = self.inner_folds(rows);
        let data = Training {
            x: x.view(),
            class_of: &class_of,
            classes: self.classes.len(),
            folds: &folds,
            seed: self.config.seed,
        };
        let settings = &self.config.settings;
        let columns = &self.matrix.columns;
        Model::fit(algorithm, settings, &data, &self.classes, columns)
    }

    /// Class probabilities of a model for some rows, `[rows, classes]`.
    pub(super) fn predict(&self, model: &Model, rows: &[usize]) -> Array2<f32> {
        model.probabilities(self.matrix.values.select(Axis(0), rows).view())
    }

    pub(super) fn answers(&self, rows: &[usize], probabilities: Array2<f32>) -> Answers<'_> {
        Answers {
            classes: &self.classes,
            truth: rows.iter().map(|&row| vec![self.class_of[row]]).collect(),
            probabilities,
            groups: rows.iter().map(|&row| self.split.groups[row]).collect(),
        }
    }

    pub(super) fn method(
        &self,
        name: &str,
        folds: &[Fold],
        predictions: &[Array2<f32>],
        (seconds, note): (f64, Option<String>),
    ) -> Method {
        let mut truth = Vec::new();
        let mut predicted = Vec::new();
        let mut groups = Vec::new();
        let mut repeats: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (fold, p) in folds.iter().zip(predictions) {
            for (&row, p) in fold.test.iter().zip(p.outer_iter()) {
                let answer = argmax(p);
                let right = f64::from(u8::from(answer == self.class_of[row]));
                repeats.entry(fold.repeat).or_default().push(right);
                truth.push(self.class_of[row]);
                predicted.push(answer);
                groups.push(self.split.groups[row]);
            }
        }
        let shares = repeats.values().map(|right| Spread::of(right).mean);
        let [accuracy, macro_f1] =
            intervals(&truth, &predicted, &groups, self.classes.len(), |_| true);
        Method {
            name: name.to_owned(),
            accuracy,
            // one accuracy per repeat: their spread is that between splits
            deviation: Spread::of(&shares.collect::<Vec<_>>()).deviation,
            macro_f1,
            seconds,
            note,
            chosen: false,
        }
    }

    /// Permutation importance of the quantities: of the final model on the
    /// test part, else of a model of the first fold on the rows held out there.
    pub(super) fn importance(
        &self,
        fold: &Fold,
        model: &Model,
        members: &[(Algorithm, f64)],
        test: &[usize],
    ) -> Result<Vec<Importance>, LabError> {
        // The final model was trained on all other rows, so it cannot be measured on them.
        let fold_model;
        let (model, held_out) = if test.is_empty() {
            fold_model = self.fit_all(members, &fold.train)?;
            (&fold_model, &fold.test[..])
        } else {
            (model, test)
        };
        let mut rows = held_out.to_vec();
        Random::stream(self.config.seed, 0x1a9).shuffle(&mut rows);
        // drawn at random, since data sets are often sorted by class
        rows.truncate(IMPORTANCE_ROWS);
        let x = self.matrix.values.select(Axis(0), &rows);
        let accuracy = |x: &Array2<f32>| {
            let p = model.probabilities(x.view());
            let pairs = rows.iter().zip(p.outer_iter());
            let right = pairs.filter(|(row, p)| argmax(p) == self.class_of[**row]);
            right.count() as f64 / rows.len().max(1) as f64
        };
        let before = accuracy(&x);
        let mut found = Vec::new();
        for (number, (name, columns)) in self.quantities().into_iter().enumerate() {
            let drop = |shuffle| {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                // Another order for each group of columns and each shuffle.
                Random::stream(self.config.seed ^ shuffle, number as u64).shuffle(&mut order);
                let mut shuffled = x.clone();
                for (to, &from) in order.iter().enumerate() {
                    for &column in &columns {
                        shuffled[[to, column]] = x[[from, column]];
                    }
                }
                before - accuracy(&shuffled)
            };
            let spread = Spread::of(&(0..SHUFFLES).map(drop).collect::<Vec<_>>());
            found.push(Importance {
                columns: name.to_owned(),
                drop: spread.mean,
                deviation: spread.deviation,
            });
        }
        found.sort_by(|a, b| b.drop.total_cmp(&a.drop));
        Ok(found)
    }

    /// The columns of each quantity, in order.
    fn quantities(&self) -> Vec<(&str, Vec<usize>)> {
        let mut found: Vec<(&str, Vec<usize>)> = Vec::new();
        for (column, name) in self.matrix.columns.iter().enumerate() {
            let group = group_of(name);
            match found.iter_mut().find(|(other, _)| *other == group) {
                Some((_, columns)) => columns.push(column),
                None => found.push((group, vec![column])),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_drops_members_that_do_not_help() {
        // two that are confident on different halves, one that is uninformative
        let half = |first: bool| {
            (0..40)
                .map(|i| if (i < 20) == first { 0.9 } else { 0.3 })
                .collect()
        };
        let weights = greedy(&[half(true), half(false), vec![0.25; 40]]);
        assert!(
            (weights[0] - 0.5).abs() < 0.05 && (weights[1] - 0.5).abs() < 0.05,
            "{weights:?}"
        );
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9 && weights[2] == 0.0);
    }
}
