//! Pieces of a training step: groups of windows, batch statistics, and sums of rows.

use super::act::{Act, Shape};
use super::norm_kernels::{self as nk, Norm};
use super::norm_pass::NormPass;
use super::winograd::Tile;
use crate::Isa;
use crate::buffer::SharedSlice;

/// Batch statistics of a layer and what follows from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) mean: Vec<f32>,
    pub(super) inv_std: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) c0: Vec<f32>,
    pub(super) c1: Vec<f32>,
    pub(super) running_mean: Vec<f32>,
    pub(super) running_var: Vec<f32>,
}

impl Stats {
    /// The pass from the convolution's output `y` to the activation, or back.
    pub(super) fn pass<'a>(&'a self, pool: bool, y: &'a Act, a: Shape) -> NormPass<'a> {
        let norm =
            Norm { scale: &self.scale, shift: &self.shift, mean: &self.mean, c0: &self.c0, c1: &self.c1 };
        let pool = if pool { [2, 2] } else { [1, 1] };
        NormPass { y: y.buf.as_slice(), shape: y.shape, a, pool, relu: true, norm }
    }
}

/// Windows of layer `i` that go through its steps together, so that what one step writes is still in
/// cache when the next one reads it.
pub(super) fn chunk(i: usize) -> usize {
    match i {
        0 | 1 => 2,
        2 | 3 => 4,
        _ => 8,
    }
}

/// (first, count) of those groups of windows.
pub(super) fn chunks(i: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = chunk(i);
    (0..n).step_by(size).map(move |first| (first, size.min(n - first)))
}

/// Share of a new batch in the running mean and variance (PyTorch's convention).
pub(super) const MOMENTUM: f32 = 0.1;

/// Mean, deviation and affine map from sums, and the running statistics.
///
/// - `epsilon`: added to the variance before its root
pub(super) fn set_stats(
    stats: &mut Stats,
    sum: &[f64],
    square: &[f64],
    count: f64,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f64,
) {
    let c = sum.len();
    for part in [&mut stats.mean, &mut stats.inv_std, &mut stats.scale, &mut stats.shift] {
        part.resize(c, 0.0);
    }
    for i in 0..c {
        let mean = sum[i] / count;
        let var = (square[i] / count - mean * mean).max(0.0);
        let inv_std = 1.0 / (var + epsilon).sqrt();
        let scale = f64::from(gamma[i]) * inv_std;
        stats.mean[i] = mean as f32;
        stats.inv_std[i] = inv_std as f32;
        stats.scale[i] = scale as f32;
        stats.shift[i] = (f64::from(beta[i]) - mean * scale) as f32;
        let unbiased = var * count / (count - 1.0).max(1.0);
        stats.running_mean[i] += MOMENTUM * (mean as f32 - stats.running_mean[i]);
        stats.running_var[i] += MOMENTUM * (unbiased as f32 - stats.running_var[i]);
    }
}

/// Adds the sums of row `row` of the padded window `y` to `out`, `[2][c]`.
///
/// # Safety
/// Nothing writes this row meanwhile.
pub(super) unsafe fn row_sums(isa: Isa, y: SharedSlice<'_>, shape: Shape, row: usize, out: &mut [f32]) {
    let mut of_row = vec![0.0f32; 2 * shape.c];
    for x in (0..shape.w).step_by(255) {
        let cols = (shape.w - x).min(255) as u8;
        let tile = Tile { src: 0, dst: shape.at(row, x) as u32, rows: 1, cols };
        // SAFETY: as the caller promises.
        unsafe { nk::tile_sums(isa, y, &[tile], shape.row(), shape.c, &mut of_row) };
        for (sum, value) in out.iter_mut().zip(&of_row) {
            *sum += value;
        }
    }
}
