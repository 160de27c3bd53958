//! Winograd kernels that only training needs: the gradient of the filters, and filters that change.

#![allow(unsafe_code, reason = "SIMD kernels on raw pointers; each entry states what its caller guarantees")]

use crate::kernels::dispatch::{dispatch, dispatch_half};
use crate::kernels::isa::Isa;
use super::kernels::{self, A, B, POS, Tile};
use crate::kernels::simd::Simd;

/// The filter transform's divisors at ±a and ±b, inverted.
const NA: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const NB: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

/// One-dimensional transform of an output gradient, A d.
#[inline(always)]
unsafe fn a4<S: Simd>(d: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let (a2, b2) = (S::splat(A * A), S::splat(B * B));
        let p = S::fma(a2, d[2], d[0]);
        let q = S::mul(S::splat(A), S::fma(a2, d[3], d[1]));
        let r = S::fma(b2, d[2], d[0]);
        let s = S::mul(S::splat(B), S::fma(b2, d[3], d[1]));
        [d[0], S::add(p, q), S::sub(p, q), S::add(r, s), S::sub(r, s), d[3]]
    }
}

/// The columns' half of A dy Aᵀ for the 4×4 pixels at `dy`.
#[inline(always)]
unsafe fn dy_patch<S: Simd>(dy: *const f32, row: usize, c: usize) -> [[S::V; 4]; 6] {
    // SAFETY: the pixels lie inside the padded window.
    unsafe {
        let mut rows = [[S::splat(0.0); 4]; 6];
        for x in 0..4 {
            let column = a4::<S>([
                S::load(dy.add(x * c)),
                S::load(dy.add(row + x * c)),
                S::load(dy.add(2 * row + x * c)),
                S::load(dy.add(3 * row + x * c)),
            ]);
            for r in 0..6 {
                rows[r][x] = column[r];
            }
        }
        rows
    }
}

/// A window to transform, and where to: the input (`Bᵀ d B`) or the gradient of the output (`A dy Aᵀ`).
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// A padded window (zero where no output exists).
    pub(super) src: *const f32,
    pub(super) row: usize,
    pub(super) c: usize,
    pub(super) tiles: &'a [Tile],
    /// Index of the first tile (or pair of tiles), and tiles (or pairs) of the block.
    pub(super) first: usize,
    pub(super) total: usize,
    pub(super) out: *mut f32,
    pub(super) stride: usize,
}

#[inline(always)]
unsafe fn out_grad_generic<S: Simd>(p: &Block<'_>) {
    for (i, tile) in p.tiles.iter().enumerate() {
        // SAFETY: the tile's 4×4 pixels lie inside the padded window, its slots inside the block.
        unsafe {
            let dy = p.src.add(tile.dst as usize);
            let mut ch = 0;
            while ch < p.c {
                let dy = dy.add(ch);
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let rows = dy_patch::<S>(dy, p.row, p.c);
                for (r, row) in rows.into_iter().enumerate() {
                    for (x, value) in a4::<S>(row).into_iter().enumerate() {
                        S::store(out.add((r * 6 + x) * p.stride), value);
                    }
                }
                ch += S::LANES;
            }
        }
    }
}

dispatch! {
    /// A dy Aᵀ of every tile and channel.
    out_grad => out_grad_generic(p: &Block<'_>)
}

/// `dU[p] += V[p]ᵀ · Y[p]`, summed over the tiles of a block.
#[derive(Clone, Copy)]
pub(super) struct WeightGemm {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) tiles: usize,
    pub(super) pos: (usize, usize),
    /// `[36][k / 16][tile][16]`, or with `half` `[36][k / 16][pair of tiles][16][2]` in bf16; `tiles` then
    /// counts pairs.
    pub(super) v: *const f32,
    pub(super) v_stride: usize,
    /// `[36][n / 16][tile][16]`, or in pairs.
    pub(super) y: *const f32,
    pub(super) y_stride: usize,
    /// `[36][k][n]`
    pub(super) du: *mut f32,
    /// Whether `du` holds nothing yet.
    pub(super) fresh: bool,
    pub(super) half: bool,
}

#[inline(always)]
unsafe fn weight_micro<S: Simd, const HALF: bool, const MR: usize, const NV: usize>(
    tiles: usize,
    v: *const f32,
    y: [*const f32; NV],
    du: *mut f32,
    n: usize,
    fresh: bool,
) {
    // SAFETY: both streams hold `tiles` lines of 16 floats; du takes MR rows of n floats.
    unsafe {
        let mut acc = [[S::splat(0.0); NV]; MR];
        for t in 0..tiles {
            let mut b = [S::splat(0.0); NV];
            for j in 0..NV {
                b[j] = S::load(y[j].add(t * 16));
            }
            for i in 0..MR {
                let a = S::splat(*v.add(t * 16 + i));
                for j in 0..NV {
                    acc[i][j] = if HALF { S::dot2(a, b[j], acc[i][j]) } else { S::fma(a, b[j], acc[i][j]) };
                }
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let p = du.add(i * n + j * S::LANES);
                S::store(p, if fresh { acc[i][j] } else { S::add(S::load(p), acc[i][j]) });
            }
        }
    }
}

#[inline(always)]
unsafe fn weight_rows<S: Simd, const HALF: bool, const MR: usize>(p: &WeightGemm) {
    for pos in p.pos.0..p.pos.1 {
        // SAFETY: channels and positions stay inside V, Y and dU.
        unsafe {
            let (v, y) = (p.v.add(pos * p.v_stride), p.y.add(pos * p.y_stride));
            let du = p.du.add(pos * p.k * p.n);
            let line = |base: *const f32, ch: usize| base.add(ch / 16 * p.tiles * 16 + ch % 16);
            let mut k = 0;
            while k < p.k {
                let v = line(v, k);
                let mut ch = 0;
                while ch + 2 * S::LANES <= p.n {
                    let y = [line(y, ch), line(y, ch + S::LANES)];
                    weight_micro::<S, HALF, MR, 2>(p.tiles, v, y, du.add(k * p.n + ch), p.n, p.fresh);
                    ch += 2 * S::LANES;
                }
                while ch < p.n {
                    weight_micro::<S, HALF, MR, 1>(
                        p.tiles,
                        v,
                        [line(y, ch)],
                        du.add(k * p.n + ch),
                        p.n,
                        p.fresh,
                    );
                    ch += S::LANES;
                }
                k += MR;
            }
        }
    }
}

#[inline(always)]
unsafe fn weight_gemm_generic<S: Simd, const HALF: bool>(p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe {
        if S::MR > 8 {
            weight_rows::<S, HALF, 8>(p);
        } else {
            weight_rows::<S, HALF, 4>(p);
        }
    }
}

#[inline(always)]
unsafe fn weight_gemm_full<S: Simd>(p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe { weight_gemm_generic::<S, false>(p) }
}

dispatch! {
    /// The products of `p` in f32.
    weight_gemm_f32 => weight_gemm_full(p: &WeightGemm)
}

dispatch_half! {
    /// The products of `p` in bf16, summed in f32.
    weight_gemm_half => weight_gemm_generic(p: &WeightGemm)
}

/// The products of `p`; tiles are summed in ascending order.
///
/// # Safety
/// As for [`weight_gemm_f32`]; with `half`, as for [`weight_gemm_half`] too.
pub(super) unsafe fn weight_gemm(isa: Isa, p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe { if p.half { weight_gemm_half(p) } else { weight_gemm_f32(isa, p) } }
}

#[inline(always)]
unsafe fn input_pairs_generic<S: Simd, const HALF: bool>(p: &Block<'_>) {
    for (i, pair) in p.tiles.chunks(2).enumerate() {
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: patches lie inside the padded window, slots inside the block.
            unsafe {
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let mut values = [[S::splat(0.0); POS]; 2];
                for (tile, values) in pair.iter().zip(&mut values) {
                    let rows = kernels::patch::<S>(p.src.add(tile.src as usize + ch), p.row, p.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        values[y * 6..y * 6 + 6].copy_from_slice(&kernels::bt::<S>(row));
                    }
                }
                for pos in 0..POS {
                    S::store(out.add(pos * p.stride), S::pack2(values[0][pos], values[1][pos]));
                }
            }
        }
    }
}

dispatch_half! {
    /// Bᵀ d B of `p`'s tiles in pairs.
    input_pairs => input_pairs_generic(p: &Block<'_>)
}

#[inline(always)]
unsafe fn out_grad_pairs_generic<S: Simd, const HALF: bool>(p: &Block<'_>) {
    for (i, pair) in p.tiles.chunks(2).enumerate() {
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: as in `input_pairs_generic`.
            unsafe {
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let mut values = [[S::splat(0.0); POS]; 2];
                for (tile, values) in pair.iter().zip(&mut values) {
                    let rows = dy_patch::<S>(p.src.add(tile.dst as usize + ch), p.row, p.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        values[y * 6..y * 6 + 6].copy_from_slice(&a4::<S>(row));
                    }
                }
                for pos in 0..POS {
                    S::store(out.add(pos * p.stride), S::pack2(values[0][pos], values[1][pos]));
                }
            }
        }
    }
}

dispatch_half! {
    /// A dy Aᵀ of `p`'s tiles in pairs.
    out_grad_pairs => out_grad_pairs_generic(p: &Block<'_>)
}

/// Gᵀ d (6 → 3).
#[inline(always)]
unsafe fn gt<S: Simd>(d: [S::V; 6]) -> [S::V; 3] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let p = S::mul(S::splat(NA), S::add(d[1], d[2]));
        let q = S::mul(S::splat(NA * A), S::sub(d[1], d[2]));
        let r = S::mul(S::splat(NB), S::add(d[3], d[4]));
        let s = S::mul(S::splat(NB * B), S::sub(d[3], d[4]));
        let last = S::fma(S::splat(A * A), p, S::fma(S::splat(B * B), r, d[5]));
        [S::fma(S::splat(1.0 / (A * A * B * B)), d[0], S::add(p, r)), S::add(q, s), last]
    }
}

#[inline(always)]
unsafe fn filter_grad_generic<S: Simd>(du: *const f32, stride: usize, out: &mut [[f32; 16]; 9]) {
    let mut lane = 0;
    while lane < 16 {
        // SAFETY: 36 positions, `stride` apart, of 16 floats each.
        unsafe {
            let du = du.add(lane);
            let mut rows = [[S::splat(0.0); 6]; 3];
            for x in 0..6 {
                let column = gt::<S>([
                    S::load(du.add(x * stride)),
                    S::load(du.add((6 + x) * stride)),
                    S::load(du.add((12 + x) * stride)),
                    S::load(du.add((18 + x) * stride)),
                    S::load(du.add((24 + x) * stride)),
                    S::load(du.add((30 + x) * stride)),
                ]);
                for r in 0..3 {
                    rows[r][x] = column[r];
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (x, value) in gt::<S>(row).into_iter().enumerate() {
                    S::store(out[r * 3 + x].as_mut_ptr().add(lane), value);
                }
            }
        }
        lane += S::LANES;
    }
}

dispatch! {
    /// Gᵀ dU G of 16 output channels.
    filter_grad => filter_grad_generic(du: *const f32, stride: usize, out: &mut [[f32; 16]; 9])
}

/// G d (3 → 6).
#[inline(always)]
unsafe fn g3<S: Simd>(d: [S::V; 3]) -> [S::V; 6] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let p = S::mul(S::splat(NA), S::fma(S::splat(A * A), d[2], d[0]));
        let q = S::mul(S::splat(NA * A), d[1]);
        let r = S::mul(S::splat(NB), S::fma(S::splat(B * B), d[2], d[0]));
        let s = S::mul(S::splat(NB * B), d[1]);
        [
            S::mul(S::splat(1.0 / (A * A * B * B)), d[0]),
            S::add(p, q),
            S::sub(p, q),
            S::add(r, s),
            S::sub(r, s),
            d[2],
        ]
    }
}

#[inline(always)]
unsafe fn filter_generic<S: Simd>(
    taps: &[[f32; 16]; 9],
    u: *mut f32,
    stride: usize,
    next_panel: usize,
    panel: usize,
) {
    let mut lane = 0;
    while lane < 16 {
        // SAFETY: the slots of 16 output channels at 36 positions.
        unsafe {
            let u = u.add(lane / panel * next_panel + lane % panel);
            let mut rows = [[S::splat(0.0); 3]; 6];
            for x in 0..3 {
                let column = g3::<S>([
                    S::load(taps[x].as_ptr().add(lane)),
                    S::load(taps[3 + x].as_ptr().add(lane)),
                    S::load(taps[6 + x].as_ptr().add(lane)),
                ]);
                for r in 0..6 {
                    rows[r][x] = column[r];
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (x, value) in g3::<S>(row).into_iter().enumerate() {
                    S::store(u.add((r * 6 + x) * stride), value);
                }
            }
        }
        lane += S::LANES;
    }
}

dispatch! {
    /// G g Gᵀ of 16 output channels, into U.
    filter => filter_generic(taps: &[[f32; 16]; 9], u: *mut f32, stride: usize, next_panel: usize, panel: usize)
}

#[inline(always)]
unsafe fn filter_pair_generic<S: Simd, const HALF: bool>(
    taps: &[[[f32; 16]; 9]; 2],
    u: *mut f32,
    stride: usize,
) {
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the slots of 16 output channels and a pair of input channels at 36 positions.
        unsafe {
            let mut values = [[S::splat(0.0); POS]; 2];
            for (taps, values) in taps.iter().zip(&mut values) {
                let mut rows = [[S::splat(0.0); 3]; 6];
                for x in 0..3 {
                    let column = g3::<S>([
                        S::load(taps[x].as_ptr().add(lane)),
                        S::load(taps[3 + x].as_ptr().add(lane)),
                        S::load(taps[6 + x].as_ptr().add(lane)),
                    ]);
                    for r in 0..6 {
                        rows[r][x] = column[r];
                    }
                }
                for (r, row) in rows.into_iter().enumerate() {
                    values[r * 6..r * 6 + 6].copy_from_slice(&g3::<S>(row));
                }
            }
            for pos in 0..POS {
                S::store(u.add(lane + pos * stride), S::pack2(values[0][pos], values[1][pos]));
            }
        }
    }
}

dispatch_half! {
    /// G g Gᵀ of 16 output channels and two input channels, as bf16 pairs into U.
    filter_pair => filter_pair_generic(taps: &[[[f32; 16]; 9]; 2], u: *mut f32, stride: usize)
}

const _: () = assert!(POS == 36, "the transforms above are written out for F(4×4, 3×3)");
