//! Filters by tempo, key and loudness.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::engine::DescriptorDepth;
use crate::library::{MusicalKey, TrackFilter};

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

/// An inclusive span of numbers, open where a side is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
}

impl Span {
    /// Reads `A..B`, `A..`, `..B`, a number alone, and `A-B` where `hyphen` says that no number is below zero.
    ///
    /// A bound counts as it would be shown, rounded: `half` is half a step of what is shown.
    fn read(text: &str, hyphen: bool, half: f64, example: &str) -> Result<Self, String> {
        let wrong = || format!("expected {example}, found \"{text}\"");
        let bound = |part: &str| match part.trim() {
            "" => Ok(None),
            part => part.parse().ok().filter(|x: &f64| x.is_finite()).map(Some).ok_or_else(wrong),
        };
        let parts = text.split_once("..").or_else(|| text.split_once('-').filter(|_| hyphen));
        let (from, to) = match parts {
            Some((from, to)) => (bound(from)?, bound(to)?),
            None => (bound(text)?, bound(text)?),
        };
        match (from, to) {
            (None, None) => Err(wrong()),
            (Some(from), Some(to)) if from > to => {
                Err(format!("the span \"{text}\" ends before it begins; did you mean {to}..{from}?"))
            }
            _ => Ok(Self { from: from.map(|x| x - half), to: to.map(|x| x + half) }),
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

/// Beats a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TempoSpan(pub(crate) Span);

impl FromStr for TempoSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Span::read(text, true, 0.5, "a tempo or a span such as 120-128, 120- or -90").map(Self)
    }
}

/// LUFS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LoudnessSpan(pub(crate) Span);

impl FromStr for LoudnessSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Span::read(text, false, 0.05, "a loudness in LUFS or a span such as -16..-9, -14.. or ..-9").map(Self)
    }
}

/// Which keys are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyWish {
    /// This one.
    Key(MusicalKey),
    /// Those that mix with the seeds' keys.
    Compatible,
}

impl FromStr for KeyWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("compatible") {
            return Ok(Self::Compatible);
        }
        text.trim().parse().map(Self::Key).map_err(|error| format!("{error} (or \"compatible\")"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_counted_as_they_are_shown() {
        let tempo = |text: &str| text.parse::<TempoSpan>().map(|span| (span.0.from, span.0.to));
        assert_eq!(tempo("120-128"), Ok((Some(119.5), Some(128.5))));
        assert_eq!(tempo("120..128"), tempo("120-128"));
        assert_eq!(tempo("120"), Ok((Some(119.5), Some(120.5))));
        assert_eq!(tempo("120-"), Ok((Some(119.5), None)));
        assert_eq!(tempo("-90"), Ok((None, Some(90.5))));
        for text in ["", "-", "..", "fast", "nan", "120-fast", "128-120"] {
            assert!(tempo(text).is_err(), "{text}");
        }
        let loudness = |text: &str| text.parse::<LoudnessSpan>().map(|span| (span.0.from, span.0.to));
        assert_eq!(loudness("-16..-9"), Ok((Some(-16.05), Some(-8.95))));
        assert_eq!(loudness("-14.."), Ok((Some(-14.05), None)));
        assert_eq!(loudness("..-9"), Ok((None, Some(-8.95))));
        assert!(loudness("-9..-16").is_err());
        assert_eq!("8a".parse(), Ok(KeyWish::Key(MusicalKey::new(9, true))));
        assert_eq!(" Compatible".parse(), Ok(KeyWish::Compatible));
        assert!("loud".parse::<KeyWish>().is_err());
    }
}
