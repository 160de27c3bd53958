//! Aᵀ m A: products back to pixels, with bias, ReLU and pooling.

use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;
use voisin_simd::buffer::SharedSlice;

use super::{A, B, Groups, POS, Tile};

/// One-dimensional output transform, Aᵀ m.
#[inline(always)]
fn at<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
    let p = simd.add(m[1], m[2]);
    let q = simd.sub(m[1], m[2]);
    let r = simd.add(m[3], m[4]);
    let s = simd.sub(m[3], m[4]);
    [
        simd.add(simd.add(m[0], p), r),
        simd.fma(simd.splat(A), q, simd.mul(simd.splat(B), s)),
        simd.fma(simd.splat(A * A), p, simd.mul(simd.splat(B * B), r)),
        simd.fma(
            simd.splat(A * A * A),
            q,
            simd.fma(simd.splat(B * B * B), s, m[5]),
        ),
    ]
}

/// Inverse transform of a run of tiles.
#[derive(Clone, Copy)]
pub(in crate::cpu::conv) struct Output<'a> {
    pub(in crate::cpu::conv) m: &'a [f32],
    pub(in crate::cpu::conv) m_stride: usize,
    /// Output channels in this `M` (multiple of 16).
    pub(in crate::cpu::conv) n: usize,
    pub(in crate::cpu::conv) groups: Groups,
    /// The tiles, and the index of the first of them in the block.
    pub(in crate::cpu::conv) tiles: &'a [Tile],
    pub(in crate::cpu::conv) first: usize,
    pub(in crate::cpu::conv) bias: &'a [f32],
    /// The window's padded output, at this `M`'s first channel.
    pub(in crate::cpu::conv) dst: SharedSlice<'a>,
    pub(in crate::cpu::conv) row: usize,
    /// Channels of the output (floats from one column to the next).
    pub(in crate::cpu::conv) c: usize,
    /// Whether 2 × 2 outputs become their maximum.
    pub(in crate::cpu::conv) pool: bool,
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
            let rows = tile.rows as usize;
            let cols = tile.cols as usize;
            rows > 0
                && cols > 0
                && tile.dst as usize + (rows - 1) * self.row + (cols - 1) * self.c + self.n
                    <= self.dst.len()
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
    [
        at(simd, rows[0]),
        at(simd, rows[1]),
        at(simd, rows[2]),
        at(simd, rows[3]),
    ]
}

/// Offset in M of the register of `channel` of tile `t`.
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
unsafe fn output_tiles<S: Simd, const POOL: bool>(simd: S, a: &Output<'_>) {
    let zero = simd.splat(0.0);
    for (i, tile) in a.tiles.iter().enumerate() {
        let rows = tile.rows as usize;
        let cols = tile.cols as usize;
        let mut channel = 0;
        while channel < a.n {
            // SAFETY: the tile's 36 registers lie in M, its existing rows and columns inside the
            // padded output.
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
                            y[r][c] = simd.max(simd.add(simd.max(top, low), bias), zero);
                        }
                    }
                } else {
                    for row in &mut y {
                        for z in row {
                            *z = simd.max(simd.add(*z, bias), zero);
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
        if a.pool {
            output_tiles::<S, true>(simd, a);
        } else {
            output_tiles::<S, false>(simd, a);
        }
    }
}

dispatch! {
    output_unchecked => output_generic(a: &Output<'_>)
}

/// Aᵀ M A with bias and ReLU for every tile and channel of `a`.
///
/// # Safety
/// Nothing else reads or writes these tiles' outputs meanwhile.
pub(in crate::cpu::conv) unsafe fn output(isa: Isa, a: &Output<'_>) {
    assert!(
        a.m_fits() && a.dst_fits(),
        "tiles lie in M and in the window"
    );
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
pub(in crate::cpu::conv) unsafe fn global_max(isa: Isa, a: &Output<'_>) {
    assert!(
        a.m_fits() && a.n <= a.dst.len(),
        "tiles lie in M and maxima in the output"
    );
    // SAFETY: it fits, and maxima are kept apart by the caller.
    unsafe { global_max_unchecked(isa, a) }
}
