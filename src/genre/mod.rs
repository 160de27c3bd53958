//! Genre: labels, neighbours that vote, the trained head, their fusion and calibration.
//!
//! Everything here works on vectors, labels and groups; it knows neither audio nor the database. What it is not
//! for: reading tags (`audio`), measuring quality ([`crate::eval`]).

mod data;
mod error;
mod folds;
mod head;
mod id3;
mod nearest;
mod optimise;
mod space;
mod taxonomy;
mod vote;

pub use data::{Queries, TrainingSet, WindowSet};
pub use error::GenreError;
pub use folds::grouped_folds;
pub use head::{Head, HeadFit, HeadOptions};
pub use nearest::{Near, nearest};
pub use space::{Space, Transform};
pub use taxonomy::{Genre, Spellings, Taxonomy};
pub use vote::{GenreShare, LabelledNeighbor, Priors, VoteOptions, Voter, Votes, vote};
