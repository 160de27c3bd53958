//! The trained head: multinomial logistic regression or a small perceptron, in candle-nn.

use candle_core::{Device, Tensor};
use candle_nn::Linear;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{GenreError, optimise::lbfgs};
use crate::base::random::Random;

/// What the head is made of and how it is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadOptions {
    /// Width of the hidden layer; `None`: logistic regression.
    pub hidden: Option<usize>,
    /// Half the weight of the squared parameters (biases left out) against the mean loss.
    pub l2: f64,
    /// 0: every track counts the same; 1: every genre counts the same.
    pub class_balance: f64,
    /// Part of each target that is spread over all genres.
    pub label_smoothing: f64,
    /// Steps at most; fewer where held-out loss was best earlier.
    pub max_iterations: usize,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Default for HeadOptions {
    fn default() -> Self {
        Self {
            hidden: None,
            l2: 0.03,
            class_balance: 0.5,
            label_smoothing: 0.02,
            max_iterations: 80,
            seed: 1,
        }
    }
}

/// A fitted head: standardised rows to logits.
#[derive(Debug, Clone)]
pub struct Head {
    layers: Vec<Linear>,
}

/// A head and how its fit went.
#[derive(Debug)]
pub struct HeadFit {
    /// The head at the last step.
    pub head: Head,
    /// Steps taken.
    pub iterations: usize,
}

/// Rows that are watched, not fitted.
pub struct HeldOut<'a> {
    /// `[rows, d]`.
    pub x: ArrayView2<'a, f32>,
    /// Called with their logits after every step; `false` ends the fit.
    pub watch: &'a mut dyn FnMut(Array2<f32>) -> bool,
}

impl Head {
    /// Fits by full-batch L-BFGS on the cross-entropy with soft targets.
    ///
    /// - `x`: `[n, d]`, rows of a length near √d; `targets`: `[n, classes]`, rows sum to 1
    /// - `held_out`: rows whose logits are shown after each step, for early stopping
    pub fn fit(
        x: ArrayView2<f32>,
        targets: ArrayView2<f32>,
        held_out: Option<HeldOut>,
        options: &HeadOptions,
    ) -> Result<HeadFit, GenreError> {
        let (n, d) = x.dim();
        let k = targets.ncols();
        let net = Net::new(d, options.hidden, k);
        let start = net.start(options.seed);
        let rows = tensor(x)?;
        let weights = row_weights(targets, options.class_balance);
        let mut weighted = targets.to_owned();
        let smoothing = options.label_smoothing as f32;
        for (mut row, &w) in weighted.outer_iter_mut().zip(&weights) {
            row.mapv_inplace(|t| w / n as f32 * ((1.0 - smoothing) * t + smoothing / k as f32));
        }
        let problem = Fitting {
            transposed: rows.t()?,
            rows,
            weights: weights.iter().map(|w| w / n as f32).collect(),
            goal: weighted,
            l2: options.l2,
        };

        let mut held = held_out.map(|h| Ok::<_, GenreError>((tensor(h.x)?, h.watch))).transpose()?;
        let minimum = lbfgs(
            start,
            options.max_iterations,
            |flat| net.loss(flat, &problem),
            |_, flat| match &mut held {
                Some((x, watch)) => Ok::<_, GenreError>(watch(net.head(flat)?.logits_of(x)?)),
                None => Ok(true),
            },
        )?;
        Ok(HeadFit { head: net.head(&minimum.x)?, iterations: minimum.iterations })
    }

    /// Logits, `[n, classes]`.
    ///
    /// What the layers' own `forward` gives, to rounding.
    pub fn logits(&self, x: ArrayView2<f32>) -> Result<Array2<f32>, GenreError> {
        self.logits_of(&tensor(x)?)
    }

    fn logits_of(&self, x: &Tensor) -> Result<Array2<f32>, GenreError> {
        let mut y = x.clone();
        let mut out = Array2::zeros((0, 0));
        for (i, layer) in self.layers.iter().enumerate() {
            // [n, d] → [n, hidden] → relu → [n, classes]
            let bias = layer.bias().map(Tensor::to_vec1::<f32>).transpose()?.unwrap_or_default();
            out = affine(&y, layer.weight(), &bias)?;
            if i + 1 < self.layers.len() {
                out.mapv_inplace(|v| v.max(0.0));
                y = tensor(out.view())?;
            }
        }
        Ok(out)
    }

    /// Weights and biases, first layer first: `(name, tensor)`.
    pub(super) fn tensors(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let mut out = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            out.push((format!("{prefix}.{i}.weight"), layer.weight().clone()));
            if let Some(bias) = layer.bias() {
                out.push((format!("{prefix}.{i}.bias"), bias.clone()));
            }
        }
        out
    }

    /// From weights `[out, in]` and biases `[out]`; `None` if the shapes do not follow each other.
    pub(super) fn from_tensors(layers: Vec<(Tensor, Tensor)>, inputs: usize, classes: usize) -> Option<Self> {
        let mut width = inputs;
        for (weight, bias) in &layers {
            let (out, input) = weight.dims2().ok()?;
            if input != width || bias.dims() != [out] {
                return None;
            }
            width = out;
        }
        (width == classes && !layers.is_empty())
            .then(|| Self { layers: layers.into_iter().map(|(w, b)| Linear::new(w, Some(b))).collect() })
    }
}

/// Weight of each row, mean 1: the inverse of its genres' sizes to the power `balance`.
fn row_weights(targets: ArrayView2<f32>, balance: f64) -> Vec<f32> {
    let counts = targets.sum_axis(ndarray::Axis(0));
    let raw: Vec<f64> = targets
        .outer_iter()
        .map(|row| {
            row.iter().zip(&counts).map(|(t, c)| f64::from(*t) * f64::from(c.max(1e-6)).powf(-balance)).sum()
        })
        .collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    raw.iter().map(|w| (w / mean) as f32).collect()
}

fn tensor(x: ArrayView2<f32>) -> Result<Tensor, GenreError> {
    let x = x.as_standard_layout();
    let slice = x.as_slice().unwrap_or_default();
    Ok(Tensor::from_slice(slice, x.dim(), &Device::Cpu)?)
}

fn matrix(x: &Tensor) -> Result<Array2<f32>, GenreError> {
    let dims = x.dims2()?;
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    Array2::from_shape_vec(dims, values)
        .map_err(|e| GenreError::Tensor(candle_core::Error::Msg(e.to_string())))
}

/// `x · weightᵀ + bias`, `[n, in]` to `[n, out]`.
///
/// Only the product is Candle's: in its version 0.11 every element-wise operation goes through one spinning thread
/// pool behind a lock, which on a busy machine costs six times the computation itself.
fn affine(x: &Tensor, weight: &Tensor, bias: &[f32]) -> Result<Array2<f32>, GenreError> {
    let mut out = matrix(&x.matmul(&weight.t()?)?)?;
    for mut row in out.outer_iter_mut() {
        row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
    }
    Ok(out)
}

/// What is fitted to.
struct Fitting {
    /// `[n, d]`
    rows: Tensor,
    /// `[d, n]`
    transposed: Tensor,
    /// Weight of each row; they sum to 1.
    weights: Vec<f32>,
    /// Targets times row weights, `[n, classes]`.
    goal: Array2<f32>,
    l2: f64,
}

/// Widths of the layers, and the order of their numbers in one flat vector: weight `[out, in]`, bias `[out]`, …
struct Net {
    widths: Vec<usize>,
}

impl Net {
    fn new(inputs: usize, hidden: Option<usize>, classes: usize) -> Self {
        Self { widths: [Some(inputs), hidden, Some(classes)].into_iter().flatten().collect() }
    }

    /// `(in, out)` of each layer.
    fn layers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.widths.windows(2).map(|w| (w[0], w[1]))
    }

    /// Zeros for logistic regression; half of He's uniform start for a perceptron.
    fn start(&self, seed: u64) -> Vec<f64> {
        let mut rng = Random::new(seed);
        let deep = self.widths.len() > 2;
        let mut flat = Vec::new();
        for (inputs, outputs) in self.layers() {
            let bound = if deep { (6.0 / inputs as f64).sqrt() / 2.0 } else { 0.0 };
            flat.extend((0..inputs * outputs).map(|_| (rng.f64() * 2.0 - 1.0) * bound));
            flat.extend((0..outputs).map(|_| 0.0));
        }
        flat
    }

    /// The layers at `flat`.
    fn head(&self, flat: &[f64]) -> Result<Head, GenreError> {
        let mut at = 0;
        let mut take = |n: usize| -> Vec<f32> {
            at += n;
            flat[at - n..at].iter().map(|v| *v as f32).collect()
        };
        let layers = self
            .layers()
            .map(|(inputs, outputs)| {
                let weight = Tensor::from_vec(take(inputs * outputs), (outputs, inputs), &Device::Cpu)?;
                let bias = Tensor::from_vec(take(outputs), outputs, &Device::Cpu)?;
                Ok(Linear::new(weight, Some(bias)))
            })
            .collect::<Result<_, GenreError>>()?;
        Ok(Head { layers })
    }

    /// Loss and gradient at `flat`: cross-entropy with weighted soft targets, and the weights' squares.
    fn loss(&self, flat: &[f64], problem: &Fitting) -> Result<(f64, Vec<f64>), GenreError> {
        let head = self.head(flat)?;
        let mut inner: Vec<Array2<f32>> = Vec::new();
        let mut inner_tensors: Vec<Tensor> = Vec::new();
        let mut out = Array2::zeros((0, 0));
        for (i, layer) in head.layers.iter().enumerate() {
            let bias = layer.bias().map(Tensor::to_vec1::<f32>).transpose()?.unwrap_or_default();
            out = affine(inner_tensors.last().unwrap_or(&problem.rows), layer.weight(), &bias)?;
            if i + 1 < head.layers.len() {
                out.mapv_inplace(|v| v.max(0.0));
                inner_tensors.push(tensor(out.view())?);
                inner.push(std::mem::take(&mut out));
            }
        }
        // the slope with respect to the logits: weighted softmax minus weighted target
        let mut loss = 0.0f64;
        for ((mut row, goal), &weight) in
            out.outer_iter_mut().zip(problem.goal.outer_iter()).zip(&problem.weights)
        {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let said: f32 = row.iter().zip(goal).map(|(v, t)| (v - max) * t).sum();
            row.mapv_inplace(|v| (v - max).exp());
            let sum = row.sum();
            loss += f64::from(weight * sum.ln()) - f64::from(said);
            row.iter_mut().zip(goal).for_each(|(v, t)| *v = weight * *v / sum - t);
        }
        // back through the layers, last first
        let mut gradients: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
        let mut slope = out;
        for (i, layer) in head.layers.iter().enumerate().rev() {
            let s = tensor(slope.view())?;
            let weight = if i == 0 {
                // (xᵀ · slope)ᵀ: the long side first suits the product better
                problem.transposed.matmul(&s)?.t()?.contiguous()?
            } else {
                s.t()?.matmul(&inner_tensors[i - 1])?
            };
            let bias = slope.sum_axis(ndarray::Axis(0)).to_vec();
            gradients.push((weight.flatten_all()?.to_vec1()?, bias));
            if i > 0 {
                slope = matrix(&s.matmul(layer.weight())?)?;
                ndarray::Zip::from(&mut slope).and(&inner[i - 1]).for_each(|s, &h| {
                    if h <= 0.0 {
                        *s = 0.0;
                    }
                });
            }
        }
        let mut gradient = Vec::with_capacity(flat.len());
        for (weight, bias) in gradients.into_iter().rev() {
            for g in weight {
                let v = flat[gradient.len()];
                loss += 0.5 * problem.l2 * v * v;
                gradient.push(f64::from(g) + problem.l2 * v);
            }
            gradient.extend(bias.into_iter().map(f64::from));
        }
        Ok((loss, gradient))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use candle_nn::Module;
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Mean negative log likelihood of soft targets under the softmax of logits, in nats.
    fn nll(logits: ArrayView2<f32>, targets: ArrayView2<f32>) -> f64 {
        let mut total = 0.0;
        for (row, target) in logits.outer_iter().zip(targets.outer_iter()) {
            let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let log_sum = row.iter().map(|v| (f64::from(*v) - max).exp()).sum::<f64>().ln() + max;
            total +=
                row.iter().zip(target).map(|(v, t)| f64::from(*t) * (log_sum - f64::from(*v))).sum::<f64>();
        }
        total / logits.nrows().max(1) as f64
    }

    fn blobs(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut x = Array2::zeros((n, 6));
        let mut t = Array2::zeros((n, 3));
        for i in 0..n {
            let class = i % 3;
            t[[i, class]] = 1.0;
            for j in 0..6 {
                let centre = if j % 3 == class { 1.0 } else { 0.0 };
                x[[i, j]] = centre + (rng.random::<f32>() - 0.5) * 2.0;
            }
        }
        (x, t)
    }

    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        let (x, t) = blobs(30, 1);
        let rows = tensor(x.view()).unwrap();
        let problem = Fitting {
            transposed: rows.t().unwrap(),
            rows,
            weights: vec![1.0 / 30.0; 30],
            goal: &t / 30.0,
            l2: 0.1,
        };
        for hidden in [None, Some(4)] {
            let net = Net::new(6, hidden, 3);
            let flat = Net::new(6, hidden.or(Some(3)), 3).start(5);
            let flat = &flat[..net.start(5).len()];
            let (_, gradient) = net.loss(flat, &problem).unwrap();
            for i in 0..flat.len() {
                let at = |delta: f64| {
                    let mut moved = flat.to_vec();
                    moved[i] += delta;
                    net.loss(&moved, &problem).unwrap().0
                };
                let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
                assert!((slope - gradient[i]).abs() < 2e-3, "{i}: {slope} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn gradient_is_candles_own() {
        let (x, t) = blobs(40, 3);
        let net = Net::new(6, Some(5), 3);
        let flat = net.start(2);
        let rows = tensor(x.view()).unwrap();
        let problem = Fitting {
            transposed: rows.t().unwrap(),
            rows: rows.clone(),
            weights: vec![1.0 / 40.0; 40],
            goal: &t / 40.0,
            l2: 0.0,
        };
        let (loss, gradient) = net.loss(&flat, &problem).unwrap();
        // the same network with trainable layers and Candle's automatic gradient
        let head = net.head(&flat).unwrap();
        let vars: Vec<(Var, Var)> = head
            .layers
            .iter()
            .map(|l| (Var::from_tensor(l.weight()).unwrap(), Var::from_tensor(l.bias().unwrap()).unwrap()))
            .collect();
        let layer =
            |i: usize| Linear::new(vars[i].0.as_tensor().clone(), Some(vars[i].1.as_tensor().clone()));
        let logits = layer(1).forward(&layer(0).forward(&rows).unwrap().relu().unwrap()).unwrap();
        let classes: Vec<u32> = (0..40).map(|i| i % 3).collect();
        let classes = Tensor::from_vec(classes, 40, &Device::Cpu).unwrap();
        let theirs = candle_nn::loss::cross_entropy(&logits, &classes).unwrap();
        assert!((f64::from(theirs.to_scalar::<f32>().unwrap()) - loss).abs() < 1e-6);
        let grads = theirs.backward().unwrap();
        let all: Vec<f32> = vars
            .iter()
            .flat_map(|(w, b)| [w, b])
            .flat_map(|v| grads.get(v).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect();
        assert_eq!(all.len(), gradient.len());
        for (a, b) in all.iter().zip(&gradient) {
            assert!((f64::from(*a) - b).abs() < 1e-6, "{a} {b}");
        }
        let own = head.logits(x.view()).unwrap();
        for (a, b) in own.iter().zip(logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn both_kinds_learn_and_repeat_exactly() {
        let (x, t) = blobs(150, 1);
        let (y, u) = blobs(90, 2);
        for hidden in [None, Some(8)] {
            let options = HeadOptions { hidden, l2: 0.01, ..HeadOptions::default() };
            let mut curve = Vec::new();
            let mut watch = |logits: Array2<f32>| {
                curve.push(nll(logits.view(), u.view()));
                true
            };
            let held = HeldOut { x: y.view(), watch: &mut watch };
            let a = Head::fit(x.view(), t.view(), Some(held), &options).unwrap();
            let b = Head::fit(x.view(), t.view(), None, &options).unwrap();
            let logits = a.head.logits(y.view()).unwrap();
            assert_eq!(logits, b.head.logits(y.view()).unwrap());
            let loss = nll(logits.view(), u.view());
            assert!(loss < 0.45, "{hidden:?}: {loss}");
            assert_eq!(curve.len(), a.iterations);
            assert!((curve[curve.len() - 1] - loss).abs() < 1e-9);
        }
    }

    #[test]
    fn rare_genres_weigh_more_when_balanced() {
        let t = ndarray::array![[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let w = row_weights(t.view(), 1.0);
        assert!((w[3] / w[0] - 3.0).abs() < 1e-5 && (w.iter().sum::<f32>() - 4.0).abs() < 1e-5);
        assert!(row_weights(t.view(), 0.0).iter().all(|w| (w - 1.0).abs() < 1e-6));
    }
}
