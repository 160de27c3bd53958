//! Evaluation: metrics, cross-validation of the genre engine beside its rivals, retrieval, reports and plots.
//!
//! What it is not for: choosing settings (that happens inside [`crate::genre`], on training data only).

pub mod degrade;
mod error;
mod genre;
mod genre_files;
mod genre_html;
pub mod plots;
mod probe;
pub mod retrieval;

pub use error::EvalError;
pub use genre::{EvalOptions, GenreDetails, GenreReport, GenreScore, MethodReport, evaluate_genre};
pub use genre_files::{predict_files, read_groups, read_labels, read_vectors};
pub use probe::{ProbeOptions, Probes, probes};
