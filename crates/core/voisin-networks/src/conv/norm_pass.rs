//! Batch norm, ReLU and pooling of whole windows, forward and backward, and the first convolution
//! in training.

use super::act::{Act, Shape};
use super::first::{self, First};
use super::norm_kernels::{self as nk, Norm, PixelRows};
use super::sums::TaskSums;
use super::winograd::Tile;
use crate::team::Team;
use voisin_kernels::Isa;
use voisin_kernels::buffer::{Buffer, SharedSlice};

/// Rows of pixels that one task of an element-wise pass takes, whole windows of every pool.
pub(super) const ROWS: usize = 8;

/// A pass over the rows of a convolution's output, in parts of [`ROWS`] rows.
pub(super) struct NormPass<'a> {
    /// The convolution's output, and the shape of the activation that follows.
    pub(super) y: &'a [f32],
    pub(super) shape: Shape,
    pub(super) a: Shape,
    /// Rows and columns of a max pool.
    pub(super) pool: [usize; 2],
    pub(super) norm: Norm<'a>,
}

impl<'a> NormPass<'a> {
    /// Parts of a window.
    fn parts(&self) -> usize {
        self.shape.h.div_ceil(ROWS)
    }

    fn rows(&self, window: usize, part: usize) -> PixelRows<'a> {
        PixelRows {
            y: &self.y[self.y_at(window, part)..],
            y_row: self.shape.row(),
            rows: ROWS.min(self.shape.h - part * ROWS),
            cols: self.shape.w,
            c: self.shape.c,
            a_row: self.a.row(),
            pool: self.pool,
            norm: self.norm,
        }
    }

    /// Index of a part's first pixel in the outputs.
    fn y_at(&self, window: usize, part: usize) -> usize {
        window * self.shape.len() + self.shape.at(part * ROWS, 0)
    }

    /// Where it lies in the activations (a last odd row that pooling leaves out: in the halo).
    fn a_at(&self, window: usize, part: usize) -> usize {
        window * self.a.len() + self.a.at(part * ROWS / self.pool[0], 0)
    }

    /// Batch norm, ReLU and pooling of `count` windows from `first` on, into the activations `a`,
    /// where they begin at window `at`.
    pub(super) fn forward(
        &self,
        isa: Isa,
        team: &Team,
        a: &mut Buffer,
        at: usize,
        first: usize,
        count: usize,
    ) {
        let parts = self.parts();
        let a = a.share();
        team.run(count * parts, |task| {
            let window = task / parts;
            let part = task % parts;
            // SAFETY: each task has its own rows.
            unsafe {
                nk::norm_forward(
                    isa,
                    self.rows(first + window, part),
                    a.skip(self.a_at(at + window, part)),
                );
            }
        });
    }

    /// Adds to `sums` the sums that the norm's backward needs of windows from `first` on, of `n` in
    /// all, from the gradient of their activations.
    pub(super) fn sums(
        &self,
        isa: Isa,
        da: &[f32],
        first: usize,
        count: usize,
        n: usize,
        sums: &mut TaskSums,
    ) {
        let parts = self.parts();
        let c = self.shape.c;
        sums.room(n * parts, c);
        let sums = sums.extend(count * parts, c);
        Team::rayon().run(count * parts, |task| {
            let window = first + task / parts;
            let part = task % parts;
            // SAFETY: each task has its own sums.
            let sums = unsafe { sums.slice_mut(task * 2 * c..(task + 1) * 2 * c) };
            // Each task fills its own sums, which are added in the order of tasks: the same bits
            // for any number of threads.
            sums.fill(0.0);
            nk::norm_sums(
                isa,
                self.rows(window, part),
                &da[self.a_at(window, part)..],
                sums,
            );
        });
    }

    /// From the gradient of the activations of windows from `first` on to that of the convolution's
    /// outputs; they lie at the start of `dy`.
    pub(super) fn backward(
        &self,
        isa: Isa,
        da: &[f32],
        dy: &mut Buffer,
        first: usize,
        count: usize,
    ) {
        let parts = self.parts();
        let dy = dy.share();
        Team::rayon().run(count * parts, |task| {
            let window = task / parts;
            let part = task % parts;
            let dy = dy.skip(self.y_at(window, part));
            let da = &da[self.a_at(first + window, part)..];
            // SAFETY: each task writes its own rows of dy.
            unsafe { nk::norm_backward(isa, self.rows(first + window, part), da, dy) };
        });
    }
}

/// Share of a new batch in the running mean and variance (PyTorch's convention).
const MOMENTUM: f32 = 0.1;

/// Batch statistics of a convolution's output and what follows from them.
#[derive(Clone, Debug)]
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
    /// Those that leave `c` channels as they are.
    pub(super) fn identity(c: usize) -> Self {
        let [ones, zeros] = [1.0, 0.0].map(|value| vec![value; c]);
        Self {
            mean: zeros.clone(),
            inv_std: ones.clone(),
            scale: ones.clone(),
            shift: zeros.clone(),
            c0: zeros.clone(),
            c1: zeros.clone(),
            running_mean: zeros,
            running_var: ones,
        }
    }

    /// The pass from the convolution's output `y` to the activation, or back.
    pub(super) fn pass<'a>(&'a self, pool: [usize; 2], y: &'a Act, a: Shape) -> NormPass<'a> {
        let norm = Norm {
            scale: &self.scale,
            shift: &self.shift,
            mean: &self.mean,
            c0: &self.c0,
            c1: &self.c1,
        };
        NormPass {
            y: y.buf.as_slice(),
            shape: y.shape,
            a,
            pool,
            norm,
        }
    }

    /// Mean, deviation and affine map from sums and sums of squares over `count` values of each
    /// channel; moves the running statistics.
    ///
    /// - `epsilon`: added to the variance before its root
    pub(super) fn set(
        &mut self,
        (sum, square): (Vec<f64>, Vec<f64>),
        count: f64,
        [gamma, beta]: [&[f32]; 2],
        epsilon: f64,
    ) {
        for i in 0..sum.len() {
            let mean = sum[i] / count;
            // The difference of two large sums may come out below zero.
            let var = (square[i] / count - mean * mean).max(0.0);
            let inv_std = 1.0 / (var + epsilon).sqrt();
            let scale = f64::from(gamma[i]) * inv_std;
            self.mean[i] = mean as f32;
            self.inv_std[i] = inv_std as f32;
            self.scale[i] = scale as f32;
            self.shift[i] = (f64::from(beta[i]) - mean * scale) as f32;
            // As in PyTorch: the running variance is unbiased, normalisation uses the biased one.
            let unbiased = var * count / (count - 1.0).max(1.0);
            self.running_mean[i] += MOMENTUM * (mean as f32 - self.running_mean[i]);
            self.running_var[i] += MOMENTUM * (unbiased as f32 - self.running_var[i]);
        }
    }
}

/// The first convolution of windows from `first` on, and their sums if requested.
///
/// - `image`: all windows, each with a border of zeros
/// - `filters`: `[9][c]`, and biases
pub(super) fn first_convolution(
    isa: Isa,
    image: &[f32],
    y: &mut Act,
    (weight, bias): (&[f32], &[f32]),
    first: usize,
    count: usize,
    sums: Option<&mut TaskSums>,
) {
    let shape = y.shape;
    let h = shape.h;
    let w = shape.w;
    let parts = h.div_ceil(ROWS);
    let y = y.buf.share();
    let sums = sums.map(|sums| sums.extend(count * parts, shape.c));
    Team::rayon().run(count * parts, |task| {
        let window = first + task / parts;
        let top = task % parts * ROWS;
        let rows = ROWS.min(h - top);
        let y = y.skip(window * shape.len());
        let first = First {
            src: &image[(window * (h + 2) + top) * (w + 2)..],
            src_row: w + 2,
            dst: y.skip(shape.at(top, 0)),
            dst_row: shape.row(),
            rows,
            cols: w,
            c: shape.c,
            weight,
            bias,
            relu: false,
        };
        // SAFETY: each task writes its own rows and sums, and reads the rows that it wrote.
        unsafe {
            first::first(isa, &first);
            let Some(sums) = sums else { return };
            let out = sums.slice_mut(task * 2 * shape.c..(task + 1) * 2 * shape.c);
            out.fill(0.0);
            for row in top..top + rows {
                row_sums(isa, y, shape, row, out);
            }
        }
    });
}

/// Adds the sums of row `row` of the padded window `y` to `out`, `[2][c]`.
///
/// # Safety
/// Nothing writes this row meanwhile.
unsafe fn row_sums(isa: Isa, y: SharedSlice<'_>, shape: Shape, row: usize, out: &mut [f32]) {
    let mut row_sum = vec![0.0f32; 2 * shape.c];
    // A tile's columns are counted in one byte.
    for x in (0..shape.w).step_by(255) {
        let cols = (shape.w - x).min(255) as u8;
        let tile = Tile {
            src: 0,
            dst: shape.at(row, x) as u32,
            rows: 1,
            cols,
        };
        // SAFETY: as the caller promises.
        unsafe { nk::tile_sums(isa, y, &[tile], shape.row(), shape.c, &mut row_sum) };
        for (sum, value) in out.iter_mut().zip(&row_sum) {
            *sum += value;
        }
    }
}
