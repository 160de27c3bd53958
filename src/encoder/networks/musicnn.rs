//! MusiCNN.
//!
//! Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at
//! scale", ISMIR 2018; Pons, Serra, "musicnn: Pre-trained convolutional neural networks for music
//! audio tagging", 2019.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Module, ModuleT, Result, Shape, Tensor};
use candle_nn::{BatchNorm, Linear, VarBuilder, batch_norm, linear};

use super::block::{Block, EPSILON};
use super::chain::{numbers, on_host, whole};
use super::{Computing, Definition};
use crate::cpu::musicnn::{
    BANDS, FRONT, FastMusicnn, JOINED, MIDDLE, MusicnnTensors, PENULTIMATE, RESULT, TAGS,
};
use voisin_simd::Isa;

pub(crate) struct Musicnn {
    input: BatchNorm,
    front: Vec<Block>,
    middle: Vec<Block>,
    pools: BatchNorm,
    dense: Linear,
    penultimate: BatchNorm,
    tags: Linear,
}

/// The whole network in voisin's kernels.
struct WholeMusicnn(FastMusicnn);

impl Musicnn {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let numbered = |name: &str, i: usize| match i {
            0 => name.to_owned(),
            _ => format!("{name}_{i}"),
        };
        let norm = |i: usize, channels: usize| {
            batch_norm(channels, EPSILON, vb.pp(numbered("batch_normalization", i)))
        };
        let block = |i: usize, shape: &[usize]| {
            // The maximum over the remaining bands; in the middle there are none.
            let bands = shape.get(3).map_or(1, |width| BANDS + 1 - width);
            let norm = Some((norm(i + 1, shape[0])?, true));
            let name = numbered("conv2d", i);
            Block::new(vb, &name, shape, norm, [true, false], Some([1, bands]))
        };
        Ok(Self {
            input: norm(0, 1)?, // [n, 1, 187, 96]
            front: vec![
                block(0, &[204, 1, 7, 38])?, // [n, 204, 187, 1]
                block(1, &[204, 1, 7, 67])?, // [n, 204, 187, 1]
                block(2, &[51, 1, 128, 1])?, // [n, 51, 187, 1]
                block(3, &[51, 1, 64, 1])?,  // [n, 51, 187, 1]
                block(4, &[51, 1, 32, 1])?,  // [n, 51, 187, 1]
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
        })
    }
}

impl Definition for Musicnn {
    fn in_kernels(self: Box<Self>, _: [usize; 2], isa: Isa) -> Result<Computing> {
        let layer = |layer: &Linear| {
            let bias = layer.bias().map(Tensor::to_vec1).transpose()?;
            let weight: Vec<f32> = layer.weight().flatten_all()?.to_vec1()?;
            Ok::<(Vec<f32>, Vec<f32>), candle_core::Error>((weight, bias.unwrap_or_default()))
        };
        let convolutions = self.front.iter().chain(&self.middle).map(on_host);
        let tensors = MusicnnTensors {
            input: numbers(&self.input)?,
            convolutions: convolutions.collect::<Result<_>>()?,
            pools: numbers(&self.pools)?,
            dense: layer(&self.dense)?,
            penultimate: numbers(&self.penultimate)?,
            tags: layer(&self.tags)?,
        };
        Ok(Box::new(WholeMusicnn(FastMusicnn::new(&tensors, isa))))
    }
}

impl Module for Musicnn {
    /// - `mels`: `[n, 1, 96, 187]`
    /// - returns: penultimate layer and tag logits, `[n, 200 + 50]`
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        let x = self
            .input
            .forward_t(mels, false)?
            .transpose(2, 3)?
            .contiguous()?; // [n, 1, 187, 96]
        let mut front = Vec::with_capacity(5);
        for block in &self.front {
            front.push(block.forward(&x)?);
        }
        let front = Tensor::cat(&front, 1)?; // [n, 561, 187, 1]
        let first = self.middle[0].forward(&front)?; // [n, 64, 187, 1]
        let second = (self.middle[1].forward(&first)? + &first)?;
        let third = (self.middle[2].forward(&second)? + &second)?;
        let joined = Tensor::cat(&[front, first, second, third], 1)?.squeeze(3)?; // [n, 753, 187]
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
        Ok((CpuStorage::F32(found), (n, RESULT).into()))
    }
}

impl Module for WholeMusicnn {
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        mels.apply_op1_no_bwd(self)
    }
}
