//! The blocks of 3×3 convolutions that a network may begin with, by voisin's kernels instead of
//! Candle's on a CPU: the same numbers to the rounding, many times as fast.

use super::forward::{EPSILON, kept};
use super::layer::{StackLayer, StackShape};
use super::list::{Stack, StackTensor};
use voisin_kernels::Isa;
use voisin_networks::conv::{
    BlockMask, BlockPlan, BlockTensors, ChainPlan, FastChain, NormPlace, Tail, TrainChain,
};

/// Tiles of 4 × 4 per pass of a block in training: enough for many threads.
const TILES: usize = 2048;

/// The layers of one block, by number.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    convolution: usize,
    norm: Option<usize>,
    dropout: Option<(usize, f64)>,
}

/// The first layers of a network for which there are kernels.
#[derive(Debug)]
pub(super) struct Front {
    plan: ChainPlan,
    places: Vec<Places>,
    /// Number of its layers.
    layers: usize,
    isa: Isa,
}

impl Front {
    /// `None` unless the network begins with an image of one channel and blocks of
    /// `conv N 3x3 same` with N a multiple of 16, `batch-norm` or not, `relu`, `pool 2x2` or not,
    /// `dropout` or not.
    pub(super) fn of(stack: &Stack, isa: Isa) -> Option<Self> {
        let StackShape::Image(1, rows, columns) = stack.input() else {
            return None;
        };
        let layers: Vec<(StackLayer, StackShape)> = stack.layers().collect();
        let mut blocks = Vec::new();
        let mut places = Vec::new();
        let mut end = 0;
        while let Some((plan, place, next)) = block(&layers, end) {
            blocks.push(plan);
            places.push(place);
            // The first layer that does not fit ends the front; the rest is Candle's.
            end = next;
        }
        let plan = ChainPlan {
            input: [rows, columns],
            blocks,
            tail: Tail::Planes,
            epsilon: EPSILON,
        };
        (end > 0).then_some(Self {
            plan,
            places,
            layers: end,
            isa,
        })
    }

    /// Number of its layers.
    pub(super) fn layers(&self) -> usize {
        self.layers
    }

    fn tensors<'a>(&self, tensors: &'a [StackTensor]) -> Vec<BlockTensors<'a>> {
        let values =
            |layer: usize, name: &str| tensors[find(tensors, layer, name)].values.as_slice();
        let norm = |at: usize| {
            ["weight", "bias", "running_mean", "running_var"].map(|name| values(at, name))
        };
        self.places
            .iter()
            .map(|place| BlockTensors {
                weight: values(place.convolution, "weight"),
                bias: values(place.convolution, "bias"),
                norm: place.norm.map(norm),
            })
            .collect()
    }

    /// The chain for inference, example by example, so that memory does not grow with their number.
    pub(super) fn finished(&self, tensors: &[StackTensor]) -> FastChain {
        let mut plan = self.plan.clone();
        plan.blocks.iter_mut().for_each(|block| block.together = 1);
        FastChain::new(
            plan,
            // Without scaling: a network of layers has no batch norm before its first convolution.
            (1.0, 0.0),
            &self.tensors(tensors),
            false,
            self.isa,
        )
    }
}

/// The same in training.
#[derive(Debug)]
pub(super) struct FrontTrain {
    pub(super) front: Front,
    chain: TrainChain,
}

impl FrontTrain {
    pub(super) fn new(front: Front) -> Self {
        let chain = TrainChain::new(front.plan.clone(), false, front.isa);
        Self { front, chain }
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
        // The optimiser has changed the tensors since the last step.
        self.chain.set(None, &self.front.tensors(tensors));
        let places = &self.front.places;
        let mut mask = |block: usize, count: usize| {
            let (layer, share) = places[block].dropout?;
            let factor = (1.0 / (1.0 - share)) as f32;
            Some(BlockMask {
                kept: kept(count, share, seed, step, layer),
                factor,
            })
        };
        let out = self.chain.forward(x, n, &mut mask);
        // Running statistics moved in the chain; the network's own copy follows.
        for (block, place) in self.front.places.iter().enumerate() {
            let Some(at) = place.norm else { continue };
            for (name, running) in ["running_mean", "running_var"]
                .into_iter()
                .zip(self.chain.running(Some(block)))
            {
                tensors[find(tensors, at, name)]
                    .values
                    .copy_from_slice(running);
            }
        }
        out
    }

    /// Writes gradients of the tensors into `to`, from that of the last [`forward`](Self::forward).
    pub(super) fn backward(
        &mut self,
        gradient: &[f32],
        tensors: &[StackTensor],
        to: &mut [Vec<f32>],
    ) {
        self.chain.backward(gradient);
        for (block, place) in self.front.places.iter().enumerate() {
            let gradients = self.chain.block_gradients(block);
            let mut put = |layer: usize, name: &str, gradients: &[f32]| {
                to[find(tensors, layer, name)].copy_from_slice(gradients);
            };
            put(place.convolution, "weight", gradients.weight);
            put(place.convolution, "bias", gradients.bias);
            if let (Some(at), Some([weight, bias])) = (place.norm, gradients.norm) {
                put(at, "weight", weight);
                put(at, "bias", bias);
            }
        }
    }
}

/// The block that begins with layer `at`, and the next layer.
fn block(layers: &[(StackLayer, StackShape)], at: usize) -> Option<(BlockPlan, Places, usize)> {
    let layer = |at: usize| layers.get(at).map(|(layer, _)| layer);
    let (
        StackLayer::Convolution {
            out,
            kernel: [3, 3],
            same: true,
        },
        StackShape::Image(_, rows, columns),
    ) = *layers.get(at)?
    else {
        return None;
    };
    // The kernels have channels in whole registers.
    if !out.is_multiple_of(16) {
        return None;
    }
    let mut place = Places {
        convolution: at,
        ..Places::default()
    };
    let mut next = at + 1;
    if layer(next) == Some(&StackLayer::BatchNorm) {
        place.norm = Some(next);
        next += 1;
    }
    // A block without ReLU is not one that the chain can compute.
    if layer(next) != Some(&StackLayer::Relu) {
        return None;
    }
    next += 1;
    let is_pooled = layer(next) == Some(&StackLayer::Pool([2, 2]));
    next += usize::from(is_pooled);
    if let Some(StackLayer::Dropout(share)) = layer(next) {
        place.dropout = Some((next, *share));
        next += 1;
    }
    let plan = BlockPlan {
        out,
        norm: if place.norm.is_some() {
            NormPlace::BeforeRelu
        } else {
            NormPlace::Absent
        },
        pool: if is_pooled { [2, 2] } else { [1, 1] },
        together: (TILES / (rows.div_ceil(4) * columns.div_ceil(4))).max(1),
    };
    Some((plan, place, next))
}

/// The number of a layer's tensor.
pub(super) fn find(tensors: &[StackTensor], layer: usize, name: &str) -> usize {
    let name = format!("layers.{layer}.{name}");
    let at = tensors.iter().position(|tensor| tensor.name == name);
    at.expect("every layer asks for tensors of its own plan")
}
