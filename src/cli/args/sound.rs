//! Filters by tempo, key and loudness.

use clap::{Args, ValueEnum};

use crate::engine::DescriptorDepth;
use crate::library::{KeyWish, LoudnessSpan, TempoSpan, TrackFilter};

/// Which tempo, key and loudness a track must have to appear in an answer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct SoundFilterArgs {
    /// Only tracks of this tempo, in beats a minute, or of a span such as 120-128, 120- or -90
    #[arg(long, value_name = "BPM", allow_hyphen_values = true)]
    pub(crate) bpm: Option<TempoSpan>,
    /// With --bpm: half and twice that tempo as well
    #[arg(long, requires = "bpm")]
    pub(crate) bpm_octave: bool,
    /// Only tracks in these keys: names (Am, F#), Camelot numbers (8A), several with commas, or `compatible`: those that mix with the seeds' keys
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub(crate) key: Vec<KeyWish>,
    /// Only tracks of this loudness, in LUFS, or of a span such as -16..-9, -14.. or ..-9
    #[arg(long, value_name = "LUFS", allow_hyphen_values = true)]
    pub(crate) loudness: Option<LoudnessSpan>,
}

impl SoundFilterArgs {
    /// Whether a key is to fit those of the seeds.
    pub(crate) fn wants_compatible_keys(&self) -> bool {
        self.key.contains(&KeyWish::Compatible)
    }

    /// The filter, `compatible` keys left open.
    pub(crate) fn filter(&self) -> TrackFilter {
        TrackFilter {
            tempo_from: self.bpm.and_then(|span| span.0.from),
            tempo_to: self.bpm.and_then(|span| span.0.to),
            tempo_octaves: self.bpm_octave,
            keys: self
                .key
                .iter()
                .filter_map(|wish| if let KeyWish::Key(key) = wish { Some(*key) } else { None })
                .collect(),
            loudness_from: self.loudness.and_then(|span| span.0.from),
            loudness_to: self.loudness.and_then(|span| span.0.to),
            ..TrackFilter::default()
        }
    }
}

/// How much `add` measures of a track's sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    None,
    Fast,
    Full,
}

impl From<Depth> for DescriptorDepth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::None => Self::None,
            Depth::Fast => Self::Fast,
            Depth::Full => Self::Full,
        }
    }
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortKey {
    /// Nearest first
    Similarity,
    /// Slowest first
    Bpm,
    /// Around the Camelot wheel, from 1A on
    Key,
    /// Softest first
    Loudness,
}
