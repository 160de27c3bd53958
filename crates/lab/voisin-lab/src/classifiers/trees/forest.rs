//! Random forests (Breiman, 2001).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training, Tree};
use voisin_base::random::Random;
use voisin_genre::metrics::argmax;

/// Settings of a forest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForestSettings {
    /// Number of trees.
    pub trees: usize,
    /// Columns that are sampled for a split; 0: the square root of their number.
    pub columns: usize,
    /// Fewest rows of a leaf.
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

/// A grown forest.
#[derive(Debug)]
pub struct Forest {
    trees: Vec<Tree>,
    /// Shares of the classes in each leaf of each tree, `[leaves, classes]`.
    values: Vec<Array2<f32>>,
    classes: usize,
    importances: Vec<f64>,
    /// Out-of-bag accuracy.
    out_of_bag: Option<f64>,
}

/// A grown tree.
struct Grown {
    tree: Tree,
    values: Vec<f32>,
    importances: Vec<f64>,
    /// Number of times that each row was drawn.
    drawn: Vec<u32>,
}

impl Forest {
    /// Grows every tree from its own stream of random numbers.
    pub fn fit(data: &Training, settings: ForestSettings) -> Self {
        let grown: Vec<Grown> = (0..settings.trees as u64)
            .into_par_iter()
            .map(|number| {
                TreeBuilder::new(data, settings, Random::stream(data.seed, number)).grow()
            })
            .collect();
        let n = data.class_of.len();
        let mut importances = vec![0.0; data.x.ncols()];
        let mut votes = Array2::<f64>::zeros((n, data.classes));
        let mut has_vote = vec![false; n];
        for grown_tree in &grown {
            let all: f64 = grown_tree.importances.iter().sum();
            // Each tree has the same weight, regardless of its number of splits; a tree without splits
            // has no importances.
            if all > 0.0 {
                importances
                    .iter_mut()
                    .zip(&grown_tree.importances)
                    .for_each(|(sum, v)| *sum += v / all);
            }
            // Rows that the tree did not draw estimate the accuracy without a test
            // set.
            for row in (0..n).filter(|&row| grown_tree.drawn[row] == 0) {
                let leaf = grown_tree.tree.value(&data.x.row(row).to_vec());
                let shares = &grown_tree.values[leaf * data.classes..][..data.classes];
                votes
                    .row_mut(row)
                    .iter_mut()
                    .zip(shares)
                    .for_each(|(vote, p)| *vote += f64::from(*p));
                has_vote[row] = true;
            }
        }
        let all: f64 = importances.iter().sum();
        importances
            .iter_mut()
            .for_each(|v| *v /= all.max(f64::MIN_POSITIVE));
        let out_of_bag_rows: Vec<usize> = (0..n).filter(|&row| has_vote[row]).collect();
        let correct = out_of_bag_rows
            .iter()
            .filter(|&&row| argmax(votes.row(row)) == data.class_of[row])
            .count();
        let out_of_bag =
            (!out_of_bag_rows.is_empty()).then(|| correct as f64 / out_of_bag_rows.len() as f64);
        let (trees, values) = grown
            .into_iter()
            .map(|grown_tree| {
                let leaves = grown_tree.values.len() / data.classes;
                let values = Array2::from_shape_vec((leaves, data.classes), grown_tree.values);
                (
                    grown_tree.tree,
                    values.expect("a row of shares for each leaf"),
                )
            })
            .unzip();
        Self {
            trees,
            values,
            classes: data.classes,
            importances,
            out_of_bag,
        }
    }

    /// Reads a saved forest; `None` if a tensor is missing or has another shape.
    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let trees = super::load(from, "forest")?;
        let all = from.f32("forest.values")?;
        let mut at = 0;
        let mut values = Vec::new();
        for (tree, &leaves) in trees.iter().zip(from.u32("forest.leaves")?) {
            let end = at + leaves as usize * classes;
            let shape = (leaves as usize, classes);
            values.push(Array2::from_shape_vec(shape, all.get(at..end)?.to_vec()).ok()?);
            at = end;
            if !tree.is_sound(columns, leaves as usize) {
                return None;
            }
        }
        let importances = from.f64("forest.importances")?.to_vec();
        let fits = values.len() == trees.len() && !trees.is_empty() && importances.len() == columns;
        fits.then_some(Self {
            trees,
            values,
            classes,
            importances,
            out_of_bag: None,
        })
    }
}

impl FittedClassifier for Forest {
    /// The mean of the leaves' shares.
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let rows: Vec<Vec<f32>> = x.outer_iter().map(|row| row.to_vec()).collect();
        let flat: Vec<f32> = rows
            .par_iter()
            .flat_map_iter(|row| {
                let mut sums = vec![0.0f64; self.classes];
                for (tree, values) in self.trees.iter().zip(&self.values) {
                    let shares = values.row(tree.value(row));
                    sums.iter_mut()
                        .zip(shares)
                        .for_each(|(sum, p)| *sum += f64::from(*p));
                }
                let trees = self.trees.len() as f64;
                sums.into_iter().map(move |sum| (sum / trees) as f32)
            })
            .collect();
        Array2::from_shape_vec((rows.len(), self.classes), flat)
            .expect("a row of sums for each row")
    }

    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.importances.clone())
    }

    fn note(&self) -> Option<String> {
        self.out_of_bag
            .map(|share| format!("out of bag {:.1} %", 100.0 * share))
    }

    fn save(&self, out: &mut Tensors) {
        super::save(&self.trees, "forest", out);
        out.put_u32(
            "forest.leaves",
            self.values
                .iter()
                .map(|values| values.nrows() as u32)
                .collect(),
        );
        out.put_f32(
            "forest.values",
            self.values
                .iter()
                .flat_map(|values| values.iter().copied())
                .collect(),
        );
        out.put_f64("forest.importances", self.importances.clone());
    }
}

/// Builds a tree.
struct TreeBuilder<'a, 'd> {
    data: &'a Training<'d>,
    settings: ForestSettings,
    /// Columns that are sampled for a split.
    most: usize,
    random: Random,
    out: Grown,
    /// Columns in the order in which they are tried; partially shuffled at each node.
    order: Vec<usize>,
    /// A column's values at a node, with their classes.
    sorted: Vec<(f32, u32)>,
}

/// The best split of a node.
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
        let out = Grown {
            tree: Tree::default(),
            values: Vec::new(),
            importances: vec![0.0; d],
            drawn: vec![0; data.class_of.len()],
        };
        let order = (0..d).collect();
        let sorted = Vec::new();
        Self {
            data,
            settings,
            most: most.clamp(1, d.max(1)),
            random,
            out,
            order,
            sorted,
        }
    }

    fn grow(mut self) -> Grown {
        let n = self.data.class_of.len();
        let mut rows: Vec<usize> = if self.settings.bootstrap {
            (0..n).map(|_| self.random.below(n)).collect()
        } else {
            (0..n).collect()
        };
        rows.iter().for_each(|&row| self.out.drawn[row] += 1);
        let root = self.out.tree.push();
        let mut open = vec![(root, 0..n, 0)];
        while let Some((node, range, depth)) = open.pop() {
            let node_rows = &mut rows[range.clone()];
            let mut counts = vec![0.0f64; self.data.classes];
            node_rows
                .iter()
                .for_each(|&row| counts[self.data.class_of[row]] += 1.0);
            // A leaf if nothing is left to split, or the sides would be smaller than allowed.
            let is_deep = self.settings.depth > 0 && depth >= self.settings.depth;
            let is_pure = counts.iter().filter(|count| **count > 0.0).count() < 2;
            let best_split =
                if is_deep || is_pure || node_rows.len() < 2 * self.settings.leaf.max(1) {
                    None
                } else {
                    self.best_split(node_rows, &counts)
                };
            let Some(split) = best_split else {
                self.out.tree.left[node] = (self.out.values.len() / self.data.classes) as u32;
                self.out.values.extend(
                    counts
                        .iter()
                        .map(|count| (count / node_rows.len() as f64) as f32),
                );
                continue;
            };
            let before = counts.iter().map(|c| c * c).sum::<f64>() / node_rows.len() as f64;
            self.out.importances[split.column] += split.purity - before;
            // Stable, so that the tree does not depend on the sorting algorithm.
            node_rows.sort_by_key(|&row| self.data.x[[row, split.column]] > split.threshold);
            let left = node_rows
                .partition_point(|&row| self.data.x[[row, split.column]] <= split.threshold);
            let middle = range.start + left;
            let (a, b) = self.out.tree.split(node, split.column, split.threshold);
            open.push((b, middle..range.end, depth + 1));
            open.push((a, range.start..middle, depth + 1));
        }
        self.out
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
