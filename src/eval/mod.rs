//! Evaluation: metrics, reports, plots.

pub mod metrics;
pub mod retrieval;
