//! A support vector machine with an RBF kernel, the common baseline in genre papers.
//!
//! C-SVC, one against one; trained by sequential minimal optimisation with
//! second-order working set selection (Fan, Chen and Lin, "Working Set Selection Using Second Order
//! Information", 2005), on standardised vectors. The whole kernel matrix is in memory, `n²` numbers
//! for the `n` rows of a pair of classes.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::Tensors;

#[derive(Debug)]
pub struct Svm {
    gamma: f64,
    rows: Array2<f32>,
    pairs: Vec<Pair>,
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
    /// - `x`: standardised rows, `[n, d]`; `class_of`: of each; `c`: weight of errors
    pub fn fit(x: ArrayView2<f32>, class_of: &[usize], classes: usize, c: f64) -> Self {
        let rows = x.to_owned();
        // scikit-learn's "scale": 1 / (d · variance of all numbers)
        let variance = rows.mapv(f64::from).var(0.0);
        let gamma = 1.0 / (rows.ncols().max(1) as f64 * variance.max(1e-12));
        let members: Vec<Vec<usize>> = (0..classes)
            .map(|k| (0..class_of.len()).filter(|&i| class_of[i] == k).collect())
            .collect();
        // Only pairs of classes with rows can be trained.
        let jobs: Vec<(usize, usize)> = (0..classes)
            .flat_map(|a| (a + 1..classes).map(move |b| (a, b)))
            .filter(|&(a, b)| !members[a].is_empty() && !members[b].is_empty())
            .collect();
        let fit_pair = |(first, second): (usize, usize)| {
            let used = [&members[first][..], &members[second][..]].concat();
            let sign = |at| if at < members[first].len() { 1.0 } else { -1.0 };
            let y: Vec<f64> = (0..used.len()).map(sign).collect();
            let part = rows.select(Axis(0), &used);
            let kernel = rbf(part.view(), part.view(), gamma);
            let (alpha, offset) = smo(&kernel, &y, c);
            let weights = used.iter().zip(alpha).zip(&y);
            let weights = weights.filter(|((_, a), _)| *a > 0.0);
            Pair {
                first,
                second,
                support: weights.map(|((&row, a), y)| (row, a * y)).collect(),
                offset,
            }
        };
        let pairs = jobs.into_par_iter().map(fit_pair).collect();
        Self { gamma, rows, pairs }
    }

    /// Decision value of each pair `(first, second)` for each row, `[m, pairs]`: positive for the
    /// first.
    pub fn decisions(&self, x: ArrayView2<f32>) -> (Vec<(usize, usize)>, Array2<f64>) {
        let kernel = rbf(x, self.rows.view(), self.gamma);
        let mut out = Array2::zeros((x.nrows(), self.pairs.len()));
        for (row, mut values) in kernel.outer_iter().zip(out.outer_iter_mut()) {
            for (pair, value) in self.pairs.iter().zip(values.iter_mut()) {
                *value = pair.support.iter().map(|&(i, w)| w * row[i]).sum::<f64>() + pair.offset;
            }
        }
        (self.pairs(), out)
    }

    /// The pairs of classes, in the order of the decisions' columns.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        self.pairs.iter().map(|p| (p.first, p.second)).collect()
    }

    pub(super) fn save(&self, out: &mut Tensors) {
        out.put_matrix("svm.rows", &self.rows);
        let shape = |pair: &Pair| [pair.first, pair.second, pair.support.len()];
        out.put_indices("svm.pairs", self.pairs.iter().flat_map(shape));
        let support = || self.pairs.iter().flat_map(|pair| &pair.support);
        out.put_indices("svm.support", support().map(|(row, _)| *row));
        out.put("svm.weights", support().map(|(_, weight)| *weight));
        let offsets = self.pairs.iter().map(|pair| pair.offset);
        out.put("svm.offsets", std::iter::once(self.gamma).chain(offsets));
    }

    pub(super) fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let rows = from.matrix("svm.rows")?;
        let heads = from.indices("svm.pairs")?;
        let (heads, _) = heads.as_chunks::<3>();
        let weights = from.get("svm.weights")?;
        let mut support = from.indices("svm.support")?.into_iter().zip(weights);
        let offsets = from.get("svm.offsets")?;
        let (&gamma, offsets) = offsets.split_first()?;
        let mut pairs = Vec::new();
        for (&[first, second, count], &offset) in heads.iter().zip(offsets) {
            let support: Vec<(usize, f64)> = support.by_ref().take(count).collect();
            let fits = first < classes && second < classes && support.len() == count;
            if !fits || support.iter().any(|(row, _)| *row >= rows.nrows()) {
                return None;
            }
            pairs.push(Pair {
                first,
                second,
                support,
                offset,
            });
        }
        (rows.ncols() == columns && pairs.len() == heads.len()).then_some(Self {
            gamma,
            rows,
            pairs,
        })
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

/// A problem of sequential minimal optimisation: `min ½ αᵀQα - Σα, 0 ≤ α ≤ C, yᵀα = 0` with `Q = y yᵀ K`.
struct Problem<'a> {
    kernel: &'a Array2<f64>,
    y: &'a [f64],
    c: f64,
    alpha: Vec<f64>,
    gradient: Vec<f64>,
}

impl Problem<'_> {
    fn is_up(&self, i: usize) -> bool {
        (self.y[i] > 0.0 && self.alpha[i] < self.c) || (self.y[i] < 0.0 && self.alpha[i] > 0.0)
    }

    fn is_low(&self, i: usize) -> bool {
        (self.y[i] < 0.0 && self.alpha[i] < self.c) || (self.y[i] > 0.0 && self.alpha[i] > 0.0)
    }

    fn value(&self, i: usize) -> f64 {
        -self.y[i] * self.gradient[i]
    }

    fn curvature(&self, i: usize, j: usize) -> f64 {
        let k = self.kernel;
        // Equal rows have no curvature.
        (k[[i, i]] + k[[j, j]] - 2.0 * k[[i, j]]).max(1e-12)
    }

    /// The two rows to move; `None` at the optimum.
    fn working_set(&self) -> Option<(usize, usize)> {
        const TOLERANCE: f64 = 1e-4;
        let n = self.y.len();
        let up = (0..n).filter(|&i| self.is_up(i));
        let i = up.max_by(|&a, &b| self.value(a).total_cmp(&self.value(b)))?;
        let most = self.value(i);
        // Second-order selection: the partner with the largest decrease of the objective.
        let mut least = f64::INFINITY;
        let mut chosen = None;
        let mut best = 0.0;
        for j in (0..n).filter(|&j| self.is_low(j)) {
            least = least.min(self.value(j));
            let b = most - self.value(j);
            let decrease = b * b / self.curvature(i, j);
            if b > 0.0 && decrease > best {
                (best, chosen) = (decrease, Some(j));
            }
        }
        chosen.filter(|_| most - least >= TOLERANCE).map(|j| (i, j))
    }

    /// A step along `y_i e_i - y_j e_j`, which ends when either α reaches its bound.
    fn step(&mut self, i: usize, j: usize) {
        let y = self.y;
        let c = self.c;
        let mut step = (self.value(i) - self.value(j)) / self.curvature(i, j);
        let room = |y: f64, alpha: f64| if y > 0.0 { c - alpha } else { alpha };
        step = step.min(room(y[i], self.alpha[i]));
        step = step.min(room(-y[j], self.alpha[j]));
        self.alpha[i] = (self.alpha[i] + y[i] * step).clamp(0.0, c);
        self.alpha[j] = (self.alpha[j] - y[j] * step).clamp(0.0, c);
        for t in 0..y.len() {
            self.gradient[t] += y[t] * step * (self.kernel[[t, i]] - self.kernel[[t, j]]);
        }
    }

    /// The mean over free vectors, or else the middle of the allowed range.
    fn offset(&self) -> f64 {
        let rows = 0..self.y.len();
        let (bound, free): (Vec<usize>, Vec<usize>) =
            rows.partition(|&i| self.alpha[i] <= 0.0 || self.alpha[i] >= self.c);
        if !free.is_empty() {
            return free.iter().map(|&i| self.value(i)).sum::<f64>() / free.len() as f64;
        }
        let (up, low): (Vec<usize>, Vec<usize>) = bound.into_iter().partition(|&i| self.is_up(i));
        let up = up.iter().map(|&i| self.value(i));
        let floor = up.fold(f64::NEG_INFINITY, f64::max);
        let low = low.iter().map(|&i| self.value(i));
        let high = low.fold(f64::INFINITY, f64::min);
        let middle = f64::midpoint(high, floor);
        if middle.is_finite() { middle } else { 0.0 }
    }
}

/// Weights of the rows, and the offset.
fn smo(kernel: &Array2<f64>, y: &[f64], c: f64) -> (Vec<f64>, f64) {
    let n = y.len();
    let mut problem = Problem {
        kernel,
        y,
        c,
        alpha: vec![0.0; n],
        gradient: vec![-1.0; n],
    };
    // Convergence is slow for large C, so that the number of steps is limited.
    for _ in 0..(100 * n).max(10_000) {
        let Some((i, j)) = problem.working_set() else {
            break;
        };
        problem.step(i, j);
    }
    let offset = problem.offset();
    (problem.alpha, offset)
}
