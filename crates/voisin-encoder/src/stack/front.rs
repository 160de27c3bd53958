//! The blocks of 3×3 convolutions that a network may begin with, by voisin's kernels instead of Candle's on a CPU: the
//! same numbers to the rounding, many times as fast.

use super::forward::{EPSILON, kept};
use super::layer::{StackLayer, StackShape};
use super::list::{Stack, StackTensor};
use voisin_kernels::Isa;
use voisin_kernels::conv::{BlockMask, BlockPlan, BlockTensors, ConvBlocks};

/// The layers of one block, by their numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    convolution: usize,
    norm: Option<usize>,
    dropout: Option<(usize, f64)>,
}

/// What a network begins with, as far as kernels know it.
#[derive(Debug)]
pub(super) struct Front {
    blocks: ConvBlocks,
    places: Vec<Places>,
    /// Layers that it stands for.
    layers: usize,
}

impl Front {
    /// `None` where a network begins otherwise than with an image of one channel and blocks of `conv N 3x3 same` with N a
    /// multiple of 16, `batch-norm` or not, `relu`, `pool 2x2` or not, `dropout` or not.
    pub(super) fn of(stack: &Stack, isa: Isa) -> Option<Self> {
        let StackShape::Image(1, rows, columns) = stack.input() else { return None };
        let layers: Vec<StackLayer> = stack.layers().map(|(layer, _)| layer).collect();
        let (mut plans, mut places, mut end) = (Vec::new(), Vec::new(), 0);
        while let Some((plan, place, next)) = block(&layers, end) {
            plans.push(plan);
            places.push(place);
            end = next;
        }
        let blocks = ConvBlocks::new(&plans, [rows, columns], EPSILON, isa)?;
        Some(Self { blocks, places, layers: end })
    }

    /// Layers that it stands for.
    pub(super) fn layers(&self) -> usize {
        self.layers
    }

    /// Length of each axis of what it makes, without that of the batch.
    pub(super) fn output(&self) -> [usize; 3] {
        self.blocks.output()
    }

    /// Whether a tensor is of one of its layers.
    pub(super) fn has(&self, tensor: &StackTensor) -> bool {
        tensor.layer() < self.layers
    }

    /// Takes over the tensors, for the passes that follow.
    pub(super) fn set(&mut self, tensors: &[StackTensor]) {
        let of = |layer: usize, name: &str| values(tensors, layer, name);
        let tensors: Vec<BlockTensors<'_>> = self
            .places
            .iter()
            .map(|place| BlockTensors {
                weight: of(place.convolution, "weight"),
                bias: of(place.convolution, "bias"),
                norm: place
                    .norm
                    .map(|at| ["weight", "bias", "running_mean", "running_var"].map(|name| of(at, name))),
            })
            .collect();
        self.blocks.set(&tensors);
    }

    /// A pass in training, which also moves running statistics among `tensors`.
    pub(super) fn forward(
        &mut self,
        x: &[f32],
        n: usize,
        tensors: &mut [StackTensor],
        seed: u64,
        step: u64,
    ) -> Vec<f32> {
        self.set(tensors);
        let norms: Vec<_> = (self.places.iter())
            .map(|place| place.norm.map(|at| ["weight", "bias"].map(|name| values(tensors, at, name))))
            .collect();
        let places = &self.places;
        let mut mask = |block: usize, count: usize| {
            let (layer, share) = places[block].dropout?;
            let factor = (1.0 / (1.0 - share)) as f32;
            Some(BlockMask { kept: kept(count, share, seed, step, layer), factor })
        };
        let out = self.blocks.forward(x, n, &norms, &mut mask);
        for (block, place) in self.places.iter().enumerate() {
            let Some(at) = place.norm else { continue };
            for (name, running) in ["running_mean", "running_var"].into_iter().zip(self.blocks.running(block))
            {
                tensors[find(tensors, at, name)].values.copy_from_slice(running);
            }
        }
        out
    }

    /// Gradients of the tensors into `to`, which has a place for each, from that of the last [`forward`](Self::forward).
    pub(super) fn backward(&mut self, gradient: &[f32], tensors: &[StackTensor], to: &mut [Vec<f32>]) {
        for (place, found) in self.places.iter().zip(self.blocks.backward(gradient)) {
            to[find(tensors, place.convolution, "weight")] = found.weight;
            to[find(tensors, place.convolution, "bias")] = found.bias;
            if let (Some(at), Some([weight, bias])) = (place.norm, found.norm) {
                to[find(tensors, at, "weight")] = weight;
                to[find(tensors, at, "bias")] = bias;
            }
        }
    }

    /// A pass in use, example by example, so that memory does not grow with their number.
    pub(super) fn judge(&mut self, x: &[f32], n: usize) -> Vec<f32> {
        x.chunks_exact(x.len() / n).flat_map(|x| self.blocks.judge(x, 1)).collect()
    }
}

/// The block that begins with layer `at`, and the layer behind it.
fn block(layers: &[StackLayer], at: usize) -> Option<(BlockPlan, Places, usize)> {
    let Some(StackLayer::Convolution { out, kernel: [3, 3], same: true }) = layers.get(at) else {
        return None;
    };
    if !out.is_multiple_of(16) {
        return None;
    }
    let mut place = Places { convolution: at, ..Places::default() };
    let mut next = at + 1;
    if layers.get(next) == Some(&StackLayer::BatchNorm) {
        place.norm = Some(next);
        next += 1;
    }
    if layers.get(next) != Some(&StackLayer::Relu) {
        return None;
    }
    next += 1;
    let pool = layers.get(next) == Some(&StackLayer::Pool([2, 2]));
    next += usize::from(pool);
    if let Some(StackLayer::Dropout(share)) = layers.get(next) {
        place.dropout = Some((next, *share));
        next += 1;
    }
    Some((BlockPlan { out: *out, norm: place.norm.is_some(), pool }, place, next))
}

fn find(tensors: &[StackTensor], layer: usize, name: &str) -> usize {
    let name = format!("layers.{layer}.{name}");
    let at = tensors.iter().position(|tensor| tensor.name == name);
    at.expect("every layer asks for tensors of its own plan")
}

fn values<'a>(tensors: &'a [StackTensor], layer: usize, name: &str) -> &'a [f32] {
    &tensors[find(tensors, layer, name)].values
}
