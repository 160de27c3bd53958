//! Small things that every part of voisin shares: whole files, random numbers, vectors, the
//! identities of a track; with the feature `texts`, which a vector index does without, also texts,
//! tables, paths and which files may be written.
//!
//! Not here: anything about music (`voisin-music`), or where it is stored. This crate uses no other
//! of voisin's.

#![forbid(unsafe_code)]

pub mod abandoned;
pub mod atomic_file;
pub mod guard;
mod parts;
pub mod random;
pub mod track;
pub mod vector;

#[cfg(feature = "texts")]
pub mod address;
#[cfg(feature = "texts")]
pub mod directories;
#[cfg(feature = "texts")]
pub mod encoding;
#[cfg(feature = "texts")]
pub mod exact;
#[cfg(feature = "texts")]
pub mod output;
#[cfg(feature = "texts")]
pub mod path_matching;
#[cfg(feature = "texts")]
pub mod regular_file;
#[cfg(feature = "texts")]
pub mod remedy;
#[cfg(feature = "texts")]
pub mod system_folders;
#[cfg(feature = "texts")]
pub mod table;
#[cfg(feature = "texts")]
pub mod text;
