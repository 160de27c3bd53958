//! The matrix products, one per position.

use std::ops::Range;

use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;
use voisin_simd::buffer::SharedSlice;

use super::Groups;

/// The matrix products of some positions: `M[p] = V[p] · U[p]`.
#[derive(Clone)]
pub(in crate::cpu::conv) struct Gemm<'a> {
    /// Input channels (multiple of 16) and output channels (multiple of 16) of this call.
    pub(in crate::cpu::conv) k: usize,
    pub(in crate::cpu::conv) n: usize,
    pub(in crate::cpu::conv) groups: Groups,
    pub(in crate::cpu::conv) positions: Range<usize>,
    pub(in crate::cpu::conv) v: &'a [f32],
    pub(in crate::cpu::conv) v_stride: usize,
    /// Filters, floats from one position to the next.
    pub(in crate::cpu::conv) u: &'a [f32],
    pub(in crate::cpu::conv) u_stride: usize,
    pub(in crate::cpu::conv) m: SharedSlice<'a>,
    pub(in crate::cpu::conv) m_stride: usize,
}

impl Gemm<'_> {
    fn fits(&self) -> bool {
        let last = self.positions.end.saturating_sub(1);
        let tiles = self.groups.tiles;
        self.k.is_multiple_of(16)
            && self.n.is_multiple_of(16)
            && last * self.v_stride + tiles * self.k <= self.v.len()
            && last * self.u_stride + self.k * self.n <= self.u.len()
            && last * self.m_stride + tiles * self.n <= self.m.len()
    }
}

/// `MR` tiles × `NV` registers of output channels, over all `k` input channels; filters `ahead`
/// floats further on are brought into cache meanwhile.
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
        for _ in 0..k / 16 {
            for quarter in 0..4 {
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
                        let a = simd.splat(*v.add(i * 16 + quarter * 4 + kk));
                        for j in 0..NV {
                            acc[i][j] = simd.fma(a, b[j], acc[i][j]);
                        }
                    }
                }
                u = u.add(4 * NV * S::LANES);
            }
            v = v.add(MR * 16);
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
    let panels = a.n / width;
    let half = !a.n.is_multiple_of(width);
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
                    // (S::NV, written as a literal because a trait constant can not be a const
                    // argument) The first pass over a panel brings the next one nearer: it lies
                    // right behind.
                    let ahead = if g == 0 { a.k * width } else { 0 };
                    micro_any::<S, 2>(
                        simd,
                        len,
                        a.k,
                        v.add(start * a.k),
                        u,
                        m.add(start * width),
                        ahead,
                    );
                }
            }
            if half {
                let u = u.add(panels * a.k * width);
                let m = m.add(panels * a.groups.tiles * width);
                for g in 0..a.groups.count {
                    let (start, len) = a.groups.get(g);
                    micro_any::<S, 1>(
                        simd,
                        len,
                        a.k,
                        v.add(start * a.k),
                        u,
                        m.add(start * S::LANES),
                        0,
                    );
                }
            }
        }
    }
}

dispatch! {
    gemm_unchecked => gemm_generic(a: &Gemm<'_>)
}

/// All products of `a`. Each output is one chain of fused multiply-adds over ascending input
/// channels, so results do not depend on how tiles are grouped.
///
/// # Safety
/// Nothing else reads or writes these positions of M meanwhile.
pub(in crate::cpu::conv) unsafe fn gemm(isa: Isa, a: &Gemm<'_>) {
    assert!(a.fits(), "V, U and M hold the positions");
    // SAFETY: it fits, and positions are kept apart by the caller.
    unsafe { gemm_unchecked(isa, a) }
}
