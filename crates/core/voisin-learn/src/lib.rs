//! Logistic regression over rows of numbers, with folds that keep groups whole, and measures: what the
//! genres of a library and the laboratory share.
//!
//! Results do not depend on the number of threads, bit for bit.

// Not forbid, because ndarray's s![] expands to an allowed unsafe block.
#![deny(unsafe_code)]

mod folds;
mod logistic;
pub mod metrics;
mod optimise;
mod standardise;

pub use folds::{Fold, grouped_folds, split_folds};
pub use logistic::{Logistic, Regression, log_softmax};
pub use optimise::best_scale;
pub use standardise::Standardiser;
