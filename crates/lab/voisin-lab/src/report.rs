//! Figures of a run, with their uncertainty.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::LabError;
use super::leak::Leak;
use voisin_base::random::Random;
use voisin_base::regular_file;
use voisin_genre::metrics::{
    ClassMeasures, RiskStep, RocPoint, accuracy, argmax, auc, balanced_accuracy_of, confusion,
    expected_calibration_error, log_loss, macro_f1_of, per_class, risk_coverage, roc_curve,
    top_k_accuracy,
};

/// A figure with its 95 % interval, by a bootstrap over groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

impl Interval {
    /// The interval from a figure's values in bootstrap draws.
    pub(crate) fn of_draws(value: f64, mut draws: Vec<f64>) -> Self {
        draws.sort_unstable_by(f64::total_cmp);
        let beyond = draws.len() / 40;
        Self {
            value,
            low: draws[beyond],
            high: draws[draws.len() - 1 - beyond],
        }
    }
}

/// The evaluation of one algorithm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// The algorithm.
    pub name: String,
    /// Share of tracks predicted correctly, with its interval.
    pub accuracy: Interval,
    /// Deviation of the accuracy between repeats; 0 for one.
    pub deviation: f64,
    /// Mean recall over classes.
    pub balanced_accuracy: Interval,
    /// Mean F1 over classes.
    pub macro_f1: Interval,
    /// Seconds that its fits took.
    pub seconds: f64,
    /// A note on the fit.
    pub note: Option<String>,
    /// Whether it makes the run's predictions.
    pub chosen: bool,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// Precision, recall, F1, and number of tracks.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// Number of tracks predicted as this class.
    pub answered: usize,
    /// Area under its ROC curve.
    pub auc: Option<f64>,
    /// Its ROC curve.
    pub roc: Vec<RocPoint>,
}

/// All figures of a set of predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// test, validation (of a network without a test part), or folds.
    pub on: String,
    /// Tracks evaluated.
    pub tracks: usize,
    /// Groups (artists) among them.
    pub groups: usize,
    /// Share of tracks predicted correctly.
    pub accuracy: Interval,
    /// The same, with tracks that could not be decoded counted as wrong.
    pub accuracy_with_failures: f64,
    /// Mean recall over classes.
    pub balanced_accuracy: Interval,
    /// Mean F1 over classes.
    pub macro_f1: Interval,
    /// Mean negative log probability of the truth, nats.
    pub log_loss: f64,
    /// Share with the truth among the two most probable.
    pub top2: f64,
    /// Expected calibration error, ten bins.
    pub calibration_error: f64,
    /// Truth (row) against prediction (column).
    pub confusion: Vec<Vec<usize>>,
    /// By class, in the order of `confusion`.
    pub per_class: Vec<ClassFigures>,
    /// Share of wrong predictions among the most probable ones.
    pub risk_coverage: Vec<RiskStep>,
    /// Wrong predictions, the most confident first.
    pub wrong: Vec<Wrong>,
}

/// A prediction that the label contradicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wrong {
    /// The track.
    pub path: String,
    /// Its label.
    pub genre: String,
    /// The prediction.
    pub predicted: String,
    /// The prediction's probability.
    pub probability: f64,
}

/// How much predictions depend on some columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The columns, by the quantity that they measure.
    pub columns: String,
    /// Points of accuracy lost when they are shuffled between tracks, mean of ten shuffles.
    pub drop: f64,
    /// Deviation between shuffles.
    pub deviation: f64,
    /// The algorithm's internal importance, as a share.
    #[serde(rename = "own")]
    pub internal: Option<f64>,
    /// Whether it is one of the single columns that separate classes best, rather than all columns
    /// of one quantity.
    pub single: bool,
}

/// Statistics of a run's data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataCard {
    /// `KIND:PATH` with its options.
    pub source: String,
    /// Header of the column of keys.
    pub key_name: String,
    /// Header of the column of labels.
    pub label_name: String,
    /// Tracks used.
    pub tracks: usize,
    /// Known artists.
    pub artists: usize,
    /// Tracks of each class, in the order of the classes.
    pub sizes: Vec<usize>,
    /// Seconds of music, if it was decoded.
    pub seconds: f64,
    /// Tracks of each licence.
    pub licences: BTreeMap<String, usize>,
    /// Tracks that could not be used.
    pub failed: usize,
    /// The first of them, with reasons.
    pub first_failures: Vec<(String, String)>,
    /// Notes on how it was read.
    pub notes: Vec<String>,
}

/// A finished run: `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this file.
    pub format: u32,
    /// The data.
    pub data: DataCard,
    /// How the data was split, in a sentence.
    pub split: String,
    /// Whether artists may be on both sides.
    pub at_random: bool,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Feature sets with their number of columns.
    pub features: Vec<String>,
    /// Columns.
    pub columns: usize,
    /// Columns that never vary.
    pub constant: Vec<String>,
    /// How the algorithms were evaluated, in a sentence.
    pub judged_by: String,
    /// The evaluation of each algorithm.
    pub methods: Vec<Method>,
    /// Figures of the chosen algorithm's predictions.
    pub figures: Figures,
    /// Importance of the features; most important first. Empty for a network.
    pub importance: Vec<Importance>,
    /// Tracks, artists and albums in more than one part.
    pub leak: Leak,
    /// A network's training, epoch by epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<Learning>,
}

/// A network's epochs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// Notes on the curves.
    pub notes: Vec<String>,
    /// Mean loss of the training and the validation part after each epoch.
    pub loss: [Vec<f64>; 2],
    /// Accuracy of both.
    pub accuracy: [Vec<f64>; 2],
    /// Each layer, its output, and its number of parameters.
    pub layers: Vec<(String, String, usize)>,
    /// Accuracy of single windows, and of tracks by the windows' mean and by their votes.
    pub decisions: Vec<(String, f64)>,
}

impl Learning {
    /// A note if the training loss rose far above that of the first epoch, or is not finite.
    pub fn exploded(&self) -> Option<String> {
        /// Between seeds the loss varies by less than half.
        const FAR_ABOVE: f64 = 2.0;
        let first = *self.loss[0].first()?;
        // NaN compares as false, so it needs a separate test.
        let worst = |loss: &f64| !loss.is_finite() || *loss > FAR_ABOVE * first;
        let epoch = self.loss[0].iter().position(worst)?;
        Some(format!(
            "The training exploded: its loss was {first:.2} after the first epoch and {:.4} after epoch {}. Lower the rate \
             (training.rate).",
            self.loss[0][epoch],
            epoch + 1
        ))
    }
}

impl Report {
    /// Reads the report of a finished run.
    pub fn read(run: &Path) -> Result<Self, LabError> {
        let path = run.join("report.json");
        if !path.is_file() {
            let what = if run.is_dir() {
                "expected report.json of a finished run, found none"
            } else {
                "no such folder"
            };
            return Err(LabError::run(
                run,
                format!("{what}; voisin lab train makes one"),
            ));
        }
        let bytes = regular_file::read(&path, 64 << 20).map_err(LabError::io(&path))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| LabError::run(&path, format!("damaged ({error})")))
    }
}

/// Predictions to evaluate, a row each.
#[derive(Debug, Clone)]
pub struct Answers<'a> {
    /// Names of the classes.
    pub classes: &'a [String],
    /// The key of each track, for the list of wrong predictions; may be empty.
    pub keys: Vec<&'a str>,
    /// The classes of each; a prediction that is one of them is correct.
    pub truth: Vec<Vec<usize>>,
    /// `[tracks, classes]`
    pub probabilities: Array2<f32>,
    /// The group of each track; groups are resampled whole.
    pub groups: Vec<usize>,
}

/// Draws of the bootstrap.
const DRAWS: usize = 1000;
/// Wrong predictions that are listed.
const WRONG: usize = 20;
/// A class with fewer tracks gets no curve, and among a library's genres it is in no mean over classes.
pub(super) const FEW: usize = 3;

/// True and predicted class for each label of each track, and the track's row: a prediction that is
/// one of a track's labels counts as correct for all of them, any other as wrong for all.
pub(super) fn by_class(
    truth: &[Vec<usize>],
    answers: &[usize],
) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let mut expected = Vec::new();
    let mut predicted = Vec::new();
    let mut rows = Vec::new();
    for (row, (labels, &answer)) in truth.iter().zip(answers).enumerate() {
        for &class in labels {
            expected.push(class);
            // One entry in the confusion for each label, all correct or all wrong.
            predicted.push(if labels.contains(&answer) {
                class
            } else {
                answer
            });
            rows.push(row);
        }
    }
    (expected, predicted, rows)
}

/// Accuracy, balanced accuracy and macro F1, with intervals by a bootstrap over groups (Efron, 1979).
pub fn intervals(
    truth: &[usize],
    answers: &[usize],
    groups: &[usize],
    classes: usize,
) -> [Interval; 3] {
    intervals_of(truth, answers, groups, classes, |_| true)
}

/// [`intervals`], with the means over some of the classes.
pub(super) fn intervals_of(
    truth: &[usize],
    answers: &[usize],
    groups: &[usize],
    classes: usize,
    counts: impl Fn(usize) -> bool,
) -> [Interval; 3] {
    let measure = |m: &[Vec<usize>]| {
        [
            accuracy(m),
            balanced_accuracy_of(m, &counts),
            macro_f1_of(m, &counts),
        ]
    };
    // Counts by group, so that each of a thousand draws adds a few numbers and not all tracks.
    let whole = measure(&confusion(truth, answers, classes));
    let mut members: BTreeMap<usize, BTreeMap<(usize, usize), usize>> = BTreeMap::new();
    for ((&t, &a), &group) in truth.iter().zip(answers).zip(groups) {
        *members.entry(group).or_default().entry((t, a)).or_default() += 1;
    }
    let members: Vec<_> = members.into_values().collect();
    // a constant seed, so that the same predictions have the same interval
    let mut random = Random::new(1);
    let mut draws: [Vec<f64>; 3] = Default::default();
    for _ in 0..DRAWS {
        let mut counts = vec![vec![0; classes]; classes];
        for _ in 0..members.len() {
            for (&(t, a), n) in &members[random.below(members.len())] {
                counts[t][a] += n;
            }
        }
        for (draws, value) in draws.iter_mut().zip(measure(&counts)) {
            draws.push(value);
        }
    }
    std::array::from_fn(|figure| {
        Interval::of_draws(whole[figure], std::mem::take(&mut draws[figure]))
    })
}

impl Figures {
    /// The evaluated tracks, in words.
    pub fn evaluated_on(&self) -> &'static str {
        match self.on.as_str() {
            "test" => "the test part",
            "validation" => "the validation part, which chose its epoch",
            _ => "all folds",
        }
    }

    /// - `failed`: tracks of the part that could not be decoded
    pub fn of(on: &str, answered: &Answers, failed: usize) -> Self {
        let k = answered.classes.len();
        let p: Vec<Vec<f64>> = answered
            .probabilities
            .outer_iter()
            .map(|row| row.iter().map(|v| f64::from(*v)).collect())
            .collect();
        let answers: Vec<usize> = p.iter().map(argmax).collect();
        // the prediction if it is one of the track's labels, else its first label
        let truth = answered.truth.iter().zip(&answers);
        let truth: Vec<usize> = truth
            .map(|(labels, a)| if labels.contains(a) { *a } else { labels[0] })
            .collect();
        // measures of probabilities use the most probable of a track's labels
        let likeliest = |(labels, p): (&Vec<usize>, &Vec<f64>)| {
            labels
                .iter()
                .copied()
                .max_by(|a, b| p[*a].total_cmp(&p[*b]))
                .unwrap_or(0)
        };
        let ranked: Vec<usize> = answered.truth.iter().zip(&p).map(likeliest).collect();
        let (expected, found, rows) = by_class(&answered.truth, &answers);
        let matrix = confusion(&expected, &found, k);
        let [overall, mut balanced, mut f1] = intervals(&truth, &answers, &answered.groups, k);
        // with several labels for a track, means over classes count each label once
        if rows.len() > truth.len() {
            let groups: Vec<usize> = rows.iter().map(|&row| answered.groups[row]).collect();
            [_, balanced, f1] = intervals(&expected, &found, &groups, k);
        }
        // Each prediction's probability, and whether it was correct.
        let sure: Vec<(f64, bool)> = p
            .iter()
            .zip(&answers)
            .zip(&truth)
            .map(|((p, a), t)| (p[*a], a == t))
            .collect();
        let by_class = per_class(&matrix)
            .into_iter()
            .enumerate()
            .map(|(c, measures)| {
                let scores: Vec<f64> = p.iter().map(|p| p[c]).collect();
                let positive: Vec<bool> = answered
                    .truth
                    .iter()
                    .map(|labels| labels.contains(&c))
                    .collect();
                ClassFigures {
                    name: answered.classes[c].clone(),
                    measures,
                    answered: answers.iter().filter(|a| **a == c).count(),
                    auc: auc(&scores, &positive),
                    roc: roc_curve(&scores, &positive),
                }
            })
            .collect();
        let mut wrong: Vec<usize> = (0..answered.keys.len())
            .filter(|&row| answers[row] != truth[row])
            .collect();
        wrong.sort_by(|&a, &b| p[b][answers[b]].total_cmp(&p[a][answers[a]]));
        wrong.truncate(WRONG);
        let groups: std::collections::BTreeSet<usize> = answered.groups.iter().copied().collect();
        let n = truth.len();
        Self {
            on: on.to_owned(),
            tracks: n,
            groups: groups.len(),
            accuracy_with_failures: overall.value * n as f64 / (n + failed).max(1) as f64,
            accuracy: overall,
            balanced_accuracy: balanced,
            macro_f1: f1,
            log_loss: log_loss(&ranked, &p),
            top2: top_k_accuracy(&ranked, &p, 2),
            calibration_error: expected_calibration_error(&sure, 10),
            per_class: by_class,
            risk_coverage: risk_coverage(&sure),
            wrong: wrong
                .into_iter()
                .map(|row| Wrong {
                    path: answered.keys[row].to_owned(),
                    genre: answered.classes[truth[row]].clone(),
                    predicted: answered.classes[answers[row]].clone(),
                    probability: p[row][answers[row]],
                })
                .collect(),
            confusion: matrix,
        }
    }

    /// Classes predicted at least half as often again as they occur: name, predictions, tracks, and
    /// the two classes most often confused with it.
    pub fn attractors(&self) -> Vec<(&str, usize, usize, Vec<&str>)> {
        let mut found: Vec<(&str, usize, usize, Vec<&str>)> = Vec::new();
        for (c, class) in self.per_class.iter().enumerate() {
            let support = class.measures.support;
            // at least three more, since in a small class half again is one or two tracks
            if class.answered * 2 < support * 3 || class.answered < support + 3 {
                continue;
            }
            let mut from: Vec<usize> = (0..self.per_class.len())
                .filter(|&t| t != c && self.confusion[t][c] > 0)
                .collect();
            from.sort_by_key(|&t| std::cmp::Reverse(self.confusion[t][c]));
            let from = from
                .into_iter()
                .take(2)
                .map(|t| self.per_class[t].name.as_str())
                .collect();
            found.push((&class.name, class.answered, support, from));
        }
        // By the ratio of predictions to tracks, compared without division.
        found.sort_by(|a, b| (b.1 * a.2.max(1)).cmp(&(a.1 * b.2.max(1))));
        found
    }

    /// The most frequent confusions: truth, prediction, number.
    pub fn confused(&self, most: usize) -> Vec<(&str, &str, usize)> {
        let mut pairs: Vec<(&str, &str, usize)> = Vec::new();
        for (t, row) in self.confusion.iter().enumerate() {
            for (a, &count) in row
                .iter()
                .enumerate()
                .filter(|(a, count)| *a != t && **count > 0)
            {
                pairs.push((&self.per_class[t].name, &self.per_class[a].name, count));
            }
        }
        pairs.sort_by(|a, b| b.2.cmp(&a.2).then(a.cmp(b)));
        pairs.truncate(most);
        pairs
    }
}

/// At most 200 of the points, including the last, enough for a picture.
pub(super) fn thinned<T: Copy>(points: Vec<T>) -> Vec<T> {
    const MOST: usize = 200;
    if points.len() <= MOST {
        return points;
    }
    (0..MOST)
        .map(|i| points[i * (points.len() - 1) / (MOST - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wider_for_correlated_tracks() {
        let truth: Vec<usize> = (0..200).map(|i| i % 2).collect();
        // groups of ten, correct or wrong as a whole
        let answers: Vec<usize> = (0..200)
            .map(|i| if i / 10 % 4 == 0 { 1 - i % 2 } else { i % 2 })
            .collect();
        let single: Vec<usize> = (0..200).collect();
        let tens: Vec<usize> = (0..200).map(|i| i / 10).collect();
        let [narrow, ..] = intervals(&truth, &answers, &single, 2);
        let [wide, ..] = intervals(&truth, &answers, &tens, 2);
        assert_eq!((narrow.value, wide.value), (0.75, 0.75));
        assert!(narrow.low > 0.68 && narrow.high < 0.82, "{narrow:?}");
        assert!(
            wide.high - wide.low > 2.0 * (narrow.high - narrow.low),
            "{wide:?} {narrow:?}"
        );
    }

    #[test]
    fn an_exploding_loss_gets_a_note() {
        let learning = |loss: &[f64]| Learning {
            loss: [loss.to_vec(), Vec::new()],
            ..Learning::default()
        };
        assert_eq!(learning(&[2.0, 2.4, 1.1]).exploded(), None);
        let text = learning(&[1.1, 4543.0, 1335.0]).exploded().unwrap();
        assert!(text.contains("1.10") && text.contains("epoch 2"), "{text}");
        assert!(learning(&[1.1, f64::NAN]).exploded().is_some());
    }

    #[test]
    fn attractors_and_pairs_are_named() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let truth: Vec<Vec<usize>> = (0..30).map(|i| vec![i / 10]).collect();
        // b is always predicted as c
        let answer = |t: usize| if t == 1 { 2 } else { t };
        let probabilities =
            Array2::from_shape_fn(
                (30, 3),
                |(i, c)| if c == answer(truth[i][0]) { 0.8 } else { 0.1 },
            );
        let keys = vec!["x"; 30];
        let groups = (0..30).collect();
        let figures = Figures::of(
            "test",
            &Answers {
                classes: &classes,
                keys,
                truth,
                probabilities,
                groups,
            },
            10,
        );
        assert_eq!(figures.attractors(), [("c", 20, 10, vec!["b"])]);
        assert_eq!(figures.confused(5), [("b", "c", 10)]);
        assert!((figures.accuracy.value - 2.0 / 3.0).abs() < 1e-12);
        assert!((figures.accuracy_with_failures - 0.5).abs() < 1e-12);
        assert_eq!(figures.wrong.len(), 10);
    }
}
