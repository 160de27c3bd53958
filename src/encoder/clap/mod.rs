//! CLAP: an audio encoder and a text encoder with one vector space.
//!
//! Wu, Chen, Zhang, Hui, Berg-Kirkpatrick, Dubnov, "Large-scale contrastive language-audio
//! pretraining with feature fusion and keyword-to-caption augmentation", ICASSP 2023, as in
//! `ClapModel` of the transformers library: HTSAT ([`audio`]) and `RoBERTa` ([`text`]), each
//! followed by a projection of two layers. Weights have that library's names.
//!
//! Not here: spectrograms ([`MelConfig::clap`](voisin_features::MelConfig::clap)), and reading the
//! hub's folders ([`import`](super::import)).

mod audio;
mod text;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use serde::{Deserialize, Serialize};

use super::manifest::{map, map_beside, sha256_hex};
use super::{EncoderError, ModelManifest, ModelRef};

pub(super) use audio::{ClapAudio, SHAPE};
pub use text::{ClapText, caption_vectors};

/// The sizes of a CLAP model's two networks, and the files beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClapTowers {
    pub audio: ClapAudioSizes,
    pub text: ClapTextSizes,
    /// Hidden layer and output of both projections: the length of a vector.
    pub projection: usize,
    /// File name of the tokenizer, beside the manifest, and its SHA-256.
    pub tokenizer: String,
    pub tokenizer_sha256: String,
    /// File name of the vectors of [`captions`], beside the manifest, and its SHA-256.
    pub captions: String,
    pub captions_sha256: String,
}

/// Sizes of HTSAT, with names and defaults of the transformers library; those not listed are the same
/// in every published model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClapAudioSizes {
    /// Numbers of a patch in the first stage; each stage doubles them.
    pub patch_embeds_hidden_size: usize,
    /// Blocks of each of the four stages.
    pub depths: [usize; 4],
    pub num_attention_heads: [usize; 4],
    /// Hidden layer of a block, as a multiple of its channels.
    pub mlp_ratio: f64,
}

impl Default for ClapAudioSizes {
    fn default() -> Self {
        Self {
            patch_embeds_hidden_size: 96,
            depths: [2, 2, 6, 2],
            num_attention_heads: [4, 8, 16, 32],
            mlp_ratio: 4.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClapTextSizes {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub vocab_size: usize,
    /// Those of padding included.
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    /// The token that pads; positions are counted from it.
    pub pad_token_id: u32,
}

impl Default for ClapTextSizes {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            vocab_size: 50_265,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            pad_token_id: 1,
        }
    }
}

impl ClapTowers {
    pub(super) fn check(&self) -> Result<(), String> {
        /// Far above any published size; larger networks would fail later.
        const MOST: usize = 1 << 16;
        let Self { audio, text, .. } = self;
        let sizes = [
            ("projection", self.projection),
            ("patch_embeds_hidden_size", audio.patch_embeds_hidden_size),
            ("mlp_ratio", audio.mlp_ratio as usize),
            ("hidden_size", text.hidden_size),
            ("num_hidden_layers", text.num_hidden_layers),
            ("intermediate_size", text.intermediate_size),
            ("type_vocab_size", text.type_vocab_size),
        ];
        let depths = audio.depths.map(|depth| ("depths", depth));
        for (name, found) in sizes.into_iter().chain(depths) {
            if !(1..=MOST).contains(&found) {
                return Err(format!("{name} is {found}: expected 1 to {MOST}"));
            }
        }
        let channels = (0..4).map(|stage| audio.patch_embeds_hidden_size << stage);
        let heads = channels.zip(audio.num_attention_heads);
        for (size, heads) in heads.chain([(text.hidden_size, text.num_attention_heads)]) {
            if heads == 0 || size % heads != 0 {
                return Err(format!(
                    "{heads} heads of attention share {size} numbers: expected a divisor"
                ));
            }
        }
        // A sentence has a start token, an end token, and at least one word.
        let found = text.max_position_embeddings;
        let least = text.pad_token_id as usize + 4;
        if found < least {
            return Err(format!(
                "max_position_embeddings is {found}: expected at least {least}"
            ));
        }
        Ok(())
    }
}

#[derive(Clone)]
pub(super) struct ClapFiles {
    pub(super) manifest: ModelManifest,
    pub(super) towers: ClapTowers,
    /// A file of their folder.
    beside: PathBuf,
}

impl ClapFiles {
    /// `None` for other models.
    pub(super) fn of(model: &ModelRef) -> Result<Option<Self>, EncoderError> {
        let Some((manifest, beside)) = model.located()? else {
            return Ok(None);
        };
        let towers = manifest.clap.clone();
        Ok(towers.map(|towers| Self {
            manifest,
            towers,
            beside,
        }))
    }

    /// Maps a file beside the manifest; each encoder reads its tensors once.
    fn map(
        &self,
        name: &str,
        digest: &str,
    ) -> Result<impl std::ops::Deref<Target = [u8]> + use<>, EncoderError> {
        map_beside(&self.beside, name, digest)
    }

    pub(super) fn audio(&self, device: &Device) -> Result<ClapAudio, EncoderError> {
        let bytes = self.map(&self.manifest.weights, &self.manifest.weights_sha256)?;
        clap_audio(&bytes, &self.towers, device).map_err(in_file(&self.manifest.weights))
    }
}

/// Adds the file to an error of Candle, and removes a backtrace.
fn in_file(origin: &str) -> impl FnOnce(EncoderError) -> EncoderError + use<> {
    let origin = origin.to_owned();
    move |error| match error {
        EncoderError::Candle(error) => EncoderError::BadWeights {
            origin,
            reason: error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        },
        other => other,
    }
}

fn variables<'a>(bytes: &'a [u8], device: &Device) -> Result<VarBuilder<'a>, EncoderError> {
    Ok(VarBuilder::from_slice_safetensors(
        bytes,
        DType::F32,
        device,
    )?)
}

fn clap_audio(
    bytes: &[u8],
    towers: &ClapTowers,
    device: &Device,
) -> Result<ClapAudio, EncoderError> {
    ClapAudio::new(towers, &variables(bytes, device)?, device)
}

/// Checks a file of weights for an import by loading both networks.
///
/// # Errors
/// A tensor is missing or of another shape; the tokenizer cannot be read.
pub fn open_clap(
    weights: &Path,
    tokenizer: &Path,
    towers: &ClapTowers,
) -> Result<ClapText, EncoderError> {
    let bad = |reason: String| EncoderError::BadWeights {
        origin: weights.display().to_string(),
        reason,
    };
    towers.check().map_err(bad)?;
    let bytes = map(weights)?;
    let origin = weights.display().to_string();
    let audio = clap_audio(&bytes, towers, &Device::Cpu).map_err(in_file(&origin))?;
    // Weights that are not finite show in any output.
    let ramp: Vec<f32> = (0..audio::CELLS)
        .map(|i| (i * 37 % 101) as f32 - 80.0)
        .collect();
    if audio.vector(&ramp)?.iter().any(|x| !x.is_finite()) {
        return Err(EncoderError::NotFinite { window: 0 });
    }
    let tokens = map(tokenizer)?;
    let open = || {
        ClapText::new(
            towers,
            &variables(&bytes, &Device::Cpu)?,
            &tokens,
            tokenizer,
        )
    };
    open().map_err(in_file(&origin))
}

/// SHA-256 of a file, in lower-case hexadecimal digits, without reading all of it into memory.
pub fn digest_of_file(path: &Path) -> Result<String, EncoderError> {
    Ok(sha256_hex(&map(path)?))
}

/// Captions with which a sentence's similarity is compared, one a line: made from voisin's words
/// and genres.
pub fn captions() -> impl Iterator<Item = &'static str> {
    include_str!("captions.txt").lines()
}

struct ClapProjection {
    first: Linear,
    second: Linear,
}

impl ClapProjection {
    fn new(input: usize, output: usize, variables: VarBuilder) -> candle_core::Result<Self> {
        Ok(Self {
            first: candle_nn::linear(input, output, variables.pp("linear1"))?,
            second: candle_nn::linear(output, output, variables.pp("linear2"))?,
        })
    }

    /// - `pooled`: `[n, input]`
    /// - returns: `n` vectors of length 1, concatenated
    fn vectors(&self, pooled: &Tensor) -> Result<Vec<Vec<f32>>, EncoderError> {
        let vectors = self.second.forward(&self.first.forward(pooled)?.relu()?)?;
        let mut vectors = vectors.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        for vector in &mut vectors {
            voisin_base::vector::make_unit(vector);
        }
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests;
