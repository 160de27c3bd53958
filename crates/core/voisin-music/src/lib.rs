//! Facts about music that need no sound: tags, artists, songs and their versions, keys, pictures.
//!
//! Not here: reading them from audio files (`voisin-audio`), and anything computed from sound.

#![forbid(unsafe_code)]

pub mod artists;
pub mod key;
pub mod pixels;
pub mod recording;
pub mod song;
pub mod tags;
