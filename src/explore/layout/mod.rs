//! A 2-D layout that keeps neighbours together.
//!
//! UMAP (McInnes, Healy, Melville, arXiv 1802.03426) on the k-NN graph, with its own optimiser: the one in
//! `umap-rs` draws from an unseeded generator, so that no two maps are the same.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result};

/// How to lay out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayoutOptions {
    /// Same seed, same map.
    pub seed: u64,
    /// Least distance between points that lie together, in units of `spread` = 1.
    pub min_dist: f32,
    /// Rounds of optimisation; `None`: 500 up to 10 000 tracks, 200 above.
    pub epochs: Option<usize>,
    /// Repelling samples per attracting one.
    pub negative_samples: usize,
}

/// Positions of all rows of `graph`: `[n, 2]`.
pub fn layout(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    options: &LayoutOptions,
) -> Result<Array2<f32>> {
    let _ = (vectors, graph, options);
    todo!()
}

/// Places new rows without moving the old ones.
///
/// - `known`: per row of `graph`, its position on the old map, or `None` if the row is new
/// - returns: `[n, 2]`; rows that were known are bit-identical
pub fn place_new(
    graph: &KnnGraph,
    known: &[Option<[f32; 2]>],
    options: &LayoutOptions,
) -> Result<Array2<f32>> {
    let _ = (graph, known, options);
    todo!()
}
