//! The directions in which the vectors of an index differ most, and short codes: projections on
//! them.
//!
//! Either the 64 first directions, of which a code has 8 bits each, or, mixed, 128 at 4 bits or 256
//! at 2. If vectors differ only in the first 64, these are the most exact. For windows of
//! recordings 128 are better for unseen music; if vectors differ in all directions, as in many
//! embeddings of text, few bits of each are better than none of most (`RaBitQ`: Gao and Long 2024,
//! with more bits: Gao et al. 2025). The build measures which.

use std::f64::consts::FRAC_1_SQRT_2;

use rayon::prelude::*;

use super::codes::CodeSource;
use super::quantise::{quantise, unpack};
use super::trials::Trial;
use voisin_base::random::hash;
use voisin_kernels::Isa;
use voisin_kernels::dot::short::{
    BLOCK_BYTES, LANES, SHORT, ShortQuery, components, empty_blocks, write,
};
use voisin_kernels::dot::{ALIGN, ProductRows, QueryCode};

/// Most vectors that the directions are found from, so that products fit into 32 bits.
const DIRECTIONS_FROM: usize = 1 << 14;
/// Iterations that find them.
const TURNS: usize = 10;
/// Most vectors that codes are tried with.
const TRIED_WITH: usize = 1 << 15;
/// Nearest vectors of each trial that codes are evaluated by.
const NEAREST: usize = 10;
/// Codes are evaluated by this quantile, in thousandths, of the nearest's numbers of false
/// neighbours.
const PER_MILLE: usize = 995;
/// Bits of a component, and the additional cost of such codes, for comparisons and for fewer lists:
/// in false neighbours per square root of the number of vectors, with which the part of the lists
/// that a search compares grows.
const COSTS: [(usize, f64); 3] = [(8, 0.), (4, 0.1), (2, 0.3)];
/// Vectors that are projected together.
pub(crate) const PROJECTED: usize = 4;

/// The directions, as rows of a plane of bytes.
pub(crate) struct Directions {
    /// `[components(bits)][width]`, biased by 128.
    pub(crate) rows: ProductRows,
    /// Value of one step of them.
    pub(crate) step: f32,
    /// Bits per direction of a short code: 8, 4 or 2.
    pub(crate) bits: usize,
}

/// A vector along the directions, at 8 bits.
pub(crate) struct Along {
    pub(crate) code: Vec<i8>,
    sum: i32,
    pub(crate) factor: f32,
}

/// Sum of the components of a code.
pub(crate) fn sum(code: &[i8]) -> i32 {
    code.iter().map(|&x| i32::from(x)).sum()
}

impl Along {
    /// The query for codes of this many bits a component.
    pub(crate) fn query(&self, bits: usize) -> ShortQuery<'_> {
        ShortQuery {
            code: &self.code,
            sum: self.sum,
            factor: self.factor,
            bits,
        }
    }
}

impl Directions {
    /// Finds the directions with the best codes.
    pub(crate) fn fit(source: CodeSource<'_>, trials: &[Trial]) -> Self {
        let [(bits, _), others @ ..] = COSTS;
        let mut best = Self::find(source, bits);
        // With no more components than a code has, 8 bits keep all of them.
        if source.codec.dimension <= SHORT || trials.is_empty() {
            return best;
        }
        let root = (source.codes.len() as f64).sqrt();
        let mut least = best.false_neighbours(source, trials) as f64;
        for (bits, cost) in others {
            // More expensive codes are only tried while they could still win without any false
            // neighbour.
            if cost * root >= least {
                break;
            }
            let other = Self::find(source, bits);
            let all = cost * root + other.false_neighbours(source, trials) as f64;
            if all < least {
                (best, least) = (other, all);
            }
        }
        best
    }

    /// Finds the directions by orthogonal iteration.
    fn find(source: CodeSource<'_>, bits: usize) -> Self {
        let directions = components(bits);
        let n = source.codes.len();
        let width = source.codes.width;
        // A sample spread over all slots: vectors that were added together are alike.
        let step = n.div_ceil(DIRECTIONS_FROM).max(1);
        let slots: Vec<usize> = (0..n).step_by(step).collect();
        // The sample at one scale, by rows and by columns.
        let scales = slots.iter().map(|&slot| source.codes.meta[slot].scale);
        let largest = if source.codec.space.is_euclidean() {
            // A few far vectors are clipped to this, so that the others are not rounded to zero.
            let mut scales: Vec<f32> = scales.collect();
            let middle = scales.len() / 2;
            8. * *scales.select_nth_unstable_by(middle, f32::total_cmp).1
        } else {
            scales.fold(0_f32, f32::max)
        };
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
        let every_row: Vec<u32> = (0..slots.len() as u32).collect();
        let every_column: Vec<u32> = (0..width as u32).collect();
        // Any start with a part of every direction works; signs by a hash are the same on every
        // machine.
        let mut basis: Vec<Vec<f64>> = (0..directions)
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
        // At 4 or 2 bits every component has the same range, so the first ones' share is spread
        // over all.
        if bits < 8 {
            mix(&mut basis);
        }
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
            bits,
        }
    }

    /// Number of directions.
    pub(crate) fn len(&self) -> usize {
        components(self.bits)
    }

    /// Projects 16-bit vectors on the directions, one signed byte each; returns the value of one
    /// step and the sum of the components of each.
    ///
    /// - `products`: scratch memory
    pub(crate) fn project<const N: usize>(
        &self,
        isa: Isa,
        vectors: [(&QueryCode, f32); N],
        products: &mut [Vec<i32>; N],
        to: [&mut [i8]; N],
    ) -> [(f32, i32); N] {
        isa.products(
            &self.rows,
            vectors.map(|(code, _)| code),
            products.each_mut(),
        );
        let mut each = vectors.iter().zip(products).zip(to);
        std::array::from_fn(|_| {
            each.next()
                .map_or((0., 0), |((&(_, scale), products), to)| {
                    let (peak, sum) = isa.to_bytes(products, to);
                    (scale * self.step * (peak as f32 / 127.), sum)
                })
        })
    }

    /// As [`project`](Self::project), for a search.
    pub(crate) fn along(&self, isa: Isa, vector: (&QueryCode, f32)) -> Along {
        let mut code = vec![0; self.len()];
        let [(factor, sum)] = self.project(isa, [vector], &mut [Vec::new()], [&mut code]);
        Along { code, sum, factor }
    }

    /// As [`along`](Self::along), of many.
    pub(crate) fn along_all(&self, isa: Isa, vectors: &[(&QueryCode, f32)]) -> Vec<Along> {
        let mut all = Vec::with_capacity(vectors.len());
        let mut products = [const { Vec::new() }; PROJECTED];
        let (together, rest) = vectors.as_chunks::<PROJECTED>();
        for some in together {
            let mut codes = some.map(|_| vec![0; self.len()]);
            let to = codes.each_mut().map(|code| &mut code[..]);
            let found = self.project(isa, *some, &mut products, to);
            all.extend(
                found
                    .into_iter()
                    .zip(codes)
                    .map(|((factor, sum), code)| Along { code, sum, factor }),
            );
        }
        all.extend(rest.iter().map(|&vector| self.along(isa, vector)));
        all
    }

    /// The short code of a vector along the directions, and the value of one step of it.
    pub(crate) fn encode(&self, along: &[i8], factor: f32) -> ([u8; SHORT], f32) {
        let mut code = [0; SHORT];
        // 8 bits are those of the projection itself; nothing is left to round.
        if self.bits == 8 {
            code.iter_mut()
                .zip(along)
                .for_each(|(to, &x)| *to = x as u8 ^ 0x80);
            return (code, factor);
        }
        let values: Vec<f32> = along.iter().map(|&x| f32::from(x)).collect();
        quantise(&values, self.bits, &mut code);
        // With this scale a vector's product with its own code is exact, and others are unbiased.
        let square: f32 = values.iter().map(|x| x * x).sum();
        let products = values.iter().zip(self.decode(&code));
        let product: f32 = products.map(|(x, code)| x * f32::from(code)).sum();
        (
            code,
            // A code orthogonal to its vector has no information.
            if product > 0. {
                square / product * factor
            } else {
                0.
            },
        )
    }

    /// The components of a short code.
    pub(crate) fn decode(&self, code: &[u8; SHORT]) -> Vec<i8> {
        let mut bytes = vec![0; self.len()];
        match self.bits {
            8 => bytes.copy_from_slice(code),
            bits => unpack(code, bits, &mut bytes),
        }
        bytes.into_iter().map(|byte| (byte ^ 0x80) as i8).collect()
    }

    /// The [`PER_MILLE`] quantile of the numbers of false neighbours of the nearest: others that
    /// are nearer by their short codes.
    fn false_neighbours(&self, source: CodeSource<'_>, trials: &[Trial]) -> usize {
        let n = source.codes.len();
        let step = n.div_ceil(TRIED_WITH);
        let all = self.blocks(source, &(0..n as u32).step_by(step).collect::<Vec<u32>>());
        let false_neighbours_of = |trial: &Trial| {
            let along = self.along(source.isa, (&trial.query.code, trial.query.scale));
            let nearest = &trial.nearest[..NEAREST];
            let mut near = Vec::new();
            let mut nearer = Vec::new();
            let blocks = self.blocks(source, nearest);
            source.isa.near(
                &blocks,
                along.query(self.bits),
                f32::NEG_INFINITY,
                &mut near,
            );
            // The score of the last true neighbour is the limit: all others above it are false
            // ones.
            let least = near
                .iter()
                .max()
                .map_or(f32::NEG_INFINITY, |last| last.score());
            source
                .isa
                .near(&all, along.query(self.bits), least, &mut nearer);
            // Vectors near the trial are hidden as when widths are measured.
            nearer.retain(|candidate| {
                !trial.hidden.contains(candidate.name()) && !nearest.contains(&candidate.name())
            });
            near.into_iter().map(move |candidate| {
                nearer.iter().filter(|&&other| other < candidate).count() * step
            })
        };
        let mut counts: Vec<usize> = trials
            .par_iter()
            .flat_map_iter(false_neighbours_of)
            .collect();
        counts.sort_unstable();
        counts[counts.len() * PER_MILLE / 1000]
    }

    /// Short codes of the vectors at some slots.
    fn blocks(&self, source: CodeSource<'_>, slots: &[u32]) -> Vec<u8> {
        let mut blocks = empty_blocks(slots.len(), SHORT);
        blocks
            .par_chunks_exact_mut(BLOCK_BYTES)
            .zip(slots.par_chunks(LANES))
            .for_each(|(block, slots)| {
                for (place, &slot) in slots.iter().enumerate() {
                    let vector = source.codec.stored_at(source.codes, slot as usize);
                    let along = self.along(source.isa, (&vector.code, vector.scale));
                    let (code, scale) = self.encode(&along.code, along.factor);
                    write(
                        block,
                        place,
                        &code,
                        scale,
                        source.codes.meta[slot as usize].offset,
                        slot,
                    );
                }
            });
        blocks
    }
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
pub(crate) mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        Id, IndexMetric, IndexOptions, IndexStamp, Neighbor, SearchMode, SearchParams, VectorIndex,
    };

    const N: usize = 3000;

    /// Vectors in groups that differ in the first `inner` of `dimension` components, and a little
    /// in all.
    fn vectors(dimension: usize, inner: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(9);
        let mut draw =
            |rows| Array2::from_shape_simple_fn((rows, dimension), || rng.random::<f32>() - 0.5);
        let centres = draw(5);
        let mut vectors = draw(N);
        for (row, mut vector) in vectors.outer_iter_mut().enumerate() {
            vector += &centres.row(row % 5);
            vector.iter_mut().skip(inner).for_each(|x| *x *= 0.05);
        }
        vectors
    }

    /// Vectors of few components of all, as texts of few words.
    pub(crate) fn sparse(dimension: usize, ones: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(9);
        let mut vectors = Array2::zeros((N, dimension));
        for mut vector in vectors.outer_iter_mut() {
            (0..ones).for_each(|_| vector[rng.random_range(0..dimension)] += rng.random::<f32>());
        }
        vectors
    }

    /// - `graph_from`: `usize::MAX` for no graph, to test codes alone
    fn index(vectors: &Array2<f32>, metric: IndexMetric, graph_from: usize) -> VectorIndex {
        let ids: Vec<Id> = (0..N as i64).map(Id).collect();
        let options = IndexOptions {
            lists_from: 0,
            graph_from,
            metric,
            ..IndexOptions::default()
        };
        VectorIndex::build(&ids, vectors.view(), &options).unwrap()
    }

    fn bits(index: &VectorIndex) -> usize {
        index.lists.as_ref().unwrap().directions.bits
    }

    #[test]
    fn vectors_that_differ_in_more_directions_have_codes_of_more() {
        let bits = |vectors: Array2<f32>| bits(&index(&vectors, IndexMetric::Cosine, usize::MAX));
        assert_eq!(bits(vectors(192, 24)), 8);
        assert_eq!(bits(vectors(48, 48)), 8);
        assert_eq!(bits(vectors(192, 100)), 4);
        assert_eq!(bits(vectors(512, 100)), 4);
        assert_eq!(bits(sparse(256, 6)), 2);
        assert_eq!(bits(sparse(512, 4)), 2);
    }

    /// Vectors whose codes have 4 bits a component, and such whose codes have 2.
    fn of_more_directions() -> [(usize, Array2<f32>); 2] {
        [(4, vectors(192, 192)), (2, sparse(192, 6))]
    }

    #[test]
    fn searches_by_codes_of_more_directions_find_what_is_nearest() {
        let [first, second] = of_more_directions();
        let cases = IndexMetric::ALL.map(|metric| (&first, metric));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        for ((expected, vectors), metric) in
            cases.into_iter().chain([(&second, IndexMetric::Cosine)])
        {
            let queries = vectors.slice(ndarray::s![..;30, ..]);
            let built = index(vectors, metric, 0);
            if metric == IndexMetric::Cosine {
                assert_eq!(bits(&built), *expected);
            }
            let stamp = IndexStamp {
                generation: 1,
                model_fingerprint: "x".into(),
                dimension: 192,
            };
            built.save(&path, &stamp).unwrap();
            let (mut opened, _) = VectorIndex::open(&path).unwrap();
            assert_eq!(bits(&opened), bits(&built), "{metric}");
            let exact = SearchParams {
                mode: SearchMode::Exact,
                ..SearchParams::default()
            };
            let truth = built.search_batch(queries, 10, &exact).unwrap();
            for mode in [SearchMode::Lists, SearchMode::Hnsw] {
                let params = SearchParams {
                    mode,
                    ..SearchParams::default()
                };
                let found = built.search_batch(queries, 10, &params).unwrap();
                let pairs = found.iter().zip(&truth);
                let hits: usize = pairs
                    .map(|(found, truth)| {
                        let is_found = |neighbor: &&Neighbor| {
                            found.iter().any(|other| other.id == neighbor.id)
                        };
                        truth.iter().filter(is_found).count()
                    })
                    .sum();
                assert!(hits >= 985, "{metric}, {mode:?}: {hits} of 1000");
                for isa in Isa::available() {
                    opened.isa = isa;
                    let again = opened.search_batch(queries, 10, &params).unwrap();
                    assert!(again == found, "{metric}, {mode:?}, {isa:?}");
                }
            }
        }
    }

    #[test]
    fn a_code_keeps_products_with_its_vector_and_with_strangers() {
        // 2 bits leave 0.12 of a square, spread over 256 components: 0.023, to which the scale adds
        // a little. 4 bits leave 0.012, over 128: 0.01.
        for ((_, vectors), most) in of_more_directions().into_iter().zip([0.015, 0.04]) {
            errors_are_small(&index(&vectors, IndexMetric::Cosine, usize::MAX), most);
        }
    }

    fn errors_are_small(index: &VectorIndex, most: f32) {
        let lists = index.lists.as_ref().unwrap();
        let mut to_itself = 0.;
        let mut errors = Vec::new();
        for slot in (0..N).step_by(10) {
            let a = slot;
            let b = (slot + 1) % N;
            let [along, other] = [a, b].map(|slot| {
                lists.along(index.isa, &index.codec.stored_at(&index.base.codes, slot))
            });
            let (code, scale) = lists.directions.encode(&along.code, along.factor);
            let code = lists.directions.decode(&code);
            let product = |with: &Along, scale: f32, code: &[i8]| -> f32 {
                let sum: i32 = with
                    .code
                    .iter()
                    .zip(code)
                    .map(|(&x, &y)| i32::from(x) * i32::from(y))
                    .sum();
                sum as f32 * scale * with.factor
            };
            let square = product(&along, along.factor, &along.code);
            to_itself = f32::max(
                to_itself,
                (product(&along, scale, &code) / square - 1.).abs(),
            );
            let truth = product(&other, along.factor, &along.code);
            errors.push((product(&other, scale, &code) - truth) / square);
        }
        assert!(to_itself < 1e-3, "{to_itself}");
        let n = errors.len() as f32;
        let sum = errors.iter().sum::<f32>();
        let deviation = (errors.iter().map(|error| error * error).sum::<f32>() / n).sqrt();
        assert!(
            (sum / n).abs() < 0.005 && deviation < most,
            "{} {deviation}",
            sum / n
        );
    }
}
