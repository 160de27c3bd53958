//! The first layer's kernels: one input channel, direct rather than Winograd, forward and backward.

#![allow(unsafe_code, reason = "SIMD kernels on raw pointers; each entry states what its caller guarantees")]

use crate::kernels::dispatch::dispatch;
use crate::kernels::simd::Simd;

/// Direct 3×3 convolution of a one-channel image, with bias and ReLU.
#[derive(Clone, Copy)]
pub(super) struct First {
    /// Padded image, at the corner of the first output's 3×3 patch, and its row length.
    pub(super) src: *const f32,
    pub(super) src_row: usize,
    /// Output pixels `[rows][cols][c]` and floats between its rows.
    pub(super) dst: *mut f32,
    pub(super) dst_row: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Output channels, a multiple of 16.
    pub(super) c: usize,
    /// `[9][c]`.
    pub(super) weight: *const f32,
    pub(super) bias: *const f32,
    pub(super) relu: bool,
}

/// `PX` neighbouring pixels × `NV` registers.
#[inline(always)]
unsafe fn first_pixels<S: Simd, const PX: usize, const NV: usize>(
    a: &First,
    w: &[[S::V; NV]; 9],
    bias: &[S::V; NV],
    src: *const f32,
    dst: *mut f32,
) {
    // SAFETY: 3 rows of PX + 2 floats at src, PX pixels at dst.
    unsafe {
        let mut acc = [*bias; PX];
        for dy in 0..3 {
            for dx in 0..3 {
                for x in 0..PX {
                    let s = S::splat(*src.add(dy * a.src_row + dx + x));
                    for j in 0..NV {
                        acc[x][j] = S::fma(s, w[dy * 3 + dx][j], acc[x][j]);
                    }
                }
            }
        }
        let zero = S::splat(0.0);
        for (x, pixel) in acc.into_iter().enumerate() {
            for (j, z) in pixel.into_iter().enumerate() {
                S::store(dst.add(x * a.c + j * S::LANES), if a.relu { S::max(z, zero) } else { z });
            }
        }
    }
}

#[inline(always)]
unsafe fn first_panel<S: Simd, const NV: usize>(a: &First, channel: usize) {
    // SAFETY: `channel + NV · LANES <= c`.
    unsafe {
        let mut w = [[S::splat(0.0); NV]; 9];
        let mut bias = [S::splat(0.0); NV];
        for j in 0..NV {
            bias[j] = S::load(a.bias.add(channel + j * S::LANES));
            for (tap, w) in w.iter_mut().enumerate() {
                w[j] = S::load(a.weight.add(tap * a.c + channel + j * S::LANES));
            }
        }
        for row in 0..a.rows {
            let src = a.src.add(row * a.src_row);
            let dst = a.dst.add(row * a.dst_row + channel);
            let mut x = 0;
            while x + 4 <= a.cols {
                first_pixels::<S, 4, NV>(a, &w, &bias, src.add(x), dst.add(x * a.c));
                x += 4;
            }
            while x < a.cols {
                first_pixels::<S, 1, NV>(a, &w, &bias, src.add(x), dst.add(x * a.c));
                x += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn first_generic<S: Simd>(a: &First) {
    let mut channel = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        if S::LANES == 16 {
            while channel + 32 <= a.c {
                first_panel::<S, 2>(a, channel);
                channel += 32;
            }
        }
        while channel < a.c {
            first_panel::<S, 1>(a, channel);
            channel += S::LANES;
        }
    }
}

dispatch! {
    /// The first layer: one input channel, direct.
    first => first_generic(a: &First)
}

#[inline(always)]
unsafe fn first_grad_generic<S: Simd>(
    dy: *const f32,
    cols: usize,
    c: usize,
    image: *const f32,
    image_row: usize,
    out: *mut f32,
) {
    let mut ch = 0;
    while ch < c {
        // SAFETY: `cols` pixels at dy, three rows of `cols + 2` at image, 9 · c floats at out.
        unsafe {
            let mut acc = [S::splat(0.0); 9];
            for (tap, acc) in acc.iter_mut().enumerate() {
                *acc = S::load(out.add(tap * c + ch));
            }
            for x in 0..cols {
                let d = S::load(dy.add(x * c + ch));
                for tap in 0..9 {
                    let s = S::splat(*image.add(tap / 3 * image_row + tap % 3 + x));
                    acc[tap] = S::fma(s, d, acc[tap]);
                }
            }
            for (tap, acc) in acc.into_iter().enumerate() {
                S::store(out.add(tap * c + ch), acc);
            }
        }
        ch += S::LANES;
    }
}

dispatch! {
    /// Adds one row's part of the first layer's weight gradient to `out`, `[9][c]`.
    first_grad => first_grad_generic(
        dy: *const f32, cols: usize, c: usize, image: *const f32, image_row: usize, out: *mut f32
    )
}
