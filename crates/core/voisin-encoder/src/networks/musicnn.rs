//! MusiCNN.
//!
//! Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at
//! scale", ISMIR 2018; Pons, Serra, "musicnn: Pre-trained convolutional neural networks for music
//! audio tagging", 2019.

use candle_core::{
    CpuStorage, CustomOp1, D, DType, Layout, Module, ModuleT, Result, Shape, Tensor,
};
use candle_nn::{BatchNorm, Linear, VarBuilder, batch_norm, linear};

use super::block::{Block, EPSILON};
use super::chain::{BlockRun, CompiledChain, HostBlock, numbers, slices};
use super::channels_last::whole;
use super::{Computing, Definition};
use crate::weights::Weights;
use voisin_kernels::{Isa, Precision};
use voisin_networks::conv::NormPlace;
use voisin_networks::musicnn::{
    BANDS, FRONT, FastMusicnn, JOINED, MIDDLE, MusicnnTensors, PENULTIMATE, TAGS,
};

/// The network.
pub(crate) struct Musicnn {
    input: BatchNorm,
    averages_bands: bool,
    front: Vec<Stage>,
    middle: Vec<Stage>,
    pools: BatchNorm,
    dense: Linear,
    penultimate: BatchNorm,
    tags: Linear,
    span: tracing::Span,
}

/// A convolution of it.
enum Stage {
    Block(Block),
    Compiled(CompiledChain),
}

/// The whole network in voisin's kernels.
struct WholeMusicnn(FastMusicnn);

impl Module for Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Block(block) => block.forward(x),
            Self::Compiled(chain) => chain.forward(x),
        }
    }
}

impl Musicnn {
    /// - `averages_bands`: see [`averages_bands`]
    pub(crate) fn new(vb: &VarBuilder, averages_bands: bool) -> Result<Self> {
        let numbered = |name: &str, i: usize| match i {
            0 => name.to_owned(),
            _ => format!("{name}_{i}"),
        };
        let norm = |i: usize, channels: usize| {
            batch_norm(channels, EPSILON, vb.pp(numbered("batch_normalization", i)))
        };
        let block = |i: usize, shape: &[usize]| {
            // The maximum over the remaining bands; a kernel over their mean has no axis for them.
            let bands = shape.get(3).map_or(1, |width| BANDS + 1 - width);
            let norm = Some((norm(i + 1, shape[0])?, NormPlace::AfterRelu));
            let name = numbered("conv2d", i);
            Block::new(vb, &name, shape, norm, [true, false], Some([1, bands])).map(Stage::Block)
        };
        let temporal = |i: usize, frames: usize| {
            if averages_bands {
                block(i, &[51, 1, frames + 1])
            } else {
                block(i, &[51, 1, frames, 1])
            }
        };
        Ok(Self {
            input: norm(0, 1)?, // [n, 1, 187, 96]
            averages_bands,
            front: vec![
                block(0, &[204, 1, 7, 38])?, // [n, 204, 187, 1]
                block(1, &[204, 1, 7, 67])?, // [n, 204, 187, 1]
                temporal(2, 128)?,           // [n, 51, 187, 1]
                temporal(3, 64)?,            // [n, 51, 187, 1]
                temporal(4, 32)?,            // [n, 51, 187, 1]
            ],
            middle: vec![
                block(5, &[MIDDLE, FRONT, 7])?,  // [n, 64, 187, 1]
                block(6, &[MIDDLE, MIDDLE, 7])?, // [n, 64, 187, 1]
                block(7, &[MIDDLE, MIDDLE, 7])?, // [n, 64, 187, 1]
            ],
            pools: norm(9, 2 * JOINED)?,
            dense: linear(2 * JOINED, PENULTIMATE, vb.pp("dense"))?,
            penultimate: norm(10, PENULTIMATE)?,
            tags: linear(PENULTIMATE, TAGS, vb.pp("dense_1"))?,
            span: tracing::trace_span!("musicnn"),
        })
    }
}

impl Definition for Musicnn {
    fn in_products(mut self: Box<Self>, factors: DType) -> Result<Computing> {
        for stage in self.front.iter_mut().chain(&mut self.middle) {
            if let Stage::Block(block) = stage {
                let run = BlockRun {
                    input: None,
                    blocks: std::slice::from_ref(block),
                    turned: false,
                };
                *stage = Stage::Compiled(run.in_products(factors)?);
            }
        }
        Ok(self)
    }

    fn in_kernels(
        self: Box<Self>,
        _: [usize; 2],
        isa: Isa,
        precision: Precision,
    ) -> Result<(Computing, Precision)> {
        let mut convolutions = Vec::with_capacity(8);
        for stage in self.front.iter().chain(&self.middle) {
            if let Stage::Block(block) = stage {
                convolutions.push(HostBlock::new(block, &block.weight)?);
            }
        }
        let layer = |layer: &Linear| {
            let bias = layer.bias().map(Tensor::to_vec1).transpose()?;
            let weight: Vec<f32> = layer.weight().flatten_all()?.to_vec1()?;
            Ok::<(Vec<f32>, Vec<f32>), candle_core::Error>((weight, bias.unwrap_or_default()))
        };
        let input = numbers(&self.input)?;
        let pools = numbers(&self.pools)?;
        let penultimate = numbers(&self.penultimate)?;
        let dense = layer(&self.dense)?;
        let tags = layer(&self.tags)?;
        let tensors = MusicnnTensors {
            input: slices(&input),
            convolutions: convolutions.iter().map(HostBlock::tensors).collect(),
            averages_bands: self.averages_bands,
            pools: slices(&pools),
            dense: (&dense.0, &dense.1),
            penultimate: slices(&penultimate),
            tags: (&tags.0, &tags.1),
        };
        let whole = WholeMusicnn(FastMusicnn::new(&tensors, isa));
        Ok((Box::new(whole), precision))
    }
}

impl Module for Musicnn {
    /// - `mels`: `[n, 1, 96, 187]`
    /// - returns: penultimate layer and tag logits, `[n, 200 + 50]`
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        let _span = self.span.enter();
        let x = self
            .input
            .forward_t(mels, false)?
            .transpose(2, 3)?
            .contiguous()?; // [n, 1, 187, 96]
        let mean = if self.averages_bands {
            x.mean_keepdim(3)? // [n, 1, 187, 1]
        } else {
            x.clone()
        };
        let mut front = Vec::with_capacity(5);
        for (i, stage) in self.front.iter().enumerate() {
            front.push(stage.forward(if i < 2 { &x } else { &mean })?);
        }
        let front = Tensor::cat(&front, 1)?; // [n, 561, 187, 1]
        let first = self.middle[0].forward(&front)?; // [n, 64, 187, 1]
        let second = (self.middle[1].forward(&first)? + &first)?;
        let third = (self.middle[2].forward(&second)? + &second)?;
        let joined = Tensor::cat(&[front, first, second, third], 1)?.squeeze(3)?; // [n, 753, 187]
        // The dense layers are small and their sums long: in f32 also where convolutions are compiled in bf16.
        let joined = joined.to_dtype(self.dense.weight().dtype())?;
        // Maximum and mean of each channel side by side: [n, 753, 2], then [n, 1506].
        let pools = Tensor::stack(&[joined.max(D::Minus1)?, joined.mean(D::Minus1)?], 2)?
            .flatten_from(1)?;
        let dense = self
            .dense
            .forward(&self.pools.forward_t(&pools, false)?)?
            .relu()?;
        let penultimate = self.penultimate.forward_t(&dense, false)?; // [n, 200]
        let logits = self.tags.forward(&penultimate)?; // [n, 50]
        Tensor::cat(&[penultimate, logits], 1)
    }
}

impl CustomOp1 for WholeMusicnn {
    fn name(&self) -> &'static str {
        "musicnn"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = layout.dims()[0];
        let found = self.0.forward(whole(storage, layout)?, n);
        let rows = found
            .penultimate
            .chunks_exact(PENULTIMATE)
            .zip(found.logits.chunks_exact(TAGS));
        let mut out = Vec::with_capacity(n * (PENULTIMATE + TAGS));
        for (penultimate, logits) in rows {
            out.extend_from_slice(penultimate);
            out.extend_from_slice(logits);
        }
        Ok((CpuStorage::F32(out), (n, PENULTIMATE + TAGS).into()))
    }
}

impl Module for WholeMusicnn {
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        mels.apply_op1_no_bwd(self)
    }
}

/// Whether the temporal kernels of these weights have no axis for the bands: their input is the
/// mean of the bands, as in Won, Ferraro, Bogdanov, Serra, "Evaluation of CNN-based automatic music
/// tagging models", SMC 2020.
pub(crate) fn averages_bands(weights: &Weights) -> bool {
    weights
        .tensor("conv2d_2.weight")
        .is_some_and(|tensor| tensor.shape.len() == 3)
}
