//! Small modules that all parts of voisin share: atomic files, random numbers, vectors, the
//! identities of a track; with the feature `texts`, which a vector index does not need, also texts,
//! tables, paths, rules for output files, tags and keys.
//!
//! Not here: reading audio files, or storage. This crate uses no other crate of voisin.

#![forbid(unsafe_code)]

pub mod abandoned;
pub mod atomic_file;
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
pub mod musical_key;
#[cfg(feature = "texts")]
pub mod output;
#[cfg(feature = "texts")]
pub mod path_matching;
#[cfg(feature = "texts")]
pub mod regular_file;
#[cfg(feature = "texts")]
pub mod table;
#[cfg(feature = "texts")]
pub mod tags;
#[cfg(feature = "texts")]
pub mod text;
