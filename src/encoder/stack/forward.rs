//! The layers in Candle. Operations of Candle with a wrong gradient or none are replaced: see
//! `tests/parts/traps.rs`.

use std::collections::HashMap;

use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::sigmoid;
use rayon::prelude::*;

use super::convolution::convolve;
use super::layer::StackLayer;
use super::list::Stack;
use super::pool::pool;
use voisin_base::random::Random;

/// Numbers of a dropout mask that are drawn from one stream.
const DRAWN_TOGETHER: usize = 1 << 14;

#[derive(Clone, Copy)]
pub(super) enum PassMode {
    /// Batch norms by the batch, dropout by seed and step.
    Training { seed: u64, step: u64 },
    /// Batch norms by running statistics, no dropout.
    Evaluating,
}

/// A batch's mean and variance of each channel, and their count.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) layer: usize,
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
    pub(super) count: usize,
}

/// A network as a module of Candle.
#[derive(Debug)]
pub(super) struct CandleLayers(Vec<CandleLayer>);

#[derive(Debug)]
struct CandleLayer {
    /// Its place in the network.
    at: usize,
    layer: StackLayer,
    tensors: HashMap<&'static str, Tensor>,
}

impl CandleLayers {
    /// - `vb`: has the layers' tensors under `layers.N`
    pub(super) fn new(stack: &Stack, vb: &VarBuilder) -> Result<Self> {
        let layers = stack.layers().enumerate().map(|(at, (layer, from))| {
            let vb = vb.pp(format!("layers.{at}"));
            let plans = layer.tensors(from, stack.classes()).into_iter();
            let tensors = plans.map(|plan| Ok((plan.name, vb.get(plan.shape, plan.name)?)));
            Ok(CandleLayer {
                at,
                layer,
                tensors: tensors.collect::<Result<_>>()?,
            })
        });
        let mut layers = layers.collect::<Result<Vec<CandleLayer>>>()?;
        // A maximum of ReLUs is the ReLU of a maximum, of a quarter of the numbers.
        for at in 1..layers.len() {
            let pair = (layers[at - 1].layer, layers[at].layer);
            if let (StackLayer::Relu, StackLayer::Pool(_)) = pair {
                layers.swap(at - 1, at);
            }
        }
        Ok(Self(layers))
    }

    /// Output of the last layer for the input of the first, `[n, …]`.
    ///
    /// - `observed`: receives the moments of batch norms in training
    pub(super) fn forward_t(
        &self,
        x: &Tensor,
        pass: PassMode,
        observed: &mut Vec<Observed>,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.0 {
            x = layer.forward_t(x, pass, observed)?;
        }
        Ok(x)
    }
}

impl Module for CandleLayers {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_t(x, PassMode::Evaluating, &mut Vec::new())
    }
}

impl CandleLayer {
    fn forward_t(&self, x: Tensor, pass: PassMode, observed: &mut Vec<Observed>) -> Result<Tensor> {
        let at = self.at;
        let layer_tensor = |name: &str| self.tensors[name].clone();
        Ok(match self.layer {
            StackLayer::Convolution {
                kernel: [rows, columns],
                same,
                ..
            } => {
                let zeros = if same {
                    [rows / 2, columns / 2]
                } else {
                    [0, 0]
                };
                convolve(&x, &layer_tensor("weight"), &layer_tensor("bias"), zeros)?
            }
            StackLayer::BatchNorm(epsilon) => {
                batch_norm(at, epsilon, &x, &layer_tensor, pass, observed)?
            }
            // Candle's relu has a slope of 1 at 0.
            StackLayer::Relu => (&x * x.gt(0.0)?.to_dtype(DType::F32)?.detach())?,
            StackLayer::Pool(by) => pool(&x, by)?,
            StackLayer::Dropout(share) => match pass {
                PassMode::Training { seed, step } => (&x * mask(&x, share, seed, step, at)?)?,
                PassMode::Evaluating => x,
            },
            StackLayer::Frames => {
                let (n, c, h, w) = x.dims4()?;
                x.contiguous()?.reshape((n, c * h, 1, w))?
            }
            StackLayer::Sequence => x.unsqueeze(1)?.unsqueeze(1)?,
            StackLayer::Recurrent { one_bias, .. } => {
                recurrent(&x.squeeze(2)?, &layer_tensor, one_bias)?
            }
            StackLayer::Gap => {
                let n = x.dim(0)?;
                let c = x.dim(1)?;
                x.contiguous()?.reshape((n, c, ()))?.mean(2)?
            }
            // Of equally large numbers the first has the gradient.
            StackLayer::Max => {
                let x = x.contiguous()?.flatten_from(2)?;
                let first = x.argmax_keepdim(D::Minus1)?;
                x.gather(&first, D::Minus1)?.squeeze(D::Minus1)?
            }
            StackLayer::Flatten => x.flatten_from(1)?,
            StackLayer::Linear(_) => x
                .matmul(&layer_tensor("weight").t()?)?
                .broadcast_add(&layer_tensor("bias"))?,
        })
    }
}

/// Zeros, and the factor of the others.
fn mask(x: &Tensor, share: f64, seed: u64, step: u64, layer: usize) -> Result<Tensor> {
    let factor = (1.0 / (1.0 - share)) as f32;
    let kept = kept(x.elem_count(), share, seed, step, layer);
    let values = kept
        .into_iter()
        .map(|kept| if kept { factor } else { 0.0 })
        .collect();
    Tensor::from_vec(values, x.dims(), x.device())
}

/// The numbers that dropout keeps, determined by seed, step, layer and position.
fn kept(count: usize, share: f64, seed: u64, step: u64, layer: usize) -> Vec<bool> {
    // Four of each number drawn, 16 bits for each.
    let dropped = (share * 65_536.0).round() as u64;
    let mut kept = vec![true; count];
    kept.par_chunks_mut(DRAWN_TOGETHER)
        .enumerate()
        .for_each(|(part, kept)| {
            // A random stream per part, so that threads may draw in any order.
            let stream = Random::stream(seed ^ (step << 8), layer as u64).u64();
            let mut random = Random::stream(stream, part as u64);
            for four in kept.chunks_mut(4) {
                let drawn = random.u64();
                for (at, kept) in four.iter_mut().enumerate() {
                    *kept = (drawn >> (16 * at)) & 0xffff >= dropped;
                }
            }
        });
    kept
}

fn batch_norm(
    layer: usize,
    epsilon: f64,
    x: &Tensor,
    tensor: &dyn Fn(&str) -> Tensor,
    pass: PassMode,
    observed: &mut Vec<Observed>,
) -> Result<Tensor> {
    let dims = x.dims().to_vec();
    let channels = dims[1];
    let x = x.contiguous()?.reshape((dims[0], channels, ()))?;
    let wide = |tensor: Tensor| tensor.reshape((1, channels, 1));
    let (mean, variance) = match pass {
        PassMode::Training { .. } => {
            let mean = x.mean_keepdim((0, 2))?;
            let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2))?;
            observed.push(Observed {
                layer,
                // Detached: running statistics have no gradient.
                mean: mean.flatten_all()?.to_vec1()?,
                variance: variance.flatten_all()?.to_vec1()?,
                count: x.elem_count() / channels,
            });
            (mean, variance)
        }
        PassMode::Evaluating => (wide(tensor("running_mean"))?, wide(tensor("running_var"))?),
    };
    let y = x
        .broadcast_sub(&mean)?
        .broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    y.broadcast_mul(&wide(tensor("weight"))?)?
        .broadcast_add(&wide(tensor("bias"))?)?
        .reshape(dims)
}

/// The last state, `[n, units]`, of a signal `[n, channels, steps]`. Gates stand in PyTorch's order.
fn recurrent(x: &Tensor, tensor: &dyn Fn(&str) -> Tensor, one_bias: bool) -> Result<Tensor> {
    let x = x.transpose(1, 2)?.contiguous()?;
    let mut bias = tensor("bias_ih");
    if !one_bias {
        bias = (bias + tensor("bias_hh"))?;
    }
    let (n, steps, channels) = x.dims3()?;
    let units = bias.elem_count() / 4;
    let back = tensor("weight_hh").t()?;
    // The input's part of all steps is one product; only the state's part goes step by step.
    let into = x
        .reshape((n * steps, channels))?
        .matmul(&tensor("weight_ih").t()?)?;
    let into = into.broadcast_add(&bias)?.reshape((n, steps, ()))?;
    let mut state = Tensor::zeros((n, units), into.dtype(), into.device())?;
    let mut cell = state.clone();
    for step in 0..steps {
        let gates = (into.narrow(1, step, 1)?.squeeze(1)? + state.matmul(&back)?)?;
        let gate = |number: usize| gates.narrow(1, number * units, units)?.contiguous();
        let input = sigmoid(&gate(0)?)?;
        let forget = sigmoid(&gate(1)?)?;
        let new = gate(2)?.tanh()?;
        let output = sigmoid(&gate(3)?)?;
        cell = ((forget * cell)? + (input * new)?)?;
        state = (output * cell.tanh()?)?;
    }
    Ok(state)
}

/// Examples as a tensor.
pub(super) fn batch(
    x: &[f32],
    n: usize,
    axes: &[usize],
    device: &candle_core::Device,
) -> Result<Tensor> {
    let axes: Vec<usize> = std::iter::once(n).chain(axes.iter().copied()).collect();
    Tensor::from_slice(x, axes, device)
}
