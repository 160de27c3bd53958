//! Consecutive blocks, compiled from their Candle modules into one operation: voisin's fused chain of convolutions.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::BatchNorm;

use super::block::{Block, Size};
use crate::cpu::conv::{BlockPlan, BlockTensors, ChainPlan, FastChain, affine};
use voisin_kernels::Isa;

/// Consecutive blocks.
pub(crate) struct BlockRun<'a> {
    /// The image's own batch norm.
    pub(crate) input: Option<&'a BatchNorm>,
    pub(crate) blocks: &'a [Block],
}

/// Consecutive blocks as one operation, `[n, inputs, height, width]` to `[n, outputs, 1, 1]`.
#[derive(Debug)]
pub(crate) struct CompiledChain(pub(crate) FastChain);

/// A block's tensors on the host.
pub(crate) struct HostBlock {
    weight: Vec<f32>,
    bias: Vec<f32>,
    norm: Option<[Vec<f32>; 4]>,
}

impl HostBlock {
    pub(crate) fn new(block: &Block) -> Result<Self> {
        Ok(Self {
            weight: block.weight.flatten_all()?.to_vec1()?,
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
        // From before the batch norm to after it.
        for (bias, (scale, shift)) in self.bias.iter_mut().zip(scale.iter().zip(&shift)) {
            *bias = *bias * scale + shift;
        }
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

impl BlockRun<'_> {
    /// For a CPU, with batch norms folded; each pool is of 2 × 2 places, the last one of all.
    ///
    /// - `size`: of the image
    /// - `together`: examples per pass of each block
    pub(crate) fn fast(&self, size: Size, together: &[usize], isa: Isa) -> Result<FastChain> {
        let mut host = Vec::with_capacity(self.blocks.len());
        for block in self.blocks {
            let packed = HostBlock::new(block)?;
            host.push(match &block.norm {
                // Everything before ReLU is one affine map.
                Some(norm) => packed.folded(norm)?,
                None => packed,
            });
        }
        let blocks = self.blocks.iter().zip(together);
        let plan = ChainPlan {
            input: size,
            blocks: blocks
                .map(|(block, together)| BlockPlan {
                    out: block.bias.elem_count(),
                    is_pooled: block.pool == Some([2, 2]),
                    together: *together,
                })
                .collect(),
        };
        let tensors: Vec<BlockTensors> = host.iter().map(HostBlock::tensors).collect();
        let (scale, shift) = self
            .input
            .map_or_else(|| Ok((vec![1.0], vec![0.0])), scales)?;
        // An image has one channel.
        let input = (scale[0], shift[0]);
        Ok(FastChain::new(plan, input, &tensors, isa))
    }
}

impl CustomOp1 for CompiledChain {
    fn name(&self) -> &'static str {
        "convolutions"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let chain = &self.0;
        let n = layout.dims()[0];
        let mut out = vec![0.0; n * chain.dimension()];
        chain.forward(whole(storage, layout)?, n, &mut out);
        Ok((CpuStorage::F32(out), (n, 1, 1, chain.dimension()).into()))
    }
}

/// The numbers of a contiguous tensor.
pub(crate) fn whole<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice()?[from..to]),
        None => bail!("expected a contiguous tensor"),
    }
}

impl Module for CompiledChain {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Both have channels next to each other; that is how a view of what another chain made lies in memory.
        let x = x.permute((0, 2, 3, 1))?.contiguous()?;
        x.apply_op1_no_bwd(self)?.permute((0, 3, 1, 2))
    }
}
