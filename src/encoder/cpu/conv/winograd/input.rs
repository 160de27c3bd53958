//! Bᵀ d B: patches of the input into the Winograd domain.

use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;
use voisin_simd::buffer::SharedSlice;

use super::{A, B, Groups, POS, Tile};

/// One-dimensional input transform, Bᵀ d.
#[inline(always)]
fn bt<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
    let a = simd.splat(A);
    let b = simd.splat(B);
    let a2 = simd.splat(A * A);
    let b2 = simd.splat(B * B);
    let sum = simd.splat(A * A + B * B);
    let product = simd.splat(A * A * B * B);
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

/// Transforms the patches of a run of tiles.
#[derive(Clone, Copy)]
pub(in crate::cpu::conv) struct Input<'a> {
    pub(in crate::cpu::conv) src: &'a [f32],
    /// Floats from one row of `src` to the next.
    pub(in crate::cpu::conv) row: usize,
    pub(in crate::cpu::conv) c: usize,
    pub(in crate::cpu::conv) tiles: &'a [Tile],
    /// Index of the first of them in the block.
    pub(in crate::cpu::conv) first: usize,
    pub(in crate::cpu::conv) groups: Groups,
    /// The block's `V`, and floats from one position to the next.
    pub(in crate::cpu::conv) v: SharedSlice<'a>,
    pub(in crate::cpu::conv) v_stride: usize,
}

impl Input<'_> {
    /// Whether every patch lies in `src` and every slot in `V`.
    fn fits(&self) -> bool {
        let patch = 5 * self.row + 6 * self.c;
        self.c.is_multiple_of(16)
            && self
                .tiles
                .iter()
                .all(|tile| tile.src as usize + patch <= self.src.len())
            && self.first + self.tiles.len() <= self.groups.tiles
            && (POS - 1) * self.v_stride + self.groups.tiles * self.c <= self.v.len()
    }
}

/// The columns' half of Bᵀ d B: the 6×6 patch at `p`, each column transformed.
///
/// # Safety
/// `p` is valid for six rows of six pixels, `row` and `c` floats apart.
#[inline(always)]
unsafe fn patch<S: Simd>(simd: S, p: *const f32, row: usize, c: usize) -> [[S::V; 6]; 6] {
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
            let out = a.v.as_mut_ptr().add(slot);
            for block in 0..blocks {
                let mut lane = 0;
                while lane < 16 {
                    let p = src.add(block * 16 + lane);
                    let q = out.add(block * len * 16 + lane);
                    let rows = patch(simd, p, a.row, a.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        for (x, value) in bt(simd, row).into_iter().enumerate() {
                            simd.store(q.add((y * 6 + x) * a.v_stride), value);
                        }
                    }
                    lane += S::LANES;
                }
            }
        }
    }
}

dispatch! {
    input_unchecked => input_generic(a: &Input<'_>)
}

/// Bᵀ d B of every tile and channel of `a`.
///
/// # Safety
/// Nothing else reads or writes these tiles' slots of V meanwhile.
pub(in crate::cpu::conv) unsafe fn input(isa: Isa, a: &Input<'_>) {
    assert!(a.fits(), "patches lie in the window and slots in V");
    // SAFETY: it fits, and slots are kept apart by the caller.
    unsafe { input_unchecked(isa, a) }
}
