//! Tracks that are far from all others.

use super::KnnGraph;

/// Neighbours over which distance is averaged.
const NEIGHBOURS: usize = 10;
/// Distance above the median, in robust standard deviations, from which a track that is no other track's neighbour is noise in a clustering.
const STRAY: f32 = 3.5;

/// Rows that are far away and no other row's neighbour, which are noise in a clustering.
pub(super) fn strays(graph: &KnnGraph) -> Vec<bool> {
    let mut named = vec![false; graph.len()];
    let distances: Vec<f32> = (0..graph.len())
        .map(|row| {
            let mut distances = Vec::new();
            for (other, similarity) in graph.row(row).take(NEIGHBOURS) {
                named[other] = true;
                distances.push(1.0 - similarity);
            }
            // Without neighbours the largest distance of unit vectors.
            let sum: f32 = distances.iter().sum();
            if distances.is_empty() {
                2.0
            } else {
                sum / distances.len() as f32
            }
        })
        .collect();
    let centre = median(distances.clone());
    let spread = 1.4826 * median(distances.iter().map(|d| (d - centre).abs()).collect());
    // The spread is 0 if more than half of the distances are equal.
    let far = centre + STRAY * spread.max(1e-4);
    let scored = distances.iter().zip(named);
    scored
        .map(|(&distance, named)| distance > far && !named)
        .collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::super::KnnGraph;
    use super::super::testing::{grouped, unit_vectors};
    use super::*;
    use ndarray::{Axis, concatenate};

    #[test]
    fn a_lone_vector_is_a_stray() {
        let (vectors, _) = grouped(3, 60, 32, 0.3, 4);
        let vectors = concatenate(Axis(0), &[vectors.view(), unit_vectors(1, 32, 77).view()])
            .expect("same width");
        let graph = KnnGraph::exact(vectors.view(), 15).expect("unit vectors");
        assert!(strays(&graph)[180]);
    }
}
