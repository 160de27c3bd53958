//! Measures of classification, each as scikit-learn defines it (checked to 1e-9 in `tests/genre.rs`).

/// Area under the ROC curve: the chance that a positive scores above a negative, ties half.
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
        let rank = (at + 1 + end) as f64 / 2.0;
        rank_sum += rank * order[at..end].iter().filter(|&&i| positive[i]).count() as f64;
        at = end;
    }
    Some((rank_sum - (positives * (positives + 1)) as f64 / 2.0) / (positives * negatives) as f64)
}

/// Expected calibration error: mean over equal bins of (0, 1] of |share right - mean probability|, by bin size.
///
/// `answers`: probability of the answer given, and whether it was right. Lower is better. Guo et al., "On
/// Calibration of Modern Neural Networks", 2017.
pub fn expected_calibration_error(answers: &[(f64, bool)], bins: usize) -> f64 {
    reliability(answers, bins)
        .iter()
        .map(|b| b.count as f64 / answers.len().max(1) as f64 * (b.accuracy - b.probability).abs())
        .sum()
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ReliabilityBin {
    /// Answers in it.
    pub count: usize,
    /// Their mean probability.
    pub probability: f64,
    /// Share of them that were right.
    pub accuracy: f64,
}

/// Answers sorted into equal bins of (0, 1]; empty bins have zeros.
pub fn reliability(answers: &[(f64, bool)], bins: usize) -> Vec<ReliabilityBin> {
    let mut sums = vec![(0usize, 0.0, 0usize); bins];
    for &(p, right) in answers {
        // bin i is (i / bins, (i + 1) / bins]
        let bin = ((p * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += usize::from(right);
    }
    sums.into_iter()
        .map(|(count, p, right)| {
            let n = count.max(1) as f64;
            ReliabilityBin { count, probability: p / n, accuracy: right as f64 / n }
        })
        .collect()
}
