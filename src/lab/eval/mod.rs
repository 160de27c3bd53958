//! Evaluation: neighbours against labels, plots.
//!
//! Not for: choosing settings (that happens inside [`voisin_genre`], on training data only).

pub mod plots;
pub mod retrieval;
