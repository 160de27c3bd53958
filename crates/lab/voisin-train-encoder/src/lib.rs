//! Training of encoders: an OpenL3-shaped student learns to reproduce its teachers' outputs.
//!
//! ```text
//! music files → prepare → cache (spectrograms + teachers' outputs) → train → checkpoint → export → model
//! ```
//!
//! [`prepare()`] decodes every track once and stores, for crops spread over it, the student's
//! spectrograms (original and degraded) and the teachers' tag logits and penultimate layers.
//! [`train()`] fits the network with a linear head to those. [`export()`] writes a model that
//! voisin loads.
//!
//! Distillation: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015. Student: Cramer, Wu,
//! Salamon and Bello, "Look, listen and learn more", ICASSP 2019. Contrast: Khosla and others, "Supervised
//! contrastive learning", `NeurIPS` 2020.
//!
//! Not for: genre heads, which users train in seconds (`voisin train genre`), the laboratory's networks and the loop that
//! all training shares ([`voisin_train`]), or the arithmetic of a step ([`voisin_encoder`]).

// Not forbid: ndarray's s![] expands to an unsafe block.
#![deny(unsafe_code)]

mod augment;
mod average;
mod begin;
mod cache;
mod checkpoint;
mod codec;
mod export;
mod layout;
mod log;
mod loss;
mod mix;
mod options;
mod prepare;
mod probe;
mod refine;
mod run;
mod validate;
mod widen;

pub use cache::TrainingSet;
pub use checkpoint::{Checkpoint, Run};
pub use export::{ExportOptions, Exported, export};
pub use layout::Teacher;
pub use loss::{LossParts, LossWeights};
pub use options::{Start, TrainOptions, Trained, TrainingProgress};
pub use prepare::{PrepareOptions, PrepareProgress, Prepared, prepare};
pub use refine::WhiteningFigure;
pub use run::train;
pub use validate::Validation;
use voisin_train::{TeacherHead, TrainError};
pub use widen::widen;
