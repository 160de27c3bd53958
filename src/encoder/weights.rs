//! Named tensors, from any file.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;

use candle_nn::VarBuilder;
use safetensors::Dtype;

use super::tensor_file::{WeightTensor, read_safetensors};
use super::{Architecture, EncoderError, networks};
use voisin_base::atomic_file;
use voisin_base::random::Random;

/// The tensors of a model under the names of the architecture.
///
/// Produced by every reader and consumed by every network.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    origin: String,
    tensors: BTreeMap<String, WeightTensor>,
}

impl Weights {
    pub fn new(origin: impl Into<String>, tensors: BTreeMap<String, WeightTensor>) -> Self {
        Self {
            origin: origin.into(),
            tensors,
        }
    }

    /// Parses a safetensors file (f16, bf16, f32 or f64; tensors of other types are left out).
    pub fn from_safetensors(bytes: &[u8], origin: &str) -> Result<Self, EncoderError> {
        let tensors = read_safetensors(bytes).map_err(EncoderError::bad(origin))?;
        Ok(Self::new(origin, tensors))
    }

    pub fn to_safetensors(&self, path: &Path) -> Result<(), EncoderError> {
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|t| t.values.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let bad = |error: safetensors::SafeTensorError| {
            EncoderError::bad(path.display())(error.to_string())
        };
        // Tensors are held in f32, so that is the type to write.
        let views = self
            .tensors
            .iter()
            .zip(&bytes)
            .map(|((name, tensor), data)| {
                safetensors::tensor::TensorView::new(Dtype::F32, tensor.shape.clone(), data)
                    .map(|view| (name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad)?;
        let file = safetensors::serialize(views, None).map_err(bad)?;
        atomic_file::write(path, file).map_err(EncoderError::io(path))
    }

    pub(crate) fn bad(&self, reason: String) -> EncoderError {
        EncoderError::bad(&self.origin)(reason)
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// These tensors with the linear layers of `projection` instead of their own.
    pub(crate) fn with_projection(mut self, projection: Self) -> Self {
        // All of its own are for vectors of another length.
        self.tensors.retain(|name, _| !is_linear_layer(name));
        self.tensors.extend(
            projection
                .tensors
                .into_iter()
                .filter(|(name, _)| is_linear_layer(name)),
        );
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &WeightTensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub fn tensor(&self, name: &str) -> Option<&WeightTensor> {
        self.tensors.get(name)
    }

    /// Values of the tensor `name`, which must have `shape`.
    pub fn values(
        &self,
        name: &str,
        shape: &[usize],
        architecture: Architecture,
    ) -> Result<&[f32], EncoderError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.bad(format!(
                "tensor \"{name}\" is missing: the weights are not of architecture {architecture}"
            )));
        };
        if tensor.shape != shape {
            let found = &tensor.shape;
            return Err(self.bad(format!(
                "tensor \"{name}\" has shape {found:?}, expected {shape:?}"
            )));
        }
        Ok(&tensor.values)
    }

    /// The architecture of these tensors, recognised by a unique tensor.
    pub fn architecture(&self) -> Result<Architecture, EncoderError> {
        // Each of these names belongs to one architecture alone.
        if self.tensors.contains_key("audio_embedding_layer.weight") {
            Ok(Architecture::OpenL3)
        } else if self.tensors.contains_key("conv2d_5.weight")
            && self.tensors.contains_key("dense_1.weight")
        {
            Ok(Architecture::Musicnn)
        } else {
            Err(self.bad(
                "the tensors fit no architecture voisin knows (OpenL3 mel128/512, MusiCNN)".into(),
            ))
        }
    }

    /// Checks that all tensors of `architecture` exist, have its shapes and are finite.
    pub fn check(&self, architecture: Architecture) -> Result<(), EncoderError> {
        // None for a network defined by a manifest, whose tensors are checked when it is built.
        for (name, shape) in networks::tensors(architecture, Some(self)) {
            if self
                .values(&name, &shape, architecture)?
                .iter()
                .any(|x| !x.is_finite())
            {
                return Err(self.bad(format!("tensor \"{name}\" has values that are not finite")));
            }
        }
        Ok(())
    }

    /// Seeded random weights: kernels uniform with the variance of He et al. (2015), and batch-norm
    /// statistics that are not trivial, so that tests detect a mistake in any of them.
    ///
    /// The numbers come from a formula that other languages can repeat exactly (`uniform`); the
    /// golden tests' generator does.
    pub fn random(architecture: Architecture, seed: u64) -> Self {
        let tensors = networks::tensors(architecture, None)
            .into_iter()
            .map(|(name, shape)| {
                let count = shape.iter().product();
                let (low, high) = match name.rsplit_once('.').map_or("", |(_, field)| field) {
                    "running_var" => (0.5, 1.5),
                    "running_mean" => (-0.2, 0.2),
                    "weight" if shape.len() == 1 => (0.75, 1.25),
                    "weight" => {
                        // He et al. (2015): activations neither grow nor vanish with depth.
                        let bound = (6.0 / (count / shape[0]) as f64).sqrt();
                        (-bound, bound)
                    }
                    _ => (-0.1, 0.1),
                };
                let values = uniform(&name, seed, count)
                    .map(|u| (low + (high - low) * u) as f32)
                    .collect();
                (name, WeightTensor { shape, values })
            })
            .collect();
        Self::new(
            format!("random {architecture} weights (seed {seed})"),
            tensors,
        )
    }

    pub(crate) fn var_builder(
        &self,
        device: &candle_core::Device,
    ) -> Result<VarBuilder<'static>, EncoderError> {
        let tensors = self
            .tensors
            .iter()
            .map(|(name, t)| {
                let tensor =
                    candle_core::Tensor::from_slice(&t.values, t.shape.as_slice(), device)?;
                Ok::<_, candle_core::Error>((name.clone(), tensor))
            })
            .collect::<Result<HashMap<_, _>, _>>()?;
        Ok(VarBuilder::from_tensors(
            tensors,
            candle_core::DType::F32,
            device,
        ))
    }
}

/// Whether the tensor is one of the layers of [`super::projection`].
fn is_linear_layer(name: &str) -> bool {
    name.starts_with("projection.") || name.starts_with("told.")
}

/// `count` numbers in [0, 1) for the tensor `name`, from the stream that begins at FNV-1a of the
/// name plus the seed.
pub(crate) fn uniform(name: &str, seed: u64, count: usize) -> impl Iterator<Item = f64> {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = Random::new(fnv.wrapping_add(seed));
    (0..count).map(move |_| f64::from(random.f32()))
}
