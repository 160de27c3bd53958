//! Tracks that are far from all others.

use super::KnnGraph;

/// Neighbours over which distance is averaged.
const NEIGHBOURS: usize = 10;
/// Score above which a track that is no other track's neighbour is noise in a clustering.
const STRAY: f32 = 3.5;
/// Mean distance (1 − cosine) of each row to its first neighbours; 2 without neighbours.
fn distances(graph: &KnnGraph) -> Vec<f32> {
    (0..graph.len())
        .map(|i| {
            let (sum, count) = graph
                .row(i)
                .take(NEIGHBOURS)
                .fold((0.0, 0), |(sum, count), (_, s)| (sum + 1.0 - s, count + 1));
            // The largest distance of unit vectors.
            if count == 0 { 2.0 } else { sum / count as f32 }
        })
        .collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Robust score per row.
fn scores(distances: &[f32]) -> Vec<f32> {
    let centre = median(distances.to_vec());
    let spread = 1.4826 * median(distances.iter().map(|d| (d - centre).abs()).collect());
    distances
        .iter()
        // The spread is 0 if more than half of the distances are equal.
        .map(|d| (d - centre) / spread.max(1e-4))
        .collect()
}

/// For each row, the number of rows that have it among their first neighbours.
fn named_by(graph: &KnnGraph) -> Vec<u32> {
    let mut named = vec![0; graph.len()];
    for i in 0..graph.len() {
        for (j, _) in graph.row(i).take(NEIGHBOURS) {
            named[j] += 1;
        }
    }
    named
}

/// Rows that are far away and no other row's neighbour, which are noise in a clustering.
pub(super) fn strays(graph: &KnnGraph) -> Vec<bool> {
    let scores = scores(&distances(graph));
    scores
        .iter()
        .zip(named_by(graph))
        .map(|(&score, named)| score > STRAY && named == 0)
        .collect()
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
