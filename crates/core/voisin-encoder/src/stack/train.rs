//! Training a network of layers: on a CPU its first blocks of convolutions by voisin's kernels; everything else, and on
//! a GPU all of it, in Candle.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{DType, Module, Tensor, Var};
use candle_nn::VarBuilder;

use super::block::{StepBlock, StepBlockPass};
use super::forward::{self, CandleLayers, Observed, PassMode};
use super::front::{Front, FrontTrain, find};
use super::layer::{StackLayer, StackShape};
use super::list::{FirstWeights, Stack, StackTensor};
use super::recurrent::{LstmLayer, LstmLayerPass};
use crate::{Device, EncoderError};
use voisin_kernels::Isa;
use voisin_networks::conv::FastChain;

/// Share of a new batch in the running statistics.
const MOMENTUM: f32 = 0.1;
/// Bytes that are allocated and freed once: glibc keeps twice the largest block ever freed at its heap's end, and
/// returns the rest to the system, which would be faulted in again at each step.
const GIVEN_BACK: usize = 30 << 20;

/// A network of layers in training; [`forward`](Self::forward) and [`backward`](Self::backward) compute gradients
/// of its parameters.
#[derive(Debug)]
pub struct StackTrain {
    stack: Stack,
    device: Device,
    seed: u64,
    tensors: Vec<StackTensor>,
    /// One per tensor; those of running statistics stay empty.
    gradients: Vec<Vec<f32>>,
    isa: Option<Isa>,
    front: Option<FrontTrain>,
    /// The parts after the front.
    parts: Vec<StackPart>,
    /// Values of each part's last pass for its gradients.
    last: Vec<StackPartPass>,
}

/// Layers that are computed together.
#[derive(Debug)]
enum StackPart {
    Block(StepBlock),
    Lstm(LstmLayer),
    Candle(Range<usize>),
}

/// A part's values of a pass for its gradients.
#[derive(Debug)]
enum StackPartPass {
    Block(StepBlockPass),
    Lstm(LstmLayerPass),
    Candle {
        /// The input, if its gradient is requested.
        input: Option<Var>,
        /// Parameters, each with the number of its tensor.
        vars: Vec<(usize, Var)>,
        outputs: Tensor,
    },
}

/// The parts of a network from a layer on.
///
/// - `isa`: for the kernels; `None`: use Candle for all layers
fn parts(stack: &Stack, start: usize, isa: Option<Isa>) -> Vec<StackPart> {
    let layers: Vec<(StackLayer, StackShape)> = stack.layers().collect();
    let mut found = Vec::new();
    let mut at = start;
    while let Some(layer) = layers.get(at) {
        if let Some(block) = isa.and_then(|isa| StepBlock::of(isa, &layers, at)) {
            found.push(StackPart::Block(block));
            at = block.end;
            continue;
        }
        match (
            isa.and_then(|isa| LstmLayer::of(isa, *layer, at)),
            found.last_mut(),
        ) {
            (Some(memory), _) => found.push(StackPart::Lstm(memory)),
            (_, Some(StackPart::Candle(range))) if range.end == at => range.end += 1,
            // The same numbers in the same order, by another name.
            _ if matches!(
                layer.0,
                StackLayer::Frames | StackLayer::Sequence | StackLayer::Flatten
            ) => {}
            _ => found.push(StackPart::Candle(at..at + 1)),
        }
        at += 1;
    }
    found
}

/// The numbers of a tensor.
fn numbers(tensor: &Tensor) -> Result<Vec<f32>, EncoderError> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

impl StackTrain {
    /// A network with initial weights by a seed.
    pub fn new(stack: Stack, seed: u64, first: FirstWeights, device: Device) -> Self {
        let isa = kernels(&device);
        let net = Self::in_candle(stack, seed, first, device);
        if let Some(isa) = isa {
            net.by_kernels(isa)
        } else {
            net
        }
    }

    /// The same with every layer in Candle, for comparison.
    pub fn in_candle(stack: Stack, seed: u64, first: FirstWeights, device: Device) -> Self {
        let tensors = stack.tensors(seed, first);
        let length = |one: &StackTensor| {
            if one.is_parameter() {
                one.values.len()
            } else {
                0
            }
        };
        let gradients = tensors.iter().map(|one| vec![0.0; length(one)]).collect();
        let parts = parts(&stack, 0, None);
        Self {
            stack,
            device,
            seed,
            tensors,
            gradients,
            isa: None,
            front: None,
            parts,
            last: Vec::new(),
        }
    }

    fn by_kernels(mut self, isa: Isa) -> Self {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(GIVEN_BACK)));
        let front = Front::of(&self.stack, isa);
        self.parts = parts(
            &self.stack,
            front.as_ref().map_or(0, Front::layers),
            Some(isa),
        );
        self.front = front.map(FrontTrain::new);
        self.isa = Some(isa);
        self
    }

    /// Its layers.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Parameters and running statistics.
    pub fn tensors(&self) -> &[StackTensor] {
        &self.tensors
    }

    /// Sets the values of every tensor.
    ///
    /// - `get`: the values of a name
    /// - returns: the first name whose values are missing or of another length
    pub fn restore(&mut self, mut get: impl FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        for tensor in &mut self.tensors {
            match get(&tensor.name) {
                Some(values) if values.len() == tensor.values.len() => tensor.values = values,
                _ => return Err(tensor.name.clone()),
            }
        }
        Ok(())
    }

    /// Parameters to change, each with its gradient and whether it is a matrix or a kernel, which alone decay.
    pub fn blocks(&mut self) -> impl Iterator<Item = (&mut [f32], &[f32], bool)> {
        self.tensors
            .iter_mut()
            .zip(&self.gradients)
            .filter(|(tensor, _)| tensor.is_parameter())
            .map(|(tensor, gradient)| {
                let decays = tensor.shape.len() > 1;
                (tensor.values.as_mut_slice(), gradient.as_slice(), decays)
            })
    }

    /// Outputs `[n][classes]` in training: batch norms by the batch, which also moves their running statistics, and
    /// dropout by seed and step.
    ///
    /// - `x`: `n` examples
    pub fn forward(&mut self, x: &[f32], n: usize, step: u64) -> Result<Vec<f32>, EncoderError> {
        let mut x = match &mut self.front {
            Some(front) => front.forward(x, n, &mut self.tensors, self.seed, step),
            None => x.to_vec(),
        };
        let device = self.device.candle();
        let mut observed: Vec<Observed> = Vec::new();
        let pass = PassMode::Training {
            seed: self.seed,
            step,
        };
        self.last.clear();
        let tensor =
            |layer: usize, name: &str| &*self.tensors[find(&self.tensors, layer, name)].values;
        for (at, part) in self.parts.iter().enumerate() {
            let left = match part {
                StackPart::Block(block) => {
                    let (y, made) = block.forward(x, &tensor, pass);
                    observed.extend(block.observed(&made));
                    x = y;
                    StackPartPass::Block(made)
                }
                StackPart::Lstm(memory) => {
                    let (y, made) = memory.forward(&x, &tensor);
                    x = y;
                    StackPartPass::Lstm(made)
                }
                StackPart::Candle(range) => {
                    let mut input = forward::batch(&x, n, &self.stack.axes(range.start), device)?;
                    // The gradient of the spectrogram is not needed.
                    let var = (at > 0 || self.front.is_some())
                        .then(|| Var::from_tensor(&input))
                        .transpose()?;
                    if let Some(var) = &var {
                        input = var.as_tensor().clone();
                    }
                    let mut vars = Vec::new();
                    let mut named = HashMap::new();
                    let tensors = self.tensors.iter().enumerate();
                    for (number, one) in tensors.filter(|(_, one)| range.contains(&one.layer())) {
                        let var = Var::from_slice(&one.values, one.shape.as_slice(), device)?;
                        named.insert(one.name.clone(), var.as_tensor().clone());
                        if one.is_parameter() {
                            vars.push((number, var));
                        }
                    }
                    let vb = VarBuilder::from_tensors(named, DType::F32, device);
                    let layers = CandleLayers::new(&self.stack, range.clone(), &vb)?;
                    let outputs = layers.forward_t(&input, pass, &mut observed)?;
                    x = numbers(&outputs)?;
                    StackPartPass::Candle {
                        input: var,
                        vars,
                        outputs,
                    }
                }
            };
            self.last.push(left);
        }
        for seen in observed {
            self.observe(&seen);
        }
        Ok(x)
    }

    /// Gradients of the parameters, from those of the last outputs.
    ///
    /// # Panics
    /// Without a [`forward`](Self::forward) before it.
    pub fn backward(&mut self, gradient: &[f32]) -> Result<(), EncoderError> {
        assert_eq!(
            self.last.len(),
            self.parts.len(),
            "forward comes before backward"
        );
        let tensors = &self.tensors;
        let gradients = &mut self.gradients;
        let tensor = |layer: usize, name: &str| &*tensors[find(tensors, layer, name)].values;
        let mut d = gradient.to_vec();
        for (at, part) in self.parts.iter().enumerate().rev() {
            let mut take = |layer: usize, name: &str, found: &[f32]| {
                gradients[find(tensors, layer, name)].copy_from_slice(found);
            };
            let wanted = at > 0 || self.front.is_some();
            d = match (part, self.last.pop()) {
                (StackPart::Block(block), Some(StackPartPass::Block(made))) => block
                    .backward(&made, d, &tensor, wanted, &mut take)
                    .unwrap_or_default(),
                (StackPart::Lstm(memory), Some(StackPartPass::Lstm(made))) => {
                    memory.backward(&made, &d, wanted, &mut take)
                }
                (
                    _,
                    Some(StackPartPass::Candle {
                        input,
                        vars,
                        outputs,
                    }),
                ) => {
                    let gradient = Tensor::from_slice(&d, outputs.dims(), self.device.candle())?;
                    let found = (outputs * gradient)?.sum_all()?.backward()?;
                    let gradient_of = |var: &Var| match found.get(var) {
                        Some(found) => numbers(found),
                        // The output does not depend on it.
                        None => Ok(vec![0.0; var.elem_count()]),
                    };
                    for (at, var) in &vars {
                        gradients[*at] = gradient_of(var)?;
                    }
                    input
                        .as_ref()
                        .map(gradient_of)
                        .transpose()?
                        .unwrap_or_default()
                }
                _ => unreachable!("each part leaves its own"),
            };
        }
        if let Some(front) = &mut self.front {
            front.backward(&d, &self.tensors, &mut self.gradients);
        }
        Ok(())
    }

    /// The present network, for inference.
    pub fn finished(&self) -> Result<FinishedStack, EncoderError> {
        FinishedStack::new(
            self.stack.clone(),
            &self.tensors,
            self.device.clone(),
            self.isa,
        )
    }

    /// The present network up to its [inner layer](Stack::inner), for inference: its outputs are that layer's.
    pub fn inner(&self) -> Result<FinishedStack, EncoderError> {
        let (layers, dimension) = self.stack.inner();
        let stack = Stack::new(&layers, self.stack.input(), dimension)?;
        FinishedStack::new(stack, &self.tensors, self.device.clone(), self.isa)
    }

    /// Moves running statistics by a batch's.
    fn observe(&mut self, seen: &Observed) {
        // A batch's own variance is biased; the running one is not, as in PyTorch.
        let unbiased = seen.count as f32 / (seen.count as f32 - 1.0).max(1.0);
        for (name, values, factor) in [
            ("running_mean", &seen.mean, 1.0),
            ("running_var", &seen.variance, unbiased),
        ] {
            let at = find(&self.tensors, seen.layer, name);
            for (running, value) in self.tensors[at].values.iter_mut().zip(values) {
                *running += MOMENTUM * (factor * value - *running);
            }
        }
    }
}

/// The instruction set of kernels on a device; `None` on a GPU.
fn kernels(device: &Device) -> Option<Isa> {
    voisin_kernels::isa()
        .ok()
        .filter(|_| device.candle().is_cpu())
}

/// A trained network of layers, for inference.
#[derive(Debug)]
pub struct FinishedStack {
    stack: Stack,
    device: Device,
    tensors: Vec<StackTensor>,
    /// Candle's parts, by the first of their layers.
    in_candle: HashMap<usize, CandleLayers>,
    front: Option<(Front, FastChain)>,
    parts: Vec<StackPart>,
}

impl FinishedStack {
    /// - `tensors`: all tensors of the layers
    /// - `isa`: for voisin's kernels; `None`: use Candle for all layers
    fn new(
        stack: Stack,
        tensors: &[StackTensor],
        device: Device,
        isa: Option<Isa>,
    ) -> Result<Self, EncoderError> {
        let front = isa.and_then(|isa| Front::of(&stack, isa)).map(|front| {
            let chain = front.finished(tensors);
            (front, chain)
        });
        let parts = parts(
            &stack,
            front.as_ref().map_or(0, |(front, _)| front.layers()),
            isa,
        );
        let mut in_candle = HashMap::new();
        for part in &parts {
            let StackPart::Candle(range) = part else {
                continue;
            };
            let mut named = HashMap::new();
            for one in tensors.iter().filter(|one| range.contains(&one.layer())) {
                let shape = one.shape.as_slice();
                let tensor = Tensor::from_slice(&one.values, shape, device.candle())?;
                named.insert(one.name.clone(), tensor);
            }
            let vb = VarBuilder::from_tensors(named, DType::F32, device.candle());
            let layers = CandleLayers::new(&stack, range.clone(), &vb)?;
            in_candle.insert(range.start, layers);
        }
        Ok(Self {
            stack,
            device,
            tensors: tensors.to_vec(),
            in_candle,
            front,
            parts,
        })
    }

    /// Its layers.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Outputs `[n][classes]`: batch norms by their running statistics, no dropout.
    pub fn evaluate(&self, x: &[f32], n: usize) -> Result<Vec<f32>, EncoderError> {
        let mut x = x.to_vec();
        if let Some((_, chain)) = &self.front {
            let mut made = vec![0.0; n * chain.dimension()];
            chain.forward(&x, n, &mut made);
            x = made;
        }
        let tensor =
            |layer: usize, name: &str| &*self.tensors[find(&self.tensors, layer, name)].values;
        let pass = PassMode::Evaluating;
        for part in &self.parts {
            x = match part {
                StackPart::Block(block) => block.forward(x, &tensor, pass).0,
                StackPart::Lstm(memory) => memory.forward(&x, &tensor).0,
                StackPart::Candle(range) => {
                    let axes = self.stack.axes(range.start);
                    let input = forward::batch(&x, n, &axes, self.device.candle())?;
                    numbers(&self.in_candle[&range.start].forward(&input)?)?
                }
            };
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::super::StackShape;
    use super::*;
    use crate::DeviceChoice;
    use voisin_base::random::Random;

    fn network(layers: &[&str], input: StackShape, classes: usize) -> StackTrain {
        let stack = Stack::new(layers, input, classes).unwrap();
        StackTrain::new(
            stack,
            5,
            FirstWeights::Torch,
            DeviceChoice::Cpu.resolve().unwrap(),
        )
    }

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::stream(seed, 1);
        (0..n).map(|_| random.normal() as f32).collect()
    }

    #[test]
    fn along_each_gradient_the_outputs_change_by_its_square() {
        let image = StackShape::Image(2, 9, 11);
        for (layers, input) in [
            (
                &[
                    "conv 4 3x3 same",
                    "batch-norm",
                    "relu",
                    "pool 2x2",
                    "dropout 0.2",
                    "flatten",
                    "linear classes",
                ][..],
                image,
            ),
            (
                &[
                    "conv 3 3x2 valid",
                    "elu",
                    "pool 3x2",
                    "frames",
                    "lstm 5 all",
                    "lstm 4",
                    "linear classes",
                ],
                image,
            ),
            (
                &[
                    "conv 4 3x3",
                    "elu",
                    "gap",
                    "linear 6",
                    "elu",
                    "linear classes",
                ],
                image,
            ),
            (
                &[
                    "frames",
                    "conv1 4 5 same",
                    "batch-norm",
                    "elu",
                    "pool1 2",
                    "lstm 3 all",
                    "flatten",
                    "linear classes",
                ],
                image,
            ),
            (
                &[
                    "sequence",
                    "conv1 3 2",
                    "relu",
                    "pool1 2",
                    "lstm 4 last one-bias",
                    "linear classes",
                ],
                StackShape::Vector(13),
            ),
        ] {
            let n = 3;
            let classes = 4;
            let mut net = network(layers, input, classes);
            let x = numbers(n * input.cells(), 1);
            let d = numbers(n * classes, 2);
            let value = |net: &mut StackTrain| -> f64 {
                let out = net.forward(&x, n, 7).unwrap();
                out.iter().zip(&d).map(|(y, d)| f64::from(y * d)).sum()
            };
            value(&mut net);
            net.backward(&d).unwrap();
            let gradients: Vec<Vec<f32>> = net
                .blocks()
                .map(|(_, gradient, _)| gradient.to_vec())
                .collect();
            for (at, gradient) in gradients.iter().enumerate() {
                let square: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
                // A bias before a batch norm changes nothing.
                if square < 1e-8 {
                    assert!(
                        layers.contains(&"batch-norm") && gradient.len() < 8,
                        "{layers:?}, block {at}"
                    );
                    continue;
                }
                // Short, since a maximum may move from one place to another on the way.
                let step = (1e-3 / square.sqrt()) as f32;
                let mut moved = |by: f32| {
                    let (parameters, ..) = net.blocks().nth(at).unwrap();
                    parameters
                        .iter_mut()
                        .zip(gradient)
                        .for_each(|(p, g)| *p += by * step * g);
                    value(&mut net)
                };
                let up = moved(1.0);
                let down = moved(-2.0);
                moved(1.0);
                let slope = (up - down) / (2.0 * f64::from(step));
                assert!(
                    (slope / square - 1.0).abs() < 0.02,
                    "{layers:?}, block {at}: {slope}, {square}"
                );
            }
        }
    }

    #[test]
    fn kernels_match_candle_on_every_instruction_set() {
        // Odd and small sides, all kinds of blocks, and layers without kernels.
        let all = [
            "conv 16 3x3 same",
            "batch-norm",
            "relu",
            "pool 2x2",
            "dropout 0.2",
            "conv 32 3x3 same",
            "relu",
            "dropout 0.1",
            "conv 16 3x3 same",
            "relu",
            "pool 2x2",
            "conv 48 3x3 same",
            "batch-norm",
            "relu",
            "conv 16 3x3 same",
            "elu",
            "flatten",
            "linear classes",
        ];
        let n = 3;
        let classes = 4;
        let other = Stack::new(
            &["conv 24 3x3 same", "relu", "gap", "linear 4"],
            StackShape::Image(1, 9, 9),
            4,
        );
        assert!(Front::of(&other.unwrap(), voisin_kernels::Isa::PORTABLE).is_none());
        // Blocks along the time, with all that may be in one and with nothing.
        let along = [
            "frames",
            "conv1 20 5 same",
            "batch-norm",
            "relu",
            "pool1 4",
            "dropout 0.2",
            "conv1 7 3",
            "relu",
            "conv1 33 2",
            "batch-norm",
            "conv1 5 1",
            "pool1 2",
            "elu",
            "lstm 6 all",
            "conv1 4 1 same",
            "dropout 0.1",
            "flatten",
            "linear classes",
        ];
        let networks: [(&[&str], _, _, _); 5] = [
            (&all, 19, 46, 14),
            (&all, 9, 21, 14),
            (&all, 5, 130, 14),
            (&along, 19, 46, 0),
            (&along, 3, 130, 0),
        ];
        for (layers, rows, columns, of_front) in networks {
            let input = StackShape::Image(1, rows, columns);
            let stack = Stack::new(layers, input, classes).unwrap();
            let cpu = DeviceChoice::Cpu.resolve().unwrap();
            let x = numbers(n * input.cells(), 1);
            let d = numbers(n * classes, 2);
            let pass = |net: &mut StackTrain| {
                // Twice: the second begins with moved statistics and other masks.
                let mut outputs = Vec::new();
                for step in [3, 4] {
                    outputs.extend(net.forward(&x, n, step).unwrap());
                    net.backward(&d).unwrap();
                }
                let judged = net.finished().unwrap().evaluate(&x, n).unwrap();
                let mut found = vec![outputs, judged];
                found.extend(net.blocks().map(|(_, gradient, _)| gradient.to_vec()));
                found.extend(net.tensors().iter().map(|tensor| tensor.values.clone()));
                found
            };
            let candle =
                || StackTrain::in_candle(stack.clone(), 5, FirstWeights::Torch, cpu.clone());
            let expected = pass(&mut candle());
            for isa in voisin_kernels::Isa::available() {
                let front = Front::of(&stack, isa);
                assert_eq!(front.as_ref().map_or(0, Front::layers), of_front);
                let mut net = candle().by_kernels(isa);
                for (at, (found, expected)) in pass(&mut net).iter().zip(&expected).enumerate() {
                    assert_eq!(found.len(), expected.len());
                    // A bias before a batch norm has no gradient but rounding errors.
                    let largest = expected.iter().fold(1e-2f32, |most, x| most.max(x.abs()));
                    let off = found
                        .iter()
                        .zip(expected)
                        .fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
                    assert!(
                        off < 2e-4 * largest,
                        "{isa}, {rows} x {columns}, {at}: {off:e} of {largest:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn dropout_is_of_seed_and_step_and_not_there_in_the_end() {
        let mut net = network(
            &["dropout 0.25", "flatten", "linear classes"],
            StackShape::Image(1, 40, 50),
            2,
        );
        let x = vec![1.0; 2 * 2000];
        let mut forward = |step: u64| net.forward(&x, 2, step).unwrap();
        let first = forward(1);
        assert_eq!(first, forward(1));
        assert_ne!(first, forward(2));
        assert_ne!(
            first[..2],
            first[2..],
            "examples of a batch are masked differently"
        );
        let finished = net.finished().unwrap();
        let [a, b] = [1, 2].map(|n| finished.evaluate(&x[..n * 2000], n).unwrap());
        // a product of one row and one of two may add in another order
        for (a, b) in a.iter().zip(&b[..2]).chain(b[..2].iter().zip(&b[2..])) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // the mask keeps the mean: three quarters, each times four thirds
        net.restore(|name| {
            let n = if name.ends_with("weight") { 4000 } else { 2 };
            Some(vec![if n == 4000 { 1.0 / 2000.0 } else { 0.0 }; n])
        })
        .unwrap();
        let mean = net.forward(&x, 2, 3).unwrap()[0];
        assert!((mean - 1.0).abs() < 0.05 && mean != 1.0, "{mean}");
    }

    #[test]
    fn batch_norms_move_towards_what_they_see() {
        let mut net = network(
            &["batch-norm", "gap", "linear classes"],
            StackShape::Image(2, 3, 5),
            2,
        );
        let x: Vec<f32> = (0..60)
            .map(|i| (i / 15 % 2) as f32 * 10.0 + (i % 5) as f32)
            .collect();
        for step in 0..200 {
            net.forward(&x, 2, step).unwrap();
        }
        let values = |name: &str| {
            net.tensors()
                .iter()
                .find(|t| t.name.ends_with(name))
                .unwrap()
                .values
                .clone()
        };
        let mean = values("running_mean");
        let variance = values("running_var");
        assert!(
            (mean[0] - 2.0).abs() < 1e-3 && (mean[1] - 12.0).abs() < 1e-3,
            "{mean:?}"
        );
        // of 30 numbers, unbiased
        assert!(
            variance
                .iter()
                .all(|v| (v - 2.0 * 30.0 / 29.0).abs() < 1e-3),
            "{variance:?}"
        );
    }
}
