//! Scales columns to mean 0 and deviation 1.

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Mean and scale of each column of the training rows; constant columns
/// become 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardiser {
    /// `[d]`
    pub mean: Array1<f32>,
    /// 1 / standard deviation, `[d]`; 0 for constant columns.
    pub scale: Array1<f32>,
}

impl Standardiser {
    /// - `x`: `[n, d]`
    /// - returns: also the standardised rows
    pub fn fit(x: ArrayView2<f32>) -> (Self, Array2<f32>) {
        let n = x.nrows().max(1) as f64;
        // Sums and squares in f64 in one pass, since the rows may not fit the cache.
        let mut sums = vec![(0.0f64, 0.0f64); x.ncols()];
        for row in x.axis_iter(Axis(0)) {
            for (sum, &v) in sums.iter_mut().zip(row) {
                sum.0 += f64::from(v);
                sum.1 += f64::from(v).powi(2);
            }
        }
        let moments = |&(sum, squares): &(f64, f64)| {
            let mean = sum / n;
            let deviation = (squares / n - mean * mean).max(0.0).sqrt();
            // Relative to the mean, because rounding gives a constant column a small
            // deviation.
            let varies = deviation > 1e-6 * mean.abs().max(1e-3);
            (
                mean as f32,
                if varies {
                    deviation.recip() as f32
                } else {
                    0.0
                },
            )
        };
        let (mean, scale): (Vec<f32>, Vec<f32>) = sums.iter().map(moments).unzip();
        let standard = Self {
            mean: mean.into(),
            scale: scale.into(),
        };
        let rows = standard.apply(x);
        (standard, rows)
    }

    /// Standardises other rows with the same means and scales.
    pub fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        (&x - &self.mean) * &self.scale
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
        assert_eq!(
            standard.apply(array![[4.0, 9.0]].view()),
            array![[2.0, 0.0]]
        );
    }
}
