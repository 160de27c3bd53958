//! A block that begins with a convolution over steps, by voisin's kernels: Candle takes some thirty
//! passes over every number of a batch for it, with a barrier after each.

use rayon::prelude::*;

use super::forward::{EPSILON, Observed, PassMode, kept};
use super::layer::{StackLayer, StackShape};
use voisin_kernels::Isa;
use voisin_networks::conv1::Convolution1;

/// Parallel sums.
const LANES: usize = 16;

/// The layers of a block: a convolution, then optionally, in this order, a batch norm, a relu, a
/// pool, a dropout.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepBlock {
    isa: Isa,
    convolution: usize,
    /// Channels and steps of the input.
    input: [usize; 2],
    outputs: usize,
    kernel: usize,
    /// Zeros on either side.
    sides: usize,
    norm: Option<usize>,
    relu: bool,
    /// Steps of a max pool.
    pool: usize,
    dropout: Option<(usize, f64)>,
    /// The next layer.
    pub(super) end: usize,
}

/// Intermediate results of a pass that its gradients need.
#[derive(Debug)]
pub(super) struct StepBlockPass {
    x: Vec<f32>,
    /// The convolution's output.
    convolved: Vec<f32>,
    /// Means and variances of the batch norm.
    moments: [Vec<f32>; 2],
    /// Numbers kept by dropout, if there is one.
    kept: Vec<bool>,
}

/// The map of a channel's numbers before the pool.
#[derive(Clone, Copy)]
struct ChannelScale {
    mean: f32,
    /// The inverse deviation.
    steepness: f32,
    weight: f32,
    bias: f32,
}

impl ChannelScale {
    fn apply(self, row: &[f32], to: &mut Vec<f32>) {
        let Self {
            mean,
            steepness,
            weight,
            bias,
        } = self;
        // One factor for both, so that each number is touched once.
        let factor = steepness * weight;
        to.clear();
        to.extend(row.iter().map(|x| (x - mean) * factor + bias));
    }
}

/// The numbers of a tensor, by layer and name.
pub(super) type TensorValues<'a> = dyn Fn(usize, &str) -> &'a [f32] + 'a;
/// Takes a gradient, by layer and name.
pub(super) type TakeGradient<'a> = dyn FnMut(usize, &str, &[f32]) + 'a;

impl StepBlock {
    /// The block that begins with a layer.
    ///
    /// - `layers`: each with the shape of its input
    pub(super) fn of(isa: Isa, layers: &[(StackLayer, StackShape)], at: usize) -> Option<Self> {
        let (StackLayer::Convolution1 { out, kernel, same }, StackShape::Signal(inputs, steps)) =
            *layers.get(at)?
        else {
            return None;
        };
        let mut block = Self {
            isa,
            convolution: at,
            input: [inputs, steps],
            outputs: out,
            kernel,
            sides: if same { kernel / 2 } else { 0 },
            norm: None,
            relu: false,
            pool: 1,
            dropout: None,
            end: at + 1,
        };
        // Each layer is taken only where it follows in this order; anything else ends the block.
        let layer = |at: usize| layers.get(at).map(|(layer, _)| *layer);
        if layer(block.end) == Some(StackLayer::BatchNorm) {
            block.norm = Some(block.end);
            block.end += 1;
        }
        if layer(block.end) == Some(StackLayer::Relu) {
            block.relu = true;
            block.end += 1;
        }
        if let Some(StackLayer::Pool1(by)) = layer(block.end) {
            block.pool = by;
            block.end += 1;
        }
        if let Some(StackLayer::Dropout(share)) = layer(block.end) {
            block.dropout = Some((block.end, share));
            block.end += 1;
        }
        Some(block)
    }

    fn convolution<'a>(&self, weight: &'a [f32]) -> Convolution1<'a> {
        let Self {
            isa,
            input: [inputs, steps],
            outputs,
            kernel,
            sides,
            ..
        } = *self;
        Convolution1 {
            isa,
            inputs,
            outputs,
            kernel,
            sides,
            steps,
            weight,
        }
    }

    fn scales(
        &self,
        tensor: &TensorValues<'_>,
        [mean, variance]: &[Vec<f32>; 2],
    ) -> Vec<ChannelScale> {
        let norm = self
            .norm
            .map(|norm| [tensor(norm, "weight"), tensor(norm, "bias")]);
        let scale_of = |at: usize| match norm {
            None => ChannelScale {
                mean: 0.0,
                steepness: 1.0,
                weight: 1.0,
                bias: 0.0,
            },
            Some([weight, bias]) => ChannelScale {
                mean: mean[at],
                steepness: (1.0 / (f64::from(variance[at]) + EPSILON).sqrt()) as f32,
                weight: weight[at],
                bias: bias[at],
            },
        };
        (0..self.outputs).map(scale_of).collect()
    }

    /// Sets dropped numbers to zero and scales the others up.
    fn mask(&self, kept: &[bool], numbers: &mut [f32]) {
        // Inverted dropout, so that inference needs no scaling.
        let growth = self
            .dropout
            .map_or(1.0, |(_, share)| (1.0 / (1.0 - share)) as f32);
        numbers
            .iter_mut()
            .zip(kept)
            .for_each(|(x, kept)| *x *= if *kept { growth } else { 0.0 });
    }

    /// Outputs for signals, `[n][outputs][steps / pool]`.
    ///
    /// - `x`: `[n][inputs][steps]`
    pub(super) fn forward(
        &self,
        x: Vec<f32>,
        tensor: &TensorValues<'_>,
        pass: PassMode,
    ) -> (Vec<f32>, StepBlockPass) {
        let Self {
            outputs,
            relu,
            pool,
            ..
        } = *self;
        let layer = self.convolution(tensor(self.convolution, "weight"));
        let length = layer.made();
        let convolved = layer.forward(&x, tensor(self.convolution, "bias"));
        let moments = match (self.norm, pass) {
            (None, _) => [Vec::new(), Vec::new()],
            (Some(_), PassMode::Training { .. }) => moments(&convolved, outputs, length),
            (Some(norm), PassMode::Evaluating) => {
                ["running_mean", "running_var"].map(|name| tensor(norm, name).to_vec())
            }
        };
        let scales = self.scales(tensor, &moments);
        let short = length / pool;
        let mut out = vec![0.0; convolved.len() / length * short];
        out.par_chunks_mut(short)
            .zip(convolved.par_chunks(length))
            .enumerate()
            .for_each_init(Vec::new, |scaled, (row, (out, convolved))| {
                // Scaled row by row into scratch memory: the normalised numbers are never stored.
                scales[row % outputs].apply(convolved, scaled);
                let runs = out.iter_mut().zip(scaled.chunks_exact(pool));
                runs.for_each(|(y, run)| *y = largest(run, relu).0);
            });
        let drawn = match (self.dropout, pass) {
            (Some((layer, share)), PassMode::Training { seed, step }) => {
                kept(out.len(), share, seed, step, layer)
            }
            _ => Vec::new(),
        };
        self.mask(&drawn, &mut out);
        (
            out,
            StepBlockPass {
                x,
                convolved,
                moments,
                kept: drawn,
            },
        )
    }

    /// Mean and variance that the batch norm saw.
    pub(super) fn observed(&self, made: &StepBlockPass) -> Option<Observed> {
        let [mean, variance] = made.moments.clone();
        let count = made.convolved.len() / self.outputs;
        self.norm.map(|layer| Observed {
            layer,
            mean,
            variance,
            count,
        })
    }

    /// Gradients of its tensors, and of the input if requested.
    ///
    /// - `d_out`: gradients of the output
    pub(super) fn backward(
        &self,
        made: &StepBlockPass,
        mut d_out: Vec<f32>,
        tensor: &TensorValues<'_>,
        to_inputs: bool,
        take: &mut TakeGradient<'_>,
    ) -> Option<Vec<f32>> {
        let Self {
            outputs,
            relu,
            pool,
            ..
        } = *self;
        let layer = self.convolution(tensor(self.convolution, "weight"));
        let length = layer.made();
        // Backwards: dropout, pool and relu, batch norm, convolution.
        self.mask(&made.kept, &mut d_out);
        let scales = self.scales(tensor, &made.moments);
        let mut d = vec![0.0; made.convolved.len()];
        let places = d
            .par_chunks_mut(length)
            .zip(d_out.par_chunks(length / pool))
            .enumerate();
        places.zip(made.convolved.par_chunks(length)).for_each_init(
            Vec::new,
            |scaled, ((row, (d, d_out)), convolved)| {
                // Computed again instead of stored: one row of scratch memory suffices.
                scales[row % outputs].apply(convolved, scaled);
                for ((d, run), d_out) in d
                    .chunks_exact_mut(pool)
                    .zip(scaled.chunks_exact(pool))
                    .zip(d_out)
                {
                    // A run without a positive number has no maximum, and its gradient ends at the
                    // relu.
                    if let Some(d) = d.get_mut(largest(run, relu).1) {
                        *d = *d_out;
                    }
                }
            },
        );
        if let Some(norm) = self.norm {
            // Gradients of the weight and the bias of each channel.
            let gradients_of = |channel: usize| {
                let rows = made
                    .convolved
                    .chunks_exact(length)
                    .zip(d.chunks_exact(length));
                rows.skip(channel)
                    .step_by(outputs)
                    .fold([0.0; 2], |[weight, bias], (x, d)| {
                        let mean = scales[channel].mean;
                        [
                            weight + sum(x, d, |x, d| (x - mean) * d),
                            bias + sum(d, d, |d, _| d),
                        ]
                    })
            };
            let sums: Vec<[f64; 2]> = (0..outputs).into_par_iter().map(gradients_of).collect();
            let count = (d.len() / outputs) as f64;
            let numbers = d
                .par_chunks_mut(length)
                .zip(made.convolved.par_chunks(length))
                .enumerate();
            numbers.for_each(|(row, (d, x))| {
                let at = row % outputs;
                let ChannelScale {
                    mean,
                    steepness,
                    weight,
                    ..
                } = scales[at];
                let sums = sums[at];
                let shift = (sums[1] / count) as f32;
                let slope = (sums[0] / count) as f32 * steepness * steepness;
                let factor = steepness * weight;
                // The gradient through the batch's own mean and variance (Ioffe and Szegedy, 2015).
                d.iter_mut()
                    .zip(x)
                    .for_each(|(d, x)| *d = factor * (*d - shift - (x - mean) * slope));
            });
            let weight = sums
                .iter()
                .zip(&scales)
                .map(|(sums, scale)| sums[0] as f32 * scale.steepness);
            take(norm, "weight", &weight.collect::<Vec<_>>());
            take(
                norm,
                "bias",
                &sums.iter().map(|sums| sums[1] as f32).collect::<Vec<_>>(),
            );
        }
        let found = layer.backward(&made.x, &d, to_inputs);
        take(self.convolution, "weight", &found.weight);
        take(self.convolution, "bias", &found.bias);
        found.x
    }
}

/// The sum of a term of the numbers of two rows.
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let a_parts = a.chunks_exact(LANES);
    let b_parts = b.chunks_exact(LANES);
    let rest: f32 = a_parts
        .remainder()
        .iter()
        .zip(b_parts.remainder())
        .map(|(a, b)| term(*a, *b))
        .sum();
    for (a, b) in a_parts.zip(b_parts) {
        lanes
            .iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(lane, (a, b))| *lane += term(*a, *b));
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + f64::from(rest)
}

/// Means and variances of channels, of `[n][channels][length]`.
fn moments(x: &[f32], channels: usize, length: usize) -> [Vec<f32>; 2] {
    let count = (x.len() / channels) as f64;
    let moments_of = |channel: usize| {
        let rows = || x.chunks_exact(length).skip(channel).step_by(channels);
        let mean = (rows().map(|row| sum(row, row, |x, _| x)).sum::<f64>() / count) as f32;
        // Around the mean: a difference of sums of squares would lose its digits.
        let square = |row| sum(row, row, |x, _| (x - mean) * (x - mean));
        (mean, (rows().map(square).sum::<f64>() / count) as f32)
    };
    let (mean, variance) = (0..channels).into_par_iter().map(moments_of).unzip();
    [mean, variance]
}

/// The largest number of a run and its first position; with a relu, 0 and no position if none is
/// positive.
fn largest(run: &[f32], relu: bool) -> (f32, usize) {
    let start = if relu {
        (0.0, usize::MAX)
    } else {
        (f32::NEG_INFINITY, 0)
    };
    // NaN stays, so that a loss that has diverged is noticed.
    run.iter().enumerate().fold(start, |most, (at, x)| {
        if *x > most.0 || x.is_nan() {
            (*x, at)
        } else {
            most
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_numbers_counts_and_nan_is_kept() {
        assert_eq!(largest(&[1.0, 3.0, 3.0], true), (3.0, 1));
        assert_eq!(largest(&[-2.0, -1.0, -1.0], false), (-1.0, 1));
        assert_eq!(largest(&[-2.0, 0.0], true), (0.0, usize::MAX));
        assert!(largest(&[1.0, f32::NAN, 2.0], true).0.is_nan());
    }
}
