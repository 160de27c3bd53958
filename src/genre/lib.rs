//! Genre: labels, neighbours that vote, the trained head, and both together.
//!
//! Works on vectors, labels and groups, without audio or the database.
//! Not for: reading tags (`audio`), judging a library (`lab`).

mod default;
mod error;
mod examples;
mod familiarity;
mod folds;
mod head;
mod id3;
mod kinship;
mod label_count;
mod logistic;
pub mod metrics;
mod model;
mod name;
mod nearest;
mod optimise;
mod parallel;
mod prediction;
mod provenance;
mod quality;
mod standardise;
mod store;
mod suspects;
mod taxonomy;
mod validation;
mod vote;

pub use default::{Basis, DefaultGenres, Guess, GuessShare};
pub use error::{GIVE_GENRES, GenreError};
pub use examples::{LabelledRows, LabelledVectors, thinned, unit_rows};
pub use familiarity::{Familiar, Familiarity, MEASURED};
pub use folds::{Fold, grouped_folds, split_folds};
pub use kinship::{GenreKinship, Kin, Kinship, kinship};
pub use label_count::{LEAST_GENRES, LEAST_TRACKS, LabelCount, WELL_KNOWN};
pub use logistic::{Logistic, Regression, log_softmax};
pub use model::{FitOptions, GenreModel, PredictOptions};
pub use name::Genre;
pub use prediction::{GenrePrediction, UnknownReason, kin};
pub use provenance::Provenance;
pub use quality::Quality;
pub use standardise::Standardiser;
pub use suspects::{Suspect, suspects};
pub use taxonomy::{Spellings, Taxonomy};
pub use validation::{OutOfFold, votes_for};
pub use vote::{GenreShare, LabelledNeighbor, Priors, VOTERS, Voter, Votes, vote};

pub use nearest::{Near, nearest};
use optimise::best_scale;
