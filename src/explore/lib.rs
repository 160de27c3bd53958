//! Exploration of a collection: clusters, map, paths, playlists, duplicates.
//!
//! All functions take unit vectors (`ArrayView2<f32>`, one row per track), a [`KnnGraph`] with the same
//! row numbers, and a slice of [`TrackMeta`] in the same order. They open no database, print nothing
//! and write no files; results can be serialised.
//!
//! | task | module |
//! |---|---|
//! | groups of tracks | [`clusters`] |
//! | positions of tracks on a map | [`layout`] |
//! | drawings of the map | [`map`] |
//! | a path between tracks | [`path`] |
//! | playlists | [`playlist`] |
//! | near artists and albums | [`artists`] |
//! | files of the same recording | [`duplicates`] |
//! | comparison of the audio of two files | [`audio_match`] |
//! | words as combinations of a model's tags | [`words`] |
//!
//! Not for: searching (see `index`), naming a genre (see `genre`).

// Not forbid, because ndarray's s![] expands to an allowed unsafe block.
#![deny(unsafe_code)]

pub mod artists;
pub mod audio_match;
pub mod clusters;
pub mod duplicates;
mod edges;
pub mod graph;
pub mod layout;
pub mod map;
mod meta;
mod name_limit;
pub mod path;
pub mod playlist;
mod strays;
#[cfg(test)]
pub(crate) mod testing;
pub mod words;

use artists::Makers;

pub use graph::KnnGraph;
pub use meta::TrackMeta;
pub use name_limit::NameLimit;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExploreError {
    #[error("{what} needs at least {needed} tracks, found {found}: add more music")]
    TooFew {
        what: &'static str,
        needed: usize,
        found: usize,
    },
    #[error("vector of row {row} has norm {norm}, expected 1: run \"voisin verify\"")]
    NotUnit { row: usize, norm: f32 },
    #[error("{name}: expected {expected}, found {found}")]
    Parameter {
        name: &'static str,
        found: String,
        expected: &'static str,
    },
    /// A name that matches no artist or album, or several.
    #[error(
        "no {one} \"{requested}\": {hint}\"voisin similar --by {one} -l all\" lists all {one}s",
        one = makers.one()
    )]
    UnknownArtist {
        makers: Makers,
        requested: String,
        hint: String,
    },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

pub type Result<T, E = ExploreError> = std::result::Result<T, E>;
