//! Predictions of a finished run for other tracks, and a challenge's submission file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ndarray::Array2;

use super::compare::{answers_of, pairs_of};
use super::matrix::Matrix;
use super::model::Model;
use super::report::Report;
use super::{LabError, csv_bytes};
use crate::dataset::Fault;
use voisin_base::output::OutputTarget;
use voisin_learn::metrics::{argmax, risk_coverage};

/// Predictions for the tracks of a data set.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The key of each track.
    pub keys: Vec<String>,
    /// `[tracks, classes]`
    pub probabilities: Array2<f32>,
    /// Tracks that could not be decoded.
    pub faults: Vec<Fault>,
    /// Below this probability the prediction is "unknown".
    pub least: f32,
}

/// Stands for a class where none is probable enough.
pub const UNKNOWN: &str = "unknown";

/// The lowest probability at which a run's predictions reach a precision, measured on its held-out
/// tracks; more than 1 where not even the surest predictions reach it.
pub fn least_probability(run: &Path, precision: f32) -> Result<f32, LabError> {
    let outcomes: Vec<(f64, bool)> = answers_of(run)?
        .into_values()
        .map(|(truth, predicted, p)| (p, truth == predicted))
        .collect();
    // From the surest prediction on, so that the last step that is precise enough answers most.
    let steps = risk_coverage(&outcomes);
    let enough = steps
        .iter()
        .rev()
        .find(|step| 1.0 - step.risk >= f64::from(precision));
    // predictions.csv holds six decimals, so a track at the threshold may have been rounded up to
    // it
    Ok(enough.map_or(2.0, |step| step.threshold as f32 - 1e-6))
}

impl Answered {
    /// The class of a track and its probability.
    pub fn best(&self, row: usize) -> (&str, f32) {
        let p = self.probabilities.row(row);
        let class = argmax(p);
        (&self.classes[class], p[class])
    }

    /// The class of a track where it is probable enough.
    pub fn genre(&self, row: usize) -> Option<&str> {
        let (class, p) = self.best(row);
        (p >= self.least).then_some(class)
    }

    /// From a matrix of probabilities, a column for each class.
    pub fn of(matrix: &Matrix) -> Self {
        Self {
            classes: matrix.columns.clone(),
            keys: matrix.rows.iter().map(|row| row.item.key.clone()).collect(),
            probabilities: matrix.values.clone(),
            faults: matrix.faults.clone(),
            least: 0.0,
        }
    }
}

/// Applies a run's model to rows of the features that it was trained on.
pub fn ask(run: &Path, matrix: &Matrix) -> Result<Answered, LabError> {
    let path = run.join("model.safetensors");
    let model = Model::read(&path)?;
    // Compared by name: columns in another order would be answered without an error, and wrongly.
    if model.columns != matrix.columns {
        let n = model.columns.len();
        let m = matrix.columns.len();
        let first = model
            .columns
            .iter()
            .zip(&matrix.columns)
            .find(|(a, b)| a != b);
        let found = first.map_or_else(String::new, |(a, b)| format!(": {b} where {a} is expected"));
        return Err(LabError::run(
            &path,
            format!("expects {n} columns, the data gives {m}{found}"),
        ));
    }
    Ok(Answered {
        classes: model.classes.clone(),
        probabilities: model.probabilities(matrix.values.view()),
        ..Answered::of(matrix)
    })
}

/// Writes one row for every wanted title: in the order and form of a sample file, else of the
/// predicted table.
///
/// Titles that could not be decoded get the commonest class of the training tracks; they are
/// returned. Nothing is written where a wanted title is in no row of the data.
pub fn write_submission(
    output: &OutputTarget,
    run: &Path,
    answered: &Answered,
    keys: &[String],
    like: Option<&Path>,
) -> Result<Vec<String>, LabError> {
    let report = Report::read(run)?;
    let (wanted, header, separator): (Vec<String>, [String; 2], u8) = match like {
        Some(sample) => {
            let (pairs, header, separator) = pairs_of(sample)?;
            (
                pairs.into_iter().map(|(key, _)| key).collect(),
                header,
                separator,
            )
        }
        None => (
            keys.to_vec(),
            [report.data.key_name.clone(), report.data.label_name.clone()],
            b',',
        ),
    };
    let predictions: HashMap<&str, &str> = answered
        .keys
        .iter()
        .enumerate()
        .map(|(row, key)| (key.as_str(), answered.best(row).0))
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    wanted
        .iter()
        .for_each(|key| *counts.entry(key).or_default() += 1);
    // A jury compares row by row: a missing or doubled title would shift or void the whole file, so
    // nothing is written until every title is known exactly once.
    let twice: Vec<&str> = counts
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(key, _)| *key)
        .collect();
    let known: std::collections::HashSet<&str> = keys.iter().map(String::as_str).collect();
    let strange: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|key| !known.contains(key))
        .collect();
    for (found, word) in [
        (&twice, "wanted twice"),
        (&strange, "wanted and in no row of the data"),
    ] {
        if !found.is_empty() {
            let first = found.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let where_from = like.unwrap_or(output.path());
            let problem = format!(
                "{} titles are {word}: {first}; nothing is written",
                found.len()
            );
            return Err(LabError::run(where_from, problem));
        }
    }
    let commonest = argmax(report.data.sizes.iter().copied());
    let commonest = report.classes.get(commonest).map_or("", String::as_str);
    let unheard: Vec<String> = wanted
        .iter()
        .filter(|key| !predictions.contains_key(key.as_str()))
        .cloned()
        .collect();
    let rows = wanted.iter().map(|key| {
        // A jury wants a row for every title, and a guess is better than none.
        let answer = predictions.get(key.as_str()).copied().unwrap_or(commonest);
        [key.clone(), answer.to_owned()]
    });
    output.write(csv_bytes(&header, separator, rows))?;
    Ok(unheard)
}
