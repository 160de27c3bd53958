//! The encoder: a model on a device.

use ndarray::Array2;

use super::models::Found;
use super::{Architecture, Device, EncoderError, ModelManifest, ModelRef, Weights};
use super::{musicnn, openl3};

/// A loaded model on a device: mel windows in, embeddings out, in order.
///
/// On a CPU every window is computed on its own, with the same operations in the same order whatever else is in
/// the batch and however many threads there are: its embedding is the same to the last bit. The current rayon
/// pool is used; no thread is started here. On a GPU the last bits may depend on the batch.
pub struct Encoder {
    manifest: ModelManifest,
    device: Device,
    backend: Backend,
    batch: usize,
}

/// Embeddings with the tag logits of the same pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged {
    /// `[n, dimension]`, as [`Encoder::encode`] gives them.
    pub embeddings: Array2<f32>,
    /// `[n, tags]`, before the sigmoid, in the order of [`ModelManifest::tags`].
    pub logits: Array2<f32>,
}

/// Who computes.
enum Backend {
    OpenL3Candle(openl3::OpenL3),
    MusicnnCandle(musicnn::Musicnn),
}

/// What a pass gives: embeddings, and tag logits where the network has them.
struct Pass {
    embeddings: Vec<f32>,
    logits: Vec<f32>,
}

impl Encoder {
    /// Finds the model, checks its weights against its manifest, and prepares the network on `device`.
    pub fn load(model: &ModelRef, device: &Device) -> Result<Self, EncoderError> {
        let Found { manifest, weights } = model.find()?;
        Self::new(manifest, &weights, device)
    }

    /// A network with seeded random weights: for benchmarks and tests. Its vectors mean nothing.
    pub fn random(architecture: Architecture, seed: u64, device: &Device) -> Result<Self, EncoderError> {
        let manifest = ModelManifest::random(architecture, seed);
        Self::new(manifest, &Weights::random(architecture, seed), device)
    }

    /// The network of `manifest` with `weights`, which must be finite and of the architecture's shapes.
    pub fn new(manifest: ModelManifest, weights: &Weights, device: &Device) -> Result<Self, EncoderError> {
        weights.check(manifest.architecture)?;
        let variables = weights.var_builder(device.candle())?;
        let backend = match manifest.architecture {
            Architecture::OpenL3 => Backend::OpenL3Candle(openl3::OpenL3::new(&variables)?),
            Architecture::Musicnn => Backend::MusicnnCandle(musicnn::Musicnn::new(&variables)?),
        };
        let batch = if device.is_gpu() { 64 } else { 1 };
        Ok(Self { manifest, device: device.clone(), backend, batch })
    }

    /// The model's card.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Length of an embedding.
    pub fn dimension(&self) -> usize {
        self.manifest.dimension
    }

    /// Number of windows that are worth handing over at once.
    pub fn preferred_batch(&self) -> usize {
        self.batch
    }

    /// Embeds `n` windows.
    ///
    /// - `mels`: `n` spectrograms one after the other, each `[n_mels][n_frames]` row-major, as
    ///   [`MelFrontEnd::compute_into`](crate::features::MelFrontEnd::compute_into) writes them
    /// - returns: `[n, dimension]`, raw: not normalised, may be negative
    pub fn encode(&self, mels: &[f32], n: usize) -> Result<Array2<f32>, EncoderError> {
        let pass = self.pass(mels, n)?;
        self.rows(pass.embeddings, n, self.manifest.dimension)
    }

    /// Embeds `n` windows and gives their tag logits; an error for a model without tags.
    pub fn encode_with_tags(&self, mels: &[f32], n: usize) -> Result<Tagged, EncoderError> {
        let tags = match self.manifest.architecture {
            Architecture::Musicnn => musicnn::TAGS,
            Architecture::OpenL3 => return Err(EncoderError::NoTags(self.manifest.name.clone())),
        };
        let pass = self.pass(mels, n)?;
        Ok(Tagged {
            embeddings: self.rows(pass.embeddings, n, self.manifest.dimension)?,
            logits: self.rows(pass.logits, n, tags)?,
        })
    }

    fn pass(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
        let [n_mels, n_frames] = self.manifest.architecture.input_shape();
        let expected = n * n_mels * n_frames;
        if mels.len() != expected {
            return Err(EncoderError::WrongInput { windows: n, expected, found: mels.len() });
        }
        // ReLU turns NaN into 0: it would pass unnoticed.
        if let Some(at) = mels.iter().position(|x| !x.is_finite()) {
            return Err(EncoderError::NotFinite { window: at / (n_mels * n_frames) });
        }
        let mut whole =
            Pass { embeddings: Vec::with_capacity(n * self.manifest.dimension), logits: Vec::new() };
        for batch in mels.chunks(self.batch * n_mels * n_frames) {
            let count = batch.len() / (n_mels * n_frames);
            let input =
                candle_core::Tensor::from_slice(batch, (count, 1, n_mels, n_frames), self.device.candle())?;
            match &self.backend {
                Backend::OpenL3Candle(network) => {
                    whole.embeddings.extend(network.forward(&input)?.flatten_all()?.to_vec1::<f32>()?);
                }
                Backend::MusicnnCandle(network) => {
                    let (penultimate, logits) = network.forward(&input)?;
                    whole.embeddings.extend(penultimate.flatten_all()?.to_vec1::<f32>()?);
                    whole.logits.extend(logits.flatten_all()?.to_vec1::<f32>()?);
                }
            }
        }
        Ok(whole)
    }

    /// Shapes the values and refuses any that is not finite.
    fn rows(&self, values: Vec<f32>, n: usize, width: usize) -> Result<Array2<f32>, EncoderError> {
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(EncoderError::NotFinite { window: at / width });
        }
        let found = values.len();
        Array2::from_shape_vec((n, width), values).map_err(|_| EncoderError::WrongInput {
            windows: n,
            expected: n * width,
            found,
        })
    }
}
