//! Predictions of a network for windows, and for tracks from them.

use ndarray::Array2;

use crate::LabError;
use crate::training::mean;
use voisin_genre::metrics::argmax;

/// Outputs of a network, `[track][window][class]`.
pub(super) type WindowProbabilities = Vec<Vec<Vec<f32>>>;

/// `[tracks, classes]`
pub(super) fn joined(windows: &WindowProbabilities) -> Result<Array2<f32>, LabError> {
    let rows: Vec<Vec<f32>> = windows.iter().map(|windows| mean(windows)).collect();
    let shape = (rows.len(), rows.first().map_or(0, Vec::len));
    Array2::from_shape_vec(shape, rows.concat())
        .map_err(|error| LabError::Options(error.to_string()))
}

/// The share of windows whose likeliest class each class is.
fn votes(windows: &[Vec<f32>]) -> Vec<f32> {
    let one_hot = |window: &Vec<f32>| {
        let best = argmax(window);
        (0..window.len())
            .map(|class| if class == best { 1.0 } else { 0.0 })
            .collect()
    };
    mean(&windows.iter().map(one_hot).collect::<Vec<_>>())
}

/// Accuracy of single windows, and of tracks by the windows' mean and by their votes; empty if each track has one window.
pub(super) fn decisions(windows: &WindowProbabilities, truth: &[usize]) -> Vec<(String, f64)> {
    let all: usize = windows.iter().map(Vec::len).sum();
    // With one window each, all are the same.
    if all <= windows.len() {
        return Vec::new();
    }
    let right = |(windows, truth): (&Vec<Vec<f32>>, &usize)| {
        windows
            .iter()
            .filter(|p| argmax(p.iter().copied()) == *truth)
            .count()
    };
    let single = windows.iter().zip(truth).map(right).sum::<usize>() as f64 / all as f64;
    let by = |join: fn(&[Vec<f32>]) -> Vec<f32>| {
        let answers = windows.iter().map(|windows| argmax(join(windows)));
        answers
            .zip(truth)
            .filter(|(predicted, truth)| predicted == *truth)
            .count() as f64
            / windows.len() as f64
    };
    [
        ("single windows", single),
        ("tracks by mean", by(mean)),
        ("tracks by vote", by(votes)),
    ]
    .map(|(name, share)| (name.to_owned(), share))
    .into()
}
