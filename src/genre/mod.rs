//! Genre: labels, neighbours that vote, the trained head, their fusion and calibration.
//!
//! Everything here works on vectors, labels and groups; it knows neither audio nor the database. What it is not
//! for: reading tags (`audio`), measuring quality ([`crate::eval`]).

mod error;
mod id3;
mod taxonomy;
mod vote;

pub use error::GenreError;
pub use taxonomy::{Genre, Spellings, Taxonomy};
pub use vote::{GenreShare, LabelledNeighbor, Priors, VoteOptions, Voter, Votes, vote};
