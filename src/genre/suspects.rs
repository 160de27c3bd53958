//! Tracks whose label disagrees with out-of-fold predictions.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{FitOptions, Genre, GenreError, LabelledVectors, OutOfFold};
use voisin_base::track::TrackId;

/// A track whose label looks wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suspect {
    pub track: TrackId,
    pub row: usize,
    pub labels: Vec<Genre>,
    pub suggested: Genre,
    /// The difference of the probabilities of the suggestion and of the track's labels, as a share
    /// of their sum, in [-1, 1]; larger is more suspicious.
    pub score: f32,
    /// Whether it passes the test of confident learning: the suggestion is at least as probable as
    /// its mean for tracks with that label.
    pub confident: bool,
    pub suggested_probability: f32,
    pub label_probability: f32,
    pub reason: String,
}

/// Fewest tracks by other artists with a label that can be contradicted, because models are trained
/// without the artist.
const OTHERS: usize = 5;

/// Tracks from which two folds find about as many wrong labels as three.
const HALVED: usize = 15_000;

/// Ranks all tracks by how wrong their labels look, worst first, by predictions of models that were
/// trained without their artist.
///
/// A label that few tracks by other artists have is never confidently contradicted, since models
/// could not learn it. Suspects with [`Suspect::confident`] are those to act on.
///
/// Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset
/// Labels", 2021.
pub fn suspects(set: &LabelledVectors, options: &FitOptions) -> Result<Vec<Suspect>, GenreError> {
    let labelled = set
        .labels
        .iter()
        .filter(|genres| !genres.is_empty())
        .count();
    let options = &FitOptions {
        folds: if labelled > HALVED { 2 } else { options.folds },
        ..options.clone()
    };
    let found = rank(&OutOfFold::of(set, options)?, set.labels);
    Ok(without_unlearnt(found, set))
}

/// Clears `confident` of suspects without a label that has enough tracks by other artists.
fn without_unlearnt(mut found: Vec<Suspect>, set: &LabelledVectors) -> Vec<Suspect> {
    let mut tracks_by_genre: HashMap<&Genre, HashMap<usize, usize>> = HashMap::new();
    for (labels, &group) in set.labels.iter().zip(set.groups) {
        for genre in labels {
            *tracks_by_genre
                .entry(genre)
                .or_default()
                .entry(group)
                .or_default() += 1;
        }
    }
    for suspect in found.iter_mut().filter(|suspect| suspect.confident) {
        suspect.confident = set.labels[suspect.row].iter().any(|genre| {
            let groups = tracks_by_genre.get(genre).into_iter().flatten();
            groups
                .filter(|(g, _)| **g != set.groups[suspect.row])
                .map(|(_, n)| n)
                .sum::<usize>()
                >= OTHERS
        });
    }
    found
}

/// Ranks tracks by out-of-fold predictions alone, worst first.
///
/// `labels`: of every row of the training set.
fn rank(oof: &OutOfFold, labels: &[Vec<Genre>]) -> Vec<Suspect> {
    let k = oof.genres.len();
    // The mean probability of each genre for tracks with that label.
    let mut usual = vec![(0.0f64, 0usize); k];
    for (i, classes) in oof.classes.iter().enumerate() {
        for &class in classes {
            usual[class].0 += f64::from(oof.probabilities[[i, class]]);
            usual[class].1 += 1;
        }
    }
    let usual: Vec<f32> = usual
        .iter()
        .map(|(sum, n)| (sum / (*n).max(1) as f64) as f32)
        .collect();
    let mut all: Vec<Suspect> = Vec::with_capacity(oof.rows.len());
    for (i, classes) in oof.classes.iter().enumerate() {
        let p = oof.probabilities.row(i);
        // Any of its labels may be right, so the most likely of them counts.
        let label_probability = classes.iter().map(|&c| p[c]).fold(0.0, f32::max);
        let others = (0..k).filter(|c| !classes.contains(c));
        let Some(other) = others.max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a))) else {
            continue;
        };
        let confident = p[other] > label_probability && p[other] >= usual[other];
        let suggested = oof.genres[other].clone();
        let labels_of_track: Vec<&str> = classes.iter().map(|&c| oof.genres[c].name()).collect();
        let reason = format!(
            "labelled {}, but looks like {suggested}: {:.0} %, its own label {:.0} %",
            labels_of_track.join(" and "),
            100.0 * p[other],
            100.0 * label_probability,
        );
        all.push(Suspect {
            track: oof.ids[i],
            row: oof.rows[i],
            labels: labels.get(oof.rows[i]).cloned().unwrap_or_default(),
            // The ratio of both finds more wrong labels than their difference.
            score: (p[other] - label_probability) / (p[other] + label_probability).max(1e-9),
            suggested_probability: p[other],
            suggested,
            confident,
            label_probability,
            reason,
        });
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    all
}
