//! The k-nearest-neighbour graph of clusters, maps and paths.

use ndarray::{Array2, ArrayView2};

use super::{ExploreError, Result};
use voisin_genre::nearest;

/// Marks an absent neighbour in [`KnnGraph::neighbours`].
pub const NONE: u32 = u32::MAX;

/// Each track's `k` nearest others by cosine similarity.
///
/// Row `i` has the neighbours of row `i` of the vectors, nearest first, without `i` itself. Rows of tracks with
/// fewer than `k` neighbours end in [`NONE`] with similarity −1.
#[derive(Debug, Clone, PartialEq)]
pub struct KnnGraph {
    pub k: usize,
    /// `[n, k]` row numbers.
    pub neighbours: Array2<u32>,
    /// `[n, k]` cosine similarities, descending.
    pub similarities: Array2<f32>,
}

impl KnnGraph {
    pub fn len(&self) -> usize {
        self.neighbours.nrows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The exact graph, by blocked matrix products over all pairs: O(n² · dim).
    ///
    /// - `vectors`: `[n, dim]` unit vectors
    /// - `k`: neighbours per track, or fewer if there are fewer tracks
    ///
    /// Ties are ordered by row number, so that the result does not depend on the number of threads.
    pub fn exact(vectors: ArrayView2<'_, f32>, k: usize) -> Result<Self> {
        check_unit(vectors)?;
        let mut graph = Self::empty(vectors.nrows(), k);
        if k > 0 {
            let near = nearest(vectors, vectors, k, |row, other| row != other);
            for (row, near) in near.iter().enumerate() {
                for (slot, near) in near.iter().enumerate() {
                    graph.neighbours[[row, slot]] = near.row as u32;
                    // Rounding may exceed 1 by an ulp.
                    graph.similarities[[row, slot]] = near.similarity.clamp(-1.0, 1.0);
                }
            }
        }
        Ok(graph)
    }

    /// A graph of `n` rows without neighbours.
    fn empty(n: usize, k: usize) -> Self {
        Self {
            k,
            neighbours: Array2::from_elem((n, k), NONE),
            similarities: Array2::from_elem((n, k), -1.0),
        }
    }

    /// The graph of a subset: neighbours outside `rows` are dropped, so that rows may get shorter. Use
    /// [`KnnGraph::exact`] on the vectors of a small subset.
    ///
    /// - `rows`: ascending row numbers; row `j` of the result is row `rows[j]` here
    #[must_use]
    pub fn induced(&self, rows: &[usize]) -> Self {
        let mut new_row = vec![NONE; self.len()];
        for (new, &old) in rows.iter().enumerate() {
            new_row[old] = new as u32;
        }
        let mut graph = Self::empty(rows.len(), self.k);
        for (new, &old) in rows.iter().enumerate() {
            let kept = self.row(old).filter(|&(j, _)| new_row[j] != NONE);
            for (slot, (j, similarity)) in kept.enumerate() {
                graph.neighbours[[new, slot]] = new_row[j];
                graph.similarities[[new, slot]] = similarity;
            }
        }
        graph
    }

    /// Neighbours of row `i`, nearest first, with their similarity.
    pub fn row(&self, i: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.neighbours
            .row(i)
            .into_iter()
            .copied()
            .zip(self.similarities.row(i).into_iter().copied())
            .take_while(|&(j, _)| j != NONE)
            .map(|(j, similarity)| (j as usize, similarity))
    }
}

/// Checks that vectors are finite and of unit length (to 1 in 100).
pub(crate) fn check_unit(vectors: ArrayView2<'_, f32>) -> Result<()> {
    for (row, vector) in vectors.rows().into_iter().enumerate() {
        let norm = vector.dot(&vector).sqrt();
        // Also false for NaN.
        if !(0.99..=1.01).contains(&norm) {
            return Err(ExploreError::NotUnit { row, norm });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::unit_vectors;
    use super::*;
    use ndarray::Axis;

    #[test]
    fn few_tracks_have_fewer_neighbours() {
        let small = KnnGraph::exact(unit_vectors(3, 8, 1).view(), 5).expect("unit vectors");
        assert_eq!((small.row(0).count(), small.neighbours[[0, 2]]), (2, NONE));
    }

    #[test]
    fn induced_keeps_order_and_renumbers() {
        let vectors = unit_vectors(50, 8, 2);
        let graph = KnnGraph::exact(vectors.view(), 49).expect("unit vectors");
        let rows = [3, 10, 11, 40];
        let induced = graph.induced(&rows);
        let direct =
            KnnGraph::exact(vectors.select(Axis(0), &rows).view(), 3).expect("unit vectors");
        for i in 0..4 {
            let a: Vec<usize> = induced.row(i).map(|(j, _)| j).collect();
            let b: Vec<usize> = direct.row(i).map(|(j, _)| j).collect();
            assert_eq!(a, b);
        }
    }

    #[test]
    fn vectors_without_unit_norm_are_refused() {
        let error = KnnGraph::exact(ndarray::arr2(&[[1.0, 0.0], [2.0, 0.0]]).view(), 1)
            .expect_err("norm 2");
        assert!(
            error
                .to_string()
                .starts_with("vector of row 1 has norm 2, expected 1")
        );
    }
}
