//! Compresses sums in mel bands to a network's input: decibels, or MusiCNN's logarithm.

use std::f32::consts::{LN_2, LOG10_2, LOG10_E, SQRT_2};

use half::f16;

use super::Compression;

#[inline(always)]
pub(super) fn compress(compression: Compression, root: bool, cells: &mut [f32]) {
    if let Compression::LogHalf { scale } = compression {
        for x in cells {
            let half = f16::from_f32(if root { x.sqrt() } else { *x }).to_f32();
            *x = log10(scale as f32 * half.min(f16::MAX.to_f32()) + 1.0);
        }
        return;
    }
    // 10 log10(max(√x, 1e-10)) is 5 log10(max(x, 1e-20)).
    let (factor, least) = if root { (5.0, 1e-20) } else { (10.0, 1e-10) };
    for x in &mut *cells {
        *x = factor * log10(x.max(least));
    }
    if compression == Compression::Decibel {
        let loudest = loudest(cells);
        for x in cells {
            *x = (*x - loudest).max(-80.0);
        }
    }
}

#[inline(always)]
fn loudest(cells: &[f32]) -> f32 {
    // Sixteen independent maxima, which become vector instructions.
    let mut loudest = [f32::NEG_INFINITY; 16];
    for block in cells.chunks(16) {
        for (loudest, x) in loudest.iter_mut().zip(block) {
            *loudest = loudest.max(*x);
        }
    }
    loudest.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Decimal logarithm of a positive normal number, to 2e-7 of its value or 2e-7.
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
mod tests {
    use super::*;

    #[test]
    fn log10_is_accurate_over_all_normal_numbers() {
        for bits in (0x0080_0000u32..0x7f80_0000).step_by(997) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).log10();
            let error = (f64::from(log10(x)) - exact).abs();
            assert!(error < 2e-7 * exact.abs().max(1.0), "{x}: {error}");
        }
    }
}
