//! Evaluation: metrics, reports, plots.
