//! Evaluation: neighbours against labels, degraded copies, plots.
//!
//! What it is not for: choosing settings (that happens inside [`crate::genre`], on training data only).

pub mod degrade;
pub mod plots;
pub mod retrieval;
