//! Gradient boosting of small trees (Friedman, 2001), with second derivatives (Chen and Guestrin,
//! "XGBoost", 2016).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training, Tree, softmax};
use voisin_base::random::Random;

/// Settings of the boosting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostSettings {
    /// Most rounds; each adds one tree per class.
    pub rounds: usize,
    /// Most splits from the root to a leaf.
    pub depth: usize,
    /// Learning rate.
    pub rate: f64,
    /// Penalty on the squares of the leaves' values.
    pub lambda: f64,
    /// Least sum of second derivatives in a leaf.
    pub least: f64,
    /// Share of the rows that are sampled for a round.
    pub rows: f64,
    /// Share of the columns that are sampled for a tree.
    pub columns: f64,
    /// Rounds without a better loss on held-out groups after which boosting stops; the trees are
    /// then grown again from all rows. 0: all rounds.
    pub patience: usize,
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
            patience: 0,
        }
    }
}

/// Sums of trees.
#[derive(Debug)]
pub struct Boost {
    /// In the order of rounds, one for each class.
    trees: Vec<Tree>,
    values: Vec<Vec<f32>>,
    classes: usize,
    importances: Vec<f64>,
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
        let above = rows
            .iter()
            .map(|&row| usize::from(self.codes[column][row]))
            .filter(|code| *code > cut);
        let below = self.bins[column][cut].1;
        let next = above.min().unwrap_or(cut);
        let next = self.bins[column][next].0;
        // Rounding may make the middle of two adjacent numbers equal to the upper one.
        let middle = f32::midpoint(below, next);
        if middle >= next { below } else { middle }
    }
}

impl Boost {
    /// Adds trees until the rounds or the patience are used up.
    pub fn fit(data: &Training, settings: BoostSettings) -> Self {
        let all: Vec<usize> = (0..data.class_of.len()).collect();
        let held: Vec<usize> = all
            .iter()
            .copied()
            .filter(|&row| data.folds[row] == 0)
            .collect();
        let mut settings = settings;
        // The number of rounds is found on a held-out part; the trees are then grown from all
        // rows.
        if settings.patience > 0 && !held.is_empty() && held.len() < all.len() {
            let rest: Vec<usize> = all
                .iter()
                .copied()
                .filter(|&row| data.folds[row] != 0)
                .collect();
            settings.rounds = Self::grow(data, &rest, &held, settings).trees.len() / data.classes;
        }
        Self::grow(data, &all, &[], settings)
    }

    /// - `used`: rows that trees grow from; `watched`: rows for early stopping
    fn grow(data: &Training, used: &[usize], watched: &[usize], settings: BoostSettings) -> Self {
        let n = data.class_of.len();
        let k = data.classes;
        let binned = Binned::new(data.x);
        let rows: Vec<Vec<f32>> = data.x.outer_iter().map(|row| row.to_vec()).collect();
        let mut margins = Array2::<f64>::zeros((n, k));
        let mut model = Self {
            trees: Vec::new(),
            values: Vec::new(),
            classes: k,
            importances: vec![0.0; data.x.ncols()],
        };
        let mut best = 0;
        let mut best_loss = f64::INFINITY;
        for round in 0..settings.rounds {
            // A stream for each round, so that trees do not depend on the number of threads.
            let mut random = Random::stream(data.seed, round as u64);
            let sample: Vec<usize> = used
                .iter()
                .copied()
                .filter(|_| random.f64() < settings.rows)
                .collect();
            let p = softmax(margins.view());
            let grown: Vec<(Tree, Vec<f32>, Vec<f64>)> = (0..k)
                .into_par_iter()
                .map(|class| {
                    let slopes: Vec<(f64, f64)> = (0..n)
                        .map(|row| {
                            let p = f64::from(p[[row, class]]);
                            let target = f64::from(u8::from(data.class_of[row] == class));
                            // The second derivative of a probability of 0 or 1 is 0.
                            (p - target, (2.0 * p * (1.0 - p)).max(1e-6))
                        })
                        .collect();
                    let mut random = Random::stream(data.seed ^ 0xb005, (round * k + class) as u64);
                    let wanted = (settings.columns * binned.bins.len() as f64)
                        .round()
                        .max(1.0) as usize;
                    let mut columns: Vec<usize> = (0..binned.bins.len()).collect();
                    if wanted < columns.len() {
                        random.shuffle(&mut columns);
                        columns.truncate(wanted);
                        columns.sort_unstable();
                    }
                    grow_tree(&binned, &slopes, sample.clone(), &columns, &settings)
                })
                .collect();
            for (class, (tree, values, gains)) in grown.into_iter().enumerate() {
                for (row, x) in rows.iter().enumerate() {
                    margins[[row, class]] += f64::from(values[tree.value(x)]);
                }
                model
                    .importances
                    .iter_mut()
                    .zip(gains)
                    .for_each(|(sum, gain)| *sum += gain);
                model.trees.push(tree);
                model.values.push(values);
            }
            if watched.is_empty() {
                continue;
            }
            let p = softmax(margins.view());
            let loss: f64 = watched
                .iter()
                .map(|&row| -f64::from(p[[row, data.class_of[row]]]).max(1e-15).ln())
                .sum();
            if loss < best_loss {
                (best, best_loss) = (round + 1, loss);
            } else if round + 1 >= best + settings.patience {
                break;
            }
        }
        // Trees after the best round are dropped.
        if !watched.is_empty() {
            model.trees.truncate(best * k);
            model.values.truncate(best * k);
        }
        let all: f64 = model.importances.iter().sum();
        model
            .importances
            .iter_mut()
            .for_each(|v| *v /= all.max(f64::MIN_POSITIVE));
        model
    }

    /// Sums of the trees' values, `[n, classes]`.
    pub fn margins(&self, x: ArrayView2<f32>) -> Array2<f64> {
        let rows: Vec<Vec<f32>> = x.outer_iter().map(|row| row.to_vec()).collect();
        let flat: Vec<f64> = rows
            .par_iter()
            .flat_map_iter(|row| {
                let mut sums = vec![0.0; self.classes];
                for (at, (tree, values)) in self.trees.iter().zip(&self.values).enumerate() {
                    sums[at % self.classes] += f64::from(values[tree.value(row)]);
                }
                sums
            })
            .collect();
        Array2::from_shape_vec((rows.len(), self.classes), flat)
            .expect("a row of sums for each row")
    }

    /// Reads saved trees; `None` if a tensor is missing or has another shape.
    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let trees = super::load(from, "boost")?;
        let all = from.f32("boost.values")?;
        let mut at = 0;
        let mut values = Vec::new();
        for (tree, &leaves) in trees.iter().zip(from.u32("boost.leaves")?) {
            let end = at + leaves as usize;
            values.push(all.get(at..end)?.to_vec());
            at = end;
            if !tree.is_sound(columns, leaves as usize) {
                return None;
            }
        }
        let importances = from.f64("boost.importances")?.to_vec();
        let whole =
            classes > 0 && trees.len().is_multiple_of(classes) && values.len() == trees.len();
        (whole && importances.len() == columns).then_some(Self {
            trees,
            values,
            classes,
            importances,
        })
    }
}

/// Grows one tree from `rows` by the gain of each split.
fn grow_tree(
    binned: &Binned,
    slopes: &[(f64, f64)],
    rows: Vec<usize>,
    columns: &[usize],
    settings: &BoostSettings,
) -> (Tree, Vec<f32>, Vec<f64>) {
    let mut tree = Tree::default();
    let mut values = Vec::new();
    let mut gains = vec![0.0; binned.bins.len()];
    let root = tree.push();
    let mut open = vec![(root, rows, 0)];
    while let Some((node, rows, depth)) = open.pop() {
        let sum = rows.iter().fold((0.0, 0.0), |sum, &row| {
            (sum.0 + slopes[row].0, sum.1 + slopes[row].1)
        });
        let score = |(g, h): (f64, f64)| g * g / (h + settings.lambda);
        let mut best: Option<(f64, usize, usize)> = None;
        let mut bins = [(0.0f64, 0.0f64); BINS];
        // A leaf at the maximum depth needs no histograms.
        let splits = if depth < settings.depth && rows.len() > 1 {
            columns
        } else {
            &[]
        };
        for &column in splits {
            let cuts = binned.bins[column].len() - 1;
            bins[..=cuts].fill((0.0, 0.0));
            let codes = &binned.codes[column];
            for &row in &rows {
                let bin = &mut bins[codes[row] as usize];
                *bin = (bin.0 + slopes[row].0, bin.1 + slopes[row].1);
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
        let Some((gain, column, cut)) = best else {
            tree.left[node] = values.len() as u32;
            values.push((-settings.rate * sum.0 / (sum.1 + settings.lambda)) as f32);
            continue;
        };
        gains[column] += gain;
        let threshold = binned.threshold(column, cut, &rows);
        let (left, right): (Vec<usize>, Vec<usize>) = rows
            .into_iter()
            .partition(|&row| binned.codes[column][row] as usize <= cut);
        let (a, b) = tree.split(node, column, threshold);
        open.push((b, right, depth + 1));
        open.push((a, left, depth + 1));
    }
    (tree, values, gains)
}

impl FittedClassifier for Boost {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        softmax(self.margins(x).view())
    }

    fn importances(&self) -> Option<Vec<f64>> {
        Some(self.importances.clone())
    }

    fn note(&self) -> Option<String> {
        Some(format!("{} rounds", self.trees.len() / self.classes.max(1)))
    }

    fn save(&self, out: &mut Tensors) {
        super::save(&self.trees, "boost", out);
        out.put_u32(
            "boost.leaves",
            self.values
                .iter()
                .map(|values| values.len() as u32)
                .collect(),
        );
        out.put_f32("boost.values", self.values.concat());
        out.put_f64("boost.importances", self.importances.clone());
    }
}
