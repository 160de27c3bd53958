//! The network in training, wherever its steps are computed.

use super::TrainError;
use crate::encoder::{Device, OpenL3TrainOnDevice, Precision};
use crate::kernels::conv::{OpenL3Train, OpenL3Weights};
use crate::kernels::isa;

/// On the CPU by the project's own kernels, elsewhere by Candle.
pub(in crate::train) enum Student {
    Fast(Box<OpenL3Train>),
    Device(Box<OpenL3TrainOnDevice>),
}

impl Student {
    pub(in crate::train) fn new(
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
    pub(in crate::train) fn forward(&mut self, mels: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Fast(net) => Ok(net.forward(mels, n)),
            Self::Device(net) => Ok(net.forward(mels, n)?),
        }
    }

    pub(in crate::train) fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError> {
        match self {
            Self::Fast(net) => net.backward(gradient),
            Self::Device(net) => net.backward(gradient)?,
        }
        Ok(())
    }

    /// Parameters, gradients and statistics.
    pub(in crate::train) fn state(&self) -> &OpenL3Train {
        match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host(),
        }
    }

    pub(in crate::train) fn state_mut(&mut self) -> &mut OpenL3Train {
        match self {
            Self::Fast(net) => net,
            Self::Device(net) => net.host_mut(),
        }
    }
}
