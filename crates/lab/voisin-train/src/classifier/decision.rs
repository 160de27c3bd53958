//! Combines a network's predictions for the windows of a track into one for the track.

use serde::{Deserialize, Serialize};

use voisin_learn::metrics::argmax;

/// How predictions for windows are combined (Kittler, Hatef, Duin and Matas, "On combining classifiers", 1998).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The mean of the probabilities.
    #[default]
    Mean,
    /// Every window votes for its likeliest class.
    Vote,
    /// The geometric mean of the probabilities.
    Product,
    /// The median of each class's probabilities.
    Median,
    /// The largest of each class's probabilities.
    Max,
}

impl Decision {
    /// All of them.
    pub const ALL: [(&str, Self); 5] = [
        ("mean", Self::Mean),
        ("vote", Self::Vote),
        ("product", Self::Product),
        ("median", Self::Median),
        ("max", Self::Max),
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, other)| *other == self)
            .map_or("", |(name, _)| name)
    }

    /// The probabilities of a track's classes.
    ///
    /// - `windows`: probabilities of the classes for each window
    pub fn join(self, windows: &[Vec<f32>]) -> Vec<f32> {
        let classes = windows.first().map_or(0, Vec::len);
        let probabilities_of = |class: usize| windows.iter().map(move |p| p[class]);
        let share = 1.0 / windows.len().max(1) as f32;
        let joined: Vec<f32> = match self {
            // Returned at once: a mean of probabilities already adds up to 1.
            Self::Mean => {
                return (0..classes)
                    .map(|class| probabilities_of(class).fold(0.0, |sum, p| sum + share * p))
                    .collect();
            }
            Self::Vote => {
                let answers: Vec<usize> = windows.iter().map(argmax).collect();
                (0..classes)
                    .map(|class| answers.iter().filter(|answer| **answer == class).count() as f32)
                    .collect()
            }
            Self::Product => {
                let logs: Vec<f32> = (0..classes)
                    .map(|class| {
                        // A probability of 0 in one window must not exclude the class; 1e-30 is still representable.
                        probabilities_of(class)
                            .map(|p| share * p.max(1e-30).ln())
                            .sum()
                    })
                    .collect();
                logs.into_iter().map(f32::exp).collect()
            }
            Self::Median => (0..classes)
                .map(|class| median(probabilities_of(class).collect()))
                .collect(),
            Self::Max => (0..classes)
                .map(|class| probabilities_of(class).fold(0.0, f32::max))
                .collect(),
        };
        let sum: f32 = joined.iter().sum();
        joined
            .into_iter()
            .map(|p| {
                if sum > 0.0 {
                    p / sum
                } else {
                    1.0 / classes as f32
                }
            })
            .collect()
    }
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let low = values[(values.len() - 1) / 2];
    let high = values[values.len() / 2];
    f32::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decision_joins_windows_by_its_rule() {
        let windows = [
            vec![0.6, 0.4, 0.0],
            vec![0.5, 0.3, 0.2],
            vec![0.1, 0.9, 0.0],
            vec![0.4, 0.35, 0.25],
        ];
        for (how, expected) in [
            (Decision::Mean, [0.4, 0.4875, 0.1125]),
            (Decision::Vote, [0.75, 0.25, 0.0]),
            (Decision::Median, [0.45 / 0.925, 0.375 / 0.925, 0.1 / 0.925]),
            (Decision::Max, [0.6 / 1.75, 0.9 / 1.75, 0.25 / 1.75]),
        ] {
            let found = how.join(&windows);
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6),
                "{how:?}: {found:?}"
            );
        }
        let product = Decision::Product.join(&windows);
        // fourth roots of 0.012 and 0.0378
        assert!(
            (product[0] / product[1] - (0.012f32 / 0.0378).powf(0.25)).abs() < 1e-5
                && product[2] < 1e-6
        );
        for (name, how) in Decision::ALL {
            assert_eq!(how.name(), name);
            assert!(
                (how.join(&[vec![0.2, 0.8]])[1] - if name == "vote" { 1.0 } else { 0.8 }).abs()
                    < 1e-6
            );
        }
    }
}
