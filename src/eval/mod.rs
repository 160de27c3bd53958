//! Evaluation: metrics, cross-validation of the genre engine beside its rivals, reports and plots.

mod error;
pub mod metrics;
pub mod retrieval;

pub use error::EvalError;
