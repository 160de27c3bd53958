//! Combines a network's predictions for the windows of a track into one for the track.

use voisin_learn::metrics::argmax;

/// The mean of the windows' probabilities.
///
/// - `windows`: probabilities of the classes for each window
pub fn mean(windows: &[Vec<f32>]) -> Vec<f32> {
    let share = 1.0 / windows.len().max(1) as f32;
    let mut joined = vec![0.0; windows.first().map_or(0, Vec::len)];
    for window in windows {
        for (sum, p) in joined.iter_mut().zip(window) {
            *sum += share * p;
        }
    }
    joined
}

/// The share of windows whose likeliest class each class is.
pub fn votes(windows: &[Vec<f32>]) -> Vec<f32> {
    let share = 1.0 / windows.len().max(1) as f32;
    let mut joined = vec![0.0; windows.first().map_or(0, Vec::len)];
    for window in windows {
        joined[argmax(window)] += share;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_joined_by_their_mean_or_their_votes() {
        let windows = [
            vec![0.6, 0.4, 0.0],
            vec![0.5, 0.3, 0.2],
            vec![0.1, 0.9, 0.0],
            vec![0.4, 0.35, 0.25],
        ];
        let near = |found: Vec<f32>, expected: [f32; 3]| {
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(near(mean(&windows), [0.4, 0.4875, 0.1125]));
        assert!(near(votes(&windows), [0.75, 0.25, 0.0]));
    }
}
