//! Random forests (Breiman, 2001).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training, Tree};
use voisin_base::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForestSettings {
    pub trees: usize,
    /// Columns that are sampled for a split; 0: the square root of their number.
    pub columns: usize,
    pub leaf: usize,
    /// Largest depth; 0: no limit.
    pub depth: usize,
    /// Whether each tree grows from a bootstrap sample.
    pub bootstrap: bool,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self {
            trees: 500,
            columns: 0,
            leaf: 1,
            depth: 0,
            bootstrap: true,
        }
    }
}

/// Trees whose leaves have the shares of the classes.
#[derive(Debug)]
pub struct Forest {
    trees: Vec<Tree>,
    classes: usize,
}

impl Forest {
    /// Grows every tree from its own stream of random numbers.
    pub fn fit(data: &Training, settings: ForestSettings) -> Self {
        let grow = |number| {
            let random = Random::stream(data.seed, number);
            TreeBuilder::new(data, settings, random).grow()
        };
        let numbers = (0..settings.trees as u64).into_par_iter();
        Self {
            trees: numbers.map(grow).collect(),
            classes: data.classes,
        }
    }

    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let trees = super::load(from, columns, classes)?;
        Some(Self { trees, classes })
    }
}

impl FittedClassifier for Forest {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let rows: Vec<Vec<f32>> = x.outer_iter().map(|row| row.to_vec()).collect();
        let mean = |row: &Vec<f32>| {
            let mut sums = vec![0.0f64; self.classes];
            for tree in &self.trees {
                let shares = tree.leaf(row, self.classes).iter();
                sums.iter_mut()
                    .zip(shares)
                    .for_each(|(sum, p)| *sum += f64::from(*p));
            }
            let trees = self.trees.len() as f64;
            sums.into_iter().map(move |sum| (sum / trees) as f32)
        };
        let flat: Vec<f32> = rows.par_iter().flat_map_iter(mean).collect();
        Array2::from_shape_vec((rows.len(), self.classes), flat)
            .expect("a row of sums for each row")
    }

    fn save(&self, out: &mut Tensors) {
        super::save(&self.trees, out);
    }
}

struct TreeBuilder<'a, 'd> {
    data: &'a Training<'d>,
    settings: ForestSettings,
    most: usize,
    random: Random,
    /// Columns in the order in which they are tried; partially shuffled at each node.
    order: Vec<usize>,
    /// A column's values at a node, with their classes.
    sorted: Vec<(f32, u32)>,
}

struct NodeSplit {
    column: usize,
    threshold: f32,
    /// Sum over both sides of Σ count² / rows: the larger, the purer.
    purity: f64,
}

impl<'a, 'd> TreeBuilder<'a, 'd> {
    fn new(data: &'a Training<'d>, settings: ForestSettings, random: Random) -> Self {
        let d = data.x.ncols();
        let most = if settings.columns == 0 {
            // The root of the number of columns, as is usual for classification (Breiman, 2001).
            (d as f64).sqrt() as usize
        } else {
            settings.columns
        };
        Self {
            data,
            settings,
            most: most.clamp(1, d.max(1)),
            random,
            order: (0..d).collect(),
            sorted: Vec::new(),
        }
    }

    fn grow(mut self) -> Tree {
        let data = self.data;
        let n = data.class_of.len();
        let mut rows: Vec<usize> = if self.settings.bootstrap {
            (0..n).map(|_| self.random.below(n)).collect()
        } else {
            (0..n).collect()
        };
        let mut tree = Tree::default();
        let root = tree.push();
        let mut open = vec![(root, 0..n, 0)];
        while let Some((node, range, depth)) = open.pop() {
            let node_rows = &mut rows[range.clone()];
            let mut counts = vec![0.0f64; data.classes];
            for &mut row in node_rows.iter_mut() {
                counts[data.class_of[row]] += 1.0;
            }
            let Some(split) = self.split_of(node_rows, &counts, depth) else {
                let rows = node_rows.len() as f64;
                tree.fill(node, counts.iter().map(|count| (count / rows) as f32));
                continue;
            };
            let is_right = |row: usize| data.x[[row, split.column]] > split.threshold;
            // Stable, so that the tree does not depend on the sorting algorithm.
            node_rows.sort_by_key(|&row| is_right(row));
            let left = node_rows.partition_point(|&row| !is_right(row));
            let middle = range.start + left;
            let (a, b) = tree.split(node, split.column, split.threshold);
            open.push((b, middle..range.end, depth + 1));
            open.push((a, range.start..middle, depth + 1));
        }
        tree
    }

    /// The split of a node; `None` if nothing is left to split, or the sides would be smaller than allowed.
    fn split_of(&mut self, rows: &[usize], counts: &[f64], depth: usize) -> Option<NodeSplit> {
        let settings = &self.settings;
        let is_deep = settings.depth > 0 && depth >= settings.depth;
        let is_pure = counts.iter().filter(|count| **count > 0.0).count() < 2;
        let is_leaf = is_deep || is_pure || rows.len() < 2 * settings.leaf.max(1);
        if is_leaf {
            return None;
        }
        self.best_split(rows, counts)
    }

    /// Tries random columns until enough of them vary at this node.
    fn best_split(&mut self, rows: &[usize], counts: &[f64]) -> Option<NodeSplit> {
        let mut best: Option<NodeSplit> = None;
        let mut looked = 0;
        let d = self.order.len();
        for at in 0..d {
            if looked == self.most {
                break;
            }
            // Shuffled only as far as needed; the next node continues from this order.
            let other = at + self.random.below(d - at);
            self.order.swap(at, other);
            let column = self.order[at];
            self.sorted.clear();
            let x = &self.data.x;
            let class_of = self.data.class_of;
            self.sorted.extend(
                rows.iter()
                    .map(|&row| (x[[row, column]], class_of[row] as u32)),
            );
            self.sorted
                // Equal values by class, so that the result does not depend on the sorting algorithm.
                .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            // A column that does not vary here cannot be split and does not count as
            // tried.
            if self.sorted.first().map(|first| first.0) >= self.sorted.last().map(|last| last.0) {
                continue;
            }
            looked += 1;
            if let Some((threshold, purity)) = self.best_threshold(counts)
                && best.as_ref().is_none_or(|best| purity > best.purity)
            {
                best = Some(NodeSplit {
                    column,
                    threshold,
                    purity,
                });
            }
        }
        best
    }

    /// The purest of all thresholds between two values, the lowest of equals.
    fn best_threshold(&self, counts: &[f64]) -> Option<(f32, f64)> {
        let mut left = vec![0.0f64; counts.len()];
        // Sums of squared counts on both sides, updated as rows move from right to left.
        let mut left_square = 0.0;
        let mut right_square = counts.iter().map(|c| c * c).sum::<f64>();
        let n = self.sorted.len();
        let least = self.settings.leaf.max(1);
        let mut best: Option<(f32, f64)> = None;
        for i in 0..n - 1 {
            let (value, class) = self.sorted[i];
            let class = class as usize;
            let right = counts[class] - left[class];
            left_square += 2.0 * left[class] + 1.0;
            right_square -= 2.0 * right - 1.0;
            left[class] += 1.0;
            let next = self.sorted[i + 1].0;
            if value == next || i + 1 < least || n - i - 1 < least {
                continue;
            }
            let purity = left_square / (i + 1) as f64 + right_square / (n - i - 1) as f64;
            if best.is_none_or(|best| purity > best.1) {
                let middle = f32::midpoint(value, next);
                // Rounding may make the middle equal to the upper value, which would then go left.
                best = Some((if middle >= next { value } else { middle }, purity));
            }
        }
        best
    }
}
