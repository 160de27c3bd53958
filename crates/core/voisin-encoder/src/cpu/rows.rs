//! Rows times a matrix: MusiCNN's convolutions over all channels and dense layers, neighbours and regressions.

use crate::cpu::simd::{Simd, dispatch};
use voisin_kernels::Isa;
use voisin_kernels::buffer::Buffer;

/// Most rows that are computed together.
const TOGETHER: usize = 6;

/// `scale · relu(input · matrix + bias) + shift`, plus a residual.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Row i begins at `i · stride` and has `inner` values; rows may overlap.
    pub(super) input: &'a [f32],
    pub(super) stride: usize,
    pub(super) inner: usize,
    /// `[panel][inner][2 · LANES]`, or by rows
    pub(super) matrix: &'a [f32],
    /// Row length if the matrix is stored by rows, `[inner][row_length]`.
    pub(super) row_length: Option<usize>,
    /// `[rows][outputs]`
    pub(super) bias: &'a [f32],
    /// For each row of the input, the row of `bias` that it starts from.
    pub(super) bias_row: &'a [u8],
    /// Scale and shift, `[outputs]` each; without them the sums are the result, without ReLU.
    pub(super) norm: Option<(&'a [f32], &'a [f32])>,
    /// Rows that are added at the end to the first outputs, and their length, a multiple of
    /// `2 · LANES`.
    pub(super) residual: Option<(&'a [f32], usize)>,
    /// Number of outputs, a multiple of `2 · LANES`.
    pub(super) outputs: usize,
}

impl Rows<'_> {
    /// Whether everything is there for `count` rows.
    fn fits(&self, count: usize, lanes: usize) -> bool {
        let is_row = |row: &u8| (usize::from(*row) + 1) * self.outputs <= self.bias.len();
        count > 0
            && self.outputs.is_multiple_of(2 * lanes)
            && (count - 1) * self.stride + self.inner <= self.input.len()
            && match self.row_length {
                None => self.inner * self.outputs <= self.matrix.len(),
                Some(length) => self.outputs <= length && self.inner * length <= self.matrix.len(),
            }
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
        let (first, step) = job
            .row_length
            .map_or((column * job.inner, 2 * S::LANES), |length| {
                (column, length)
            });
        let matrix = job.matrix.as_ptr().add(first);
        for k in 0..job.inner {
            let m = matrix.add(k * step);
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

/// A matrix that rows are multiplied by, in panels of two registers.
pub struct Panels {
    isa: Isa,
    inner: usize,
    /// Outputs with the padding of the last panel.
    outputs: usize,
    matrix: Buffer,
}

impl Panels {
    /// `value(inner, output)` for each place.
    pub fn new(
        isa: Isa,
        inner: usize,
        outputs: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = 2 * isa.lanes();
        let wide = outputs.next_multiple_of(width);
        let mut matrix = Buffer::zeroed(inner * wide);
        let panels = matrix.as_mut_slice()[..inner * wide].chunks_exact_mut(inner * width);
        for (panel, values) in panels.enumerate() {
            let first = panel * width;
            for (from, values) in values.chunks_exact_mut(width).enumerate() {
                for (output, to) in (first..outputs).zip(values) {
                    *to = value(from, output);
                }
            }
        }
        Self {
            isa,
            inner,
            outputs: wide,
            matrix,
        }
    }

    /// Numbers of a row of products: the outputs, and the padding of the last panel.
    pub fn width(&self) -> usize {
        self.outputs
    }

    /// Products of rows that begin `stride` apart, `[rows][width]`: of as many as `out` has room
    /// for.
    ///
    /// # Panics
    /// If `input` has fewer.
    pub fn multiply(&self, input: &[f32], stride: usize, out: &mut [f32]) {
        let job = Rows {
            input,
            stride,
            inner: self.inner,
            matrix: self.matrix.as_slice(),
            row_length: None,
            bias: &vec![0.0; self.outputs],
            bias_row: &vec![0; out.len() / self.outputs],
            norm: None,
            residual: None,
            outputs: self.outputs,
        };
        rows(self.isa, &job, out);
    }
}

/// Row lengths that [`multiply`] takes are multiples of this.
pub const WIDTH: usize = 32;

/// Products of rows with a matrix stored by rows: best if it stays in a cache.
///
/// - `input`: `[rows][inner]`
/// - `matrix`: `[inner][width]`; `width` is a multiple of [`WIDTH`]
/// - `out`: `[rows][width]`
///
/// # Panics
/// If a length does not fit.
pub fn multiply(isa: Isa, input: &[f32], matrix: &[f32], width: usize, out: &mut [f32]) {
    let count = out.len() / width;
    assert!(
        count > 0 && input.len().is_multiple_of(count) && out.len().is_multiple_of(width),
        "whole rows"
    );
    let inner = input.len() / count;
    let job = Rows {
        input,
        stride: inner,
        inner,
        matrix,
        row_length: Some(width),
        bias: &vec![0.0; width],
        bias_row: &vec![0; count],
        norm: None,
        residual: None,
        outputs: width,
    };
    rows(isa, &job, out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_a_plain_loop_on_every_instruction_set() {
        let number = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
        for (rows, inner, outputs) in [(1, 1, 1), (5, 40, 33), (6, 7, 32), (8, 3, 9), (20, 65, 70)]
        {
            let stride = inner + 3;
            let input: Vec<f32> = (0..rows * stride).map(number).collect();
            let value = |from: usize, to: usize| number(5 + from * outputs + to);
            let width = outputs.next_multiple_of(WIDTH);
            let mut matrix = vec![0.0; inner * width];
            for from in 0..inner {
                (0..outputs).for_each(|to| matrix[from * width + to] = value(from, to));
            }
            let close: Vec<f32> = input
                .chunks_exact(stride)
                .flat_map(|row| row[..inner].to_vec())
                .collect();
            for isa in Isa::available() {
                let panels = Panels::new(isa, inner, outputs, value);
                let mut packed = vec![f32::NAN; rows * panels.width()];
                panels.multiply(&input, stride, &mut packed);
                let mut plain = vec![f32::NAN; rows * width];
                multiply(isa, &close, &matrix, width, &mut plain);
                for row in 0..rows {
                    for to in 0..outputs {
                        let terms = (0..inner).map(|from| {
                            f64::from(close[row * inner + from]) * f64::from(value(from, to))
                        });
                        let packed = packed[row * panels.width() + to];
                        let plain = plain[row * width + to];
                        assert!(
                            (f64::from(packed) - terms.sum::<f64>()).abs() < 1e-5,
                            "{isa} {row} {to}"
                        );
                        assert_eq!(packed.to_bits(), plain.to_bits(), "{isa} {row} {to}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "everything is there for 2 rows")]
    fn a_matrix_that_ends_too_early_is_refused() {
        multiply(
            Isa::PORTABLE,
            &[1.0; 6],
            &[1.0; 2 * WIDTH],
            WIDTH,
            &mut [0.0; 2 * WIDTH],
        );
    }
}
