//! The optimiser's step over all blocks of a network, and checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AdamW, AdamWOptions, TrainError};
use voisin_base::vector::squared_norm;
use voisin_base::{atomic_file, regular_file};
use voisin_encoder::Weights;

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// Largest file that is read, in bytes.
pub const LARGEST: u64 = 4 << 30;

/// Takes a block's parameters, its gradients, and which parameters decay.
pub type BlockVisitor<'a> = dyn FnMut(&mut [f32], &[f32], &[bool]) + 'a;

/// Calls its argument with every block of a network, always in the same order.
pub type EachBlock<'a> = dyn FnMut(&mut BlockVisitor<'_>) + 'a;

/// Name, shape and values of a tensor.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Name, type, shape and bytes of a tensor.
pub type StoredTensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// Adam over all blocks of a network, with one gradient norm.
pub struct Optimiser {
    /// One per block, in the order of the blocks.
    pub adam: Vec<AdamW>,
    /// Decoupled decay of the parameters that decay.
    pub decay: f32,
    /// Weight of the L1 penalty on decaying parameters in the loss.
    pub l1: f64,
    /// Weight of the L2 penalty on decaying parameters in the loss.
    pub l2: f64,
    /// Maximum norm of the gradient; 0: no limit.
    pub clip: f64,
}

impl Optimiser {
    /// Starts without decay, penalties and clipping.
    pub fn new(options: AdamWOptions, blocks: &mut EachBlock<'_>) -> Self {
        let mut adam = Vec::new();
        blocks(&mut |parameters, _, _| adam.push(AdamW::new(parameters.len(), options)));
        Self {
            adam,
            decay: 0.0,
            l1: 0.0,
            l2: 0.0,
            clip: 0.0,
        }
    }

    /// Makes one step.
    ///
    /// - `at`, `loss`: the step's number and its loss; if that or the gradient is not finite, nothing is changed
    /// - returns: the gradient's norm
    pub fn step(
        &mut self,
        rate: f32,
        (at, loss): (u64, f32),
        blocks: &mut EachBlock<'_>,
    ) -> Result<f64, TrainError> {
        let both = [self.l1, self.l2];
        let decay = self.decay;
        // The norm over all blocks comes first, since one factor clips them all and keeps the direction.
        let mut square = 0.0;
        blocks(&mut |parameters, gradients, decays| {
            square += squared_norm(&with_penalty(parameters, gradients, decays, both));
        });
        let length = square.sqrt();
        // Before anything is changed, so that the weights in memory stay valid.
        if !(length.is_finite() && loss.is_finite()) {
            return Err(TrainError::Diverged { step: at, loss });
        }
        let scale = if self.clip > 0.0 {
            (self.clip / length.max(1e-12)).min(1.0) as f32
        } else {
            1.0
        };
        // The blocks come in the same order as in `new`, so each gets its own optimiser.
        let mut adam = self.adam.iter_mut();
        blocks(&mut |parameters, gradients, decays| {
            let decay: Vec<f32> = decays
                .iter()
                .map(|&decays| if decays { decay } else { 0.0 })
                .collect();
            let gradients = with_penalty(parameters, gradients, decays, both);
            if let Some(adam) = adam.next() {
                adam.step(parameters, &gradients, rate, scale, &decay);
            }
        });
        Ok(length)
    }
}

/// Adds the L1 and L2 penalties on decayed weights to the gradients.
fn with_penalty<'a>(
    parameters: &[f32],
    gradients: &'a [f32],
    decays: &[bool],
    [l1, l2]: [f64; 2],
) -> std::borrow::Cow<'a, [f32]> {
    if l1 == 0.0 && l2 == 0.0 {
        return gradients.into();
    }
    // `signum` of 0 is 1, which would push a weight away from 0 again.
    let sign = |p: f32| if p == 0.0 { 0.0 } else { p.signum() };
    let penalty = |p: &f32, decays: bool| {
        if decays {
            l1 as f32 * sign(*p) + 2.0 * l2 as f32 * p
        } else {
            0.0
        }
    };
    parameters
        .iter()
        .zip(gradients)
        .zip(decays)
        .map(|((p, g), decays)| g + penalty(p, *decays))
        .collect()
}

/// Writes tensors to a file, whole or not at all.
///
/// # Errors
/// A tensor's bytes do not fit its shape, or the file cannot be written; as text, since each caller's error names its
/// own kind of file.
#[allow(clippy::implicit_hasher, reason = "safetensors takes this map")]
pub fn write_safetensors(
    path: &Path,
    tensors: &[StoredTensor],
    metadata: HashMap<String, String>,
) -> Result<(), String> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| {
            TensorView::new(*dtype, shape.clone(), data).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
    atomic_file::write(path, bytes).map_err(|error| error.to_string())
}

/// Writes tensors and metadata, whole or not at all.
pub fn write_state(
    path: &Path,
    metadata: Option<(&str, &impl Serialize)>,
    tensors: impl IntoIterator<Item = NamedTensor>,
) -> Result<(), TrainError> {
    let bad = |error: &dyn std::fmt::Display| TrainError::checkpoint(path, error.to_string());
    let mut header = HashMap::new();
    if let Some((key, metadata)) = metadata {
        header.insert(
            key.to_owned(),
            serde_json::to_string(metadata).map_err(|error| bad(&error))?,
        );
    }
    let bytes =
        |values: Vec<f32>| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, shape, values)| (name, Dtype::F32, shape, bytes(values)))
        .collect();
    write_safetensors(path, &tensors, header).map_err(|error| bad(&error))
}

/// Reads a file of [`write_state`]: the value under `key`, and the tensors.
///
/// - `kind`: of training, for messages
pub fn read_state<H: DeserializeOwned>(
    path: &Path,
    key: &str,
    kind: &str,
) -> Result<(H, BTreeMap<String, Vec<f32>>), TrainError> {
    let bad = |reason: String| TrainError::checkpoint(path, reason);
    let bytes = regular_file::read(path, LARGEST).map_err(TrainError::io(path))?;
    // The header first, so that a file of another kind is refused before its tensors are read.
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string()))?;
    let value = header.metadata().as_ref().and_then(|words| words.get(key));
    let value = value.ok_or_else(|| bad(format!("is no checkpoint of {kind}")))?;
    let value =
        serde_json::from_str(value).map_err(|error| bad(format!("is damaged ({error})")))?;
    Ok((value, tensors_of(path, &bytes)?))
}

/// The tensors of a file that a run wrote, all of finite numbers.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Vec<f32>>, TrainError> {
    let bytes = regular_file::read(path, LARGEST).map_err(TrainError::io(path))?;
    tensors_of(path, &bytes)
}

fn tensors_of(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, TrainError> {
    let weights = Weights::from_safetensors(bytes, &path.display().to_string())?;
    let mut found = BTreeMap::new();
    for (name, tensor) in weights.iter() {
        // The checkpoint of a diverged run would spoil all training from it.
        if tensor.values.iter().any(|x| !x.is_finite()) {
            return Err(TrainError::checkpoint(
                path,
                format!("tensor \"{name}\" has values that are not finite"),
            ));
        }
        found.insert(name.to_owned(), tensor.values.clone());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_change_the_gradients_of_decaying_weights() {
        assert_eq!(
            with_penalty(&[-1.0, 0.0], &[0.5, 0.5], &[true, true], [0.25, 0.0]).to_vec(),
            [0.25, 0.5]
        );
        assert_eq!(
            with_penalty(&[1.0, -2.0], &[0.5, 0.5], &[true, false], [0.0, 0.1]).to_vec(),
            [0.7, 0.5]
        );
    }
}
