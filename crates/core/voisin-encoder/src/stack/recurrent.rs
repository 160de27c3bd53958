//! A long short-term memory by voisin's kernels; Candle takes some fifteen operations for each
//! step.

use super::block::{TakeGradient, TensorValues};
use super::layer::{StackLayer, StackShape};
use voisin_kernels::Isa;
use voisin_networks::lstm::{KEPT, Lstm};
use voisin_networks::rows::turn;

/// One layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LstmLayer {
    isa: Isa,
    layer: usize,
    channels: usize,
    steps: usize,
    units: usize,
    all: bool,
    one_bias: bool,
}

/// Intermediate results of a pass that its gradients need.
#[derive(Debug)]
pub(super) struct LstmLayerPass {
    /// `[n][steps][channels]`
    x: Vec<f32>,
    weights: Vec<f32>,
    kept: Vec<f32>,
}

impl LstmLayer {
    /// Layer `at`, if it is one.
    pub(super) fn of(
        isa: Isa,
        (layer, input): (StackLayer, StackShape),
        at: usize,
    ) -> Option<Self> {
        let (
            StackLayer::Recurrent {
                units,
                all,
                one_bias,
            },
            StackShape::Signal(channels, steps),
        ) = (layer, input)
        else {
            return None;
        };
        Some(Self {
            isa,
            layer: at,
            channels,
            steps,
            units,
            all,
            one_bias,
        })
    }

    fn kernel<'a>(&self, weights: &'a [f32]) -> Lstm<'a> {
        let Self {
            isa,
            units,
            channels,
            steps,
            ..
        } = *self;
        Lstm {
            isa,
            units,
            channels,
            steps,
            weights,
        }
    }

    /// States `[n][units]`, or `[n][units][steps]`.
    ///
    /// - `x`: `[n][channels][steps]`
    pub(super) fn forward(
        &self,
        x: &[f32],
        tensor: &TensorValues<'_>,
    ) -> (Vec<f32>, LstmLayerPass) {
        let Self {
            layer,
            channels,
            steps,
            units,
            all,
            one_bias,
            ..
        } = *self;
        // The kernel takes steps in order, each with contiguous channels.
        let mut turned = vec![0.0; x.len()];
        let cells = channels * steps;
        let examples = turned.chunks_exact_mut(cells).zip(x.chunks_exact(cells));
        examples.for_each(|(to, x)| turn(x, steps, to, channels));
        let values_of = |name: &str| tensor(layer, name);
        let rows = values_of("weight_ih")
            .chunks_exact(channels)
            .zip(values_of("weight_hh").chunks_exact(units));
        let mut weights = Vec::with_capacity(4 * units * (channels + units + 1));
        for (row, (from, back)) in rows.enumerate() {
            weights.extend_from_slice(from);
            weights.extend_from_slice(back);
            // PyTorch has two biases, of which only the sum counts.
            weights.push(
                values_of("bias_ih")[row]
                    + if one_bias {
                        0.0
                    } else {
                        values_of("bias_hh")[row]
                    },
            );
        }
        let kept = self.kernel(&weights).forward(&turned);
        let width = KEPT * units;
        let mut states = Vec::with_capacity(kept.len() / KEPT);
        for kept in kept.chunks_exact(steps * width) {
            if all {
                states.extend((0..units).flat_map(|unit| kept.iter().skip(unit).step_by(width)));
            } else {
                states.extend_from_slice(&kept[(steps - 1) * width..][..units]);
            }
        }
        (
            states,
            LstmLayerPass {
                x: turned,
                weights,
                kept,
            },
        )
    }

    /// Gradients of its tensors, and of the input, `[n][channels][steps]`, or nothing.
    ///
    /// - `d_out`: gradients of the output of [`forward`](Self::forward)
    /// - `to_inputs`: whether those of the input are requested
    pub(super) fn backward(
        &self,
        made: &LstmLayerPass,
        d_out: &[f32],
        to_inputs: bool,
        take: &mut TakeGradient<'_>,
    ) -> Vec<f32> {
        let Self {
            layer,
            channels,
            steps,
            units,
            all,
            one_bias,
            ..
        } = *self;
        let mut d_states = vec![0.0; made.kept.len() / KEPT];
        // Only the last state has a gradient from outside, unless all are outputs.
        let gradients = d_out.chunks_exact(if all { steps * units } else { units });
        for (to, gradients) in d_states.chunks_exact_mut(steps * units).zip(gradients) {
            if all {
                turn(gradients, steps, to, units);
            } else {
                to[(steps - 1) * units..].copy_from_slice(gradients);
            }
        }
        let kernel = self.kernel(&made.weights);
        let [d_turned, d_weights] = kernel.backward(&made.x, &made.kept, &d_states, to_inputs);
        let part = |from: usize, to: usize| {
            let mut columns = Vec::with_capacity(4 * units * (to - from));
            let rows = d_weights.chunks_exact(channels + units + 1);
            rows.for_each(|row| columns.extend_from_slice(&row[from..to]));
            columns
        };
        take(layer, "weight_ih", &part(0, channels));
        take(layer, "weight_hh", &part(channels, channels + units));
        let bias = part(channels + units, channels + units + 1);
        take(layer, "bias_ih", &bias);
        if !one_bias {
            // Both biases are added, so both have the same gradient.
            take(layer, "bias_hh", &bias);
        }
        let mut d_x = vec![0.0; d_turned.len()];
        let cells = channels * steps;
        let examples = d_x
            .chunks_exact_mut(cells)
            .zip(d_turned.chunks_exact(cells));
        examples.for_each(|(to, d)| turn(d, channels, to, steps));
        d_x
    }
}
