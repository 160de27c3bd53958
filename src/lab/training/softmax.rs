//! Softmax and its cross-entropy.

use voisin_genre::metrics::argmax;

/// Cross-entropy of softmax, mean over rows, and its gradient (overwritten).
///
/// - `logits`: `[rows][classes]`
/// - `wanted`: targets, `[rows][classes]`; the sum of a row is its weight
/// - returns: the sum of the losses of all rows, and the number of correct predictions
pub(super) fn cross_entropy(
    logits: &[f32],
    wanted: &[f32],
    classes: usize,
    gradient: &mut Vec<f32>,
) -> (f64, usize) {
    gradient.clear();
    let mut loss = 0.0;
    let mut right = 0;
    let n = (logits.len() / classes) as f32;
    for (row, wanted) in logits
        .chunks_exact(classes)
        .zip(wanted.chunks_exact(classes))
    {
        let p = softmax(row);
        let truth = argmax(wanted);
        let sum = wanted.iter().sum::<f32>();
        // ln p, exact also for p near 0
        let shares = wanted.iter().enumerate().filter(|(_, share)| **share > 0.0);
        loss -= shares
            .map(|(class, share)| f64::from(*share) * log_probability(row, class))
            .sum::<f64>();
        // A tie is not correct.
        right += usize::from(
            row.iter()
                .enumerate()
                .all(|(class, x)| class == truth || *x < row[truth]),
        );
        gradient.extend(
            // The gradient of the weighted cross-entropy of a row whose targets add up to `sum`.
            p.iter()
                .zip(wanted)
                .map(|(p, wanted)| (sum * p - wanted) / n),
        );
    }
    (loss, right)
}

pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    // The largest logit is subtracted, so that no power overflows.
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn log_probability(logits: &[f32], class: usize) -> f64 {
    // In double precision, and from logits: the logarithm of a probability that was rounded to 0
    // would be infinite.
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - most).exp()).sum();
    f64::from(logits[class]) - most - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let logits = [0.3, -1.0, 2.0, 5.0, 4.9, -3.0];
        let wanted = [0.9, 0.1, 0.0, 0.0, 1.5, 0.5];
        let mut gradient = Vec::new();
        let mut unused = Vec::new();
        let (_, right) = cross_entropy(&logits, &wanted, 3, &mut gradient);
        assert_eq!(right, 0);
        for at in 0..logits.len() {
            let mut loss = |step: f32| {
                let mut moved = logits;
                moved[at] += step;
                cross_entropy(&moved, &wanted, 3, &mut unused).0 / 2.0
            };
            let slope = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!(
                (slope - f64::from(gradient[at])).abs() < 1e-4,
                "{at}: {slope}, {}",
                gradient[at]
            );
        }
        let (loss, right) = cross_entropy(&[0.0, 1000.0], &[1.0, 0.0], 2, &mut gradient);
        assert_eq!(
            (loss, right, gradient.as_slice()),
            (1000.0, 0, [-1.0, 1.0].as_slice())
        );
    }
}
