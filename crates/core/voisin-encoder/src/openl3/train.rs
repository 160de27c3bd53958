//! OpenL3 in training: a chain of convolutions whose tensors have their names.

use std::ops::Range;

use super::weights::OpenL3Weights;
use super::{FRAMES, MELS};
use voisin_kernels::Isa;
use voisin_networks::conv::TrainChain;

/// Windows per pass of each convolution, for one step backward.
const TOGETHER: [usize; 8] = [2, 2, 4, 4, 8, 8, 8, 8];

/// Running statistics of a batch norm, in their order.
pub(super) const RUNNING: [&str; 2] = ["running_mean", "running_var"];

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

/// An OpenL3-shaped network in training, as [`TrainChain`].
#[derive(Debug)]
pub struct OpenL3Train {
    layout: Vec<Parameter>,
    dimension: usize,
    chain: TrainChain,
}

impl OpenL3Train {
    /// A trainer that starts from `weights`, for windows of 128 × 199.
    pub fn new(weights: &OpenL3Weights, isa: Isa) -> Self {
        Self::with_input(weights, MELS, FRAMES, isa)
    }

    /// As [`OpenL3Train::new`] for windows of `mels` × `frames` (each at least 8).
    ///
    /// # Panics
    /// If a window is smaller than 8 × 8.
    pub fn with_input(weights: &OpenL3Weights, mels: usize, frames: usize, isa: Isa) -> Self {
        assert!(
            mels >= 8 && frames >= 8,
            "three 2×2 pools need windows of 8 × 8 or more"
        );
        let mut layout = Vec::new();
        let mut len = 0;
        weights.for_each(|name, shape, values| {
            // Running statistics follow from batches; they have no gradient and are no parameters.
            if !name.contains(".running_") {
                let range = len..len + values.len();
                let shape = shape.to_vec();
                len = range.end;
                layout.push(Parameter {
                    name: name.to_owned(),
                    // Filters alone have four axes.
                    decays: shape.len() == 4,
                    shape,
                    range,
                });
            }
        });
        let plan = weights.network().plan([mels, frames], &TOGETHER);
        let mut chain = TrainChain::new(plan, true, isa);
        chain.set(Some(weights.input_norm.tensors()), &weights.tensors());
        Self {
            layout,
            dimension: weights.convs[7].cout,
            chain,
        }
    }

    /// Every trainable tensor and its place in the flat vectors.
    pub fn layout(&self) -> &[Parameter] {
        &self.layout
    }

    /// All trainable parameters, one after the other.
    pub fn parameters(&self) -> &[f32] {
        self.chain.parameters()
    }

    /// Gradients from the last [`backward`](Self::backward), laid out like the parameters.
    pub fn gradients(&self) -> &[f32] {
        self.chain.gradients()
    }

    /// The same, mutable, for gradients computed elsewhere.
    pub(super) fn gradients_mut(&mut self) -> &mut [f32] {
        self.chain.gradients_mut()
    }

    /// Running mean and variance of norm `i` (0: the input's, which the chain does not count).
    pub(super) fn running(&self, i: usize) -> [&[f32]; 2] {
        self.chain.running(i.checked_sub(1))
    }

    /// Sets the running statistics of norm `i`.
    pub(super) fn set_running(&mut self, i: usize, mean: Vec<f32>, variance: Vec<f32>) {
        self.chain.set_running(i.checked_sub(1), mean, variance);
    }

    /// Parameters to change and gradients to read, for an optimiser.
    pub fn parameters_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        self.chain.parameters_and_gradients()
    }

    /// Length of an embedding.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The present parameters and running statistics.
    pub fn weights(&self) -> OpenL3Weights {
        let named = |name: &str| {
            if let Some(parameter) = self.layout.iter().find(|parameter| parameter.name == name) {
                return Some(self.parameters()[parameter.range.clone()].to_vec());
            }
            let (norm, part) = name.strip_prefix("batch_normalization_")?.split_once('.')?;
            let [mean, variance] = self.running(norm.parse::<usize>().ok()?.checked_sub(1)?);
            let values = if part == RUNNING[0] { mean } else { variance };
            Some(values.to_vec())
        };
        OpenL3Weights::from_named(named).expect("it was made from a network of these widths")
    }

    /// Embeddings of `n` windows (`[window][mel][frame]`, dB) with batch statistics, which also move
    /// the running ones. Returns n · [`dimension`](Self::dimension) values.
    ///
    /// # Panics
    /// If `mels` is shorter than stated, or `n` is 0.
    pub fn forward(&mut self, mels: &[f32], n: usize) -> Vec<f32> {
        self.chain.forward(mels, n, &mut |_, _| None)
    }

    /// Gradients of all parameters from the gradient of the embeddings that the last
    /// [`forward`](Self::forward) returned; read them with [`gradients`](Self::gradients).
    ///
    /// # Panics
    /// If `d_embeddings` has another length than those.
    pub fn backward(&mut self, d_embeddings: &[f32]) {
        self.chain.backward(d_embeddings);
    }
}
