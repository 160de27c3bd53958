//! Small things that every part of voisin shares: whole files, random numbers, vectors, folded text, folders, musical
//! keys, CUE sheets, and the tags and identities of a track.
//!
//! Not here: anything that knows what a track sounds like or where it is stored. This crate uses no other of voisin's.

#![forbid(unsafe_code)]

pub mod abandoned;
pub mod artists;
pub mod atomic_file;
pub mod cue;
pub mod directories;
pub mod exact;
pub mod flac;
pub mod key;
pub mod pixels;
pub mod random;
pub mod regular_file;
pub mod remedy;
pub mod song;
pub mod tags;
pub mod text;
pub mod track;
pub mod vector;
