//! Evaluation: neighbours against labels, degraded copies, plots.
//!
//! Not for: choosing settings (that happens inside [`voisin_genre`], on training data only).

pub mod degrade;
pub mod plots;
pub mod retrieval;
