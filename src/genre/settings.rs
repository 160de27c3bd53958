//! What validation chooses: how neighbours vote, which heads are fitted, and how.

use serde::{Deserialize, Serialize};

use super::{HeadOptions, Transform};

/// What a head is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Track vectors.
    Track,
    /// Window vectors; the track's answer is the mean of its windows' logits.
    Window,
}

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

/// Settings of one head, chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberSettings {
    /// Tracks or windows.
    pub unit: Unit,
    /// Of the head's space.
    pub transform: Transform,
    /// See `Space::fit`.
    pub shrinkage: f32,
    /// The layers and their fit; `max_iterations` is where held-out loss was best.
    pub head: HeadOptions,
}

/// Everything that validation chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The vote.
    pub vote: VoteSettings,
    /// The heads whose log probabilities are averaged; empty when no two genres have enough tracks.
    pub members: Vec<MemberSettings>,
    /// Classes that the heads know, ascending.
    pub head_classes: Vec<usize>,
}
