//! Winograd kernels that only training needs: the gradient of the filters, and filters that change.

use std::ops::Range;

use super::winograd::{A, B, POS, Tile};
use crate::simd::{Simd, dispatch};
use voisin_kernels::Isa;
use voisin_kernels::buffer::SharedSlice;

/// The filter transform's divisors at ±a and ±b, inverted.
const NA: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const NB: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

/// One-dimensional transform of an output gradient, A d.
#[inline(always)]
fn a4<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 6] {
    let a2 = simd.splat(A * A);
    let b2 = simd.splat(B * B);
    let p = simd.fma(a2, d[2], d[0]);
    let q = simd.mul(simd.splat(A), simd.fma(a2, d[3], d[1]));
    let r = simd.fma(b2, d[2], d[0]);
    let s = simd.mul(simd.splat(B), simd.fma(b2, d[3], d[1]));
    [
        d[0],
        simd.add(p, q),
        simd.sub(p, q),
        simd.add(r, s),
        simd.sub(r, s),
        d[3],
    ]
}

/// The columns' half of A dy Aᵀ for the 4×4 pixels at `dy`.
///
/// # Safety
/// `dy` is valid for four rows of four pixels, `row` and `c` floats apart.
#[inline(always)]
unsafe fn dy_patch<S: Simd>(simd: S, dy: *const f32, row: usize, c: usize) -> [[S::V; 4]; 6] {
    let mut rows = [[simd.splat(0.0); 4]; 6];
    for x in 0..4 {
        // SAFETY: the four pixels of column x.
        let pixels = unsafe {
            [
                simd.load(dy.add(x * c)),
                simd.load(dy.add(row + x * c)),
                simd.load(dy.add(2 * row + x * c)),
                simd.load(dy.add(3 * row + x * c)),
            ]
        };
        let column = a4(simd, pixels);
        for r in 0..6 {
            rows[r][x] = column[r];
        }
    }
    rows
}

/// Tiles of a window of the gradient of an output, to transform (`A dy Aᵀ`).
#[derive(Clone, Copy)]
pub(super) struct Patches<'a> {
    /// A padded window (zero where no output exists).
    pub(super) src: &'a [f32],
    pub(super) row: usize,
    /// A multiple of 16.
    pub(super) c: usize,
    pub(super) tiles: &'a [Tile],
    /// Index of the first tile, and tiles of the block.
    pub(super) first: usize,
    pub(super) total: usize,
    /// `[36][c / 16][tile][16]`, positions `stride` floats apart.
    pub(super) out: SharedSlice<'a>,
    pub(super) stride: usize,
}

impl Patches<'_> {
    /// Whether the tiles' 4 × 4 pixels lie in the window, and their slots in the block.
    fn fits(&self) -> bool {
        let patch = 3 * self.row + 4 * self.c;
        self.c.is_multiple_of(16)
            && self
                .tiles
                .iter()
                .all(|tile| tile.dst as usize + patch <= self.src.len())
            && self.first + self.tiles.len() <= self.total
            && (POS - 1) * self.stride + self.total * self.c <= self.out.len()
    }

    /// Offset of the slot of `channel` of the `i`-th tile.
    #[inline(always)]
    fn slot(&self, channel: usize, i: usize) -> usize {
        (channel / 16 * self.total + self.first + i) * 16 + channel % 16
    }
}

/// # Safety
/// Patches of 4 × 4 pixels at `dst` fit, and nothing else reads or writes their slots.
#[inline(always)]
unsafe fn out_grad_generic<S: Simd>(simd: S, p: &Patches<'_>) {
    for (i, tile) in p.tiles.iter().enumerate() {
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: the tile's 4×4 pixels lie inside the padded window, its slots inside the
            // block.
            unsafe {
                let out = p.out.as_mut_ptr().add(p.slot(ch, i));
                let rows = dy_patch(simd, p.src.as_ptr().add(tile.dst as usize + ch), p.row, p.c);
                for (r, row) in rows.into_iter().enumerate() {
                    for (x, value) in a4(simd, row).into_iter().enumerate() {
                        simd.store(out.add((r * 6 + x) * p.stride), value);
                    }
                }
            }
        }
    }
}

dispatch! {
    out_grad_unchecked => out_grad_generic(p: &Patches<'_>)
}

/// A dy Aᵀ of every tile and channel.
///
/// # Safety
/// Nothing else reads or writes these tiles' slots meanwhile.
pub(super) unsafe fn out_grad(isa: Isa, p: &Patches<'_>) {
    assert!(p.fits(), "tiles lie in the window and slots in the block");
    // SAFETY: it fits, and slots are kept apart by the caller.
    unsafe { out_grad_unchecked(isa, p) }
}

/// `dU[p] += V[p]ᵀ · Y[p]`, summed over the tiles of a block.
#[derive(Clone)]
pub(super) struct WeightGemm<'a> {
    /// Input and output channels, multiples of 16.
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) tiles: usize,
    pub(super) positions: Range<usize>,
    /// `[36][k / 16][tile][16]`
    pub(super) v: &'a [f32],
    pub(super) v_stride: usize,
    /// `[36][n / 16][tile][16]`
    pub(super) y: &'a [f32],
    pub(super) y_stride: usize,
    /// `[36][k][n]`
    pub(super) du: SharedSlice<'a>,
    /// Whether `du` holds nothing yet.
    pub(super) fresh: bool,
}

impl WeightGemm<'_> {
    /// Whether V, Y and dU hold the positions.
    fn fits(&self) -> bool {
        let last = self.positions.end.saturating_sub(1);
        self.k.is_multiple_of(16)
            && self.n.is_multiple_of(16)
            && last * self.v_stride + self.tiles * self.k <= self.v.len()
            && last * self.y_stride + self.tiles * self.n <= self.y.len()
            && (last + 1) * self.k * self.n <= self.du.len()
    }
}

/// # Safety
/// Both streams hold `tiles` lines of 16 floats; `du` takes `MR` rows, `n` floats apart.
#[inline(always)]
unsafe fn weight_micro<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tiles: usize,
    v: *const f32,
    y: [*const f32; NV],
    du: *mut f32,
    n: usize,
    fresh: bool,
) {
    // SAFETY: the extents above.
    unsafe {
        // The gradient's tile stays in registers over all tiles and is added to memory once.
        let mut acc = [[simd.splat(0.0); NV]; MR];
        for t in 0..tiles {
            let mut b = [simd.splat(0.0); NV];
            for j in 0..NV {
                b[j] = simd.load(y[j].add(t * 16));
            }
            for i in 0..MR {
                let a = simd.splat(*v.add(t * 16 + i));
                for j in 0..NV {
                    acc[i][j] = simd.fma(a, b[j], acc[i][j]);
                }
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let p = du.add(i * n + j * S::LANES);
                simd.store(
                    p,
                    if fresh {
                        acc[i][j]
                    } else {
                        simd.add(simd.load(p), acc[i][j])
                    },
                );
            }
        }
    }
}

/// # Safety
/// `p` fits, and nothing else reads or writes its positions of dU.
#[inline(always)]
unsafe fn weight_rows<S: Simd, const MR: usize>(simd: S, p: &WeightGemm<'_>) {
    for position in p.positions.clone() {
        // SAFETY: channels and positions stay inside V, Y and dU.
        unsafe {
            let v = p.v.as_ptr().add(position * p.v_stride);
            let y = p.y.as_ptr().add(position * p.y_stride);
            let du = p.du.as_mut_ptr().add(position * p.k * p.n);
            let line = |base: *const f32, ch: usize| base.add(ch / 16 * p.tiles * 16 + ch % 16);
            for k in (0..p.k).step_by(MR) {
                let v = line(v, k);
                let du = du.add(k * p.n);
                let mut ch = 0;
                while ch + 2 * S::LANES <= p.n {
                    let y = [line(y, ch), line(y, ch + S::LANES)];
                    weight_micro::<S, MR, 2>(simd, p.tiles, v, y, du.add(ch), p.n, p.fresh);
                    ch += 2 * S::LANES;
                }
                while ch < p.n {
                    weight_micro::<S, MR, 1>(
                        simd,
                        p.tiles,
                        v,
                        [line(y, ch)],
                        du.add(ch),
                        p.n,
                        p.fresh,
                    );
                    ch += S::LANES;
                }
            }
        }
    }
}

/// # Safety
/// As [`weight_rows`].
#[inline(always)]
unsafe fn weight_gemm_generic<S: Simd>(simd: S, p: &WeightGemm<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        // AVX-512 has registers for eight rows of two sums; of 16, four rows leave room for
        // factors.
        if S::MR > 8 {
            weight_rows::<S, 8>(simd, p);
        } else {
            weight_rows::<S, 4>(simd, p);
        }
    }
}

dispatch! {
    weight_gemm_unchecked => weight_gemm_generic(p: &WeightGemm<'_>)
}

/// The products of `p`; tiles are summed in ascending order.
///
/// # Safety
/// Nothing else reads or writes these positions of dU meanwhile.
pub(super) unsafe fn weight_gemm(isa: Isa, p: &WeightGemm<'_>) {
    assert!(p.fits(), "V, Y and dU hold the positions");
    // SAFETY: it fits, and positions are kept apart by the caller.
    unsafe { weight_gemm_unchecked(isa, p) }
}

/// Gᵀ d (6 → 3).
#[inline(always)]
fn gt<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 3] {
    let p = simd.mul(simd.splat(NA), simd.add(d[1], d[2]));
    let q = simd.mul(simd.splat(NA * A), simd.sub(d[1], d[2]));
    let r = simd.mul(simd.splat(NB), simd.add(d[3], d[4]));
    let s = simd.mul(simd.splat(NB * B), simd.sub(d[3], d[4]));
    let last = simd.fma(simd.splat(A * A), p, simd.fma(simd.splat(B * B), r, d[5]));
    [
        simd.fma(simd.splat(1.0 / (A * A * B * B)), d[0], simd.add(p, r)),
        simd.add(q, s),
        last,
    ]
}

/// # Safety
/// There are 36 positions at `du`, `stride` apart, of 16 floats each.
#[inline(always)]
unsafe fn filter_grad_generic<S: Simd>(
    simd: S,
    du: *const f32,
    stride: usize,
    out: &mut [[f32; 16]; 9],
) {
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the extents above; `out` has 16 floats for each tap.
        unsafe {
            let du = du.add(lane);
            let mut rows = [[simd.splat(0.0); 6]; 3];
            for x in 0..6 {
                let column = gt(
                    simd,
                    [
                        simd.load(du.add(x * stride)),
                        simd.load(du.add((6 + x) * stride)),
                        simd.load(du.add((12 + x) * stride)),
                        simd.load(du.add((18 + x) * stride)),
                        simd.load(du.add((24 + x) * stride)),
                        simd.load(du.add((30 + x) * stride)),
                    ],
                );
                for r in 0..3 {
                    rows[r][x] = column[r];
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (x, value) in gt(simd, row).into_iter().enumerate() {
                    simd.store(out[r * 3 + x].as_mut_ptr().add(lane), value);
                }
            }
        }
    }
}

dispatch! {
    filter_grad_unchecked => filter_grad_generic(du: *const f32, stride: usize, out: &mut [[f32; 16]; 9])
}

/// Gᵀ dU G of 16 output channels, whose positions lie `stride` apart.
pub(super) fn filter_grad(isa: Isa, du: &[f32], stride: usize, out: &mut [[f32; 16]; 9]) {
    assert!(
        (POS - 1) * stride + 16 <= du.len(),
        "36 positions of 16 channels"
    );
    // SAFETY: the extents just checked.
    unsafe { filter_grad_unchecked(isa, du.as_ptr(), stride, out) }
}

/// G d (3 → 6).
#[inline(always)]
fn g3<S: Simd>(simd: S, d: [S::V; 3]) -> [S::V; 6] {
    let p = simd.mul(simd.splat(NA), simd.fma(simd.splat(A * A), d[2], d[0]));
    let q = simd.mul(simd.splat(NA * A), d[1]);
    let r = simd.mul(simd.splat(NB), simd.fma(simd.splat(B * B), d[2], d[0]));
    let s = simd.mul(simd.splat(NB * B), d[1]);
    [
        simd.mul(simd.splat(1.0 / (A * A * B * B)), d[0]),
        simd.add(p, q),
        simd.sub(p, q),
        simd.add(r, s),
        simd.sub(r, s),
        d[2],
    ]
}

/// The columns' half of G g Gᵀ for the output channels from `lane` on.
#[inline(always)]
fn taps_patch<S: Simd>(simd: S, taps: &[[f32; 16]; 9], lane: usize) -> [[S::V; 3]; 6] {
    assert!(lane + S::LANES <= 16);
    let mut rows = [[simd.splat(0.0); 3]; 6];
    for x in 0..3 {
        // SAFETY: there are that many lanes from `lane` on, as was just checked.
        let column = unsafe {
            [
                simd.load(taps[x].as_ptr().add(lane)),
                simd.load(taps[3 + x].as_ptr().add(lane)),
                simd.load(taps[6 + x].as_ptr().add(lane)),
            ]
        };
        let column = g3(simd, column);
        for r in 0..6 {
            rows[r][x] = column[r];
        }
    }
    rows
}

/// # Safety
/// `u` takes the slots of 16 output channels at 36 positions.
#[inline(always)]
unsafe fn filter_generic<S: Simd>(
    simd: S,
    taps: &[[f32; 16]; 9],
    u: *mut f32,
    stride: usize,
    next_panel: usize,
    panel: usize,
) {
    for lane in (0..16).step_by(S::LANES) {
        let rows = taps_patch(simd, taps, lane);
        for (r, row) in rows.into_iter().enumerate() {
            for (x, value) in g3(simd, row).into_iter().enumerate() {
                let slot = lane / panel * next_panel + lane % panel + (r * 6 + x) * stride;
                // SAFETY: one of those slots.
                unsafe { simd.store(u.add(slot), value) };
            }
        }
    }
}

dispatch! {
    filter_unchecked => filter_generic(
        taps: &[[f32; 16]; 9], u: *mut f32, stride: usize, next_panel: usize, panel: usize
    )
}

/// G g Gᵀ of 16 output channels, into U, whose positions lie `stride` apart. `panel` output
/// channels lie side by side, the next ones `next_panel` floats further on.
///
/// # Safety
/// Nothing else reads or writes these slots meanwhile.
pub(super) unsafe fn filter(
    isa: Isa,
    taps: &[[f32; 16]; 9],
    u: SharedSlice<'_>,
    stride: usize,
    next_panel: usize,
    panel: usize,
) {
    let last = 15 / panel * next_panel + 15 % panel;
    assert!(
        (POS - 1) * stride + last < u.len(),
        "36 positions of 16 channels"
    );
    // SAFETY: the extents just checked; slots are kept apart by the caller.
    unsafe { filter_unchecked(isa, taps, u.as_mut_ptr(), stride, next_panel, panel) }
}

const _: () = assert!(
    POS == 36,
    "the transforms above are written out for F(4×4, 3×3)"
);
