//! Consecutive blocks, compiled from their Candle modules into one operation.
//!
//! On a CPU it is voisin's fused chain of convolutions, on a GPU matrix products and voisin's kernels.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::BatchNorm;

use super::block::{Block, Size};
use super::channels_last::{ConvolutionFinish, GpuConvolution, GpuStage, run, whole};
use voisin_kernels::{Isa, Precision};
use voisin_networks::conv::{
    BlockPlan, BlockTensors, ChainPlan, FastChain, NormPlace, Tail, affine,
};

/// Consecutive blocks.
pub(crate) struct BlockRun<'a> {
    /// The image's own batch norm.
    pub(crate) input: Option<&'a BatchNorm>,
    pub(crate) blocks: &'a [Block],
    /// The image has rows where the blocks have columns.
    pub(crate) turned: bool,
}

/// Consecutive blocks as one operation, `[n, inputs, height, width]` to `[n, outputs, height,
/// width]`.
#[derive(Debug)]
pub(crate) enum CompiledChain {
    Cpu(FastChain),
    Gpu(Vec<GpuStage>),
}

/// A block's tensors on the host.
pub(crate) struct HostBlock {
    weight: Vec<f32>,
    bias: Vec<f32>,
    norm: Option<[Vec<f32>; 4]>,
}

impl HostBlock {
    pub(crate) fn new(block: &Block, weight: &Tensor) -> Result<Self> {
        Ok(Self {
            weight: weight.flatten_all()?.to_vec1()?,
            bias: block.bias.to_vec1()?,
            norm: block.norm.as_ref().map(numbers).transpose()?,
        })
    }

    pub(crate) fn tensors(&self) -> BlockTensors<'_> {
        BlockTensors {
            weight: &self.weight,
            bias: &self.bias,
            norm: self.norm.as_ref().map(slices),
        }
    }

    /// With its batch norm folded into its convolution.
    fn folded(mut self, norm: &BatchNorm) -> Result<Self> {
        let (scale, shift) = scales(norm)?;
        // Numbers of one output's filter, all of which get its scale.
        let filter = self.weight.len() / self.bias.len();
        for (weight, scale) in self.weight.chunks_exact_mut(filter).zip(&scale) {
            weight.iter_mut().for_each(|weight| *weight *= scale);
        }
        self.bias = moved(&self.bias, &scale, &shift);
        self.norm = None;
        Ok(self)
    }
}

/// γ, β, running mean and running variance.
pub(crate) fn numbers(norm: &BatchNorm) -> Result<[Vec<f32>; 4]> {
    let Some((weight, bias)) = norm.weight_and_bias() else {
        bail!("a batch norm without weights")
    };
    Ok([
        weight.to_vec1()?,
        bias.to_vec1()?,
        norm.running_mean().to_vec1()?,
        norm.running_var().to_vec1()?,
    ])
}

pub(crate) fn slices(numbers: &[Vec<f32>; 4]) -> [&[f32]; 4] {
    numbers.each_ref().map(Vec::as_slice)
}

/// Scale and shift of a batch norm in inference.
fn scales(norm: &BatchNorm) -> Result<(Vec<f32>, Vec<f32>)> {
    Ok(affine(slices(&numbers(norm)?), norm.eps()))
}

/// Moves a bias from before a batch norm to after it.
fn moved(bias: &[f32], scale: &[f32], shift: &[f32]) -> Vec<f32> {
    bias.iter()
        .zip(scale.iter().zip(shift))
        .map(|(b, (s, t))| b * s + t)
        .collect()
}

impl BlockRun<'_> {
    fn weight(&self, block: &Block) -> Result<Tensor> {
        if self.turned {
            block.weight.transpose(2, 3)
        } else {
            Ok(block.weight.clone())
        }
    }

    fn side<T>(&self, [rows, columns]: [T; 2]) -> [T; 2] {
        if self.turned {
            [columns, rows]
        } else {
            [rows, columns]
        }
    }

    /// The blocks for the CPU kernels.
    ///
    /// - `size`: of the image
    /// - `together`: examples per pass of each block
    pub(crate) fn plan(&self, size: Size, together: &[usize]) -> ChainPlan {
        let norms = self.blocks.iter().find_map(|block| block.norm.as_ref());
        let blocks = self.blocks.iter().zip(together);
        ChainPlan {
            input: size,
            blocks: blocks
                .map(|(block, together)| BlockPlan {
                    out: block.bias.elem_count(),
                    norm: block.place,
                    pool: self.side(block.pool.unwrap_or([1, 1])),
                    together: *together,
                })
                .collect(),
            tail: match self.blocks.last() {
                Some(last) if last.pool.is_none() => Tail::Maximum,
                _ => Tail::Pixels,
            },
            epsilon: norms.map_or(0.0, BatchNorm::eps),
        }
    }

    /// For a CPU, with batch norms before ReLU folded.
    ///
    /// - `size`: of the image
    /// - `together`: examples per pass of each block
    pub(crate) fn fast(
        &self,
        size: Size,
        together: &[usize],
        isa: Isa,
        precision: Precision,
    ) -> Result<FastChain> {
        let mut host = Vec::with_capacity(self.blocks.len());
        for block in self.blocks {
            let packed = HostBlock::new(block, &self.weight(block)?)?;
            host.push(match &block.norm {
                // Everything before ReLU is one affine map.
                Some(norm) if block.place == NormPlace::BeforeRelu => packed.folded(norm)?,
                _ => packed,
            });
        }
        let mut plan = self.plan(size, together);
        for block in &mut plan.blocks {
            if block.norm == NormPlace::BeforeRelu {
                block.norm = NormPlace::Absent;
            }
        }
        let tensors: Vec<BlockTensors> = host.iter().map(HostBlock::tensors).collect();
        let (scale, shift) = self
            .input
            .map_or_else(|| Ok((vec![1.0], vec![0.0])), scales)?;
        // An image has one channel.
        let input = (scale[0], shift[0]);
        Ok(FastChain::new(plan, input, &tensors, true, isa, precision))
    }

    /// For the device of the weights, as a GPU computes.
    ///
    /// - `dtype`: of the products' factors
    pub(crate) fn in_products(&self, dtype: DType) -> Result<CompiledChain> {
        let mut stages = Vec::with_capacity(self.blocks.len() + 1);
        if let Some(norm) = self.input {
            let (scale, shift) = scales(norm)?;
            let ones = vec![1.0; scale.len()];
            let zeros = vec![0.0; scale.len()];
            let parameters = [&*scale, &shift, &ones, &zeros];
            let device = norm.running_mean().device();
            stages.push(GpuStage::Finish(ConvolutionFinish::new(
                parameters,
                false,
                Some([1, 1]),
                device,
            )?));
        }
        for block in self.blocks {
            let bias: Vec<f32> = block.bias.to_vec1()?;
            let ones = vec![1.0; bias.len()];
            let zeros = vec![0.0; bias.len()];
            let (scale, shift) = match &block.norm {
                Some(norm) => scales(norm)?,
                None => (ones.clone(), zeros.clone()),
            };
            let behind = moved(&bias, &scale, &shift);
            // If ReLU comes first, the norm stays after it.
            let parameters = match block.place {
                NormPlace::AfterRelu => [&*ones, &bias, &scale, &shift],
                _ => [&*scale, &behind, &ones, &zeros],
            };
            let finish = ConvolutionFinish::new(
                parameters,
                block.norm.is_some(),
                block.pool.map(|pool| self.side(pool)),
                block.bias.device(),
            )?;
            let weight = self.weight(block)?.to_dtype(dtype)?;
            let padding = self.side(block.padding());
            stages.push(GpuStage::Convolution(GpuConvolution::new(
                &weight, padding, finish,
            )?));
        }
        Ok(CompiledChain::Gpu(stages))
    }
}

impl CustomOp1 for CompiledChain {
    fn name(&self) -> &'static str {
        "convolutions"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match self {
            Self::Cpu(chain) => {
                let n = layout.dims()[0];
                let mut out = vec![0.0; n * chain.dimension()];
                chain.forward(whole(storage, layout)?, n, &mut out);
                let [channels, height, width] = chain.output();
                Ok((CpuStorage::F32(out), (n, height, width, channels).into()))
            }
            Self::Gpu(stages) => run(stages, storage, layout),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        match self {
            Self::Cpu(_) => bail!("convolutions of a CPU on a GPU"),
            Self::Gpu(stages) => run(stages, storage, layout),
        }
    }
}

impl Module for CompiledChain {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Both have channels next to each other; that is how a view of what another chain made lies in memory.
        let x = x.permute((0, 2, 3, 1))?.contiguous()?;
        x.apply_op1_no_bwd(self)?.permute((0, 3, 1, 2))
    }
}
