//! `voisin train encoder`: an OpenL3-shaped student learns what teachers hear.
//!
//! [`prepare()`] decodes every track once and keeps, for crops from everywhere in it, the student's spectrograms (as
//! they are, and degraded) and the teachers' tag logits and penultimate layers. [`train()`] fits the network with a
//! linear head to those. [`export()`] writes a model that voisin loads.
//!
//! Distillation: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015. Student: Cramer, Wu,
//! Salamon and Bello, "Look, listen and learn more", ICASSP 2019. Contrast: Khosla and others, "Supervised
//! contrastive learning", `NeurIPS` 2020.
//!
//! Not for: genre heads, which users train in seconds ([`voisin_learn::genre`]), or the arithmetic of a step
//! ([`voisin_kernels::conv`], [`voisin_encoder`]).

mod augment;
mod begin;
mod cache;
mod checkpoint;
mod codec;
mod error;
mod export;
mod head;
mod layout;
mod log;
mod loss;
mod mix;
mod optimiser;
mod options;
mod prepare;
mod probe;
mod refine;
mod run;
mod student;
mod validate;
mod widen;

pub use augment::vary;
pub(crate) use begin::model_weights;
pub use cache::TrainingSet;
pub(crate) use cache::write_safetensors;
pub use checkpoint::{Checkpoint, Run};
pub use error::TrainError;
pub use export::{ExportOptions, Exported, export};
pub use head::TeacherHead;
pub use layout::Teacher;
pub use loss::{LossParts, LossWeights};
pub(crate) use optimiser::cosine;
pub use optimiser::{AdamW, AdamWOptions};
pub use options::{Start, TrainOptions, Trained, TrainingProgress};
pub use prepare::{PrepareOptions, PrepareProgress, Prepared, prepare};
pub use refine::WhiteningFigure;
pub use run::train;
pub(crate) use student::{LearningLayer, Student};
pub use validate::Validation;
pub use widen::widen;

/// Channels of the eight convolutions at a share of OpenL3's width: 1, 2 (half), 4 (quarter) or so.
///
/// The embedding keeps its 512 dimensions: the last layer costs little in training, where only each channel's
/// maximum carries gradient.
///
/// # Errors
/// `divisor` is not 1, 2 or 4 (the kernels want multiples of 16 channels).
pub fn widths(divisor: usize) -> Result<[usize; 8], TrainError> {
    if ![1, 2, 4].contains(&divisor) {
        return Err(TrainError::Options(format!(
            "width 1/{divisor}: expected 1, 2 or 4"
        )));
    }
    let mut widths = voisin_kernels::conv::OPENL3_WIDTHS.map(|width| width / divisor);
    widths[7] = voisin_kernels::conv::OPENL3_WIDTHS[7];
    Ok(widths)
}
