//! Models from weights files of other programs.

use std::path::Path;

use voisin_encoder::{
    Architecture, EncoderError, ForeignWeights, ModelManifest, Weights, check_model_name,
    keep_model, read_foreign_weights_by,
};
use voisin_features::{MelConfig, OpenL3Variant};

use crate::{Imported, WeightFormat, import, parse};

/// Lets `--model` and similar options name weights files of all these formats without a manifest.
pub fn accept_foreign_weights() {
    read_foreign_weights_by(|bytes| {
        let format = WeightFormat::recognise(bytes)?;
        // The encoder reads these, of any network.
        if format == WeightFormat::Safetensors {
            return None;
        }
        let weights = |found: Imported| ForeignWeights {
            tensors: found.tensors,
            variant: found.variant,
            licence: found.licence,
        };
        Some(parse(bytes).map(weights).map_err(Into::into))
    });
}

/// Imports weights of another program into a folder of models: `NAME.safetensors` and `NAME.json`.
///
/// - `file`: a Keras, TensorFlow, ONNX, torch or safetensors file of OpenL3 mel128 / 512, recognised by its contents
/// - `variant`: the spectrogram to feed it; by default the publisher's, if it is known
/// - returns: the manifest, and notes for the user
pub fn import_model(
    file: &Path,
    name: &str,
    variant: Option<OpenL3Variant>,
    folder: &Path,
) -> Result<(ModelManifest, Vec<String>), EncoderError> {
    check_model_name(name, file, folder)?;
    let found = import(file).map_err(|error| EncoderError::Import(Box::new(error)))?;
    let weights = Weights::new(file.display().to_string(), found.tensors);
    // `import` takes widths from the file; this compares them with the network that will run.
    weights.check(Architecture::OpenL3)?;
    let variant = variant.or(found.variant).unwrap_or(OpenL3Variant::Original);
    let origin = file
        .file_name()
        .map(|f| f.to_string_lossy().into_owned())
        .unwrap_or_default();
    let manifest = ModelManifest {
        description: format!("OpenL3 mel128 / 512, taken from a {} file", found.format),
        front_end: MelConfig::openl3(variant),
        licence: found.licence.unwrap_or("unknown").to_owned(),
        provenance: format!("imported from {origin}"),
        ..ModelManifest::random(Architecture::OpenL3, 0)
    };
    Ok((keep_model(&weights, name, manifest, folder)?, found.notes))
}
