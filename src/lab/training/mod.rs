//! Training of networks: their recipes, the loop of epochs, the optimiser and its checkpoints.
//!
//! Not for: the arithmetic of a step ([`voisin_encoder`]), data sets, spectrograms, reports.

mod batch;
mod fit;
mod optimiser;
mod recipe;
pub mod session;
mod settings;
mod softmax;
mod vary;

pub(crate) use fit::{
    BEST, ClassNetOptions, EpochFigures, Fitted, TrackExamples, fit, mean, outputs, predict,
};
pub use optimiser::{Block, Optimiser, cosine};
pub(crate) use recipe::{BANDS, FRAME, HOP, RATE, frames, samples};
pub use recipe::{NetworkRecipe, RecipeInput};
pub use settings::{ClassTraining, Schedule};
pub(crate) use vary::vary;
pub use vary::{cubic, power};
