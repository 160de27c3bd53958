//! Reads OpenL3's published weights in several formats.
//!
//! | format | written by | recognised by |
//! |---|---|---|
//! | Keras HDF5 (`.h5`) | openl3 | HDF5's signature |
//! | frozen TensorFlow graph (`.pb`) | Essentia | the fields of a `GraphDef` |
//! | ONNX (`.onnx`) | Essentia, exports from PyTorch | the fields of a `ModelProto` |
//! | torch archive (`.pth`, `.pth.tar`) | torchopenl3 | a zip with `data.pkl`, or torch's older magic number |
//! | safetensors | anything | its header |
//!
//! Contents decide, never the name. Every reader returns the names of torchopenl3 (kernels
//! `[out, in, height, width]`), with widths taken from the file and checked against each other.
//!
//! Files are not trusted: nothing in them is executed, sizes are compared with the available bytes
//! before anything is allocated, nesting and counts are bounded. Batch norms of graphs may be
//! single nodes, separate multiplications and additions, or folded into the convolutions.
//!
//! [`import_clap`] imports a CLAP model in the hub's layout, [`import_onnx`] any network in ONNX.
//!
//! For: converting weights to the names and shapes of the networks here. Not for: running other networks.

#![forbid(unsafe_code)]

mod canonical;
mod clap;
mod constant;
mod front_ends;
mod graph;
mod keras;
mod matcher;
mod model;
mod onnx;
mod onnx_model;
mod pickle;
mod protobuf;
mod tensorflow;
mod torch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use voisin_base::regular_file;
use voisin_features::OpenL3Variant;

use voisin_encoder::{EncoderError, ModelManifest, read_safetensors};

pub use clap::{ClapError, import_clap, is_clap_folder};
pub use model::{accept_foreign_weights, import_model};
pub use onnx_model::OnnxModelError;
pub use voisin_encoder::WeightTensor;

/// Options of importing a network in ONNX.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// The spectrogram to feed it: a name, or the path of a TOML file with all numbers.
    pub front_end: Option<String>,
    /// The output or node with the vector; by default the only output.
    pub output: Option<String>,
    /// The file of a text encoder into the same space.
    pub text: Option<PathBuf>,
    /// Its `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
    /// Its output.
    pub text_output: Option<String>,
    /// Licence; by default that in the `README.md` beside the file.
    pub licence: Option<String>,
}

/// Whether a file is a network in ONNX that [`import_model`] does not support: one of another shape
/// than OpenL3's, or one for which other options are set.
pub fn is_other_onnx(file: &Path, options: &OnnxOptions) -> bool {
    let has_options =
        options.front_end.is_some() || options.output.is_some() || options.text.is_some();
    match import(file) {
        Ok(found) => has_options && found.format == WeightFormat::Onnx,
        Err(ImportError::OtherNetwork { format, .. } | ImportError::Damaged { format, .. }) => {
            format == WeightFormat::Onnx
        }
        // Larger than any weights of OpenL3.
        Err(ImportError::TooLarge { .. }) => file.extension().is_some_and(|e| e == "onnx"),
        Err(_) => false,
    }
}

/// Refuses a file that is no weights file of any kind, and one that is named as ONNX and cannot be read.
pub fn refuse_unknown(file: &Path) -> Result<(), EncoderError> {
    let Err(error) = import(file) else {
        return Ok(());
    };
    let is_unknown = matches!(
        error,
        ImportError::Io { .. } | ImportError::UnknownFormat { .. }
    );
    if is_unknown || file.extension().is_some_and(|e| e == "onnx") {
        return Err(EncoderError::Import(Box::new(error)));
    }
    Ok(())
}

/// Imports any network in ONNX into a folder of models; the process must have an ONNX runtime.
///
/// - `progress`: receives the number of captions embedded and the number of all
///
/// # Errors
/// It cannot be read or run, its input does not fit the front end, or its output is no vector.
pub fn import_onnx(
    file: &Path,
    name: &str,
    options: &OnnxOptions,
    models: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ModelManifest, EncoderError> {
    onnx_model::import(file, name, options, models, progress)
}

/// Largest file that is read: the published ones have 18 to 19 MB.
const MAX_FILE: u64 = 512 << 20;
/// Most numbers in one tensor; the network's largest has 2.4 million.
const MAX_ELEMENTS: usize = 1 << 22;
/// Most numbers that are decoded from one file, however often it refers to them; the network has 4.7 million.
const MAX_TOTAL: usize = 1 << 24;

/// The format of a weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// HDF5 as Keras writes it.
    Keras,
    /// A frozen TensorFlow graph.
    TensorFlow,
    /// ONNX.
    Onnx,
    /// `torch.save`, as a zip archive or in the form before torch 1.6.
    Torch,
    /// safetensors.
    Safetensors,
}

impl std::fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keras => "Keras HDF5",
            Self::TensorFlow => "frozen TensorFlow graph",
            Self::Onnx => "ONNX",
            Self::Torch => "torch archive",
            Self::Safetensors => "safetensors",
        })
    }
}

impl WeightFormat {
    /// Recognises a format by the contents of a file.
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        // HDF5 may begin after a user block of 512 bytes times a power of two.
        let hdf5 = |at: usize| {
            bytes
                .get(at..)
                .is_some_and(|rest| rest.starts_with(b"\x89HDF\r\n\x1a\n"))
        };
        // Up to 512 KiB: the specification sets no limit, and the search needs one.
        if hdf5(0) || (9..20).any(|power| hdf5(1 << power)) {
            return Some(Self::Keras);
        }
        // Protocol buffers come last: they have no signature, so almost any bytes could begin one.
        if bytes.starts_with(b"PK\x03\x04") || torch::is_legacy(bytes) {
            return Some(Self::Torch);
        }
        let header = bytes
            .first_chunk::<8>()
            .map(|size| u64::from_le_bytes(*size));
        // safetensors has no signature either, but a header of JSON whose length comes first.
        if header.is_some_and(|size| size < bytes.len() as u64)
            && bytes[8..].trim_ascii_start().starts_with(b"{")
        {
            return Some(Self::Safetensors);
        }
        if onnx::is_model(bytes) {
            return Some(Self::Onnx);
        }
        tensorflow::is_graph(bytes).then_some(Self::TensorFlow)
    }

    /// The licence that the publisher of OpenL3's weights in this format states; `None` if no publisher is known.
    pub fn published_licence(self) -> Option<&'static str> {
        match self {
            Self::Keras => {
                Some("CC BY 4.0 (openl3, Music and Audio Research Laboratory, New York University)")
            }
            Self::Torch => Some("CC BY 4.0 (openl3's weights as converted by torchopenl3)"),
            Self::TensorFlow | Self::Onnx => Some(
                "CC BY-NC-SA 4.0 (Essentia models, Music Technology Group, Universitat Pompeu Fabra)",
            ),
            Self::Safetensors => None,
        }
    }

    /// The spectrogram with which the publisher of this format computes embeddings; `None` if it cannot be known.
    pub fn published_variant(self) -> Option<OpenL3Variant> {
        match self {
            Self::Torch | Self::Keras => Some(OpenL3Variant::Original),
            Self::TensorFlow | Self::Onnx => Some(OpenL3Variant::Essentia),
            Self::Safetensors => None,
        }
    }
}

/// Weights from a file, with the network's names and order of axes.
#[derive(Debug, Clone)]
pub struct Imported {
    /// `batch_normalization_{1..8}.{weight,bias,running_mean,running_var}`, `conv2d_{1..7}.{weight,bias}`,
    /// `audio_embedding_layer.{weight,bias}`.
    pub tensors: BTreeMap<String, WeightTensor>,
    /// The format of the file.
    pub format: WeightFormat,
    /// The licence that the publisher states, if the format identifies the publisher.
    pub licence: Option<&'static str>,
    /// The spectrogram that the weights' publisher uses, if the file identifies it.
    pub variant: Option<OpenL3Variant>,
    /// Notes for the user, such as folded batch norms.
    pub notes: Vec<String>,
}

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("{path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any weights of this network.
    #[error("the file has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// Its size, or a part's.
        found: u64,
        /// The most that is read.
        limit: u64,
    },
    /// None of the formats.
    #[error(
        "not a weights file: expected Keras HDF5, a frozen TensorFlow graph, ONNX, a torch archive or safetensors, \
         found a file that begins with {found}"
    )]
    UnknownFormat {
        /// Its first bytes, in words or hex.
        found: String,
    },
    /// The file violates its format, or ends too early.
    #[error("damaged {format}: {reason}")]
    Damaged {
        /// The format as which it was recognised.
        format: WeightFormat,
        /// Expected and found.
        reason: String,
    },
    /// A valid file of another network.
    #[error("{format} of another network: {place}: expected {expected}, found {found}")]
    OtherNetwork {
        /// The format of the file.
        format: WeightFormat,
        /// Layer, tensor or node.
        place: String,
        /// The network's content there.
        expected: String,
        /// The file's content there.
        found: String,
    },
}

impl ImportError {
    fn damaged(format: WeightFormat, reason: impl Into<String>) -> Self {
        Self::Damaged {
            format,
            reason: reason.into(),
        }
    }

    fn other(
        format: WeightFormat,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::OtherNetwork {
            format,
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Reads a weights file of OpenL3 and checks its names and shapes, as [`parse`] does.
pub fn import(path: &Path) -> Result<Imported, ImportError> {
    parse(&read(path)?)
}

/// As [`import`], from memory. Widths are taken from the file and only compared with each other.
pub fn parse(bytes: &[u8]) -> Result<Imported, ImportError> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(ImportError::TooLarge {
            found: bytes.len() as u64,
            limit: MAX_FILE,
        });
    }
    let Some(format) = WeightFormat::recognise(bytes) else {
        return Err(ImportError::UnknownFormat {
            found: first_bytes(bytes),
        });
    };
    let mut notes = Vec::new();
    let mut variant = format.published_variant();
    let tensors = match format {
        WeightFormat::Keras => {
            let file = keras::read(bytes)?;
            if !file.has_spectrogram {
                // The same weights serve openl3 before and from 0.4, which feed them different spectrograms.
                variant = Some(OpenL3Variant::Kapre04);
                notes.push(
                    "the file has no spectrogram layer, as those of openl3 from 0.4, which feeds these weights the \
                     variant kapre04; they were trained with original"
                        .to_owned(),
                );
            }
            file.tensors
        }
        WeightFormat::TensorFlow => graph::assemble(format, &tensorflow::read(bytes)?, &mut notes)?,
        WeightFormat::Onnx => graph::assemble(format, &onnx::read(bytes)?, &mut notes)?,
        WeightFormat::Torch => torch::read(bytes)?,
        WeightFormat::Safetensors => read_safetensors(bytes)
            .map_err(|reason| ImportError::damaged(WeightFormat::Safetensors, reason))?,
    };
    let tensors = canonical::check(format, tensors)?;
    Ok(Imported {
        tensors,
        format,
        licence: format.published_licence(),
        variant,
        notes,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    regular_file::read(path, MAX_FILE).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => {
            // For the message only: the reader stopped before it knew the size.
            let found = std::fs::metadata(path).map_or(MAX_FILE + 1, |metadata| metadata.len());
            ImportError::TooLarge {
                found,
                limit: MAX_FILE,
            }
        }
        _ => ImportError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

fn first_bytes(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing: it is empty".to_owned(),
        [0x1f, 0x8b, ..] => "gzip's signature: unpack it first".to_owned(),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer: fetch the file itself".to_owned()
        }
        _ if bytes.trim_ascii_start().starts_with(b"<") => "a web page or XML".to_owned(),
        _ => {
            let hex: Vec<String> = bytes
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            hex.join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_named_in_the_error() {
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"\x1f\x8b\x08\x00rest", "gzip"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"RIFF....WAVE", "52 49 46 46"),
            (b"\x93NUMPY\x01\x00", "93 4e 55"),
        ] {
            let message = parse(bytes).unwrap_err().to_string();
            assert!(
                message.starts_with("not a weights file") && message.contains(expected),
                "{message}"
            );
        }
    }

    #[test]
    fn an_error_names_a_missing_file() {
        let error = import(Path::new("no/such/openl3.h5")).unwrap_err();
        let message = voisin_base::text::with_causes(&error);
        assert!(message.starts_with("no/such/openl3.h5: "), "{message}");
    }
}
