//! Models from files of other programs: weights as safetensors or as an archive of torch ([`torch`]), and folders of CLAP
//! models ([`clap`]).
//!
//! Not here: other formats. `scripts/openl3_weights.py` converts OpenL3's published files.

mod clap;
#[cfg(test)]
mod tests;
pub(super) mod torch;

use std::path::Path;

use crate::models::{check_model_name, keep_model};
use crate::{EncoderError, ModelManifest, ModelRef};

pub use clap::{import_clap, is_clap_folder};

/// Imports weights into a folder of models: `NAME.safetensors` and `NAME.json`.
///
/// - `file`: as for [`ModelRef::Weights`]: safetensors, with a manifest beside it or without, or an archive of torch
///
/// # Errors
/// The file cannot be read, or its tensors are those of no network here.
pub fn import_model(file: &Path, name: &str, folder: &Path) -> Result<ModelManifest, EncoderError> {
    check_model_name(name, file, folder)?;
    let found = ModelRef::from(file).find()?;
    if found.manifest.clap.is_some() || !found.manifest.networks.is_empty() {
        return Err(EncoderError::BadManifest {
            path: file.to_owned(),
            reason: "expected a model of one network: copy the files of any other into the folder of models".to_owned(),
        });
    }
    keep_model(&found.weights, name, found.manifest, folder)
}
