//! OpenL3, and the VGG network of the musicnn package: sequences of blocks of 3×3 convolutions.

use candle_core::{
    CpuStorage, CustomOp1, DType, Layout, Module, ModuleT as _, Result, Shape, Tensor, bail,
};
use candle_nn::{BatchNorm, Linear, VarBuilder, batch_norm, linear};

use super::block::{Block, EPSILON};
use super::chain::{BlockRun, CompiledChain};
use super::channels_last::whole;
use super::{Computing, Definition};
use crate::architecture::{VGG_PENULTIMATE, VGG_TAGS};
use crate::weights::Weights;
use voisin_kernels::{Isa, Precision};
use voisin_networks::conv::{ChainPlan, FastChain, NormPlace};

/// Channels of OpenL3 before and after each of the eight convolutions, as published. A network may
/// be narrower.
pub(crate) const OPENL3_CHANNELS: [usize; 9] = [1, 64, 64, 128, 128, 256, 256, 512, 512];

const OPENL3_EPSILON: f64 = EPSILON as f32 as f64;

/// Filters of every convolution of the VGG.
const VGG_CHANNELS: usize = 128;

/// Windows per pass of each block on a CPU: the deep ones' filters are read once for all.
const OPENL3_TOGETHER: [usize; 8] = [2, 2, 2, 2, 2, 2, 8, 8];
const VGG_TOGETHER: [usize; 5] = [8; 5];

/// Zeros on each side, which keep the size.
const SAME: [bool; 2] = [true, true];

/// A network of blocks.
pub(crate) struct ConvNet {
    input: BatchNorm,
    /// Whether time is the vertical axis.
    turned: bool,
    /// Empty if they are compiled.
    blocks: Vec<Block>,
    chain: Option<CompiledChain>,
    /// From the embedding to the logits of tags.
    tags: Option<TagsOf>,
    together: &'static [usize],
    span: tracing::Span,
}

/// The layer of the tags.
enum TagsOf {
    Linear(Linear),
    FixedOrder(FixedOrder),
}

/// A linear layer with sums in a fixed order, for the same bits in any batch.
struct FixedOrder {
    /// `[outputs][inputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl ConvNet {
    /// OpenL3 mel128 (Cramer, Wu, Salamon, Bello, "Look, Listen and Learn More", ICASSP 2019). Names are those of the
    /// weights files (torchopenl3's; Keras' without `_layer` suffixes).
    pub(crate) fn openl3(channels: &[usize; 9], vb: &VarBuilder) -> Result<Self> {
        let norm = |i: usize| {
            let name = format!("batch_normalization_{}", i + 1);
            batch_norm(channels[i], OPENL3_EPSILON, vb.pp(name))
        };
        let block = |i: usize| {
            let name = openl3_layer(i);
            let shape = [channels[i + 1], channels[i], 3, 3];
            let is_last = i == 7;
            let norm = if is_last {
                None
            } else {
                Some((norm(i + 1)?, NormPlace::BeforeRelu))
            };
            // [n, 64, 64, 99], [n, 128, 32, 49], [n, 256, 16, 24] after the second, fourth and sixth; in the end
            // [n, 512, 1, 1], one maximum over all 16 × 24 places
            let pool = if matches!(i, 1 | 3 | 5) {
                [2, 2]
            } else {
                [1, 1]
            };
            Block::new(vb, &name, &shape, norm, SAME, (!is_last).then_some(pool))
        };
        Ok(Self {
            input: norm(0)?, // [n, 1, 128, 199]
            turned: false,
            blocks: (0..8).map(block).collect::<Result<_>>()?,
            chain: None,
            tags: None,
            together: &OPENL3_TOGETHER,
            span: tracing::trace_span!("openl3"),
        })
    }

    /// The VGG (Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", 2019; after
    /// Choi, Fazekas and Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016). The fifth pool
    /// is the embedding, 2 times × 128.
    ///
    /// Its pools are those of the graph that `MSD_vgg` was saved with. The package's own `models.py` has others (4 × 1 with
    /// steps of 2 × 2, then 2 × 2 three times); on music, the batch norms' stored statistics fit the graph's and not those.
    pub(crate) fn vgg(vb: &VarBuilder) -> Result<Self> {
        let block = |number: usize, pool| {
            let inputs = if number == 1 { 1 } else { VGG_CHANNELS };
            let shape = [VGG_CHANNELS, inputs, 3, 3];
            let norm = vb.pp(format!("batch_normalization_{number}"));
            let norm = batch_norm(VGG_CHANNELS, EPSILON, norm)?;
            let norm = Some((norm, NormPlace::AfterRelu));
            Block::new(vb, &format!("{number}CNN"), &shape, norm, SAME, Some(pool))
        };
        Ok(Self {
            input: batch_norm(1, EPSILON, vb.pp("batch_normalization"))?, // [n, 1, 96, 187]
            turned: true,                                                 // [n, 1, 187, 96]
            blocks: vec![
                block(1, [4, 1])?, // [n, 128, 46, 96]
                block(2, [1, 4])?, // [n, 128, 46, 24]
                block(3, [2, 2])?, // [n, 128, 23, 12]
                block(4, [2, 2])?, // [n, 128, 11, 6]
                block(5, [4, 4])?, // [n, 128, 2, 1]
            ],
            chain: None,
            tags: Some(TagsOf::Linear(linear(
                VGG_PENULTIMATE,
                VGG_TAGS,
                vb.pp("dense"),
            )?)),
            together: &VGG_TOGETHER,
            span: tracing::trace_span!("vgg"),
        })
    }

    /// The same with convolutions whose factors are of another type.
    pub(crate) fn with_factors(self, factors: DType) -> Self {
        let blocks = self.blocks.into_iter();
        Self {
            blocks: blocks.map(|block| block.with_factors(factors)).collect(),
            ..self
        }
    }

    /// Batch norms, that of the image first.
    pub(crate) fn norms(&self) -> impl Iterator<Item = &BatchNorm> {
        let blocks = self.blocks.iter().filter_map(|block| block.norm.as_ref());
        std::iter::once(&self.input).chain(blocks)
    }

    /// Its convolutions as the kernels of a CPU train them, from an image of `size` on.
    pub(crate) fn plan(&self, size: [usize; 2], together: &[usize]) -> ChainPlan {
        self.run().plan(size, together)
    }

    fn run(&self) -> BlockRun<'_> {
        BlockRun {
            input: Some(&self.input),
            blocks: &self.blocks,
            turned: self.turned,
        }
    }

    /// Its convolutions for a CPU, from an image of `size` on.
    pub(crate) fn fast(
        &self,
        size: [usize; 2],
        isa: Isa,
        precision: Precision,
    ) -> Result<FastChain> {
        self.run().fast(size, self.together, isa, precision)
    }
}

impl Definition for ConvNet {
    fn in_kernels(
        mut self: Box<Self>,
        size: [usize; 2],
        isa: Isa,
        precision: Precision,
    ) -> Result<(Computing, Precision)> {
        let chain = self.fast(size, isa, precision)?;
        let precision = chain.precision();
        if let Some(TagsOf::Linear(layer)) = &self.tags {
            let Some(bias) = layer.bias() else {
                bail!("tags without a bias")
            };
            self.tags = Some(TagsOf::FixedOrder(FixedOrder {
                weight: layer.weight().flatten_all()?.to_vec1()?,
                bias: bias.to_vec1()?,
            }));
        }
        // Their weights are in the chain now, in the kernels' order.
        self.blocks = Vec::new();
        self.chain = Some(CompiledChain::Cpu(chain));
        Ok((self, precision))
    }

    fn in_products(mut self: Box<Self>, factors: DType) -> Result<Computing> {
        self.chain = Some(self.run().in_products(factors)?);
        self.blocks = Vec::new();
        Ok(self)
    }
}

impl ConvNet {
    /// - `mels`: `[n, 1, mels, frames]`
    /// - returns: embedding, and tag logits beside it where there are tags
    pub(crate) fn forward_t(&self, mels: &Tensor, train: bool) -> Result<Tensor> {
        let _span = self.span.enter();
        let x = if let Some(chain) = &self.chain {
            chain.forward(mels)?
        } else {
            let mut x = self.input.forward_t(mels, train)?;
            if self.turned {
                x = x.transpose(2, 3)?.contiguous()?;
            }
            for block in &self.blocks {
                x = block.forward_t(&x, train)?;
            }
            x
        };
        // TensorFlow flattens [time, band, channel].
        let embedding = x.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(1)?;
        let Some(tags) = &self.tags else {
            return Ok(embedding);
        };
        let embedding = embedding.to_dtype(tags.dtype())?;
        let logits = tags.forward(&embedding)?;
        Tensor::cat(&[embedding, logits], 1)
    }
}

impl Module for ConvNet {
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        self.forward_t(mels, false)
    }
}

impl TagsOf {
    fn dtype(&self) -> DType {
        match self {
            Self::Linear(layer) => layer.weight().dtype(),
            Self::FixedOrder(_) => DType::F32,
        }
    }
}

impl Module for TagsOf {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear(layer) => layer.forward(x),
            Self::FixedOrder(layer) => x.apply_op1_no_bwd(layer),
        }
    }
}

impl CustomOp1 for FixedOrder {
    fn name(&self) -> &'static str {
        "tags"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, inputs) = layout.shape().dims2()?;
        let mut logits = Vec::with_capacity(n * self.bias.len());
        for row in whole(storage, layout)?.chunks_exact(inputs) {
            for (weight, bias) in self.weight.chunks_exact(inputs).zip(&self.bias) {
                let mut lanes = [0.0f32; 16];
                let weight = weight.as_chunks::<16>().0;
                for (a, b) in weight.iter().zip(row.as_chunks::<16>().0) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += a * b;
                    }
                }
                // Without a rest: the embedding's 256 numbers are a multiple of sixteen.
                logits.push(bias + lanes.iter().sum::<f32>());
            }
        }
        Ok((CpuStorage::F32(logits), (n, self.bias.len()).into()))
    }
}

/// Name of OpenL3's convolution `i` of 0 to 7.
pub(crate) fn openl3_layer(i: usize) -> String {
    if i == 7 {
        "audio_embedding_layer".to_owned()
    } else {
        format!("conv2d_{}", i + 1)
    }
}

/// Channels before and after each convolution of an OpenL3-shaped network: its own, where the
/// eight filter banks fit each other, have multiples of 16 channels, and end in 512; else
/// OpenL3's, for a check to say what does not fit.
pub(crate) fn openl3_channels(weights: &Weights) -> [usize; 9] {
    let mut channels = OPENL3_CHANNELS;
    for i in 0..8 {
        let shape = weights
            .tensor(&format!("{}.weight", openl3_layer(i)))
            .map(|tensor| tensor.shape.as_slice());
        match shape {
            Some(&[out, input, 3, 3])
                if input == channels[i] && (16..=1024).contains(&out) && out.is_multiple_of(16) =>
            {
                channels[i + 1] = out;
            }
            _ => return OPENL3_CHANNELS,
        }
    }
    if channels[8] == OPENL3_CHANNELS[8] {
        channels
    } else {
        OPENL3_CHANNELS
    }
}
