//! Query vectors at 16 bits a component.

use super::QueryCode;
use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Set;

/// Parallel sums, in the same order on every machine.
const LANES: usize = 16;

/// A vector of length 1 minus a mean: [its code](QueryCode), and the numbers needed to compare it.
#[derive(Debug, Clone, Default)]
pub struct Quantised {
    pub code: QueryCode,
    /// Value of one step of the high part.
    pub scale: f32,
    /// The vector's product with the mean, at length 1.
    pub at_mean: f32,
}

impl Isa {
    /// Sum of the squares of a vector's components.
    #[inline]
    pub fn square(self, vector: &[f32]) -> f32 {
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` is only made for what the processor has; with AVX-512 comes AVX2.
            Set::Avx512 { .. } | Set::Avx2 => unsafe { avx2::square(vector) },
            _ => product(vector, vector),
        }
    }

    /// Scales a vector with this square to length 1, subtracts the mean, and quantises the result
    /// to `width` components.
    ///
    /// Every instruction set gives the same bits. Panics if `width` is less than the vector's.
    #[inline]
    pub fn quantise(self, vector: &[f32], square: f32, mean: &[f32], width: usize) -> Quantised {
        assert!(
            vector.len() == mean.len() && vector.len() <= width,
            "{width} components at least"
        );
        let mut to = Quantised::default();
        (to.code.hi, to.code.lo) = (vec![0; width], vec![0; width]);
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Avx512 { .. } | Set::Avx2 => unsafe {
                avx2::quantise(vector, square, mean, &mut to);
            },
            _ => quantise(vector, square, mean, &mut to),
        }
        to
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::Quantised;

    #[target_feature(enable = "avx2")]
    pub(super) fn square(vector: &[f32]) -> f32 {
        super::product(vector, vector)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn quantise(vector: &[f32], square: f32, mean: &[f32], to: &mut Quantised) {
        super::quantise(vector, square, mean, to);
    }
}

/// Sum of the products of components.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen sums in a fixed order on every machine, so that the result is the same to the bit
    // for any width of registers.
    let mut lanes = [0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    lanes.iter().sum()
}

#[inline(always)]
fn quantise(vector: &[f32], square: f32, mean: &[f32], to: &mut Quantised) {
    /// x + this has x's nearest integer in its low bits.
    const ROUND: f32 = 12_582_912.;
    let to_unit = 1. / square.sqrt();
    let mut peaks = [0_f32; LANES];
    let larger = |peak: f32, x: f32, mean: f32| {
        let size = (x * to_unit - mean).abs();
        if size > peak { size } else { peak }
    };
    let (vectors, vector_rest) = vector.as_chunks::<LANES>();
    let (means, mean_rest) = mean.as_chunks::<LANES>();
    for (vector, mean) in vectors.iter().zip(means) {
        for i in 0..LANES {
            peaks[i] = larger(peaks[i], vector[i], mean[i]);
        }
    }
    for ((peak, &x), &mean) in peaks.iter_mut().zip(vector_rest).zip(mean_rest) {
        *peak = larger(*peak, x, mean);
    }
    // A query equal to the mean would have a step of 0 and divide by 0.
    to.scale = (peaks.into_iter().fold(0_f32, f32::max) / 127.).max(f32::MIN_POSITIVE);
    let step = 1. / to.scale;
    for (((hi, lo), &x), &mean) in to
        .code
        .hi
        .iter_mut()
        .zip(&mut to.code.lo)
        .zip(vector)
        .zip(mean)
    {
        // The low plane holds the remainder of the high one in steps of 1/254, so it lies within
        // ±127 as well.
        let x = (x * to_unit - mean) * step;
        let high = x + ROUND;
        let low = (x - (high - ROUND)) * 254. + ROUND;
        *hi = high.to_bits() as i8;
        *lo = low.to_bits() as i8;
    }
    let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
    (to.code.hi_sum, to.code.lo_sum) = (sum(&to.code.hi), sum(&to.code.lo));
    to.at_mean = product(vector, mean) * to_unit;
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn every_instruction_set_writes_the_same_and_it_is_the_vector() {
        let mut rng = StdRng::seed_from_u64(8);
        for n in [1_usize, 15, 64, 200, 512, 703] {
            let draw = |rng: &mut StdRng| -> Vec<f32> {
                (0..n).map(|_| rng.random::<f32>() - 0.4).collect()
            };
            let vector = draw(&mut rng);
            let mean = draw(&mut rng);
            let mean: Vec<f32> = mean.iter().map(|x| x * 0.01).collect();
            let square: f64 = vector.iter().map(|&x| f64::from(x).powi(2)).sum();
            for isa in Isa::available() {
                let got_square = isa.square(&vector);
                assert_eq!(
                    got_square.to_bits(),
                    Isa::PORTABLE.square(&vector).to_bits(),
                    "{isa:?}"
                );
                assert!((f64::from(got_square) - square).abs() < 1e-4 * square);
                let got = isa.quantise(&vector, got_square, &mean, n.next_multiple_of(64));
                let plain =
                    Isa::PORTABLE.quantise(&vector, got_square, &mean, n.next_multiple_of(64));
                assert_eq!(
                    (&got.code.hi, &got.code.lo),
                    (&plain.code.hi, &plain.code.lo),
                    "{isa:?}"
                );
                assert_eq!(
                    (got.scale, got.at_mean),
                    (plain.scale, plain.at_mean),
                    "{isa:?}"
                );
                let mut at_mean = 0.;
                for (i, (&x, &mean)) in vector.iter().zip(&mean).enumerate() {
                    let unit = f64::from(x) / square.sqrt();
                    let value = 254 * i32::from(got.code.hi[i]) + i32::from(got.code.lo[i]);
                    let back = f64::from(value) * f64::from(got.scale) / 254. + f64::from(mean);
                    assert!(
                        (back - unit).abs() <= f64::from(got.scale) / 254.,
                        "{isa:?} {i} of {n}"
                    );
                    at_mean += unit * f64::from(mean);
                }
                let mut padding = got.code.hi[n..].iter().chain(&got.code.lo[n..]);
                assert!(padding.all(|&x| x == 0));
                assert!((f64::from(got.at_mean) - at_mean).abs() < 1e-5);
            }
        }
    }
}
