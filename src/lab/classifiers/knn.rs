//! k-nearest-neighbours classifier.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Euclid,
    Cosine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    Uniform,
    /// 1 / distance; only neighbours at distance 0, if there are any.
    Distance,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnnSettings {
    pub k: usize,
    pub metric: Metric,
    pub weights: Weighting,
    /// Additional neighbours of every class, so that no class is impossible.
    pub smoothing: f64,
}

impl Default for KnnSettings {
    fn default() -> Self {
        Self {
            k: 10,
            metric: Metric::Cosine,
            weights: Weighting::Uniform,
            smoothing: 0.5,
        }
    }
}

#[derive(Debug)]
pub struct Knn {
    settings: KnnSettings,
    rows: Array2<f64>,
    squares: Vec<f64>,
    class_of: Vec<usize>,
    classes: usize,
}

/// Queries that are compared together.
const BLOCK: usize = 64;

impl Knn {
    pub fn fit(data: &Training, settings: KnnSettings) -> Self {
        let rows = data.x.to_owned();
        Self::new(rows, data.class_of.to_vec(), data.classes, settings)
    }

    fn new(
        mut rows: Array2<f32>,
        class_of: Vec<usize>,
        classes: usize,
        settings: KnnSettings,
    ) -> Self {
        if settings.metric == Metric::Cosine {
            to_unit(&mut rows);
        }
        // In f64, because a distance from squares and a product loses digits for near rows.
        let rows = rows.mapv(f64::from);
        Self {
            settings,
            squares: rows.outer_iter().map(|row| row.dot(&row)).collect(),
            rows,
            class_of,
            classes,
        }
    }

    /// The nearest rows of each query with their distances, nearest first, ties by
    /// row.
    pub fn neighbours(&self, x: ArrayView2<f32>) -> Vec<Vec<(usize, f64)>> {
        let blocks: Vec<ArrayView2<f32>> = x.axis_chunks_iter(Axis(0), BLOCK).collect();
        let found: Vec<Vec<Vec<(usize, f64)>>> = blocks
            .into_par_iter()
            .map(|block| {
                let mut queries = block.to_owned();
                if self.settings.metric == Metric::Cosine {
                    to_unit(&mut queries);
                }
                let queries = queries.mapv(f64::from);
                let products = queries.dot(&self.rows.t());
                let pairs = queries.outer_iter().zip(products.outer_iter());
                pairs
                    .map(|(query, products)| self.nearest(query.dot(&query), products))
                    .collect()
            })
            .collect();
        found.concat()
    }

    /// - `square`: of the query's norm; `products`: with each row
    fn nearest(&self, square: f64, products: ArrayView1<f64>) -> Vec<(usize, f64)> {
        let k = self.settings.k.clamp(1, self.rows.nrows().max(1));
        let distance = |(row, product): (usize, &f64)| {
            let square = (square + self.squares[row] - 2.0 * product).max(0.0);
            // For unit vectors, half the square is 1 - cosine.
            let distance = match self.settings.metric {
                Metric::Cosine => square / 2.0,
                Metric::Euclid => square.sqrt(),
            };
            (row, distance)
        };
        let mut all: Vec<(usize, f64)> = products.iter().enumerate().map(distance).collect();
        let order = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
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
        fits.then(|| Self::new(rows, class_of, classes, settings))
    }
}

fn to_unit(rows: &mut Array2<f32>) {
    for mut row in rows.outer_iter_mut() {
        let norm = row
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        // A row of zeros has no direction and is unchanged.
        if norm > 0.0 {
            row.mapv_inplace(|v| (f64::from(v) / norm) as f32);
        }
    }
}

impl FittedClassifier for Knn {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut out = Array2::zeros((x.nrows(), self.classes));
        for (near, mut out) in self.neighbours(x).iter().zip(out.outer_iter_mut()) {
            let at_zero = near.iter().any(|(_, distance)| *distance == 0.0);
            // A copy of the query would have an infinite weight: then only copies count.
            let weight = |distance: f64| match self.settings.weights {
                Weighting::Uniform => 1.0,
                Weighting::Distance if at_zero => f64::from(u8::from(distance == 0.0)),
                Weighting::Distance => distance.recip(),
            };
            let sum: f64 = near.iter().map(|(_, distance)| weight(*distance)).sum();
            let k = near.len() as f64;
            let smoothing = self.settings.smoothing;
            let all = k + smoothing * self.classes as f64;
            // Every class starts with some neighbours, so that none is impossible.
            out.fill((smoothing / all) as f32);
            for (row, distance) in near {
                out[self.class_of[*row]] += (k * weight(*distance) / sum / all) as f32;
            }
        }
        out
    }

    fn save(&self, out: &mut Tensors) {
        out.put_matrix("knn.rows", &self.rows.mapv(|v| v as f32));
        out.put_indices("knn.classes", self.class_of.iter().copied());
    }
}
