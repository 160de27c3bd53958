//! The networks that voisin can run.

use std::fmt;

use serde::{Deserialize, Serialize};

use voisin_features::MelConfig;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// OpenL3 mel128, 512 dimensions (Cramer, Wu, Salamon, Bello, ICASSP 2019): windows of 1 s.
    OpenL3,
    /// MusiCNN (Pons and Serra, 2019): patches of 3 s, 200-d penultimate layer, 50 tags.
    Musicnn,
    /// CLAP's HTSAT (Wu et al., 2023): windows of 10 s; with a text encoder. Its sizes are in
    /// [`ModelManifest::clap`](crate::ModelManifest::clap). Only as a model of one network.
    Clap,
}

impl Architecture {
    /// Every architecture whose layers are given.
    pub const ALL: [Self; 2] = [Self::OpenL3, Self::Musicnn];

    /// Length of an embedding; 0 for [`Clap`](Self::Clap), whose manifest has it.
    pub fn dimension(self) -> usize {
        match self {
            Self::Clap => 0,
            Self::OpenL3 => 512,
            Self::Musicnn => 200,
        }
    }

    /// The spectrogram of the published weights.
    pub fn front_end(self) -> MelConfig {
        match self {
            Self::OpenL3 => MelConfig::openl3(),
            Self::Musicnn => MelConfig::musicnn(),
            Self::Clap => MelConfig::clap(false, [50.0, 14_000.0]),
        }
    }

    /// `[n_mels, n_frames]` of a window: the only input size that the network takes.
    pub fn input_shape(self) -> [usize; 2] {
        match self {
            Self::Clap => crate::clap::SHAPE,
            Self::OpenL3 => [128, 199],
            Self::Musicnn => [96, 187],
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenL3 => "openl3",
            Self::Musicnn => "musicnn",
            Self::Clap => "clap",
        })
    }
}
