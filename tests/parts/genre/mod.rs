//! The genre engine on synthetic and on real labelled vectors, and its metrics against scikit-learn.

// A test may fail by a panic, and prints when it skips.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod data;
mod engine;
mod metrics;
mod real;
mod reports;
mod several;
