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

use std::ops::Range;

use crate::kernels::Isa;
use crate::kernels::buffer::SharedSlice;
use crate::kernels::isa::Set;
#[cfg(target_arch = "aarch64")]
use crate::kernels::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Portable, Simd, dispatch};

/// The interpolation points ±a and ±b. Near-reciprocal points keep the transforms' coefficients even:
/// in simulation 11/16 and 3/2 gave 0.45 times the error of the usual 1 and 2, with bf16 factors and f32
/// ones alike. All coefficients of A and B are exact in f32.
pub(super) const A: f32 = 0.6875;
pub(super) const B: f32 = 1.5;

/// Positions of the Winograd domain.
pub(super) const POS: usize = 36;

/// Tiles that a microkernel takes at most, and output channels side by side in its panel.
fn microkernel(isa: Isa) -> (usize, usize) {
    fn of<S: Simd>() -> (usize, usize) {
        (S::MR, S::NV * S::LANES)
    }
    match isa.set() {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 { .. } => of::<Avx512<false>>(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => of::<Avx2>(),
        #[cfg(target_arch = "aarch64")]
        Set::Neon => of::<Neon>(),
        Set::Portable => of::<Portable>(),
    }
}

/// Output channels side by side in a microkernel's panel.
pub(super) fn panel_width(isa: Isa) -> usize {
    microkernel(isa).1
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
    /// For the microkernels of `isa`.
    pub(super) fn new(tiles: usize, isa: Isa) -> Self {
        Self::of_size(tiles, microkernel(isa).0)
    }

    /// One group of all tiles.
    pub(super) fn one(tiles: usize) -> Self {
        Self::of_size(tiles, tiles)
    }

    fn of_size(tiles: usize, mr: usize) -> Self {
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
pub(super) fn bt<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
    let (a, b) = (simd.splat(A), simd.splat(B));
    let (a2, b2) = (simd.splat(A * A), simd.splat(B * B));
    let (sum, product) = (simd.splat(A * A + B * B), simd.splat(A * A * B * B));
    let p = simd.fnma(b2, d[2], d[4]);
    let q = simd.fnma(b2, d[1], d[3]);
    let r = simd.fnma(a2, d[2], d[4]);
    let s = simd.fnma(a2, d[1], d[3]);
    [
        simd.fma(product, d[0], simd.fnma(sum, d[2], d[4])),
        simd.fma(a, q, p),
        simd.fnma(a, q, p),
        simd.fma(b, s, r),
        simd.fnma(b, s, r),
        simd.fma(product, d[1], simd.fnma(sum, d[3], d[5])),
    ]
}

/// One-dimensional output transform, Aᵀ m.
#[inline(always)]
pub(super) fn at<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
    let p = simd.add(m[1], m[2]);
    let q = simd.sub(m[1], m[2]);
    let r = simd.add(m[3], m[4]);
    let s = simd.sub(m[3], m[4]);
    [
        simd.add(simd.add(m[0], p), r),
        simd.fma(simd.splat(A), q, simd.mul(simd.splat(B), s)),
        simd.fma(simd.splat(A * A), p, simd.mul(simd.splat(B * B), r)),
        simd.fma(simd.splat(A * A * A), q, simd.fma(simd.splat(B * B * B), s, m[5])),
    ]
}

/// Transforms the patches of a run of tiles.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// Padded activation of the window.
    pub(super) src: &'a [f32],
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
    pub(super) v: SharedSlice<'a>,
    pub(super) v_stride: usize,
    /// Whether `V` is in bf16 (each position and group then takes half the floats).
    pub(super) half: bool,
}

impl Input<'_> {
    /// Whether every patch lies in `src` and every slot in `V`.
    fn fits(&self) -> bool {
        let depth = if self.half { self.c / 2 } else { self.c };
        let patch = 5 * self.row + 6 * self.c;
        self.c.is_multiple_of(16)
            && self.tiles.iter().all(|tile| tile.src as usize + patch <= self.src.len())
            && self.first + self.tiles.len() <= self.groups.tiles
            && (POS - 1) * self.v_stride + self.groups.tiles * depth <= self.v.len()
    }
}

/// The columns' half of Bᵀ d B: the 6×6 patch at `p`, each column transformed.
///
/// # Safety
/// `p` is valid for six rows of six pixels, `row` and `c` floats apart.
#[inline(always)]
pub(super) unsafe fn patch<S: Simd>(simd: S, p: *const f32, row: usize, c: usize) -> [[S::V; 6]; 6] {
    let mut rows = [[simd.splat(0.0); 6]; 6];
    for x in 0..6 {
        // SAFETY: the six pixels of column x of the patch.
        let pixels = unsafe {
            [
                simd.load(p.add(x * c)),
                simd.load(p.add(row + x * c)),
                simd.load(p.add(2 * row + x * c)),
                simd.load(p.add(3 * row + x * c)),
                simd.load(p.add(4 * row + x * c)),
                simd.load(p.add(5 * row + x * c)),
            ]
        };
        let column = bt(simd, pixels);
        for y in 0..6 {
            rows[y][x] = column[y];
        }
    }
    rows
}

/// # Safety
/// `a` fits, and nothing else reads or writes its tiles' slots of V.
#[inline(always)]
unsafe fn input_generic<S: Simd>(simd: S, a: &Input<'_>) {
    let blocks = a.c / 16;
    for (i, tile) in a.tiles.iter().enumerate() {
        let t = a.first + i;
        let (start, len) = a.groups.of(t);
        let slot = start * a.c + (t - start) * 16;
        // SAFETY: a 6×6 patch lies inside the padded activation and its V slots inside the block.
        unsafe {
            let src = a.src.as_ptr().add(tile.src as usize);
            let v = a.v.as_mut_ptr();
            let out = if S::HALF { v } else { v.add(slot) };
            let half = if S::HALF { v.cast::<u16>().add(slot) } else { v.cast() };
            for block in 0..blocks {
                let mut lane = 0;
                while lane < 16 {
                    let p = src.add(block * 16 + lane);
                    let q = out.wrapping_add(block * len * 16 + lane);
                    let half = half.wrapping_add(block * len * 16 + lane);
                    let rows = patch(simd, p, a.row, a.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        for (x, value) in bt(simd, row).into_iter().enumerate() {
                            if S::HALF {
                                simd.store_half(half.add((y * 6 + x) * a.v_stride * 2), value);
                            } else {
                                simd.store(q.add((y * 6 + x) * a.v_stride), value);
                            }
                        }
                    }
                    lane += S::LANES;
                }
            }
        }
    }
}

dispatch! {
    input_unchecked => input_generic(half, a: &Input<'_>)
}

/// Bᵀ d B of every tile and channel of `a`.
///
/// # Safety
/// Nothing else reads or writes these tiles' slots of V meanwhile.
pub(super) unsafe fn input(isa: Isa, a: &Input<'_>) {
    assert!(a.fits(), "patches lie in the window and slots in V");
    // SAFETY: it fits, and slots are kept apart by the caller.
    unsafe { input_unchecked(isa, a.half, a) }
}

/// The matrix products of some positions: `M[p] = V[p] · U[p]`.
#[derive(Clone)]
pub(super) struct Gemm<'a> {
    /// Input channels (multiple of 16) and output channels (multiple of 16) of this call.
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) groups: Groups,
    pub(super) positions: Range<usize>,
    pub(super) v: &'a [f32],
    pub(super) v_stride: usize,
    /// Filters, floats from one position to the next.
    pub(super) u: &'a [f32],
    pub(super) u_stride: usize,
    pub(super) m: SharedSlice<'a>,
    pub(super) m_stride: usize,
    /// Whether `V` and `U` hold pairs of bf16; `k` is then the number of pairs (multiple of 8).
    pub(super) half: bool,
}

impl Gemm<'_> {
    /// Whether V, U and M hold the positions.
    fn fits(&self) -> bool {
        let last = self.positions.end.saturating_sub(1);
        let tiles = self.groups.tiles;
        self.k.is_multiple_of(if self.half { 8 } else { 16 })
            && self.n.is_multiple_of(16)
            && last * self.v_stride + tiles * self.k <= self.v.len()
            && last * self.u_stride + self.k * self.n <= self.u.len()
            && last * self.m_stride + tiles * self.n <= self.m.len()
    }
}

/// `MR` tiles × `NV` registers of output channels, over all `k` input channels; filters `ahead` floats further on are
/// brought into cache meanwhile.
///
/// # Safety
/// `v` holds `k` × `MR` floats, `u` `k` panels of `NV` registers, and `m` takes `MR` panels.
#[inline(always)]
unsafe fn micro<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    k: usize,
    mut v: *const f32,
    mut u: *const f32,
    m: *mut f32,
    ahead: usize,
) {
    // SAFETY: the extents above.
    unsafe {
        let mut acc = [[simd.splat(0.0); NV]; MR];
        let block = if S::HALF { 8 } else { 16 };
        for _ in 0..k / block {
            for quarter in 0..block / 4 {
                for kk in 0..4 {
                    let mut b = [simd.splat(0.0); NV];
                    for j in 0..NV {
                        let at = (kk * NV + j) * S::LANES;
                        b[j] = simd.load(u.add(at));
                        if at.is_multiple_of(16) {
                            simd.prefetch(u.wrapping_add(at + ahead));
                        }
                    }
                    for i in 0..MR {
                        let a = simd.splat(*v.add(i * block + quarter * 4 + kk));
                        for j in 0..NV {
                            acc[i][j] = if S::HALF {
                                simd.dot2(a, b[j], acc[i][j])
                            } else {
                                simd.fma(a, b[j], acc[i][j])
                            };
                        }
                    }
                }
                u = u.add(4 * NV * S::LANES);
            }
            v = v.add(MR * block);
        }
        for i in 0..MR {
            for j in 0..NV {
                simd.store(m.add((i * NV + j) * S::LANES), acc[i][j]);
            }
        }
    }
}

/// [`micro`] for `mr` tiles.
///
/// # Safety
/// As [`micro`].
#[inline(always)]
unsafe fn micro_any<S: Simd, const NV: usize>(
    simd: S,
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
                $($n => if $n <= S::MR {
                    // SAFETY: the extents of `mr` tiles.
                    unsafe { micro::<S, $n, NV>(simd, k, v, u, m, ahead) }
                },)*
                _ => {}
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// # Safety
/// `a` fits, and nothing else reads or writes its positions of M.
#[inline(always)]
unsafe fn gemm_generic<S: Simd>(simd: S, a: &Gemm<'_>) {
    let width = S::NV * S::LANES;
    let (panels, half) = (a.n / width, !a.n.is_multiple_of(width));
    for position in a.positions.clone() {
        // SAFETY: positions, panels and groups stay inside V, U and M as laid out above.
        unsafe {
            let v = a.v.as_ptr().add(position * a.v_stride);
            let u = a.u.as_ptr().add(position * a.u_stride);
            let m = a.m.as_mut_ptr().add(position * a.m_stride);
            for panel in 0..panels {
                let u = u.add(panel * a.k * width);
                let m = m.add(panel * a.groups.tiles * width);
                for g in 0..a.groups.count {
                    let (start, len) = a.groups.get(g);
                    // (S::NV, written as a literal because a trait constant can not be a const argument)
                    // The first pass over a panel brings the next one nearer: it lies right behind.
                    let ahead = if g == 0 { a.k * width } else { 0 };
                    micro_any::<S, 2>(simd, len, a.k, v.add(start * a.k), u, m.add(start * width), ahead);
                }
            }
            if half {
                let u = u.add(panels * a.k * width);
                let m = m.add(panels * a.groups.tiles * width);
                for g in 0..a.groups.count {
                    let (start, len) = a.groups.get(g);
                    micro_any::<S, 1>(simd, len, a.k, v.add(start * a.k), u, m.add(start * S::LANES), 0);
                }
            }
        }
    }
}

dispatch! {
    gemm_unchecked => gemm_generic(half, a: &Gemm<'_>)
}

/// All products of `a`. Each output is one chain of fused multiply-adds over ascending input channels,
/// so results do not depend on how tiles are grouped.
///
/// # Safety
/// Nothing else reads or writes these positions of M meanwhile.
pub(super) unsafe fn gemm(isa: Isa, a: &Gemm<'_>) {
    assert!(a.fits(), "V, U and M hold the positions");
    // SAFETY: it fits, and positions are kept apart by the caller.
    unsafe { gemm_unchecked(isa, a.half, a) }
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
    pub(super) m: &'a [f32],
    pub(super) m_stride: usize,
    /// Output channels in this `M` (multiple of 16).
    pub(super) n: usize,
    pub(super) groups: Groups,
    /// The tiles, and the index of the first of them in the block.
    pub(super) tiles: &'a [Tile],
    pub(super) first: usize,
    /// `n` biases.
    pub(super) bias: &'a [f32],
    /// The window's padded output, at this `M`'s first channel.
    pub(super) dst: SharedSlice<'a>,
    pub(super) row: usize,
    /// Channels of the output (floats from one column to the next).
    pub(super) c: usize,
    pub(super) epilogue: Epilogue,
}

impl Output<'_> {
    /// Whether M holds the tiles, and there is a bias for each channel.
    fn m_fits(&self) -> bool {
        self.n.is_multiple_of(16)
            && self.bias.len() >= self.n
            && self.first + self.tiles.len() <= self.groups.tiles
            && (POS - 1) * self.m_stride + self.groups.tiles * self.n <= self.m.len()
    }

    /// Whether the existing outputs of all tiles lie in `dst`.
    fn dst_fits(&self) -> bool {
        self.tiles.iter().all(|tile| {
            let (rows, cols) = (tile.rows as usize, tile.cols as usize);
            rows > 0
                && cols > 0
                && tile.dst as usize + (rows - 1) * self.row + (cols - 1) * self.c + self.n <= self.dst.len()
        })
    }
}

/// Aᵀ m A for the register at `m`.
///
/// # Safety
/// `m` is valid for 36 registers, `stride` apart.
#[inline(always)]
unsafe fn inverse<S: Simd>(simd: S, m: *const f32, stride: usize) -> [[S::V; 4]; 4] {
    let mut rows = [[simd.splat(0.0); 6]; 4];
    for x in 0..6 {
        // SAFETY: column x of the 36 positions.
        let products = unsafe {
            [
                simd.load(m.add(x * stride)),
                simd.load(m.add((6 + x) * stride)),
                simd.load(m.add((12 + x) * stride)),
                simd.load(m.add((18 + x) * stride)),
                simd.load(m.add((24 + x) * stride)),
                simd.load(m.add((30 + x) * stride)),
            ]
        };
        let column = at(simd, products);
        for y in 0..4 {
            rows[y][x] = column[y];
        }
    }
    [at(simd, rows[0]), at(simd, rows[1]), at(simd, rows[2]), at(simd, rows[3])]
}

/// Where in M the register of `channel` of tile `t` lies.
#[inline(always)]
fn offset<S: Simd>(a: &Output<'_>, channel: usize, t: usize) -> usize {
    let width = S::NV * S::LANES;
    let panel = channel / width;
    let panel_width = width.min(a.n - panel * width);
    panel * a.groups.tiles * width + t * panel_width + (channel - panel * width)
}

/// # Safety
/// `dst` takes `rows` × `cols` pixels of `a`'s output.
#[inline(always)]
unsafe fn store_tile<S: Simd>(
    simd: S,
    y: &[[S::V; 4]; 4],
    dst: *mut f32,
    a: &Output<'_>,
    rows: usize,
    cols: usize,
) {
    for r in 0..rows {
        for c in 0..cols {
            // SAFETY: one of those pixels.
            unsafe { simd.store(dst.add(r * a.row + c * a.c), y[r][c]) };
        }
    }
}

/// # Safety
/// `a` fits, and nothing else reads or writes its tiles' outputs.
#[inline(always)]
unsafe fn output_tiles<S: Simd, const RELU: bool, const POOL: bool>(simd: S, a: &Output<'_>) {
    let zero = simd.splat(0.0);
    for (i, tile) in a.tiles.iter().enumerate() {
        let (rows, cols) = (tile.rows as usize, tile.cols as usize);
        let mut channel = 0;
        while channel < a.n {
            // SAFETY: the tile's 36 registers lie in M, its existing rows and columns inside the padded output.
            unsafe {
                let m = a.m.as_ptr().add(offset::<S>(a, channel, a.first + i));
                let mut y = inverse(simd, m, a.m_stride);
                let bias = simd.load(a.bias.as_ptr().add(channel));
                let dst = a.dst.as_mut_ptr().add(tile.dst as usize + channel);
                if POOL {
                    for r in 0..2 {
                        for c in 0..2 {
                            let top = simd.max(y[2 * r][2 * c], y[2 * r][2 * c + 1]);
                            let low = simd.max(y[2 * r + 1][2 * c], y[2 * r + 1][2 * c + 1]);
                            let mut z = simd.add(simd.max(top, low), bias);
                            if RELU {
                                z = simd.max(z, zero);
                            }
                            y[r][c] = z;
                        }
                    }
                } else {
                    for row in &mut y {
                        for z in row {
                            *z = simd.add(*z, bias);
                            if RELU {
                                *z = simd.max(*z, zero);
                            }
                        }
                    }
                }
                // A whole tile's loops have a length that the compiler knows.
                let whole = if POOL { 2 } else { 4 };
                if rows == whole && cols == whole {
                    store_tile(simd, &y, dst, a, whole, whole);
                } else {
                    store_tile(simd, &y, dst, a, rows, cols);
                }
            }
            channel += S::LANES;
        }
    }
}

/// # Safety
/// As [`output_tiles`].
#[inline(always)]
unsafe fn output_generic<S: Simd>(simd: S, a: &Output<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match a.epilogue {
            Epilogue::Linear => output_tiles::<S, false, false>(simd, a),
            Epilogue::Relu => output_tiles::<S, true, false>(simd, a),
            Epilogue::ReluPool => output_tiles::<S, true, true>(simd, a),
        }
    }
}

dispatch! {
    output_unchecked => output_generic(a: &Output<'_>)
}

/// Aᵀ M A and the epilogue for every tile and channel of `a`.
///
/// # Safety
/// Nothing else reads or writes these tiles' outputs meanwhile.
pub(super) unsafe fn output(isa: Isa, a: &Output<'_>) {
    assert!(a.m_fits() && a.dst_fits(), "tiles lie in M and in the window");
    // SAFETY: it fits, and outputs are kept apart by the caller.
    unsafe { output_unchecked(isa, a) }
}

/// # Safety
/// M fits, `dst` takes `n` floats, and nothing else reads or writes those.
#[inline(always)]
unsafe fn global_max_generic<S: Simd>(simd: S, a: &Output<'_>) {
    for channel in (0..a.n).step_by(S::LANES) {
        // SAFETY: as in `output_tiles`.
        unsafe {
            let mut best = simd.splat(f32::NEG_INFINITY);
            for (i, tile) in a.tiles.iter().enumerate() {
                let m = a.m.as_ptr().add(offset::<S>(a, channel, a.first + i));
                let y = inverse(simd, m, a.m_stride);
                if tile.rows == 4 && tile.cols == 4 {
                    for row in y {
                        let left = simd.max(row[0], row[1]);
                        best = simd.max(best, simd.max(left, simd.max(row[2], row[3])));
                    }
                } else {
                    for row in y.iter().take(tile.rows as usize) {
                        for z in row.iter().take(tile.cols as usize) {
                            best = simd.max(best, *z);
                        }
                    }
                }
            }
            let bias = simd.load(a.bias.as_ptr().add(channel));
            simd.store(a.dst.as_mut_ptr().add(channel), simd.add(best, bias));
        }
    }
}

dispatch! {
    global_max_unchecked => global_max_generic(a: &Output<'_>)
}

/// The maximum over all outputs of `a`'s tiles plus bias, for each channel, at the start of `dst`.
///
/// # Safety
/// Nothing else reads or writes these `n` floats of `dst` meanwhile.
pub(super) unsafe fn global_max(isa: Isa, a: &Output<'_>) {
    assert!(a.m_fits() && a.n <= a.dst.len(), "tiles lie in M and maxima in the output");
    // SAFETY: it fits, and maxima are kept apart by the caller.
    unsafe { global_max_unchecked(isa, a) }
}
