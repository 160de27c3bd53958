//! A long short-term memory: on a CPU one operation of voisin's kernels, on a GPU some fifteen of Candle's for each step.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use candle_nn::ops::sigmoid;

use voisin_kernels::lstm::{KEPT, Lstm};
use voisin_kernels::{Isa, isa};

/// States `[n, units]`, or `[n, units, steps]`, of a signal `[n, channels, steps]`. Gates stand in PyTorch's order.
pub(super) fn recurrent(
    x: &Tensor,
    own: &dyn Fn(&str) -> Tensor,
    all: bool,
    one_bias: bool,
) -> Result<Tensor> {
    let x = x.transpose(1, 2)?.contiguous()?;
    let mut bias = own("bias_ih");
    if !one_bias {
        bias = (bias + own("bias_hh"))?;
    }
    let weights = Tensor::cat(&[own("weight_ih"), own("weight_hh"), bias.unsqueeze(1)?], 1)?;
    let states = match isa().ok().filter(|_| x.device().is_cpu()) {
        Some(isa) => x.apply_op2(&weights, LstmPass { isa, all, kept: Mutex::default() })?,
        None if all => in_candle(&x, &weights)?,
        None => in_candle(&x, &weights)?.narrow(1, x.dim(1)? - 1, 1)?,
    };
    if all { states.transpose(1, 2) } else { states.squeeze(1) }
}

/// States `[n, steps, units]` by Candle's operations.
///
/// - `x`: `[n, steps, channels]`
/// - `weights`: as [`Lstm`] has them, `[4 · units, channels + units + 1]`
fn in_candle(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let (n, steps, channels) = x.dims3()?;
    let units = weights.dim(0)? / 4;
    let own = |from: usize, count: usize| weights.narrow(1, from, count)?.t();
    let back = own(channels, units)?;
    let into = x.contiguous()?.reshape((n * steps, channels))?.matmul(&own(0, channels)?)?;
    let into = into.broadcast_add(&own(channels + units, 1)?)?.reshape((n, steps, ()))?;
    let mut state = Tensor::zeros((n, units), into.dtype(), into.device())?;
    let mut cell = state.clone();
    let mut states = Vec::with_capacity(steps);
    for step in 0..steps {
        let gates = (into.narrow(1, step, 1)?.squeeze(1)? + state.matmul(&back)?)?;
        let gate = |number: usize| gates.narrow(1, number * units, units)?.contiguous();
        let (input, forget) = (sigmoid(&gate(0)?)?, sigmoid(&gate(1)?)?);
        let (new, output) = (gate(2)?.tanh()?, sigmoid(&gate(3)?)?);
        cell = ((forget * cell)? + (input * new)?)?;
        state = (output * cell.tanh()?)?;
        states.push(state.clone());
    }
    Tensor::stack(&states, 1)
}

/// From inputs `[n, steps, channels]` and weights `[4 · units, channels + units + 1]` to the states of all steps or of the
/// last one, `[n, steps or 1, units]`.
struct LstmPass {
    isa: Isa,
    all: bool,
    /// What the pass leaves for its gradients.
    kept: Mutex<Vec<f32>>,
}

impl LstmPass {
    fn of<'a>(&self, x: &Shape, weights: &'a [f32], rows: &Shape) -> Result<Lstm<'a>> {
        let ((_, steps, channels), units) = (x.dims3()?, rows.dims2()?.0 / 4);
        Ok(Lstm { isa: self.isa, units, channels, steps, weights })
    }

    /// Steps whose states come out.
    fn first(&self, steps: usize) -> usize {
        if self.all { 0 } else { steps - 1 }
    }
}

/// The numbers of a tensor without gaps.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let range =
        layout.contiguous_offsets().ok_or_else(|| candle_core::Error::msg("expected contiguous tensors"))?;
    Ok(&storage.as_slice()?[range.0..range.1])
}

impl CustomOp2 for LstmPass {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let layer = self.of(x_layout.shape(), floats(weights, weights_layout)?, weights_layout.shape())?;
        let (units, first) = (layer.units, self.first(layer.steps));
        let kept = layer.forward(floats(x, x_layout)?);
        let examples = kept.chunks_exact(layer.steps * KEPT * units);
        let n = examples.len();
        let steps = examples.flat_map(|example| example.chunks_exact(KEPT * units).skip(first));
        let states = steps.flat_map(|kept| &kept[..units]).copied().collect();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok((CpuStorage::F32(states), (n, layer.steps - first, units).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let values = numbers(weights)?;
        let layer = self.of(x.shape(), &values, weights.shape())?;
        let (n, first) = (x.dim(0)?, self.first(layer.steps));
        let mut d_states = vec![0.0; n * layer.steps * layer.units];
        let found = numbers(gradient)?;
        let parts = d_states.chunks_exact_mut(layer.steps * layer.units);
        for (to, found) in parts.zip(found.chunks_exact((layer.steps - first) * layer.units)) {
            to[first * layer.units..].copy_from_slice(found);
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let [d_x, d_weights] = layer.backward(&numbers(x)?, &kept, &d_states);
        let tensor = |values, of: &Tensor| Tensor::from_vec(values, of.shape(), of.device());
        Ok((Some(tensor(d_x, x)?), Some(tensor(d_weights, weights)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use voisin_base::random::Random;

    #[test]
    fn kernels_give_the_states_and_gradients_of_candle_on_every_instruction_set() {
        let mut random = Random::stream(1, 1);
        let mut var = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal() as f32).collect();
            Var::from_slice(&values, shape, &Device::Cpu).unwrap()
        };
        for (n, steps, channels, units) in [(1, 1, 2, 3), (5, 6, 9, 20), (13, 3, 16, 64)] {
            let (x, weights) = (var(&[n, steps, channels]), var(&[4 * units, channels + units + 1]));
            let wanted = var(&[n, steps, units]);
            let judged = |states: Tensor, wanted: Tensor| {
                let gradients = (&states * wanted).unwrap().sum_all().unwrap().backward().unwrap();
                let values = [&states, gradients.get(&x).unwrap(), gradients.get(&weights).unwrap()];
                values.map(|one| one.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            let last = |states: &Tensor| states.narrow(1, steps - 1, 1).unwrap();
            let states = in_candle(&x, &weights).unwrap();
            let of_last = judged(last(&states), last(&wanted));
            let expected = [of_last, judged(states, wanted.as_tensor().clone())];
            for (isa, all) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let states = x.apply_op2(&weights, LstmPass { isa, all, kept: Mutex::default() }).unwrap();
                let found = judged(states, if all { wanted.as_tensor().clone() } else { last(&wanted) });
                let expected = &expected[usize::from(all)];
                for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                    assert!(
                        (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                        "{isa}: {found} {expected}"
                    );
                }
            }
        }
    }
}
