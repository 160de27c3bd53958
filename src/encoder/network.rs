//! The encoder: a model on a device.

use ndarray::{Array2, Axis, concatenate};

use super::backend::{Backend, Pass};
use super::batcher::Batcher;
use super::clap::ClapFiles;
use super::models::Found;
use super::networks::{InCandle, kernels};
use super::projection::Projection;
use super::{Architecture, Device, EncoderError, ModelManifest, ModelRef, Weights};
use crate::cpu::musicnn::TAGS;
use voisin_features::MelConfig;

/// A loaded model on a device: mel windows in, embeddings out, in order.
///
/// On a CPU every window is computed separately, in rayon's current pool, so embeddings are
/// bit-for-bit reproducible. On a GPU the last bits may depend on the batch.
///
/// A model may join several networks: its embedding is their concatenated outputs. Each has its own
/// spectrogram of the same sound ([`Encoder::front_ends`]).
pub struct Encoder {
    manifest: ModelManifest,
    device: Device,
    /// The manifest's own network, then those of its `networks`.
    networks: Vec<Network>,
}

struct Network {
    /// Mel bands and frames of a window, and length of its vector.
    shape: [usize; 2],
    dimension: usize,
    /// It takes the first of this many windows.
    every: usize,
    backend: Box<dyn Backend>,
    projection: Projection,
    tags: usize,
    batch: usize,
}

/// The implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuPath {
    /// voisin's own kernels; on a GPU, and for CLAP, Candle.
    #[default]
    Fast,
    /// Candle, layer by layer: slow, the reference for tests.
    Candle,
}

/// Embeddings with the tag logits of the same pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged {
    /// `[n, dimension]`, as from [`Encoder::encode`].
    pub embeddings: Array2<f32>,
    /// `[n, tags]`, perhaps of no tags, before the sigmoid, in the order of [`ModelManifest::tags`], then of its
    /// outputs' labels.
    pub logits: Array2<f32>,
}

impl Encoder {
    /// Finds the model, checks its weights against its manifest, and prepares the network on
    /// `device`.
    pub fn load(model: &ModelRef, device: &Device) -> Result<Self, EncoderError> {
        if let Some(files) = ClapFiles::of(model)? {
            return Ok(Self {
                networks: vec![Network::clap(&files, device)?],
                device: device.clone(),
                manifest: files.manifest,
            });
        }
        let Found {
            manifest,
            weights,
            others,
        } = model.find()?;
        let mut networks = vec![Network::new(
            manifest.architecture,
            manifest.own_dimension(),
            weights,
            device,
            CpuPath::Fast,
        )?];
        for (network, weights) in manifest.networks.iter().zip(others) {
            let further = Network::new(
                network.architecture,
                network.dimension(),
                weights,
                device,
                CpuPath::Fast,
            )?;
            networks.push(Network {
                every: network.every,
                ..further
            });
        }
        let encoder = Self {
            manifest,
            device: device.clone(),
            networks,
        };
        encoder.with_named_logits()
    }

    /// Checks that all logits of several networks have names, or leaves those of further networks out.
    fn with_named_logits(mut self) -> Result<Self, EncoderError> {
        let manifest = &self.manifest;
        // Logits of further networks without names would be ambiguous.
        if manifest.outputs.is_empty() {
            for network in &mut self.networks[1..] {
                network.tags = 0;
            }
            return Ok(self);
        }
        let outputs = manifest.outputs.iter().map(|output| output.labels.len());
        let named = outputs.sum::<usize>() + manifest.tags.as_ref().map_or(0, Vec::len);
        let given = self.tags();
        if named != given {
            return Err(EncoderError::BadWeights {
                origin: manifest.name.clone(),
                reason: format!(
                    "its tags and outputs have {named} names, its networks give {given} logits"
                ),
            });
        }
        Ok(self)
    }

    /// A network with seeded random weights, for benchmarks and tests.
    pub fn random(
        architecture: Architecture,
        seed: u64,
        device: &Device,
    ) -> Result<Self, EncoderError> {
        let weights = Weights::random(architecture, seed);
        Self::with_weights(architecture, weights, device, CpuPath::Fast)
    }

    /// A network with these weights.
    pub fn with_weights(
        architecture: Architecture,
        weights: Weights,
        device: &Device,
        path: CpuPath,
    ) -> Result<Self, EncoderError> {
        let dimension = architecture.dimension();
        Ok(Self {
            networks: vec![Network::new(
                architecture,
                dimension,
                weights,
                device,
                path,
            )?],
            manifest: ModelManifest::random(architecture, 0),
            device: device.clone(),
        })
    }

    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Length of an embedding.
    pub fn dimension(&self) -> usize {
        self.manifest.dimension
    }

    /// Whether it accepts a track shorter than a window, which is repeated.
    pub fn pads(&self) -> bool {
        self.manifest.architecture == Architecture::Clap
    }

    /// The spectrogram of each network, the manifest's own first.
    pub fn front_ends(&self) -> impl Iterator<Item = &MelConfig> {
        let others = self
            .manifest
            .networks
            .iter()
            .map(|network| &network.front_end);
        std::iter::once(&self.manifest.front_end).chain(others)
    }

    /// For each of the [`front_ends`](Self::front_ends): its network takes the first of this many
    /// consecutive windows.
    pub fn every(&self) -> impl Iterator<Item = usize> {
        self.networks.iter().map(|network| network.every)
    }

    /// Most useful number of windows per call; more are split into batches of this size.
    pub fn preferred_batch(&self) -> usize {
        self.networks
            .iter()
            .map(|network| network.batch)
            .max()
            .unwrap_or(1)
    }

    /// Embeds `n` windows by a model of one network.
    ///
    /// - `mels`: `n` concatenated spectrograms, each `[n_mels][n_frames]` row-major
    /// - returns: `[n, dimension]`, raw: not normalised, may be negative
    ///
    /// A value that is not finite, in the input or the output, is an error.
    pub fn encode(&self, mels: &[f32], n: usize) -> Result<Array2<f32>, EncoderError> {
        Ok(self.encode_each(&[mels], n)?.embeddings)
    }

    /// Number of tag logits; 0 for a model without tags.
    pub fn tags(&self) -> usize {
        self.networks.iter().map(|network| network.tags).sum()
    }

    /// As [`encode`](Self::encode), with the spectrograms of each network and with tag logits.
    ///
    /// A network that takes one window of [`every`](Self::every) needs `n` / `every` spectrograms,
    /// rounded up, and its output is repeated in the rows of the windows up to the next.
    pub fn encode_each(&self, mels: &[&[f32]], n: usize) -> Result<Tagged, EncoderError> {
        if mels.len() != self.networks.len() {
            return Err(EncoderError::SeveralNetworks {
                name: self.manifest.name.clone(),
            });
        }
        let mut embeddings = Vec::new();
        let mut logits = Vec::new();
        for (network, mels) in self.networks.iter().zip(mels) {
            // The last group of windows may be incomplete; it still needs a spectrogram.
            let heard = n.div_ceil(network.every);
            let pass = network.pass(mels, heard)?;
            embeddings.push(network.spread(rows(pass.embeddings, heard, network.dimension)?, n));
            if network.tags > 0 {
                logits.push(network.spread(rows(pass.logits, heard, network.tags)?, n));
            }
        }
        let joined = |mut parts: Vec<Array2<f32>>| match parts.len() {
            0 => Array2::zeros((n, 0)),
            1 => parts.remove(0),
            _ => {
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                concatenate(Axis(1), &views).expect("all have a row for each window")
            }
        };
        Ok(Tagged {
            embeddings: joined(embeddings),
            logits: joined(logits),
        })
    }
}

/// The network on its device; on a GPU it has its own thread.
fn start<B: Backend + 'static>(
    device: &Device,
    build: impl FnOnce() -> Result<B, EncoderError> + Send + 'static,
) -> Result<Box<dyn Backend>, EncoderError> {
    Ok(if device.is_gpu() {
        Box::new(Batcher::start(build)?)
    } else {
        Box::new(build()?)
    })
}

impl Network {
    /// CLAP's audio encoder.
    fn clap(files: &ClapFiles, device: &Device) -> Result<Self, EncoderError> {
        let batch = default_batch(Architecture::Clap, device, true);
        let shape = Architecture::Clap.input_shape();
        let dimension = files.towers.projection;
        let files = files.clone();
        let on = device.candle().clone();
        let backend = start(device, move || files.audio(&on))?;
        Ok(Self::bare(shape, dimension, backend, batch))
    }

    /// A network that takes every window and has no layers after it.
    fn bare(shape: [usize; 2], dimension: usize, backend: Box<dyn Backend>, batch: usize) -> Self {
        Self {
            shape,
            dimension,
            every: 1,
            backend,
            projection: Projection::default(),
            tags: 0,
            batch,
        }
    }

    /// - `dimension`: length of its search vector
    fn new(
        architecture: Architecture,
        dimension: usize,
        weights: Weights,
        device: &Device,
        path: CpuPath,
    ) -> Result<Self, EncoderError> {
        weights.check(architecture)?;
        let projection = Projection::read(&weights, architecture.dimension(), dimension)?;
        let on = device.candle().clone();
        let kernels = kernels(path, &on)?;
        let batch = default_batch(architecture, device, kernels.is_none());
        let build = move || InCandle::new(architecture, &weights, &on, kernels);
        let backend = start(device, build)?;
        let tags = match architecture {
            Architecture::Musicnn => TAGS,
            Architecture::OpenL3 | Architecture::Clap => 0,
        } + projection.vector_tags();
        Ok(Self {
            projection,
            tags,
            ..Self::bare(architecture.input_shape(), dimension, backend, batch)
        })
    }

    /// Repeats rows for `n` windows from those of the network's windows.
    fn spread(&self, heard: Array2<f32>, n: usize) -> Array2<f32> {
        if self.every == 1 {
            return heard;
        }
        let rows: Vec<usize> = (0..n).map(|i| i / self.every).collect();
        heard.select(Axis(0), &rows)
    }

    fn pass(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
        let [n_mels, n_frames] = self.shape;
        let cells = n_mels * n_frames;
        if mels.len() != n * cells {
            return Err(EncoderError::WrongInput {
                windows: n,
                expected: n * cells,
                found: mels.len(),
            });
        }
        // ReLU would turn NaN into 0, unnoticed.
        if let Some(at) = not_finite(mels) {
            return Err(EncoderError::NotFinite { window: at / cells });
        }
        let mut whole = Pass::default();
        // Split into batches here, so that memory does not depend on the track.
        for batch in mels.chunks(self.batch * cells) {
            let mut pass = self.backend.forward(batch, batch.len() / cells)?;
            self.projection.apply(&mut pass);
            if batch.len() == mels.len() {
                return Ok(pass);
            }
            whole.embeddings.extend(pass.embeddings);
            whole.logits.extend(pass.logits);
        }
        Ok(whole)
    }
}

/// Numbers of a network's largest tensor per window: the im2col rows of a convolution.
fn columns(architecture: Architecture) -> usize {
    match architecture {
        Architecture::OpenL3 => 128 * 199 * 64 * 9,
        Architecture::Musicnn => 187 * 59 * 7 * 38,
        // Attention scores of the first stage, at the largest published size.
        Architecture::Clap => 64 * 4 * 64 * 64,
    }
}

/// Windows per pass.
fn default_batch(architecture: Architecture, device: &Device, candle: bool) -> usize {
    // Other tensors together are half as large as the largest one, of 4 bytes a number.
    let per_window = columns(architecture) as u64 * 6;
    match device.memory() {
        // A third of the free memory, as the CUDA allocator keeps freed memory.
        Some(free) => (free / 3 / per_window).clamp(1, 64) as usize,
        // One window at a time, as the last bits of Candle's products depend on the batch.
        None if candle => 1,
        None => 32,
    }
}

/// The first number that is infinite or NaN.
fn not_finite(values: &[f32]) -> Option<usize> {
    // All are looked at without an early exit, which the compiler vectorises.
    if values.iter().fold(true, |all, x| all & x.is_finite()) {
        return None;
    }
    values.iter().position(|x| !x.is_finite())
}

/// Shapes the values and refuses any that is not finite.
fn rows(values: Vec<f32>, n: usize, width: usize) -> Result<Array2<f32>, EncoderError> {
    if let Some(at) = not_finite(&values) {
        return Err(EncoderError::NotFinite { window: at / width });
    }
    let found = values.len();
    Array2::from_shape_vec((n, width), values).map_err(|_| EncoderError::WrongInput {
        windows: n,
        expected: n * width,
        found,
    })
}
