//! Measures of classification, each as scikit-learn defines it (checked to 1e-9 in
//! `tests/parts/genre/metrics.rs`).
//!
//! Classes are numbers `0..classes`. Everything is computed in
//! f64.

use serde::{Deserialize, Serialize};

/// The position of the largest value, the first of equals; 0 if there is none.
pub fn argmax<T: PartialOrd>(values: impl IntoIterator<Item = T>) -> usize {
    let largest = values
        .into_iter()
        .enumerate()
        .reduce(|best, here| if here.1 > best.1 { here } else { best });
    largest.map_or(0, |(place, _)| place)
}

/// Mean of repeated measurements, and the standard deviation between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub mean: f64,
    /// Sample standard deviation; 0 for a single value.
    pub deviation: f64,
}

impl Spread {
    /// The spread of `values`; zeros if there are none.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Self {
            mean,
            deviation: if values.len() > 1 {
                (square / (n - 1.0)).sqrt()
            } else {
                0.0
            },
        }
    }
}

/// Counts of true class (row) against prediction (column), `[classes][classes]`.
pub fn confusion(truth: &[usize], answer: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (&t, &a) in truth.iter().zip(answer) {
        counts[t][a] += 1;
    }
    counts
}

/// Share of predictions on the diagonal of a confusion matrix; 0 for an empty one.
pub fn accuracy(confusion: &[Vec<usize>]) -> f64 {
    let correct: usize = confusion.iter().enumerate().map(|(c, row)| row[c]).sum();
    ratio(correct, confusion.iter().flatten().sum())
}

/// Mean F1 over the classes that occur in truth or predictions.
pub fn macro_f1(confusion: &[Vec<usize>]) -> f64 {
    macro_f1_of(confusion, |_| true)
}

/// [`macro_f1`] over some of the classes.
pub fn macro_f1_of(confusion: &[Vec<usize>], counts: impl Fn(usize) -> bool) -> f64 {
    // A class that is neither in truth nor in predictions has no F1; one only in predictions has 0.
    let present: Vec<f64> = per_class(confusion)
        .iter()
        .enumerate()
        .filter(|(c, m)| counts(*c) && (m.support > 0 || confusion.iter().any(|row| row[*c] > 0)))
        .map(|(_, m)| m.f1)
        .collect();
    present.iter().sum::<f64>() / present.len().max(1) as f64
}

/// Measures of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassMeasures {
    pub support: usize,
    /// Share of predictions of this class that are right; 0 without any.
    pub precision: f64,
    /// Share of its tracks that were found; 0 without any.
    pub recall: f64,
    pub f1: f64,
}

pub fn per_class(confusion: &[Vec<usize>]) -> Vec<ClassMeasures> {
    (0..confusion.len())
        .map(|c| {
            let correct = confusion[c][c];
            let support: usize = confusion[c].iter().sum();
            let answered: usize = confusion.iter().map(|row| row[c]).sum();
            ClassMeasures {
                support,
                precision: ratio(correct, answered),
                recall: ratio(correct, support),
                f1: ratio(2 * correct, support + answered),
            }
        })
        .collect()
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// A point of a ROC curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Share of negatives at or above the threshold.
    pub false_positive: f64,
    /// Share of positives at or above it.
    pub true_positive: f64,
}

/// The ROC curve from (0, 0) to (1, 1), one point per distinct score, without those on a straight
/// line between their neighbours; empty unless both kinds are present.
pub fn roc_curve(scores: &[f64], positive: &[bool]) -> Vec<RocPoint> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return Vec::new();
    }
    let mut counts = vec![(0usize, 0usize)];
    let mut f = 0;
    let mut t = 0;
    for (at, &i) in order.iter().enumerate() {
        if positive[i] {
            t += 1;
        } else {
            f += 1;
        }
        if order
            .get(at + 1)
            .is_none_or(|&next| scores[next] != scores[i])
        {
            // Drops points on a straight line. Cross products of integers are exact, unlike
            // slopes.
            while let [.., a, b] = counts[..] {
                if (b.0 - a.0) * (t - b.1) != (f - b.0) * (b.1 - a.1) {
                    break;
                }
                counts.pop();
            }
            counts.push((f, t));
        }
    }
    counts
        .into_iter()
        .map(|(f, t)| RocPoint {
            false_positive: ratio(f, negatives),
            true_positive: ratio(t, positives),
        })
        .collect()
}

/// Area under the ROC curve: the probability that a positive scores above a negative, ties half.
///
/// `None` unless both kinds are present. Higher is better.
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut rank_sum = 0.0;
    let mut at = 0;
    while at < order.len() {
        let mut end = at;
        while end < order.len() && scores[order[end]] == scores[order[at]] {
            end += 1;
        }
        // Ties share the mean of their ranks (Mann and Whitney, 1947).
        let rank = (at + 1 + end) as f64 / 2.0;
        rank_sum += rank * order[at..end].iter().filter(|&&i| positive[i]).count() as f64;
        at = end;
    }
    Some(
        (rank_sum - (positives * (positives + 1)) as f64 / 2.0)
            / (positives as f64 * negatives as f64),
    )
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    pub count: usize,
    pub probability: f64,
    pub accuracy: f64,
}

/// Predictions in equal bins of (0, 1]; empty bins have zeros.
fn reliability(answers: &[(f64, bool)], bins: usize) -> Vec<ReliabilityBin> {
    let mut sums = vec![(0usize, 0.0, 0usize); bins];
    for &(p, right) in answers {
        // bin i is (i / bins, (i + 1) / bins]
        let bin = ((p * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += usize::from(right);
    }
    sums.into_iter()
        .map(|(count, p, right)| ReliabilityBin {
            count,
            probability: p / count.max(1) as f64,
            accuracy: ratio(right, count),
        })
        .collect()
}

/// Expected calibration error: mean over equal bins of (0, 1] of |share right - mean probability|,
/// by bin size.
///
/// `answers`: probability of each prediction, and whether it was right. Lower is better. Guo et
/// al., "On Calibration of Modern Neural Networks", 2017.
pub fn expected_calibration_error(answers: &[(f64, bool)], bins: usize) -> f64 {
    reliability(answers, bins)
        .iter()
        .map(|b| ratio(b.count, answers.len()) * (b.accuracy - b.probability).abs())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_never_occur_do_not_count() {
        let m = confusion(&[0, 0, 1], &[0, 1, 1], 4);
        assert_eq!(m[0], [1, 1, 0, 0]);
        assert!((accuracy(&m) - 2.0 / 3.0).abs() < 1e-12);
        assert!((macro_f1(&m) - 2.0 / 3.0).abs() < 1e-12);
        assert!(accuracy(&[]).abs() < 1e-12 && auc(&[1.0], &[true]).is_none());
        assert!(roc_curve(&[1.0], &[false]).is_empty());
    }

    #[test]
    fn perfect_and_useless_rankings_have_the_known_measures() {
        let positive = [true, true, false, false];
        assert_eq!(auc(&[4.0, 3.0, 2.0, 1.0], &positive), Some(1.0));
        assert_eq!(auc(&[1.0; 4], &positive), Some(0.5));
        let curve = roc_curve(&[4.0, 3.0, 2.0, 1.0], &positive);
        assert_eq!(curve.len(), 3);
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let bins = reliability(
            &[(0.1, true), (0.100_001, false), (1.0, true), (0.0, false)],
            10,
        );
        assert_eq!(bins[0].count, 2);
        assert_eq!(bins[1].count, 1);
        assert_eq!(bins[9].count, 1);
        assert!((expected_calibration_error(&[(0.8, true), (0.8, false)], 10) - 0.3).abs() < 1e-12);
    }
}
