//! Labelled rows of a run, and the evaluation of algorithms on the held-out ones.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis};

use super::LabError;
use super::config::Config;
use super::matrix::{Matrix, class_of};
use super::model::{Algorithm, Model};
use super::report::{Answers, Importance, Method, intervals};
use super::split::{Split, at_random, hold_out, split_rows};
use crate::classifiers::Training;
use crate::dataset::{Part, class_names};
use voisin_base::random::Random;
use voisin_genre::metrics::{Spread, argmax};
use voisin_genre::{Fold, grouped_folds, split_folds};

/// In place of the number of settings tried: this run is one of the trials of a search.
pub const TRIAL: usize = usize::MAX;

/// Folds inside the training rows, for algorithms that calibrate on rows they were not fitted on.
const INNER: usize = 5;
/// Shuffles per group of columns in permutation importance.
const SHUFFLES: u64 = 10;
/// Single columns whose permutation importance is measured.
const SINGLE: usize = 40;
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

/// Predictions of one algorithm for the held-out rows of each fold.
pub(super) struct FoldPredictions {
    pub(super) algorithm: Algorithm,
    /// `[rows, classes]` each
    pub(super) p: Vec<Array2<f32>>,
    pub(super) note: Option<String>,
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
            let found = classes
                .first()
                .map_or_else(|| "none".to_owned(), |only| format!("only \"{only}\""));
            return Err(LabError::Options(format!(
                "expected tracks of two classes or more, found {found}: name the column of labels (,label=COLUMN), or put each class into its own folder"
            )));
        }
        let class_of = class_of(&matrix.rows, &classes);
        let mut split = split_rows(
            &matrix.rows,
            &class_of,
            classes.len(),
            &config.data.split,
            config.seed,
        )?;
        if config.data.folds > 0 {
            let groups: BTreeSet<usize> = split.groups.iter().copied().collect();
            // a fold without a group would be empty
            if groups.len() < config.data.folds {
                return Err(LabError::Options(format!(
                    "expected at least {} groups (artists), one for each fold, found {}: use fewer folds, or --split track, which marks the figures",
                    config.data.folds,
                    groups.len()
                )));
            }
        }
        // Folds do not touch a test part of the data set; otherwise every track is held out once.
        if config.data.folds > 0 && !matches!(split.how.as_str(), "given" | "table") {
            split.parts.fill(Some(Part::Training));
            split.summary = format!(
                "{} folds by {}{}",
                config.data.folds,
                split.how,
                if split.at_random {
                    format!(": {}", at_random(&matrix.rows, &split.how))
                } else {
                    format!(", no {} on two sides", split.how)
                }
            );
        }
        Ok(Self {
            config,
            matrix,
            classes,
            class_of,
            split,
        })
    }

    /// Whether the final model is trained on a row.
    pub(super) fn is_trained_on(&self, row: usize) -> bool {
        matches!(
            self.split.parts[row],
            Some(Part::Training | Part::Validation)
        )
    }

    /// Rows of the test part; none for a trial, which must not see them.
    pub(super) fn test_rows(&self, chosen_among: usize) -> Vec<usize> {
        if chosen_among == TRIAL {
            Vec::new()
        } else {
            self.split.rows(Part::Test)
        }
    }

    /// The folds on which algorithms are evaluated; without cross-validation, the validation part
    /// is the only one.
    pub(super) fn folds(&self) -> Vec<Fold> {
        let data = &self.config.data;
        if data.folds == 0 {
            let training_rows = self.split.rows(Part::Training);
            let validation_rows = self.split.rows(Part::Validation);
            return vec![Fold {
                repeat: 0,
                number: 0,
                train: training_rows,
                test: validation_rows,
            }];
        }
        let rows: Vec<usize> = (0..self.class_of.len())
            .filter(|&row| self.is_trained_on(row))
            .collect();
        let (labels, groups) = self.classes_and_groups(&rows);
        let seeds =
            (0..data.repeats as u64).map(|repeat| self.config.seed.wrapping_add(1000 + repeat));
        let mut folds = split_folds(&labels, self.classes.len(), &groups, data.folds, seeds);
        for at in folds
            .iter_mut()
            .flat_map(|fold| fold.train.iter_mut().chain(&mut fold.test))
        {
            // Folds have indices of training rows, which are mapped to rows of the matrix here.
            *at = rows[*at];
        }
        folds
    }

    fn classes_and_groups(&self, rows: &[usize]) -> (Vec<Vec<usize>>, Vec<usize>) {
        rows.iter()
            .map(|&row| (vec![self.class_of[row]], self.split.groups[row]))
            .unzip()
    }

    /// Weights of the algorithms in an ensemble, and the ensemble's predictions for each fold's
    /// rows. These use weights fitted on the other folds (of a validation part: on its other
    /// fifths), so that no row influences the weights by which it is evaluated.
    pub(super) fn select(
        &self,
        folds: &[Fold],
        evaluated: &[FoldPredictions],
    ) -> (Vec<f64>, Vec<Array2<f32>>) {
        let parts: Vec<Vec<usize>> = folds
            .iter()
            .map(|one| {
                // a validation part has no folds, so it is divided into fifths
                if self.config.data.folds == 0 {
                    self.inner_folds(&one.test)
                } else {
                    vec![one.number; one.test.len()]
                }
            })
            .collect();
        // each algorithm's probability of the true class on the selected rows
        let weights = |wanted: &dyn Fn(usize, usize) -> bool| -> Vec<f64> {
            let true_class_probabilities = |one: &FoldPredictions| -> Vec<f64> {
                let at = |at: usize| -> Vec<f64> {
                    let held = folds[at].test.iter().enumerate();
                    let held =
                        held.filter(|(place, _)| wanted(folds[at].repeat, parts[at][*place]));
                    held.map(|(place, &row)| f64::from(one.p[at][[place, self.class_of[row]]]))
                        .collect()
                };
                (0..folds.len()).flat_map(at).collect()
            };
            greedy(
                &evaluated
                    .iter()
                    .map(true_class_probabilities)
                    .collect::<Vec<_>>(),
            )
        };
        let joint = folds
            .iter()
            .enumerate()
            .map(|(at, fold)| {
                let mut all = Array2::zeros((fold.test.len(), self.classes.len()));
                for part in parts[at].iter().copied().collect::<BTreeSet<usize>>() {
                    // Of the same repeat, since in another one rows of this fold are spread over the others.
                    let others_weights =
                        weights(&|repeat, other| repeat == fold.repeat && other != part);
                    for place in (0..fold.test.len()).filter(|&place| parts[at][place] == part) {
                        for (one, weight) in evaluated.iter().zip(&others_weights) {
                            all.row_mut(place)
                                .scaled_add(*weight as f32, &one.p[at].row(place));
                        }
                    }
                }
                all
            })
            .collect();
        (weights(&|_, _| true), joint)
    }

    /// Folds inside some rows; a group is in one fold.
    pub(super) fn inner_folds(&self, rows: &[usize]) -> Vec<usize> {
        let (labels, groups) = self.classes_and_groups(rows);
        grouped_folds(
            &labels,
            self.classes.len(),
            &groups,
            INNER,
            self.config.seed,
        )
    }

    /// Whether each row is in the fifth by which a network's epoch is chosen; groups whole.
    pub(super) fn validation_fifth(&self, rows: &[usize]) -> Vec<bool> {
        let (labels, groups): (Vec<usize>, Vec<usize>) = rows
            .iter()
            .map(|&row| (self.class_of[row], self.split.groups[row]))
            .unzip();
        let part_of = hold_out(
            &labels,
            self.classes.len(),
            &groups,
            1,
            INNER,
            self.config.seed,
        );
        part_of.into_iter().map(|part| part > 0).collect()
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

    /// The share of some rows that is trained on (`data.share`): the same of each class, at least
    /// one row.
    pub(super) fn subsample(&self, rows: &[usize]) -> Vec<usize> {
        let mut left: Vec<usize> = vec![0; self.classes.len()];
        rows.iter().for_each(|&row| left[self.class_of[row]] += 1);
        left.iter_mut()
            // rounded up, so that no class vanishes
            .for_each(|n| *n = (self.config.data.share * *n as f64).ceil() as usize);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        if self.config.data.share < 1.0 {
            Random::stream(self.config.seed, 0x5a7e).shuffle(&mut order);
        }
        order.retain(|&at| {
            let left = &mut left[self.class_of[rows[at]]];
            // The first rows of each class in the shuffled order.
            let is_kept = *left > 0;
            *left = left.saturating_sub(1);
            is_kept
        });
        // drawn at random, but kept in the order of the data set
        order.sort_unstable();
        order.into_iter().map(|at| rows[at]).collect()
    }

    pub(super) fn fit(&self, algorithm: Algorithm, rows: &[usize]) -> Result<Model, LabError> {
        let rows = &self.subsample(rows)[..];
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
        Model::fit(
            algorithm,
            &self.config.settings,
            &data,
            &self.classes,
            &self.matrix.columns,
        )
    }

    /// Class probabilities of a model for some rows, `[rows, classes]`.
    pub(super) fn predict(&self, model: &Model, rows: &[usize]) -> Array2<f32> {
        model.probabilities(self.matrix.values.select(Axis(0), rows).view())
    }

    /// Number of rows whose most probable class is the true one.
    fn count_correct(&self, rows: &[usize], predictions: &Array2<f32>) -> usize {
        rows.iter()
            .zip(predictions.outer_iter())
            .filter(|(row, p)| argmax(p) == self.class_of[**row])
            .count()
    }

    pub(super) fn answers(&self, rows: &[usize], probabilities: Array2<f32>) -> Answers<'_> {
        Answers {
            classes: &self.classes,
            keys: rows
                .iter()
                .map(|&row| self.matrix.rows[row].item.key.as_str())
                .collect(),
            truth: rows.iter().map(|&row| vec![self.class_of[row]]).collect(),
            probabilities,
            groups: rows.iter().map(|&row| self.split.groups[row]).collect(),
        }
    }

    /// Figures of an algorithm over all folds and repeats.
    pub(super) fn method(
        &self,
        name: &str,
        folds: &[Fold],
        predictions: &[Array2<f32>],
        seconds: f64,
        note: Option<String>,
    ) -> Method {
        let mut truth = Vec::new();
        let mut predicted = Vec::new();
        let mut groups = Vec::new();
        let mut repeats: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (fold, p) in folds.iter().zip(predictions) {
            for (&row, p) in fold.test.iter().zip(p.outer_iter()) {
                let answer = argmax(p);
                let counts = repeats.entry(fold.repeat).or_default();
                counts.0 += usize::from(answer == self.class_of[row]);
                counts.1 += 1;
                truth.push(self.class_of[row]);
                predicted.push(answer);
                groups.push(self.split.groups[row]);
            }
        }
        let shares: Vec<f64> = repeats
            .values()
            .map(|(right, all)| *right as f64 / *all as f64)
            .collect();
        let [accuracy, balanced_accuracy, macro_f1] =
            intervals(&truth, &predicted, &groups, self.classes.len());
        Method {
            name: name.to_owned(),
            accuracy,
            // one accuracy per repeat: their spread is that between splits
            deviation: Spread::of(&shares).deviation,
            balanced_accuracy,
            macro_f1,
            seconds,
            note,
            chosen: false,
        }
    }

    /// Permutation importance: of the final model on the test part, else of a model of the first
    /// fold on the rows held out there.
    pub(super) fn importance(
        &self,
        fold: &Fold,
        model: &Model,
        members: &[(Algorithm, f64)],
        test: &[usize],
    ) -> Result<Vec<Importance>, LabError> {
        // The final model was trained on all other rows, so it cannot be measured on them.
        let fold_model = if test.is_empty() {
            Some(self.fit_all(members, &fold.train)?)
        } else {
            None
        };
        let model = fold_model.as_ref().unwrap_or(model);
        let mut rows = if test.is_empty() {
            fold.test.clone()
        } else {
            test.to_vec()
        };
        Random::stream(self.config.seed, 0x1a9).shuffle(&mut rows);
        // drawn at random, since data sets are often sorted by class
        rows.truncate(IMPORTANCE_ROWS);
        let x = self.matrix.values.select(Axis(0), &rows);
        let accuracy = |x: &Array2<f32>| {
            self.count_correct(&rows, &model.probabilities(x.view())) as f64
                / rows.len().max(1) as f64
        };
        let mut names: Vec<&String> = Vec::new();
        for group in &self.matrix.groups {
            if !names.contains(&group) {
                names.push(group);
            }
        }
        let members = |name: &String| {
            (0..self.matrix.groups.len())
                .filter(|&c| self.matrix.groups[c] == *name)
                .collect()
        };
        let mut groups: Vec<(String, Vec<usize>)> =
            // A single group of all columns would only measure the whole model.
            if names.len() < 2 && self.matrix.columns.len() > 1 {
                Vec::new()
            } else {
                names
                    .into_iter()
                    .map(|name| (name.clone(), members(name)))
                    .collect()
            };
        // Each measured column costs ten predictions of all rows, so only the single columns that
        // separate the classes best are measured.
        let together = groups.len();
        let mut single: Vec<(f64, usize)> =
            self.separation(&fold.train).into_iter().zip(0..).collect();
        single.sort_by(|a, b| b.0.total_cmp(&a.0));
        groups.extend(
            single
                .iter()
                .take(SINGLE)
                .map(|&(_, at)| (self.matrix.columns[at].clone(), vec![at])),
        );
        let before = accuracy(&x);
        let built_in = model.importances();
        let mut found = Vec::new();
        for (number, (name, columns)) in groups.into_iter().enumerate() {
            let drops: Vec<f64> = (0..SHUFFLES)
                .map(|shuffle| {
                    let mut order: Vec<usize> = (0..rows.len()).collect();
                    // Another order for each group of columns and each shuffle.
                    Random::stream(self.config.seed ^ shuffle, number as u64).shuffle(&mut order);
                    let mut shuffled = x.clone();
                    for (to, &from) in order.iter().enumerate() {
                        columns
                            .iter()
                            .for_each(|&column| shuffled[[to, column]] = x[[from, column]]);
                    }
                    before - accuracy(&shuffled)
                })
                .collect();
            let spread = Spread::of(&drops);
            let share = built_in
                .as_ref()
                .map(|built_in| columns.iter().map(|&column| built_in[column]).sum());
            found.push(Importance {
                columns: name,
                drop: spread.mean,
                deviation: spread.deviation,
                internal: share,
                single: number >= together,
            });
        }
        found.sort_by(|a, b| a.single.cmp(&b.single).then(b.drop.total_cmp(&a.drop)));
        Ok(found)
    }

    /// The F statistic of each column up to a common factor: variance between the classes' means over variance within classes.
    fn separation(&self, rows: &[usize]) -> Vec<f64> {
        let f_statistic = |column: ndarray::ArrayView1<f32>| {
            let mut sums = vec![[0.0; 3]; self.classes.len()];
            for &row in rows.iter().filter(|&&row| column[row].is_finite()) {
                let x = f64::from(column[row]);
                let moments = &mut sums[self.class_of[row]];
                *moments = [moments[0] + 1.0, moments[1] + x, moments[2] + x * x];
            }
            let [n, sum, square] = sums.iter().fold([0.0; 3], |all, moments| {
                [
                    all[0] + moments[0],
                    all[1] + moments[1],
                    all[2] + moments[2],
                ]
            });
            let between = sums
                .iter()
                .filter(|moments| moments[0] > 0.0)
                .map(|moments| moments[1] * moments[1] / moments[0])
                .sum::<f64>()
                - sum * sum / f64::max(n, 1.0);
            // Total variation less that between the classes.
            let within = square - sum * sum / f64::max(n, 1.0) - between;
            if within > 0.0 { between / within } else { 0.0 }
        };
        self.matrix
            .values
            .axis_iter(Axis(1))
            .map(f_statistic)
            .collect()
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
