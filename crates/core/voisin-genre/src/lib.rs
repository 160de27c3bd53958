//! Genre: labels, neighbours that vote, the trained head, their fusion and calibration.
//!
//! Works on vectors, labels and groups, without audio or the database.
//! Not for: reading tags (`audio`), measuring quality (`eval`).

mod choose;
mod data;
mod default;
mod error;
mod familiarity;
mod fitted;
mod fitting;
mod fusion;
mod held_out;
mod id3;
mod kinship;
mod label_count;
mod model;
mod name;
mod nearest;
mod novelty;
mod parallel;
mod prediction;
mod provenance;
mod settings;
mod space;
mod store;
mod suspects;
mod taxonomy;
mod unknown;
mod vote;
mod voters;

pub use data::{LabelledRows, LabelledVectors, QueryVectors, thinned};
pub use default::{Basis, DefaultGenres, Guess, GuessShare};
pub use error::{GIVE_GENRES, GenreError};
pub use familiarity::{Familiar, Familiarity, MeasuredFamiliarity, is_steady};
pub use fusion::Fusion;
pub use kinship::{GenreKinship, Kin, Kinship, KinshipOptions, kinship};
pub use label_count::{LEAST_GENRES, LEAST_TRACKS, LabelCount, WELL_KNOWN};
pub use model::{
    FitOptions, GenreModel, OutOfFold, PrecisionStep, PredictOptions, Probabilities, Quality,
};
pub use name::Genre;
pub use nearest::{Near, nearest};
pub use novelty::Novelty;
pub use prediction::{Confidence, GenrePrediction};
pub use provenance::{Provenance, Recipe};
pub use settings::{FusionPart, Settings, VoteSettings};
pub use space::{Space, Transform, unit_rows};
pub use suspects::{Suspect, rank as rank_suspects, suspects};
pub use taxonomy::{Spellings, Taxonomy};
pub use unknown::UnknownReason;
pub use vote::{GenreShare, LabelledNeighbor, Priors, VoteOptions, Voter, Votes, vote};
