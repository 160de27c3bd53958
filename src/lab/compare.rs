//! Compares runs with each other, and submissions with the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::LabError;
use super::report::{Interval, intervals};
use crate::dataset::{Cells, KEYS, LABELS, read_cells};
use voisin_base::random::Random;

const DRAWS: usize = 2000;

fn columns_of<const N: usize>(
    path: &Path,
    cells: &Cells,
    names: [&str; N],
) -> Result<[usize; N], LabError> {
    let found = names.map(|name| cells.column(&[name]));
    if found.contains(&None) {
        let problem = format!("expected the columns {} of a run's file", names.join(", "));
        return Err(LabError::run(path, problem));
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// A run's predictions for its held-out tracks: track to label and prediction.
fn answers_of(run: &Path) -> Result<BTreeMap<String, (String, String)>, LabError> {
    let path = run.join("predictions.csv");
    let cells = read_cells(&path)?;
    let names = ["path", "genre", "split", "predicted"];
    let [key, genre, split, predicted] = columns_of(&path, &cells, names)?;
    // With a test part the folds were used to choose the algorithm, so only the test part is compared.
    let has_test = cells.rows.iter().any(|(_, row)| row[split] == "test");
    let rows = cells.rows.into_iter();
    let evaluated = rows.filter(|(_, row)| !has_test || row[split] == "test");
    Ok(evaluated
        .map(|(_, row)| {
            let answer = (row[genre].clone(), row[predicted].clone());
            (row[key].clone(), answer)
        })
        .collect())
}

fn groups_of(run: &Path) -> Result<BTreeMap<String, String>, LabError> {
    let path = run.join("data.csv");
    let cells = read_cells(&path)?;
    let [key, group] = columns_of(&path, &cells, ["path", "group"])?;
    let rows = cells.rows.into_iter();
    Ok(rows
        .map(|(_, row)| (row[key].clone(), row[group].clone()))
        .collect())
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub first: String,
    pub second: String,
    /// Tracks with predictions of both.
    pub tracks: usize,
    pub accuracy: [f64; 2],
    /// Second minus first, with its interval over groups.
    pub difference: Interval,
}

/// Compares a run with the first, on the tracks that both were evaluated on.
pub fn compare(first: &Path, second: &Path) -> Result<Comparison, LabError> {
    let a = answers_of(first)?;
    let b = answers_of(second)?;
    // The groups of the first run, since the tracks are the same.
    let groups = groups_of(first)?;
    let mut drawn: BTreeMap<&str, Vec<[bool; 2]>> = BTreeMap::new();
    for (key, (truth, predicted)) in &a {
        // only common tracks can be paired
        let Some((_, other)) = b.get(key) else {
            continue;
        };
        let right = [truth == predicted, truth == other];
        // A track without a group is resampled alone.
        let group = groups.get(key).unwrap_or(key);
        drawn.entry(group).or_default().push(right);
    }
    let pairs: Vec<[bool; 2]> = drawn.values().flatten().copied().collect();
    if pairs.is_empty() {
        return Err(LabError::Options(format!(
            "{} and {} were evaluated on no common track",
            first.display(),
            second.display()
        )));
    }
    let share = |which: usize| {
        pairs.iter().filter(|right| right[which]).count() as f64 / pairs.len() as f64
    };
    Ok(Comparison {
        first: first.display().to_string(),
        second: second.display().to_string(),
        tracks: pairs.len(),
        accuracy: [0, 1].map(share),
        difference: difference(&drawn.into_values().collect::<Vec<_>>()),
    })
}

/// The difference in accuracy. Whole groups are resampled: tracks of one artist are right or wrong together, so resampling
/// single tracks would make the interval too narrow.
fn difference(groups: &[Vec<[bool; 2]>]) -> Interval {
    let sum = |group: &Vec<[bool; 2]>| -> (f64, f64) {
        let points = group.iter();
        let points = points.map(|right| f64::from(i8::from(right[1]) - i8::from(right[0])));
        (points.sum(), group.len() as f64)
    };
    let sums: Vec<(f64, f64)> = groups.iter().map(sum).collect();
    let share = |picked: &mut dyn Iterator<Item = usize>| {
        let (points, rows) = picked.fold((0.0, 0.0), |sum, at| {
            (sum.0 + sums[at].0, sum.1 + sums[at].1)
        });
        points / f64::max(rows, 1.0)
    };
    let mut random = Random::new(1);
    let n = sums.len();
    let draws = (0..DRAWS).map(|_| share(&mut (0..n).map(|_| random.below(n))));
    let draws = draws.collect();
    Interval::of_draws(share(&mut (0..n)), draws)
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    pub rows: usize,
    /// Missing rows count as wrong.
    pub accuracy: Interval,
    /// Mean F1 over classes.
    pub macro_f1: f64,
    /// Titles of the truth that the submission lacks.
    pub missing: Vec<String>,
    /// Titles of the submission that the truth lacks.
    pub unknown: Vec<String>,
}

pub(super) struct Labels {
    pub(super) pairs: Vec<(String, String)>,
    /// The headers of both columns.
    pub(super) header: [String; 2],
    pub(super) separator: u8,
}

impl Labels {
    pub(super) fn read(path: &Path) -> Result<Self, LabError> {
        let cells = read_cells(path)?;
        let label = cells
            .column(LABELS)
            .or_else(|| cells.column(&["predicted"]));
        // Of two columns the other one has the labels, with any name.
        let label = label.or_else(|| (cells.header.len() == 2).then_some(1));
        let (Some(key), Some(label)) = (cells.column(KEYS), label) else {
            let found = cells.header.join(", ");
            let problem = format!("expected a column of titles and one of labels, found {found}");
            return Err(LabError::run(path, problem));
        };
        let pair = |(_, row): &(u64, Vec<String>)| (row[key].clone(), row[label].clone());
        Ok(Self {
            pairs: cells.rows.iter().map(pair).collect(),
            header: [key, label].map(|column| cells.header[column].clone()),
            separator: cells.separator,
        })
    }
}

pub fn score(submission: &Path, truth: &Path) -> Result<Score, LabError> {
    let wanted = Labels::read(truth)?.pairs;
    let mut submitted: BTreeMap<String, String> = BTreeMap::new();
    for (key, label) in Labels::read(submission)?.pairs {
        // Scoring would take one of both labels, or refuse the file.
        if submitted.insert(key.clone(), label).is_some() {
            let problem = format!("expected each title once, found {key} twice");
            return Err(LabError::run(submission, problem));
        }
    }
    let known: BTreeSet<&String> = wanted.iter().map(|(key, _)| key).collect();
    let labels = wanted.iter().map(|(_, label)| label);
    let names: BTreeSet<&String> = labels.chain(submitted.values()).collect();
    let classes: Vec<&String> = names.into_iter().collect();
    // A missing row has a class of its own, which is always wrong.
    let class = |name: &String| classes.binary_search(&name).unwrap_or(classes.len());
    let truths: Vec<usize> = wanted.iter().map(|(_, label)| class(label)).collect();
    let answer = |(key, _): &(String, String)| submitted.get(key).map_or(classes.len(), class);
    let answers: Vec<usize> = wanted.iter().map(answer).collect();
    // a submission has no groups, so every row is resampled alone
    let single: Vec<usize> = (0..truths.len()).collect();
    let [accuracy, f1] = intervals(&truths, &answers, &single, classes.len() + 1, |_| true);
    let missing = wanted.iter().map(|(key, _)| key);
    let missing = missing.filter(|key| !submitted.contains_key(*key));
    let unknown = submitted.keys().filter(|key| !known.contains(key));
    Ok(Score {
        rows: wanted.len(),
        accuracy,
        macro_f1: f1.value,
        missing: missing.cloned().collect(),
        unknown: unknown.cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_missing_rows_and_lists_unknown_ones_and_a_title_twice_is_refused() {
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
        std::fs::write(&submission, "titre,id_genre\na,2\nb,2\na,1\n").unwrap();
        let message = super::score(&submission, &truth).unwrap_err().to_string();
        assert!(message.contains("found a twice"), "{message}");
    }
}
