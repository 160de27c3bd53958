//! The first layer's kernels: one input channel, direct rather than Winograd.

use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;
use voisin_simd::buffer::SharedSlice;

/// Direct 3×3 convolution of a one-channel image, with bias and ReLU.
#[derive(Clone, Copy)]
pub(super) struct First<'a> {
    /// Padded image, from the corner of the first output's 3×3 patch on, and its row length.
    pub(super) src: &'a [f32],
    pub(super) src_row: usize,
    /// Output pixels `[rows][cols][c]` and floats between its rows.
    pub(super) dst: SharedSlice<'a>,
    pub(super) dst_row: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Output channels, a multiple of 16.
    pub(super) c: usize,
    /// `[9][c]`.
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// `PX` neighbouring pixels × `NV` registers.
///
/// # Safety
/// There are 3 rows of `PX` + 2 floats at `src` and `PX` pixels at `dst`.
#[inline(always)]
unsafe fn first_pixels<S: Simd, const PX: usize, const NV: usize>(
    simd: S,
    a: &First<'_>,
    w: &[[S::V; NV]; 9],
    bias: &[S::V; NV],
    src: *const f32,
    dst: *mut f32,
) {
    // SAFETY: the extents above.
    // Four pixels at a time reuse each of the nine weight registers, and their sums do not wait for
    // each other.
    unsafe {
        let mut acc = [*bias; PX];
        for dy in 0..3 {
            for dx in 0..3 {
                for x in 0..PX {
                    let s = simd.splat(*src.add(dy * a.src_row + dx + x));
                    for j in 0..NV {
                        acc[x][j] = simd.fma(s, w[dy * 3 + dx][j], acc[x][j]);
                    }
                }
            }
        }
        let zero = simd.splat(0.0);
        for (x, pixel) in acc.into_iter().enumerate() {
            for (j, z) in pixel.into_iter().enumerate() {
                simd.store(dst.add(x * a.c + j * S::LANES), simd.max(z, zero));
            }
        }
    }
}

/// # Safety
/// `a` fits, and there are `NV` registers of channels from `channel` on.
#[inline(always)]
unsafe fn first_panel<S: Simd, const NV: usize>(simd: S, a: &First<'_>, channel: usize) {
    // SAFETY: `channel + NV · LANES <= c`; rows and columns lie in the image and the output.
    unsafe {
        let mut w = [[simd.splat(0.0); NV]; 9];
        let mut bias = [simd.splat(0.0); NV];
        for j in 0..NV {
            let channel = channel + j * S::LANES;
            bias[j] = simd.load(a.bias.as_ptr().add(channel));
            for (tap, w) in w.iter_mut().enumerate() {
                w[j] = simd.load(a.weight.as_ptr().add(tap * a.c + channel));
            }
        }
        for row in 0..a.rows {
            let src = a.src.as_ptr().add(row * a.src_row);
            let dst = a.dst.as_mut_ptr().add(row * a.dst_row + channel);
            let mut x = 0;
            while x + 4 <= a.cols {
                first_pixels::<S, 4, NV>(simd, a, &w, &bias, src.add(x), dst.add(x * a.c));
                x += 4;
            }
            while x < a.cols {
                first_pixels::<S, 1, NV>(simd, a, &w, &bias, src.add(x), dst.add(x * a.c));
                x += 1;
            }
        }
    }
}

/// # Safety
/// `a` fits, and nothing else reads or writes its outputs.
#[inline(always)]
unsafe fn first_generic<S: Simd>(simd: S, a: &First<'_>) {
    let mut channel = 0;
    // SAFETY: `c` is a multiple of 16, and so of the lanes.
    unsafe {
        // Two registers of channels only where there are 32 registers: with 16 the weights would
        // spill.
        if S::LANES == 16 {
            while channel + 32 <= a.c {
                first_panel::<S, 2>(simd, a, channel);
                channel += 32;
            }
        }
        while channel < a.c {
            first_panel::<S, 1>(simd, a, channel);
            channel += S::LANES;
        }
    }
}

dispatch! {
    first_unchecked => first_generic(a: &First<'_>)
}

/// The first layer: one input channel, direct.
///
/// # Safety
/// Nothing else reads or writes these outputs meanwhile.
pub(super) unsafe fn first(isa: Isa, a: &First<'_>) {
    assert!(
        a.rows > 0 && a.cols > 0 && a.c.is_multiple_of(16),
        "whole registers of channels"
    );
    assert!(
        a.weight.len() >= 9 * a.c && a.bias.len() >= a.c,
        "nine weights and a bias per channel"
    );
    assert!(
        a.src.len() >= (a.rows + 1) * a.src_row + a.cols + 2,
        "a border around the image"
    );
    assert!(
        a.dst.len() >= (a.rows - 1) * a.dst_row + a.cols * a.c,
        "room for the outputs"
    );
    // SAFETY: it fits, and outputs are kept apart by the caller.
    unsafe { first_unchecked(isa, a) }
}
