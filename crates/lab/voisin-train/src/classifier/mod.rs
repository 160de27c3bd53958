//! Classifying networks: the laboratory's recipes, and the loop that trains them.
//!
//! A [`NetworkRecipe`] is data, from which a [`Trainable`] network is built: a list of layers in Candle ([`LayerNet`]), or
//! OpenL3's network with a softmax head ([`SpaceNet`]), whose inner layer is a vector space. [`fit()`] runs the epochs.
//!
//! Not for: data sets, spectrograms on the disk, reports (`lab`), or the arithmetic of a step ([`voisin_encoder`]).

mod anchor;
mod batch;
mod decision;
mod fit;
mod layer_net;
mod recipe;
mod softmax;
mod space_net;
mod trainable;
mod training;

pub use super::session::{BlockVisitor, read_tensors};
pub use decision::Decision;
pub use fit::{
    ClassNetOptions, ClassNetProgress, EpochFigures, Fitted, LoadExample, TrackExamples, fit,
    places, places_file, predict,
};
pub use layer_net::LayerNet;
pub use recipe::{ClipNumbers, NetworkRecipe, RecipeInput};
pub use space_net::{SpaceNet, SpaceStart};
pub use trainable::{ClassPredictor, Trainable};
pub use training::{ClassTraining, ClassWeights, Schedule};
