//! Components of a vector at a few bits each.
//!
//! A row encodes `scale · v` with odd integers `v` and the scale of the least squared error (of
//! several ranges). Component `f · row_bytes + i` is the `f`-th field of byte `i`, lowest bits
//! first.

/// Ranges that are tried, relative to the largest component.
const RANGES: [f32; 5] = [0.4, 0.55, 0.7, 0.85, 1.];

/// Bytes of a row.
pub(crate) fn row_bytes(width: usize, bits: usize) -> usize {
    width * bits / 8
}

/// Writes components at `bits` bits each; returns the value of one step.
pub(crate) fn quantise(values: &[f32], bits: usize, row: &mut [u8]) -> f32 {
    let half = 1_i32 << (bits - 1);
    let peak = values
        .iter()
        .fold(0_f32, |peak, x| peak.max(x.abs()))
        .max(f32::MIN_POSITIVE);
    // The field of a component, 0 to 2 · half − 1, encodes an odd number of steps. The conversion
    // truncates, as `floor` is a function call without SSE4.1.
    let field = |x: f32, to_field: f32| {
        (x * to_field + half as f32).clamp(0., (2 * half - 1) as f32) as i32
    };
    let odd = |field: i32| (2 * (field - half) + 1) as f32;
    let mut best = f32::NEG_INFINITY;
    let mut kept = 0.;
    // The best range depends on the distribution of the components; five suffice.
    let mut scale = 0.;
    for range in RANGES {
        let to_field = half as f32 / (peak * range);
        let mut product = 0_f32;
        let mut square = 0_f32;
        for &x in values {
            let code = odd(field(x, to_field));
            product += x * code;
            square += code * code;
        }
        // The part of the vector's square that the code explains, largest for the code with the
        // smallest angle.
        if product * product / square > best {
            (best, kept, scale) = (product * product / square, to_field, product / square);
        }
    }
    let step = row.len();
    row.fill(0);
    for (at, &x) in values.iter().enumerate() {
        row[at % step] |= (field(x, kept) as u8) << (at / step * bits);
    }
    scale
}

/// Components as bytes biased by 128.
pub(crate) fn unpack(row: &[u8], bits: usize, to: &mut [u8]) {
    let largest = (1_u8 << bits) - 1;
    for (field, to) in to.chunks_exact_mut(row.len()).enumerate() {
        for (to, &byte) in to.iter_mut().zip(row) {
            *to = (2 * (byte >> (field * bits) & largest)).wrapping_sub(largest) ^ 0x80;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn more_bits_come_nearer_and_fields_come_back() {
        let mut rng = StdRng::seed_from_u64(1);
        let values: Vec<f32> = (0..192)
            .map(|_| (rng.random::<f32>() - 0.5).powi(3))
            .collect();
        let square: f32 = values.iter().map(|x| x * x).sum();
        let mut before = 1.;
        for (bits, most) in [(1, 0.6), (2, 0.3), (4, 0.02)] {
            let mut row = vec![0; row_bytes(192, bits)];
            let scale = quantise(&values, bits, &mut row);
            let mut back = vec![0; 192];
            unpack(&row, bits, &mut back);
            let back: Vec<i32> = back.iter().map(|&x| i32::from((x ^ 0x80) as i8)).collect();
            assert!(
                back.iter().all(|x| x % 2 != 0 && x.abs() < 1 << bits),
                "{bits} bits: {back:?}"
            );
            let left: f32 = values
                .iter()
                .zip(&back)
                .map(|(x, &v)| (x - scale * v as f32).powi(2))
                .sum();
            assert!(
                left / square < most && left / square < before,
                "{bits} bits: {}",
                left / square
            );
            before = left / square;
        }
        let mut row = vec![0xff; 24];
        assert!(
            quantise(&[0.; 192], 1, &mut row).abs() < 1e-30,
            "nothing is left of nothing"
        );
    }
}
