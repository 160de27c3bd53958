//! Probabilities for the support vector machine.
//!
//! A sigmoid for each pair of classes, fitted on decisions for held-out rows
//! (Platt, 1999; Lin, Lin and Weng, "A note on Platt's probabilistic outputs for support
//! vector machines", 2007), coupled into one distribution (Wu, Lin and Weng, "Probability estimates
//! for multi-class classification by pairwise coupling", 2004).

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Svm, Tensors, Training};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvmSettings {
    pub c: f64,
}

impl Default for SvmSettings {
    fn default() -> Self {
        Self { c: 1.0 }
    }
}

#[derive(Debug)]
pub struct SvmProbabilities {
    svm: Svm,
    /// `p(first) = 1 / (1 + exp(a · decision + b))`, one for each pair of the machine.
    sigmoids: Vec<(f64, f64)>,
    classes: usize,
}

impl SvmProbabilities {
    /// Trains once on all rows, and once without each fold for the sigmoids.
    pub fn fit(data: &Training, settings: SvmSettings) -> Self {
        let svm = Svm::fit(data.x, data.class_of, data.classes, settings.c);
        let n = data.class_of.len();
        let pairs = svm.pairs();
        let mut points: Vec<Vec<(f64, bool)>> = vec![Vec::new(); pairs.len()];
        // Decisions for training rows are too certain; each fold's are from a machine without it.
        for fold in 0..data.folds.iter().max().map_or(0, |last| last + 1) {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                (0..n).partition(|&row| data.folds[row] == fold);
            if held.is_empty() || rest.is_empty() {
                continue;
            }
            let (x, class_of) = data.rows(&rest);
            let (queries, truth) = data.rows(&held);
            let (known, values) =
                Svm::fit(x.view(), &class_of, data.classes, settings.c).decisions(queries.view());
            for (points, pair) in points.iter_mut().zip(&pairs) {
                // A fold may lack a class, and with it the pair.
                let Some(column) = known.iter().position(|other| other == pair) else {
                    continue;
                };
                let values = values.column(column).into_iter().zip(&truth);
                let own = values.filter(|(_, class)| **class == pair.0 || **class == pair.1);
                points.extend(own.map(|(value, class)| (*value, *class == pair.0)));
            }
        }
        let sigmoids = points.iter().map(|points| sigmoid(points)).collect();
        Self {
            svm,
            sigmoids,
            classes: data.classes,
        }
    }

    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let svm = Svm::load(from, classes, columns)?;
        let sigmoids = from.get("svm.sigmoids")?;
        let sigmoids = sigmoids.as_chunks().0.iter();
        let sigmoids: Vec<(f64, f64)> = sigmoids.map(|&[a, b]| (a, b)).collect();
        (sigmoids.len() == svm.pairs().len()).then_some(Self {
            svm,
            sigmoids,
            classes,
        })
    }
}

impl FittedClassifier for SvmProbabilities {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        const LEAST: f64 = 1e-7;
        let (pairs, values) = self.svm.decisions(x);
        let mut out = Array2::zeros((x.nrows(), self.classes));
        for (values, mut out) in values.outer_iter().zip(out.outer_iter_mut()) {
            let mut p = Array2::from_elem((self.classes, self.classes), f64::NAN);
            for ((&(first, second), &value), &(a, b)) in
                pairs.iter().zip(values).zip(&self.sigmoids)
            {
                // Probabilities of 0 or 1 would make the coupling's matrix singular.
                let share = (1.0 / (1.0 + (a * value + b).exp())).clamp(LEAST, 1.0 - LEAST);
                p[[first, second]] = share;
                p[[second, first]] = 1.0 - share;
            }
            let joint = couple(&p).into_iter().zip(&mut out);
            joint.for_each(|(p, out)| *out = p as f32);
        }
        out
    }

    fn save(&self, out: &mut Tensors) {
        self.svm.save(out);
        let sigmoids = self.sigmoids.iter().flat_map(|&(a, b)| [a, b]);
        out.put("svm.sigmoids", sigmoids);
    }
}

/// The maximum likelihood sigmoid for the decisions, by Newton's method with backtracking and with
/// Platt's regularised targets.
#[expect(clippy::too_many_lines, reason = "one sequence of steps")]
fn sigmoid(points: &[(f64, bool)]) -> (f64, f64) {
    let positives = points.iter().filter(|(_, first)| *first).count() as f64;
    let negatives = points.len() as f64 - positives;
    // Platt's targets, so that a few points do not make the sigmoid infinitely steep.
    let high = (positives + 1.0) / (positives + 2.0);
    let low = 1.0 / (negatives + 2.0);
    let target = |first: bool| if first { high } else { low };
    let mut a = 0.0;
    let mut b = ((negatives + 1.0) / (positives + 1.0)).ln();
    // -ln p = ln(1 + e^z) - (1 - t) z, with z = a f + b; without overflow for either sign
    let loss = |a: f64, b: f64| -> f64 {
        let term = |&(f, first): &(f64, bool)| {
            let z: f64 = a * f + b;
            let t = target(first);
            if z >= 0.0 {
                t * z + (-z).exp().ln_1p()
            } else {
                (t - 1.0) * z + z.exp().ln_1p()
            }
        };
        points.iter().map(term).sum()
    };
    let mut value = loss(a, b);
    for _ in 0..100 {
        // A small diagonal keeps Newton's step finite if all points are on one side.
        let mut h11 = 1e-12;
        let mut h22 = 1e-12;
        let mut h21 = 0.0;
        let mut g1 = 0.0;
        let mut g2 = 0.0;
        for &(f, first) in points {
            let z = a * f + b;
            let p = if z >= 0.0 {
                (-z).exp() / (1.0 + (-z).exp())
            } else {
                1.0 / (1.0 + z.exp())
            };
            let curvature = p * (1.0 - p);
            h11 += f * f * curvature;
            h22 += curvature;
            h21 += f * curvature;
            g1 += f * (target(first) - p);
            g2 += target(first) - p;
        }
        if g1.abs() < 1e-9 && g2.abs() < 1e-9 {
            break;
        }
        let determinant = h11 * h22 - h21 * h21;
        let da = -(h22 * g1 - h21 * g2) / determinant;
        let db = -(h11 * g2 - h21 * g1) / determinant;
        let slope = g1 * da + g2 * db;
        let mut step = 1.0;
        loop {
            let moved = loss(a + step * da, b + step * db);
            if moved < value + 1e-4 * step * slope {
                (a, b, value) = (a + step * da, b + step * db, moved);
                break;
            }
            step /= 2.0;
            if step < 1e-10 {
                return (a, b);
            }
        }
    }
    (a, b)
}

/// One distribution from the probabilities of pairs, `[classes, classes]`: `p[i, j]` is that of `i`
/// given `i` or `j`. Unknown pairs (NaN) are ignored; a class without any pair gets 0.
///
/// Minimises `Σ (p[j, i] · x[i] - p[i, j] · x[j])²` over distributions `x`, by the authors'
/// fixed-point steps.
pub fn couple(p: &Array2<f64>) -> Vec<f64> {
    let classes = p.nrows();
    let known: Vec<usize> = (0..classes)
        .filter(|&i| (0..classes).any(|j| i != j && !p[[i, j]].is_nan()))
        .collect();
    let mut whole = vec![0.0; classes];
    let k = known.len();
    if k == 0 {
        return vec![1.0 / classes.max(1) as f64; classes];
    }
    let pair = |i: usize, j: usize| p[[known[i], known[j]]];
    let mut q = Array2::<f64>::zeros((k, k));
    for i in 0..k {
        for j in (0..k).filter(|&j| j != i && !pair(i, j).is_nan()) {
            q[[i, i]] += pair(j, i) * pair(j, i);
            q[[i, j]] = -pair(j, i) * pair(i, j);
        }
    }
    let mut x = vec![1.0 / k as f64; k];
    for _ in 0..(100 * k).max(1000) {
        let mut qx: Vec<f64> = (0..k)
            .map(|i| (0..k).map(|j| q[[i, j]] * x[j]).sum())
            .collect();
        let mut xqx: f64 = x.iter().zip(&qx).map(|(x, qx)| x * qx).sum();
        if qx.iter().all(|qx| (qx - xqx).abs() < 1e-12 / k as f64) {
            break;
        }
        for i in 0..k {
            let step = (xqx - qx[i]) / q[[i, i]];
            x[i] += step;
            xqx = (xqx + step * (step * q[[i, i]] + 2.0 * qx[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..k {
                qx[j] = (qx[j] + step * q[[i, j]]) / (1.0 + step);
                x[j] /= 1.0 + step;
            }
        }
    }
    for (&class, x) in known.iter().zip(x) {
        whole[class] = x;
    }
    whole
}
