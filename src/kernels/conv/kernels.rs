//! The arithmetic of Winograd F(4×4, 3×3), one source for every instruction set.
//!
//! With interpolation points 0, ±a, ±b, ∞ (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", CVPR 2016): `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A`, where a 6×6 patch `d` gives 4×4 outputs.
//! The ⊙ summed over input channels is 36 matrix products, one per position.
//!
//! Layouts (floats; `c16` = channels rounded up to 16):
//! - activations: `[row][column][c16]` with a halo of zeros (see [`super::act`]);
//! - `V`, transformed input: `[36][group][c16 / 16][tile of group][16]`, so that the microkernel reads
//!   one stream with constant offsets; a group holds at most `Simd::MR` tiles;
//! - `U`, transformed filters: `[36][panel][input channel][panel width]`;
//! - `M`, the products: `[36][panel][tile][panel width]`.

#![allow(unsafe_code, reason = "SIMD kernels on raw pointers; each entry states what its caller guarantees")]

use crate::kernels::dispatch::{dispatch, dispatch_half};
use crate::kernels::isa::Isa;
#[cfg(target_arch = "aarch64")]
use crate::kernels::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Portable, Simd};

/// The interpolation points ±a and ±b. Near-reciprocal points keep the transforms' coefficients even:
/// in simulation 11/16 and 3/2 gave 0.45 times the error of the usual 1 and 2, with bf16 factors and f32
/// ones alike. All coefficients of A and B are exact in f32.
pub(super) const A: f32 = 0.6875;
pub(super) const B: f32 = 1.5;

/// Positions of the Winograd domain.
pub(super) const POS: usize = 36;

/// Tiles that a microkernel takes at most.
pub(super) fn mr(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Avx512::MR,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Avx2::MR,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Neon::MR,
        _ => Portable::MR,
    }
}

/// Output channels side by side in a microkernel's panel.
pub(super) fn panel_width(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Avx512::NV * Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Avx2::NV * Avx2::LANES,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Neon::NV * Neon::LANES,
        _ => Portable::NV * Portable::LANES,
    }
}

/// How a block of tiles is split into microkernel groups: as evenly as can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) tiles: usize,
    pub(super) count: usize,
    base: usize,
    extra: usize,
}

impl Groups {
    pub(super) fn new(tiles: usize, mr: usize) -> Self {
        let count = tiles.div_ceil(mr).max(1);
        Self { tiles, count, base: tiles / count, extra: tiles % count }
    }

    /// First tile and number of tiles of group `g`.
    #[inline(always)]
    pub(super) fn get(&self, g: usize) -> (usize, usize) {
        (g * self.base + g.min(self.extra), self.base + usize::from(g < self.extra))
    }

    /// The group that holds tile `t`: (its first tile, its size).
    pub(super) fn of(&self, t: usize) -> (usize, usize) {
        let big = self.extra * (self.base + 1);
        if t < big { self.get(t / (self.base + 1)) } else { self.get(self.extra + (t - big) / self.base) }
    }
}

/// Where one tile reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// Offset of its 6×6 patch's corner in a window's padded input.
    pub(super) src: u32,
    /// Offset of its first output (pooled output) in a window's padded output.
    pub(super) dst: u32,
    /// Output rows and columns (pooled ones when pooling) that exist.
    pub(super) rows: u8,
    pub(super) cols: u8,
}

/// One-dimensional input transform, Bᵀ d.
#[inline(always)]
pub(super) unsafe fn bt<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let (a, b) = (S::splat(A), S::splat(B));
        let (a2, b2) = (S::splat(A * A), S::splat(B * B));
        let (sum, product) = (S::splat(A * A + B * B), S::splat(A * A * B * B));
        let p = S::fnma(b2, d[2], d[4]);
        let q = S::fnma(b2, d[1], d[3]);
        let r = S::fnma(a2, d[2], d[4]);
        let s = S::fnma(a2, d[1], d[3]);
        [
            S::fma(product, d[0], S::fnma(sum, d[2], d[4])),
            S::fma(a, q, p),
            S::fnma(a, q, p),
            S::fma(b, s, r),
            S::fnma(b, s, r),
            S::fma(product, d[1], S::fnma(sum, d[3], d[5])),
        ]
    }
}

/// One-dimensional output transform, Aᵀ m.
#[inline(always)]
pub(super) unsafe fn at<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let p = S::add(m[1], m[2]);
        let q = S::sub(m[1], m[2]);
        let r = S::add(m[3], m[4]);
        let s = S::sub(m[3], m[4]);
        [
            S::add(S::add(m[0], p), r),
            S::fma(S::splat(A), q, S::mul(S::splat(B), s)),
            S::fma(S::splat(A * A), p, S::mul(S::splat(B * B), r)),
            S::fma(S::splat(A * A * A), q, S::fma(S::splat(B * B * B), s, m[5])),
        ]
    }
}

/// Transforms the patches of a run of tiles.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// Padded activation of the window (floats).
    pub(super) src: *const f32,
    /// Floats from one row of `src` to the next.
    pub(super) row: usize,
    /// Input channels, a multiple of 16.
    pub(super) c: usize,
    /// The tiles to transform.
    pub(super) tiles: &'a [Tile],
    /// Index of the first of them in the block.
    pub(super) first: usize,
    /// How the block is split.
    pub(super) groups: Groups,
    /// The block's `V`, and floats from one position to the next.
    pub(super) v: *mut f32,
    pub(super) v_stride: usize,
    /// Whether `V` is in bf16 (each position and group then takes half the floats).
    pub(super) half: bool,
}

/// The columns' half of Bᵀ d B: the 6×6 patch at `p`, each column transformed.
#[inline(always)]
pub(super) unsafe fn patch<S: Simd>(p: *const f32, row: usize, c: usize) -> [[S::V; 6]; 6] {
    // SAFETY: the patch lies inside the padded activation.
    unsafe {
        let mut rows = [[S::splat(0.0); 6]; 6];
        for x in 0..6 {
            let column = bt::<S>([
                S::load(p.add(x * c)),
                S::load(p.add(row + x * c)),
                S::load(p.add(2 * row + x * c)),
                S::load(p.add(3 * row + x * c)),
                S::load(p.add(4 * row + x * c)),
                S::load(p.add(5 * row + x * c)),
            ]);
            for y in 0..6 {
                rows[y][x] = column[y];
            }
        }
        rows
    }
}

#[inline(always)]
unsafe fn input_generic<S: Simd, const HALF: bool>(a: &Input<'_>) {
    let blocks = a.c / 16;
    for (i, tile) in a.tiles.iter().enumerate() {
        let t = a.first + i;
        let (start, len) = a.groups.of(t);
        // SAFETY: a 6×6 patch lies inside the padded activation and its V slots inside the block.
        unsafe {
            let src = a.src.add(tile.src as usize);
            let slot = start * a.c + (t - start) * 16;
            let out = if HALF { a.v } else { a.v.add(slot) };
            let half = if HALF { a.v.cast::<u16>().add(slot) } else { a.v.cast() };
            for block in 0..blocks {
                let mut lane = 0;
                while lane < 16 {
                    let p = src.add(block * 16 + lane);
                    let q = out.wrapping_add(block * len * 16 + lane);
                    let half = half.wrapping_add(block * len * 16 + lane);
                    let rows = patch::<S>(p, a.row, a.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        for (x, value) in bt::<S>(row).into_iter().enumerate() {
                            if HALF {
                                S::store_half(half.add((y * 6 + x) * a.v_stride * 2), value);
                            } else {
                                S::store(q.add((y * 6 + x) * a.v_stride), value);
                            }
                        }
                    }
                    lane += S::LANES;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn input_full<S: Simd>(a: &Input<'_>) {
    // SAFETY: passed on from the caller.
    unsafe { input_generic::<S, false>(a) }
}

dispatch! {
    /// Bᵀ d B of every tile and channel of `a`, in f32.
    input_f32 => input_full(a: &Input<'_>)
}

dispatch_half! {
    /// Bᵀ d B of every tile and channel of `a`, in bf16.
    input_half => input_generic(a: &Input<'_>)
}

/// Bᵀ d B of every tile and channel of `a`.
///
/// # Safety
/// As for [`input_f32`]; with `half`, as for [`input_half`] too.
pub(super) unsafe fn input(isa: Isa, a: &Input<'_>) {
    // SAFETY: passed on from the caller.
    unsafe { if a.half { input_half(a) } else { input_f32(isa, a) } }
}

/// The matrix products of some positions: `M[p] = V[p] · U[p]`.
#[derive(Clone, Copy)]
pub(super) struct Gemm {
    /// Input channels (multiple of 16) and output channels (multiple of 16) of this call.
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) groups: Groups,
    /// Positions `pos.0 .. pos.1`.
    pub(super) pos: (usize, usize),
    pub(super) v: *const f32,
    pub(super) v_stride: usize,
    /// Filters, floats from one position to the next.
    pub(super) u: *const f32,
    pub(super) u_stride: usize,
    pub(super) m: *mut f32,
    pub(super) m_stride: usize,
    /// Whether `V` and `U` hold pairs of bf16; `k` is then the number of pairs (multiple of 8).
    pub(super) half: bool,
}

/// `MR` tiles × `NV` registers of output channels, over all `k` input channels; filters `ahead` floats further on are
/// brought into cache meanwhile.
#[inline(always)]
unsafe fn micro<S: Simd, const HALF: bool, const MR: usize, const NV: usize>(
    k: usize,
    mut v: *const f32,
    mut u: *const f32,
    m: *mut f32,
    ahead: usize,
) {
    // SAFETY: v holds k × MR floats, u holds k panels of NV registers, m takes MR panels.
    unsafe {
        let mut acc = [[S::splat(0.0); NV]; MR];
        let block = if HALF { 8 } else { 16 };
        for _ in 0..k / block {
            for quarter in 0..block / 4 {
                for kk in 0..4 {
                    let mut b = [S::splat(0.0); NV];
                    for j in 0..NV {
                        let at = (kk * NV + j) * S::LANES;
                        b[j] = S::load(u.add(at));
                        if at.is_multiple_of(16) {
                            S::prefetch(u.wrapping_add(at + ahead));
                        }
                    }
                    for i in 0..MR {
                        let a = S::splat(*v.add(i * block + quarter * 4 + kk));
                        for j in 0..NV {
                            acc[i][j] =
                                if HALF { S::dot2(a, b[j], acc[i][j]) } else { S::fma(a, b[j], acc[i][j]) };
                        }
                    }
                }
                u = u.add(4 * NV * S::LANES);
            }
            v = v.add(MR * block);
        }
        for i in 0..MR {
            for j in 0..NV {
                S::store(m.add((i * NV + j) * S::LANES), acc[i][j]);
            }
        }
    }
}

#[inline(always)]
unsafe fn micro_any<S: Simd, const HALF: bool, const NV: usize>(
    mr: usize,
    k: usize,
    v: *const f32,
    u: *const f32,
    m: *mut f32,
    ahead: usize,
) {
    macro_rules! pick {
        ($($n:literal)*) => {
            #[allow(clippy::collapsible_match, reason = "the bound is known at compile time, so larger tiles are not instantiated")]
            match mr {
                // SAFETY: passed on from the caller.
                $($n => if $n <= S::MR { unsafe { micro::<S, HALF, $n, NV>(k, v, u, m, ahead) } },)*
                _ => {}
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[inline(always)]
unsafe fn gemm_generic<S: Simd, const HALF: bool>(a: &Gemm) {
    let width = S::NV * S::LANES;
    let (panels, half) = (a.n / width, !a.n.is_multiple_of(width));
    for pos in a.pos.0..a.pos.1 {
        // SAFETY: positions, panels and groups stay inside V, U and M as laid out above.
        unsafe {
            let (v, u, m) = (a.v.add(pos * a.v_stride), a.u.add(pos * a.u_stride), a.m.add(pos * a.m_stride));
            for panel in 0..panels {
                let u = u.add(panel * a.k * width);
                let m = m.add(panel * a.groups.tiles * width);
                for g in 0..a.groups.count {
                    let (start, len) = a.groups.get(g);
                    // (S::NV, written as a literal because a trait constant can not be a const argument)
                    // The first pass over a panel brings the next one nearer: it lies right behind.
                    let ahead = if g == 0 { a.k * width } else { 0 };
                    micro_any::<S, HALF, 2>(len, a.k, v.add(start * a.k), u, m.add(start * width), ahead);
                }
            }
            if half {
                let u = u.add(panels * a.k * width);
                let m = m.add(panels * a.groups.tiles * width);
                for g in 0..a.groups.count {
                    let (start, len) = a.groups.get(g);
                    micro_any::<S, HALF, 1>(len, a.k, v.add(start * a.k), u, m.add(start * S::LANES), 0);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gemm_full<S: Simd>(a: &Gemm) {
    // SAFETY: passed on from the caller.
    unsafe { gemm_generic::<S, false>(a) }
}

dispatch! {
    /// All products of `a` in f32.
    gemm_f32 => gemm_full(a: &Gemm)
}

dispatch_half! {
    /// All products of `a` in bf16, summed in f32.
    gemm_half => gemm_generic(a: &Gemm)
}

/// All products of `a`. Each output is one chain of fused multiply-adds over ascending input channels,
/// so results do not depend on how tiles are grouped.
///
/// # Safety
/// As for [`gemm_f32`]; with `half`, as for [`gemm_half`] too.
pub(super) unsafe fn gemm(isa: Isa, a: &Gemm) {
    // SAFETY: passed on from the caller.
    unsafe { if a.half { gemm_half(a) } else { gemm_f32(isa, a) } }
}

/// What becomes of a tile's 4×4 outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epilogue {
    /// Bias, then store.
    Linear,
    /// Bias, ReLU, store.
    Relu,
    /// Bias, ReLU, 2×2 max pool, store.
    ReluPool,
}

/// Inverse transform of a run of tiles.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) m: *const f32,
    pub(super) m_stride: usize,
    /// Output channels in this `M` (multiple of 16).
    pub(super) n: usize,
    pub(super) groups: Groups,
    /// The tiles, and the index of the first of them in the block.
    pub(super) tiles: &'a [Tile],
    pub(super) first: usize,
    /// `n` biases.
    pub(super) bias: *const f32,
    /// The window's padded output, at this `M`'s first channel.
    pub(super) dst: *mut f32,
    pub(super) row: usize,
    /// Channels of the output (floats from one column to the next).
    pub(super) c: usize,
    pub(super) epilogue: Epilogue,
}

/// Aᵀ m A for the register at `m`.
#[inline(always)]
pub(super) unsafe fn inverse<S: Simd>(m: *const f32, stride: usize) -> [[S::V; 4]; 4] {
    // SAFETY: the 36 positions lie `stride` apart inside M.
    unsafe {
        let mut rows = [[S::splat(0.0); 6]; 4];
        for x in 0..6 {
            let column = at::<S>([
                S::load(m.add(x * stride)),
                S::load(m.add((6 + x) * stride)),
                S::load(m.add((12 + x) * stride)),
                S::load(m.add((18 + x) * stride)),
                S::load(m.add((24 + x) * stride)),
                S::load(m.add((30 + x) * stride)),
            ]);
            for y in 0..4 {
                rows[y][x] = column[y];
            }
        }
        [at::<S>(rows[0]), at::<S>(rows[1]), at::<S>(rows[2]), at::<S>(rows[3])]
    }
}

/// Calls `$body` with the channel offset and `M`'s address of each register of `$n` channels.
macro_rules! each_register {
    ($s:ident, $n:expr, $groups:expr, $t:expr, |$channel:ident, $offset:ident| $body:expr) => {
        let width = $s::NV * $s::LANES;
        let mut $channel = 0;
        while $channel < $n {
            let panel = $channel / width;
            let rest = $n - panel * width;
            let panel_width = if rest < width { rest } else { width };
            let $offset = panel * $groups.tiles * width + $t * panel_width + ($channel - panel * width);
            $body
            $channel += $s::LANES;
        }
    };
}

#[inline(always)]
unsafe fn output_tiles<S: Simd, const RELU: bool, const POOL: bool>(a: &Output<'_>) {
    for (i, tile) in a.tiles.iter().enumerate() {
        let t = a.first + i;
        // SAFETY: a tile's existing rows and columns lie inside the padded output.
        unsafe {
            let dst = a.dst.add(tile.dst as usize);
            each_register!(S, a.n, a.groups, t, |channel, offset| {
                let mut y = inverse::<S>(a.m.add(offset), a.m_stride);
                let bias = S::load(a.bias.add(channel));
                let zero = S::splat(0.0);
                let dst = dst.add(channel);
                if POOL {
                    for r in 0..2 {
                        for c in 0..2 {
                            let top = S::max(y[2 * r][2 * c], y[2 * r][2 * c + 1]);
                            let low = S::max(y[2 * r + 1][2 * c], y[2 * r + 1][2 * c + 1]);
                            let mut z = S::add(S::max(top, low), bias);
                            if RELU {
                                z = S::max(z, zero);
                            }
                            y[r][c] = z;
                        }
                    }
                    if tile.rows == 2 && tile.cols == 2 {
                        S::store(dst, y[0][0]);
                        S::store(dst.add(a.c), y[0][1]);
                        S::store(dst.add(a.row), y[1][0]);
                        S::store(dst.add(a.row + a.c), y[1][1]);
                    } else {
                        for r in 0..tile.rows as usize {
                            for c in 0..tile.cols as usize {
                                S::store(dst.add(r * a.row + c * a.c), y[r][c]);
                            }
                        }
                    }
                } else {
                    for row in &mut y {
                        for z in row {
                            *z = S::add(*z, bias);
                            if RELU {
                                *z = S::max(*z, zero);
                            }
                        }
                    }
                    if tile.rows == 4 && tile.cols == 4 {
                        for r in 0..4 {
                            for c in 0..4 {
                                S::store(dst.add(r * a.row + c * a.c), y[r][c]);
                            }
                        }
                    } else {
                        for r in 0..tile.rows as usize {
                            for c in 0..tile.cols as usize {
                                S::store(dst.add(r * a.row + c * a.c), y[r][c]);
                            }
                        }
                    }
                }
            });
        }
    }
}

#[inline(always)]
unsafe fn output_generic<S: Simd>(a: &Output<'_>) {
    // SAFETY: passed on from the caller.
    unsafe {
        match a.epilogue {
            Epilogue::Linear => output_tiles::<S, false, false>(a),
            Epilogue::Relu => output_tiles::<S, true, false>(a),
            Epilogue::ReluPool => output_tiles::<S, true, true>(a),
        }
    }
}

dispatch! {
    /// Aᵀ M A and the epilogue for every tile and channel of `a`.
    output => output_generic(a: &Output<'_>)
}

#[inline(always)]
unsafe fn global_max_generic<S: Simd>(a: &Output<'_>, from: usize, to: usize) {
    let width = S::NV * S::LANES;
    let mut channel = from;
    while channel < to {
        let panel = channel / width;
        let panel_width = width.min(a.n - panel * width);
        // SAFETY: as in `output_tiles`; dst takes `n` floats.
        unsafe {
            let mut best = S::splat(f32::NEG_INFINITY);
            for (i, tile) in a.tiles.iter().enumerate() {
                let offset =
                    panel * a.groups.tiles * width + (a.first + i) * panel_width + (channel - panel * width);
                let y = inverse::<S>(a.m.add(offset), a.m_stride);
                if tile.rows == 4 && tile.cols == 4 {
                    for row in y {
                        let left = S::max(row[0], row[1]);
                        best = S::max(best, S::max(left, S::max(row[2], row[3])));
                    }
                } else {
                    for row in y.iter().take(tile.rows as usize) {
                        for z in row.iter().take(tile.cols as usize) {
                            best = S::max(best, *z);
                        }
                    }
                }
            }
            S::store(a.dst.add(channel), S::add(best, S::load(a.bias.add(channel))));
        }
        channel += S::LANES;
    }
}

dispatch! {
    /// The maximum over all outputs of `a`'s tiles plus bias, for channels `from .. to` (multiples of
    /// 16), stored at `dst[channel]`.
    global_max => global_max_generic(a: &Output<'_>, from: usize, to: usize)
}
