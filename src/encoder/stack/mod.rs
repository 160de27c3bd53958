//! Networks as lists of layers: parsing, checking shapes, initial tensors, training steps.
//!
//! ```text
//! conv N KxK [same|valid]    conv1 N K [same|valid]    batch-norm [EPSILON]    relu    pool KxK    pool1 K    dropout P
//! frames    sequence    lstm H [last] [one-bias]    gap    max    flatten    linear N|classes
//! ```
//!
//! For: classifiers of the laboratory and the outputs of their inner layers, and OpenL3 in training
//! ([`openl3`](super::openl3)). Not for: networks with finished weights ([`networks`](super::networks)).

mod convolution;
mod forward;
mod layer;
mod list;
mod pool;
mod train;

pub use layer::StackShape;
pub use list::{Stack, StackTensor};
pub use train::{FinishedStack, StackTrain};
