//! k-nearest-neighbours classifier.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnnSettings {
    pub k: usize,
    /// Additional neighbours of every class, so that no class is impossible.
    pub smoothing: f64,
}

impl Default for KnnSettings {
    fn default() -> Self {
        Self {
            k: 10,
            smoothing: 0.5,
        }
    }
}

#[derive(Debug)]
pub struct Knn {
    settings: KnnSettings,
    /// Of length 1.
    rows: Array2<f64>,
    class_of: Vec<usize>,
    classes: usize,
}

/// Queries that are compared together.
const BLOCK: usize = 64;

impl Knn {
    pub fn fit(data: &Training, settings: KnnSettings) -> Self {
        Self {
            settings,
            rows: unit_rows(data.x),
            class_of: data.class_of.to_vec(),
            classes: data.classes,
        }
    }

    /// The nearest rows of each query by cosine, nearest first, ties by row.
    pub fn neighbours(&self, x: ArrayView2<f32>) -> Vec<Vec<usize>> {
        let blocks: Vec<ArrayView2<f32>> = x.axis_chunks_iter(Axis(0), BLOCK).collect();
        let nearest = |block: ArrayView2<f32>| -> Vec<Vec<usize>> {
            let products = unit_rows(block).dot(&self.rows.t());
            products.outer_iter().map(|row| self.nearest(row)).collect()
        };
        let found: Vec<_> = blocks.into_par_iter().map(nearest).collect();
        found.concat()
    }

    /// - `cosines`: of a query with each row
    fn nearest(&self, cosines: ArrayView1<f64>) -> Vec<usize> {
        let k = self.settings.k.clamp(1, self.rows.nrows().max(1));
        let mut all: Vec<usize> = (0..cosines.len()).collect();
        let order = |a: &usize, b: &usize| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b));
        // Selection first, so that only k are sorted.
        if k < all.len() {
            all.select_nth_unstable_by(k - 1, order);
            all.truncate(k);
        }
        all.sort_unstable_by(order);
        all
    }

    pub fn load(
        from: &Tensors,
        settings: KnnSettings,
        classes: usize,
        columns: usize,
    ) -> Option<Self> {
        let rows = from.matrix("knn.rows")?;
        let class_of = from.indices("knn.classes")?;
        let fits = [rows.nrows(), rows.ncols()] == [class_of.len(), columns]
            && class_of.iter().all(|&class| class < classes);
        fits.then(|| Self {
            settings,
            rows: unit_rows(rows.view()),
            class_of,
            classes,
        })
    }
}

/// Rows of length 1 with the digits of single precision, in double, because a cosine near 1 loses digits.
fn unit_rows(rows: ArrayView2<f32>) -> Array2<f64> {
    let mut rows = rows.mapv(f64::from);
    for mut row in rows.outer_iter_mut() {
        let norm = row.dot(&row).sqrt();
        // A row of zeros has no direction and is unchanged.
        if norm > 0.0 {
            row.mapv_inplace(|v| f64::from((v / norm) as f32));
        }
    }
    rows
}

impl FittedClassifier for Knn {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut out = Array2::zeros((x.nrows(), self.classes));
        for (near, mut out) in self.neighbours(x).iter().zip(out.outer_iter_mut()) {
            let smoothing = self.settings.smoothing;
            let all = near.len() as f64 + smoothing * self.classes as f64;
            // Every class starts with some neighbours, so that none is impossible.
            out.fill((smoothing / all) as f32);
            for &row in near {
                out[self.class_of[row]] += (1.0 / all) as f32;
            }
        }
        out
    }

    fn save(&self, out: &mut Tensors) {
        out.put_matrix("knn.rows", &self.rows.mapv(|v| v as f32));
        out.put_indices("knn.classes", self.class_of.iter().copied());
    }
}
