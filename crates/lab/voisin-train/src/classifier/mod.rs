//! Classifying networks: the laboratory's recipes, and the loop that trains them.
//!
//! A [`NetworkRecipe`] is data, from which a network is built: a list of layers in Candle ([`LayerNet`]). [`fit()`] runs
//! the epochs.
//!
//! Not for: data sets, spectrograms on the disk, reports (`lab`), or the arithmetic of a step ([`voisin_encoder`]).

mod batch;
mod decision;
mod fit;
mod layer_net;
mod recipe;
mod softmax;
mod trainable;
mod training;

pub use super::session::{BlockVisitor, read_tensors};
pub use decision::{mean, votes};
pub use fit::{
    ClassNetOptions, ClassNetProgress, EpochFigures, Fitted, LoadExample, TrackExamples, fit,
    outputs, predict,
};
pub use layer_net::LayerNet;
pub use recipe::{ClipNumbers, NetworkRecipe, RecipeInput};
pub use trainable::{ClassPredictor, Trainable};
pub use training::{ClassTraining, ClassWeights, Schedule};
