//! `RoBERTa` with a pooler: the vector of a sentence, in the space of the audio vectors.
//!
//! Its blocks are Candle's `XLMRobertaModel`: positions count from the padding token in both.

use std::path::Path;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::{Activation, Linear, Module, VarBuilder, linear};
use candle_transformers::models::xlm_roberta::{Config, XLMRobertaModel};
use ndarray::Array2;
use tokenizers::Tokenizer;

use super::{ClapFiles, ClapProjection, ClapTextSizes, ClapTowers};
use crate::tensor_file::read_safetensors;
use crate::{EncoderError, ModelRef};

/// Most letters of a text; a model uses some three hundred words of them.
const LONGEST_TEXT: usize = 4096;

/// The text encoder with its tokenizer. It runs on the CPU, as a sentence is little work.
pub struct ClapText {
    tokenizer: Tokenizer,
    roberta: Roberta,
    longest: usize,
}

struct Roberta {
    model: XLMRobertaModel,
    pooler: Linear,
    projection: ClapProjection,
}

impl std::fmt::Debug for ClapText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClapText").finish_non_exhaustive()
    }
}

impl ClapText {
    /// The text tower of a model; `None` for a model without one.
    pub fn load(model: &ModelRef) -> Result<Option<Self>, EncoderError> {
        let Some(files) = ClapFiles::of(model)? else {
            return Ok(None);
        };
        let towers = &files.towers;
        let bytes = files.map(&files.manifest.weights, &files.manifest.weights_sha256)?;
        let tokens = files.map(&towers.tokenizer, &towers.tokenizer_sha256)?;
        let variables = super::variables(&bytes, &Device::Cpu)?;
        Self::new(towers, &variables, &tokens, Path::new(&towers.tokenizer)).map(Some)
    }

    /// - `path`: of the tokenizer, for messages
    pub(super) fn new(
        towers: &ClapTowers,
        variables: &VarBuilder,
        tokens: &[u8],
        path: &Path,
    ) -> Result<Self, EncoderError> {
        let tokenizer = open_tokenizer(tokens, path)?;
        let sizes = &towers.text;
        let text = variables.pp("text_model");
        let roberta = Roberta {
            model: XLMRobertaModel::new(&config(sizes), text.clone())?,
            pooler: linear(
                sizes.hidden_size,
                sizes.hidden_size,
                text.pp("pooler.dense"),
            )?,
            projection: ClapProjection::new(
                sizes.hidden_size,
                towers.projection,
                variables.pp("text_projection"),
            )?,
        };
        Ok(Self {
            tokenizer,
            roberta,
            longest: sizes.max_position_embeddings - sizes.pad_token_id as usize - 1,
        })
    }

    /// The vector of a text, of length 1; very long texts are truncated.
    ///
    /// # Errors
    /// It has no token, or one outside the vocabulary.
    pub fn vector(&self, text: &str) -> Result<Vec<f32>, EncoderError> {
        let ids = self.tokens(text)?;
        let pooled = self.roberta.pooled(&self.roberta.hidden(ids)?)?;
        let vector = self.roberta.projection.vectors(&pooled)?.concat();
        if vector.iter().any(|x| !x.is_finite()) {
            return Err(EncoderError::NotFinite { window: 0 });
        }
        Ok(vector)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        // Truncated before tokenizing, whose time and memory grow with the text.
        let text: String = text.chars().take(LONGEST_TEXT).collect();
        let encoding = self
            .tokenizer
            .encode(text.as_str(), true)
            .map_err(|error| EncoderError::BadWeights {
                origin: "tokenizer".to_owned(),
                reason: error.to_string(),
            })?;
        let mut ids = encoding.get_ids().to_vec();
        let Some(&last) = ids.last() else {
            return Err(EncoderError::BadVector("the text has no tokens"));
        };
        if ids.len() > self.longest {
            ids.truncate(self.longest - 1);
            // The token that ends a text stays the last one.
            ids.push(last);
        }
        Ok(ids)
    }

    /// The stages of a text, for tests: `[1, tokens, hidden]`, `[1, hidden]`.
    #[cfg(test)]
    pub(super) fn stages(&self, text: &str) -> Result<[Tensor; 2], EncoderError> {
        let hidden = self.roberta.hidden(self.tokens(text)?)?;
        let pooled = self.roberta.pooled(&hidden)?;
        Ok([hidden, pooled])
    }
}

impl Roberta {
    /// `[1, tokens, hidden]`
    fn hidden(&self, ids: Vec<u32>) -> Result<Tensor, EncoderError> {
        let n = ids.len();
        let ids = Tensor::from_vec(ids, (1, n), &Device::Cpu)?;
        let all = Tensor::ones((1, n), DType::U32, &Device::Cpu)?;
        // One sentence: all tokens are of the first kind.
        let kinds = all.zeros_like()?;
        Ok(self.model.forward(&ids, &all, &kinds, None, None, None)?)
    }

    fn pooled(&self, hidden: &Tensor) -> Result<Tensor, EncoderError> {
        Ok(self
            .pooler
            .forward(&hidden.i((.., 0))?.contiguous()?)?
            .tanh()?)
    }
}

/// A tokenizer for single texts, without the padding and truncation of its file.
fn open_tokenizer(tokens: &[u8], path: &Path) -> Result<Tokenizer, EncoderError> {
    let bad = |reason: String| EncoderError::BadWeights {
        origin: path.display().to_string(),
        reason: format!("expected a tokenizer.json of the tokenizers library: {reason}"),
    };
    // The library may panic on a contradictory file, which must not end the process.
    let mut tokenizer = std::panic::catch_unwind(|| Tokenizer::from_bytes(tokens))
        .map_err(|_| bad("it contradicts itself".to_owned()))?
        .map_err(|error| bad(error.to_string()))?;
    // A file may request padding to one length; here texts are single.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|error| bad(error.to_string()))?;
    Ok(tokenizer)
}

fn config(sizes: &ClapTextSizes) -> Config {
    Config {
        hidden_size: sizes.hidden_size,
        // All published models have RoBERTa's.
        layer_norm_eps: 1e-12,
        attention_probs_dropout_prob: 0.0,
        hidden_dropout_prob: 0.0,
        num_attention_heads: sizes.num_attention_heads,
        position_embedding_type: "absolute".to_owned(),
        intermediate_size: sizes.intermediate_size,
        hidden_act: Activation::Gelu,
        num_hidden_layers: sizes.num_hidden_layers,
        vocab_size: sizes.vocab_size,
        max_position_embeddings: sizes.max_position_embeddings,
        type_vocab_size: sizes.type_vocab_size,
        pad_token_id: sizes.pad_token_id,
    }
}

/// The vectors of [`captions`](super::captions) under a model, `[captions, dimension]`; `None` for
/// a model without a text tower.
pub fn caption_vectors(model: &ModelRef) -> Result<Option<Array2<f32>>, EncoderError> {
    let Some(files) = ClapFiles::of(model)? else {
        return Ok(None);
    };
    let towers = &files.towers;
    let bytes = files.map(&towers.captions, &towers.captions_sha256)?;
    read_captions(&bytes, &towers.captions, towers.projection).map(Some)
}

fn read_captions(bytes: &[u8], origin: &str, width: usize) -> Result<Array2<f32>, EncoderError> {
    let bad = |reason: &str| EncoderError::BadWeights {
        origin: origin.to_owned(),
        reason: reason.to_owned(),
    };
    let tensor = read_safetensors(bytes)
        .map_err(|reason| bad(&reason))?
        .remove("captions")
        .ok_or_else(|| bad("expected the tensor captions, found none"))?;
    let rows = tensor.values.len() / width;
    Array2::from_shape_vec((rows, width), tensor.values)
        .map_err(|_| bad("expected vectors as long as the model's"))
}
