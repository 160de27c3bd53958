//! Tracks whose own label disagrees with what models say that never saw them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{FitOptions, Genre, GenreError, GenreModel, LabelledVectors, OutOfFold, QueryVectors};
use voisin_base::track::TrackId;

/// A track whose label looks wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suspect {
    /// The track.
    pub track: TrackId,
    /// Its row in the training set.
    pub row: usize,
    /// Its labels.
    pub labels: Vec<Genre>,
    /// The genre that it looks like.
    pub suggested: Genre,
    /// How much more probable the suggestion is than the track's own labels, in [-1, 1]; larger is
    /// more suspicious.
    pub score: f32,
    /// Whether it passes the test of confident learning: the suggestion is at least as probable as
    /// it usually is for tracks that bear it.
    pub confident: bool,
    /// Probability of the suggestion.
    pub suggested_probability: f32,
    /// Probability of its own labels.
    pub label_probability: f32,
    /// Why, in one sentence.
    pub reason: String,
}

/// Tracks by others that a label must have before it can be contradicted: models that leave out an
/// artist must still know the genre.
const OTHERS: usize = 5;

/// Tracks from which on two folds find about as many wrong labels as three.
const HALVED: usize = 15_000;

/// Ranks all tracks by how wrong their labels look, worst first.
///
/// A label that hardly anybody else's tracks bear is never confidently contradicted: nothing was
/// learnt of it.
///
/// Two rounds: predictions by models that had not seen the track's group; then once more without
/// the labels that were confidently contradicted, so that wrong labels do not vouch for each other.
/// Take those with [`Suspect::confident`] for a list to act on.
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
    let first = OutOfFold::of(set, options)?;
    let suspects = without_unlearnt(rank(&first, set.labels), set);
    let doubtful: Vec<usize> = suspects
        .iter()
        .filter(|s| s.confident)
        .map(|s| s.row)
        .collect();
    if doubtful.is_empty() {
        return Ok(suspects);
    }
    // Without the doubtful labels, so that two wrong ones cannot vouch for each other.
    let mut labels = set.labels.to_vec();
    for &row in &doubtful {
        labels[row].clear();
    }
    let cleaned = LabelledVectors {
        ids: set.ids,
        vectors: set.vectors.reborrow(),
        labels: &labels,
        groups: set.groups,
    };
    let Ok((model, mut second)) = GenreModel::fit(&cleaned, options) else {
        return Ok(suspects);
    };
    if second
        .genres
        .iter()
        .map(Genre::key)
        .ne(first.genres.iter().map(Genre::key))
    {
        // a genre lost all its tracks: the rounds no longer speak of the same classes
        return Ok(suspects);
    }
    // the doubtful ones were not trained on; their groups do not vote
    let vectors = set.vectors.select(ndarray::Axis(0), &doubtful);
    let groups: Vec<Option<usize>> = doubtful.iter().map(|&r| Some(set.groups[r])).collect();
    let answers = model.probabilities(&QueryVectors {
        exclude_groups: &groups,
        ..QueryVectors::of(vectors.view())
    })?;
    for (i, &row) in doubtful.iter().enumerate() {
        let Some(at) = first.rows.iter().position(|r| *r == row) else {
            continue;
        };
        second.rows.push(row);
        second.ids.push(first.ids[at]);
        second.classes.push(first.classes[at].clone());
        second.novelty.push(answers.novelty[i]);
        for (probabilities, row) in [
            (&mut second.fused, answers.fused.row(i)),
            (&mut second.head, answers.head.row(i)),
            (&mut second.vote, answers.vote.row(i)),
        ] {
            // rows of one width: the classes were compared above
            let _ = probabilities.push_row(row);
        }
    }
    Ok(without_unlearnt(rank(&second, set.labels), set))
}

/// Takes the confidence from suspects none of whose labels has enough tracks by others.
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
/// `labels`: of every row of the set the predictions were made for.
pub fn rank(oof: &OutOfFold, labels: &[Vec<Genre>]) -> Vec<Suspect> {
    let k = oof.genres.len();
    // how probable each genre usually is for tracks that bear it
    let mut usual = vec![(0.0f64, 0usize); k];
    for (i, classes) in oof.classes.iter().enumerate() {
        for &class in classes {
            usual[class].0 += f64::from(oof.fused[[i, class]]);
            usual[class].1 += 1;
        }
    }
    let usual: Vec<f32> = usual
        .iter()
        .map(|(sum, n)| (sum / (*n).max(1) as f64) as f32)
        .collect();
    let mut all: Vec<Suspect> = Vec::with_capacity(oof.rows.len());
    for (i, classes) in oof.classes.iter().enumerate() {
        let p = oof.fused.row(i);
        // Any of its labels may be right, so the likeliest of them stands for all.
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
            score: p[other] - label_probability,
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
