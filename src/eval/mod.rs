//! Evaluation: neighbours against labels, degraded copies, vectors and labels of files, plots.
//!
//! What it is not for: choosing settings (that happens inside [`crate::genre`], on training data only).

pub mod degrade;
mod error;
mod genre_files;
pub mod plots;
pub mod retrieval;

pub use error::EvalError;
pub use genre_files::{predict_files, read_groups, read_labels, read_vectors};
