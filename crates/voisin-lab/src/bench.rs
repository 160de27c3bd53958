//! Labelled rows, judged by algorithms that did not learn from them.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis};

use super::LabError;
use super::config::Config;
use super::leak::RandomFolds;
use super::matrix::{Matrix, Row, class_of};
use super::model::{Algorithm, Model};
use super::report::{Answers, Importance, Method, intervals};
use super::split::{Split, at_random, deal, hold_out};
use crate::dataset::{Part, class_names};
use voisin_base::random::Random;
use voisin_learn::Training;
use voisin_learn::genre::{Fold, deal_folds, grouped_folds};
use voisin_learn::metrics::{Spread, argmax};

/// In place of a number of settings: this run is one of those among which is to be chosen.
pub const TRIAL: usize = usize::MAX;

/// Folds inside the training rows, for what an algorithm must learn on rows that it was not fitted on.
const INNER: usize = 5;
/// Shuffles of permutation importance.
const SHUFFLES: u64 = 10;
/// Single columns that permutation importance looks at.
const SINGLE: usize = 40;
/// Rows that permutation importance looks at.
const LOOKED_AT: usize = 500;

/// Labelled rows with everything that the fits need.
pub(super) struct Bench<'a> {
    pub(super) config: &'a Config,
    pub(super) matrix: Matrix,
    pub(super) classes: Vec<String>,
    pub(super) class_of: Vec<usize>,
    pub(super) split: Split,
    /// Tracks of the class that is left out, and their numbers.
    pub(super) left_out: (Vec<Row>, Array2<f32>),
}

/// What an algorithm said of the rows of each fold.
pub(super) struct Judged {
    pub(super) algorithm: Algorithm,
    /// `[rows, classes]` each
    pub(super) p: Vec<Array2<f32>>,
    pub(super) note: Option<String>,
    pub(super) seconds: f64,
}

/// Shares in which predictions are best joined: one after the other is added, the same ones again and again, whichever
/// lowers the loss most. Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", 2004.
///
/// - `p`: of each algorithm, the probability of the truth on each row
fn greedy(p: &[Vec<f64>]) -> Vec<f64> {
    const ROUNDS: usize = 50;
    let mut counts = vec![0.0; p.len()];
    let mut sum = vec![0.0; p.first().map_or(0, Vec::len)];
    for round in 1..=ROUNDS {
        let gain = |own: &Vec<f64>| -> f64 {
            sum.iter()
                .zip(own)
                .map(|(sum, p)| ((sum + p) / round as f64).max(1e-6).ln())
                .sum()
        };
        let best = argmax(p.iter().map(gain));
        sum.iter_mut().zip(&p[best]).for_each(|(sum, p)| *sum += p);
        counts[best] += 1.0 / ROUNDS as f64;
    }
    counts
}

impl<'a> Bench<'a> {
    pub(super) fn new(config: &'a Config, mut matrix: Matrix) -> Result<Self, LabError> {
        let aside = &config.data.left_out;
        let of = |is_wanted: &dyn Fn(&String) -> bool| -> (Vec<Row>, Array2<f32>) {
            let is_of_it =
                |row: &usize| matrix.rows[*row].item.label.as_ref().is_some_and(is_wanted);
            let rows: Vec<usize> = (0..matrix.rows.len()).filter(is_of_it).collect();
            (
                rows.iter().map(|&row| matrix.rows[row].clone()).collect(),
                matrix.values.select(Axis(0), &rows),
            )
        };
        let left_out = of(&|label| !aside.is_empty() && label == aside);
        if !aside.is_empty() && left_out.0.is_empty() {
            return Err(LabError::Asked(format!(
                "data.left_out: expected a class that there is, found {aside}"
            )));
        }
        (matrix.rows, matrix.values) = of(&|label| aside.is_empty() || label != aside);
        let classes = class_names(matrix.rows.iter().map(|row| &row.item));
        if classes.len() < 2 {
            let found = classes
                .first()
                .map_or_else(|| "none".to_owned(), |only| format!("only \"{only}\""));
            return Err(LabError::Asked(format!(
                "expected tracks of two classes or more, found {found}: say which column has the labels (,label=COLUMN)"
            )));
        }
        let class_of = class_of(&matrix.rows, &classes);
        let mut split = deal(
            &matrix.rows,
            &class_of,
            classes.len(),
            &config.data.split,
            config.seed,
        )?;
        if config.data.folds > 0 {
            let groups: BTreeSet<usize> = split.groups.iter().copied().collect();
            if groups.len() < config.data.folds {
                return Err(LabError::Asked(format!(
                    "{} folds need as many groups (artists), found {}: fewer folds, or --split track, which marks the figures",
                    config.data.folds,
                    groups.len()
                )));
            }
        }
        // Folds leave a test part of the data set's own alone; else they judge every track.
        if config.data.folds > 0 && !matches!(split.how.as_str(), "given" | "lists" | "table") {
            split.parts.fill(Some(Part::Training));
            split.said = format!(
                "{} folds by {}{}",
                config.data.folds,
                split.how,
                if split.at_random {
                    format!(": {}", at_random(&matrix.rows))
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
            left_out,
        })
    }

    /// Whether the final model learns from a row.
    pub(super) fn learns(&self, row: usize) -> bool {
        matches!(
            self.split.parts[row],
            Some(Part::Training | Part::Validation)
        )
    }

    /// Rows that judge the final model; none of a trial.
    pub(super) fn test(&self, chosen_among: usize) -> Vec<usize> {
        if chosen_among == TRIAL {
            Vec::new()
        } else {
            self.split.rows(Part::Test)
        }
    }

    /// The folds that algorithms are judged on; without any, the validation part is the only one.
    pub(super) fn folds(&self) -> Vec<Fold> {
        let data = &self.config.data;
        if data.folds == 0 {
            let rest = self.split.rows(Part::Training);
            let held = self.split.rows(Part::Validation);
            return vec![Fold {
                repeat: 0,
                number: 0,
                rest,
                held,
            }];
        }
        let rows: Vec<usize> = (0..self.class_of.len())
            .filter(|&row| self.learns(row))
            .collect();
        let (own, groups) = self.classes_and_groups(&rows);
        let seeds =
            (0..data.repeats as u64).map(|repeat| self.config.seed.wrapping_add(1000 + repeat));
        let mut folds = deal_folds(&own, self.classes.len(), &groups, data.folds, seeds);
        for at in folds
            .iter_mut()
            .flat_map(|fold| fold.rest.iter_mut().chain(&mut fold.held))
        {
            *at = rows[*at];
        }
        folds
    }

    fn classes_and_groups(&self, rows: &[usize]) -> (Vec<Vec<usize>>, Vec<usize>) {
        rows.iter()
            .map(|&row| (vec![self.class_of[row]], self.split.groups[row]))
            .unzip()
    }

    /// Weights of the algorithms in a joint answer, and what such answers say of each fold's rows, where the weights
    /// are those of the other folds (of a validation part: of its other fifths).
    pub(super) fn select(&self, folds: &[Fold], judged: &[Judged]) -> (Vec<f64>, Vec<Array2<f32>>) {
        let parts: Vec<Vec<usize>> = folds
            .iter()
            .map(|one| {
                if self.config.data.folds == 0 {
                    self.dealt(&one.held)
                } else {
                    vec![one.number; one.held.len()]
                }
            })
            .collect();
        // what each algorithm gives the truth on the rows that are wanted
        let weights = |wanted: &dyn Fn(usize, usize) -> bool| -> Vec<f64> {
            let of = |one: &Judged| -> Vec<f64> {
                let at = |at: usize| -> Vec<f64> {
                    let held = folds[at].held.iter().enumerate();
                    let held =
                        held.filter(|(place, _)| wanted(folds[at].repeat, parts[at][*place]));
                    held.map(|(place, &row)| f64::from(one.p[at][[place, self.class_of[row]]]))
                        .collect()
                };
                (0..folds.len()).flat_map(at).collect()
            };
            greedy(&judged.iter().map(of).collect::<Vec<_>>())
        };
        let said = folds
            .iter()
            .enumerate()
            .map(|(at, fold)| {
                let mut all = Array2::zeros((fold.held.len(), self.classes.len()));
                for part in parts[at].iter().copied().collect::<BTreeSet<usize>>() {
                    let own = weights(&|repeat, other| repeat == fold.repeat && other != part);
                    for place in (0..fold.held.len()).filter(|&place| parts[at][place] == part) {
                        for (one, weight) in judged.iter().zip(&own) {
                            all.row_mut(place)
                                .scaled_add(*weight as f32, &one.p[at].row(place));
                        }
                    }
                }
                all
            })
            .collect();
        (weights(&|_, _| true), said)
    }

    /// Folds inside some rows, groups whole.
    pub(super) fn dealt(&self, rows: &[usize]) -> Vec<usize> {
        let (own, groups) = self.classes_and_groups(rows);
        grouped_folds(&own, self.classes.len(), &groups, INNER, self.config.seed)
    }

    /// Whether each of some rows is of the fifth that a network chooses its epoch by, groups whole.
    pub(super) fn fifth(&self, rows: &[usize]) -> Vec<bool> {
        let (own, groups): (Vec<usize>, Vec<usize>) = rows
            .iter()
            .map(|&row| (self.class_of[row], self.split.groups[row]))
            .unzip();
        let held = hold_out(
            &own,
            self.classes.len(),
            &groups,
            1,
            INNER,
            self.config.seed,
        );
        held.into_iter().map(|part| part > 0).collect()
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
            .ok_or_else(|| LabError::Asked("expected at least one algorithm".to_owned()))
    }

    /// The share of some rows that is learnt from: the same of each class, and a row at least.
    pub(super) fn shared(&self, rows: &[usize]) -> Vec<usize> {
        let mut left: Vec<usize> = vec![0; self.classes.len()];
        rows.iter().for_each(|&row| left[self.class_of[row]] += 1);
        left.iter_mut()
            .for_each(|n| *n = (self.config.data.share * *n as f64).ceil() as usize);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        if self.config.data.share < 1.0 {
            Random::stream(self.config.seed, 0x5a7e).shuffle(&mut order);
        }
        order.retain(|&at| {
            let left = &mut left[self.class_of[rows[at]]];
            let is_kept = *left > 0;
            *left = left.saturating_sub(1);
            is_kept
        });
        order.sort_unstable();
        order.into_iter().map(|at| rows[at]).collect()
    }

    pub(super) fn fit(&self, algorithm: Algorithm, rows: &[usize]) -> Result<Model, LabError> {
        let rows = &self.shared(rows)[..];
        let x = self.matrix.values.select(Axis(0), rows);
        let class_of: Vec<usize> = rows.iter().map(|&row| self.class_of[row]).collect();
        let folds = self.dealt(rows);
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

    /// What a model says of some rows.
    pub(super) fn said(&self, model: &Model, rows: &[usize]) -> Array2<f32> {
        model.probabilities(self.matrix.values.select(Axis(0), rows).view())
    }

    /// How many of some rows are named rightly.
    fn right(&self, rows: &[usize], said: &Array2<f32>) -> usize {
        rows.iter()
            .zip(said.outer_iter())
            .filter(|(row, p)| argmax(p) == self.class_of[**row])
            .count()
    }

    /// Judges logistic regression on five folds dealt three times, once with groups kept together and once with tracks
    /// dealt at random.
    pub(super) fn random_folds(&self) -> Result<RandomFolds, LabError> {
        let all: Vec<usize> = (0..self.class_of.len()).collect();
        let (own, groups) = self.classes_and_groups(&all);
        let accuracy = |groups: &[usize]| -> Result<f64, LabError> {
            let seeds = (0..3).map(|repeat| self.config.seed.wrapping_add(repeat));
            let mut right = 0;
            for Fold { rest, held, .. } in deal_folds(&own, self.classes.len(), groups, 5, seeds) {
                right += self.right(
                    &held,
                    &self.said(&self.fit(Algorithm::Logistic, &rest)?, &held),
                );
            }
            Ok(right as f64 / (3 * all.len()) as f64)
        };
        Ok(RandomFolds {
            grouped: accuracy(&groups)?,
            random: accuracy(&all)?,
        })
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

    /// How well an algorithm did, over all dealings.
    pub(super) fn method(
        &self,
        name: &str,
        folds: &[Fold],
        judged: &[Array2<f32>],
        seconds: f64,
        note: Option<String>,
    ) -> Method {
        let mut truth = Vec::new();
        let mut said = Vec::new();
        let mut groups = Vec::new();
        let mut dealings: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (fold, p) in folds.iter().zip(judged) {
            for (&row, p) in fold.held.iter().zip(p.outer_iter()) {
                let answer = argmax(p);
                let counts = dealings.entry(fold.repeat).or_default();
                counts.0 += usize::from(answer == self.class_of[row]);
                counts.1 += 1;
                truth.push(self.class_of[row]);
                said.push(answer);
                groups.push(self.split.groups[row]);
            }
        }
        let shares: Vec<f64> = dealings
            .values()
            .map(|(right, all)| *right as f64 / *all as f64)
            .collect();
        let [accuracy, balanced_accuracy, macro_f1] =
            intervals(&truth, &said, &groups, self.classes.len());
        Method {
            name: name.to_owned(),
            accuracy,
            deviation: Spread::of(&shares).deviation,
            balanced_accuracy,
            macro_f1,
            seconds,
            note,
            chosen: false,
        }
    }

    /// Permutation importance: on the test part by the final model, else on the first fold by a model without it.
    pub(super) fn importance(
        &self,
        fold: &Fold,
        model: &Model,
        answering: &[(Algorithm, f64)],
        test: &[usize],
    ) -> Result<Vec<Importance>, LabError> {
        let own_fit = if test.is_empty() {
            Some(self.fit_all(answering, &fold.rest)?)
        } else {
            None
        };
        let model = own_fit.as_ref().unwrap_or(model);
        let mut rows = if test.is_empty() {
            fold.held.clone()
        } else {
            test.to_vec()
        };
        Random::stream(self.config.seed, 0x1a9).shuffle(&mut rows);
        rows.truncate(LOOKED_AT);
        let x = self.matrix.values.select(Axis(0), &rows);
        let accuracy = |x: &Array2<f32>| {
            self.right(&rows, &model.probabilities(x.view())) as f64 / rows.len().max(1) as f64
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
            if names.len() < 2 && self.matrix.columns.len() > 1 {
                Vec::new()
            } else {
                names
                    .into_iter()
                    .map(|name| (name.clone(), members(name)))
                    .collect()
            };
        // and the single columns that tell classes apart best
        let together = groups.len();
        let mut single: Vec<(f64, usize)> =
            self.separation(&fold.rest).into_iter().zip(0..).collect();
        single.sort_by(|a, b| b.0.total_cmp(&a.0));
        groups.extend(
            single
                .iter()
                .take(SINGLE)
                .map(|&(_, at)| (self.matrix.columns[at].clone(), vec![at])),
        );
        let before = accuracy(&x);
        let own = model.importances();
        let mut found = Vec::new();
        for (number, (name, columns)) in groups.into_iter().enumerate() {
            let drops: Vec<f64> = (0..SHUFFLES)
                .map(|shuffle| {
                    let mut order: Vec<usize> = (0..rows.len()).collect();
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
            let own = own
                .as_ref()
                .map(|own| columns.iter().map(|&column| own[column]).sum());
            found.push(Importance {
                columns: name,
                drop: spread.mean,
                deviation: spread.deviation,
                own,
                single: number >= together,
            });
        }
        found.sort_by(|a, b| a.single.cmp(&b.single).then(b.drop.total_cmp(&a.drop)));
        Ok(found)
    }

    /// Of each column, how far the classes' means lie apart by what is spread within them (the F statistic, but for a
    /// factor that is the same for all).
    fn separation(&self, rows: &[usize]) -> Vec<f64> {
        let of = |column: ndarray::ArrayView1<f32>| {
            let mut sums = vec![[0.0; 3]; self.classes.len()];
            for &row in rows.iter().filter(|&&row| column[row].is_finite()) {
                let x = f64::from(column[row]);
                let own = &mut sums[self.class_of[row]];
                *own = [own[0] + 1.0, own[1] + x, own[2] + x * x];
            }
            let [n, sum, square] = sums.iter().fold([0.0; 3], |all, own| {
                [all[0] + own[0], all[1] + own[1], all[2] + own[2]]
            });
            let between = sums
                .iter()
                .filter(|own| own[0] > 0.0)
                .map(|own| own[1] * own[1] / own[0])
                .sum::<f64>()
                - sum * sum / f64::max(n, 1.0);
            let within = square - sum * sum / f64::max(n, 1.0) - between;
            if within > 0.0 { between / within } else { 0.0 }
        };
        self.matrix.values.axis_iter(Axis(1)).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_joins_members_that_help_and_leaves_out_others() {
        // two that are sure of different halves, one that knows nothing
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
