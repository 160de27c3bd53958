//! Runs that train a network on spectrograms: `--recipe baseline-cnn` and the like.
//!
//! Spectrograms of every track are stored on disk ([`clips`]), the network is trained on the
//! training part and its best epoch chosen on the validation part ([`run`]), and evaluated as any
//! other run. Not for: the networks and the loop, which are in [`training`](super::training).

mod clips;
mod run;
mod settings;
mod windows;

pub use clips::{ClipReader, KeptSpectrograms};
pub use run::{NetworkOutput, RunNetwork, layers, train};
pub use settings::NetworkSettings;
