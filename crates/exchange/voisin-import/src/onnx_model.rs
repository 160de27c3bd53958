//! Imports any network in ONNX as a model: one file with all data, and a manifest with its input.

use std::path::{Path, PathBuf};

use voisin_base::{atomic_file, regular_file};
use voisin_encoder::{
    Architecture, ClapText, EncoderError, ModelManifest, OnnxGraph, OnnxSettings, OnnxText,
    OnnxValues, WeightTensor, Weights, check_model_name, digest_of_file, onnx_runtime,
    onnx_vector_length,
};

use crate::OnnxOptions;
use crate::clap::{CARD, LARGEST_TEXT, io, licence_of_card, read_captions};
use crate::front_ends::front_end_of;

/// Largest file, and largest external data, in bytes: the limit of a message of the format.
const LARGEST: u64 = 2 << 30;
/// Tokens of a text if a network takes any number: CLIP's and CLAP's.
const TOKENS: usize = 77;

/// Why a file is not imported as a model.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct OnnxModelError {
    path: PathBuf,
    reason: String,
}

fn refused(path: &Path, reason: impl Into<String>) -> EncoderError {
    EncoderError::Import(Box::new(OnnxModelError {
        path: path.to_owned(),
        reason: reason.into(),
    }))
}

fn failed(path: &Path) -> impl Fn(String) -> EncoderError {
    move |reason| refused(path, reason)
}

/// Imports a network in ONNX into a folder of models: `NAME.onnx` and `NAME.json`; with a text
/// encoder also `NAME.text.onnx`, `NAME.tokenizer` and `NAME.captions`.
///
/// - `progress`: receives the number of captions embedded and the number of all
///
/// # Errors
/// It cannot be read or run, its input does not fit the front end, or its output is no vector.
pub(crate) fn import(
    file: &Path,
    name: &str,
    options: &OnnxOptions,
    models: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ModelManifest, EncoderError> {
    check_model_name(name, file, models)?;
    let network = read(file, options.output.as_deref())?;
    let inputs = network.inputs();
    let [input] = inputs.as_slice() else {
        let names: Vec<&str> = inputs
            .iter()
            .map(|input| input.name.as_str())
            .take(8)
            .collect();
        return Err(refused(
            file,
            format!(
                "expected one input, for audio, found {}: {}",
                inputs.len(),
                names.join(", ")
            ),
        ));
    };
    if input.whole {
        return Err(refused(
            file,
            "expected an input of real numbers, found whole numbers, as a text encoder takes them",
        ));
    }
    let fitted = front_end_of(options.front_end.as_deref(), &input.axes)
        .map_err(|reason| refused(file, reason))?;
    let settings = OnnxSettings {
        input: input.name.clone(),
        axes: fitted.axes,
        text: None,
    };
    // One run before anything is stored, so that a network that tract cannot run is refused here and not at the first track.
    let dimension = try_out(network.as_ref(), &settings, &fitted.config)
        .map_err(|reason| refused(file, reason))?;
    let text = match (&options.text, &options.tokenizer) {
        (Some(text), Some(tokenizer)) => {
            Some(read_text(text, tokenizer, options, dimension, progress)?)
        }
        (None, None) => None,
        _ => {
            return Err(refused(
                file,
                "--text needs --tokenizer, and --tokenizer needs --text",
            ));
        }
    };

    std::fs::create_dir_all(models).map_err(io(models))?;
    let named = |ending: &str| format!("{name}.{ending}");
    let keep = |ending: &str, bytes: &[u8]| -> Result<(String, String), EncoderError> {
        let path = models.join(named(ending));
        atomic_file::write(&path, bytes).map_err(io(&path))?;
        Ok((named(ending), digest_of_file(&path)?))
    };
    let text = match text {
        None => None,
        Some(read) => {
            let (weights, weights_sha256) = keep("text.onnx", &read.network)?;
            let (tokenizer, tokenizer_sha256) = keep("tokenizer", &read.tokenizer)?;
            let captions = named("captions");
            let vectors = WeightTensor {
                shape: vec![read.captions.len(), dimension],
                values: read.captions.concat(),
            };
            Weights::new(name, [("captions".to_owned(), vectors)].into())
                .to_safetensors(&models.join(&captions))?;
            Some(OnnxText {
                weights,
                weights_sha256,
                tokenizer,
                tokenizer_sha256,
                captions_sha256: digest_of_file(&models.join(&captions))?,
                captions,
                tokens: read.tokens,
            })
        }
    };
    let (weights, weights_sha256) = keep("onnx", &network.to_bytes())?;
    let origin = file.file_name().unwrap_or_default().to_string_lossy();
    let output = network.outputs().concat();
    let card = file.with_file_name(CARD);
    let manifest = ModelManifest {
        format: 5,
        name: name.to_owned(),
        description: if text.is_some() {
            "an ONNX network that embeds music and text in one space".to_owned()
        } else {
            "an ONNX network".to_owned()
        },
        front_end: fitted.config,
        dimension,
        licence: options
            .licence
            .clone()
            .or_else(|| licence_of_card(&card))
            .unwrap_or_else(|| "unknown".to_owned()),
        provenance: format!("imported from {origin}, output {output}"),
        weights,
        weights_sha256,
        onnx: Some(OnnxSettings { text, ..settings }),
        ..ModelManifest::random(Architecture::Onnx, 0)
    };
    let path = models.join(named("json"));
    let json = serde_json::to_string_pretty(&manifest)
        .map_err(|error| refused(&path, error.to_string()))?;
    // The manifest last, so that a model without its files is never listed.
    atomic_file::write(&path, json + "\n").map_err(io(&path))?;
    Ok(manifest)
}

/// Reads a network with its external data, cut to one output.
fn read(path: &Path, output: Option<&str>) -> Result<Box<dyn OnnxGraph>, EncoderError> {
    let runtime = onnx_runtime(path)?;
    let bytes = regular_file::read(path, LARGEST).map_err(io(path))?;
    // One limit for all external files, since a graph may name any number of them.
    let mut left = LARGEST;
    let mut external = |name: &str| {
        let beside = path.with_file_name(name);
        // A link could include any file of this machine in the model.
        let kind = std::fs::symlink_metadata(&beside).map_err(|error| error.to_string())?;
        if !kind.is_file() {
            return Err("expected a file, found a link or a folder".to_owned());
        }
        let data = regular_file::read(&beside, left).map_err(|error| error.to_string())?;
        left -= data.len() as u64;
        Ok(data)
    };
    let mut network = runtime.read(&bytes, &mut external).map_err(failed(path))?;
    network.cut(output).map_err(failed(path))?;
    Ok(network)
}

/// Runs the network once, on plausible values of a spectrogram.
///
/// - returns: the length of its vectors
fn try_out(
    file: &dyn OnnxGraph,
    settings: &OnnxSettings,
    front_end: &voisin_features::MelConfig,
) -> Result<usize, String> {
    let shape = settings.shape(front_end);
    let network = file.compile(&[(&settings.input, &shape)])?;
    let found = network.output_shape();
    let length = onnx_vector_length(found)
        .filter(|length| *length <= 1 << 16)
        .ok_or_else(|| format!("its output has the shape {found:?}, expected a vector for a window: name another with --output"))?;
    // On a constant input a network that normalises may divide by zero, and would be refused.
    let ramp: Vec<f32> = (0..front_end.cells())
        .map(|i| (i * 37 % 101) as f32 / 101.0)
        .collect();
    let output = network.run(&[OnnxValues::Floats(&ramp)])?;
    if output.iter().any(|x| !x.is_finite()) {
        return Err("its output has numbers that are not finite".to_owned());
    }
    Ok(length)
}

/// A text encoder that was run once.
struct TextSide {
    network: Vec<u8>,
    tokenizer: Vec<u8>,
    tokens: usize,
    captions: Vec<Vec<f32>>,
}

fn read_text(
    path: &Path,
    tokenizer: &Path,
    options: &OnnxOptions,
    dimension: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<TextSide, EncoderError> {
    let network = read(path, options.text_output.as_deref())?;
    let inputs = network.inputs();
    let ids = inputs.iter().find(|input| input.name == "input_ids");
    let ids = ids.ok_or_else(|| refused(path, "expected the input input_ids of a text encoder"))?;
    // A length that is fixed in the network takes precedence: texts are padded to it.
    let tokens = ids.axes.last().copied().flatten().unwrap_or(TOKENS);
    let bytes = network.to_bytes();
    let tokenizer_bytes = regular_file::read(tokenizer, LARGEST_TEXT).map_err(io(tokenizer))?;
    let text = OnnxText {
        weights: path.display().to_string(),
        weights_sha256: String::new(),
        tokenizer: tokenizer.display().to_string(),
        tokenizer_sha256: String::new(),
        captions: String::new(),
        captions_sha256: String::new(),
        tokens,
    };
    let (tower, length) = ClapText::open_onnx(&bytes, &text, &tokenizer_bytes)?;
    if length != dimension {
        return Err(refused(
            path,
            format!(
                "its vectors have {length} numbers, those of the audio network {dimension}: expected one space"
            ),
        ));
    }
    let captions = read_captions(&tower, path, progress)?;
    Ok(TextSide {
        network: bytes,
        tokenizer: tokenizer_bytes,
        tokens,
        captions,
    })
}
