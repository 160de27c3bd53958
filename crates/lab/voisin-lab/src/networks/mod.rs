//! Runs that train a network on spectrograms: `--recipe space`, `baseline-cnn` and the like.
//!
//! Spectrograms of every track are kept on the disk ([`clips`]), the network is trained on the training part and its best
//! epoch chosen by the validation part ([`run`]), and the run's figures are those of any other run. What it is not for: the
//! networks and the loop, which are in [`voisin_train::classifier`].

mod clips;
mod examples;
mod forming;
mod occlusion;
mod run;
mod settings;

pub use clips::{ClipReader, KeptSpectrograms};
pub use run::{Answering, keep_model, layers, train};
pub use settings::NetworkSettings;
