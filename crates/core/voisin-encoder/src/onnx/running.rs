//! Audio and text encoders of ONNX networks.

use std::path::Path;

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::{
    OnnxFiles, OnnxGraph, OnnxRunner, OnnxText, OnnxValues, onnx_runtime, onnx_vector_length,
};
use crate::backend::{Backend, Pass};
use crate::{EncoderError, Precision};

pub(super) struct OnnxEncoder {
    network: Box<dyn OnnxRunner>,
    /// Mel bands, if frames come first.
    bands: Option<usize>,
    cells: usize,
}

fn failed(origin: &str) -> impl Fn(String) -> EncoderError + Sync {
    move |reason| EncoderError::BadWeights {
        origin: origin.to_owned(),
        reason,
    }
}

fn read(bytes: &[u8], origin: &str) -> Result<Box<dyn OnnxGraph>, EncoderError> {
    let runtime = onnx_runtime(Path::new(origin))?;
    // An import leaves no data in other files.
    let mut external = |_: &str| Err("expected all data within the file".to_owned());
    runtime.read(bytes, &mut external).map_err(failed(origin))
}

impl OnnxEncoder {
    pub(super) fn new(files: &OnnxFiles) -> Result<Self, EncoderError> {
        let manifest = &files.manifest;
        let bytes = files.map(&manifest.weights, &manifest.weights_sha256)?;
        let file = read(&bytes, &manifest.weights)?;
        let shape = files.settings.shape(&manifest.front_end);
        let network = file
            .compile(&[(&files.settings.input, &shape)])
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

/// A text encoder.
pub(crate) struct OnnxReader {
    network: Box<dyn OnnxRunner>,
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
        Self::of_file(file.as_ref(), text.tokens, Path::new(&text.weights))
    }

    /// - `path`: for messages
    pub(crate) fn of_file(
        file: &dyn OnnxGraph,
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
            network: file.compile(&shapes).map_err(failed(&origin))?,
            tokens,
            inputs,
        })
    }

    /// Length of its vectors; `None` if the output is no vector.
    pub(crate) fn dimension(&self) -> Option<usize> {
        match *self.network.output_shape() {
            [1, d] | [d] => Some(d),
            _ => None,
        }
    }

    /// - `ids`: tokens of a text, of which as many count as it takes
    /// - `padding`: the token after them
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
        let values: Vec<OnnxValues<'_>> = values.iter().map(|v| OnnxValues::Wholes(v)).collect();
        let mut vector = self.network.run(&values).map_err(failed("the network"))?;
        voisin_base::vector::make_unit(&mut vector);
        Ok(vector)
    }
}

/// The vector of an output; see [`onnx_vector_length`].
pub(super) fn vector(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let Some(length) = onnx_vector_length(shape) else {
        return Vec::new();
    };
    // Frames, or the positions after the channels, over which the mean is taken.
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
