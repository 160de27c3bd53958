//! Consecutive blocks, compiled from their Candle modules into one operation: voisin's fused chain of convolutions.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::BatchNorm;

use super::block::{Block, Size};
use crate::cpu::conv::{BlockPlan, BlockTensors, ChainPlan, FastChain, NormNumbers, affine};
use voisin_simd::Isa;

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
pub(crate) fn on_host(block: &Block) -> Result<BlockTensors> {
    Ok(BlockTensors {
        weight: block.weight.flatten_all()?.to_vec1()?,
        bias: block.bias.to_vec1()?,
        norm: block.norm.as_ref().map(numbers).transpose()?,
    })
}

/// A block's tensors with its batch norm folded into its convolution: everything before ReLU is one affine map.
fn folded(block: &Block) -> Result<BlockTensors> {
    let mut tensors = on_host(block)?;
    let (Some(numbers), Some(norm)) = (tensors.norm.take(), &block.norm) else {
        return Ok(tensors);
    };
    // Numbers of one output's filter, all of which get its scale.
    let filter = tensors.weight.len() / tensors.bias.len();
    let filters = tensors.weight.chunks_exact_mut(filter);
    let scales = affine(&numbers, norm.eps()).into_iter();
    for ((filter, bias), (scale, shift)) in filters.zip(&mut tensors.bias).zip(scales) {
        filter.iter_mut().for_each(|weight| *weight *= scale as f32);
        // From before the batch norm to after it.
        *bias = *bias * scale as f32 + shift as f32;
    }
    Ok(tensors)
}

pub(crate) fn numbers(norm: &BatchNorm) -> Result<NormNumbers> {
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

impl BlockRun<'_> {
    /// For a CPU, with batch norms folded; each pool is of 2 × 2 places, the last one of all.
    ///
    /// - `size`: of the image
    /// - `together`: examples per pass of each block
    pub(crate) fn fast(&self, size: Size, together: &[usize], isa: Isa) -> Result<FastChain> {
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
        let tensors = self.blocks.iter().map(folded);
        let tensors = tensors.collect::<Result<Vec<BlockTensors>>>()?;
        let input = match self.input {
            // An image has one channel.
            Some(norm) => affine(&numbers(norm)?, norm.eps())[0],
            None => (1.0, 0.0),
        };
        let input = (input.0 as f32, input.1 as f32);
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
