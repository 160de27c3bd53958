//! A fixed random rotation, with which signs carry the most information.
//!
//! The angle between two vectors shows in the number of differing signs only if every component is
//! equally likely to differ; those of real embeddings are neither identically distributed nor
//! independent. So each gets a random sign and is mixed with all others by a Walsh-Hadamard
//! transform (Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Comput. 2009;
//! Gao and Long, "`RaBitQ`", SIGMOD 2024). Padding becomes useful: 200 components give 256 signs.
//! Sums are of integers, the same on every machine.

use voisin_base::random;

/// Rotates `values` in place, up to a factor. Their number is a multiple of 64, at most 65 536;
/// their sizes are below 32 767.
pub(crate) fn rotate(values: &mut [i32]) {
    let n = values.len();
    let power = if n.is_power_of_two() {
        n
    } else {
        n.next_power_of_two() / 2
    };
    flip(values, 1);
    transform(&mut values[..power]);
    if power < n {
        // A second transform for the rest, with enough of the first part for a power of two. The
        // transformed part is scaled to the rest's size, and all down so that sums fit into 32
        // bits.
        let size = power.ilog2() / 2 + 1;
        let spare = (3 * power.ilog2() / 2).saturating_sub(16);
        for (i, value) in values.iter_mut().enumerate() {
            *value >>= spare + if i < power { size } else { 0 };
        }
        flip(values, 2);
        transform(&mut values[n - power..]);
    }
}

/// Negates half of the values, always the same.
fn flip(values: &mut [i32], round: u64) {
    for (word, values) in (0_u64..).zip(values.chunks_mut(64)) {
        let bits = random::hash(word + (round << 32));
        for (i, value) in values.iter_mut().enumerate() {
            // 0 or -1; x ^ -1 is -x - 1.
            let side = -((bits >> i & 1) as i32);
            *value = (*value ^ side) - side;
        }
    }
}

/// The Walsh-Hadamard transform; the number of values is a power of two, 64 or more.
fn transform(values: &mut [i32]) {
    // Within 16 neighbours with fixed sizes, which the compiler unrolls.
    for values in values.as_chunks_mut::<16>().0 {
        for half in [1, 2, 4, 8] {
            let mut out = [0; 16];
            for i in 0..16 {
                let other = values[i ^ half];
                out[i] = if i & half == 0 {
                    values[i] + other
                } else {
                    other - values[i]
                };
            }
            *values = out;
        }
    }
    let mut half = 16;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn the_transform_is_the_definition() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        for n in [64_usize, 128, 512] {
            let values: Vec<i32> = (0..n).map(|_| rng.random_range(-32_000..32_000)).collect();
            let mut got = values.clone();
            transform(&mut got);
            for k in [0, 1, 17, n / 2, n - 1] {
                let sign = |i: usize| {
                    if (i & k).count_ones().is_multiple_of(2) {
                        1
                    } else {
                        -1
                    }
                };
                let want: i32 = values.iter().enumerate().map(|(i, x)| sign(i) * x).sum();
                assert_eq!(got[k], want, "{n} {k}");
            }
        }
    }

    #[test]
    fn nothing_leaves_32_bits() {
        // The worst case of a transform: after the sign changes all values are equal and maximal.
        for n in [64_usize, 192, 1024, 4096 + 64, 65_536 - 64, 65_536] {
            let mut sides = vec![32_385; n];
            flip(&mut sides, 1);
            let mut values: Vec<i32> = sides.iter().map(|side| 32_385 * side.signum()).collect();
            let power = if n.is_power_of_two() {
                n
            } else {
                n.next_power_of_two() / 2
            };
            rotate(&mut values);
            let largest = values
                .iter()
                .map(|x| i64::from(*x).abs())
                .max()
                .expect("not empty");
            assert!(
                largest <= 32_385 * n as i64 && largest > 1000,
                "{n}: {largest}"
            );
            if n == power {
                assert_eq!(values[0], 32_385 * n as i32);
            }
        }
    }

    #[test]
    fn signs_show_the_angle_even_of_few_and_unlike_components() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(8);
        for width in [128_usize, 192, 256, 320, 512, 1024] {
            let mut errors = 0.;
            let mut sides = 0.;
            let trials = 200;
            for _ in 0..trials {
                // Only a third of the components is ever used, and some are far larger than others.
                let draw = |rng: &mut rand::rngs::StdRng| -> Vec<f64> {
                    (0..width)
                        .map(|i| {
                            if i % 3 == 0 {
                                rng.random_range(-1.0..1.0) * f64::from(1 + (i % 7) as u8)
                            } else {
                                0.
                            }
                        })
                        .collect()
                };
                let a = draw(&mut rng);
                let b: Vec<f64> = a
                    .iter()
                    .zip(draw(&mut rng))
                    .map(|(a, b)| a + 0.8 * b)
                    .collect();
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let angle = (dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()).acos();
                let turned = |x: &[f64]| {
                    let mut x: Vec<i32> = x.iter().map(|x| (x * 2000.) as i32).collect();
                    rotate(&mut x);
                    x
                };
                let a = turned(&a);
                let b = turned(&b);
                let differing = a
                    .iter()
                    .zip(&b)
                    .filter(|(a, b)| (**a > 0) != (**b > 0))
                    .count();
                let share = angle / std::f64::consts::PI;
                let deviation = (width as f64 * share * (1. - share)).sqrt();
                let error = (differing as f64 - share * width as f64) / deviation;
                errors += error * error;
                sides += error;
            }
            let deviation = (errors / f64::from(trials)).sqrt();
            let bias = sides / f64::from(trials);
            // Independent signs would give 1; a rotation is a little better or worse.
            assert!(
                (0.6..1.35).contains(&deviation) && bias.abs() < 0.3,
                "{width}: {deviation} {bias}"
            );
        }
    }
}
