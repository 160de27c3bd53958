//! Exact neighbours by plain dot products, in blocks.

use std::cmp::Ordering;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

/// A row of the reference and its cosine similarity to the query, higher is nearer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Row of the reference.
    pub row: usize,
    /// Cosine similarity.
    pub similarity: f32,
}

fn nearer(a: &Near, b: &Near) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row))
}

/// The `k` most similar reference rows of each query, nearest first, ties by row.
///
/// - `queries`: `[m, d]`, `reference`: `[n, d]`, both of unit rows
/// - `allowed(query, row)`: whether the row may be a neighbour
///
/// Brute force, `m · n · d` multiplications: meant for up to some 10 000 rows; an index does the rest.
pub fn nearest(
    queries: ArrayView2<f32>,
    reference: ArrayView2<f32>,
    k: usize,
    allowed: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Vec<Near>> {
    // the reference is packed once a block: larger blocks spend less on it
    const BLOCK: usize = 256;
    let transposed = reference.t();
    let blocks: Vec<(usize, ArrayView2<f32>)> =
        queries.axis_chunks_iter(Axis(0), BLOCK).enumerate().map(|(i, b)| (i * BLOCK, b)).collect();
    blocks
        .into_par_iter()
        .flat_map_iter(|(first, block)| {
            let similarities = block.dot(&transposed);
            let allowed = &allowed;
            let lists: Vec<Vec<Near>> = similarities
                .outer_iter()
                .enumerate()
                .map(|(i, row)| top(row.iter().copied(), k, |r| allowed(first + i, r)))
                .collect();
            lists
        })
        .collect()
}

/// The `k` largest allowed values with their positions, largest first.
fn top(values: impl Iterator<Item = f32>, k: usize, allowed: impl Fn(usize) -> bool) -> Vec<Near> {
    let mut kept: Vec<Near> = Vec::with_capacity(2 * k + 1);
    let mut floor = f32::NEG_INFINITY;
    for (row, similarity) in values.enumerate() {
        if similarity > floor && allowed(row) {
            kept.push(Near { row, similarity });
            if kept.len() > 2 * k {
                kept.select_nth_unstable_by(k, nearer);
                kept.truncate(k);
                floor = kept.iter().map(|n| n.similarity).fold(f32::INFINITY, f32::min);
            }
        }
    }
    kept.sort_unstable_by(nearer);
    kept.truncate(k);
    kept
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
            let x = super::super::space::unit_rows(
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
