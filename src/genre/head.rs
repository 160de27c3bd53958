//! The trained head: multinomial logistic regression or a small perceptron, in candle-nn.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Linear, Module};
use ndarray::{Array2, ArrayView2};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::{GenreError, optimise::lbfgs};

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
    /// Held-out mean negative log likelihood after each step, where rows were held out.
    pub held_out: Vec<f64>,
}

impl Head {
    /// Fits by full-batch L-BFGS on the cross-entropy with soft targets.
    ///
    /// - `x`: `[n, d]`, rows of a length near √d; `targets`: `[n, classes]`, rows sum to 1
    /// - `held_out`: rows and targets whose loss is recorded at each step, not fitted
    pub fn fit(
        x: ArrayView2<f32>,
        targets: ArrayView2<f32>,
        held_out: Option<(ArrayView2<f32>, ArrayView2<f32>)>,
        options: &HeadOptions,
    ) -> Result<HeadFit, GenreError> {
        let (n, d) = x.dim();
        let k = targets.ncols();
        let mut net = Net::new(d, options.hidden, k)?;
        let start = net.start(options.seed);
        let rows = tensor(x)?;
        let weights = row_weights(targets, options.class_balance);
        let mut weighted = targets.to_owned();
        let smoothing = options.label_smoothing as f32;
        for (mut row, &w) in weighted.outer_iter_mut().zip(&weights) {
            row.mapv_inplace(|t| w / n as f32 * ((1.0 - smoothing) * t + smoothing / k as f32));
        }
        let goal = tensor(weighted.view())?;
        let row_weight =
            Tensor::from_vec(weights.iter().map(|w| w / n as f32).collect(), (n, 1), &Device::Cpu)?;
        let held = held_out.map(|(x, t)| Ok::<_, GenreError>((tensor(x)?, t))).transpose()?;

        let mut curve = Vec::new();
        let mut probe = Net::new(d, options.hidden, k)?;
        let minimum = lbfgs(
            start,
            options.max_iterations,
            |flat| net.loss(flat, &rows, &goal, &row_weight, options.l2),
            |_, flat| {
                if let Some((x, t)) = &held {
                    probe.set(flat)?;
                    curve.push(nll(matrix(&probe.forward(x)?)?.view(), *t));
                    // far past the best: further steps only fit noise
                    let (at, best) = curve
                        .iter()
                        .enumerate()
                        .fold((0, f64::INFINITY), |b, (i, &v)| if v < b.1 { (i, v) } else { b });
                    return Ok::<_, GenreError>(
                        curve.len() - at <= 12 || curve[curve.len() - 1] < best * 1.002,
                    );
                }
                Ok(true)
            },
        )?;
        net.set(&minimum.x)?;
        Ok(HeadFit { head: net.freeze()?, iterations: minimum.iterations, held_out: curve })
    }

    /// Logits, `[n, classes]`.
    pub fn logits(&self, x: ArrayView2<f32>) -> Result<Array2<f32>, GenreError> {
        let mut y = tensor(x)?;
        for (i, layer) in self.layers.iter().enumerate() {
            // [n, d] → [n, hidden] → relu → [n, classes]
            y = layer.forward(&if i > 0 { y.relu()? } else { y })?;
        }
        matrix(&y)
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

/// Softmax of each row.
pub(super) fn softmax(mut logits: Array2<f32>) -> Array2<f32> {
    for mut row in logits.outer_iter_mut() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    logits
}

/// Mean negative log likelihood of soft targets under the softmax of logits, in nats.
pub(super) fn nll(logits: ArrayView2<f32>, targets: ArrayView2<f32>) -> f64 {
    let mut total = 0.0;
    for (row, target) in logits.outer_iter().zip(targets.outer_iter()) {
        let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let log_sum = row.iter().map(|v| (f64::from(*v) - max).exp()).sum::<f64>().ln() + max;
        total += row.iter().zip(target).map(|(v, t)| f64::from(*t) * (log_sum - f64::from(*v))).sum::<f64>();
    }
    total / logits.nrows().max(1) as f64
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

/// Trainable layers and the order of their numbers in one flat vector.
struct Net {
    vars: Vec<(Var, Var)>,
    layers: Vec<Linear>,
}

impl Net {
    fn new(inputs: usize, hidden: Option<usize>, classes: usize) -> Result<Self, GenreError> {
        let widths: Vec<usize> = [Some(inputs), hidden, Some(classes)].into_iter().flatten().collect();
        let vars = widths
            .windows(2)
            .map(|w| {
                Ok((
                    Var::zeros((w[1], w[0]), DType::F32, &Device::Cpu)?,
                    Var::zeros(w[1], DType::F32, &Device::Cpu)?,
                ))
            })
            .collect::<Result<Vec<_>, GenreError>>()?;
        let layers = vars
            .iter()
            .map(|(w, b)| Linear::new(w.as_tensor().clone(), Some(b.as_tensor().clone())))
            .collect();
        Ok(Self { vars, layers })
    }

    /// Zeros for logistic regression; He's uniform start for the hidden layer of a perceptron.
    fn start(&self, seed: u64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let deep = self.vars.len() > 1;
        let mut flat = Vec::new();
        for (weight, bias) in &self.vars {
            let inputs = weight.dims()[1] as f64;
            let bound = if deep { (6.0 / inputs).sqrt() / 2.0 } else { 0.0 };
            flat.extend((0..weight.elem_count()).map(|_| (rng.random::<f64>() * 2.0 - 1.0) * bound));
            flat.extend((0..bias.elem_count()).map(|_| 0.0));
        }
        flat
    }

    fn set(&mut self, flat: &[f64]) -> Result<(), GenreError> {
        let mut at = 0;
        let mut take = |var: &Var| -> Result<(), GenreError> {
            let n = var.elem_count();
            let values: Vec<f32> = flat[at..at + n].iter().map(|v| *v as f32).collect();
            at += n;
            Ok(var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?)?)
        };
        for (weight, bias) in &self.vars {
            take(weight)?;
            take(bias)?;
        }
        Ok(())
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, GenreError> {
        let mut y = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            y = layer.forward(&if i > 0 { y.relu()? } else { y })?;
        }
        Ok(y)
    }

    /// Loss and gradient at `flat`.
    ///
    /// The gradient with respect to the logits is known in closed form (weighted softmax minus weighted target);
    /// Candle carries it back through the layers.
    fn loss(
        &mut self,
        flat: &[f64],
        x: &Tensor,
        goal: &Tensor,
        row_weight: &Tensor,
        l2: f64,
    ) -> Result<(f64, Vec<f64>), GenreError> {
        self.set(flat)?;
        let logits = self.forward(x)?;
        let p = candle_nn::ops::softmax_last_dim(&logits.detach())?;
        let (ps, ts) = (p.flatten_all()?.to_vec1::<f32>()?, goal.flatten_all()?.to_vec1::<f32>()?);
        let mut loss: f64 =
            ps.iter().zip(&ts).map(|(p, t)| -f64::from(*t) * f64::from(p.max(1e-12)).ln()).sum();
        let slope = (p.broadcast_mul(row_weight)? - goal)?.detach();
        let grads = (logits * slope)?.sum_all()?.backward()?;
        let mut gradient = Vec::with_capacity(flat.len());
        for (weight, bias) in &self.vars {
            for (var, decays) in [(weight, true), (bias, false)] {
                let g = grads.get(var).ok_or_else(|| {
                    GenreError::Tensor(candle_core::Error::Msg("a layer has no gradient".into()))
                })?;
                let at = gradient.len();
                gradient.extend(g.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from));
                if decays {
                    for (g, v) in gradient[at..].iter_mut().zip(&flat[at..]) {
                        *g += l2 * v;
                        loss += 0.5 * l2 * v * v;
                    }
                }
            }
        }
        Ok((loss, gradient))
    }

    /// A copy that no longer trains.
    fn freeze(&self) -> Result<Head, GenreError> {
        let layers = self
            .vars
            .iter()
            .map(|(w, b)| {
                Ok(Linear::new(w.as_detached_tensor().copy()?, Some(b.as_detached_tensor().copy()?)))
            })
            .collect::<Result<_, GenreError>>()?;
        Ok(Head { layers })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

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
        let mut net = Net::new(6, Some(4), 3).unwrap();
        let flat = net.start(5);
        let weights = Tensor::full(1.0f32 / 30.0, (30, 1), &Device::Cpu).unwrap();
        let goal = tensor((&t / 30.0).view()).unwrap();
        let x = tensor(x.view()).unwrap();
        let (_, gradient) = net.loss(&flat, &x, &goal, &weights, 0.1).unwrap();
        for i in (0..flat.len()).step_by(3) {
            let mut at = |delta: f64| {
                let mut moved = flat.clone();
                moved[i] += delta;
                net.loss(&moved, &x, &goal, &weights, 0.1).unwrap().0
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((slope - gradient[i]).abs() < 2e-3, "{i}: {slope} {}", gradient[i]);
        }
    }

    #[test]
    fn both_kinds_learn_and_repeat_exactly() {
        let (x, t) = blobs(150, 1);
        let (y, u) = blobs(90, 2);
        for hidden in [None, Some(8)] {
            let options = HeadOptions { hidden, l2: 0.01, ..HeadOptions::default() };
            let fit = || Head::fit(x.view(), t.view(), Some((y.view(), u.view())), &options).unwrap();
            let (a, b) = (fit(), fit());
            let logits = a.head.logits(y.view()).unwrap();
            assert_eq!(logits, b.head.logits(y.view()).unwrap());
            let loss = nll(logits.view(), u.view());
            assert!(loss < 0.45, "{hidden:?}: {loss}");
            assert!((a.held_out[a.held_out.len() - 1] - loss).abs() < 1e-9);
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
