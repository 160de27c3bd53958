//! Gradient boosting of small trees (Friedman, 2001), with second derivatives (Chen and Guestrin,
//! "XGBoost", 2016).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training, Tree, softmax};
use voisin_base::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostSettings {
    /// Most rounds; each adds one tree per class.
    pub rounds: usize,
    /// Most splits from the root to a leaf.
    pub depth: usize,
    pub rate: f64,
    /// Penalty on the squares of the leaves' values.
    pub lambda: f64,
    /// Least sum of second derivatives in a leaf.
    pub least: f64,
    /// Share of the rows that are sampled for a round.
    pub rows: f64,
    /// Share of the columns that are sampled for a tree.
    pub columns: f64,
}

impl Default for BoostSettings {
    fn default() -> Self {
        Self {
            rounds: 300,
            depth: 4,
            rate: 0.1,
            lambda: 1.0,
            least: 1.0,
            rows: 0.8,
            columns: 0.5,
        }
    }
}

#[derive(Debug)]
pub struct Boost {
    /// In the order of rounds, one for each class.
    trees: Vec<Tree>,
    classes: usize,
}

/// Most bins of a column, so that a code is a byte.
const BINS: usize = 256;

/// Columns as bin numbers, `[column][row]`.
struct Binned {
    codes: Vec<Vec<u8>>,
    /// The least and the largest value of each bin of each column.
    bins: Vec<Vec<(f32, f32)>>,
}

/// The codes of a column and its bins.
type BinnedColumn = (Vec<u8>, Vec<(f32, f32)>);

impl Binned {
    /// A bin for each value of a column, or bins of about equally many rows if there are more values.
    fn new(x: ArrayView2<f32>) -> Self {
        let columns: Vec<BinnedColumn> = (0..x.ncols())
            .into_par_iter()
            .map(|column| {
                let column = x.column(column);
                let mut values = column.to_vec();
                values.sort_unstable_by(f32::total_cmp);
                let distinct = values.chunk_by(|a, b| a == b).count();
                let mut bins: Vec<(f32, f32)> = Vec::new();
                let mut last = usize::MAX;
                let mut seen = 0;
                for run in values.chunk_by(|a, b| a == b) {
                    // With few distinct values each has a bin, so that splits are exact.
                    let bin = if distinct <= BINS {
                        bins.len()
                    } else {
                        seen * BINS / values.len()
                    };
                    match bins.last_mut() {
                        Some(open) if bin == last => open.1 = run[0],
                        _ => bins.push((run[0], run[0])),
                    }
                    (last, seen) = (bin, seen + run.len());
                }
                let code = |v: &f32| bins.partition_point(|(_, high)| high < v) as u8;
                (column.iter().map(code).collect(), bins)
            })
            .collect();
        let (codes, bins) = columns.into_iter().unzip();
        Self { codes, bins }
    }

    /// The middle between the rows' values up to a bin and those above it.
    fn threshold(&self, column: usize, cut: usize, rows: &[usize]) -> f32 {
        let codes = rows.iter().map(|&row| usize::from(self.codes[column][row]));
        let below = self.bins[column][cut].1;
        let next = codes.filter(|code| *code > cut).min().unwrap_or(cut);
        let next = self.bins[column][next].0;
        // Rounding may make the middle of two adjacent numbers equal to the upper one.
        let middle = f32::midpoint(below, next);
        if middle >= next { below } else { middle }
    }
}

impl Boost {
    pub fn fit(data: &Training, settings: BoostSettings) -> Self {
        let n = data.class_of.len();
        let binned = Binned::new(data.x);
        let rows: Vec<Vec<f32>> = data.x.outer_iter().map(|row| row.to_vec()).collect();
        let mut margins = Array2::<f64>::zeros((n, data.classes));
        let mut trees = Vec::new();
        for round in 0..settings.rounds {
            // A stream for each round, so that trees do not depend on the number of threads.
            let mut random = Random::stream(data.seed, round as u64);
            let mut sample: Vec<usize> = (0..n).collect();
            sample.retain(|_| random.f64() < settings.rows);
            let p = softmax(margins.view());
            let slopes = |class: usize| -> Vec<(f64, f64)> {
                let slope = |(p, &truth): (&f32, &usize)| {
                    let p = f64::from(*p);
                    // The second derivative of a probability of 0 or 1 is 0.
                    let second = (2.0 * p * (1.0 - p)).max(1e-6);
                    (p - f64::from(u8::from(truth == class)), second)
                };
                let p = p.column(class);
                p.iter().zip(data.class_of).map(slope).collect()
            };
            let grow = |class: usize| {
                let stream = (round * data.classes + class) as u64;
                let mut random = Random::stream(data.seed ^ 0xb005, stream);
                let columns = some_columns(binned.bins.len(), settings.columns, &mut random);
                let slopes = slopes(class);
                Growth {
                    binned: &binned,
                    slopes: &slopes,
                    columns: &columns,
                    settings,
                }
                .grow(sample.clone())
            };
            let grown: Vec<Tree> = (0..data.classes).into_par_iter().map(grow).collect();
            for (class, tree) in grown.into_iter().enumerate() {
                for (row, x) in rows.iter().enumerate() {
                    margins[[row, class]] += f64::from(tree.leaf(x, 1)[0]);
                }
                trees.push(tree);
            }
        }
        let classes = data.classes;
        Self { trees, classes }
    }

    /// Sums of the trees' values, `[n, classes]`.
    pub fn margins(&self, x: ArrayView2<f32>) -> Array2<f64> {
        let rows: Vec<Vec<f32>> = x.outer_iter().map(|row| row.to_vec()).collect();
        let sums = |row: &Vec<f32>| {
            let mut sums = vec![0.0; self.classes];
            for (at, tree) in self.trees.iter().enumerate() {
                sums[at % self.classes] += f64::from(tree.leaf(row, 1)[0]);
            }
            sums
        };
        let flat: Vec<f64> = rows.par_iter().flat_map_iter(sums).collect();
        Array2::from_shape_vec((rows.len(), self.classes), flat)
            .expect("a row of sums for each row")
    }

    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let trees = super::load(from, columns, 1)?;
        let whole = classes > 0 && trees.len().is_multiple_of(classes);
        whole.then_some(Self { trees, classes })
    }
}

/// A share of all columns, at least one, in order.
fn some_columns(all: usize, share: f64, random: &mut Random) -> Vec<usize> {
    let wanted = (share * all as f64).round().max(1.0) as usize;
    let mut columns: Vec<usize> = (0..all).collect();
    if wanted < all {
        random.shuffle(&mut columns);
        columns.truncate(wanted);
        columns.sort_unstable();
    }
    columns
}

struct Growth<'a> {
    binned: &'a Binned,
    /// First and second derivative of the loss of each row.
    slopes: &'a [(f64, f64)],
    columns: &'a [usize],
    settings: BoostSettings,
}

impl Growth<'_> {
    /// Grows a tree from rows by the gain of each split.
    fn grow(&self, rows: Vec<usize>) -> Tree {
        let settings = &self.settings;
        let mut tree = Tree::default();
        let root = tree.push();
        let mut open = vec![(root, rows, 0)];
        while let Some((node, rows, depth)) = open.pop() {
            let sum = rows.iter().fold((0.0, 0.0), |sum, &row| {
                (sum.0 + self.slopes[row].0, sum.1 + self.slopes[row].1)
            });
            // A leaf at the maximum depth needs no histograms.
            let may_split = depth < settings.depth && rows.len() > 1;
            let best = may_split.then(|| self.best_split(&rows, sum)).flatten();
            let Some((column, cut)) = best else {
                let value = -settings.rate * sum.0 / (sum.1 + settings.lambda);
                tree.fill(node, [value as f32]);
                continue;
            };
            let threshold = self.binned.threshold(column, cut, &rows);
            let codes = &self.binned.codes[column];
            let (left, right): (Vec<usize>, Vec<usize>) = rows
                .into_iter()
                .partition(|&row| codes[row] as usize <= cut);
            let (a, b) = tree.split(node, column, threshold);
            open.push((b, right, depth + 1));
            open.push((a, left, depth + 1));
        }
        tree
    }

    /// Column and bin of the split of the largest gain.
    ///
    /// - `sum`: of the rows' slopes
    fn best_split(&self, rows: &[usize], sum: (f64, f64)) -> Option<(usize, usize)> {
        let settings = &self.settings;
        let score = |(g, h): (f64, f64)| g * g / (h + settings.lambda);
        let mut best: Option<(f64, usize, usize)> = None;
        let mut bins = [(0.0f64, 0.0f64); BINS];
        for &column in self.columns {
            let cuts = self.binned.bins[column].len() - 1;
            bins[..=cuts].fill((0.0, 0.0));
            let codes = &self.binned.codes[column];
            for &row in rows {
                let bin = &mut bins[codes[row] as usize];
                *bin = (bin.0 + self.slopes[row].0, bin.1 + self.slopes[row].1);
            }
            let mut left = (0.0, 0.0);
            for cut in 0..cuts {
                left = (left.0 + bins[cut].0, left.1 + bins[cut].1);
                let right = (sum.0 - left.0, sum.1 - left.1);
                // Both sides need a sufficient second derivative, or a leaf would depend on a few certain
                // rows.
                if left.1 < settings.least || right.1 < settings.least {
                    continue;
                }
                let gain = score(left) + score(right) - score(sum);
                // Of splits with the same partition the first is taken: their gains differ only by
                // rounding.
                if gain > best.map_or(1e-6, |best| best.0 * (1.0 + 1e-9)) {
                    best = Some((gain, column, cut));
                }
            }
        }
        best.map(|(_, column, cut)| (column, cut))
    }
}

impl FittedClassifier for Boost {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        softmax(self.margins(x).view())
    }

    fn save(&self, out: &mut Tensors) {
        super::save(&self.trees, out);
    }
}
