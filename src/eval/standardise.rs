//! Columns brought to mean 0 and deviation 1, for classifiers that compare them.

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Mean and scale of each column of the rows that it was fitted on; columns that never vary become 0.
#[derive(Debug, Clone)]
pub(super) struct Standardiser {
    pub(super) mean: Array1<f32>,
    pub(super) scale: Array1<f32>,
}

impl Standardiser {
    /// - `x`: `[n, d]`
    /// - returns: also the standardised rows
    pub(super) fn fit(x: ArrayView2<f32>) -> (Self, Array2<f32>) {
        let n = x.nrows().max(1) as f32;
        let mean = x.sum_axis(Axis(0)) / n;
        let mut rows = x.to_owned() - &mean;
        let scale = (rows.mapv(|v| v * v).sum_axis(Axis(0)) / n)
            .mapv(|v| if v > 1e-12 { v.sqrt().recip() } else { 0.0 });
        rows *= &scale;
        (Self { mean, scale }, rows)
    }

    /// Other rows, by the same means and scales.
    pub(super) fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        (x.to_owned() - &self.mean) * &self.scale
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn columns_get_mean_zero_and_deviation_one() {
        let (standard, rows) = Standardiser::fit(array![[1.0, 5.0], [3.0, 5.0]].view());
        assert_eq!(rows, array![[-1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(standard.apply(array![[4.0, 9.0]].view()), array![[2.0, 0.0]]);
    }
}
