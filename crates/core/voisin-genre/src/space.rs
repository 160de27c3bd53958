//! The space in which genres are compared: transformed, standardised, whitened within genres, on
//! the unit sphere.
//!
//! Directions in which tracks of one genre differ carry little information about genre; whitening by
//! the within-genre covariance (as in Fisher's discriminant analysis) scales them down, so that near
//! tracks have similar genres.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use voisin_base::vector::dot;
use voisin_learn::Standardiser;

/// A transform of each component, before everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    Identity,
    /// Square root with sign, as in Hellinger's distance: compresses activations with long
    /// tails.
    SquareRoot,
}

impl Transform {
    /// The transform for these vectors: the square root if no component is negative.
    pub fn of(vectors: ArrayView2<f32>) -> Self {
        if vectors.iter().all(|v| *v >= 0.0) {
            Self::SquareRoot
        } else {
            Self::Identity
        }
    }

    fn apply(self, v: f32) -> f32 {
        match self {
            Self::Identity => v,
            Self::SquareRoot => v.abs().sqrt().copysign(v),
        }
    }
}

/// A fitted space: an affine map after the transform.
#[derive(Debug, Clone)]
pub struct Space {
    pub(super) transform: Transform,
    /// After the transform.
    pub(super) standard: Standardiser,
    /// `[d, d]`, applied on the right to standardised rows; `None` leaves them as they are.
    pub(super) whitener: Option<Array2<f32>>,
}

impl Space {
    /// Fits means, deviations and the within-genre covariance.
    ///
    /// - `x`: `[n, d]`; `targets`: `[n, classes]`, rows sum to 1
    /// - `shrinkage`: 0 uses the covariance as measured, 1 does not whiten at all
    pub fn fit(
        x: ArrayView2<f32>,
        targets: ArrayView2<f32>,
        transform: Transform,
        shrinkage: f32,
    ) -> Self {
        let (n, d) = x.dim();
        let (standard, t) = Standardiser::fit(x.mapv(|v| transform.apply(v)).view());
        let mut space = Self {
            transform,
            standard,
            whitener: None,
        };
        if shrinkage >= 1.0 {
            return space;
        }
        // sum over tracks and their genres of (x - mean of genre)(x - mean of genre)'
        let counts = targets.sum_axis(Axis(0));
        let mut means = targets.t().dot(&t);
        for (mut row, &count) in means.outer_iter_mut().zip(&counts) {
            // Roots of the counts, so that the product below counts each mean as often as its
            // tracks.
            row /= count.max(1e-9).sqrt();
        }
        let mut within = t.t().dot(&t) - means.t().dot(&means);
        within /= n as f32;
        // The mean variance: shrinkage pulls towards a sphere of the same size.
        let level = (within.diag().sum() / d as f32).max(1e-6);
        let mut matrix: Vec<f64> = within
            .iter()
            .map(|&v| f64::from(v * (1.0 - shrinkage)))
            .collect();
        // A little even without shrinkage, since columns that never vary would leave the matrix
        // singular.
        for j in 0..d {
            matrix[j * d + j] += f64::from(shrinkage.max(1e-5) * level);
        }
        // Where even that fails, plain standardised rows serve.
        if cholesky(&mut matrix, d) {
            let inverse = invert_lower(&matrix, d);
            // whitened = standardised · L⁻ᵀ
            space.whitener = Some(Array2::from_shape_fn((d, d), |(i, j)| {
                inverse[j * d + i] as f32
            }));
        }
        space
    }

    /// Standardised rows, `[n, d]`, not whitened.
    pub fn standardise(&self, x: ArrayView2<f32>) -> Array2<f32> {
        self.standard
            .apply(x.mapv(|v| self.transform.apply(v)).view())
    }

    /// Whitened rows, `[n, d]`.
    pub fn whiten(&self, standardised: ArrayView2<f32>) -> Array2<f32> {
        match &self.whitener {
            Some(whitener) => product(standardised, whitener.view()),
            None => standardised.to_owned(),
        }
    }

    /// Whitened rows of length 1 (a zero row stays zero), `[n, d]`.
    pub fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        unit_rows(self.whiten(self.standardise(x).view()))
    }
}

/// `a · b` in row blocks over all threads.
pub(super) fn product(a: ArrayView2<f32>, b: ArrayView2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let blocks: Vec<_> = out
        .axis_chunks_iter_mut(Axis(0), 512)
        .zip(a.axis_chunks_iter(Axis(0), 512))
        .collect();
    blocks.into_par_iter().for_each(|(mut out, a)| {
        ndarray::linalg::general_mat_mul(1.0, &a, &b, 0.0, &mut out);
    });
    out
}

/// Scales each row to length 1; rows of zeros stay.
pub fn unit_rows(mut x: Array2<f32>) -> Array2<f32> {
    for mut row in x.outer_iter_mut() {
        let norm = row
            .iter()
            .map(|v| f64::from(*v) * f64::from(*v))
            .sum::<f64>()
            .sqrt();
        if norm > 1e-12 {
            row.mapv_inplace(|v| (f64::from(v) / norm) as f32);
        }
    }
    x
}

/// Lower Cholesky factor in place (row-major, upper part left as it was); `false` if not positive
/// definite.
fn cholesky(a: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        for j in 0..=i {
            let (upper, lower) = a.split_at_mut(i * n);
            let row_i = &mut lower[..n];
            if j == i {
                let sum: f64 = row_i[..i].iter().map(|v| v * v).sum();
                let pivot = row_i[i] - sum;
                if pivot.is_nan() || pivot <= 0.0 {
                    return false;
                }
                row_i[i] = pivot.sqrt();
            } else {
                let row_j = &upper[j * n..j * n + n];
                let sum = dot(&row_i[..j], &row_j[..j]);
                row_i[j] = (row_i[j] - sum) / row_j[j];
            }
        }
    }
    true
}

/// Inverse of a lower triangular matrix, row-major.
fn invert_lower(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        let (done, rest) = inverse.split_at_mut(i * n);
        let row = &mut rest[..n];
        // row i of L⁻¹ = (e_i - Σ_{k<i} L_ik row_k) / L_ii
        for k in 0..i {
            let factor = l[i * n + k];
            for (r, d) in row[..=k].iter_mut().zip(&done[k * n..=k * n + k]) {
                *r -= factor * d;
            }
        }
        row[i] += 1.0;
        let pivot = l[i * n + i];
        row[..=i].iter_mut().for_each(|v| *v /= pivot);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn within_genre_covariance_becomes_the_identity() {
        let mut rng = StdRng::seed_from_u64(3);
        let n = 4000;
        // three correlated columns, two classes with different means
        let mut x = Array2::zeros((n, 3));
        let mut t = Array2::zeros((n, 2));
        for i in 0..n {
            let class = i % 2;
            t[[i, class]] = 1.0;
            let a: f32 = rng.random();
            let b: f32 = rng.random();
            let c: f32 = rng.random();
            x[[i, 0]] = a + class as f32 * 2.0;
            x[[i, 1]] = 2.0 * a + b;
            x[[i, 2]] = 100.0 * (c - b) + 7.0;
        }
        let space = Space::fit(x.view(), t.view(), Transform::Identity, 0.0);
        let y = space.whiten(space.standardise(x.view()).view());
        for class in 0..2 {
            let rows: Vec<usize> = (0..n).filter(|i| i % 2 == class).collect();
            let mut part = y.select(Axis(0), &rows);
            let mean = part.mean_axis(Axis(0)).unwrap();
            part -= &mean;
            let covariance = part.t().dot(&part) / part.nrows() as f32;
            for ((i, j), v) in covariance.indexed_iter() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((v - expected).abs() < 0.06, "class {class}: {covariance}");
            }
        }
        assert!(
            space
                .apply(x.view())
                .outer_iter()
                .all(|r| (r.dot(&r) - 1.0).abs() < 1e-5)
        );
    }

    #[test]
    fn constant_columns_and_tiny_sets_are_harmless() {
        let x = array![[1.0, 5.0], [1.0, 5.0], [2.0, 5.0]];
        let t = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        for shrinkage in [0.0, 0.3, 1.0] {
            let y =
                Space::fit(x.view(), t.view(), Transform::SquareRoot, shrinkage).apply(x.view());
            assert!(y.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn square_roots_are_for_what_is_never_negative() {
        assert_eq!(
            Transform::of(array![[0.0, 0.9], [3.0, 1.0]].view()),
            Transform::SquareRoot
        );
        assert_eq!(
            Transform::of(array![[-0.1, 0.9]].view()),
            Transform::Identity
        );
        assert!((Transform::SquareRoot.apply(-4.0) + 2.0).abs() < 1e-6);
    }

    #[test]
    fn factor_and_inverse_agree() {
        let n = 12;
        let mut rng = StdRng::seed_from_u64(1);
        let b: Vec<f64> = (0..n * n).map(|_| rng.random::<f64>() - 0.5).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] = (0..n).map(|k| b[i * n + k] * b[j * n + k]).sum::<f64>()
                    + f64::from(u8::from(i == j));
            }
        }
        let original = a.clone();
        assert!(cholesky(&mut a, n));
        let inverse = invert_lower(&a, n);
        // L⁻¹ A L⁻ᵀ = I
        for i in 0..n {
            for j in 0..n {
                let v: f64 = (0..n)
                    .flat_map(|k| (0..n).map(move |m| (k, m)))
                    .map(|(k, m)| inverse[i * n + k] * original[k * n + m] * inverse[j * n + m])
                    .sum();
                assert!((v - f64::from(u8::from(i == j))).abs() < 1e-10);
            }
        }
        assert!(!cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2));
    }
}
