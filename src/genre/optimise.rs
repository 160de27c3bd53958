//! Minimisers: limited-memory BFGS, and golden section for a temperature.

use std::collections::VecDeque;

/// Minimises a smooth function.
///
/// - `f(x)`: value and gradient
///
/// Nocedal and Wright, "Numerical Optimization", algorithms 7.4 and 7.5, with backtracking to the
/// sufficient decrease condition; steps without positive curvature are not stored.
/// Deterministic.
pub(crate) fn lbfgs(
    start: Vec<f64>,
    max_iterations: usize,
    mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Vec<f64> {
    const MEMORY: usize = 8;
    let mut x = start;
    let (mut value, mut gradient) = f(&x);
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..max_iterations {
        let slope_norm = dot(&gradient, &gradient).sqrt();
        if slope_norm < 1e-6 || !value.is_finite() {
            break;
        }
        let mut direction = two_loops(&gradient, &memory);
        let mut slope = dot(&direction, &gradient);
        // If the stored steps give an ascent direction, restarts with steepest descent.
        if slope >= 0.0 {
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -slope_norm * slope_norm;
        }
        // Without stored steps the gradient has no scale, so that the first step has at most length 1.
        let mut step = if memory.is_empty() {
            (1.0 / slope_norm).min(1.0)
        } else {
            1.0
        };
        let mut taken = None;
        for _ in 0..20 {
            let candidate: Vec<f64> = x
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            let (v, g) = f(&candidate);
            if v.is_finite() && v <= value + 1e-4 * step * slope {
                taken = Some((candidate, v, g));
                break;
            }
            step *= 0.5;
        }
        let Some((candidate, v, g)) = taken else {
            break;
        };
        let s: Vec<f64> = candidate.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = g.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        // Without positive curvature the pair could give an ascent direction.
        if curvature > 1e-12 * dot(&y, &y) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((s, y, 1.0 / curvature));
        }
        let gain = value - v;
        (x, value, gradient) = (candidate, v, g);
        // Smaller gains are rounding of f32 losses.
        if gain <= 1e-7 * value.abs().max(1e-3) {
            break;
        }
    }
    x
}

/// The factor from 1/3 to 3 of log probabilities that minimises a loss, by golden section on its
/// logarithm; the loss must have one minimum. Its inverse is a temperature.
pub fn best_scale(loss: impl Fn(f64) -> f64) -> f64 {
    let loss = |log_scale: f64| loss(log_scale.exp());
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    let mut low = -(3.0f64.ln());
    let mut high = 3.0f64.ln();
    let mut a = high - ratio * (high - low);
    let mut b = low + ratio * (high - low);
    let mut at_a = loss(a);
    let mut at_b = loss(b);
    for _ in 0..20 {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = loss(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = loss(b);
        }
    }
    f64::midpoint(low, high).exp()
}

/// The quasi-Newton direction.
fn two_loops(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(memory.len());
    for (s, y, rho) in memory.iter().rev() {
        let a = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= a * y);
        factors.push(a);
    }
    // The last pair scales the initial inverse Hessian.
    if let Some((_, y, rho)) = memory.back() {
        let scale = 1.0 / (rho * dot(y, y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, rho), a) in memory.iter().zip(factors.into_iter().rev()) {
        let b = rho * dot(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (a - b) * s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_found_and_bounded() {
        assert!((best_scale(|scale| (scale - 1.7).powi(2)) - 1.7).abs() < 1e-3);
        assert!((best_scale(|scale| -scale) - 3.0).abs() < 1e-2);
    }

    #[test]
    fn finds_rosenbrocks_minimum() {
        let mut evaluations = 0;
        let mut f = |x: &[f64]| {
            evaluations += 1;
            let a = 1.0 - x[0];
            let b = x[1] - x[0] * x[0];
            (
                a * a + 100.0 * b * b,
                vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b],
            )
        };
        let x = lbfgs(vec![-1.2, 1.0], 200, &mut f);
        assert!(
            (x[0] - 1.0).abs() < 1e-3 && (x[1] - 1.0).abs() < 1e-3,
            "{x:?}"
        );
        let early = lbfgs(vec![-1.2, 1.0], 3, &mut f);
        assert!(
            (early[0] - 1.0).abs() > 0.1 && evaluations < 150,
            "{early:?}, {evaluations}"
        );
    }
}
