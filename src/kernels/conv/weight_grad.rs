//! The gradient of 3×3 filters in the Winograd domain.

#![allow(unsafe_code, reason = "hands disjoint parts of shared buffers to the kernels")]

use rayon::prelude::*;

use crate::kernels::buffer::{Buf, Shared};
use super::grad_kernels::{self as gk, Block, WeightGemm};
use crate::kernels::isa::{Isa, Precision};
use super::kernels::{self, Groups, Input, POS};
use super::layer::{Plan, Source, part, stride, with_scratch};
use super::norm_kernels;

/// Partial sums that are kept apart while filters are small: a fixed number, so that the order of
/// summation does not depend on the number of threads.
const LANES: usize = 16;
/// Tiles that a lane transforms at a time.
const LANE_TILES: usize = 50;
/// Filters (k · n) up to which lanes are used.
const LANE_FILTERS: usize = 128 * 128;
/// Tiles of a block when positions are what is shared out.
const BLOCK_TILES: usize = 400;

/// A running sum of filter gradients, with memory that is reused.
#[derive(Debug)]
pub(super) struct WeightGrad {
    isa: Isa,
    half: bool,
    du: Buf,
    work: Buf,
    /// Lanes that hold a sum; none before the first windows.
    used: usize,
}

impl WeightGrad {
    pub(super) fn new(isa: Isa, precision: Precision) -> Self {
        let half = precision == Precision::Bf16 && precision.is_available(isa);
        Self { isa, half, du: Buf::default(), work: Buf::default(), used: 0 }
    }

    /// Adds what `n` windows of `a`, the input of `plan`'s convolution, and `dy`, the gradient of its
    /// output, give (both padded, `dy` zero where no output is).
    pub(super) fn add(&mut self, plan: &Plan, a: Source<'_>, dy: Source<'_>, n: usize) {
        let (isa, half) = (self.isa, self.half);
        // Tiles are counted in slots: with bf16 two tiles share one.
        let per_slot = if half { 2 } else { 1 };
        let slots = plan.tiles.len().div_ceil(per_slot);
        let (k, cout) = (plan.from.c, plan.to.c);
        let size = POS * k * cout;
        let lanes = if k * cout <= LANE_FILTERS { LANES } else { 1 };
        self.du.reserve(lanes * size);
        let du = Shared(self.du.as_mut_ptr());
        let old = self.used;
        // SAFETY: whole windows of the buffers.
        let (a, dy) = unsafe {
            (
                Shared(a.buf.as_ptr().cast_mut().add(a.first * plan.from.len())),
                Shared(dy.buf.as_ptr().cast_mut().add(dy.first * plan.to.len())),
            )
        };
        if lanes > 1 {
            let parts = slots.div_ceil(LANE_TILES);
            let used = lanes.min(n * parts);
            (0..used).into_par_iter().with_max_len(1).for_each(|lane| {
                let (start, end) = part(n * parts, used, lane);
                let longest = slots.div_ceil(parts);
                let (vs, ys) = (POS * stride(longest * k), POS * stride(longest * cout));
                with_scratch(vs + ys, |v| {
                    for block in start..end {
                        let (window, range) = (block / parts, part(slots, parts, block % parts));
                        let tiles = range.1 - range.0;
                        // SAFETY: the scratch is this thread's, dU this lane's.
                        unsafe {
                            let y = v.add(vs);
                            transform(isa, half, plan, window, range, a, dy, 0, tiles, v, y);
                            let gemm = WeightGemm {
                                k,
                                n: cout,
                                tiles,
                                pos: (0, POS),
                                v,
                                v_stride: stride(tiles * k),
                                y,
                                y_stride: stride(tiles * cout),
                                du: du.at(lane * size),
                                fresh: block == start && lane >= old,
                                half,
                            };
                            gk::weight_gemm(isa, &gemm);
                        }
                    }
                });
            });
            self.used = old.max(used);
        } else {
            let per_window = slots;
            let windows = (BLOCK_TILES / per_window).clamp(1, n);
            let (vs, ys) = (stride(windows * per_window * k), stride(windows * per_window * cout));
            self.work.reserve(POS * (vs + ys));
            let v = Shared(self.work.as_mut_ptr());
            let y = Shared(v.0.wrapping_add(POS * vs));
            for start in (0..n).step_by(windows) {
                let count = windows.min(n - start);
                let total = count * per_window;
                let parts = per_window.div_ceil(8);
                (0..count * parts).into_par_iter().with_max_len(1).for_each(|task| {
                    let (window, range) = (task / parts, part(per_window, parts, task % parts));
                    let first = window * per_window + range.0;
                    // SAFETY: each task writes the slots of its own tiles.
                    unsafe {
                        transform(
                            isa,
                            half,
                            plan,
                            start + window,
                            range,
                            a,
                            dy,
                            first,
                            total,
                            v.at(0),
                            y.at(0),
                        );
                    };
                });
                (0..POS).into_par_iter().with_max_len(1).for_each(|pos| {
                    // SAFETY: each task adds to its own position of dU.
                    unsafe {
                        let gemm = WeightGemm {
                            k,
                            n: cout,
                            tiles: total,
                            pos: (pos, pos + 1),
                            v: v.at(0),
                            v_stride: stride(total * k),
                            y: y.at(0),
                            y_stride: stride(total * cout),
                            du: du.at(0),
                            fresh: start == 0 && old == 0,
                            half,
                        };
                        gk::weight_gemm(isa, &gemm);
                    }
                });
            }
            self.used = 1;
        }
    }

    /// Writes the sum to `grads`, `[out][in][3][3]`, and forgets it.
    pub(super) fn finish(&mut self, plan: &Plan, grads: &mut [f32]) {
        let (isa, used) = (self.isa, std::mem::take(&mut self.used));
        let (k, cout) = (plan.from.c, plan.to.c);
        let size = POS * k * cout;
        assert!(used > 0 && self.du.as_slice().len() >= used * size, "windows were added for this plan");
        let du = Shared(self.du.as_mut_ptr());
        (0..POS).into_par_iter().for_each(|pos| {
            let len = k * cout;
            for lane in 1..used {
                // SAFETY: each task adds up its own position.
                unsafe {
                    norm_kernels::axpy(isa, len, 1.0, du.at(lane * size + pos * len), du.at(pos * len));
                };
            }
        });
        assert_eq!(grads.len(), cout * k * 9, "one gradient per weight");
        let grads = Shared(grads.as_mut_ptr());
        (0..cout / 16).into_par_iter().with_max_len(1).for_each(|block| {
            let mut taps = [[0.0f32; 16]; 9];
            for i in 0..k {
                // SAFETY: 16 output channels of dU at input channel i; each task has its own outputs.
                unsafe {
                    gk::filter_grad(isa, du.at(i * cout + block * 16), k * cout, &mut taps);
                    for o in 0..16 {
                        for (tap, taps) in taps.iter().enumerate() {
                            *grads.at(((block * 16 + o) * k + i) * 9 + tap) = taps[o];
                        }
                    }
                }
            }
        });
    }
}

/// V and Y of some tiles (pairs of tiles with `half`) of a window, into a block of `total` tiles at `first`.
///
/// # Safety
/// `v` and `y` hold the block; nobody else writes these tiles' slots.
unsafe fn transform(
    isa: Isa,
    half: bool,
    plan: &Plan,
    window: usize,
    range: (usize, usize),
    a: Shared,
    dy: Shared,
    first: usize,
    total: usize,
    v: *mut f32,
    y: *mut f32,
) {
    if half {
        let tiles = &plan.tiles[2 * range.0..(2 * range.1).min(plan.tiles.len())];
        // SAFETY: as the caller promises.
        unsafe {
            let input = Block {
                src: a.at(window * plan.from.len()),
                row: plan.from.row(),
                c: plan.from.c,
                tiles,
                first,
                total,
                out: v,
                stride: stride(total * plan.from.c),
            };
            gk::input_pairs(&input);
            let out = Block {
                src: dy.at(window * plan.to.len()),
                row: plan.to.row(),
                c: plan.to.c,
                out: y,
                stride: stride(total * plan.to.c),
                ..input
            };
            gk::out_grad_pairs(&out);
        }
        return;
    }
    let tiles = &plan.tiles[range.0..range.1];
    // SAFETY: as the caller promises; the padded windows hold every tile's patch.
    unsafe {
        let input = Input {
            src: a.at(window * plan.from.len()),
            row: plan.from.row(),
            c: plan.from.c,
            tiles,
            first,
            groups: Groups::new(total, total),
            v,
            v_stride: stride(total * plan.from.c),
            half: false,
        };
        kernels::input(isa, &input);
        let out = Block {
            src: dy.at(window * plan.to.len()),
            row: plan.to.row(),
            c: plan.to.c,
            tiles,
            first,
            total,
            out: y,
            stride: stride(total * plan.to.c),
        };
        gk::out_grad(isa, &out);
    }
}
