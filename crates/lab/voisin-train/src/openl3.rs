//! Networks of OpenL3's shape for training.

use super::TrainError;
use voisin_encoder::ModelRef;
use voisin_encoder::openl3::{OPENL3_WIDTHS, OpenL3Weights};

/// The network of a model of OpenL3's shape.
///
/// # Errors
/// The model cannot be read, is of another shape, or has widths that the training step does not support.
pub fn model_weights(model: &ModelRef) -> Result<OpenL3Weights, TrainError> {
    let weights = model.openl3_weights()?;
    // The kernels of the training step need these; built-in and exported models have them.
    if weights
        .widths()
        .iter()
        .any(|width| !width.is_multiple_of(16))
    {
        return Err(TrainError::Options(format!(
            "{model} has widths {:?}, expected multiples of 16: it cannot be trained on",
            weights.widths()
        )));
    }
    Ok(weights)
}

/// Channels of the eight convolutions at a share of OpenL3's width: 1, 2 (half), 4 (quarter) or so.
///
/// The embedding keeps its 512 dimensions: the last layer costs little in training, where only each channel's
/// maximum carries gradient.
///
/// # Errors
/// `divisor` is not 1, 2 or 4 (the kernels need multiples of 16 channels).
pub fn widths(divisor: usize) -> Result<[usize; 8], TrainError> {
    if ![1, 2, 4].contains(&divisor) {
        return Err(TrainError::Options(format!(
            "width 1/{divisor}: expected 1, 2 or 4"
        )));
    }
    let mut widths = OPENL3_WIDTHS.map(|width| width / divisor);
    widths[7] = OPENL3_WIDTHS[7];
    Ok(widths)
}
