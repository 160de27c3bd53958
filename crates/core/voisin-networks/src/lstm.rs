//! A long short-term memory (Hochreiter and Schmidhuber, 1997) and its gradients.
//!
//! Gates are in PyTorch's order: input, forget, new, output. All products are those of
//! [`rows`](crate::rows); results do not depend on the other examples of a batch, nor on the number
//! of threads. For: layers in training.

use rayon::prelude::*;

use crate::rows::{Panels, turn};
use crate::simd::{Work, vectorised};
use voisin_kernels::Isa;

/// Gates of a unit.
const GATES: usize = 4;
/// Numbers that [`Lstm::forward`] stores per unit and step: state, cell, gates.
pub const KEPT: usize = 2 + GATES;

/// A layer and the length of its signals.
#[derive(Debug, Clone, Copy)]
pub struct Lstm<'a> {
    /// The instruction set that the kernels use.
    pub isa: Isa,
    /// Numbers of the state.
    pub units: usize,
    /// Numbers of an input.
    pub channels: usize,
    /// Inputs of an example.
    pub steps: usize,
    /// Weights of each gate and unit: of the input, of the state before, and the bias, `[4 ·
    /// units][channels + units + 1]`.
    pub weights: &'a [f32],
}

impl Lstm<'_> {
    fn width(&self) -> usize {
        self.channels + self.units + 1
    }

    /// Number of examples in this many inputs.
    fn examples(&self, x: &[f32]) -> usize {
        let Self {
            units,
            channels,
            steps,
            ..
        } = *self;
        assert!(
            units > 0 && channels > 0 && steps > 0,
            "units, channels and steps"
        );
        assert_eq!(
            self.weights.len(),
            GATES * units * self.width(),
            "the weights of {units} units"
        );
        assert!(
            x.len().is_multiple_of(steps * channels),
            "whole examples of {steps} steps"
        );
        x.len() / (steps * channels)
    }

    /// States, cells and activated gates of every step, `[n][steps][6 · units]`.
    ///
    /// - `x`: `[n][steps][channels]`
    ///
    /// # Panics
    /// If a length does not fit, or one of the numbers is 0.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let n = self.examples(x);
        let Self {
            isa,
            units,
            channels,
            steps,
            weights,
        } = *self;
        let gates = GATES * units;
        let kept = KEPT * units;
        let width = self.width();
        let mut input = Panels::new(isa, channels, gates, |from, to| weights[to * width + from]);
        input
            .bias
            .iter_mut()
            .zip(weights.chunks_exact(width))
            .for_each(|(bias, row)| *bias = row[width - 1]);
        let back = Panels::new(isa, units, gates, |from, to| {
            weights[to * width + channels + from]
        });
        let mut all = vec![0.0; n * steps * kept];
        // Examples are independent, steps are not: each thread takes its examples through all
        // steps.
        let together = n.div_ceil(rayon::current_num_threads()).max(1);
        let parts = all
            .par_chunks_mut(together * steps * kept)
            .zip(x.par_chunks(together * steps * channels));
        parts.for_each(|(all, x)| {
            let n = x.len() / (steps * channels);
            // The input's part of all gates is one large product; only the state's part is
            // sequential.
            let mut into = vec![0.0; n * steps * input.outputs];
            input.multiply(x, channels, &mut into);
            let mut from = vec![0.0; n * back.outputs];
            for step in 0..steps {
                if step > 0 {
                    back.multiply(&all[(step - 1) * kept..], steps * kept, &mut from);
                }
                for (example, from) in from.chunks_exact(back.outputs).enumerate() {
                    let at = example * steps + step;
                    let (before, now) = all.split_at_mut(at * kept);
                    let before = if step > 0 {
                        &before[(at - 1) * kept + units..][..units]
                    } else {
                        &[]
                    };
                    let into = &into[at * input.outputs..][..gates];
                    vectorised(
                        isa,
                        LstmStep {
                            into,
                            from: &from[..gates],
                            before,
                            now: &mut now[..kept],
                        },
                    );
                }
            }
        });
        all
    }

    /// Gradients of the inputs, `[n][steps][channels]`, or nothing, and of the weights, as they lie
    /// in them.
    ///
    /// - `x`, `kept`: input and output of [`forward`](Self::forward)
    /// - `d_states`: gradients of the states, `[n][steps][units]`
    /// - `to_inputs`: whether those of the inputs are requested
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward(
        &self,
        x: &[f32],
        kept: &[f32],
        d_states: &[f32],
        to_inputs: bool,
    ) -> [Vec<f32>; 2] {
        let n = self.examples(x);
        let Self {
            isa,
            units,
            channels,
            steps,
            weights,
        } = *self;
        let gates = GATES * units;
        let wide = KEPT * units;
        let width = self.width();
        let rows = n * steps;
        assert!(
            kept.len() == rows * wide && d_states.len() == rows * units,
            "what forward gave"
        );
        let mut d_gates = vec![0.0; rows * gates];
        let back = Panels::new(isa, gates, units, |from, to| {
            weights[from * width + channels + to]
        });
        let input = Panels::new(isa, gates, channels, |from, to| weights[from * width + to]);
        let together = n.div_ceil(rayon::current_num_threads()).max(1);
        d_gates
            .par_chunks_mut(together * steps * gates)
            .zip(kept.par_chunks(together * steps * wide))
            .zip(d_states.par_chunks(together * steps * units))
            .for_each(|((d_gates, kept), d_states)| {
                let n = d_states.len() / (steps * units);
                let mut d_before = vec![0.0; n * back.outputs];
                let mut d_cells = vec![0.0; n * units];
                for step in (0..steps).rev() {
                    for (example, d_cell) in d_cells.chunks_exact_mut(units).enumerate() {
                        let at = example * steps + step;
                        let before = if step > 0 {
                            &kept[(at - 1) * wide + units..][..units]
                        } else {
                            &[]
                        };
                        let work = LstmStepGradient {
                            kept: &kept[at * wide..][..wide],
                            before,
                            d_state: &d_states[at * units..][..units],
                            d_next: &d_before[example * back.outputs..][..units],
                            d_cell,
                            d_gates: &mut d_gates[at * gates..][..gates],
                        };
                        vectorised(isa, work);
                    }
                    if step > 0 {
                        back.multiply(&d_gates[step * gates..], steps * gates, &mut d_before);
                    }
                }
            });
        let mut d_x = vec![0.0; if to_inputs { rows * channels } else { 0 }];
        let parts = d_x.par_chunks_mut(together * steps * channels);
        parts
            .zip(d_gates.par_chunks(together * steps * gates))
            .for_each(|(d_x, d_gates)| {
                let mut found = vec![0.0; d_x.len() / channels * input.outputs];
                input.multiply(d_gates, gates, &mut found);
                for (to, found) in d_x
                    .chunks_exact_mut(channels)
                    .zip(found.chunks_exact(input.outputs))
                {
                    to.copy_from_slice(&found[..channels]);
                }
            });
        let d_weights = if n > 0 {
            self.weight_gradients(x, kept, &d_gates)
        } else {
            vec![0.0; weights.len()]
        };
        [d_x, d_weights]
    }

    /// Gradients of the weights: what each column of inputs, states before and ones gives with each
    /// gate's gradients.
    fn weight_gradients(&self, x: &[f32], kept: &[f32], d_gates: &[f32]) -> Vec<f32> {
        let Self {
            isa,
            units,
            channels,
            steps,
            ..
        } = *self;
        let gates = GATES * units;
        let width = self.width();
        let wide = KEPT * units;
        let rows = x.len() / self.channels;
        let mut columns = vec![0.0; width * rows];
        turn(x, channels, &mut columns[..channels * rows], rows);
        // Each row has the state of the step before; before the first step that is zeros.
        turn(
            &kept[..(rows - 1) * wide],
            wide,
            &mut columns[channels * rows + 1..],
            rows,
        );
        for states in columns[channels * rows..(width - 1) * rows].chunks_exact_mut(rows) {
            states
                .iter_mut()
                .step_by(steps)
                .for_each(|first| *first = 0.0);
        }
        columns[(width - 1) * rows..].fill(1.0);
        let panels = Panels::new(isa, rows, gates, |row, gate| d_gates[row * gates + gate]);
        let mut found = vec![0.0; width * panels.outputs];
        let together = width.div_ceil(rayon::current_num_threads());
        let parts = found
            .par_chunks_mut(together * panels.outputs)
            .zip(columns.par_chunks(together * rows));
        parts.for_each(|(found, columns)| panels.multiply(columns, rows, found));
        let mut turned = vec![0.0; gates * width];
        turn(&found, panels.outputs, &mut turned, width);
        turned
    }
}

/// One step of one example.
struct LstmStep<'a> {
    into: &'a [f32],
    from: &'a [f32],
    /// The previous cell; empty: zeros.
    before: &'a [f32],
    now: &'a mut [f32],
}

impl Work for LstmStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let units = self.into.len() / GATES;
        let (state, rest) = self.now.split_at_mut(units);
        let (cell, gates) = rest.split_at_mut(units);
        for ((gate, into), from) in gates.iter_mut().zip(self.into).zip(self.from) {
            *gate = into + from;
        }
        let (input, rest) = gates.split_at_mut(units);
        let (forget, rest) = rest.split_at_mut(units);
        let (new, output) = rest.split_at_mut(units);
        for gate in [&mut *input, forget, output] {
            gate.iter_mut().for_each(|x| *x = sigmoid(*x));
        }
        new.iter_mut().for_each(|x| *x = tanh(*x));
        for ((cell, input), new) in cell.iter_mut().zip(&*input).zip(&*new) {
            *cell = input * new;
        }
        for ((cell, forget), before) in cell.iter_mut().zip(&*forget).zip(self.before) {
            *cell += forget * before;
        }
        for ((state, cell), output) in state.iter_mut().zip(&*cell).zip(&*output) {
            *state = output * tanh(*cell);
        }
    }
}

/// The gradients of one step of one example.
struct LstmStepGradient<'a> {
    kept: &'a [f32],
    before: &'a [f32],
    d_state: &'a [f32],
    /// Gradient of the state, from the step after.
    d_next: &'a [f32],
    /// Gradient of the cell from the step after; then the one for the cell before.
    d_cell: &'a mut [f32],
    d_gates: &'a mut [f32],
}

impl Work for LstmStepGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let units = self.d_cell.len();
        let (cell, gates) = self.kept[units..].split_at(units);
        let (input, rest) = gates.split_at(units);
        let (forget, rest) = rest.split_at(units);
        let (new, output) = rest.split_at(units);
        let (d_input, rest) = self.d_gates.split_at_mut(units);
        let (d_forget, rest) = rest.split_at_mut(units);
        let (d_new, d_output) = rest.split_at_mut(units);
        let d_state = &self.d_state[..units];
        let d_next = &self.d_next[..units];
        for at in 0..units {
            let d = d_state[at] + d_next[at];
            let open = tanh(cell[at]);
            d_output[at] = d * open * output[at] * (1.0 - output[at]);
            let d_cell = self.d_cell[at] + d * output[at] * (1.0 - open * open);
            d_input[at] = d_cell * new[at] * input[at] * (1.0 - input[at]);
            d_new[at] = d_cell * input[at] * (1.0 - new[at] * new[at]);
            d_forget[at] = d_cell * forget[at] * (1.0 - forget[at]);
            self.d_cell[at] = d_cell * forget[at];
        }
        for (at, d_forget) in d_forget.iter_mut().enumerate() {
            *d_forget *= self.before.get(at).copied().unwrap_or(0.0);
        }
    }
}

/// e to the power of `x`, within 3 units in the last place, without a call that would keep loops
/// from being vectorised; beyond ±87 that of ±87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added and taken off again it rounds; the lowest bits of the sum are the rounded number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first of so few bits that multiples of it are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * LN_2[0] - whole * LN_2[1];
    // Taylor's series, whose rest is below 2e-8 for |r| <= ln 2 / 2.
    let mut sum = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + factor;
    }
    sum * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    2.0 / (1.0 + exp(-2.0 * x)) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, size: f64) -> Vec<f32> {
        (0..n)
            .map(|i| ((i as f64 * 0.618_034).fract() * 2.0 - 1.0) as f32 * size as f32)
            .collect()
    }

    /// Sum of all states times what is wanted of them, in f64 by the definition.
    fn by_definition(layer: &Lstm<'_>, x: &[f32], wanted: &[f32]) -> f64 {
        let Lstm {
            units,
            channels,
            steps,
            weights,
            ..
        } = *layer;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut sum = 0.0;
        for (example, x) in x.chunks_exact(steps * channels).enumerate() {
            let mut state = vec![0.0f64; units];
            let mut cell = vec![0.0f64; units];
            for (step, x) in x.chunks_exact(channels).enumerate() {
                let heard: Vec<f64> = x
                    .iter()
                    .map(|x| f64::from(*x))
                    .chain(state.clone())
                    .chain([1.0])
                    .collect();
                let gate = |at: usize| -> f64 {
                    let row = &weights[at * heard.len()..][..heard.len()];
                    row.iter()
                        .zip(&heard)
                        .map(|(weight, heard)| f64::from(*weight) * heard)
                        .sum()
                };
                for u in 0..units {
                    let [input, forget, new, output] =
                        [0, 1, 2, 3].map(|kind| gate(kind * units + u));
                    cell[u] = sigmoid(forget) * cell[u] + sigmoid(input) * new.tanh();
                    state[u] = sigmoid(output) * cell[u].tanh();
                    sum += state[u] * f64::from(wanted[(example * steps + step) * units + u]);
                }
            }
        }
        sum
    }

    #[test]
    fn the_exponential_is_exact_to_the_last_places() {
        for i in -8700..=8700 {
            let x = i as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) / expected - 1.0).abs() < 4e-7,
                "{x}: {} {expected}",
                exp(x)
            );
        }
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37 && tanh(-1e30) == -1.0);
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn every_instruction_set_computes_states_and_gradients() {
        for (n, units, channels, steps) in
            [(1, 1, 1, 1), (3, 5, 2, 4), (14, 33, 7, 7), (2, 64, 40, 3)]
        {
            let x = numbers(n * steps * channels, 2.0);
            let weights = numbers(
                4 * units * (channels + units + 1),
                1.0 / (units as f64).sqrt(),
            );
            let wanted = numbers(n * steps * units, 1.0);
            let layer = |isa| Lstm {
                isa,
                units,
                channels,
                steps,
                weights: &weights,
            };
            let expected = by_definition(&layer(Isa::PORTABLE), &x, &wanted);
            for isa in Isa::available() {
                let kept = layer(isa).forward(&x);
                let states = kept
                    .chunks_exact(KEPT * units)
                    .flat_map(|kept| &kept[..units]);
                let found: f64 = states.zip(&wanted).map(|(s, w)| f64::from(s * w)).sum();
                assert!(
                    (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                    "{isa}: {found}, {expected}"
                );
                let gradients = layer(isa).backward(&x, &kept, &wanted, true);
                assert_eq!(gradients.each_ref().map(Vec::len), [x.len(), weights.len()]);
                let slope = |kind: usize, at: usize| {
                    let moved = |by: f32| {
                        let mut changed = [x.clone(), weights.clone()];
                        changed[kind][at] += by;
                        by_definition(
                            &Lstm {
                                weights: &changed[1],
                                ..layer(isa)
                            },
                            &changed[0],
                            &wanted,
                        )
                    };
                    (moved(1e-2) - moved(-1e-2)) / 2e-2
                };
                for (kind, gradient) in gradients.iter().enumerate() {
                    for at in (0..gradient.len()).step_by(1 + gradient.len() / 40) {
                        let slope = slope(kind, at);
                        let found = f64::from(gradient[at]);
                        let error = (slope - found).abs();
                        assert!(
                            error < 2e-3 * (1.0 + slope.abs()),
                            "{isa}, {units}, {kind} {at}: {slope}, {found}"
                        );
                    }
                }
            }
        }
    }
}
