//! Training: of encoders that learn from others, and of networks that tell classes apart.
//!
//! ```text
//! music files → prepare → cache (spectrograms + teachers' outputs) → train → checkpoint → export → model
//! spectrograms of labelled tracks → fit → best weights
//! ```
//!
//! Not here: the networks and their gradients ([`crate::kernels::conv`], [`crate::encoder`]), genre heads
//! ([`crate::genre`]).

pub mod classifier;
pub mod encoder;
mod session;
