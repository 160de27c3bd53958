//! A support vector machine with an RBF kernel, the common baseline in genre papers.
//!
//! C-SVC, one against one, votes of the pairs; trained by sequential minimal optimisation with
//! second-order working set selection (Fan, Chen and Lin, "Working Set Selection Using Second Order
//! Information", 2005), on standardised vectors. The whole kernel matrix is in memory, `n²` numbers
//! for the `n` rows of a pair of classes.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use voisin_genre::Standardiser;

use super::Tensors;

/// A trained machine.
#[derive(Debug)]
pub struct Svm {
    standard: Standardiser,
    gamma: f64,
    /// Standardised training rows.
    rows: Array2<f32>,
    pairs: Vec<Pair>,
    classes: usize,
}

/// One class against another: `Σ weight · K(row, x) + offset > 0` votes for the first.
#[derive(Debug)]
struct Pair {
    first: usize,
    second: usize,
    support: Vec<(usize, f64)>,
    offset: f64,
}

impl Svm {
    /// Trains on `x`, `[n, d]`, with one class per row.
    ///
    /// - `c`: weight of errors; the kernel is `exp(-|a - b|² / d)` on standardised rows
    ///   (scikit-learn's "scale")
    pub fn fit(x: ArrayView2<f32>, class_of: &[usize], classes: usize, c: f64) -> Self {
        let (standard, rows) = Standardiser::fit(x);
        // "scale": 1 / (d · variance of all numbers)
        let all = rows.len().max(1) as f64;
        let average = rows.iter().map(|v| f64::from(*v)).sum::<f64>() / all;
        let variance = rows
            .iter()
            .map(|v| (f64::from(*v) - average).powi(2))
            .sum::<f64>()
            / all;
        let gamma = 1.0 / (rows.ncols().max(1) as f64 * variance.max(1e-12));
        let members: Vec<Vec<usize>> = (0..classes)
            .map(|k| (0..class_of.len()).filter(|&i| class_of[i] == k).collect())
            .collect();
        // Only pairs of classes with rows can be trained.
        let jobs: Vec<(usize, usize)> = (0..classes)
            .flat_map(|a| (a + 1..classes).map(move |b| (a, b)))
            .filter(|&(a, b)| !members[a].is_empty() && !members[b].is_empty())
            .collect();
        let pairs = jobs
            .into_par_iter()
            .map(|(first, second)| {
                let used: Vec<usize> = members[first]
                    .iter()
                    .chain(&members[second])
                    .copied()
                    .collect();
                let y: Vec<f64> = (0..used.len())
                    .map(|i| if i < members[first].len() { 1.0 } else { -1.0 })
                    .collect();
                let part = rows.select(Axis(0), &used);
                let kernel = rbf(part.view(), part.view(), gamma);
                let (alpha, offset) = smo(&kernel, &y, c);
                let support = used
                    .iter()
                    .zip(&alpha)
                    .zip(&y)
                    .filter(|((_, a), _)| **a > 0.0)
                    .map(|((&row, a), y)| (row, a * y))
                    .collect();
                Pair {
                    first,
                    second,
                    support,
                    offset,
                }
            })
            .collect();
        Self {
            standard,
            gamma,
            rows,
            pairs,
            classes,
        }
    }

    /// Decision value of each pair `(first, second)` for each row, `[m, pairs]`: positive for the
    /// first.
    pub fn decisions(&self, x: ArrayView2<f32>) -> (Vec<(usize, usize)>, Array2<f64>) {
        let queries = self.standard.apply(x);
        let kernel = rbf(queries.view(), self.rows.view(), self.gamma);
        let mut out = Array2::zeros((x.nrows(), self.pairs.len()));
        for (row, mut values) in kernel.outer_iter().zip(out.outer_iter_mut()) {
            for (pair, value) in self.pairs.iter().zip(values.iter_mut()) {
                *value = pair.support.iter().map(|&(i, w)| w * row[i]).sum::<f64>() + pair.offset;
            }
        }
        (
            self.pairs.iter().map(|p| (p.first, p.second)).collect(),
            out,
        )
    }

    /// The pairs of classes, in the order of the decisions' columns.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        self.pairs.iter().map(|p| (p.first, p.second)).collect()
    }

    pub(super) fn save(&self, out: &mut Tensors) {
        out.put_standardiser("svm", &self.standard);
        out.put_matrix("svm.rows", &self.rows);
        let shape = |pair: &Pair| {
            [
                pair.first as u32,
                pair.second as u32,
                pair.support.len() as u32,
            ]
        };
        out.put_u32("svm.pairs", self.pairs.iter().flat_map(shape).collect());
        let support = || self.pairs.iter().flat_map(|pair| &pair.support);
        out.put_u32(
            "svm.support",
            support().map(|(row, _)| *row as u32).collect(),
        );
        out.put_f64(
            "svm.weights",
            support().map(|(_, weight)| *weight).collect(),
        );
        let offsets = self.pairs.iter().map(|pair| pair.offset);
        out.put_f64(
            "svm.offsets",
            std::iter::once(self.gamma).chain(offsets).collect(),
        );
    }

    pub(super) fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let standard = from.standardiser("svm", columns)?;
        let rows = from.matrix("svm.rows")?;
        let (heads, _) = from.u32("svm.pairs")?.as_chunks::<3>();
        let mut support = from
            .u32("svm.support")?
            .iter()
            .zip(from.f64("svm.weights")?);
        let (gamma, offsets) = from.f64("svm.offsets")?.split_first()?;
        let mut pairs = Vec::new();
        for (&[first, second, count], &offset) in heads.iter().zip(offsets) {
            let first = first as usize;
            let second = second as usize;
            let vectors: Vec<(usize, f64)> = support
                .by_ref()
                .take(count as usize)
                .map(|(&row, &weight)| (row as usize, weight))
                .collect();
            let fits = first < classes && second < classes && vectors.len() == count as usize;
            if !fits || vectors.iter().any(|(row, _)| *row >= rows.nrows()) {
                return None;
            }
            pairs.push(Pair {
                first,
                second,
                support: vectors,
                offset,
            });
        }
        (rows.ncols() == columns && pairs.len() == heads.len()).then_some(Self {
            standard,
            gamma: *gamma,
            rows,
            pairs,
            classes,
        })
    }

    /// The class of each row, with the most pairs won, the first of equals.
    pub fn predict(&self, x: ArrayView2<f32>) -> Vec<usize> {
        let (pairs, values) = self.decisions(x);
        values
            .outer_iter()
            .map(|row| {
                let mut votes = vec![0usize; self.classes];
                for (&(first, second), &value) in pairs.iter().zip(row) {
                    votes[if value > 0.0 { first } else { second }] += 1;
                }
                (0..self.classes).fold(0, |best, k| if votes[k] > votes[best] { k } else { best })
            })
            .collect()
    }
}

fn rbf(a: ArrayView2<f32>, b: ArrayView2<f32>, gamma: f64) -> Array2<f64> {
    let square = |m: ArrayView2<f32>| -> Vec<f64> {
        m.outer_iter()
            .map(|r| r.iter().map(|v| f64::from(*v).powi(2)).sum())
            .collect()
    };
    let na = square(a);
    let nb = square(b);
    let product = a.mapv(f64::from).dot(&b.mapv(f64::from).t());
    // Rounding may make the squared distance of a copy negative and its kernel larger than 1.
    Array2::from_shape_fn(product.dim(), |(i, j)| {
        (-gamma * (na[i] + nb[j] - 2.0 * product[[i, j]]).max(0.0)).exp()
    })
}

/// Solves `min ½ αᵀQα - Σα, 0 ≤ α ≤ C, yᵀα = 0` with `Q = y yᵀ K`; returns α and the offset.
fn smo(kernel: &Array2<f64>, y: &[f64], c: f64) -> (Vec<f64>, f64) {
    const TOLERANCE: f64 = 1e-4;
    let n = y.len();
    let mut alpha = vec![0.0f64; n];
    let mut gradient = vec![-1.0f64; n];
    let up =
        |alpha: &[f64], i: usize| (y[i] > 0.0 && alpha[i] < c) || (y[i] < 0.0 && alpha[i] > 0.0);
    let low =
        |alpha: &[f64], i: usize| (y[i] < 0.0 && alpha[i] < c) || (y[i] > 0.0 && alpha[i] > 0.0);
    // Convergence is slow for large C, so that the number of steps is limited.
    for _ in 0..(100 * n).max(10_000) {
        let Some(i) = (0..n)
            .filter(|&i| up(&alpha, i))
            .max_by(|&a, &b| (-y[a] * gradient[a]).total_cmp(&(-y[b] * gradient[b])))
        else {
            break;
        };
        let most = -y[i] * gradient[i];
        // Second-order selection: the partner with the largest decrease of the objective.
        let mut least = f64::INFINITY;
        let mut chosen = None;
        let mut best = 0.0;
        for j in (0..n).filter(|&j| low(&alpha, j)) {
            let value = -y[j] * gradient[j];
            least = least.min(value);
            let b = most - value;
            if b > 0.0 {
                // Equal rows have no curvature.
                let a = (kernel[[i, i]] + kernel[[j, j]] - 2.0 * kernel[[i, j]]).max(1e-12);
                if -b * b / a < best {
                    best = -b * b / a;
                    chosen = Some(j);
                }
            }
        }
        let Some(j) = chosen else { break };
        if most - least < TOLERANCE {
            break;
        }
        // Step along y_i e_i - y_j e_j, limited by the box constraints.
        let curvature = (kernel[[i, i]] + kernel[[j, j]] - 2.0 * kernel[[i, j]]).max(1e-12);
        let mut step = (most + y[j] * gradient[j]) / curvature;
        step = step.min(if y[i] > 0.0 { c - alpha[i] } else { alpha[i] });
        // The step ends when either α reaches its bound.
        step = step.min(if y[j] > 0.0 { alpha[j] } else { c - alpha[j] });
        alpha[i] = (alpha[i] + y[i] * step).clamp(0.0, c);
        alpha[j] = (alpha[j] - y[j] * step).clamp(0.0, c);
        for t in 0..n {
            gradient[t] += y[t] * step * (kernel[[t, i]] - kernel[[t, j]]);
        }
    }
    // Offset: mean over free vectors, or else the middle of the allowed range.
    let mut sum = 0.0;
    let mut free = 0usize;
    let mut high = f64::INFINITY;
    let mut floor = f64::NEG_INFINITY;
    for i in 0..n {
        let value = -y[i] * gradient[i];
        if alpha[i] > 0.0 && alpha[i] < c {
            sum += value;
            free += 1;
        } else if up(&alpha, i) {
            floor = floor.max(value);
        } else {
            high = high.min(value);
        }
    }
    let offset = if free > 0 {
        sum / free as f64
    } else {
        f64::midpoint(high, floor)
    };
    (alpha, if offset.is_finite() { offset } else { 0.0 })
}
