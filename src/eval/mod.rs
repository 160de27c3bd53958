//! Evaluation: metrics, cross-validation of the genre engine beside its rivals, retrieval, reports and plots.
//!
//! What it is not for: choosing settings (that happens inside [`crate::genre`], on training data only).

#![allow(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "array views are passed by value, as ndarray itself does"
)]
#![allow(clippy::float_cmp, reason = "equal scores are ties, exactly")]
#![allow(
    clippy::needless_range_loop,
    clippy::needless_for_each,
    clippy::semicolon_if_nothing_returned,
    reason = "indices run over several arrays at once; short statements stay on one line"
)]

pub mod degrade;
mod error;
mod genre;
mod genre_files;
mod genre_html;
pub mod metrics;
pub mod plots;
mod probe;
pub mod retrieval;
mod svm;

pub use error::EvalError;
pub use genre::{EvalOptions, GenreDetails, GenreReport, GenreScore, MethodReport, Spread, evaluate_genre};
pub use genre_files::{predict_files, read_groups, read_labels, read_vectors};
pub use probe::{Linear, ProbeOptions, Probes, probes};
pub use svm::Svm;
