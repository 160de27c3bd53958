//! Networks as lists of layers, in training: what users write, shapes checked, tensors made, steps
//! computed.
//!
//! ```text
//! conv N KxK [same|valid]    conv1 N K [same|valid]    batch-norm    relu    elu    pool KxK    pool1 K    dropout P
//! frames    sequence    lstm H [last|all] [one-bias]    gap    flatten    linear N|classes
//! ```
//!
//! For: classifiers of the laboratory, and the models that their inner layers make. Not for:
//! networks whose weights come from elsewhere ([`networks`](super::networks)), and not for reading
//! audio.

mod block;
mod encoder;
mod forward;
mod front;
mod layer;
mod list;
mod recurrent;
mod train;

pub(super) use encoder::LayersEncoder;
pub use layer::{StackLayer, StackShape};
pub use list::{FirstWeights, Stack, StackTensor};
pub use train::{FinishedStack, StackTrain};
