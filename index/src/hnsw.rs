//! `hnsw_rs`: links of a graph built by it, and its own index for comparison.

use std::io;
use std::path::Path;
use std::time::Instant;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use hnsw_rs::prelude::DistDot;
use hnsw_rs::prelude::{AnnT, Distance, Hnsw};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::IndexError;
use super::codes::CodeSource;
use super::graph::NONE;
use super::types::IndexOptions;
use voisin_base::random::Random;
use voisin_base::vector::make_unit;
use voisin_kernels::{Isa, isa};

/// `hnsw_rs` keeps at most this many layers.
const MAX_LAYERS: usize = 16;
/// Points that are inserted sequentially at first: one inserted before there is an entry point
/// would have no links.
const ONE_BY_ONE: usize = 64;
/// Distance of two slots at 8 bits. A point of `hnsw_rs` holds only its slot, so vectors are not
/// copied.
struct SlotDistance<'a>(CodeSource<'a>);

impl Distance<u32> for SlotDistance<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        // hnsw_rs asserts that no distance is negative; rounding makes some 1 − cosine so.
        (1. - self.0.similarity(a[0], b[0])).max(0.)
    }
}

/// `hnsw_rs` builds, then its lowest layer is copied out: rows of `stride` links.
pub(crate) fn links(source: CodeSource<'_>, stride: usize, options: &IndexOptions) -> Vec<u32> {
    let n = source.codes.len();
    let mut order: Vec<u32> = (0..n as u32).collect();
    // In the order of ids, neighbours would be inserted together and only link to each other.
    Random::new(options.seed).shuffle(&mut order);
    let width = options.ef_construction;
    // `m` was checked: hnsw_rs exits the process above 256.
    let hnsw = Hnsw::new(options.m, n, MAX_LAYERS, width, SlotDistance(source));
    let insert = |&slot: &u32| hnsw.insert((&[slot], slot as usize));
    if rayon::current_num_threads() == 1 {
        order.iter().for_each(insert);
    } else {
        let (first, rest) = order.split_at(n.min(ONE_BY_ONE));
        first.iter().for_each(insert);
        rest.par_iter().for_each(insert);
    }
    let mut links = vec![NONE; n * stride];
    let stored = hnsw.get_point_indexation();
    // hnsw_rs lists each point in its highest layer only.
    for layer in 0..=usize::from(hnsw.get_max_level_observed()) {
        for point in stored.get_layer_iterator(layer) {
            let slot = point.get_origin_id();
            let neighbours = point.get_neighborhood_id();
            let linked = neighbours
                .first()
                .into_iter()
                .flatten()
                .map(|other| other.d_id);
            let kept = linked.filter(|&other| other != slot && other < n);
            links[slot * stride..][..stride]
                .iter_mut()
                .zip(kept)
                .for_each(|(link, other)| *link = other as u32);
        }
    }
    links
}

/// A plain index of `hnsw_rs`: unit vectors at 32 bits, compared by the faster one of its own
/// product and this crate's kernels.
pub struct HnswRs {
    graph: Hnsw<'static, f32, UnitDistance>,
}

/// 1 − the product of unit vectors.
#[derive(Clone, Copy)]
struct UnitDistance {
    isa: Isa,
    #[cfg_attr(
        not(any(target_arch = "x86", target_arch = "x86_64")),
        allow(dead_code)
    )]
    is_simdeez: bool,
}

impl Distance<f32> for UnitDistance {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if self.is_simdeez {
            return DistDot.eval(a, b);
        }
        (1. - self.isa.dot32(a, b)).max(0.)
    }
}

impl UnitDistance {
    /// The faster one, for the rows of a matrix.
    fn faster(rows: ArrayView2<'_, f32>) -> Result<Self, IndexError> {
        /// Times that a row is compared with another.
        const COMPARED: usize = 20_000;
        let isa = isa()?;
        let n = rows.nrows();
        let row = |i: usize| rows.row(i % n).to_slice().unwrap_or_default();
        let time = |is_simdeez| {
            let distance = Self { isa, is_simdeez };
            let start = Instant::now();
            let sum: f32 = (0..COMPARED)
                .map(|i| distance.eval(row(i), row(i + 1)))
                .sum();
            std::hint::black_box(sum);
            start.elapsed()
        };
        let is_x86 = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
        let is_simdeez =
            n > 0 && is_x86 && (0..3).map(|_| time(true)).min() < (0..3).map(|_| time(false)).min();
        Ok(Self { isa, is_simdeez })
    }
}

impl HnswRs {
    /// Inserts the rows of a matrix in parallel on rayon's current pool; their lengths are ignored.
    ///
    /// - `m`, `ef_construction`: see [`IndexOptions`]
    pub fn build(
        mut vectors: Array2<f32>,
        m: usize,
        ef_construction: usize,
    ) -> Result<Self, IndexError> {
        vectors.outer_iter_mut().for_each(|mut row| {
            row.as_slice_mut().map(shorten);
        });
        let n = vectors.nrows();
        let row = |i: usize| vectors.row(i).to_slice().unwrap_or_default();
        let distance = UnitDistance::faster(vectors.view())?;
        // hnsw_rs exits the process above 256.
        let graph = Hnsw::new(m.min(256), n, MAX_LAYERS, ef_construction, distance);
        let first = n.min(ONE_BY_ONE);
        (0..first).for_each(|i| graph.insert((row(i), i)));
        (first..n)
            .into_par_iter()
            .for_each(|i| graph.insert((row(i), i)));
        Ok(Self { graph })
    }

    /// Rows of the `k` nearest vectors found for a query of length 1, nearest first.
    ///
    /// - `ef`: the width of the search
    pub fn search(&self, query: &[f32], k: usize, ef: usize) -> Vec<usize> {
        let found = self.graph.search(query, k, ef);
        found.into_iter().map(|neighbour| neighbour.d_id).collect()
    }

    /// The implementation of its products: "simdeez" or the name of an instruction set.
    pub fn products(&self) -> &'static str {
        let distance = self.graph.get_distance();
        if distance.is_simdeez {
            "simdeez"
        } else {
            distance.isa.name()
        }
    }

    /// Writes its two files into a folder; returns their bytes.
    pub fn dump(&self, folder: &Path) -> io::Result<u64> {
        let name = self
            .graph
            .file_dump(folder, "hnsw_rs")
            .map_err(io::Error::other)?;
        let endings = ["graph", "data"];
        let sizes = endings.map(|ending| folder.join(format!("{name}.hnsw.{ending}")).metadata());
        sizes.into_iter().map(|file| Ok(file?.len())).sum()
    }
}

/// Scales a vector to a length just below 1, as the product in `hnsw_rs` panics if rounding makes
/// it larger.
fn shorten(vector: &mut [f32]) {
    make_unit(vector);
    vector.iter_mut().for_each(|x| *x *= 1. - 1e-6);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::of_all_lengths;

    #[test]
    fn an_index_of_hnsw_rs_finds_the_nearest() {
        let vectors = of_all_lengths(1500, 40, 1);
        let index = HnswRs::build(vectors.clone(), 16, 200).unwrap();
        let mut right = 0;
        for row in (0..1500).step_by(30) {
            let mut query = vectors.row(row).to_vec();
            assert!(make_unit(&mut query));
            let found = index.search(&query, 10, 200);
            assert_eq!(found[0], row);
            let mut all: Vec<(f64, usize)> = vectors
                .outer_iter()
                .enumerate()
                .map(|(other, vector)| {
                    let vector = vector.to_vec();
                    let product: f64 = vector
                        .iter()
                        .zip(&query)
                        .map(|(&x, &q)| f64::from(x) * f64::from(q))
                        .sum();
                    (-product / voisin_base::vector::norm(&vector), other)
                })
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let nearest = &all[..10];
            right += found
                .iter()
                .filter(|row| nearest.iter().any(|near| near.1 == **row))
                .count();
        }
        assert!(right >= 490, "{right} of 500");
        let folder = tempfile::tempdir().unwrap();
        // A vector has 40 numbers of 4 bytes, and at least its own id.
        assert!(index.dump(folder.path()).unwrap() > 1500 * 168);
    }
}
