//! The losses between the student and its teachers.

use crate::layout::{Teacher, outputs, spans};

/// Mean square errors, and their sum, which is minimised.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    /// Of the z-scored penultimate layers.
    pub penultimate: f32,
    /// Of the z-scored tag logits.
    pub tags: f32,
}

impl Losses {
    pub fn total(self) -> f32 {
        self.penultimate + self.tags
    }
}

/// The losses of predictions, and their gradient (overwritten).
///
/// - `targets`: z-scored outputs of the teachers, `[n][outputs]`, as predictions and gradient
pub fn evaluate(
    teachers: &[Teacher],
    targets: &[f32],
    predictions: &[f32],
    gradient: &mut [f32],
) -> Losses {
    let width = outputs(teachers);
    let n = targets.len() / width;
    // A mean over windows and teachers: neither the batch nor the number of teachers changes the size of the loss.
    let each = 1.0 / (n * teachers.len()) as f32;
    gradient.fill(0.0);
    let mut sums = [0.0f64; 2];
    for row in 0..n {
        for (teacher, at) in spans(teachers) {
            let start = row * width + at;
            let middle = start + teacher.penultimate;
            let parts = [start..middle, middle..start + teacher.outputs()];
            for (sum, part) in sums.iter_mut().zip(parts) {
                let found = squares(
                    &predictions[part.clone()],
                    &targets[part.clone()],
                    &mut gradient[part],
                    each,
                );
                *sum += found * f64::from(each);
            }
        }
    }
    Losses {
        penultimate: sums[0] as f32,
        tags: sums[1] as f32,
    }
}

/// Mean square error; adds `weight` times its gradient to `d`.
fn squares(p: &[f32], t: &[f32], d: &mut [f32], weight: f32) -> f64 {
    let n = p.len() as f32;
    let mut sum = 0.0;
    for ((p, t), d) in p.iter().zip(t).zip(d) {
        let e = p - t;
        sum += f64::from(e * e);
        *d += weight * 2.0 * e / n;
    }
    sum / f64::from(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn along_the_gradient_the_loss_changes_by_its_square() {
        let teacher = |penultimate: usize| Teacher {
            name: penultimate.to_string(),
            penultimate,
            tags: 50,
        };
        let teachers = [teacher(200), teacher(256)];
        let n = 3 * outputs(&teachers);
        let targets: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
        let predictions: Vec<f32> = (0..n).map(|i| (i as f32 * 1.3).cos()).collect();
        let mut gradient = vec![1.0; n];
        let loss = evaluate(&teachers, &targets, &predictions, &mut gradient).total();
        let square: f32 = gradient.iter().map(|g| g * g).sum();
        let step = 1e-2 / square.sqrt();
        let moved: Vec<f32> = predictions
            .iter()
            .zip(&gradient)
            .map(|(p, g)| p - step * g)
            .collect();
        let mut unused = gradient.clone();
        let less = evaluate(&teachers, &targets, &moved, &mut unused).total();
        assert!(((loss - less) / step / square - 1.0).abs() < 0.02);
        let perfect = evaluate(&teachers, &targets, &targets, &mut unused);
        assert_eq!(perfect, Losses::default());
    }
}
