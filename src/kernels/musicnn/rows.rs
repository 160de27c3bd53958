//! Rows of activations times a matrix: the convolutions over all channels, and the dense layers.

#![allow(unsafe_code, reason = "SIMD kernels behind a run-time feature check")]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

use crate::kernels::dispatch::dispatch;
use crate::kernels::simd::Simd;

/// Rows that are computed together.
const TOGETHER: usize = 6;

/// `scale · relu(input · matrix + bias) + shift`, plus a residual; see the fields for what is optional.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Row i begins at `input + i · stride` and has `inner` values; rows may overlap.
    pub(super) input: *const f32,
    pub(super) stride: usize,
    pub(super) inner: usize,
    /// `[panel][inner][2 · LANES]`
    pub(super) matrix: *const f32,
    /// Row i starts from `bias + bias_row[i] · outputs`.
    pub(super) bias: *const f32,
    /// `count` indices.
    pub(super) bias_row: *const u8,
    /// `[outputs]` each, or null: the sums are the result, without ReLU.
    pub(super) scale: *const f32,
    pub(super) shift: *const f32,
    /// Rows of `residual_width` values that are added at the end to the first outputs.
    pub(super) residual: *const f32,
    /// A multiple of `2 · LANES`, or 0.
    pub(super) residual_width: usize,
    /// Number of rows.
    pub(super) count: usize,
    /// Number of outputs, a multiple of `2 · LANES`.
    pub(super) outputs: usize,
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
}

/// # Safety
/// The pointers are valid for the extents their fields state; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn rows_generic<S: Simd>(job: &Rows) {
    let width = 2 * S::LANES;
    for column in (0..job.outputs).step_by(width) {
        // SAFETY: the caller's extents; blocks of rows end at `count`.
        unsafe {
            let matrix = job.matrix.add(column * job.inner);
            let mut row = 0;
            if job.count >= TOGETHER {
                while row < job.count {
                    // The last block overlaps the one before: it writes the same values again.
                    row = row.min(job.count - TOGETHER);
                    block::<S, TOGETHER>(job, matrix, row, column);
                    row += TOGETHER;
                }
            } else {
                while row < job.count {
                    block::<S, 1>(job, matrix, row, column);
                    row += 1;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn block<S: Simd, const R: usize>(job: &Rows, matrix: *const f32, row: usize, column: usize) {
    // SAFETY: the caller's extents.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let bias = job.bias.add(usize::from(*job.bias_row.add(row + r)) * job.outputs + column);
            *sums = [S::load(bias), S::load(bias.add(S::LANES))];
        }
        let input = job.input.add(row * job.stride);
        for k in 0..job.inner {
            let m = matrix.add(k * 2 * S::LANES);
            let (m0, m1) = (S::load(m), S::load(m.add(S::LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = S::splat(*input.add(r * job.stride + k));
                *sums = [S::fma(x, m0, sums[0]), S::fma(x, m1, sums[1])];
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (half, mut y) in sums.into_iter().enumerate() {
                let at = column + half * S::LANES;
                if !job.scale.is_null() {
                    y = S::max(y, S::splat(0.0));
                    y = S::fma(y, S::load(job.scale.add(at)), S::load(job.shift.add(at)));
                }
                if column < job.residual_width {
                    y = S::add(y, S::load(job.residual.add((row + r) * job.residual_width + at)));
                }
                S::store(job.out.add((row + r) * job.out_stride + at), y);
            }
        }
    }
}

dispatch!(
    /// See [`Rows`].
    rows => rows_generic(job: &Rows)
);

/// Maximum and mean of each column.
///
/// - `input`: `count` rows of `width` values, `width` a multiple of the lanes
/// - `out`: `[max or mean][width]`, `out_stride` apart
///
/// # Safety
/// The pointers are valid for these extents; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn pool_generic<S: Simd>(
    input: *const f32,
    count: usize,
    width: usize,
    out: *mut f32,
    out_stride: usize,
) {
    for column in (0..width).step_by(S::LANES) {
        // SAFETY: the caller's extents.
        unsafe {
            let mut max = S::splat(f32::NEG_INFINITY);
            let mut sum = S::splat(0.0);
            for row in 0..count {
                let x = S::load(input.add(row * width + column));
                max = S::max(max, x);
                sum = S::add(sum, x);
            }
            S::store(out.add(column), max);
            S::store(out.add(out_stride + column), S::mul(sum, S::splat(1.0 / count as f32)));
        }
    }
}

dispatch!(
    /// See [`pool_generic`].
    pool => pool_generic(input: *const f32, count: usize, width: usize, out: *mut f32, out_stride: usize)
);
