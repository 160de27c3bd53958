//! Pieces of a training step: convolutions in groups of windows, batch statistics, and rows in parts.

#![allow(unsafe_code, reason = "sums rows of shared buffers through the kernels")]

use super::act::Shape;
use crate::kernels::buffer::Buf;
use crate::kernels::isa::Isa;
use super::kernels::Tile;
use super::layer::{self, Filters, Plan, Source, Sums, Target};
use super::norm_kernels::{self as nk, Rows};
use super::train::Stats;
use super::weights::BATCH_NORM_EPS;
use crate::kernels::team::Team;

/// Tiles of a fused block.
pub(super) const BLOCK: usize = 28;
/// Filters (k · n) up to which a convolution is fused rather than phased.
const FUSED: usize = 128 * 128;

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

/// `count` windows of `src` into `dst` from window `at` on.
pub(super) fn convolve(
    filters: &Filters,
    plan: &Plan,
    src: Source<'_>,
    dst: &mut Buf,
    at: usize,
    count: usize,
    work: &mut Buf,
    sums: Option<&mut Sums>,
) {
    if filters.k * filters.n <= FUSED {
        layer::fused(&Team::rayon(), filters, plan, src, dst, at, count, BLOCK, sums);
    } else {
        layer::phased(&Team::rayon(), filters, plan, src, Target::Act(dst, at), count, work, sums);
    }
}

/// Mean, deviation and affine map from sums, and the running statistics.
pub(super) fn set_stats(
    stats: &mut Stats,
    sum: &[f64],
    square: &[f64],
    count: f64,
    gamma: &[f32],
    beta: &[f32],
    momentum: f32,
) {
    let c = sum.len();
    for part in [&mut stats.mean, &mut stats.inv_std, &mut stats.scale, &mut stats.shift] {
        part.resize(c, 0.0);
    }
    for i in 0..c {
        let mean = sum[i] / count;
        let var = (square[i] / count - mean * mean).max(0.0);
        let inv_std = 1.0 / (var + f64::from(BATCH_NORM_EPS)).sqrt();
        let scale = f64::from(gamma[i]) * inv_std;
        stats.mean[i] = mean as f32;
        stats.inv_std[i] = inv_std as f32;
        stats.scale[i] = scale as f32;
        stats.shift[i] = (f64::from(beta[i]) - mean * scale) as f32;
        let unbiased = var * count / (count - 1.0).max(1.0);
        stats.running_mean[i] += momentum * (mean as f32 - stats.running_mean[i]);
        stats.running_var[i] += momentum * (unbiased as f32 - stats.running_var[i]);
    }
}

/// Adds the sums of row `y` of a padded window to `out` (or starts them).
///
/// # Safety
/// As for [`nk::tile_sums`].
pub(super) unsafe fn row_sums(isa: Isa, y: *const f32, shape: Shape, row: usize, start: bool, out: *mut f32) {
    let mut row_out = vec![0.0f32; 2 * shape.c];
    let tile =
        |x: usize, cols: usize| Tile { src: 0, dst: shape.at(row, x) as u32, rows: 1, cols: cols as u8 };
    // SAFETY: the row's pixels exist; `out` and `row_out` take 2 · c floats.
    unsafe {
        if start {
            out.write_bytes(0, 2 * shape.c);
        }
        for x in (0..shape.w).step_by(255) {
            let tiles = [tile(x, (shape.w - x).min(255))];
            nk::tile_sums(isa, y, &tiles, shape.row(), shape.c, row_out.as_mut_ptr());
            for (i, value) in row_out.iter().enumerate() {
                *out.add(i) += value;
            }
        }
    }
}

/// Calls `run` with the rows, two at a time when pooling.
pub(super) fn each_part(rows: &Rows, run: impl Fn(&Rows)) {
    if !rows.pool {
        run(rows);
        return;
    }
    for r in (0..rows.rows).step_by(2) {
        let count = 2.min(rows.rows - r);
        let y = r * rows.y_row;
        let part = Rows {
            y: rows.y.wrapping_add(y),
            dy: if rows.dy.is_null() { rows.dy } else { rows.dy.wrapping_add(y) },
            a: rows.a.wrapping_add(r / 2 * rows.a_row),
            rows: count,
            ..*rows
        };
        run(&part);
    }
}
