//! OpenL3's blocks, compiled from their Candle modules into one operation: voisin's fused chain of convolutions.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::BatchNorm;

use super::block::{Block, Size};
use crate::cpu::conv::{BlockPlan, BlockTensors, ChainPlan, FastChain, NormNumbers, affine};
use voisin_simd::Isa;

/// Consecutive blocks as one operation, `[n, 1, height, width]` to `[n, outputs]`.
#[derive(Debug)]
pub(crate) struct CompiledChain(FastChain);

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

impl CompiledChain {
    /// For a CPU, with batch norms folded; each pool is of 2 × 2 places, the last one of all.
    ///
    /// - `input`: the image's own batch norm
    /// - `size`: of the image
    /// - `together`: examples per pass of each block
    pub(crate) fn new(
        input: &BatchNorm,
        blocks: &[Block],
        size: Size,
        together: &[usize],
        isa: Isa,
    ) -> Result<Self> {
        let plan = ChainPlan {
            input: size,
            blocks: blocks
                .iter()
                .zip(together)
                .map(|(block, together)| BlockPlan {
                    out: block.bias.elem_count(),
                    is_pooled: block.pool == Some([2, 2]),
                    together: *together,
                })
                .collect(),
        };
        let tensors = blocks.iter().map(folded);
        let tensors = tensors.collect::<Result<Vec<BlockTensors>>>()?;
        // An image has one channel.
        let (scale, shift) = affine(&numbers(input)?, input.eps())[0];
        let input = (scale as f32, shift as f32);
        Ok(Self(FastChain::new(plan, input, &tensors, isa)))
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
        Ok((CpuStorage::F32(out), (n, chain.dimension()).into()))
    }
}

impl Module for CompiledChain {
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        mels.apply_op1_no_bwd(self)
    }
}

/// The numbers of a contiguous tensor.
pub(crate) fn whole<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice()?[from..to]),
        None => bail!("expected a contiguous tensor"),
    }
}
