//! Imputation and standardisation of columns, fitted on training rows.

use ndarray::{Array2, ArrayView2, Axis};

use voisin_genre::Standardiser;

use super::Tensors;

/// Replaces missing values by their column's median and scales columns to mean 0 and deviation 1;
/// constant columns become 0.
#[derive(Debug, Clone)]
pub struct Preparation {
    medians: Vec<f32>,
    standard: Standardiser,
}

impl Preparation {
    /// - `x`: `[n, d]`; values that are not finite are missing
    /// - returns: also the prepared rows
    pub fn fit(x: ArrayView2<f32>) -> (Self, Array2<f32>) {
        let medians: Vec<f32> = x
            .axis_iter(Axis(1))
            .map(|column| {
                // The median, so that outliers have little effect.
                let mut present: Vec<f32> =
                    column.iter().copied().filter(|v| v.is_finite()).collect();
                present.sort_unstable_by(f32::total_cmp);
                let middle = present.len() / 2;
                match present.len() {
                    // A column without values becomes constant.
                    0 => 0.0,
                    n if n % 2 == 1 => present[middle],
                    _ => f32::midpoint(present[middle - 1], present[middle]),
                }
            })
            .collect();
        let (standard, rows) = Standardiser::fit(filled(x, &medians).view());
        (Self { medians, standard }, rows)
    }

    /// Prepares other rows with the same medians, means and scales.
    pub fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        self.standard.apply(filled(x, &self.medians).view())
    }

    pub fn columns(&self) -> usize {
        self.medians.len()
    }

    /// Saves medians, means and deviations as tensors.
    pub fn save(&self, out: &mut Tensors) {
        out.put("preparation.medians", self.medians.iter().copied());
        out.put_standardiser("preparation", &self.standard);
    }

    pub fn load(from: &Tensors) -> Option<Self> {
        let medians = from.singles("preparation.medians")?;
        let standard = from.standardiser("preparation", medians.len())?;
        Some(Self { medians, standard })
    }
}

fn filled(x: ArrayView2<f32>, medians: &[f32]) -> Array2<f32> {
    let mut x = x.to_owned();
    for mut row in x.outer_iter_mut() {
        for (value, median) in row.iter_mut().zip(medians) {
            if !value.is_finite() {
                *value = *median;
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn missing_values_become_medians() {
        let x = array![
            [1.0, 5.0, f32::NAN],
            [f32::NAN, 5.0, f32::NAN],
            [3.0, 5.0, f32::INFINITY]
        ];
        let (preparation, rows) = Preparation::fit(x.view());
        assert_eq!(rows.column(0).to_vec(), [-1.224_744_9, 0.0, 1.224_744_9]);
        assert!(
            rows.column(1)
                .iter()
                .chain(rows.column(2))
                .all(|v| *v == 0.0)
        );
        let mut tensors = Tensors::default();
        preparation.save(&mut tensors);
        let again = Preparation::load(&tensors).unwrap();
        assert_eq!(again.apply(x.view()), rows);
    }
}
