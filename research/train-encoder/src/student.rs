//! The network in training, on any device, and linear layers after it.

use crate::head::TeacherHead;
use voisin_encoder::Device;
use voisin_encoder::openl3::{OpenL3Train, OpenL3TrainOnDevice, OpenL3Weights};
use voisin_kernels::isa;
use voisin_train::session::BlockVisitor;

/// The network in training: on the CPU with voisin's kernels, elsewhere with Candle.
#[derive(Debug)]
pub enum Student {
    /// On the CPU.
    Fast(Box<OpenL3Train>),
    /// On a device of Candle.
    Device(Box<OpenL3TrainOnDevice>),
}

impl Student {
    /// A network in training that begins with `weights`.
    ///
    /// # Errors
    /// The requested instruction set is not available.
    pub fn new(weights: &OpenL3Weights, device: &Device) -> anyhow::Result<Self> {
        if device.is_gpu() {
            Ok(Self::Device(Box::new(OpenL3TrainOnDevice::new(
                weights, device,
            ))))
        } else {
            Ok(Self::Fast(Box::new(OpenL3Train::new(weights, isa()?))))
        }
    }

    /// Embeddings of `n` windows.
    pub fn forward(&mut self, mels: &[f32], n: usize) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::Fast(net) => Ok(net.forward(mels, n)),
            Self::Device(net) => Ok(net.forward(mels, n)?),
        }
    }

    /// Gradients of the parameters, from those of the last embeddings.
    pub fn backward(&mut self, gradient: &[f32]) -> anyhow::Result<()> {
        match self {
            Self::Fast(net) => net.backward(gradient),
            Self::Device(net) => net.backward(gradient)?,
        }
        Ok(())
    }

    /// Parameters, gradients and statistics.
    pub fn state(&self) -> &OpenL3Train {
        match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host(),
        }
    }

    /// Parameters and gradients.
    pub fn show(&mut self, visit: &mut BlockVisitor<'_>) {
        // For a GPU these are the host's copies, which the optimiser updates.
        let state = match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host_mut(),
        };
        let mut decays = vec![false; state.parameters().len()];
        for parameter in state.layout().iter().filter(|parameter| parameter.decays) {
            decays[parameter.range.clone()].fill(true);
        }
        let (parameters, gradients) = state.parameters_and_gradients();
        visit(parameters, gradients, &decays);
    }
}

/// A linear layer in training.
#[derive(Debug)]
pub struct LearningLayer {
    /// Its current parameters.
    pub linear: TeacherHead,
    gradients: Vec<f32>,
    decays: Vec<bool>,
    /// The inputs of the last pass.
    given: Vec<f32>,
}

impl LearningLayer {
    /// A layer that begins with these parameters.
    pub fn new(linear: TeacherHead) -> Self {
        // The matrix decays, the bias does not.
        let decays = (0..linear.parameters.len())
            .map(|at| at < linear.inputs * linear.outputs)
            .collect();
        let gradients = vec![0.0; linear.parameters.len()];
        Self {
            linear,
            gradients,
            decays,
            given: Vec::new(),
        }
    }

    /// Outputs, `[n][outputs]`, for inputs `[n][inputs]`.
    pub fn forward(&mut self, given: Vec<f32>) -> Vec<f32> {
        self.given = given;
        self.linear.forward(&self.given)
    }

    /// Computes the gradient of the last inputs from that of the outputs.
    pub fn backward(&mut self, gradient: &[f32]) -> Vec<f32> {
        self.linear
            .backward(&self.given, gradient, &mut self.gradients)
    }

    /// Parameters and gradients.
    pub fn show(&mut self, visit: &mut BlockVisitor<'_>) {
        visit(&mut self.linear.parameters, &self.gradients, &self.decays);
    }
}
