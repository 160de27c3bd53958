//! Small things that every part of voisin shares: whole files, random numbers, vectors, folded text, folders, musical
//! keys, CUE sheets, and the tags and identities of a track.
//!
//! Not here: anything that knows what a track sounds like or where it is stored. This crate uses no other of voisin's.

#![forbid(unsafe_code)]

pub mod abandoned;
#[cfg(feature = "music")]
pub mod artists;
pub mod atomic_file;
#[cfg(feature = "music")]
pub mod cue;
#[cfg(feature = "music")]
pub mod directories;
#[cfg(feature = "music")]
pub mod exact;
#[cfg(feature = "music")]
pub mod flac;
#[cfg(feature = "music")]
pub mod key;
#[cfg(feature = "music")]
pub mod pixels;
pub mod random;
#[cfg(feature = "music")]
pub mod regular_file;
#[cfg(feature = "music")]
pub mod remedy;
#[cfg(feature = "music")]
pub mod song;
#[cfg(feature = "music")]
pub mod tags;
#[cfg(feature = "music")]
pub mod text;
pub mod track;
pub mod vector;
