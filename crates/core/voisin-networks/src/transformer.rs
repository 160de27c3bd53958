//! Parts of transformers that are not products: layer norm, softmax, GELU.
//!
//! Not here: products ([`rows`](super::rows)), and whole networks.

use crate::simd::{Work, vectorised};
use voisin_kernels::Isa;

/// Parallel sums, so that the compiler can vectorise.
const LANES: usize = 16;
/// Epsilon of `torch.nn.LayerNorm`.
const EPSILON: f32 = 1e-5;

/// e to the power of `x`, within 3 units in the last place, without a call that would keep loops
/// from being vectorised; beyond ±87 that of ±87.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Added and taken off again it rounds; the lowest bits of the sum are the rounded number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first of so few bits that multiples of it are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * LN_2[0] - whole * LN_2[1];
    // Taylor's series, whose rest is below 2e-8 for |r| <= ln 2 / 2.
    let mut sum = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + factor;
    }
    sum * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// Adds up in lanes, then the lanes: the same order for every instruction set.
#[inline(always)]
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += term(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(*value);
    }
    lanes.iter().sum()
}

/// Layer norm: mean 0 and variance 1 of a row, then scale and shift (Ba, Kiros, Hinton, 2016).
///
/// - `row`, `scale`, `shift`, `out`: of one length
///
/// # Panics
/// If a length differs.
pub fn layer_norm(isa: Isa, row: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) {
    let lengths = [scale.len(), shift.len(), out.len()];
    assert_eq!(lengths, [row.len(); 3], "rows of one length");
    vectorised(
        isa,
        LayerNorm {
            row,
            scale,
            shift,
            out,
        },
    );
}

struct LayerNorm<'a> {
    row: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    out: &'a mut [f32],
}

impl Work for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let count = self.row.len() as f32;
        let mean = sum(self.row, |x| x) / count;
        let variance = sum(self.row, |x| (x - mean) * (x - mean)) / count;
        let factor = 1.0 / (variance + EPSILON).sqrt();
        let affine = self.scale.iter().zip(self.shift);
        for ((out, x), (scale, shift)) in self.out.iter_mut().zip(self.row).zip(affine) {
            *out = (x - mean) * factor * scale + shift;
        }
    }
}

/// Softmax of rows of scores, after adding a bias.
///
/// - `scores`, `bias`: `[rows][width]`
///
/// # Panics
/// If there are fewer biases than scores.
pub fn softmax(isa: Isa, scores: &mut [f32], bias: &[f32], width: usize) {
    let bias = &bias[..scores.len()];
    vectorised(
        isa,
        Softmax {
            scores,
            bias,
            width,
        },
    );
}

struct Softmax<'a> {
    scores: &'a mut [f32],
    bias: &'a [f32],
    width: usize,
}

impl Work for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.scores.chunks_exact_mut(self.width);
        for (row, bias) in rows.zip(self.bias.chunks_exact(self.width)) {
            let mut most = f32::NEG_INFINITY;
            for (score, bias) in row.iter_mut().zip(bias) {
                *score += bias;
                most = if *score > most { *score } else { most };
            }
            // The largest becomes 1, so that no power overflows.
            for score in row.iter_mut() {
                *score = exp(*score - most);
            }
            let factor = 1.0 / sum(row, |x| x);
            for score in row.iter_mut() {
                *score *= factor;
            }
        }
    }
}

/// `x · Φ(x)` in place (Hendrycks, Gimpel, 2016), by the error function.
pub fn gelu(isa: Isa, values: &mut [f32]) {
    vectorised(isa, Gelu(values));
}

struct Gelu<'a>(&'a mut [f32]);

impl Work for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for value in self.0 {
            let x = *value;
            *value = 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

/// The error function, within 3e-7: Abramowitz and Stegun, Handbook of mathematical functions,
/// 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut sum = 1.061_405_4;
    for factor in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + factor;
    }
    let found = 1.0 - sum * t * exp(-size * size);
    found.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, size: f32) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 * size - size)
            .collect()
    }

    #[test]
    fn layer_norm_is_that_of_its_definition() {
        for n in [1, 8, 16, 96, 100] {
            let row = numbers(n, 3.0);
            let scale = numbers(n, 1.5);
            let shift = numbers(n, 0.5);
            let wide: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let mean = wide.iter().sum::<f64>() / n as f64;
            let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; n];
                layer_norm(isa, &row, &scale, &shift, &mut out);
                for i in 0..n {
                    let expected = (wide[i] - mean) / (variance + 1e-5).sqrt()
                        * f64::from(scale[i])
                        + f64::from(shift[i]);
                    assert!((f64::from(out[i]) - expected).abs() < 1e-5, "{isa} {n} {i}");
                }
            }
        }
    }

    #[test]
    fn shares_of_a_row_add_up_to_one() {
        let bias = numbers(3 * 64, 100.0);
        let scores = numbers(5 * 64, 8.0);
        for isa in Isa::available() {
            let mut found = scores[..3 * 64].to_vec();
            softmax(isa, &mut found, &bias, 64);
            for row in 0..3 {
                let at = |i: usize| f64::from(scores[row * 64 + i]) + f64::from(bias[row * 64 + i]);
                let total: f64 = (0..64).map(|i| at(i).exp()).sum();
                for i in 0..64 {
                    let expected = at(i).exp() / total;
                    assert!((f64::from(found[row * 64 + i]) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn gelu_has_the_values_of_its_definition() {
        // By the error function in double precision, of Python's math.erf.
        let expected = [
            (-4.0, -0.000_126_684_967_332_479_9),
            (-1.0, -0.158_655_253_931_457_05),
            (-0.1, -0.046_017_216_272_297_1),
            (0.0, 0.0),
            (0.5, 0.345_731_230_637_006_6),
            (2.0, 1.954_499_736_103_641_6),
            (9.0, 9.0),
        ];
        for isa in Isa::available() {
            let mut found: Vec<f32> = expected.iter().map(|(x, _)| *x).collect();
            gelu(isa, &mut found);
            for ((x, expected), found) in expected.iter().zip(found) {
                assert!(
                    (f64::from(found) - expected).abs() < 2e-6,
                    "{isa} {x}: {found}"
                );
            }
        }
    }
}
