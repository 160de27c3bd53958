//! Measures how well a layout preserves neighbours.

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::{ExploreError, Result, same_length};

/// Preservation of neighbours in a layout; both from 0 to 1, higher is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayoutQuality {
    /// Venna and Kaski, 2001, as in scikit-learn's `trustworthiness` (with Euclidean distance): 1 if all k nearest
    /// on the map are true neighbours.
    pub trustworthiness: f64,
    /// Mean share of a track's k nearest that are also among its k nearest on the map.
    pub preservation: f64,
    /// Neighbours compared.
    pub k: usize,
    /// Rows in the sample.
    pub rows: usize,
}

/// Measures a layout on at most `sample` rows, evenly spread, each against all others.
///
/// - `vectors`: `[n, dim]` unit vectors; `positions`: `[n, 2]`
pub fn quality(
    vectors: ArrayView2<'_, f32>,
    positions: ArrayView2<'_, f32>,
    k: usize,
    sample: usize,
) -> Result<LayoutQuality> {
    let n = vectors.nrows();
    same_length("positions", n, positions.nrows())?;
    if n < 2 * k + 2 || k == 0 || sample == 0 {
        return Err(ExploreError::TooFew {
            what: "measuring a layout",
            needed: 2 * k + 2,
            found: n,
        });
    }
    // Every row is compared with all others.
    let rows: Vec<usize> = (0..n).step_by(n.div_ceil(sample)).collect();
    let (penalty, kept) = rows
        .par_iter()
        .map(|&i| {
            let similarities = vectors.dot(&vectors.row(i));
            let here = positions.row(i);
            let on_map: Vec<f32> = positions
                .rows()
                .into_iter()
                .map(|p| (p[0] - here[0]).powi(2) + (p[1] - here[1]).powi(2))
                .collect();
            let mut order: Vec<u32> = (0..n as u32).filter(|&j| j as usize != i).collect();
            // The order of the k nearest does not matter.
            order.select_nth_unstable_by(k - 1, |&a, &b| {
                on_map[a as usize]
                    .total_cmp(&on_map[b as usize])
                    .then(a.cmp(&b))
            });
            order[..k]
                .iter()
                .fold((0_u64, 0_u64), |(penalty, kept), &j| {
                    let similarity = similarities[j as usize];
                    // Rank among the others by similarity, ties by row.
                    let rank = 1
                        + (0..n)
                            .filter(|&l| l != i && l != j as usize)
                            .filter(|&l| {
                                similarities[l] > similarity
                                    || (similarities[l] >= similarity && l < j as usize)
                            })
                            .count() as u64;
                    (
                        penalty + rank.saturating_sub(k as u64),
                        kept + u64::from(rank <= k as u64),
                    )
                })
        })
        .reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let m = rows.len() as f64;
    let n = n as f64;
    let k_f = k as f64;
    Ok(LayoutQuality {
        trustworthiness: 1.0 - penalty as f64 * 2.0 / (m * k_f * (2.0 * n - 3.0 * k_f - 1.0)),
        preservation: kept as f64 / (m * k_f),
        k,
        rows: rows.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::unit_vectors;
    use super::*;

    #[test]
    fn a_copy_is_perfect_and_a_shuffle_is_not() {
        let vectors = unit_vectors(100, 2, 8);
        let perfect = quality(vectors.view(), vectors.view(), 5, 100).expect("100 rows");
        assert!(
            (perfect.trustworthiness - 1.0).abs() < 1e-12
                && (perfect.preservation - 1.0).abs() < 0.02
        );
        let other = unit_vectors(100, 2, 9);
        let shuffled = quality(vectors.view(), other.view(), 5, 100).expect("100 rows");
        assert!(shuffled.trustworthiness < 0.6 && shuffled.preservation < 0.15);
    }
}
