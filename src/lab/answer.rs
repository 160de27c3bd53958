//! Predictions of a finished run for other tracks, a challenge's submission file, and vectors of tracks.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use ndarray::Array2;
use ndarray_npy::WriteNpyExt as _;

use super::compare::Labels;
use super::matrix::Matrix;
use super::model::Model;
use super::report::Report;
use super::{LabError, csv_bytes};
use crate::dataset::Fault;
use voisin_audio::tags::read_tags;
use voisin_base::output::OutputTarget;
use voisin_genre::metrics::argmax;

#[derive(Debug, Clone)]
pub struct RunPredictions {
    pub classes: Vec<String>,
    pub keys: Vec<String>,
    /// `[tracks, classes]`
    pub probabilities: Array2<f32>,
    pub faults: Vec<Fault>,
}

impl RunPredictions {
    pub fn best(&self, row: usize) -> (&str, f32) {
        let p = self.probabilities.row(row);
        let class = argmax(p);
        (&self.classes[class], p[class])
    }

    /// Takes a matrix of probabilities, a column for each class.
    pub fn of(matrix: &Matrix) -> Self {
        Self {
            classes: matrix.columns.clone(),
            keys: matrix.rows.iter().map(|row| row.item.key.clone()).collect(),
            probabilities: matrix.values.clone(),
            faults: matrix.faults.clone(),
        }
    }
}

/// Predicts with a run's model from the features that it was trained on.
pub fn predict(run: &Path, matrix: &Matrix) -> Result<RunPredictions, LabError> {
    let path = run.join("model.safetensors");
    let model = Model::read(&path)?;
    // Compared by name: columns in another order would give wrong predictions without an error.
    if model.columns != matrix.columns {
        let [n, m] = [&model.columns, &matrix.columns].map(Vec::len);
        let mut pairs = model.columns.iter().zip(&matrix.columns);
        let first = pairs.find(|(a, b)| a != b);
        let found = first.map_or_else(String::new, |(a, b)| format!(": {b} where {a} is expected"));
        let problem = format!("expects {n} columns, the data gives {m}{found}");
        return Err(LabError::run(&path, problem));
    }
    Ok(RunPredictions {
        classes: model.classes.clone(),
        probabilities: model.probabilities(matrix.values.view()),
        ..RunPredictions::of(matrix)
    })
}

/// Writes one row for every title, in the order and form of a sample file or else of the predicted table.
///
/// Titles that could not be decoded get the commonest class of the training tracks; they are
/// returned. Nothing is written if a requested title is in no row of the data.
pub fn write_submission(
    output: &OutputTarget,
    run: &Path,
    predicted: &RunPredictions,
    keys: &[String],
    like: Option<&Path>,
) -> Result<Vec<String>, LabError> {
    let report = Report::read(run)?;
    let (wanted, header, separator) = if let Some(sample) = like {
        let sample = Labels::read(sample)?;
        let titles = sample.pairs.into_iter().map(|(key, _)| key);
        (titles.collect(), sample.header, sample.separator)
    } else {
        let data = &report.data;
        let header = [data.key_name.clone(), data.label_name.clone()];
        (keys.to_vec(), header, b',')
    };
    check_titles(&wanted, keys)
        .map_err(|problem| LabError::run(like.unwrap_or(output.path()), problem))?;
    let predictions = predicted.keys.iter().enumerate();
    let predictions = predictions.map(|(row, key)| (key, predicted.best(row).0));
    let predictions: HashMap<&String, &str> = predictions.collect();
    let commonest = argmax(report.data.sizes.iter().copied());
    let commonest = report.classes.get(commonest).map_or("", String::as_str);
    let rows = wanted.iter().map(|key| {
        // A submission needs a row for every title, and a guess is better than none.
        let answer = predictions.get(key).copied().unwrap_or(commonest);
        [key.clone(), answer.to_owned()]
    });
    output.write(csv_bytes(&header, separator, rows))?;
    let undecoded = wanted.iter().filter(|key| !predictions.contains_key(key));
    Ok(undecoded.cloned().collect())
}

/// Scoring compares row by row: a missing or duplicate title would shift or invalidate the file, so nothing is written
/// unless every title occurs exactly once.
fn check_titles(wanted: &[String], keys: &[String]) -> Result<(), String> {
    let known: HashSet<&String> = keys.iter().collect();
    let mut seen = HashSet::new();
    for title in wanted {
        let problem = match (seen.insert(title), known.contains(title)) {
            (true, true) => continue,
            (false, _) => "requested twice",
            _ => "requested and in no row of the data",
        };
        return Err(format!("{title} is {problem}; nothing is written"));
    }
    Ok(())
}

/// Writes a matrix of vectors (float32, `[tracks, numbers]`), and the table of its tracks, both as `add --vectors` reads
/// them. What the data set does not name is taken from the files' tags.
pub fn write_vectors(
    vectors: &OutputTarget,
    table: &OutputTarget,
    matrix: &Matrix,
) -> Result<(), LabError> {
    let header = ["path", "title", "artist", "album", "genre"].map(str::to_owned);
    let mut rows = Vec::new();
    for row in &matrix.rows {
        let item = &row.item;
        let path = item.path.as_deref().unwrap_or(Path::new(""));
        // A library's paths do not depend on the folder of a command.
        let path = std::path::absolute(path).map_err(LabError::io(path))?;
        let tags = read_tags(&path).unwrap_or_default();
        let genres = tags.genres.join(";");
        rows.push([
            path.to_string_lossy().into_owned(),
            tags.title.unwrap_or_default(),
            item.artist.clone().or(tags.artist).unwrap_or_default(),
            item.album.clone().or(tags.album).unwrap_or_default(),
            item.label.clone().unwrap_or(genres),
        ]);
    }
    let mut bytes = Vec::new();
    matrix
        .values
        .write_npy(&mut bytes)
        .map_err(|error| LabError::run(vectors.path(), error.to_string()))?;
    vectors.write(bytes)?;
    table.write(csv_bytes(&header, b',', rows))?;
    Ok(())
}
