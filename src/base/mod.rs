//! Small things that every room shares: whole files, random numbers, vectors, folded text, folders,
//! musical keys, CUE sheets.
//!
//! What it is not for: anything that knows what a track is. Nothing here imports another module.

pub(crate) mod abandoned;
pub(crate) mod atomic_file;
pub(crate) mod cue;
pub(crate) mod directories;
pub(crate) mod flac;
pub(crate) mod key;
pub(crate) mod pixels;
pub(crate) mod random;
pub(crate) mod regular_file;
pub(crate) mod text;
pub(crate) mod vector;
