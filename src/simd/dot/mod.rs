//! Integer kernels over quantised vectors, chosen at run time; every instruction set gives the same
//! bits.
//!
//! A stored component is a byte biased by 128 (`u8 = value + 128`, value in [-127, 127]); a query's
//! components are plain `i8`. All sums are exact in `i32` for up to 65 536 dimensions.
//!
//! For: sums of products. Not for: choosing vectors or the meaning of a sum
//! (`voisin-index`).

use crate::Isa;
use crate::isa::Set;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod best;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod query;
mod rows;
pub mod short;

pub use query::Quantised;
pub use rows::ProductRows;

/// Rows of a plane are padded to a multiple of this many bytes.
pub const ALIGN: usize = 64;

/// A query's components at 16 bits, split into two planes: `value = 254 · hi + lo`.
#[derive(Debug, Clone, Default)]
pub struct QueryCode {
    pub hi: Vec<i8>,
    pub lo: Vec<i8>,
    pub hi_sum: i32,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "AVX-512 asks for it")
    )]
    pub lo_sum: i32,
}

macro_rules! dispatch {
    ($isa:expr, $name:ident $(::<$($size:tt),+>)? ( $($argument:expr),* )) => {
        match $isa.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { integers: true } => {
                // SAFETY: an `Isa` is only made for what the processor has; this one has VNNI too.
                unsafe { avx512::$name$(::<$($size),+>)?($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { .. } | Set::Avx2 => {
                // SAFETY: an `Isa` is only made for what the processor has; with AVX-512 comes
                // AVX2.
                unsafe { avx2::$name$(::<$($size),+>)?($($argument),*) }
            }
            #[cfg(target_arch = "aarch64")]
            Set::Neon => {
                // SAFETY: an `Isa` is only made for what the processor has.
                unsafe { neon::$name$(::<$($size),+>)?($($argument),*) }
            }
            Set::Portable => portable::$name$(::<$($size),+>)?($($argument),*),
        }
    };
}
use dispatch;

impl Isa {
    /// `out[i] = Σ hi[ids[i]] · query.hi`, signed; `plane` has rows of `query.hi.len()` bytes.
    ///
    /// Panics if a row lies outside the plane.
    #[inline]
    pub fn dot8_list(self, plane: &[u8], ids: &[u32], query: &QueryCode, out: &mut Vec<i32>) {
        out.clear();
        out.resize(ids.len(), 0);
        dispatch!(self, dot8_list(plane, ids, &query.hi, query.hi_sum, out));
    }

    /// `Σ (254 · hi + lo) · (254 · query.hi + query.lo)` of one row, exact.
    #[inline]
    pub fn dot16(self, hi: &[u8], lo: &[u8], query: &QueryCode) -> i64 {
        let width = query.hi.len();
        assert!(
            hi.len() == width && lo.len() == width && query.lo.len() == width,
            "rows of {width} bytes"
        );
        // Even the middle sum is at most 2 · 65 536 · 127² and fits 32 bits; the weighted sum does
        // not.
        let [high, middle, low] = dispatch!(self, dot16(hi, lo, query));
        i64::from(high) * (254 * 254) + i64::from(middle) * 254 + i64::from(low)
    }

    /// `Σ a · b` of two stored rows.
    #[inline]
    pub fn dot8_stored(self, a: &[u8], b: &[u8]) -> i32 {
        assert!(
            a.len() == b.len() && a.len().is_multiple_of(ALIGN),
            "two rows of one plane"
        );
        dispatch!(self, dot8_stored(a, b))
    }

    /// Prefetches the cache line at the start of an item into the second cache, to which more lines
    /// can be in flight than to the first. A hint, never a fault.
    #[inline]
    pub fn prefetch<T>(data: &[T], index: usize) {
        if let Some(item) = data.get(index) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: prefetching is available on every x86-64 and does not access memory; the
            // reference is valid.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(item).cast());
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = item;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// - `draw`: a component within ±127
    fn compare(width: usize, mut draw: impl FnMut() -> i8) {
        let n = 21;
        let mut plane = |len: usize| -> Vec<i8> { (0..len).map(|_| draw()).collect() };
        let [values_hi, values_lo] = [(); 2].map(|()| plane(n * width));
        let [hi, lo] = [(); 2].map(|()| plane(width));
        let bytes = |values: &[i8]| -> Vec<u8> { values.iter().map(|x| *x as u8 ^ 0x80).collect() };
        let [rows_hi, rows_lo] = [&values_hi, &values_lo].map(|values| bytes(values));
        let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
        let query = QueryCode {
            hi_sum: sum(&hi),
            lo_sum: sum(&lo),
            hi,
            lo,
        };
        let product = |a: &[i8], b: &[i8]| -> i64 {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| i64::from(*a) * i64::from(*b)).sum()
        };
        let ids: Vec<u32> = (0..n as u32).rev().collect();
        for isa in Isa::available() {
            let mut out = Vec::new();
            isa.dot8_list(&rows_hi, &ids, &query, &mut out);
            for (&id, &got) in ids.iter().zip(&out) {
                let at = id as usize * width..(id as usize + 1) * width;
                let high = &values_hi[at.clone()];
                let low = &values_lo[at.clone()];
                let what = format!("{isa:?} {width}");
                assert_eq!(i64::from(got), product(high, &query.hi), "{what}");
                let wide = 254 * 254 * product(high, &query.hi)
                    + 254 * (product(high, &query.lo) + product(low, &query.hi))
                    + product(low, &query.lo);
                let [one, other] = [&rows_hi, &rows_lo].map(|rows| &rows[at.clone()]);
                assert_eq!(isa.dot16(one, other, &query), wide, "{what}");
                let stored = isa.dot8_stored(one, other);
                assert_eq!(i64::from(stored), product(high, low), "{what}");
            }
        }
    }

    #[test]
    fn every_instruction_set_sums_exactly() {
        let mut rng = StdRng::seed_from_u64(3);
        for width in [64, 128, 192, 256, 512, 576, 1024] {
            compare(width, || rng.random_range(-127..=127));
            // No sum saturates.
            compare(width, || 127);
            compare(width, || if rng.random() { 127 } else { -127 });
        }
    }
}
