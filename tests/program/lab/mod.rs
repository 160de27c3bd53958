//! The laboratory: algorithms and measures against scikit-learn and XGBoost, and its commands as processes.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod algorithms;
mod challenge;
mod datasets;
mod descriptors;
mod features;
mod networks;
mod runs;
mod twin;
