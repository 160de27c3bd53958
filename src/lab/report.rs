//! Figures of a run, with their uncertainty.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::LabError;
use voisin_base::random::Random;
use voisin_base::regular_file;
use voisin_genre::metrics::{
    ClassMeasures, RocPoint, accuracy, argmax, auc, confusion, macro_f1_of, per_class, roc_curve,
};

/// A figure with its 95 % interval, by a bootstrap over groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub name: String,
    pub accuracy: Interval,
    /// Deviation of the accuracy between repeats; 0 for one.
    pub deviation: f64,
    /// Mean F1 over classes.
    pub macro_f1: Interval,
    pub seconds: f64,
    pub note: Option<String>,
    /// Whether it makes the run's predictions.
    pub chosen: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    pub name: String,
    /// Precision, recall, F1, and number of tracks.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    pub answered: usize,
    pub auc: Option<f64>,
    pub roc: Vec<RocPoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// test, validation (of a network without a test part), or folds.
    pub on: String,
    /// Tracks evaluated, and groups (artists) among them.
    pub tracks: usize,
    pub groups: usize,
    pub accuracy: Interval,
    /// Mean F1 over classes.
    pub macro_f1: Interval,
    /// Truth (row) against prediction (column).
    pub confusion: Vec<Vec<usize>>,
    pub per_class: Vec<ClassFigures>,
}

/// How much predictions depend on some columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    pub columns: String,
    /// Points of accuracy lost when they are shuffled between tracks, mean of ten shuffles.
    pub drop: f64,
    pub deviation: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataCard {
    /// `KIND:PATH` with its options.
    pub source: String,
    pub key_name: String,
    pub label_name: String,
    pub tracks: usize,
    pub artists: usize,
    /// Tracks of each class, in the order of the classes.
    pub sizes: Vec<usize>,
    /// Seconds of music, if it was decoded.
    pub seconds: f64,
    /// Tracks that could not be used, and the first of them with reasons.
    pub failed: usize,
    pub first_failures: Vec<(String, String)>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub data: DataCard,
    /// How the data was split, in a sentence.
    pub split: String,
    pub classes: Vec<String>,
    pub features: Vec<String>,
    pub columns: usize,
    pub judged_by: String,
    pub methods: Vec<Method>,
    pub figures: Figures,
    /// Most important first. Empty for a network.
    pub importance: Vec<Importance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<Learning>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    pub notes: Vec<String>,
    /// Mean loss of the training and the validation part after each epoch.
    pub loss: [Vec<f64>; 2],
    pub accuracy: [Vec<f64>; 2],
    /// Each layer, its output, and its number of parameters.
    pub layers: Vec<(String, String, usize)>,
    /// Accuracy of single windows, and of tracks by the windows' mean and by their votes.
    pub decisions: Vec<(String, f64)>,
}

impl Report {
    pub fn read(run: &Path) -> Result<Self, LabError> {
        let path = run.join("report.json");
        if !path.is_file() {
            let what = if run.is_dir() {
                "expected report.json of a finished run, found none"
            } else {
                "no such folder"
            };
            let problem = format!("{what}; voisin lab train makes one");
            return Err(LabError::run(run, problem));
        }
        let bytes = regular_file::read(&path, 64 << 20).map_err(LabError::io(&path))?;
        let report = serde_json::from_slice(&bytes);
        report.map_err(|error| LabError::run(&path, format!("damaged ({error})")))
    }
}

#[derive(Debug, Clone)]
pub struct Answers<'a> {
    pub classes: &'a [String],
    /// The classes of each; a prediction that is one of them is correct.
    pub truth: Vec<Vec<usize>>,
    /// `[tracks, classes]`
    pub probabilities: Array2<f32>,
    /// The group of each track; groups are resampled whole.
    pub groups: Vec<usize>,
}

const DRAWS: usize = 1000;
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
            let is_right = labels.contains(&answer);
            expected.push(class);
            predicted.push(if is_right { class } else { answer });
            rows.push(row);
        }
    }
    (expected, predicted, rows)
}

/// Accuracy and macro F1, with intervals by a bootstrap over groups (Efron, 1979).
///
/// - `counts`: whether a class is in the means over classes
pub(super) fn intervals(
    truth: &[usize],
    answers: &[usize],
    groups: &[usize],
    classes: usize,
    counts: impl Fn(usize) -> bool,
) -> [Interval; 2] {
    let measure = |m: &[Vec<usize>]| [accuracy(m), macro_f1_of(m, &counts)];
    // Counts by group, so that each of a thousand draws adds a few numbers and not all tracks.
    let whole = measure(&confusion(truth, answers, classes));
    let mut members: BTreeMap<usize, BTreeMap<(usize, usize), usize>> = BTreeMap::new();
    for ((&t, &a), &group) in truth.iter().zip(answers).zip(groups) {
        *members.entry(group).or_default().entry((t, a)).or_default() += 1;
    }
    let members: Vec<_> = members.into_values().collect();
    // a constant seed, so that the same predictions have the same interval
    let mut random = Random::new(1);
    let mut draws: [Vec<f64>; 2] = Default::default();
    for _ in 0..DRAWS {
        let mut drawn = vec![vec![0; classes]; classes];
        for _ in 0..members.len() {
            for (&(t, a), n) in &members[random.below(members.len())] {
                drawn[t][a] += n;
            }
        }
        let values = draws.iter_mut().zip(measure(&drawn));
        values.for_each(|(draws, value)| draws.push(value));
    }
    let mut values = whole.into_iter();
    draws.map(|draws| Interval::of_draws(values.next().unwrap_or_default(), draws))
}

impl Figures {
    pub(super) fn evaluated_on(&self) -> &'static str {
        match self.on.as_str() {
            "test" => "the test part",
            "validation" => "the validation part, which chose its epoch",
            _ => "all folds",
        }
    }

    /// - `counts`: whether a class is in the means over classes
    pub(super) fn of(on: &str, answered: &Answers, counts: impl Fn(usize) -> bool) -> Self {
        let k = answered.classes.len();
        let probabilities = &answered.probabilities;
        let answers: Vec<usize> = probabilities.outer_iter().map(argmax).collect();
        let (expected, found, rows) = by_class(&answered.truth, &answers);
        let groups: Vec<usize> = rows.iter().map(|&row| answered.groups[row]).collect();
        let confusion = confusion(&expected, &found, k);
        let [mut accuracy, macro_f1] = intervals(&expected, &found, &groups, k, counts);
        // A track with several labels is one track in the accuracy, and one of each class elsewhere.
        if rows.len() > answers.len() {
            let truth = answered.truth.iter().zip(&answers);
            let truth: Vec<usize> = truth
                .map(|(labels, a)| if labels.contains(a) { *a } else { labels[0] })
                .collect();
            [accuracy, ..] = intervals(&truth, &answers, &answered.groups, k, |_| true);
        }
        let class = |(c, measures): (usize, ClassMeasures)| {
            let scores = probabilities.column(c);
            let scores: Vec<f64> = scores.iter().copied().map(f64::from).collect();
            let truth = answered.truth.iter();
            let positive: Vec<bool> = truth.map(|labels| labels.contains(&c)).collect();
            ClassFigures {
                name: answered.classes[c].clone(),
                measures,
                answered: answers.iter().filter(|a| **a == c).count(),
                auc: auc(&scores, &positive),
                roc: roc_curve(&scores, &positive),
            }
        };
        let classes = per_class(&confusion).into_iter().enumerate();
        Self {
            on: on.to_owned(),
            tracks: answers.len(),
            groups: answered.groups.iter().collect::<BTreeSet<_>>().len(),
            accuracy,
            macro_f1,
            per_class: classes.map(class).collect(),
            confusion,
        }
    }

    /// Classes predicted at least half as often again as they occur.
    pub(super) fn attractors(&self) -> impl Iterator<Item = &ClassFigures> {
        self.per_class.iter().filter(|class| {
            let support = class.measures.support;
            // at least three more, since in a small class half again is one or two tracks
            class.answered * 2 >= support * 3 && class.answered >= support + 3
        })
    }
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
        let of = |groups: &[usize]| intervals(&truth, &answers, groups, 2, |_| true)[0];
        let [narrow, wide] = [of(&single), of(&tens)];
        assert_eq!((narrow.value, wide.value), (0.75, 0.75));
        assert!(narrow.low > 0.68 && narrow.high < 0.82, "{narrow:?}");
        assert!(
            wide.high - wide.low > 2.0 * (narrow.high - narrow.low),
            "{wide:?} {narrow:?}"
        );
    }
}
