//! Training of the encoder: data, losses, optimiser, loop, checkpoints.
//!
//! ```text
//! music files → prepare → cache (spectrograms + teachers' outputs) → train → checkpoint → export → model
//! ```
//!
//! Not here: the network and its gradients ([`crate::kernels::conv`]), genre heads ([`crate::genre`]).

pub mod encoder;
