//! The directions in which the vectors of an index differ most, and short codes: projections on
//! them.
//!
//! A code has 4 bits for each of 128 directions: the first ones, mixed so that each has the same
//! share of all. Few bits of many directions are better than many of few for unseen music
//! (`RaBitQ`: Gao and Long 2024, with more bits: Gao et al. 2025).

use std::f64::consts::FRAC_1_SQRT_2;

use rayon::prelude::*;

use super::codes::CodeSource;
use voisin_base::random::hash;
use voisin_simd::Isa;
use voisin_simd::dot::short::{COMPONENTS, SHORT, ShortQuery};
use voisin_simd::dot::{ALIGN, ProductRows, QueryCode};

/// Most vectors that the directions are found from, so that products fit into 32 bits.
const DIRECTIONS_FROM: usize = 1 << 14;
/// Iterations that find them.
const TURNS: usize = 10;
/// Vectors that are projected together.
pub(crate) const PROJECTED: usize = 4;
/// Ranges of a component that are tried, relative to the largest component.
const RANGES: [f32; 5] = [0.4, 0.55, 0.7, 0.85, 1.];
/// The largest component of a short code; the least is its negative, and all are odd.
const LARGEST: i8 = 15;

/// The directions, as rows of a plane of bytes.
pub(crate) struct Directions {
    /// `[COMPONENTS][width]`, biased by 128.
    pub(crate) rows: ProductRows,
    /// Value of one step of them.
    pub(crate) step: f32,
}

/// A vector along the directions, at 8 bits.
#[derive(Clone)]
pub(crate) struct Along {
    pub(crate) code: [i8; COMPONENTS],
    sum: i32,
    pub(crate) factor: f32,
}

impl Along {
    /// From its components and the value of one step.
    pub(crate) fn new(components: &[i8], factor: f32) -> Self {
        let mut code = [0; COMPONENTS];
        code.copy_from_slice(components);
        Self {
            code,
            sum: components.iter().map(|&x| i32::from(x)).sum(),
            factor,
        }
    }

    pub(crate) fn query(&self) -> ShortQuery<'_> {
        ShortQuery {
            code: &self.code,
            sum: self.sum,
            factor: self.factor,
        }
    }
}

impl Directions {
    /// Finds the directions by orthogonal iteration.
    pub(crate) fn find(source: CodeSource<'_>) -> Self {
        let (rows, columns, tall) = sample(source);
        let width = source.codes.width;
        let every_row: Vec<u32> = (0..(rows.len() / width) as u32).collect();
        let every_column: Vec<u32> = (0..width as u32).collect();
        // Any start with a part of every direction works; signs by a hash are the same on every
        // machine.
        let mut basis: Vec<Vec<f64>> = (0..COMPONENTS)
            .map(|at| {
                (0..width)
                    .map(|i| if random_bits(at, i) & 1 == 1 { 1. } else { -1. })
                    .collect()
            })
            .collect();
        orthogonalise(&mut basis);
        for _ in 0..TURNS {
            // Two passes over the sample multiply by its covariance, without computing that matrix.
            basis.par_iter_mut().for_each(|direction| {
                let mut products = Vec::new();
                source
                    .isa
                    .dot8_list(&rows, &every_row, &whole(direction, width).0, &mut products);
                let along: Vec<f64> = products.iter().map(|&x| f64::from(x)).collect();
                source.isa.dot8_list(
                    &columns,
                    &every_column,
                    &whole(&along, tall).0,
                    &mut products,
                );
                *direction = products.iter().map(|&x| f64::from(x)).collect();
            });
            orthogonalise(&mut basis);
        }
        // Every component has the same range, so the first ones' share is spread over all.
        mix(&mut basis);
        let peak = basis
            .iter()
            .flatten()
            .fold(0_f64, |peak, x| peak.max(x.abs()))
            .max(1e-30);
        let byte = |x: &f64| round((x * 127. / peak) as f32) as u8 ^ 0x80;
        let rows = ProductRows::new(basis.iter().flatten().map(byte).collect(), width);
        Self {
            rows,
            step: (peak / 127.) as f32,
        }
    }

    /// Projects 16-bit vectors on the directions.
    fn project<const N: usize>(
        &self,
        isa: Isa,
        vectors: [(&QueryCode, f32); N],
        products: &mut [Vec<i32>; N],
    ) -> [Along; N] {
        isa.products(
            &self.rows,
            vectors.map(|(code, _)| code),
            products.each_mut(),
        );
        std::array::from_fn(|at| {
            let mut code = [0; COMPONENTS];
            let (peak, sum) = isa.to_bytes(&products[at], &mut code);
            Along {
                code,
                sum,
                factor: vectors[at].1 * self.step * (peak as f32 / 127.),
            }
        })
    }

    /// A 16-bit vector with this scale along the directions.
    pub(crate) fn along(&self, isa: Isa, vector: (&QueryCode, f32)) -> Along {
        let [along] = self.project(isa, [vector], &mut [Vec::new()]);
        along
    }

    /// As [`along`](Self::along), of many.
    pub(crate) fn along_all(&self, isa: Isa, vectors: &[(&QueryCode, f32)]) -> Vec<Along> {
        let mut all = Vec::with_capacity(vectors.len());
        let mut products = [const { Vec::new() }; PROJECTED];
        let (together, rest) = vectors.as_chunks::<PROJECTED>();
        for some in together {
            all.extend(self.project(isa, *some, &mut products));
        }
        all.extend(rest.iter().map(|&vector| self.along(isa, vector)));
        all
    }
}

/// The short code of a vector along the directions, and the value of one step of it.
pub(crate) fn encode(along: &[i8], factor: f32) -> ([u8; SHORT], f32) {
    let code = quantise(along);
    // With this scale a vector's product with its own code is exact, and others are unbiased.
    let square: i32 = along.iter().map(|&x| i32::from(x) * i32::from(x)).sum();
    let products = along.iter().zip(decode(&code));
    let product: i32 = products.map(|(&x, y)| i32::from(x) * i32::from(y)).sum();
    // A code orthogonal to its vector has no information.
    let share = if product > 0 {
        square as f32 / product as f32
    } else {
        0.
    };
    (code, share * factor)
}

/// The components of a short code: of byte `i`, those at `i` and `SHORT + i`, lowest bits first.
fn decode(code: &[u8; SHORT]) -> [i8; COMPONENTS] {
    std::array::from_fn(|at| {
        let field = code[at % SHORT] >> (at / SHORT * 4) & 15;
        2 * field as i8 - LARGEST
    })
}

/// The odd numbers with the smallest angle to a vector, of several ranges.
fn quantise(along: &[i8]) -> [u8; SHORT] {
    const HALF: f32 = 8.;
    let peak = along.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0);
    // The conversion truncates, as `floor` is a function call without SSE4.1.
    let field =
        |x: i8, to_field: f32| (f32::from(x) * to_field + HALF).clamp(0., 2. * HALF - 1.) as i8;
    let mut best = f32::NEG_INFINITY;
    let mut kept = 0.;
    // The best range depends on the distribution of the components; five suffice.
    for range in RANGES {
        let to_field = HALF / (f32::from(peak.max(1)) * range);
        let mut product = 0_f32;
        let mut square = 0_f32;
        for &x in along {
            let code = f32::from(2 * field(x, to_field) - LARGEST);
            product += f32::from(x) * code;
            square += code * code;
        }
        // The part of the vector's square that the code explains.
        if product * product / square > best {
            (best, kept) = (product * product / square, to_field);
        }
    }
    let mut code = [0; SHORT];
    for (at, &x) in along.iter().enumerate() {
        code[at % SHORT] |= (field(x, kept) as u8) << (at / SHORT * 4);
    }
    code
}

/// A sample of the vectors at one scale, by rows and by columns of the returned length.
fn sample(source: CodeSource<'_>) -> (Vec<u8>, Vec<u8>, usize) {
    let n = source.codes.len();
    let width = source.codes.width;
    // Spread over all slots: vectors that were added together are alike.
    let step = n.div_ceil(DIRECTIONS_FROM).max(1);
    let slots: Vec<usize> = (0..n).step_by(step).collect();
    let scales = slots.iter().map(|&slot| source.codes.meta[slot].scale);
    let largest = scales.fold(0_f32, f32::max);
    let mut rows = vec![0x80_u8; slots.len() * width];
    rows.par_chunks_exact_mut(width)
        .zip(&slots)
        .for_each(|(row, &slot)| {
            // One scale for all: a vector far from the mean has to count more than one near it.
            let share = source.codes.meta[slot].scale / largest.max(f32::MIN_POSITIVE);
            for (to, &from) in row.iter_mut().zip(source.codes.hi_row(slot)) {
                *to = round(f32::from((from ^ 0x80) as i8) * share) as u8 ^ 0x80;
            }
        });
    let tall = slots.len().next_multiple_of(ALIGN);
    let mut columns = vec![0x80_u8; width * tall];
    columns
        .par_chunks_exact_mut(tall)
        .enumerate()
        .for_each(|(at, column)| {
            for (to, row) in column.iter_mut().zip(rows.chunks_exact(width)) {
                *to = row[at];
            }
        });
    (rows, columns, tall)
}

/// Mixes orthogonal vectors, a power of two of them, so that all have the same share of each
/// (Walsh-Hadamard).
fn mix(vectors: &mut [Vec<f64>]) {
    let mut half = 1;
    while half < vectors.len() {
        for pair in vectors.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            // A butterfly of sums and differences, scaled to keep lengths.
            for (a, b) in low.iter_mut().flatten().zip(high.iter_mut().flatten()) {
                (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
            }
        }
        half *= 2;
    }
}

/// The nearest whole number within ±127.
#[inline]
fn round(x: f32) -> i8 {
    (x + 0.5_f32.copysign(x)).clamp(-127., 127.) as i8
}

/// Reproducible random bits for a pair of numbers.
pub(crate) fn random_bits(a: usize, b: usize) -> u64 {
    hash(((a as u64) << 32).wrapping_add(b as u64).wrapping_add(1))
}

/// A vector at 8 bits and the value of one step, padded to `width`.
pub(crate) fn whole(vector: &[f64], width: usize) -> (QueryCode, f64) {
    let peak = vector
        .iter()
        .fold(0_f64, |peak, x| peak.max(x.abs()))
        .max(1e-30);
    let mut hi: Vec<i8> = vector
        .iter()
        .map(|x| round((x * 127. / peak) as f32))
        .collect();
    hi.resize(width, 0);
    let hi_sum = hi.iter().map(|&x| i32::from(x)).sum();
    (
        QueryCode {
            hi,
            hi_sum,
            ..QueryCode::default()
        },
        peak / 127.,
    )
}

/// Makes vectors orthonormal, in their order; linearly dependent ones become zero.
fn orthogonalise(vectors: &mut [Vec<f64>]) {
    // Modified Gram-Schmidt: each direction is subtracted before the next product.
    for at in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(at);
        let vector = &mut rest[0];
        let norm = |vector: &[f64]| vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        let first = norm(vector);
        // Twice is enough (Kahan, in Parlett 1980).
        for _ in 0..2 {
            for other in before.iter() {
                let along: f64 = vector.iter().zip(other).map(|(x, y)| x * y).sum();
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = norm(vector);
        // A very small remainder is rounding noise, not a direction.
        let share = if left > 1e-9 * first && left > 0. {
            1. / left
        } else {
            0.
        };
        vector.iter_mut().for_each(|x| *x *= share);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::codes::{Codec, Codes};

    #[test]
    fn a_code_keeps_products_with_its_vector_and_with_strangers() {
        const N: usize = 600;
        let mut rng = StdRng::seed_from_u64(9);
        let vectors: Vec<Vec<f32>> = (0..N)
            .map(|_| (0..192).map(|_| rng.random::<f32>() - 0.5).collect())
            .collect();
        let codec = Codec::fit(192, vectors.iter().map(|vector| &vector[..]));
        let mut codes = Codes::with_room(codec.width, N);
        vectors.iter().for_each(|vector| codes.push(&codec, vector));
        let isa = Isa::PORTABLE;
        let source = CodeSource {
            isa,
            codec: &codec,
            codes: &codes,
        };
        let directions = Directions::find(source);
        let along = |slot: usize| {
            let stored = codec.stored_at(&codes, slot);
            directions.along(isa, (&stored.code, stored.scale))
        };
        let mut errors = Vec::new();
        for slot in 0..N {
            let (along, other) = (along(slot), along((slot + 1) % N));
            let (code, scale) = encode(&along.code, along.factor);
            let code = decode(&code);
            assert!(code.iter().all(|x| x % 2 != 0));
            let product = |with: &Along, scale: f32, code: &[i8]| -> f32 {
                let pairs = with.code.iter().zip(code);
                let sum: i32 = pairs.map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
                sum as f32 * scale * with.factor
            };
            let square = product(&along, along.factor, &along.code);
            assert!((product(&along, scale, &code) / square - 1.).abs() < 1e-3);
            let truth = product(&other, along.factor, &along.code);
            errors.push((product(&other, scale, &code) - truth) / square);
        }
        let mean = errors.iter().sum::<f32>() / N as f32;
        let square = errors.iter().map(|error| error * error).sum::<f32>() / N as f32;
        // 4 bits leave 0.012 of a square, over 128 components: 0.01.
        assert!(
            mean.abs() < 0.005 && square.sqrt() < 0.015,
            "{mean} {square}"
        );
    }

    #[test]
    fn nothing_has_a_code() {
        assert_eq!(encode(&[0; COMPONENTS], 1.).1, 0.);
    }
}
