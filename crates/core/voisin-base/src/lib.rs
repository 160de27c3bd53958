//! Small things that every part of voisin shares: whole files, random numbers, vectors, folded text, folders, musical
//! keys, CUE sheets, and the tags and identities of a track.
//!
//! Not here: anything that knows what a track sounds like or where it is stored. This crate uses no other of voisin's.

#![forbid(unsafe_code)]

pub mod abandoned;
pub mod atomic_file;
pub mod guard;
#[cfg(feature = "music")]
mod music;
mod parts;
pub mod random;
pub mod track;
pub mod vector;

#[cfg(feature = "music")]
pub use music::*;
