//! Training: of encoders that learn from others, and of networks that tell classes apart.
//!
//! ```text
//! music files → prepare → cache (spectrograms + teachers' outputs) → train → checkpoint → export → model
//! spectrograms of labelled tracks → fit → best weights
//! ```
//!
//! Not here: the networks and their gradients ([`voisin_kernels::conv`], [`voisin_encoder`]), genre heads
//! ([`voisin_learn::genre`]).

// Not forbid: ndarray's s![] allows itself an unsafe block where it is used.
#![deny(unsafe_code)]

pub mod classifier;
pub mod encoder;
mod session;
