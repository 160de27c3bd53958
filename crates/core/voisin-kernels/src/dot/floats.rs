//! Dot products of float vectors, for comparisons with indexes of floats.

use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Set;

/// Parallel sums: four registers of the widest instructions.
const LANES: usize = 64;

impl Isa {
    /// Dot product of the common components. Its last bits depend on the instruction set.
    #[inline]
    pub fn dot32(self, a: &[f32], b: &[f32]) -> f32 {
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` is only made for what the processor has.
            Set::Avx512 { .. } => unsafe { x86::avx512(a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; with AVX2 comes FMA.
            Set::Avx2 => unsafe { x86::avx2(a, b) },
            _ => product(a, b, |a, b, sum| a * b + sum),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(a: &[f32], b: &[f32]) -> f32 {
        super::product(a, b, f32::mul_add)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(a: &[f32], b: &[f32]) -> f32 {
        super::product(a, b, f32::mul_add)
    }
}

#[allow(
    clippy::inline_always,
    reason = "it must become part of the function that has the instructions"
)]
#[inline(always)]
fn product(a: &[f32], b: &[f32], add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] = add(a[i], b[i], sums[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_double_precision() {
        for length in [0, 1, 63, 64, 65, 300] {
            let a: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..length).map(|i| (i as f32 * 1.3).cos() + 0.1).collect();
            let exact: f64 = a
                .iter()
                .zip(&b)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum();
            for isa in Isa::available() {
                let product = f64::from(isa.dot32(&a, &b));
                assert!(
                    (product - exact).abs() < 1e-4,
                    "{isa} {length}: {product} {exact}"
                );
            }
        }
    }
}
