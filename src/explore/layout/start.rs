//! The initial positions of a layout.

use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;

use super::super::edges::Edges;
use voisin_base::random::Random;

/// Half the width of the start, as in umap-learn.
const EXTENT: f32 = 10.0;
/// Steps of the lazy random walk that smooths the principal components along the graph.
const SMOOTHING: usize = 30;

/// The first two principal components, smoothed along the graph and scaled to [−10, 10].
pub(super) fn start(vectors: ArrayView2<'_, f32>, edges: &Edges, seed: u64) -> Vec<[f32; 2]> {
    let mut positions = principal(vectors, seed);
    for _ in 0..SMOOTHING {
        positions = (0..positions.len())
            .into_par_iter()
            .map(|i| {
                let mut sum = [0.0_f32; 2];
                let mut total = 0.0;
                for (j, w) in edges.row(i) {
                    sum[0] += w * positions[j][0];
                    sum[1] += w * positions[j][1];
                    total += w;
                }
                let here = positions[i];
                if total > 0.0 {
                    // Lazy: each track moves only half the way, or two neighbours would swap places
                    // forever.
                    [0, 1].map(|d| f32::midpoint(here[d], sum[d] / total))
                } else {
                    here
                }
            })
            .collect();
    }
    scale(&mut positions, seed);
    positions
}

/// Scores of the first two principal components.
fn principal(vectors: ArrayView2<'_, f32>, seed: u64) -> Vec<[f32; 2]> {
    let axes = principal_axes(vectors, seed);
    let mean = vectors.mean_axis(ndarray::Axis(0));
    let offset: Vec<f32> = axes
        .iter()
        .map(|axis| mean.as_ref().map_or(0.0, |mean| axis.dot(mean)))
        .collect();
    let score = |row: usize, c: usize| {
        axes.get(c)
            .map_or(0.0, |axis| vectors.row(row).dot(axis) - offset[c])
    };
    (0..vectors.nrows())
        .into_par_iter()
        .map(|row| [score(row, 0), score(row, 1)])
        .collect()
}

/// The first two principal axes, of length 1, by power iteration on the covariance of at most 5 000 rows. Fewer if rows have
/// fewer components, none without rows.
///
/// - `vectors`: `[n, dim]`; `seed`: of the start of the iteration
fn principal_axes(vectors: ArrayView2<'_, f32>, seed: u64) -> Vec<Array1<f32>> {
    let (n, dim) = vectors.dim();
    if n == 0 || dim == 0 {
        return Vec::new();
    }
    let mean = vectors.mean_axis(ndarray::Axis(0)).expect("there are rows");
    // A sample suffices for two directions; the covariance takes rows × dim².
    let step = n.div_ceil(5000);
    let rows: Vec<usize> = (0..n).step_by(step).collect();
    let centred: Array2<f32> = &vectors.select(ndarray::Axis(0), &rows) - &mean;
    let covariance: Array2<f32> = centred.t().dot(&centred) / rows.len() as f32;
    let mut rng = Random::new(seed);
    let mut axes: Vec<Array1<f32>> = Vec::new();
    for _ in 0..2.min(dim) {
        let mut axis = Array1::from_shape_simple_fn(dim, || rng.f32() - 0.5);
        let off_others = |axis: &mut Array1<f32>| {
            for other in &axes {
                let along = axis.dot(other);
                axis.scaled_add(-along, other);
            }
        };
        for _ in 0..200 {
            // In every step, as rounding leads back to the known axes.
            off_others(&mut axis);
            let norm = axis.dot(&axis).sqrt();
            // All rows are equal: there is no direction left.
            if norm < 1e-20 {
                break;
            }
            axis /= norm;
            axis = covariance.dot(&axis);
        }
        off_others(&mut axis);
        let norm = axis.dot(&axis).sqrt().max(1e-20);
        axis /= norm;
        // A sign that does not depend on the seed: the largest coordinate is positive.
        let largest = axis.iter().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        if largest.is_some_and(|&largest| largest < 0.0) {
            axis = -axis;
        }
        axes.push(axis);
    }
    axes
}

/// Brings each coordinate to [−10, 10] around its mean and adds a little noise, so that no two tracks coincide.
fn scale(positions: &mut [[f32; 2]], seed: u64) {
    // Another stream than that of the axes, so that the noise is independent of their
    // start.
    let mut rng = Random::new(seed ^ 0x5eed);
    for d in 0..2 {
        let mean =
            positions.iter().map(|p| f64::from(p[d])).sum::<f64>() / positions.len().max(1) as f64;
        let most = positions
            .iter()
            .map(|p| (f64::from(p[d]) - mean).abs())
            .fold(0.0, f64::max);
        let factor = if most > 0.0 {
            f64::from(EXTENT) / most
        } else {
            0.0
        };
        for position in positions.iter_mut() {
            position[d] =
                ((f64::from(position[d]) - mean) * factor) as f32 + 1e-2 * (rng.f32() - 0.5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_the_largest_variance() {
        let rows = Array2::from_shape_fn((60, 4), |(row, at)| {
            let turn = row as f32 * 0.7;
            [
                5.0 * turn.sin(),
                0.1 * (3.1 * turn).cos(),
                2.0 * (1.7 * turn).cos(),
                0.0,
            ][at]
        });
        let axes = principal_axes(rows.view(), 1);
        assert!(axes[0][0] > 0.99 && axes[1][2] > 0.99, "{axes:?}");
        assert!(principal_axes(Array2::zeros((0, 4)).view(), 1).is_empty());
        assert_eq!(principal_axes(Array2::zeros((3, 1)).view(), 1).len(), 1);
    }
}
