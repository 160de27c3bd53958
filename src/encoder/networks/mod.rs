//! OpenL3 and MusiCNN, each defined once, as a Candle module.
//!
//! The modules use Candle's own operations, layer by layer: on a GPU, and as the reference for tests. For a CPU they are
//! *compiled* into voisin's kernels.
//!
//! Not here: networks of layers that a manifest lists ([`stack`](super::stack)), and CLAP.

mod block;
mod chain;
mod conv_net;
mod musicnn;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Module, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

use super::backend::{Backend, Pass};
use super::{Architecture, CpuPath, EncoderError, Weights};
use conv_net::openl3_channels;
use voisin_simd::{Isa, isa};

pub(crate) use chain::whole;
use conv_net::ConvNet;
pub(crate) use conv_net::{OPENL3_CHANNELS, openl3_layer};
use musicnn::Musicnn;

/// The instruction set of voisin's kernels; `None` where Candle computes layer by layer: on a GPU, as
/// the reference, and on a CPU without vector instructions.
///
/// # Errors
/// The requested instruction set is not available.
pub(crate) fn kernels(path: CpuPath, device: &Device) -> Result<Option<Isa>, EncoderError> {
    let isa = isa()?;
    let has_kernels = device.is_cpu() && isa != Isa::PORTABLE;
    Ok((path == CpuPath::Fast && has_kernels).then_some(isa))
}

type Computing = Box<dyn Module + Send + Sync>;

/// A network's definition, in Candle's own operations.
trait Definition: Module + Send + Sync {
    /// Compiled for a CPU.
    ///
    /// - `size`: mel bands and frames of a window
    fn in_kernels(self: Box<Self>, size: [usize; 2], isa: Isa) -> candle_core::Result<Computing>;
}

/// The network, with the sizes of `weights` or the published ones.
///
/// # Errors
/// A tensor that is missing or of another shape, a failure of the device, or an architecture that is only defined by a
/// manifest.
fn define(
    architecture: Architecture,
    weights: Option<&Weights>,
    vb: &VarBuilder,
) -> Result<Box<dyn Definition>, EncoderError> {
    Ok(match architecture {
        Architecture::OpenL3 => {
            let channels = weights.map_or(OPENL3_CHANNELS, openl3_channels);
            Box::new(ConvNet::openl3(&channels, vb)?)
        }
        Architecture::Musicnn => Box::new(Musicnn::new(vb)?),
        Architecture::Clap => {
            let origin = weights.map_or_else(String::new, |weights| weights.origin().to_owned());
            return Err(EncoderError::bad(origin)(
                "expected OpenL3 or MusiCNN".to_owned(),
            ));
        }
    })
}

/// Names and shapes of tensors.
type NamedShapes = Vec<(String, Vec<usize>)>;

/// Records the tensors that a network requests.
struct TensorRecorder(Arc<Mutex<NamedShapes>>);

impl SimpleBackend for TensorRecorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((name.to_owned(), shape.dims().to_vec()));
        // The definition runs on zeros, to record the requests.
        Tensor::zeros(shape, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name} is asked for without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// Name and shape of every tensor of the network; none for one that is only defined by a manifest.
///
/// - `weights`: have its sizes; without them the published ones
pub(crate) fn tensors(architecture: Architecture, weights: Option<&Weights>) -> NamedShapes {
    let list = Arc::new(Mutex::new(NamedShapes::new()));
    let recorder = Box::new(TensorRecorder(Arc::clone(&list)));
    let vb = VarBuilder::from_backend(recorder, DType::F32, Device::Cpu);
    // An architecture without a definition requests nothing.
    let _ = define(architecture, weights, &vb);
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *list)
}

pub(crate) struct InCandle {
    module: Computing,
    device: Device,
    /// Mel bands and frames of a window, and length of its embedding.
    shape: [usize; 2],
    dimension: usize,
}

impl InCandle {
    pub(crate) fn new(
        architecture: Architecture,
        weights: &Weights,
        device: &Device,
        kernels: Option<Isa>,
    ) -> Result<Self, EncoderError> {
        let vb = weights.var_builder(device)?;
        let network = define(architecture, Some(weights), &vb)?;
        let shape = architecture.input_shape();
        Ok(Self {
            module: match kernels {
                None => network as Computing,
                Some(isa) => network.in_kernels(shape, isa)?,
            },
            device: device.clone(),
            shape,
            dimension: architecture.dimension(),
        })
    }
}

impl Backend for InCandle {
    fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
        let [bands, frames] = self.shape;
        let mels = Tensor::from_slice(mels, (n, 1, bands, frames), &self.device)?;
        let found = self.module.forward(&mels)?;
        let width = found.dim(1)?;
        let values: Vec<f32> = found.flatten_all()?.to_vec1()?;
        // A network without tags only has the vector.
        if width == self.dimension {
            return Ok(Pass {
                embeddings: values,
                logits: Vec::new(),
            });
        }
        let n = values.len() / width;
        let mut pass = Pass {
            embeddings: Vec::with_capacity(n * self.dimension),
            logits: Vec::with_capacity(n * (width - self.dimension)),
        };
        for row in values.chunks_exact(width) {
            let (embedding, logits) = row.split_at(self.dimension);
            pass.embeddings.extend_from_slice(embedding);
            pass.logits.extend_from_slice(logits);
        }
        Ok(pass)
    }
}
