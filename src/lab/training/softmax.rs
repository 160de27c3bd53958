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
        let truth = argmax(wanted);
        let sum = wanted.iter().sum::<f32>();
        for (log, share) in log_softmax(row).zip(wanted) {
            loss -= f64::from(*share) * log;
            // The gradient of the weighted cross-entropy of a row whose targets add up to `sum`.
            gradient.push((sum * log.exp() as f32 - share) / n);
        }
        // A tie is not correct.
        let mut others = row.iter().enumerate().filter(|(class, _)| *class != truth);
        right += usize::from(others.all(|(_, x)| *x < row[truth]));
    }
    (loss, right)
}

pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    log_softmax(logits).map(|log| log.exp() as f32).collect()
}

/// Logarithms of probabilities, in double precision and without their powers, which may be rounded to 0.
fn log_softmax(logits: &[f32]) -> impl Iterator<Item = f64> {
    // The largest logit is subtracted, so that no power overflows.
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - most).exp()).sum();
    let whole = most + sum.ln();
    logits.iter().map(move |x| f64::from(*x) - whole)
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
