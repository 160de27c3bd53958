//! Facts about music that need no sound: texts, tags, artists, songs, keys, sheets, pictures. A vector index
//! does without it.

pub mod address;
pub mod artists;
pub mod cue;
pub mod directories;
pub mod encoding;
pub mod exact;
pub mod flac;
pub mod key;
pub mod output;
pub mod path_matching;
pub mod pixels;
pub mod recording;
pub mod regular_file;
pub mod remedy;
pub mod song;
pub mod system_folders;
pub mod table;
pub mod tags;
pub mod text;
