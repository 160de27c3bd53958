//! The losses between the student and its teachers.

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use voisin_base::vector::dot;

/// Weight of each objective; 0 switches it off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Mean square error of the z-scored penultimate layer.
    pub penultimate_mse: f32,
    /// 1 − cosine of the z-scored penultimate layer.
    pub penultimate_cosine: f32,
    /// Mean square error of the z-scored tag logits.
    pub tags_mse: f32,
    /// Cross-entropy of the tags' probabilities (the teacher's are the labels), mean over tags.
    pub tags_bce: f32,
    /// Contrastive loss between predictions of the penultimate layer: windows of one track near each other, others far apart.
    pub contrast: f32,
    /// Temperature of the contrast.
    pub temperature: f32,
    /// Cross-entropy of the style of rendered grooves; other music has none.
    #[serde(default)]
    pub style: f32,
}

impl Default for LossWeights {
    /// Penultimate layer and tag logits, mean square error.
    fn default() -> Self {
        Self {
            penultimate_mse: 1.0,
            penultimate_cosine: 0.0,
            tags_mse: 1.0,
            tags_bce: 0.0,
            contrast: 0.0,
            temperature: 0.1,
            style: 0.0,
        }
    }
}

/// Each objective's value, unweighted, and their weighted sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossParts {
    /// The weighted sum, which is minimised.
    pub total: f32,
    /// Mean square error of the penultimate layer.
    pub penultimate_mse: f32,
    /// 1 − cosine of the penultimate layer.
    pub penultimate_cosine: f32,
    /// Mean square error of the tag logits.
    pub tags_mse: f32,
    /// Cross-entropy of the tags.
    pub tags_bce: f32,
    /// Contrastive loss.
    pub contrast: f32,
    /// Cross-entropy of the grooves' styles, mean over the grooves in the batch; 0 without any.
    pub style: f32,
}

impl LossParts {
    /// Every part, in the order of the fields.
    pub(super) fn values(&self) -> [f32; 7] {
        let Self {
            total,
            penultimate_mse,
            penultimate_cosine,
            tags_mse,
            tags_bce,
            contrast,
            style,
        } = *self;
        [
            total,
            penultimate_mse,
            penultimate_cosine,
            tags_mse,
            tags_bce,
            contrast,
            style,
        ]
    }
}

/// The targets of predictions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// The meaning of the outputs.
    pub layout: &'a Layout,
    /// Weight of each teacher.
    pub teachers: &'a [f32],
    /// z-scored outputs of the teachers, `[n][layout.targets()]`.
    pub targets: &'a [f32],
    /// Deviation and mean of every target, to undo the z-score.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// Track of each window.
    pub tracks: &'a [usize],
    /// Style of each window.
    pub styles: &'a [Option<usize>],
}

/// The losses of predictions, and their gradient (overwritten).
pub(super) fn evaluate(
    weights: &LossWeights,
    batch: Batch<'_>,
    predictions: &[f32],
    gradient: &mut [f32],
) -> LossParts {
    let n = batch.tracks.len();
    let outputs = batch.layout.outputs();
    let width = batch.layout.targets();
    debug_assert!(predictions.len() == n * outputs && gradient.len() == n * outputs);
    gradient.fill(0.0);
    let mut sums = [0.0f64; 6];
    let all: f32 = batch.teachers.iter().sum();
    for i in 0..n {
        for ((teacher, at), &weight) in batch.layout.spans().zip(batch.teachers) {
            // A teacher of weight 0 keeps its outputs, so that weights can change between sessions, but has no gradient.
            if weight <= 0.0 {
                continue;
            }
            // A mean over windows and a weighted mean over teachers: neither the batch nor the
            // number of teachers changes the size of the loss.
            let each = weight / (n as f32 * all);
            let end = at + teacher.outputs();
            let (p_pen, p_tags) = predictions[i * outputs..][at..end].split_at(teacher.penultimate);
            let (t_pen, t_tags) = batch.targets[i * width..][at..end].split_at(teacher.penultimate);
            let (d_pen, d_tags) =
                gradient[i * outputs..][at..end].split_at_mut(teacher.penultimate);
            let tags = at + teacher.penultimate..end;
            let scale = &batch.scale[tags.clone()];
            let shift = &batch.shift[tags];
            let parts = [
                squares(p_pen, t_pen, d_pen, weights.penultimate_mse * each),
                cosine(p_pen, t_pen, d_pen, weights.penultimate_cosine * each),
                squares(p_tags, t_tags, d_tags, weights.tags_mse * each),
                entropy(
                    p_tags,
                    t_tags,
                    scale,
                    shift,
                    d_tags,
                    weights.tags_bce * each,
                ),
            ];
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += part * f64::from(each);
            }
        }
    }
    // Over all windows of the batch at once, unlike the other losses.
    if weights.contrast > 0.0 {
        sums[4] = contrast(weights, &batch, outputs, predictions, gradient);
    }
    if weights.style > 0.0 && width < outputs {
        sums[5] = style(weights.style, &batch, predictions, gradient);
    }
    let sum = |i: usize| sums[i] as f32;
    let mut parts = LossParts {
        total: 0.0,
        penultimate_mse: sum(0),
        penultimate_cosine: sum(1),
        tags_mse: sum(2),
        tags_bce: sum(3),
        contrast: sum(4),
        style: sum(5),
    };
    parts.total = weights.penultimate_mse * parts.penultimate_mse
        + weights.penultimate_cosine * parts.penultimate_cosine
        + weights.tags_mse * parts.tags_mse
        + weights.tags_bce * parts.tags_bce
        + weights.contrast * parts.contrast
        + weights.style * parts.style;
    parts
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

/// 1 − cosine.
fn cosine(p: &[f32], t: &[f32], d: &mut [f32], weight: f32) -> f64 {
    let pp = dot(p, p).max(1e-12).sqrt();
    let tt = dot(t, t).max(1e-12).sqrt();
    let c = dot(p, t) / (pp * tt);
    // The value is always logged; the gradient is needed only with a weight.
    if weight > 0.0 {
        for ((p, t), d) in p.iter().zip(t).zip(d) {
            *d += weight * (c * p / (pp * pp) - t / (pp * tt));
        }
    }
    1.0 - f64::from(c)
}

/// Cross-entropy of sigmoids, on logits in the teacher's scale.
fn entropy(p: &[f32], t: &[f32], scale: &[f32], shift: &[f32], d: &mut [f32], weight: f32) -> f64 {
    let n = p.len() as f32;
    let mut sum = 0.0;
    for i in 0..p.len() {
        let x = p[i] * scale[i] + shift[i];
        let label = sigmoid(t[i] * scale[i] + shift[i]);
        // −y ln σ(x) − (1 − y) ln(1 − σ(x)), without overflow.
        sum += f64::from(x.max(0.0) - x * label + (-x.abs()).exp().ln_1p());
        d[i] += weight * (sigmoid(x) - label) * scale[i] / n;
    }
    sum / f64::from(n)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Softmax cross-entropy of the styles, mean over the grooves in the batch.
fn style(weight: f32, batch: &Batch<'_>, predictions: &[f32], gradient: &mut [f32]) -> f64 {
    let outputs = batch.layout.outputs();
    let at = batch.layout.targets();
    let count = batch.styles.iter().flatten().count();
    if count == 0 {
        return 0.0;
    }
    let each = weight / count as f32;
    let mut sum = 0.0;
    for (i, &label) in batch.styles.iter().enumerate() {
        let Some(label) = label else { continue };
        let logits = &predictions[i * outputs + at..(i + 1) * outputs];
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|x| (x - most).exp()).sum();
        sum += f64::from(most + total.ln() - logits[label]);
        for (j, (d, x)) in gradient[i * outputs + at..(i + 1) * outputs]
            .iter_mut()
            .zip(logits)
            .enumerate()
        {
            *d += each * ((x - most).exp() / total - f32::from(u8::from(j == label)));
        }
    }
    sum / count as f64
}

/// Supervised contrastive loss over the batch between predictions of the first teacher's
/// penultimate layer; mean over windows with another window of their track.
fn contrast(
    weights: &LossWeights,
    batch: &Batch<'_>,
    outputs: usize,
    predictions: &[f32],
    gradient: &mut [f32],
) -> f64 {
    let tracks = batch.tracks;
    let n = tracks.len();
    let width = batch
        .layout
        .teachers
        .first()
        .map_or(0, |teacher| teacher.penultimate);
    let row = |i: usize| &predictions[i * outputs..i * outputs + width];
    let norms: Vec<f32> = (0..n)
        .map(|i| dot(row(i), row(i)).max(1e-12).sqrt())
        .collect();
    let unit: Vec<Vec<f32>> = (0..n)
        .map(|i| row(i).iter().map(|x| x / norms[i]).collect())
        .collect();
    // A temperature near 0 would overflow the exponentials.
    let inverse = 1.0 / weights.temperature.max(1e-3);
    let positives: Vec<usize> = (0..n)
        .map(|i| (0..n).filter(|&j| j != i && tracks[j] == tracks[i]).count())
        .collect();
    let anchors = positives.iter().filter(|&&count| count > 0).count();
    if anchors == 0 {
        return 0.0;
    }
    // d loss / d similarity[i][j], of anchors i.
    let mut slopes = vec![0.0f32; n * n];
    let mut total = 0.0f64;
    for i in (0..n).filter(|&i| positives[i] > 0) {
        let logits: Vec<f32> = (0..n).map(|j| dot(&unit[i], &unit[j]) * inverse).collect();
        // A window itself is neither a positive nor in the sum.
        let others = (0..n).filter(|&j| j != i);
        let most = others
            .clone()
            .map(|j| logits[j])
            .fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = others.clone().map(|j| (logits[j] - most).exp()).sum();
        let log_sum = most + sum.ln();
        for j in others {
            let mut d = (logits[j] - log_sum).exp();
            if tracks[j] == tracks[i] {
                total += f64::from(log_sum - logits[j]) / positives[i] as f64;
                d -= 1.0 / positives[i] as f32;
            }
            slopes[i * n + j] = d * inverse / anchors as f32;
        }
    }
    // Each similarity has two windows and occurs with either as the anchor.
    for i in 0..n {
        let mut d_unit = vec![0.0f32; width];
        for j in (0..n).filter(|&j| j != i) {
            let both = slopes[i * n + j] + slopes[j * n + i];
            for (d, u) in d_unit.iter_mut().zip(&unit[j]) {
                *d += both * u;
            }
        }
        // The component along the unit vector changes only the length, which is normalised.
        let along = dot(&d_unit, &unit[i]);
        let d_row = &mut gradient[i * outputs..i * outputs + width];
        for ((d, d_unit), u) in d_row.iter_mut().zip(&d_unit).zip(&unit[i]) {
            *d += weights.contrast * (d_unit - along * u) / norms[i];
        }
    }
    total / anchors as f64
}

#[cfg(test)]
mod tests {
    use super::super::layout::Teacher;
    use super::*;
    use voisin_base::random::Random;

    fn layout(teachers: usize, styles: usize) -> Layout {
        // Of two lengths.
        let teacher = |i: usize| Teacher {
            name: i.to_string(),
            penultimate: 200 + 56 * i,
            tags: 50,
        };
        Layout {
            teachers: (0..teachers).map(teacher).collect(),
            styles,
        }
    }

    fn check(weights: LossWeights, teachers: usize) {
        let layout = layout(teachers, 7);
        let n = 4;
        let outputs = layout.outputs();
        let mut random = Random::stream(4, 0);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let targets = draw(n * layout.targets());
        let mut predictions = draw(n * outputs);
        let scale = vec![1.5; outputs];
        let shift = draw(outputs);
        let tracks = [0, 1, 0, 2];
        let styles = [None, Some(6), Some(0), None];
        let batch = Batch {
            layout: &layout,
            teachers: &[1.0, 0.5][..teachers],
            targets: &targets,
            scale: &scale,
            shift: &shift,
            tracks: &tracks,
            styles: &styles,
        };
        let mut gradient = vec![0.0; n * outputs];
        let mut unused = gradient.clone();
        let parts = evaluate(&weights, batch, &predictions, &mut gradient);
        assert!(parts.total > 0.0);
        // Along the gradient, the loss changes by its square.
        let square: f64 = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        let step = (2e-2 / square.sqrt()) as f32;
        let mut at = |sign: f32| {
            for (p, g) in predictions.iter_mut().zip(&gradient) {
                *p += sign * step * g;
            }
            f64::from(evaluate(&weights, batch, &predictions, &mut unused).total)
        };
        let up = at(1.0);
        let down = at(-2.0);
        let slope = (up - down) / (2.0 * f64::from(step));
        assert!(
            (slope / square - 1.0).abs() < 0.02,
            "{weights:?}: slope {slope}, gradient {square}"
        );
    }

    const OFF: LossWeights = LossWeights {
        penultimate_mse: 0.0,
        penultimate_cosine: 0.0,
        tags_mse: 0.0,
        tags_bce: 0.0,
        contrast: 0.0,
        temperature: 0.3,
        style: 0.0,
    };

    #[test]
    fn every_gradient_is_that_of_its_loss() {
        check(
            LossWeights {
                penultimate_mse: 0.7,
                ..OFF
            },
            1,
        );
        check(
            LossWeights {
                penultimate_cosine: 1.0,
                ..OFF
            },
            2,
        );
        check(
            LossWeights {
                tags_mse: 2.0,
                ..OFF
            },
            2,
        );
        check(
            LossWeights {
                tags_bce: 1.0,
                ..OFF
            },
            2,
        );
        check(
            LossWeights {
                contrast: 0.5,
                ..OFF
            },
            1,
        );
        check(LossWeights { style: 2.0, ..OFF }, 1);
        check(
            LossWeights {
                penultimate_mse: 1.0,
                penultimate_cosine: 1.0,
                tags_mse: 1.0,
                tags_bce: 1.0,
                contrast: 1.0,
                temperature: 0.2,
                style: 1.0,
            },
            2,
        );
    }

    #[test]
    fn perfect_predictions_cost_nothing() {
        let layout = layout(1, 0);
        let width = layout.outputs();
        let targets: Vec<f32> = (0..2 * width).map(|i| (i as f32 * 0.7).sin()).collect();
        let scale = vec![1.0; width];
        let shift = vec![0.0; width];
        let batch = Batch {
            layout: &layout,
            teachers: &[3.0],
            targets: &targets,
            scale: &scale,
            shift: &shift,
            tracks: &[0, 1],
            styles: &[None, None],
        };
        let mut gradient = vec![1.0; 2 * width];
        let weights = LossWeights {
            penultimate_cosine: 1.0,
            ..LossWeights::default()
        };
        let parts = evaluate(&weights, batch, &targets, &mut gradient);
        assert!(parts.total.abs() < 1e-5, "{parts:?}");
        assert!(gradient.iter().all(|g| g.abs() < 1e-6));
    }

    #[test]
    fn a_teacher_without_weight_has_no_gradient() {
        let layout = layout(2, 0);
        let width = layout.outputs();
        let targets = vec![0.0; width];
        let predictions = vec![1.0; width];
        let scale = vec![1.0; width];
        let shift = vec![0.0; width];
        let mut gradient = vec![0.0; width];
        let mut parts = |teachers: &[f32]| {
            let batch = Batch {
                layout: &layout,
                teachers,
                targets: &targets,
                scale: &scale,
                shift: &shift,
                tracks: &[0],
                styles: &[None],
            };
            evaluate(&LossWeights::default(), batch, &predictions, &mut gradient);
            let sum = |range: std::ops::Range<usize>| gradient[range].iter().sum::<f32>();
            (sum(0..250), sum(250..width))
        };
        // Two means of squares, each with a gradient of 2 in all; a teacher's share of the weights scales it.
        let (first, second) = parts(&[1.0, 0.0]);
        assert!(
            (first - 4.0).abs() < 1e-4 && second == 0.0,
            "{first}, {second}"
        );
        let (first, second) = parts(&[1.0, 3.0]);
        assert!(
            (first - 1.0).abs() < 1e-4 && (second - 3.0).abs() < 1e-4,
            "{first}, {second}"
        );
    }
}
