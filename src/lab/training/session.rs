//! Files of a training: tensors with a description.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::LabError;
use voisin_base::{atomic_file, regular_file};
use voisin_encoder::Weights;

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

const LARGEST: u64 = 4 << 30;

pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

pub type StoredTensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// The bytes of a safetensors file, or why a tensor's bytes do not fit its shape.
pub(crate) fn serialize(
    tensors: &[StoredTensor],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, String> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        TensorView::new(*dtype, shape.clone(), data).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>();
    let bytes = views.and_then(|views| safetensors::serialize(views, Some(metadata)));
    bytes.map_err(|error| error.to_string())
}

/// Writes tensors to a file, whole or not at all.
///
/// # Errors
/// As text, since each caller's error names its own kind of file.
#[allow(clippy::implicit_hasher, reason = "safetensors takes this map")]
pub fn write_safetensors(
    path: &Path,
    tensors: &[StoredTensor],
    metadata: HashMap<String, String>,
) -> Result<(), String> {
    let bytes = serialize(tensors, metadata)?;
    atomic_file::write(path, bytes).map_err(|error| error.to_string())
}

/// Writes tensors and metadata, whole or not at all.
pub fn write_state(
    path: &Path,
    metadata: Option<(&str, &impl Serialize)>,
    tensors: impl IntoIterator<Item = NamedTensor>,
) -> Result<(), LabError> {
    let bad = |error: &dyn std::fmt::Display| LabError::run(path, error.to_string());
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
) -> Result<(H, BTreeMap<String, Vec<f32>>), LabError> {
    let bad = |reason: String| LabError::run(path, reason);
    let bytes = regular_file::read(path, LARGEST).map_err(LabError::io(path))?;
    // The header first, so that a file of another kind is refused before its tensors are read.
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string()))?;
    let value = header.metadata().as_ref().and_then(|words| words.get(key));
    let value = value.ok_or_else(|| bad(format!("is no checkpoint of {kind}")))?;
    let value =
        serde_json::from_str(value).map_err(|error| bad(format!("is damaged ({error})")))?;
    Ok((value, tensors_of(path, &bytes)?))
}

/// The tensors of a file that a run wrote, all of finite numbers.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Vec<f32>>, LabError> {
    let bytes = regular_file::read(path, LARGEST).map_err(LabError::io(path))?;
    tensors_of(path, &bytes)
}

fn tensors_of(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, LabError> {
    let weights = Weights::from_safetensors(bytes, &path.display().to_string())?;
    let mut found = BTreeMap::new();
    for (name, tensor) in weights.iter() {
        // The checkpoint of a diverged run would spoil all training from it.
        if tensor.values.iter().any(|x| !x.is_finite()) {
            return Err(LabError::run(
                path,
                format!("tensor \"{name}\" has values that are not finite"),
            ));
        }
        found.insert(name.to_owned(), tensor.values.clone());
    }
    Ok(found)
}
