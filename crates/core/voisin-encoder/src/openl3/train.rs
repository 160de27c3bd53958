//! OpenL3 in training, by Candle's gradients.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{DType, Tensor, Var};
use candle_nn::VarBuilder;

use super::weights::OpenL3Weights;
use super::{FRAMES, MELS};
use crate::network::LARGEST_ON_GPU;
use crate::networks::ConvNet;
use crate::{Device, EncoderError};

/// A tensor's place in the flat parameter and gradient vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// torchopenl3's name, such as `conv2d_3.weight`.
    pub name: String,
    /// Its shape; `[out, in, 3, 3]` for filters.
    pub shape: Vec<usize>,
    /// Its range in [`OpenL3Train::parameters`] and [`OpenL3Train::gradients`].
    pub range: Range<usize>,
    /// Whether it is a filter bank, to which weight decay applies (biases and batch norms are not).
    pub decays: bool,
}

/// An OpenL3-shaped network in training. Parameters, gradients and running statistics lie on the host, so that
/// optimisers and checkpoints do not depend on the device.
#[derive(Debug)]
pub struct OpenL3Train {
    device: candle_core::Device,
    input: (usize, usize),
    channels: [usize; 9],
    layout: Vec<Parameter>,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    /// Running mean and variance by name.
    running: HashMap<String, Vec<f32>>,
    last: Option<LastPass>,
}

/// What the gradients of a pass are computed from.
#[derive(Debug)]
struct LastPass {
    /// In the order of the layout.
    vars: Vec<Var>,
    embeddings: Tensor,
}

impl OpenL3Train {
    /// A trainer that starts from `weights`, for windows of 128 × 199.
    pub fn new(weights: &OpenL3Weights, device: &Device) -> Self {
        Self::with_input(weights, MELS, FRAMES, device)
    }

    /// As [`OpenL3Train::new`] for windows of `mels` × `frames` (each at least 8).
    ///
    /// # Panics
    /// If a window is smaller than 8 × 8.
    pub fn with_input(
        weights: &OpenL3Weights,
        mels: usize,
        frames: usize,
        device: &Device,
    ) -> Self {
        assert!(
            mels >= 8 && frames >= 8,
            "three 2×2 pools need windows of 8 × 8 or more"
        );
        let mut layout = Vec::new();
        let mut parameters = Vec::new();
        let mut running = HashMap::new();
        weights.for_each(|name, shape, values| {
            // Running statistics follow from batches; they have no gradient and are no parameters.
            if name.contains(".running_") {
                running.insert(name.to_owned(), values.to_vec());
                return;
            }
            let start = parameters.len();
            parameters.extend_from_slice(values);
            layout.push(Parameter {
                name: name.to_owned(),
                // Filters alone have four axes.
                decays: shape.len() == 4,
                shape: shape.to_vec(),
                range: start..parameters.len(),
            });
        });
        Self {
            device: device.candle().clone(),
            input: (mels, frames),
            channels: weights.channels(),
            layout,
            gradients: vec![0.0; parameters.len()],
            parameters,
            running,
            last: None,
        }
    }

    /// Every trainable tensor and its place in the flat vectors.
    pub fn layout(&self) -> &[Parameter] {
        &self.layout
    }

    /// All trainable parameters, one after the other.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Gradients from the last [`backward`](Self::backward), laid out like the parameters.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Parameters to change and gradients to read, for an optimiser.
    pub fn parameters_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.parameters, &self.gradients)
    }

    /// Length of an embedding.
    pub fn dimension(&self) -> usize {
        self.channels[8]
    }

    /// The present parameters and running statistics.
    pub fn weights(&self) -> OpenL3Weights {
        let named = |name: &str| match self.layout.iter().find(|one| one.name == name) {
            Some(parameter) => Some(self.parameters[parameter.range.clone()].to_vec()),
            None => self.running.get(name).cloned(),
        };
        OpenL3Weights::from_named(named).expect("it was made from a network of these widths")
    }

    /// Embeddings of `n` windows (`[window][mel][frame]`, dB) with batch statistics, which also move
    /// the running ones. Returns n · [`dimension`](Self::dimension) values.
    ///
    /// # Panics
    /// If `mels` is shorter than stated, or `n` is 0.
    pub fn forward(&mut self, mels: &[f32], n: usize) -> Result<Vec<f32>, EncoderError> {
        let (h, w) = self.input;
        assert!(
            n > 0 && mels.len() >= n * h * w,
            "expected {n} windows of {h} × {w}, found {}",
            mels.len()
        );
        if self.device.is_cuda() {
            let most = (LARGEST_ON_GPU - 1) / (9 * h * w * self.channels[1]);
            if n > most {
                let error = format!("{n} windows at once: expected at most {most} on a GPU");
                return Err(candle_core::Error::Msg(error).into());
            }
        }
        let mut tensors = HashMap::new();
        // Rebuilt in every step, as the optimiser changes the parameters on the host.
        let mut vars = Vec::new();
        for parameter in &self.layout {
            let values = &self.parameters[parameter.range.clone()];
            let var = Var::from_slice(values, parameter.shape.as_slice(), &self.device)?;
            tensors.insert(parameter.name.clone(), var.as_tensor().clone());
            vars.push(var);
        }
        for (name, values) in &self.running {
            let tensor = Tensor::from_slice(values, values.len(), &self.device)?;
            tensors.insert(name.clone(), tensor);
        }
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &self.device);
        let network = ConvNet::openl3(&self.channels, &vb)?;
        let mels = Tensor::from_slice(&mels[..n * h * w], (n, 1, h, w), &self.device)?;
        let embeddings = network.forward_t(&mels, true)?;
        let values = embeddings.flatten_all()?.to_vec1()?;
        for (i, norm) in network.norms().enumerate() {
            for (part, tensor) in [
                ("running_mean", norm.running_mean()),
                ("running_var", norm.running_var()),
            ] {
                let name = format!("batch_normalization_{}.{part}", i + 1);
                self.running.insert(name, tensor.to_vec1()?);
            }
        }
        self.last = Some(LastPass { vars, embeddings });
        Ok(values)
    }

    /// Gradients of all parameters from the gradient of the embeddings that the last
    /// [`forward`](Self::forward) returned; read them with [`gradients`](Self::gradients).
    ///
    /// # Panics
    /// Without a [`forward`](Self::forward) before it.
    pub fn backward(&mut self, gradient: &[f32]) -> Result<(), EncoderError> {
        let LastPass { vars, embeddings } =
            self.last.take().expect("forward comes before backward");
        let gradient = Tensor::from_slice(gradient, embeddings.dims(), &self.device)?;
        // Candle differentiates a scalar: the sum of these products has the given gradient at the
        // embeddings.
        let found = (embeddings * gradient)?.sum_all()?.backward()?;
        for (parameter, var) in self.layout.iter().zip(&vars) {
            let to = &mut self.gradients[parameter.range.clone()];
            // A bias before a batch norm has none: it is left out of the graph.
            match found.get(var) {
                Some(found) => to.copy_from_slice(&found.flatten_all()?.to_vec1::<f32>()?),
                None => to.fill(0.0),
            }
        }
        Ok(())
    }
}
