//! Compares runs with each other, and submissions with the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::LabError;
use super::report::{Interval, intervals};
use crate::dataset::read_cells;
use voisin_base::random::Random;
use voisin_genre::metrics::{confusion, per_class};

/// Draws of the bootstrap.
const DRAWS: usize = 2000;

/// A run's predictions for its held-out tracks: track to (label, prediction, its probability).
pub(super) fn answers_of(run: &Path) -> Result<BTreeMap<String, (String, String, f64)>, LabError> {
    let path = run.join("predictions.csv");
    let cells = read_cells(&path)?;
    let column = |name: &str| {
        let at = cells.column(&[name]);
        at.ok_or_else(|| {
            LabError::run(&path, format!("expected the column {name} of a run's file"))
        })
    };
    let [key, genre, split, predicted] = [
        column("path")?,
        column("genre")?,
        column("split")?,
        column("predicted")?,
    ];
    // With a test part the folds were used to choose the algorithm, so only the test part is compared.
    let has_test = cells.rows.iter().any(|(_, row)| row[split] == "test");
    let evaluated = cells
        .rows
        .iter()
        .filter(|(_, row)| !has_test || row[split] == "test");
    let surest = |row: &[String]| {
        row.iter()
            .skip(predicted + 1)
            // The columns after the prediction are the probabilities of the classes.
            .filter_map(|p| p.parse().ok())
            .fold(0.0, f64::max)
    };
    let answer = |row: &Vec<String>| (row[genre].clone(), row[predicted].clone(), surest(row));
    Ok(evaluated
        .map(|(_, row)| (row[key].clone(), answer(row)))
        .collect())
}

/// The group of each track of a run.
fn groups_of(run: &Path) -> Result<BTreeMap<String, String>, LabError> {
    let path = run.join("data.csv");
    let cells = read_cells(&path)?;
    let (Some(key), Some(group)) = (cells.column(&["path"]), cells.column(&["group"])) else {
        return Err(LabError::run(
            &path,
            "expected the columns path and group of a run's file",
        ));
    };
    Ok(cells
        .rows
        .iter()
        .map(|(_, row)| (row[key].clone(), row[group].clone()))
        .collect())
}

/// Two runs on the same tracks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first run.
    pub first: String,
    /// The other.
    pub second: String,
    /// Tracks with predictions of both.
    pub tracks: usize,
    /// Accuracy of each.
    pub accuracy: [f64; 2],
    /// Second minus first, with its interval over groups.
    pub difference: Interval,
    /// Tracks that only the first and only the second predicts correctly.
    pub only: [usize; 2],
    /// Probability of so uneven a split if both were equally good (McNemar's exact test).
    pub p_value: f64,
    /// Recall of each class: name, tracks, first, second.
    pub recall: Vec<(String, usize, f64, f64)>,
}

/// Compares a run with the first, on the tracks that both were evaluated on.
pub fn compare(first: &Path, second: &Path) -> Result<Comparison, LabError> {
    let a = answers_of(first)?;
    let b = answers_of(second)?;
    // only common tracks can be paired
    let both: Vec<&String> = a.keys().filter(|key| b.contains_key(*key)).collect();
    if both.is_empty() {
        return Err(LabError::Options(format!(
            "{} and {} were evaluated on no common track",
            first.display(),
            second.display()
        )));
    }
    // The groups of the first run, since the tracks are the same.
    let groups = groups_of(first)?;
    let mut drawn: BTreeMap<&str, Vec<(bool, bool)>> = BTreeMap::new();
    let mut recall: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for key in &both {
        let (truth, predicted, _) = &a[*key];
        let right = (truth == predicted, *truth == b[*key].1);
        // A track without a group is resampled alone.
        drawn
            .entry(groups.get(*key).map_or(key.as_str(), String::as_str))
            .or_default()
            .push(right);
        let counts = recall.entry(truth).or_default();
        *counts = (
            counts.0 + 1,
            counts.1 + usize::from(right.0),
            counts.2 + usize::from(right.1),
        );
    }
    let sums: Vec<(f64, f64)> = drawn
        .values()
        .map(|rows| {
            let points: i64 = rows
                .iter()
                .map(|(a, b)| i64::from(*b) - i64::from(*a))
                .sum();
            (points as f64, rows.len() as f64)
        })
        .collect();
    let share = |picked: &mut dyn Iterator<Item = usize>| {
        let (points, rows) = picked.fold((0.0, 0.0), |sum, at| {
            (sum.0 + sums[at].0, sum.1 + sums[at].1)
        });
        if rows > 0.0 { points / rows } else { 0.0 }
    };
    // Whole groups are resampled: tracks of one artist are right or wrong together, so resampling
    // single tracks would make the interval too narrow.
    let mut random = Random::new(1);
    let draws: Vec<f64> = (0..DRAWS)
        .map(|_| share(&mut (0..sums.len()).map(|_| random.below(sums.len()))))
        .collect();
    let pairs = || drawn.values().flatten();
    let only = [
        pairs().filter(|(a, b)| *a && !b).count(),
        pairs().filter(|(a, b)| *b && !a).count(),
    ];
    let n = both.len() as f64;
    Ok(Comparison {
        first: first.display().to_string(),
        second: second.display().to_string(),
        tracks: both.len(),
        accuracy: [
            pairs().filter(|(a, _)| *a).count() as f64 / n,
            pairs().filter(|(_, b)| *b).count() as f64 / n,
        ],
        difference: Interval::of_draws(share(&mut (0..sums.len())), draws),
        only,
        p_value: mcnemar(only[0], only[1]),
        recall: recall
            .into_iter()
            .map(|(name, (n, a, b))| (name.to_owned(), n, a as f64 / n as f64, b as f64 / n as f64))
            .collect(),
    })
}

/// Two-sided exact binomial test of a fair coin.
fn mcnemar(a: usize, b: usize) -> f64 {
    let n = a + b;
    // The binomial terms as logarithms: 2^-n is 0 in floating point beyond a thousand tracks.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=a.min(b) {
        tail += term.exp();
        term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    // where both counts are equal the middle term is in both tails
    (2.0 * tail).min(1.0)
}

/// The score of a submission.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Rows of the truth.
    pub rows: usize,
    /// Accuracy; missing rows count as wrong.
    pub accuracy: Interval,
    /// Mean recall over classes.
    pub balanced_accuracy: f64,
    /// Mean F1 over classes.
    pub macro_f1: f64,
    /// Names of the classes; the last is "(missing)" if rows are missing.
    pub classes: Vec<String>,
    /// Truth (row) against prediction (column).
    pub confusion: Vec<Vec<usize>>,
    /// F1 of each class.
    pub f1: Vec<f64>,
    /// Titles of the truth that the submission lacks.
    pub missing: Vec<String>,
    /// Titles of the submission that the truth lacks.
    pub unknown: Vec<String>,
}

/// Titles with labels, the headers of both columns, the separator.
type Pairs = (Vec<(String, String)>, [String; 2], u8);

/// A table's titles and labels, in order.
pub(super) fn pairs_of(path: &Path) -> Result<Pairs, LabError> {
    let cells = read_cells(path)?;
    let key = cells.column(&[
        "path", "file", "filename", "fichier", "titre", "title", "track", "track id", "id",
    ]);
    let label = cells.column(&["genre", "id genre", "label", "class", "classe", "predicted"]);
    let (Some(key), Some(label)) = (
        key,
        // Of two columns the other one has the labels, with any name.
        label.or_else(|| (cells.header.len() == 2).then_some(1)),
    ) else {
        let found = cells.header.join(", ");
        return Err(LabError::run(
            path,
            format!("expected a column of titles and one of labels, found {found}"),
        ));
    };
    let pairs = cells
        .rows
        .iter()
        .map(|(_, row)| (row[key].clone(), row[label].clone()))
        .collect();
    Ok((
        pairs,
        [cells.header[key].clone(), cells.header[label].clone()],
        cells.separator,
    ))
}

/// Scores a submission.
pub fn score(submission: &Path, truth: &Path) -> Result<Score, LabError> {
    const MISSING: &str = "(missing)";
    let (wanted, _, _) = pairs_of(truth)?;
    let (pairs, _, _) = pairs_of(submission)?;
    let mut submitted: BTreeMap<String, String> = BTreeMap::new();
    for (key, label) in pairs {
        // Scoring would take one of both labels, or refuse the file.
        if submitted.insert(key.clone(), label).is_some() {
            let problem = format!("expected each title once, found {key} twice");
            return Err(LabError::run(submission, problem));
        }
    }
    let known: BTreeSet<&String> = wanted.iter().map(|(key, _)| key).collect();
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(key, _)| !submitted.contains_key(key))
        .map(|(key, _)| key.clone())
        .collect();
    let names: BTreeSet<String> = wanted
        .iter()
        .map(|(_, label)| label.clone())
        .chain(submitted.values().cloned())
        .collect();
    let mut classes: Vec<String> = names.into_iter().collect();
    if !missing.is_empty() {
        classes.push(MISSING.to_owned());
    }
    let class = |name: &str| classes.iter().position(|other| other == name).unwrap_or(0);
    let truths: Vec<usize> = wanted.iter().map(|(_, label)| class(label)).collect();
    let answers: Vec<usize> = wanted
        .iter()
        .map(|(key, _)| class(submitted.get(key).map_or(MISSING, String::as_str)))
        .collect();
    let matrix = confusion(&truths, &answers, classes.len());
    // a submission has no groups, so every row is resampled alone
    let single: Vec<usize> = (0..truths.len()).collect();
    let [accuracy, balanced, f1] = intervals(&truths, &answers, &single, classes.len());
    Ok(Score {
        rows: wanted.len(),
        accuracy,
        balanced_accuracy: balanced.value,
        macro_f1: f1.value,
        f1: per_class(&matrix).iter().map(|class| class.f1).collect(),
        unknown: submitted
            .keys()
            .filter(|key| !known.contains(key))
            .cloned()
            .collect(),
        confusion: matrix,
        classes,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_test_is_that_of_a_fair_coin() {
        assert!((mcnemar(0, 5) - 0.0625).abs() < 1e-12);
        assert!((mcnemar(1, 9) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(4, 4) - 1.0).abs() < 1e-12 && (mcnemar(0, 0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_score_counts_missing_rows_as_wrong_and_lists_unknown_ones() {
        let folder = tempfile::tempdir().unwrap();
        let truth = folder.path().join("t.csv");
        let submission = folder.path().join("s.csv");
        std::fs::write(&truth, "titre,id_genre\na,1\nb,2\nc,1\nd,2\n").unwrap();
        std::fs::write(&submission, "titre;id_genre\nb;2\na;1\nc;2\nx;1\n").unwrap();
        let score = score(&submission, &truth).unwrap();
        assert_eq!((score.rows, score.accuracy.value), (4, 0.5));
        assert_eq!(
            (score.missing, score.unknown),
            (vec!["d".to_owned()], vec!["x".to_owned()])
        );
        assert_eq!(score.classes, ["1", "2", "(missing)"]);
    }

    #[test]
    fn a_submission_that_names_a_title_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let truth = folder.path().join("t.csv");
        let submission = folder.path().join("s.csv");
        std::fs::write(&truth, "titre,id_genre\na,1\nb,2\n").unwrap();
        std::fs::write(&submission, "titre,id_genre\na,2\nb,2\na,1\n").unwrap();
        let message = score(&submission, &truth).unwrap_err().to_string();
        assert!(message.contains("found a twice"), "{message}");
    }
}
