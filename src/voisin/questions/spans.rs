//! Times, spans, keys and words in queries, with one grammar everywhere (docs/guide.md).

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::read::Refused;
use super::values::from_text;
use voisin_library::{MusicalKey, WordBound};

/// A time or length in seconds; on the command line `90`, `65.5`, `1:30`, `1:02:03`, `90m`, `1h30m` or `45s`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Seconds(pub f64);

/// Longer than any track or playlist: some four months.
const LONGEST: f64 = 1e7;

impl FromStr for Seconds {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let seconds = if text.contains(':') {
            clock(text.trim())
        } else {
            units(text.trim())
        };
        seconds
            // Also keeps infinities and NaN from arithmetic and from SQL.
            .filter(|seconds| (0.0..LONGEST).contains(seconds))
            .map(Self)
            .ok_or_else(|| {
                Refused::text(
                    "a time such as 90 (seconds), 1:30, 1:02:03, 90m or 1h30m",
                    text,
                )
            })
    }
}

fn decimal(text: &str) -> Option<f64> {
    // Rust would parse `1e9`, `inf` and `+5`, too.
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// `1:30`, `1:02:03.5`.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (last, front) = parts.split_last()?;
    let mut total = 0.0;
    for (i, part) in front.iter().enumerate() {
        let number = f64::from(part.parse::<u16>().ok()?);
        // At most hours and minutes in front; only the first part may exceed 59, as in `90:00`.
        if front.len() > 2 || i > 0 && number >= 60.0 {
            return None;
        }
        total = (total + number) * 60.0;
    }
    decimal(last)
        .filter(|&seconds| seconds < 60.0)
        .map(|seconds| total + seconds)
}

/// `90`, `90m`, `1h30m`, `45s`, `30d`: each unit once, the largest first.
fn units(text: &str) -> Option<f64> {
    if let Some(seconds) = decimal(text) {
        return Some(seconds);
    }
    let mut total = 0.0;
    let mut rest = text;
    // In this order only: the rest of `30m1h` is no number.
    for (name, unit) in [('d', 86_400.0), ('h', 3600.0), ('m', 60.0), ('s', 1.0)] {
        if let Some((number, after)) = rest.split_once(name) {
            total += unit * decimal(number)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

/// A [`Seconds`] above 0.
pub fn length(text: &str) -> Result<Seconds, Refused> {
    let read: Seconds = text.parse()?;
    Some(read)
        .filter(|read| read.0 > 0.0)
        .ok_or_else(|| Refused::text("more than 0 seconds", text))
}

pub(crate) struct Measure {
    expected: &'static str,
    /// Half a rounding step: a bound covers the values that are shown as it.
    half: f64,
    bound: fn(&str) -> Option<f64>,
}

pub(crate) const YEARS: Measure = Measure {
    expected: "a year or a span such as 1970-1979, 1990- or -1965",
    half: 0.0,
    bound: |text| text.parse::<u16>().ok().map(f64::from),
};
pub(crate) const LENGTHS: Measure = Measure {
    expected: "a length or a span such as 2m-8m, 1:30- or -10m",
    half: 0.5,
    bound: |text| text.parse().ok().map(|Seconds(seconds)| seconds),
};
pub(crate) const TEMPOS: Measure = Measure {
    expected: "a tempo or a span such as 120-128, 120- or -90",
    half: 0.5,
    bound: decimal,
};
pub(crate) const ENERGY: Measure = Measure {
    expected: "0 to 100 or a span such as 60-100, 60- or -20",
    half: 0.5,
    bound: |text| decimal(text).filter(|value| *value <= 100.0),
};

/// Inclusive bounds; `None`: open at this side.
pub(crate) type Bounds = (Option<f64>, Option<f64>);

impl Measure {
    /// A text of the command line whose bounds can be read.
    pub(crate) fn checked(&self, text: &str) -> Result<String, Refused> {
        self.bounds("", Some(text)).map(|_| text.to_owned())
    }

    /// The bounds of `A-B`, `A..B`, `A-`, `-B` or a single value; none without a text.
    pub(crate) fn bounds(&self, field: &str, text: Option<&str>) -> Result<Bounds, Refused> {
        let Some(text) = text else {
            return Ok((None, None));
        };
        let wrong = || Refused {
            field: field.to_owned(),
            ..Refused::text(self.expected, text)
        };
        let bound = |part: &str| match part.trim() {
            "" => Ok(None),
            part => (self.bound)(part).map(Some).ok_or_else(wrong),
        };
        let parts = text.split_once("..").or_else(|| text.split_once('-'));
        let (from, to) = match parts {
            Some((from, to)) => (bound(from)?, bound(to)?),
            None => (bound(text)?, bound(text)?),
        };
        match (from, to) {
            (None, None) => Err(wrong()),
            (Some(from), Some(to)) if from > to => Err(Refused {
                expected: "a span that begins before it ends".to_owned(),
                ..wrong()
            }),
            _ => Ok((from.map(|x| x - self.half), to.map(|x| x + self.half))),
        }
    }
}

/// A word that must fit a track better than 80 % of the library, or another share: `calm`, `female vocalists:90`; with `!`
/// one that must not fit it better than half, or another share.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(inline, with = "String")]
pub(crate) struct Tag(pub(crate) WordBound);

impl FromStr for Tag {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (text, not) = match text.trim().strip_prefix('!') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let usual = if not { 50.0 } else { 80.0 };
        // From the end, so that a word may contain a colon.
        let (word, percent) = match text.rsplit_once(':') {
            None => (text, usual),
            Some((word, percent)) => {
                let number = percent.trim().trim_end_matches('%').trim_end().parse().ok();
                let number = number.filter(|number| (0.0..=100.0).contains(number));
                let wrong = || Refused::text("a percentile from 0 to 100 after the colon", percent);
                (word, number.ok_or_else(wrong)?)
            }
        };
        Ok(Self(WordBound {
            word: word.trim().to_owned(),
            percentile: percent / 100.0,
            not,
        }))
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(inline, with = "String")]
pub(crate) enum KeyWish {
    Key(MusicalKey),
    /// Keys that mix with the seeds' keys.
    Compatible,
}

impl FromStr for KeyWish {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.trim().eq_ignore_ascii_case("compatible") {
            return Ok(Self::Compatible);
        }
        let wrong = |_| Refused::text("a key such as Am, F#, Eb or 8A, or \"compatible\"", text);
        text.trim().parse().map(Self::Key).map_err(wrong)
    }
}

impl<'de> Deserialize<'de> for KeyWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_grammar() {
        for (text, seconds) in [
            ("90", 90.0),
            ("65.5", 65.5),
            ("0", 0.0),
            ("1:30", 90.0),
            ("90:00", 5400.0),
            ("1:02:03.5", 3723.5),
            ("1h30m", 5400.0),
            ("30d", 2_592_000.0),
            ("1.5h", 5400.0),
            ("45s", 45.0),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in [
            "", "m", "-5", "1:75", "1:60:00", "1:2:3:4", "1h30", "30m1h", "1e3", "nan", "+5", "1w",
            "1:-5", "1m1m",
        ] {
            let error = text.parse::<Seconds>().unwrap_err().to_string();
            assert!(
                error.contains("expected a time") && error.contains(&format!("\"{text}\"")),
                "{error}"
            );
        }
        assert!(length("0").is_err() && length("0:01").is_ok());
    }

    #[test]
    fn spans_cover_the_values_rounded_to_their_bounds() {
        let span = |measure: &Measure, text| measure.bounds("x", Some(text)).ok();
        assert_eq!(span(&TEMPOS, "120-128"), Some((Some(119.5), Some(128.5))));
        assert_eq!(span(&TEMPOS, "120..128"), span(&TEMPOS, "120-128"));
        assert_eq!(span(&TEMPOS, "120"), Some((Some(119.5), Some(120.5))));
        assert_eq!(span(&TEMPOS, "120-"), Some((Some(119.5), None)));
        assert_eq!(span(&YEARS, "-1965"), Some((None, Some(1965.0))));
        assert_eq!(span(&LENGTHS, "2m-8m"), Some((Some(119.5), Some(480.5))));
        assert_eq!(span(&ENERGY, "60-100"), Some((Some(59.5), Some(100.5))));
        for text in ["", "-", "..", "fast", "nan", "120-fast", "128-120"] {
            assert_eq!(span(&TEMPOS, text), None, "{text}");
        }
        assert_eq!(span(&ENERGY, "60-200"), None);
        assert_eq!(span(&YEARS, "1970.5"), None);
        assert_eq!("8a".parse(), Ok(KeyWish::Key(MusicalKey::new(9, true))));
        assert_eq!(" Compatible".parse(), Ok(KeyWish::Compatible));
        assert!("loud".parse::<KeyWish>().is_err());
        let tag = |text: &str| {
            let Tag(bound) = text.parse().unwrap();
            (bound.word, bound.percentile, bound.not)
        };
        assert_eq!(tag("calm:95"), ("calm".to_owned(), 0.95, false));
        assert_eq!(tag("!female voice"), ("female voice".to_owned(), 0.5, true));
    }
}
