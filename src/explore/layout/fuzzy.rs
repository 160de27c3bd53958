//! The fuzzy neighbour graph: the attraction of each pair of tracks.

use super::super::KnnGraph;
use super::super::edges::Edges;

/// Normalises local distances and joins both directions by fuzzy union (sections 3.1 and 3.2 of the paper).
///
/// In each row the nearest neighbour has strength 1 and the strengths sum to log2(k + 1), as in umap-learn,
/// which counts a point among its own neighbours.
pub(super) fn fuzzy(graph: &KnnGraph) -> Edges {
    let n = graph.len();
    let mut directed: Vec<(u32, u32, f32)> = Vec::with_capacity(n * graph.k);
    let mut distances: Vec<f32> = Vec::with_capacity(graph.k);
    for i in 0..n {
        distances.clear();
        distances.extend(
            graph
                .row(i)
                .map(|(_, similarity)| (1.0 - similarity).max(0.0)),
        );
        let (nearest, width) = smooth(&distances);
        let row = graph.row(i).zip(&distances);
        directed.extend(row.map(|((j, _), &d)| (i as u32, j as u32, strength(d, nearest, width))));
    }
    // Both directions adjacent: (low, high, strength from low or high).
    let mut pairs: Vec<(u32, u32, f32)> = directed
        .into_iter()
        .map(|(i, j, w)| (i.min(j), i.max(j), w))
        .collect();
    pairs.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    let mut union: Vec<(u32, u32, f32)> = Vec::with_capacity(pairs.len());
    for (a, b, w) in pairs {
        match union.last_mut() {
            // The union of two fuzzy sets: a + b - ab.
            Some(last) if (last.0, last.1) == (a, b) => last.2 = last.2 + w - last.2 * w,
            _ => union.push((a, b, w)),
        }
    }
    // Strengths of far neighbours underflow to 0.
    union.retain(|edge| edge.2 > 0.0);
    Edges::symmetric(n, union.iter().copied())
}

fn strength(distance: f32, nearest: f32, width: f32) -> f32 {
    if distance <= nearest {
        1.0
    } else {
        (-(distance - nearest) / width).exp()
    }
}

/// Distance to the nearest neighbour at a distance above 0, and by bisection the width for which strengths
/// sum to log2(k + 1).
fn smooth(distances: &[f32]) -> (f32, f32) {
    let target = (distances.len() as f32 + 1.0).log2();
    let nearest = distances.iter().copied().find(|&d| d > 0.0).unwrap_or(0.0);
    let mut low = 0.0_f32;
    let mut high = f32::INFINITY;
    let mut width = 1.0_f32;
    // More bisections than a float has bits.
    for _ in 0..64 {
        let sum: f32 = distances.iter().map(|&d| strength(d, nearest, width)).sum();
        if (sum - target).abs() < 1e-5 {
            break;
        }
        if sum > target {
            high = width;
            width = f32::midpoint(low, high);
        } else {
            low = width;
            width = if high.is_infinite() {
                width * 2.0
            } else {
                f32::midpoint(low, high)
            };
        }
    }
    let mean = distances.iter().sum::<f32>() / distances.len().max(1) as f32;
    // A floor as in umap-learn, because equal distances give a width of 0, by which strengths are
    // divided.
    (nearest, width.max(1e-3 * mean).max(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::unit_vectors;
    use super::*;

    #[test]
    fn the_graph_is_symmetric_and_sorted() {
        let vectors = unit_vectors(80, 8, 5);
        let edges = fuzzy(&KnnGraph::exact(vectors.view(), 10).expect("unit vectors"));
        for i in 0..80 {
            let row: Vec<_> = edges.row(i).collect();
            assert!(row.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (j, w) in row {
                assert!(w > 0.0 && w <= 1.0);
                assert!(
                    edges
                        .row(j)
                        .any(|(back, same)| back == i && (same - w).abs() < 1e-7)
                );
            }
        }
    }
}
