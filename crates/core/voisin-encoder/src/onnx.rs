//! Networks of other programs as ONNX files.
//!
//! The manifest has the inputs' layout ([`OnnxSettings`]). They run on a CPU, a window at a time, whatever device is
//! requested, by the runtime that the program installed ([`install_onnx_runtime`]).
//!
//! Not here: reading foreign files (`voisin-import`), and running them (`voisin-onnx`).

pub(super) mod running;
mod runtime;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::manifest::map_beside;
use super::{EncoderError, ModelManifest, ModelRef};
use voisin_features::MelConfig;

pub use runtime::{
    ExternalData, OnnxGraph, OnnxInput, OnnxRunner, OnnxRuntime, OnnxValues, install_onnx_runtime,
    onnx_runtime,
};

/// Inputs of an ONNX network, and its text encoder. Format 5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSettings {
    /// Name of its input.
    pub input: String,
    /// The axes of that input, in order.
    pub axes: Vec<OnnxAxis>,
    /// The text encoder, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<OnnxText>,
}

/// An axis of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnnxAxis {
    /// Windows; always one.
    Batch,
    /// Channels; always one.
    Channel,
    /// Mel bands.
    Mel,
    /// Frames, or samples.
    Time,
}

/// Files of a text encoder, beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxText {
    /// Its file.
    pub weights: String,
    /// SHA-256 of that file.
    pub weights_sha256: String,
    /// File name of the tokenizer.
    pub tokenizer: String,
    /// SHA-256 of that file.
    pub tokenizer_sha256: String,
    /// File name of the vectors of [`captions`](crate::captions).
    pub captions: String,
    /// SHA-256 of that file.
    pub captions_sha256: String,
    /// Number of tokens of its input; shorter texts are padded.
    pub tokens: usize,
}

impl OnnxSettings {
    /// Most axes of an input.
    const MOST_AXES: usize = 6;

    /// The usual order of this many axes.
    pub fn default_axes(rank: usize) -> Vec<OnnxAxis> {
        use OnnxAxis::{Batch, Channel, Mel, Time};
        match rank {
            0 | 1 => vec![Time],
            2 => vec![Batch, Time],
            3 => vec![Batch, Mel, Time],
            _ => vec![Batch, Channel, Mel, Time],
        }
    }

    /// Shape of the input.
    pub fn shape(&self, front_end: &MelConfig) -> Vec<usize> {
        let length = |axis: &OnnxAxis| match axis {
            OnnxAxis::Batch | OnnxAxis::Channel => 1,
            OnnxAxis::Mel => front_end.n_mels(),
            OnnxAxis::Time => front_end.n_frames(),
        };
        self.axes.iter().map(length).collect()
    }

    /// Whether frames are the slower axis of a window, and not bands.
    fn is_transposed(&self) -> bool {
        let at = |axis| self.axes.iter().position(|found| *found == axis);
        at(OnnxAxis::Mel).is_some_and(|mel| at(OnnxAxis::Time).is_some_and(|time| time < mel))
    }

    /// Whether the axes are those of a spectrogram or of samples.
    pub(super) fn check(&self, front_end: &MelConfig) -> Result<(), String> {
        let count = |axis| self.axes.iter().filter(|found| **found == axis).count();
        let is_whole = count(OnnxAxis::Time) == 1
            && count(OnnxAxis::Mel) <= 1
            && count(OnnxAxis::Batch) <= 1
            && self.axes.len() <= Self::MOST_AXES
            && (count(OnnxAxis::Mel) == 1 || front_end.n_mels() == 1);
        if is_whole {
            return Ok(());
        }
        Err(format!(
            "\"axes\" of \"onnx\" are {:?}: expected time, mel (but for samples), and any of batch and channel",
            self.axes
        ))
    }

    /// The settings that change a vector.
    pub(super) fn fingerprint(&self) -> String {
        format!("onnx {} {:?}", self.input, self.axes)
    }
}

/// Reduces an output to one vector: its last axis if it has at most three, with the mean over the second (frames);
/// else the second, with the mean over the later ones.
///
/// - returns: `None` for a shape with several windows, or none
pub fn onnx_vector_length(shape: &[usize]) -> Option<usize> {
    let length = match shape {
        [d] | [1, d] => *d,
        [1, frames, d] if *frames > 0 => *d,
        [1, channels, rest @ ..] if !rest.contains(&0) && !rest.is_empty() => *channels,
        _ => return None,
    };
    (length > 0).then_some(length)
}

/// The files of an ONNX model.
pub(super) struct OnnxFiles {
    pub(super) manifest: ModelManifest,
    pub(super) settings: OnnxSettings,
    /// A file of their folder.
    beside: PathBuf,
}

impl OnnxFiles {
    /// `None` for other models.
    pub(super) fn of(model: &ModelRef) -> Result<Option<Self>, EncoderError> {
        let Some((manifest, beside)) = model.located()? else {
            return Ok(None);
        };
        let settings = manifest.onnx.clone();
        Ok(settings.map(|settings| Self {
            manifest,
            settings,
            beside,
        }))
    }

    /// A file beside the manifest, mapped.
    pub(super) fn map(
        &self,
        name: &str,
        digest: &str,
    ) -> Result<impl std::ops::Deref<Target = [u8]> + use<>, EncoderError> {
        map_beside(&self.beside, name, digest)
    }

    /// The audio encoder.
    pub(super) fn audio(&self) -> Result<Box<dyn Backend>, EncoderError> {
        Ok(Box::new(running::OnnxEncoder::new(self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_all_ranks_become_one_vector() {
        for (shape, expected) in [
            (&[5][..], Some(5)),
            (&[1, 5], Some(5)),
            (&[1, 7, 5], Some(5)),
            (&[1, 5, 2, 3], Some(5)),
            (&[2, 5], None),
            (&[1, 0, 5], None),
            (&[1, 0], None),
            (&[], None),
            (&[1, 5, 0, 3], None),
        ] {
            assert_eq!(onnx_vector_length(shape), expected, "{shape:?}");
        }
    }

    #[test]
    fn frames_and_pixels_are_averaged() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let vector = running::vector;
        assert_eq!(vector(&values, &[1, 3, 2]), [3.0, 4.0]);
        assert_eq!(vector(&values, &[1, 2, 3, 1]), [2.0, 5.0]);
        assert_eq!(vector(&values, &[1, 6]), values);
    }
}
