//! Products of queries with all rows of a small matrix, sixteen rows in parallel.

use super::{ALIGN, QueryCode};
use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Set;

#[cfg(target_arch = "x86_64")]
const ROWS: usize = 16;

/// A matrix of bytes, biased by 128, that queries are multiplied by.
#[derive(Debug, Clone)]
pub struct ProductRows {
    width: usize,
    plane: Vec<u8>,
    names: Vec<u32>,
    /// Blocks of sixteen rows: each group of four components of all sixteen.
    #[cfg(target_arch = "x86_64")]
    blocks: Vec<u8>,
}

impl ProductRows {
    /// Rows of `width` bytes.
    ///
    /// Panics if a row is incomplete, or not padded to a multiple of [`ALIGN`].
    pub fn new(plane: Vec<u8>, width: usize) -> Self {
        assert!(
            width > 0 && width.is_multiple_of(ALIGN) && plane.len().is_multiple_of(width),
            "whole rows"
        );
        let names = (0..(plane.len() / width) as u32).collect();
        #[cfg(target_arch = "x86_64")]
        let blocks = {
            let mut blocks = vec![0x80; plane.len() / width / ROWS * ROWS * width];
            // One load then has four components of sixteen rows, and each lane sums one row,
            // without sums across lanes.
            for (at, to) in blocks.chunks_exact_mut(4).enumerate() {
                let group = at / ROWS;
                let row = at % ROWS;
                let block = group / (width / 4);
                let group = group % (width / 4);
                to.copy_from_slice(&plane[(block * ROWS + row) * width + 4 * group..][..4]);
            }
            blocks
        };
        Self {
            width,
            plane,
            names,
            #[cfg(target_arch = "x86_64")]
            blocks,
        }
    }

    pub fn plane(&self) -> &[u8] {
        &self.plane
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl Isa {
    /// `out[i] = Σ rows[i] · query.hi`, signed, for each of some queries.
    ///
    /// Panics if a query has another width than the rows.
    #[inline]
    pub fn products<const N: usize>(
        self,
        rows: &ProductRows,
        queries: [&QueryCode; N],
        out: [&mut Vec<i32>; N],
    ) {
        assert!(
            queries.iter().all(|query| query.hi.len() == rows.width),
            "{} components",
            rows.width
        );
        #[cfg(target_arch = "x86_64")]
        // The blocks are summed two or four at a time, so a number of rows that is no multiple of
        // that goes row by row.
        if let Set::Avx512 { integers: true } = self.set()
            && rows.len().is_multiple_of(4 * ROWS)
        {
            let out = out.map(|out| {
                out.clear();
                out.resize(rows.len(), 0);
                &mut out[..]
            });
            // SAFETY: an `Isa` is only made for what the processor has; this one has VNNI too.
            return unsafe { avx512::products(rows, queries, out) };
        }
        for (query, out) in queries.into_iter().zip(out) {
            self.dot8_list(&rows.plane, &rows.names, query, out);
        }
    }
}

impl Isa {
    /// Scales products to bytes within ±127; returns the largest product and the sum of the bytes.
    ///
    /// Every instruction set gives the same bytes. Panics if the lengths differ.
    #[inline]
    pub fn to_bytes(self, products: &[i32], bytes: &mut [i8]) -> (u32, i32) {
        assert!(products.len() == bytes.len(), "as many bytes as products");
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; with AVX-512 comes AVX2.
            Set::Avx512 { .. } | Set::Avx2 => unsafe { avx2::to_bytes(products, bytes) },
            _ => to_bytes(products, bytes),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    #[target_feature(enable = "avx2")]
    pub(super) fn to_bytes(products: &[i32], bytes: &mut [i8]) -> (u32, i32) {
        super::to_bytes(products, bytes)
    }
}

#[inline(always)]
fn to_bytes(products: &[i32], bytes: &mut [i8]) -> (u32, i32) {
    /// x + this has x's nearest integer in its low bits.
    const ROUND: f32 = 12_582_912.;
    let peak = products
        .iter()
        .fold(0, |peak: u32, x| peak.max(x.unsigned_abs()));
    // All products of a query orthogonal to all rows are 0; 1 instead avoids dividing by 0.
    let share = 127. / peak.max(1) as f32;
    for (to, &x) in bytes.iter_mut().zip(products) {
        *to = (x as f32 * share + ROUND).to_bits() as i8;
    }
    (peak, bytes.iter().map(|&x| i32::from(x)).sum())
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
        _mm512_setzero_si512, _mm512_storeu_si512,
    };
    use std::array::from_fn;

    use super::{ProductRows, QueryCode, ROWS};

    /// Bytes of four components of a block.
    const GROUP: usize = 4 * ROWS;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn products<const N: usize>(
        rows: &ProductRows,
        queries: [&QueryCode; N],
        out: [&mut [i32]; N],
    ) {
        // Enough sums that none waits for another.
        if const { N == 1 } {
            blocks::<4, N>(rows, queries, out);
        } else {
            blocks::<2, N>(rows, queries, out);
        }
    }

    /// Several blocks at once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn blocks<const BLOCKS: usize, const N: usize>(
        rows: &ProductRows,
        queries: [&QueryCode; N],
        out: [&mut [i32]; N],
    ) {
        let size = ROWS * rows.width;
        let words = queries.map(|query| query.hi.as_chunks::<4>().0);
        // The excess that the bias of the rows adds to each sum, negated: added once, at the end.
        let bias: [__m512i; N] = from_fn(|at| _mm512_set1_epi32(-128 * queries[at].hi_sum));
        for (place, some) in rows.blocks.chunks_exact(BLOCKS * size).enumerate() {
            let mut sums = [[_mm512_setzero_si512(); N]; BLOCKS];
            for group in 0..rows.width / 4 {
                let components: [__m512i; N] = from_fn(|at| {
                    _mm512_set1_epi32(i32::from_le_bytes(words[at][group].map(|x| x as u8)))
                });
                for (block, sums) in sums.iter_mut().enumerate() {
                    let codes = &some[block * size + group * GROUP..][..GROUP];
                    // SAFETY: the slice holds 64 bytes.
                    let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
                    for at in 0..N {
                        sums[at] = _mm512_dpbusd_epi32(sums[at], codes, components[at]);
                    }
                }
            }
            for (block, sums) in sums.into_iter().enumerate() {
                for at in 0..N {
                    let to = &mut out[at][(place * BLOCKS + block) * ROWS..][..ROWS];
                    let sum = _mm512_add_epi32(sums[at], bias[at]);
                    // SAFETY: the slice holds 64 bytes.
                    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), sum) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn every_instruction_set_multiplies_all_rows() {
        let mut rng = StdRng::seed_from_u64(7);
        for (rows, width) in [(64, 64), (128, 192), (256, 512), (7, 64), (16, 128)] {
            let plane: Vec<u8> = (0..rows * width)
                .map(|_| rng.random_range(1..=255))
                .collect();
            let matrix = ProductRows::new(plane.clone(), width);
            assert_eq!((matrix.plane(), matrix.len()), (&plane[..], rows));
            let queries: [QueryCode; 4] = std::array::from_fn(|_| {
                let hi: Vec<i8> = (0..width).map(|_| rng.random_range(-127..=127)).collect();
                QueryCode {
                    hi_sum: hi.iter().map(|&x| i32::from(x)).sum(),
                    hi,
                    ..QueryCode::default()
                }
            });
            let want = queries.each_ref().map(|query| -> Vec<i32> {
                let product = |row: &[u8]| {
                    let pairs = row.iter().zip(&query.hi);
                    pairs
                        .map(|(&x, &q)| (i32::from(x) - 128) * i32::from(q))
                        .sum()
                };
                plane.chunks_exact(width).map(product).collect()
            });
            for isa in Isa::available() {
                let mut got = [const { Vec::new() }; 4];
                isa.products(&matrix, queries.each_ref(), got.each_mut());
                assert_eq!(got, want, "{isa:?} {rows} {width}");
                let mut alone = Vec::new();
                isa.products(&matrix, [&queries[1]], [&mut alone]);
                assert_eq!(alone, want[1], "{isa:?} {rows} {width}");
            }
        }
    }

    #[test]
    fn every_instruction_set_writes_the_nearest_bytes() {
        let mut rng = StdRng::seed_from_u64(8);
        for largest in [0, 1, 100, 4_000_000, 1 << 30] {
            let products: Vec<i32> = (0..77)
                .map(|_| rng.random_range(-largest..=largest))
                .collect();
            let peak = products.iter().map(|x| x.unsigned_abs()).max().unwrap();
            for isa in Isa::available() {
                let mut bytes = vec![0; 77];
                let (got, sum) = isa.to_bytes(&products, &mut bytes);
                let expected = bytes.iter().map(|&x| i32::from(x)).sum();
                assert_eq!((got, sum), (peak, expected));
                for (&x, &byte) in products.iter().zip(&bytes) {
                    let exact = 127. * f64::from(x) / f64::from(peak.max(1));
                    assert!((f64::from(byte) - exact).abs() < 0.5001, "{isa:?} {x}");
                }
            }
        }
    }
}
