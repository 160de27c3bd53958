//! Settings that validation chooses: how neighbours vote, how strongly the head is penalised, and
//! which of them answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transform;

/// Settings of the vote, chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoteSettings {
    /// Of the space in which neighbours are found.
    pub transform: Transform,
    /// See `Space::fit`.
    pub shrinkage: f32,
    /// As in [`super::VoteOptions`].
    pub k: usize,
    /// As in [`super::VoteOptions`].
    pub temperature: f32,
    /// As in [`super::VoteOptions`].
    pub prior_correction: f32,
}

/// Everything that validation chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The vote.
    pub vote: VoteSettings,
    /// The head's: weight of half its squared parameters against the sum of the tracks' losses (1 /
    /// `C` in scikit-learn's words).
    pub penalty: f64,
    /// Factor of the head's logits that makes its probabilities come true: a strong penalty makes
    /// timid.
    pub sharpness: f64,
    /// Classes that the head knows, ascending; empty when no two genres have enough tracks for one.
    pub head_classes: Vec<usize>,
}

/// The part of a fitted engine that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusionPart {
    /// Head and vote joined; as the algorithm of a laboratory, what the engine chose to answer by.
    Fused,
    /// The head alone.
    Head,
    /// The vote of neighbours alone.
    Vote,
}
