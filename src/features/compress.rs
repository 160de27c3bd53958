//! Compresses sums in mel bands to a network's input: decibels, or MusiCNN's logarithm.

use std::f32::consts::{LN_2, LOG10_2, LOG10_E, SQRT_2};

use super::Compression;

/// Applies the compression to all cells of one window, after a square root if `root`.
#[inline(always)]
pub(super) fn compress(compression: Compression, root: bool, cells: &mut [f32]) {
    // 10 log10(max(√x, 1e-10)) is 5 log10(max(x, 1e-20)).
    let (factor, least) = if root { (5.0, 1e-20) } else { (10.0, 1e-10) };
    match compression {
        Compression::AbsoluteDecibel => {
            for x in cells {
                *x = factor * log10(x.max(least));
            }
        }
        Compression::Decibel => {
            // Sixteen independent maxima, reduced at the end.
            let mut maximum = [f32::NEG_INFINITY; 16];
            let mut blocks = cells.chunks_exact_mut(16);
            for block in &mut blocks {
                for (x, maximum) in block.iter_mut().zip(&mut maximum) {
                    *x = factor * log10(x.max(least));
                    *maximum = maximum.max(*x);
                }
            }
            for x in blocks.into_remainder() {
                *x = factor * log10(x.max(least));
                maximum[0] = maximum[0].max(*x);
            }
            let maximum = maximum.into_iter().fold(f32::NEG_INFINITY, f32::max);
            // A second pass, because the maximum is known only after all cells.
            for x in cells {
                *x = (*x - maximum).max(-80.0);
            }
        }
        Compression::LogHalf { scale } => {
            for x in cells {
                *x = log10(scale as f32 * round_to_half(if root { x.sqrt() } else { *x }) + 1.0);
            }
        }
    }
}

/// Rounds to the nearest 16-bit float, ties to even, for `x >= 0`; larger numbers become the largest
/// one.
#[inline(always)]
fn round_to_half(x: f32) -> f32 {
    const LARGEST: f32 = 65_504.0;
    const LEAST_NORMAL: f32 = 6.103_515_6e-5; // 2^-14; below it, the step is 2^-24
    let subnormal = (x + 0.75) - 0.75; // f32's own step between a half and one
    let bits = x.to_bits();
    let normal = f32::from_bits(bits.wrapping_add(0x0fff + ((bits >> 13) & 1)) & !0x1fff);
    if x < LEAST_NORMAL {
        subnormal
    } else {
        normal.min(LARGEST)
    }
}

/// Decimal logarithm of a positive normal number, to 2e-7 of its value or 2e-7, whichever is
/// larger.
///
/// `x = 2^e m` with `m` in [√½, √2), and `ln m = 2 artanh((m - 1) / (m + 1))` by its series. No
/// table and no branch, so that loops over it become vector instructions.
#[inline(always)]
fn log10(x: f32) -> f32 {
    let offset = SQRT_2.to_bits() - (1 << 23); // √½
    let exponent = (x.to_bits().wrapping_sub(offset) as i32) >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32));
    let t = (m - 1.0) / (m + 1.0);
    let s = t * t;
    let series = ((s * (1.0 / 9.0) + 1.0 / 7.0) * s + 1.0 / 5.0) * s + 1.0 / 3.0;
    let ln_m = 2.0 * t + 2.0 * t * s * series;
    debug_assert!(ln_m.abs() <= LN_2);
    exponent as f32 * LOG10_2 + ln_m * LOG10_E
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn rounding_to_half_is_that_of_the_half_crate() {
        // Every boundary between two adjacent halves, and its neighbours.
        let near = |half: u16| {
            let low = f16::from_bits(half).to_f32();
            let high = f16::from_bits((half + 1).min(0x7bff)).to_f32();
            let middle = f32::midpoint(low, high).to_bits();
            [middle.saturating_sub(1), middle, middle + 1, low.to_bits()]
        };
        let spread = (0..0x4800_0000u32).step_by(499);
        for bits in spread.chain((0..0x7c00).flat_map(near)) {
            let x = f32::from_bits(bits);
            let expected = f16::from_f32(x).to_f32().min(65_504.0);
            assert_eq!(round_to_half(x), expected, "{x:e}");
        }
        assert_eq!(round_to_half(f32::INFINITY), 65_504.0);
    }

    #[test]
    fn log10_is_accurate_over_all_normal_numbers() {
        let mut worst = 0.0f64;
        for bits in (0x0080_0000u32..0x7f80_0000).step_by(997) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).log10();
            worst = worst.max((f64::from(log10(x)) - exact).abs() / exact.abs().max(1.0));
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(log10(1.0), 0.0);
    }

    #[test]
    fn decibels_have_their_factor_floor_and_reference() {
        let decibel = Compression::Decibel;
        let expected = [0.0, -20.0, -50.0, -80.0, -80.0];
        // Amplitudes, and the same as powers.
        for (root, mut cells) in [
            (false, [100.0, 1.0, 1e-3, 1e-7, 0.0]),
            (true, [1e4, 1.0, 1e-6, 1e-14, 0.0]),
        ] {
            compress(decibel, root, &mut cells);
            for (found, expected) in cells.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{cells:?}");
            }
        }
        // All below the least: the maximum is -100 dB, and nothing is below it.
        let mut cells = [0.0, 1e-12];
        compress(decibel, false, &mut cells);
        assert_eq!(cells, [0.0, 0.0]);
    }
}
