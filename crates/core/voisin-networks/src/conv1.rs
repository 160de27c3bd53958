//! A convolution over steps and its gradients, as products of overlapping rows. Results do not
//! depend on the other examples of a batch, nor on the number of threads. For: layers in training.

use rayon::prelude::*;

use crate::rows::{Panels, turn};
use voisin_kernels::Isa;

/// A layer and the length of its signals.
#[derive(Debug, Clone, Copy)]
pub struct Convolution1<'a> {
    /// The instruction set that the kernels use.
    pub isa: Isa,
    /// Channels of an input.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Steps that an output is made of.
    pub kernel: usize,
    /// Zeros on either side of an input, fewer than `kernel`.
    pub sides: usize,
    /// Steps of an input.
    pub steps: usize,
    /// `[outputs][inputs][kernel]`
    pub weight: &'a [f32],
}

/// Gradients of a batch.
#[derive(Debug)]
pub struct Convolution1Gradients {
    /// Of the weights, as they lie in them.
    pub weight: Vec<f32>,
    /// Of the bias, `[outputs]`.
    pub bias: Vec<f32>,
    /// Of the inputs, `[n][inputs][steps]`, if requested.
    pub x: Option<Vec<f32>>,
}

impl Convolution1<'_> {
    /// Steps of an output.
    pub fn made(&self) -> usize {
        self.steps + 2 * self.sides + 1 - self.kernel
    }

    fn assert_fits(&self, x: &[f32]) {
        let Self {
            inputs,
            outputs,
            kernel,
            sides,
            steps,
            weight,
            ..
        } = *self;
        assert!(
            inputs > 0 && outputs > 0 && steps > 0 && sides < kernel,
            "channels, steps and kernel"
        );
        assert!(
            kernel <= steps + 2 * sides,
            "a kernel no longer than its input"
        );
        assert_eq!(
            weight.len(),
            outputs * inputs * kernel,
            "the weights of {outputs} outputs"
        );
        assert!(
            x.len().is_multiple_of(inputs * steps),
            "whole examples of {inputs} x {steps}"
        );
    }

    /// Outputs `[n][outputs][made]` of inputs `[n][inputs][steps]`.
    ///
    /// - `bias`: `[outputs]`
    ///
    /// # Panics
    /// If a length does not fit, or one of the numbers is 0.
    pub fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        self.assert_fits(x);
        let Self {
            isa,
            inputs,
            outputs,
            kernel,
            sides,
            steps,
            weight,
        } = *self;
        let made = self.made();
        let tap =
            |from: usize, to: usize| weight[(to * inputs + from % inputs) * kernel + from / inputs];
        let mut panels = Panels::new(isa, kernel * inputs, outputs, tap);
        panels.bias[..outputs].copy_from_slice(bias);
        let mut out = vec![0.0; x.len() / (inputs * steps) * outputs * made];
        out.par_chunks_mut(outputs * made)
            .zip(x.par_chunks(inputs * steps))
            .for_each(|(out, x)| {
                // Steps as rows make each output step a product of `kernel` overlapping rows with
                // one matrix: no copies of windows.
                let mut rows = vec![0.0; (steps + 2 * sides) * inputs];
                turn(x, steps, &mut rows[sides * inputs..], inputs);
                let mut products = vec![0.0; made * panels.width()];
                panels.multiply(&rows, inputs, &mut products);
                turn(&products, panels.width(), out, made);
            });
        out
    }

    /// Gradients from those of the outputs.
    ///
    /// - `x`: the inputs of [`forward`](Self::forward)
    /// - `d_out`: `[n][outputs][made]`
    /// - `to_inputs`: whether those of the inputs are requested
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward(&self, x: &[f32], d_out: &[f32], to_inputs: bool) -> Convolution1Gradients {
        self.assert_fits(x);
        let Self {
            isa,
            inputs,
            outputs,
            kernel,
            sides,
            steps,
            weight,
        } = *self;
        let made = self.made();
        let wide = steps + 2 * sides;
        let examples = x
            .par_chunks(inputs * steps)
            .zip(d_out.par_chunks(outputs * made));
        // For each example, the products of every input channel, moved by a step of the kernel,
        // with every output.
        let products_of_examples: Vec<Vec<f32>> = examples
            .map(|(x, d_out)| {
                let mut rows = vec![0.0; inputs * wide];
                for (row, x) in rows.chunks_exact_mut(wide).zip(x.chunks_exact(steps)) {
                    row[sides..][..steps].copy_from_slice(x);
                }
                let panels = Panels::new(isa, made, outputs, |step, to| d_out[to * made + step]);
                let mut products = vec![0.0; kernel * inputs * panels.width()];
                for (by, products) in products
                    .chunks_exact_mut(inputs * panels.width())
                    .enumerate()
                {
                    panels.multiply(&rows[by..], wide, products);
                }
                products
            })
            .collect();
        let mut d_weight = vec![0.0; weight.len()];
        if let Some((first, others)) = products_of_examples.split_first() {
            // Added in the order of the examples, so that the sum does not depend on the number of
            // threads.
            let mut sums = first.clone();
            for other in others {
                sums.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
            }
            let width = sums.len() / (kernel * inputs);
            for (row, sums) in sums.chunks_exact(width).enumerate() {
                let by = row / inputs;
                let input = row % inputs;
                let places = d_weight[input * kernel + by..]
                    .iter_mut()
                    .step_by(inputs * kernel);
                places.zip(sums).for_each(|(to, sum)| *to = *sum);
            }
        }
        let mut bias = vec![0.0; outputs];
        for (row, d_out) in d_out.chunks_exact(made).enumerate() {
            bias[row % outputs] += d_out.iter().map(|d| f64::from(*d)).sum::<f64>() as f32;
        }
        let back = |weight: &[f32]| {
            // The gradient of a convolution's input is a convolution by the flipped kernel, with
            // the padding's complement.
            let sides = kernel - 1 - sides;
            Convolution1 {
                isa,
                inputs: outputs,
                outputs: inputs,
                kernel,
                sides,
                steps: made,
                weight,
            }
            .forward(d_out, &vec![0.0; inputs])
        };
        let d_x = to_inputs.then(|| {
            let mut flipped = Vec::with_capacity(weight.len());
            for input in 0..inputs {
                let flipped_taps = |output: usize| {
                    weight[(output * inputs + input) * kernel..][..kernel]
                        .iter()
                        .rev()
                };
                flipped.extend((0..outputs).flat_map(flipped_taps));
            }
            back(&flipped)
        });
        Convolution1Gradients {
            weight: d_weight,
            bias,
            x: d_x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, size: f64) -> Vec<f32> {
        (0..n)
            .map(|i| ((i as f64 * 0.618_034).fract() * 2.0 - 1.0) as f32 * size as f32)
            .collect()
    }

    /// The definition, in f64.
    fn by_definition(layer: &Convolution1<'_>, x: &[f32], bias: &[f32]) -> Vec<f64> {
        let Convolution1 {
            inputs,
            outputs,
            kernel,
            sides,
            steps,
            weight,
            ..
        } = *layer;
        let mut out = Vec::new();
        for x in x.chunks_exact(inputs * steps) {
            for output in 0..outputs {
                for at in 0..layer.made() {
                    let mut sum = f64::from(bias[output]);
                    for input in 0..inputs {
                        for by in
                            (0..kernel).filter(|by| (sides..sides + steps).contains(&(at + by)))
                        {
                            let weight = weight[(output * inputs + input) * kernel + by];
                            sum +=
                                f64::from(weight) * f64::from(x[input * steps + at + by - sides]);
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn every_instruction_set_computes_outputs_and_gradients() {
        for [n, inputs, outputs, kernel, sides, steps] in [
            [1, 1, 1, 1, 0, 1],
            [3, 5, 2, 4, 0, 9],
            [2, 33, 19, 5, 2, 40],
            [2, 3, 35, 3, 1, 2],
        ] {
            let x = numbers(n * inputs * steps, 1.0);
            let weight = numbers(outputs * inputs * kernel, 0.5);
            let bias = numbers(outputs, 2.0);
            let layer = |isa| Convolution1 {
                isa,
                inputs,
                outputs,
                kernel,
                sides,
                steps,
                weight: &weight,
            };
            let expected = by_definition(&layer(Isa::PORTABLE), &x, &bias);
            let wanted = numbers(expected.len(), 3.0);
            // The sum of weighted outputs is linear in each parameter.
            let slope = |kind: usize, at: usize| {
                let value = |by: f32| -> f64 {
                    let mut changed = [x.clone(), weight.clone(), bias.clone()];
                    changed[kind][at] += by;
                    let [x, weight, bias] = &changed;
                    let out = by_definition(
                        &Convolution1 {
                            weight,
                            ..layer(Isa::PORTABLE)
                        },
                        x,
                        bias,
                    );
                    out.iter()
                        .zip(&wanted)
                        .map(|(y, d)| y * f64::from(*d))
                        .sum()
                };
                (value(0.5) - value(-0.5)) / 1.0
            };
            for isa in Isa::available() {
                let found = layer(isa).forward(&x, &bias);
                assert_eq!(found.len(), expected.len());
                let off = found
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| (f64::from(*a) - b).abs());
                assert!(off.fold(0.0, f64::max) < 1e-4, "{isa} {inputs} {outputs}");
                let gradients = layer(isa).backward(&x, &wanted, true);
                let found = [gradients.x.unwrap(), gradients.weight, gradients.bias];
                assert_eq!(
                    found.each_ref().map(Vec::len),
                    [x.len(), weight.len(), bias.len()]
                );
                for (kind, gradient) in found.iter().enumerate() {
                    for at in (0..gradient.len()).step_by(1 + gradient.len() / 30) {
                        let slope = slope(kind, at);
                        let found = f64::from(gradient[at]);
                        let error = (slope - found).abs();
                        assert!(
                            error < 1e-3 * (1.0 + slope.abs()),
                            "{isa}, {kind} {at}: {slope}, {found}"
                        );
                    }
                }
                assert!(layer(isa).backward(&x, &wanted, false).x.is_none());
            }
        }
    }
}
