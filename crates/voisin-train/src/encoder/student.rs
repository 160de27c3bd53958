//! The network in training, wherever its steps are computed, and with the linear layer behind it.

use super::{TeacherHead, TrainError};
use crate::session::BlockVisitor;
use voisin_encoder::{Device, OpenL3TrainOnDevice, Precision};
use voisin_kernels::conv::{OpenL3Train, OpenL3Weights};
use voisin_kernels::isa;

/// On the CPU by the project's own kernels, elsewhere by Candle.
pub(crate) enum Student {
    Fast(Box<OpenL3Train>),
    Device(Box<OpenL3TrainOnDevice>),
}

impl Student {
    pub(crate) fn new(
        precision: Precision,
        weights: &OpenL3Weights,
        device: &Device,
    ) -> Result<Self, TrainError> {
        if device.is_gpu() {
            Ok(Self::Device(Box::new(OpenL3TrainOnDevice::new(weights, device, precision))))
        } else {
            Ok(Self::Fast(Box::new(OpenL3Train::new(weights, isa()?, precision, precision))))
        }
    }

    /// Embeddings of `n` windows.
    pub(crate) fn forward(&mut self, mels: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Fast(net) => Ok(net.forward(mels, n)),
            Self::Device(net) => Ok(net.forward(mels, n)?),
        }
    }

    pub(crate) fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError> {
        match self {
            Self::Fast(net) => net.backward(gradient),
            Self::Device(net) => net.backward(gradient)?,
        }
        Ok(())
    }

    /// Parameters, gradients and statistics.
    pub(crate) fn state(&self) -> &OpenL3Train {
        match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host(),
        }
    }

    pub(crate) fn state_mut(&mut self) -> &mut OpenL3Train {
        match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host_mut(),
        }
    }
}

/// The network with a linear layer behind it.
pub(crate) struct HeadedNet {
    pub(crate) net: Student,
    pub(crate) head: TeacherHead,
    head_gradients: Vec<f32>,
    decays: [Vec<bool>; 2],
    /// Of the last pass.
    embeddings: Vec<f32>,
}

impl HeadedNet {
    pub(crate) fn new(net: Student, head: TeacherHead) -> Self {
        let mut own = vec![false; net.state().parameters().len()];
        for parameter in net.state().layout().iter().filter(|parameter| parameter.decays) {
            own[parameter.range.clone()].fill(true);
        }
        let rows = (0..head.parameters.len()).map(|at| at < head.inputs * head.outputs).collect();
        let head_gradients = vec![0.0; head.parameters.len()];
        Self { net, head, head_gradients, decays: [own, rows], embeddings: Vec::new() }
    }

    /// What the layer says of `n` windows.
    pub(crate) fn forward(&mut self, mels: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        self.embeddings = self.net.forward(mels, n)?;
        Ok(self.head.forward(&self.embeddings))
    }

    /// What the network said in the last pass.
    pub(crate) fn embeddings(&self) -> &[f32] {
        &self.embeddings
    }

    /// From the gradient of the last pass to those of both blocks.
    ///
    /// - `besides`: a gradient of the embeddings that does not come through the layer
    pub(crate) fn backward(&mut self, gradient: &[f32], besides: Option<&[f32]>) -> Result<(), TrainError> {
        let mut d = self.head.backward(&self.embeddings, gradient, &mut self.head_gradients);
        d.iter_mut().zip(besides.unwrap_or_default()).for_each(|(d, more)| *d += more);
        self.net.backward(&d)
    }

    /// The network, then the layer.
    pub(crate) fn each_block(&mut self, visit: &mut BlockVisitor<'_>) {
        let [own, rows] = &self.decays;
        let (parameters, gradients) = self.net.state_mut().parameters_and_gradients();
        visit(parameters, gradients, own);
        visit(&mut self.head.parameters, &self.head_gradients, rows);
    }
}
