//! Batch norm, ReLU and pooling of whole windows, forward and backward.

use super::act::Shape;
use super::norm_kernels::{self as nk, Norm, PixelRows};
use super::sums::TaskSums;
use crate::Isa;
use crate::buffer::Buffer;
use crate::team::Team;

/// Rows of pixels that one task of an element-wise pass takes, whole windows of every pool.
pub(super) const ROWS: usize = 8;

/// A pass over the rows of a convolution's output, in parts of [`ROWS`] rows.
pub(super) struct NormPass<'a> {
    /// The convolution's output, and the shape of the activation that follows.
    pub(super) y: &'a [f32],
    pub(super) shape: Shape,
    pub(super) a: Shape,
    /// Rows and columns that a maximum pool joins.
    pub(super) pool: [usize; 2],
    /// Whether ReLU follows the norm.
    pub(super) relu: bool,
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
            relu: self.relu,
            norm: self.norm,
        }
    }

    /// Where a part's first pixel lies in the outputs.
    fn y_at(&self, window: usize, part: usize) -> usize {
        window * self.shape.len() + self.shape.at(part * ROWS, 0)
    }

    /// Where it lies in the activations (a last odd row that pooling leaves out: in the halo).
    fn a_at(&self, window: usize, part: usize) -> usize {
        window * self.a.len() + self.a.at(part * ROWS / self.pool[0], 0)
    }

    /// Batch norm, ReLU and pooling of `count` windows from `first` on, into the activations `a`, where they begin at window
    /// `at`.
    pub(super) fn forward(
        &self,
        isa: Isa,
        team: &Team,
        a: &mut Buffer,
        at: usize,
        first: usize,
        count: usize,
    ) {
        let (parts, a) = (self.parts(), a.share());
        team.run(count * parts, |task| {
            let (window, part) = (task / parts, task % parts);
            // SAFETY: each task has its own rows.
            unsafe {
                nk::norm_forward(isa, self.rows(first + window, part), a.skip(self.a_at(at + window, part)))
            };
        });
    }

    /// Adds to `sums` what the norm's backward needs to know of windows from `first` on, of `n` in all, from the gradient of
    /// their activations.
    pub(super) fn sums(
        &self,
        isa: Isa,
        da: &[f32],
        first: usize,
        count: usize,
        n: usize,
        sums: &mut TaskSums,
    ) {
        let (parts, c) = (self.parts(), self.shape.c);
        sums.room(n * parts, c);
        let sums = sums.extend(count * parts, c);
        Team::rayon().run(count * parts, |task| {
            let (window, part) = (first + task / parts, task % parts);
            // SAFETY: each task has its own sums.
            let sums = unsafe { sums.slice_mut(task * 2 * c..(task + 1) * 2 * c) };
            sums.fill(0.0);
            nk::norm_sums(isa, self.rows(window, part), &da[self.a_at(window, part)..], sums);
        });
    }

    /// From the gradient of the activations of windows from `first` on to that of the convolution's outputs; they lie at the
    /// start of `dy`.
    pub(super) fn backward(&self, isa: Isa, da: &[f32], dy: &mut Buffer, first: usize, count: usize) {
        let (parts, dy) = (self.parts(), dy.share());
        Team::rayon().run(count * parts, |task| {
            let (window, part) = (task / parts, task % parts);
            let dy = dy.skip(self.y_at(window, part));
            let da = &da[self.a_at(first + window, part)..];
            // SAFETY: each task writes its own rows of dy.
            unsafe { nk::norm_backward(isa, self.rows(first + window, part), da, dy) };
        });
    }
}
