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
    /// High part of each component.
    pub hi: Vec<i8>,
    /// Low part of each component.
    pub lo: Vec<i8>,
    /// Sum of `hi`.
    pub hi_sum: i32,
    /// Sum of `lo`.
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

    fn row(rng: &mut StdRng, width: usize) -> Vec<u8> {
        (0..width).map(|_| rng.random_range(1..=255)).collect()
    }

    fn query(rng: &mut StdRng, width: usize) -> QueryCode {
        let mut plane =
            || -> Vec<i8> { (0..width).map(|_| rng.random_range(-127..=127)).collect() };
        let hi = plane();
        let lo = plane();
        let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
        QueryCode {
            hi_sum: sum(&hi),
            lo_sum: sum(&lo),
            hi,
            lo,
        }
    }

    #[test]
    fn every_instruction_set_sums_exactly() {
        let mut rng = StdRng::seed_from_u64(3);
        for width in [64, 128, 192, 256, 512, 576, 1024] {
            let n = 21;
            let hi = row(&mut rng, width * n);
            let lo = row(&mut rng, width * n);
            let query = query(&mut rng, width);
            let value = |x: u8| i64::from(x) - 128;
            for isa in Isa::available() {
                let ids: Vec<u32> = (0..n as u32).rev().collect();
                let mut out = Vec::new();
                isa.dot8_list(&hi, &ids, &query, &mut out);
                for (&id, &got) in ids.iter().zip(&out) {
                    let at = id as usize * width..(id as usize + 1) * width;
                    let want: i64 = hi[at.clone()]
                        .iter()
                        .zip(&query.hi)
                        .map(|(&x, &q)| value(x) * i64::from(q))
                        .sum();
                    assert_eq!(i64::from(got), want, "{isa:?} width {width}");
                    let wide: i64 = (at.clone())
                        .map(|i| {
                            let j = i - at.start;
                            (254 * value(hi[i]) + value(lo[i]))
                                * (254 * i64::from(query.hi[j]) + i64::from(query.lo[j]))
                        })
                        .sum();
                    assert_eq!(
                        isa.dot16(&hi[at.clone()], &lo[at.clone()], &query),
                        wide,
                        "{isa:?} {width}"
                    );
                    let stored: i64 = at.clone().map(|i| value(hi[i]) * value(lo[i])).sum();
                    assert_eq!(
                        i64::from(isa.dot8_stored(&hi[at.clone()], &lo[at.clone()])),
                        stored
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_components_do_not_saturate() {
        let width = 512;
        for (stored, component) in [(255_u8, 127_i8), (255, -127), (1, 127), (1, -127)] {
            let plane = vec![stored; width];
            let query = QueryCode {
                hi: vec![component; width],
                lo: vec![component; width],
                hi_sum: i32::from(component) * width as i32,
                lo_sum: i32::from(component) * width as i32,
            };
            let product = (i64::from(stored) - 128) * i64::from(component);
            for isa in Isa::available() {
                let mut out = Vec::new();
                isa.dot8_list(&plane, &[0], &query, &mut out);
                assert_eq!(i64::from(out[0]), product * width as i64, "{isa:?}");
                assert_eq!(
                    isa.dot16(&plane, &plane, &query),
                    product * 255 * 255 * width as i64,
                    "{isa:?}"
                );
            }
        }
    }
}
