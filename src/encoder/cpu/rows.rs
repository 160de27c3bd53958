//! Rows times a matrix: MusiCNN's convolutions over all channels and dense layers.

use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;

/// Most rows that are computed together.
const TOGETHER: usize = 6;

/// `scale · relu(input · matrix + bias) + shift`, plus a residual.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Row i begins at `i · stride` and has `inner` values; rows may overlap.
    pub(super) input: &'a [f32],
    pub(super) stride: usize,
    pub(super) inner: usize,
    /// `[panel][inner][2 · LANES]`
    pub(super) matrix: &'a [f32],
    /// `[rows][outputs]`
    pub(super) bias: &'a [f32],
    /// For each row of the input, the row of `bias` that it starts from.
    pub(super) bias_row: &'a [u8],
    /// Scale and shift, `[outputs]` each; without them the sums are the result, without ReLU.
    pub(super) norm: Option<(&'a [f32], &'a [f32])>,
    /// Rows that are added at the end to the first outputs, and their length, a multiple of
    /// `2 · LANES`.
    pub(super) residual: Option<(&'a [f32], usize)>,
    pub(super) outputs: usize,
}

impl Rows<'_> {
    fn fits(&self, count: usize, lanes: usize) -> bool {
        let is_row = |row: &u8| (usize::from(*row) + 1) * self.outputs <= self.bias.len();
        count > 0
            && self.outputs.is_multiple_of(2 * lanes)
            && (count - 1) * self.stride + self.inner <= self.input.len()
            && self.inner * self.outputs <= self.matrix.len()
            && count <= self.bias_row.len()
            && self.bias_row[..count].iter().all(is_row)
            && self
                .norm
                .is_none_or(|(scale, shift)| scale.len().min(shift.len()) >= self.outputs)
            && self.residual.is_none_or(|(rows, width)| {
                width.is_multiple_of(2 * lanes)
                    && count * width <= rows.len()
                    && width <= self.outputs
            })
    }
}

/// # Safety
/// `job` fits `count` rows, and `out` takes `count · outputs` values.
#[inline(always)]
unsafe fn rows_generic<S: Simd>(simd: S, job: &Rows<'_>, count: usize, out: *mut f32) {
    for column in (0..job.outputs).step_by(2 * S::LANES) {
        // SAFETY: blocks of rows end at `count`.
        unsafe {
            let mut row = 0;
            while row < count {
                let left = count - row;
                // The last two are about equally large, as a block of one row takes nearly as long
                // as one of four.
                let taken = if (TOGETHER + 1..2 * TOGETHER).contains(&left) {
                    left.div_ceil(2)
                } else {
                    left
                };
                match taken {
                    1 => block::<S, 1>(simd, job, row, column, out),
                    2 => block::<S, 2>(simd, job, row, column, out),
                    3 => block::<S, 3>(simd, job, row, column, out),
                    4 => block::<S, 4>(simd, job, row, column, out),
                    5 => block::<S, 5>(simd, job, row, column, out),
                    _ => block::<S, TOGETHER>(simd, job, row, column, out),
                }
                row += taken.min(TOGETHER);
            }
        }
    }
}

/// # Safety
/// As [`rows_generic`], for `R` rows from `row` on and a panel from `column` on.
#[inline(always)]
unsafe fn block<S: Simd, const R: usize>(
    simd: S,
    job: &Rows<'_>,
    row: usize,
    column: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's extents.
    unsafe {
        let mut sums = [[simd.splat(0.0); 2]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let bias_row = usize::from(*job.bias_row.as_ptr().add(row + r));
            let bias = job.bias.as_ptr().add(bias_row * job.outputs + column);
            *sums = [simd.load(bias), simd.load(bias.add(S::LANES))];
        }
        let input = job.input.as_ptr().add(row * job.stride);
        let matrix = job.matrix.as_ptr().add(column * job.inner);
        for k in 0..job.inner {
            let m = matrix.add(k * 2 * S::LANES);
            let m0 = simd.load(m);
            let m1 = simd.load(m.add(S::LANES));
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = simd.splat(*input.add(r * job.stride + k));
                *sums = [simd.fma(x, m0, sums[0]), simd.fma(x, m1, sums[1])];
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (half, mut y) in sums.into_iter().enumerate() {
                let at = column + half * S::LANES;
                if let Some((scale, shift)) = job.norm {
                    y = simd.max(y, simd.splat(0.0));
                    y = simd.fma(
                        y,
                        simd.load(scale.as_ptr().add(at)),
                        simd.load(shift.as_ptr().add(at)),
                    );
                }
                if let Some((residual, width)) = job.residual
                    && column < width
                {
                    y = simd.add(y, simd.load(residual.as_ptr().add((row + r) * width + at)));
                }
                simd.store(out.add((row + r) * job.outputs + at), y);
            }
        }
    }
}

dispatch! {
    rows_unchecked => rows_generic(job: &Rows<'_>, count: usize, out: *mut f32)
}

/// As many rows of outputs as `out` takes.
pub(super) fn rows(isa: Isa, job: &Rows<'_>, out: &mut [f32]) {
    let count = out.len() / job.outputs;
    assert!(
        job.fits(count, isa.lanes()),
        "everything is there for {count} rows"
    );
    // SAFETY: it fits.
    unsafe { rows_unchecked(isa, job, count, out.as_mut_ptr()) }
}

/// # Safety
/// `count` rows of `width` values, a multiple of the lanes, at `input`; `width` values at `max` and
/// at `mean`.
#[inline(always)]
unsafe fn pool_generic<S: Simd>(
    simd: S,
    input: *const f32,
    count: usize,
    width: usize,
    max: *mut f32,
    mean: *mut f32,
) {
    for column in (0..width).step_by(S::LANES) {
        // SAFETY: the caller's extents.
        unsafe {
            let mut most = simd.splat(f32::NEG_INFINITY);
            let mut sum = simd.splat(0.0);
            for row in 0..count {
                let x = simd.load(input.add(row * width + column));
                most = simd.max(most, x);
                sum = simd.add(sum, x);
            }
            simd.store(max.add(column), most);
            simd.store(
                mean.add(column),
                simd.mul(sum, simd.splat(1.0 / count as f32)),
            );
        }
    }
}

dispatch! {
    pool_unchecked => pool_generic(input: *const f32, count: usize, width: usize, max: *mut f32, mean: *mut f32)
}

/// Maximum and mean of each column of `input`, whose rows are as long as `max` and `mean`.
pub(super) fn pool(isa: Isa, input: &[f32], max: &mut [f32], mean: &mut [f32]) {
    let width = max.len();
    assert!(
        mean.len() == width && width.is_multiple_of(isa.lanes()),
        "whole registers of columns"
    );
    let count = input.len() / width;
    // SAFETY: the extents just checked.
    unsafe {
        pool_unchecked(
            isa,
            input.as_ptr(),
            count,
            width,
            max.as_mut_ptr(),
            mean.as_mut_ptr(),
        );
    }
}
