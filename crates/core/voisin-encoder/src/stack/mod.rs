//! Networks as lists of layers: parsing, checking shapes, initial tensors, training steps.
//!
//! ```text
//! conv N KxK [same|valid]    conv1 N K [same|valid]    batch-norm    relu    elu    pool KxK    pool1 K    dropout P
//! frames    sequence    lstm H [last|all] [one-bias]    gap    flatten    linear N|classes
//! ```
//!
//! For: classifiers of the laboratory, and the outputs of their inner layers. Not for: networks with published weights
//! ([`networks`](super::networks)), and not for reading audio.

mod convolution;
mod forward;
mod inner;
mod layer;
mod list;
mod pool;
mod train;

pub use layer::{StackLayer, StackShape};
pub use list::{Stack, StackTensor};
pub use train::{FinishedStack, StackTrain};
