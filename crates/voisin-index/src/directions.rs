//! The directions in which the vectors of an index differ most, and short codes: projections on them.

use rayon::prelude::*;

use super::codes::CodeSource;
use voisin_base::random::hash;
use voisin_kernels::Isa;
use voisin_kernels::dot::short::{SHORT, ShortQuery};
use voisin_kernels::dot::{ALIGN, QueryCode};

/// Vectors that the directions are found from, at most: products of so many bytes stay within 32 bits.
const DIRECTIONS_FROM: usize = 1 << 14;
/// Turns of the iteration that finds them.
const TURNS: usize = 10;

/// The directions, as rows of a plane of bytes.
pub(crate) struct Directions {
    /// `[SHORT][width]`, biased by 128.
    pub(crate) rows: Vec<u8>,
    /// Value of one step of them.
    pub(crate) step: f32,
}

impl Directions {
    /// Finds the directions by orthogonal iteration: to turn the vectors towards each other again and again.
    pub(crate) fn find(source: CodeSource<'_>) -> Self {
        let (n, width) = (source.codes.len(), source.codes.width);
        let step = n.div_ceil(DIRECTIONS_FROM).max(1);
        let slots: Vec<usize> = (0..n).step_by(step).collect();
        // The sample at one scale, by rows and by columns.
        let largest = slots.iter().fold(0_f32, |most, &slot| most.max(source.codes.meta[slot].scale));
        let mut rows = vec![0x80_u8; slots.len() * width];
        rows.par_chunks_exact_mut(width).zip(&slots).for_each(|(row, &slot)| {
            let share = source.codes.meta[slot].scale / largest.max(f32::MIN_POSITIVE);
            for (to, &from) in row.iter_mut().zip(source.codes.hi_row(slot)) {
                *to = round(f32::from((from ^ 0x80) as i8) * share) as u8 ^ 0x80;
            }
        });
        let tall = slots.len().next_multiple_of(ALIGN);
        let mut columns = vec![0x80_u8; width * tall];
        columns.par_chunks_exact_mut(tall).enumerate().for_each(|(at, column)| {
            for (to, row) in column.iter_mut().zip(rows.chunks_exact(width)) {
                *to = row[at];
            }
        });
        let (every_row, every_column): (Vec<u32>, Vec<u32>) =
            ((0..slots.len() as u32).collect(), (0..width as u32).collect());
        let mut basis: Vec<Vec<f64>> = (0..SHORT)
            .map(|at| (0..width).map(|i| if bits(at, i) & 1 == 1 { 1. } else { -1. }).collect())
            .collect();
        orthogonalise(&mut basis);
        for _ in 0..TURNS {
            basis.par_iter_mut().for_each(|direction| {
                let mut products = Vec::new();
                source.isa.dot8_list(&rows, &every_row, &whole(direction, width).0, &mut products);
                let along: Vec<f64> = products.iter().map(|&x| f64::from(x)).collect();
                source.isa.dot8_list(&columns, &every_column, &whole(&along, tall).0, &mut products);
                *direction = products.iter().map(|&x| f64::from(x)).collect();
            });
            orthogonalise(&mut basis);
        }
        let peak = basis.iter().flatten().fold(0_f64, |peak, x| peak.max(x.abs())).max(1e-30);
        let byte = |x: &f64| round((x * 127. / peak) as f32) as u8 ^ 0x80;
        Self { rows: basis.iter().flatten().map(byte).collect(), step: (peak / 127.) as f32 }
    }

    /// The short code of a vector given at 16 bits, and the value of one step of it.
    pub(crate) fn short(
        &self,
        isa: Isa,
        code: &QueryCode,
        scale: f32,
        products: &mut Vec<i32>,
    ) -> ShortQuery {
        const EVERY: [u32; SHORT] = {
            let mut every = [0; SHORT];
            let mut i = 0;
            while i < SHORT {
                every[i] = i as u32;
                i += 1;
            }
            every
        };
        isa.dot8_list(&self.rows, &EVERY, code, products);
        let peak = products.iter().fold(0, |peak: u32, x| peak.max(x.unsigned_abs()));
        let share = 127. / peak.max(1) as f32;
        let mut short = ShortQuery { code: [0; SHORT], factor: scale * self.step * (peak as f32 / 127.) };
        for (to, &x) in short.code.iter_mut().zip(products.iter()) {
            *to = round(x as f32 * share);
        }
        short
    }
}

/// The nearest whole number within ±127.
#[inline]
fn round(x: f32) -> i8 {
    (x + 0.5_f32.copysign(x)).clamp(-127., 127.) as i8
}

/// Random bits for a pair of numbers, the same ones always.
pub(crate) fn bits(a: usize, b: usize) -> u64 {
    hash(((a as u64) << 32).wrapping_add(b as u64).wrapping_add(1))
}

/// A vector at 8 bits and the value of one step, padded to `width`.
pub(crate) fn whole(vector: &[f64], width: usize) -> (QueryCode, f64) {
    let peak = vector.iter().fold(0_f64, |peak, x| peak.max(x.abs())).max(1e-30);
    let mut hi: Vec<i8> = vector.iter().map(|x| round((x * 127. / peak) as f32)).collect();
    hi.resize(width, 0);
    let hi_sum = hi.iter().map(|&x| i32::from(x)).sum();
    (QueryCode { hi, hi_sum, ..QueryCode::default() }, peak / 127.)
}

/// Makes vectors orthonormal, in their order; what depends on those before becomes zero.
fn orthogonalise(vectors: &mut [Vec<f64>]) {
    for at in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(at);
        let vector = &mut rest[0];
        let norm = |vector: &[f64]| vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        let first = norm(vector);
        // Twice is enough (Kahan, in Parlett 1980).
        for _ in 0..2 {
            for other in before.iter() {
                let along: f64 = vector.iter().zip(other).map(|(x, y)| x * y).sum();
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = norm(vector);
        let share = if left > 1e-9 * first && left > 0. { 1. / left } else { 0. };
        vector.iter_mut().for_each(|x| *x *= share);
    }
}
