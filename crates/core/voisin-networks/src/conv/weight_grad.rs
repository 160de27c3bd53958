//! The gradient of 3×3 filters in the Winograd domain.

use std::ops::Range;

use rayon::prelude::*;

use super::grad_kernels::{self as gk, Patches, WeightGemm};
use super::layer::{PaddedInput, Plan, SMALL, part, stride, with_scratch};
use super::norm_kernels;
use super::winograd::{self, Groups, Input, POS};
use voisin_kernels::Isa;
use voisin_kernels::buffer::{Buffer, SharedSlice};

/// Separate partial sums for small filters ([`SMALL`]): a fixed number, so that the order of
/// summation does not depend on the number of threads.
const LANES: usize = 16;
/// Tiles that a lane transforms at a time.
const LANE_TILES: usize = 50;
/// Tiles of a block when positions are what is shared out.
const BLOCK_TILES: usize = 400;

/// A running sum of filter gradients, with memory that is reused.
#[derive(Debug)]
pub(super) struct WeightGrad {
    isa: Isa,
    du: Buffer,
    work: Buffer,
    /// Lanes that hold a sum; none before the first windows.
    used: usize,
}

impl WeightGrad {
    pub(super) fn new(isa: Isa) -> Self {
        Self {
            isa,
            du: Buffer::default(),
            work: Buffer::default(),
            used: 0,
        }
    }

    /// Adds the gradient for `n` windows of `a`, the input of `plan`'s convolution, and `dy`, the
    /// gradient of its output (both padded, `dy` with zeros).
    pub(super) fn add(&mut self, plan: &Plan, a: PaddedInput<'_>, dy: PaddedInput<'_>, n: usize) {
        let Self { isa, used: old, .. } = *self;
        let k = plan.from.c;
        let cout = plan.to.c;
        let size = POS * k * cout;
        let lanes = if k * cout <= SMALL { LANES } else { 1 };
        self.du.reserve(lanes * size);
        let du = self.du.share();
        let windows = Windows { isa, plan, a, dy };
        // Tiles of a window.
        let slots = plan.tiles.len();
        // Few filters: each lane sums whole tiles in a dU of its own. Many: one dU, whose positions
        // are shared out.
        if lanes > 1 {
            let parts = slots.div_ceil(LANE_TILES);
            let used = lanes.min(n * parts);
            (0..used).into_par_iter().with_max_len(1).for_each(|lane| {
                let blocks = part(n * parts, used, lane);
                let longest = slots.div_ceil(parts);
                let vs = POS * stride(longest * k);
                let ys = POS * stride(longest * cout);
                with_scratch(vs + ys, |scratch| {
                    let (v, y) = scratch.split_at_mut(vs);
                    for block in blocks.clone() {
                        let window = block / parts;
                        let range = part(slots, parts, block % parts);
                        let tiles = range.len();
                        // SAFETY: the scratch is this thread's.
                        unsafe {
                            windows.transform(
                                window,
                                range,
                                0,
                                tiles,
                                SharedSlice::new(v),
                                SharedSlice::new(y),
                            );
                        };
                        let gemm = WeightGemm {
                            k,
                            n: cout,
                            tiles,
                            positions: 0..POS,
                            v,
                            v_stride: stride(tiles * k),
                            y,
                            y_stride: stride(tiles * cout),
                            du: du.skip(lane * size),
                            // A lane's first product overwrites, so dU is never cleared.
                            fresh: block == blocks.start && lane >= old,
                        };
                        // SAFETY: this part of dU is this lane's.
                        unsafe { gk::weight_gemm(isa, &gemm) };
                    }
                });
            });
            self.used = old.max(used);
        } else {
            let at_once = (BLOCK_TILES / slots).clamp(1, n);
            let vs = stride(at_once * slots * k);
            let ys = stride(at_once * slots * cout);
            self.work.reserve(POS * (vs + ys));
            let (v, y) = self.work.as_mut_slice().split_at_mut(POS * vs);
            for start in (0..n).step_by(at_once) {
                let count = at_once.min(n - start);
                let total = count * slots;
                let parts = slots.div_ceil(8);
                let shared_v = SharedSlice::new(v);
                let shared_y = SharedSlice::new(y);
                (0..count * parts)
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|task| {
                        let window = task / parts;
                        let range = part(slots, parts, task % parts);
                        let first = window * slots + range.start;
                        // SAFETY: each task writes the slots of its own tiles.
                        unsafe {
                            windows.transform(
                                start + window,
                                range,
                                first,
                                total,
                                shared_v,
                                shared_y,
                            );
                        };
                    });
                let v = &*v;
                let y = &*y;
                (0..POS)
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|position| {
                        let gemm = WeightGemm {
                            k,
                            n: cout,
                            tiles: total,
                            positions: position..position + 1,
                            v,
                            v_stride: stride(total * k),
                            y,
                            y_stride: stride(total * cout),
                            du,
                            fresh: start == 0 && old == 0,
                        };
                        // SAFETY: each task adds to its own position of dU.
                        unsafe { gk::weight_gemm(isa, &gemm) };
                    });
            }
            self.used = 1;
        }
    }

    /// Writes the sum to `grads`, `[out][in][3][3]`, and clears it.
    pub(super) fn finish(&mut self, plan: &Plan, grads: &mut [f32]) {
        let isa = self.isa;
        let used = std::mem::take(&mut self.used);
        let k = plan.from.c;
        let cout = plan.to.c;
        let len = k * cout;
        assert!(
            used > 0 && self.du.as_slice().len() >= used * POS * len,
            "windows were added for this plan"
        );
        let (sum, others) = self.du.as_mut_slice()[..used * POS * len].split_at_mut(POS * len);
        sum.par_chunks_exact_mut(len)
            .enumerate()
            .for_each(|(position, sum)| {
                for lane in others.chunks_exact(POS * len) {
                    norm_kernels::axpy(isa, 1.0, &lane[position * len..][..len], sum);
                }
            });
        assert_eq!(grads.len(), cout * k * 9, "one gradient per weight");
        let sum = &*sum;
        grads
            .par_chunks_exact_mut(16 * k * 9)
            .with_max_len(1)
            .enumerate()
            .for_each(|(block, grads)| {
                let mut taps = [[0.0f32; 16]; 9];
                for i in 0..k {
                    gk::filter_grad(isa, &sum[i * cout + block * 16..], len, &mut taps);
                    for o in 0..16 {
                        for (tap, taps) in taps.iter().enumerate() {
                            grads[(o * k + i) * 9 + tap] = taps[o];
                        }
                    }
                }
            });
    }
}

/// Windows to transform: of a convolution's input, and of its output's gradient.
struct Windows<'a> {
    isa: Isa,
    plan: &'a Plan,
    a: PaddedInput<'a>,
    dy: PaddedInput<'a>,
}

impl Windows<'_> {
    /// V and Y of the slots `range` of a window, into a block of `total` slots from `first` on.
    ///
    /// # Safety
    /// Nothing else reads or writes these slots meanwhile.
    unsafe fn transform(
        &self,
        window: usize,
        range: Range<usize>,
        first: usize,
        total: usize,
        v: SharedSlice<'_>,
        y: SharedSlice<'_>,
    ) {
        let Self { isa, plan, a, dy } = *self;
        let tiles = &plan.tiles[range];
        let out = Patches {
            src: dy.window(window, plan.to),
            row: plan.to.row(),
            c: plan.to.c,
            tiles,
            first,
            total,
            out: y,
            stride: stride(total * plan.to.c),
        };
        let input = Input {
            src: a.window(window, plan.from),
            row: plan.from.row(),
            c: plan.from.c,
            tiles,
            first,
            groups: Groups::one(total),
            v,
            v_stride: stride(total * plan.from.c),
        };
        // SAFETY: as the caller promises.
        unsafe {
            winograd::input(isa, &input);
            gk::out_grad(isa, &out);
        }
    }
}
