//! The shape of a collection: clusters, map, paths, playlists, duplicates, outliers.
//!
//! Everything here is a function over three things the caller holds: unit vectors (`ArrayView2<f32>`, one
//! row per track), a [`KnnGraph`] whose row numbers are the rows of the vectors, and a slice of
//! [`TrackMeta`] in the same order. No database is opened, nothing is printed; results can be serialised.
//! Files are written only by the caller, from strings and bytes returned here.
//!
//! | question | where |
//! |---|---|
//! | which groups are there? | [`clusters`] |
//! | where does each track lie on a page? | [`layout`] |
//! | draw it | [`map`], of the shapes in [`scene`] |
//! | how do I get from A to B in small steps? | [`path`] |
//! | a list for an evening | [`playlist`] |
//! | like these, unlike those | [`seeds`] |
//! | which artists are near? | [`artists`] |
//! | where in the tracks does this passage sound? | [`passage`] |
//! | which files are the same recording? | [`duplicates`] |
//! | are these two stretches of audio one recording? | [`audio_match`] |
//! | which recordings are of one song? | [`versions`] |
//! | what does not belong? | [`outliers`] |
//! | what do these words mean in a model's tags? | [`words`] |
//!
//! Not for: searching (see `index`), naming a genre (see `genre`).

// Not forbid: ndarray's s![] allows itself an unsafe block where it is used.
#![deny(unsafe_code)]

mod albums;
mod align;
pub mod artists;
pub mod audio_match;
pub mod clusters;
mod course;
pub mod duplicates;
mod edges;
pub mod graph;
pub mod layout;
pub mod map;
mod meta;
mod name_limit;
pub mod outliers;
pub mod passage;
pub mod path;
pub mod playlist;
pub mod scene;
pub mod seeds;
#[cfg(test)]
pub(crate) mod testing;
mod union;
pub mod versions;
mod windows;
pub mod words;

use artists::Makers;
use voisin_base::remedy::Remedy;

pub use course::Course;
pub use graph::KnnGraph;
pub use meta::TrackMeta;
pub use name_limit::NameLimit;
pub use windows::{WindowSet, WindowSource};

/// Errors of exploring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// Two inputs that must describe the same tracks have different lengths.
    #[error("{what}: expected {expected} rows, found {found}")]
    Length {
        /// Which input.
        what: &'static str,
        /// Rows expected.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// Fewer tracks than the question needs.
    #[error("{what} needs at least {needed} tracks, found {found}: add more music")]
    TooFew {
        /// The computation that needs them.
        what: &'static str,
        /// Tracks needed.
        needed: usize,
        /// Tracks found.
        found: usize,
    },
    /// A vector that is not a finite unit vector.
    #[error("vector of row {row} has norm {norm}, expected 1")]
    NotUnit {
        /// Row in the input.
        row: usize,
        /// Its norm.
        norm: f32,
    },
    /// A row number outside the input.
    #[error("row {row} is outside the {rows} tracks given")]
    Row {
        /// The row given.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A parameter outside its range.
    #[error("{name}: expected {expected}, found {found}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// The value found, as text.
        found: String,
        /// The range expected.
        expected: &'static str,
    },
    /// No walk joins two tracks under the conditions given.
    #[error("no path from row {from} to row {to} under these conditions: {hint}")]
    NoPath {
        /// Row the walk starts at.
        from: usize,
        /// Row it should reach.
        to: usize,
        /// The condition to relax.
        hint: &'static str,
    },
    /// An artist or an album that there is none of, or several.
    #[error("no {} \"{asked}\"{hint}", makers.one())]
    UnknownArtist {
        /// Whether an artist or an album was searched for.
        makers: Makers,
        /// The name given.
        asked: String,
        /// Who may have been meant, in words.
        hint: String,
    },
    /// Drawing failed.
    #[error("drawing the map failed: {0}")]
    Draw(String),
    /// A value could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl ExploreError {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotUnit { .. } => Some(Remedy::Verify),
            Self::UnknownArtist {
                makers: Makers::Artists,
                ..
            } => Some(Remedy::SeeArtists),
            Self::UnknownArtist {
                makers: Makers::Albums,
                ..
            } => Some(Remedy::SeeAlbums),
            _ => None,
        }
    }
}

/// `Result` with [`ExploreError`].
pub type Result<T, E = ExploreError> = std::result::Result<T, E>;

/// Refuses inputs of different lengths.
pub(crate) fn same_length(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(ExploreError::Length {
            what,
            expected,
            found,
        })
    }
}
