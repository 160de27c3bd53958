//! Exact neighbours by plain dot products, in blocks.

use std::cmp::Ordering;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

/// A row of the reference and its cosine similarity to the query, higher is nearer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    pub row: usize,
    pub similarity: f32,
}

fn nearer(a: &Near, b: &Near) -> Ordering {
    b.similarity
        .total_cmp(&a.similarity)
        .then(a.row.cmp(&b.row))
}

/// The `k` most similar reference rows of each query, nearest first, ties by row.
///
/// - `queries`: `[m, d]`, `reference`: `[n, d]`, both of unit rows
/// - `allowed(query, row)`: whether the row may be a neighbour
///
/// Brute force, `m · n · d` multiplications: for up to some 10 000 rows.
pub fn nearest(
    queries: ArrayView2<f32>,
    reference: ArrayView2<f32>,
    k: usize,
    allowed: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Vec<Near>> {
    // The products of such a block fit into a core's cache.
    const QUERIES: usize = 48;
    const REFERENCES: usize = 1024;
    let parts: Vec<ArrayView2<f32>> = reference.axis_chunks_iter(Axis(0), REFERENCES).collect();
    let blocks: Vec<(usize, ArrayView2<f32>)> = queries
        .axis_chunks_iter(Axis(0), QUERIES)
        .enumerate()
        .map(|(i, b)| (i * QUERIES, b))
        .collect();
    blocks
        .into_par_iter()
        .flat_map_iter(|(first, block)| {
            let mut lists: Vec<NearestRows> =
                (0..block.nrows()).map(|_| NearestRows::new(k)).collect();
            for (at, part) in parts.iter().enumerate() {
                let products = block.dot(&part.t());
                for (query, list) in lists.iter_mut().enumerate() {
                    for (row, &similarity) in (at * REFERENCES..).zip(products.row(query)) {
                        list.offer(Near { row, similarity }, |row| allowed(first + query, row));
                    }
                }
            }
            lists.into_iter().map(NearestRows::finish)
        })
        .collect()
}

/// Collects the `k` nearest rows.
struct NearestRows {
    k: usize,
    kept: Vec<Near>,
    /// Rows with at most this similarity are not among them.
    floor: f32,
}

impl NearestRows {
    fn new(k: usize) -> Self {
        Self {
            k,
            kept: Vec::with_capacity(2 * k + 1),
            floor: f32::NEG_INFINITY,
        }
    }

    fn offer(&mut self, near: Near, allowed: impl Fn(usize) -> bool) {
        // `allowed` is called last, since it is slower than a comparison.
        if near.similarity > self.floor && allowed(near.row) {
            self.kept.push(near);
            // Collects twice as many before the best are selected, so that selections are rare.
            if self.kept.len() > 2 * self.k {
                self.kept.select_nth_unstable_by(self.k, nearer);
                self.kept.truncate(self.k);
                self.floor = self
                    .kept
                    .iter()
                    .map(|n| n.similarity)
                    .fold(f32::INFINITY, f32::min);
            }
        }
    }

    /// Nearest first.
    fn finish(mut self) -> Vec<Near> {
        self.kept.sort_unstable_by(nearer);
        self.kept.truncate(self.k);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn same_as_sorting_everything(values in prop::collection::vec(-1.0f32..1.0, 3 * 4..60 * 4), k in 1usize..12) {
            let n = values.len() / 4;
            let x = super::super::unit_rows(
                Array2::from_shape_vec((n, 4), values[..n * 4].to_vec()).unwrap());
            let found = nearest(x.view(), x.view(), k, |q, r| q != r && r % 3 != 1);
            for (q, list) in found.iter().enumerate() {
                let mut all: Vec<Near> = (0..n).filter(|&r| r != q && r % 3 != 1)
                    .map(|r| Near { row: r, similarity: x.row(q).dot(&x.row(r)) }).collect();
                all.sort_by(nearer);
                prop_assert_eq!(list.len(), k.min(all.len()));
                for (a, b) in list.iter().zip(&all) {
                    prop_assert!((a.similarity - b.similarity).abs() < 1e-5);
                }
            }
        }
    }
}
