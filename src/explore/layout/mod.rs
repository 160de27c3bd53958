//! A 2-D layout that keeps neighbours together.
//!
//! UMAP (`McInnes`, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection", arXiv 1802.03426)
//! on the k-NN graph. The optimiser is voisin's own, because that of `umap-rs` 0.4 is not reproducible (its
//! random numbers have no seed). Here one thread uses one seeded generator.
//!
//! For: positions of tracks on a map. Not for: drawing them
//! ([`map`](super::map)).

mod fuzzy;
mod optimise;
mod start;

use ndarray::{Array2, ArrayView2};

use super::KnnGraph;

/// Positions of all rows of `graph`.
///
/// - `vectors`: `[n, dim]` unit vectors, whose principal components are the start of the layout
/// - `seed`: of the random numbers; the same seed gives the same map
/// - returns: `[n, 2]`, no unit
pub fn layout(vectors: ArrayView2<'_, f32>, graph: &KnnGraph, seed: u64) -> Array2<f32> {
    let n = graph.len();
    let edges = fuzzy::fuzzy(graph);
    let mut positions = start::start(vectors, &edges, seed);
    // Two tracks need no optimisation.
    if n > 2 {
        let epochs = if n <= 10_000 { 500 } else { 120 };
        optimise::optimise(&mut positions, &edges, epochs, seed);
    }
    Array2::from_shape_fn((n, 2), |(i, d)| positions[i][d])
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;

    fn spread_of(positions: &Array2<f32>, labels: &[usize]) -> f32 {
        // Share of tracks whose nearest track on the map is of the same group.
        let nearest = |i: usize| {
            (0..labels.len())
                .filter(|&j| j != i)
                .min_by(|&a, &b| {
                    let d = |j: usize| {
                        (positions[[i, 0]] - positions[[j, 0]]).powi(2)
                            + (positions[[i, 1]] - positions[[j, 1]]).powi(2)
                    };
                    d(a).total_cmp(&d(b))
                })
                .expect("more than one")
        };
        (0..labels.len())
            .filter(|&i| labels[nearest(i)] == labels[i])
            .count() as f32
            / labels.len() as f32
    }

    #[test]
    fn groups_stay_together_and_a_seed_gives_the_same_map() {
        let (vectors, labels) = grouped(5, 60, 32, 0.6, 3);
        let graph = KnnGraph::exact(vectors.view(), 15).expect("unit vectors");
        let a = layout(vectors.view(), &graph, 7);
        assert!(a.iter().all(|x| x.is_finite()));
        assert!(spread_of(&a, &labels) > 0.97);
        let one_thread = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("a pool");
        let b = one_thread.install(|| layout(vectors.view(), &graph, 7));
        assert_eq!(a, b);
    }

    #[test]
    fn tiny_collections_have_a_map() {
        for n in 0..4 {
            let (vectors, _) = grouped(1, n, 8, 0.5, 1);
            let graph = KnnGraph::exact(vectors.view(), 15).expect("unit vectors");
            let map = layout(vectors.view(), &graph, 0);
            assert!(map.nrows() == n && map.iter().all(|x| x.is_finite()));
        }
    }
}
