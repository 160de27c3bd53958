//! The genre engine on made-up and on real labelled vectors, and its metrics against scikit-learn.

// A test may fail by a panic, and the ignored ones print figures.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod data;
mod engine;
mod figures;
mod metrics;
mod real;
mod reports;
