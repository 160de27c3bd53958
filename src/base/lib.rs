//! Small modules that all parts of voisin share: whole files, random numbers, vectors, the identities of a track, texts,
//! tables, rules for output files, tags.
//!
//! Not here: reading audio files, or storage. This crate uses no other crate of voisin.

#![forbid(unsafe_code)]

pub mod atomic_file;
pub mod directories;
pub mod encoding;
pub mod output;
pub mod random;
pub mod regular_file;
pub mod table;
pub mod tags;
pub mod text;
pub mod track;
pub mod vector;
