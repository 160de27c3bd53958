//! Networks of other programs as ONNX files.
//!
//! The manifest says how a file is fed ([`OnnxSettings`]); running it takes the feature `onnx`. They run on a CPU, a
//! window at a time, whatever device is asked for.
//!
//! Not here: reading foreign files (`voisin-import`), and running them (`voisin-onnx`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::manifest::sha256_hex;
use super::{EncoderError, ModelManifest, ModelRef};
use voisin_base::regular_file;
use voisin_features::MelConfig;
use voisin_kernels::buffer::map_file;

/// How an ONNX network is fed, and the one that reads beside it. Format 5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSettings {
    /// Name of its input.
    pub input: String,
    /// The axes of that input, in order.
    pub axes: Vec<OnnxAxis>,
    /// The network that reads, where there is one.
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

/// Files of a network that reads, beside the manifest.
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
    /// Tokens that it is given at once; shorter texts are padded.
    pub tokens: usize,
}

impl OnnxSettings {
    /// Most axes of an input.
    const MOST_AXES: usize = 6;

    /// The usual order of so many axes.
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

    /// Whether a window's frames stand one behind the other, and not its bands.
    #[cfg(feature = "onnx")]
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

/// Brings an output to one vector: its last axis where it has at most three, of which the second (frames) is averaged;
/// the second where it has more, with the mean over those behind it.
///
/// - returns: `None` for a shape that holds several windows, or nothing
pub fn onnx_vector_length(shape: &[usize]) -> Option<usize> {
    let length = match shape {
        [d] | [1, d] => *d,
        [1, frames, d] if *frames > 0 => *d,
        [1, channels, rest @ ..] if !rest.contains(&0) && !rest.is_empty() => *channels,
        _ => return None,
    };
    (length > 0).then_some(length)
}

/// The vector of an output; see [`onnx_vector_length`].
#[cfg(feature = "onnx")]
fn vector(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let Some(length) = onnx_vector_length(shape) else {
        return Vec::new();
    };
    let others = values.len() / length;
    if shape.len() > 3 {
        let mean = |channel: &[f32]| channel.iter().map(|x| f64::from(*x)).sum::<f64>();
        return values
            .chunks_exact(others)
            .map(|channel| (mean(channel) / others as f64) as f32)
            .collect();
    }
    let mut sums = vec![0_f64; length];
    for frame in values.chunks_exact(length) {
        for (sum, x) in sums.iter_mut().zip(frame) {
            *sum += f64::from(*x);
        }
    }
    sums.into_iter()
        .map(|sum| (sum / others as f64) as f32)
        .collect()
}

/// The files of an ONNX model.
pub(super) struct OnnxFiles {
    pub(super) manifest: ModelManifest,
    pub(super) settings: OnnxSettings,
    /// A file of the folder that they lie in.
    beside: PathBuf,
}

impl OnnxFiles {
    /// `None` for a model of another kind.
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
        let path = self.beside.with_file_name(name);
        let file = regular_file::open(&path).map_err(EncoderError::io(&path))?;
        let map = map_file(&file).map_err(EncoderError::io(&path))?;
        let found = sha256_hex(&map);
        if found != digest {
            return Err(EncoderError::WrongDigest {
                path,
                expected: digest.to_owned(),
                found,
            });
        }
        Ok(map)
    }

    /// The network that hears.
    pub(super) fn audio(&self) -> Result<Box<dyn Backend>, EncoderError> {
        #[cfg(feature = "onnx")]
        return Ok(Box::new(running::OnnxEncoder::new(self)?));
        #[cfg(not(feature = "onnx"))]
        Err(onnx_is_missing(Path::new(&self.manifest.weights)))
    }
}

/// A voisin without the feature met an ONNX network.
pub fn onnx_is_missing(file: &Path) -> EncoderError {
    EncoderError::BadWeights {
        origin: file.display().to_string(),
        reason: "an ONNX network, which this voisin was built without: take a package of a release, or build it with \
                 `cargo install --path . --features onnx`"
            .to_owned(),
    }
}

#[cfg(feature = "onnx")]
pub(super) mod running {
    //! Networks that run.

    use std::path::Path;

    use rayon::iter::ParallelIterator;
    use rayon::slice::ParallelSlice;
    use voisin_onnx::{OnnxError, OnnxFile, OnnxNetwork, OnnxValues};

    use super::{OnnxFiles, OnnxText, onnx_vector_length, vector};
    use crate::backend::{Backend, Pass};
    use crate::{EncoderError, Precision};

    pub(super) struct OnnxEncoder {
        network: OnnxNetwork,
        /// Mel bands, where frames come first.
        bands: Option<usize>,
        cells: usize,
    }

    fn failed(origin: &str) -> impl Fn(OnnxError) -> EncoderError + Sync {
        move |error| EncoderError::BadWeights {
            origin: origin.to_owned(),
            reason: error.to_string(),
        }
    }

    fn read(bytes: &[u8], origin: &str) -> Result<OnnxFile, EncoderError> {
        // An import leaves no data in other files.
        OnnxFile::read(bytes, |_| {
            Err("expected all data within the file".to_owned())
        })
        .map_err(failed(origin))
    }

    impl OnnxEncoder {
        pub(super) fn new(files: &OnnxFiles) -> Result<Self, EncoderError> {
            let manifest = &files.manifest;
            let bytes = files.map(&manifest.weights, &manifest.weights_sha256)?;
            let file = read(&bytes, &manifest.weights)?;
            let shape = files.settings.shape(&manifest.front_end);
            let network = OnnxNetwork::new(&file, &[(&files.settings.input, &shape)])
                .map_err(failed(&manifest.weights))?;
            let found = onnx_vector_length(network.output_shape());
            if found != Some(manifest.dimension) {
                return Err(EncoderError::BadWeights {
                    origin: manifest.weights.clone(),
                    reason: format!(
                        "its output has the shape {:?}, expected {} numbers",
                        network.output_shape(),
                        manifest.dimension
                    ),
                });
            }
            let bands = manifest.front_end.n_mels();
            Ok(Self {
                network,
                bands: files.settings.is_transposed().then_some(bands),
                cells: manifest.front_end.cells(),
            })
        }

        fn window(&self, mel: &[f32]) -> Result<Vec<f32>, EncoderError> {
            let turned;
            let values = match self.bands {
                Some(bands) => {
                    let frames = mel.len() / bands;
                    turned = (0..mel.len())
                        .map(|i| mel[i % bands * frames + i / bands])
                        .collect::<Vec<f32>>();
                    &turned
                }
                None => mel,
            };
            let output = self.network.run(&[OnnxValues::Floats(values)]);
            let output = output.map_err(failed("the network"))?;
            Ok(vector(&output, self.network.output_shape()))
        }
    }

    impl Backend for OnnxEncoder {
        fn forward(&self, mels: &[f32], _: usize) -> Result<Pass, EncoderError> {
            let windows: Result<Vec<Vec<f32>>, EncoderError> = mels
                .par_chunks(self.cells)
                .map(|mel| self.window(mel))
                .collect();
            Ok(Pass {
                embeddings: windows?.concat(),
                logits: Vec::new(),
            })
        }

        fn precision(&self) -> Precision {
            Precision::F32
        }
    }

    /// A network that reads.
    pub(crate) struct OnnxReader {
        network: OnnxNetwork,
        tokens: usize,
        /// For each input, in order.
        inputs: Vec<TokenInput>,
    }

    #[derive(Clone, Copy)]
    enum TokenInput {
        Ids,
        Mask,
        Kinds,
    }

    impl OnnxReader {
        /// - `bytes`: of the file of `text`
        pub(crate) fn new(bytes: &[u8], text: &OnnxText) -> Result<Self, EncoderError> {
            let file = read(bytes, &text.weights)?;
            Self::of_file(&file, text.tokens, Path::new(&text.weights))
        }

        /// - `path`: for messages
        pub(crate) fn of_file(
            file: &OnnxFile,
            tokens: usize,
            path: &Path,
        ) -> Result<Self, EncoderError> {
            let origin = path.display().to_string();
            let shape = [1, tokens];
            let mut inputs = Vec::new();
            let mut shapes: Vec<(&str, &[usize])> = Vec::new();
            let found = file.inputs();
            for input in &found {
                inputs.push(match input.name.as_str() {
                    "input_ids" => TokenInput::Ids,
                    "attention_mask" => TokenInput::Mask,
                    "token_type_ids" => TokenInput::Kinds,
                    _ => {
                        return Err(EncoderError::BadWeights {
                            origin,
                            reason: "a network that reads has an input beside input_ids, attention_mask and \
                                     token_type_ids"
                                .to_owned(),
                        });
                    }
                });
                shapes.push((&input.name, &shape));
            }
            Ok(Self {
                network: OnnxNetwork::new(file, &shapes).map_err(failed(&origin))?,
                tokens,
                inputs,
            })
        }

        /// Length of its vectors; `None` where the output is none.
        pub(crate) fn dimension(&self) -> Option<usize> {
            match *self.network.output_shape() {
                [1, d] | [d] => Some(d),
                _ => None,
            }
        }

        /// - `ids`: tokens of a text, of which as many count as it takes
        /// - `padding`: the token behind them
        pub(crate) fn vector(&self, ids: &[u32], padding: u32) -> Result<Vec<f32>, EncoderError> {
            let n = ids.len().min(self.tokens);
            let padded = |given: &dyn Fn(usize) -> i64, rest: i64| -> Vec<i64> {
                let rest = std::iter::repeat_n(rest, self.tokens - n);
                (0..n).map(given).chain(rest).collect()
            };
            let values: Vec<Vec<i64>> = self
                .inputs
                .iter()
                .map(|input| match input {
                    TokenInput::Ids => padded(&|i| i64::from(ids[i]), i64::from(padding)),
                    TokenInput::Mask => padded(&|_| 1, 0),
                    TokenInput::Kinds => padded(&|_| 0, 0),
                })
                .collect();
            let values: Vec<OnnxValues<'_>> =
                values.iter().map(|v| OnnxValues::Wholes(v)).collect();
            let mut vector = self.network.run(&values).map_err(failed("the network"))?;
            voisin_base::vector::make_unit(&mut vector);
            Ok(vector)
        }
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

    #[cfg(feature = "onnx")]
    #[test]
    fn frames_and_pixels_are_averaged() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(vector(&values, &[1, 3, 2]), [3.0, 4.0]);
        assert_eq!(vector(&values, &[1, 2, 3, 1]), [2.0, 5.0]);
        assert_eq!(vector(&values, &[1, 6]), values);
    }
}
