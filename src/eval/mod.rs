//! Evaluation: metrics, reports, plots.

pub mod metrics;
