//! Settings chosen by validation: of the vote, the penalty of the head, and the part to
//! use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transform;

/// Settings of the vote, chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoteSettings {
    /// Transform of the space of the neighbours.
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

/// All settings chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The vote.
    pub vote: VoteSettings,
    /// Weight of half the head's squared parameters relative to the sum of the tracks' losses (1 /
    /// `C` in scikit-learn).
    pub penalty: f64,
    /// Factor of the head's logits that calibrates its probabilities, which a strong penalty makes
    /// too even.
    pub sharpness: f64,
    /// Classes of the head, ascending; empty unless two genres have enough tracks.
    pub head_classes: Vec<usize>,
}

/// The part of a fitted model that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusionPart {
    /// Head and vote combined; as a laboratory algorithm, the part that the model chose.
    Fused,
    /// The head alone.
    Head,
    /// The vote of neighbours alone.
    Vote,
}
