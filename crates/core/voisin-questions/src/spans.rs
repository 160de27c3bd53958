//! Times, spans, keys and words in queries, with one grammar everywhere (docs/grammar.md).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::Refused;
use super::values::{refusal, schema, text_values};
use voisin_library::{MusicalKey, ScaleBound, WordBound};

text_values! {
    YearSpan: {"type": "string", "pattern": r"^(\d{1,4}|\d{1,4}-|-\d{1,4}|\d{1,4}-\d{1,4})$"};
    TempoSpan: {"type": "string"};
    LoudnessSpan: {"type": "string"};
    ScaleSpan: {"type": "string"};
    KeyWish: {"type": "string"};
    Tag: {"type": "string"};
    NotTag: {"type": "string"};
}

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

/// A number without sign and exponent.
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

/// The length of a list in seconds, over a network up to ten days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Playtime(pub(crate) f64);

impl FromStr for Playtime {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        length(text).map(|Seconds(seconds)| Self(seconds))
    }
}

impl Serialize for Playtime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Playtime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // Ten days bound the work of one request.
        let fits = seconds > 0.0 && seconds <= 864_000.0;
        let refused = || {
            D::Error::invalid_value(
                Unexpected::Float(seconds),
                &"more than 0 and up to 864000 seconds",
            )
        };
        fits.then_some(Self(seconds)).ok_or_else(refused)
    }
}

schema! { Playtime: {"type": "number", "exclusiveMinimum": 0, "maximum": 864_000}; }

/// A word that must fit a track more than 80 % of the library, or another share: `calm`, `female vocalists:90`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag(pub(crate) WordBound);

/// A word that must not fit a track more than half of the library, or another share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NotTag(pub(crate) WordBound);

impl FromStr for Tag {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        word_bound(text, 80.0, false).map(Self)
    }
}

impl FromStr for NotTag {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        word_bound(text, 50.0, true).map(Self)
    }
}

/// As [`word_bound`] reads it.
fn write_bound(bound: &WordBound, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Rounded to thousandths of a percent, the `f32` has the digits that were written.
    let percent = (f64::from(bound.percentile) * 1e5).round() / 1e3;
    write!(f, "{}:{percent}", bound.word)
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bound(&self.0, f)
    }
}

impl fmt::Display for NotTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bound(&self.0, f)
    }
}

fn word_bound(text: &str, usual: f32, not: bool) -> Result<WordBound, Refused> {
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
    Ok(WordBound {
        word: word.trim().to_owned(),
        percentile: percent / 100.0,
        not,
    })
}

/// An inclusive span of years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct YearSpan {
    // `i32::MIN` and `i32::MAX` stand for an open end.
    first: i32,
    last: i32,
}

impl YearSpan {
    pub(crate) fn from(self) -> Option<i32> {
        Some(self.first).filter(|&year| year != i32::MIN)
    }

    pub(crate) fn to(self) -> Option<i32> {
        Some(self.last).filter(|&year| year != i32::MAX)
    }
}

impl fmt::Display for YearSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from(), self.to()) {
            (Some(first), Some(last)) if first == last => first.fmt(f),
            (first, last) => {
                let text =
                    |year: Option<i32>| year.map_or_else(String::new, |year| year.to_string());
                write!(f, "{}-{}", text(first), text(last))
            }
        }
    }
}

impl FromStr for YearSpan {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let wrong = || Refused::text("a year or a span such as 1970-1979, 1990- or -1965", text);
        let year = |part: &str| part.trim().parse::<i32>().map_err(|_| wrong());
        let (first, last) = match text.split_once('-') {
            None => (year(text)?, year(text)?),
            Some(("", "")) => return Err(wrong()),
            // A hyphen in front is an open beginning: no year is below zero.
            Some(("", last)) => (i32::MIN, year(last)?),
            Some((first, "")) => (year(first)?, i32::MAX),
            Some((first, last)) => (year(first)?, year(last)?),
        };
        if first > last {
            return Err(Refused::text(
                format!("a span that begins before it ends, such as {last}-{first}"),
                text,
            ));
        }
        Ok(Self { first, last })
    }
}

/// An inclusive span of numbers, open at a missing side.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Span {
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
}

impl Span {
    /// Parses `A..B`, `A..`, `..B`, a single number, and with `hyphen`, if no number is below zero, `A-B`.
    ///
    /// A bound covers the values that are rounded to it: `half` is half a rounding step.
    fn read(text: &str, hyphen: bool, half: f64, example: &str) -> Result<Self, Refused> {
        let wrong = || Refused::text(example, text);
        let bound = |part: &str| match part.trim() {
            "" => Ok(None),
            part => part
                .parse()
                .ok()
                // Rust would parse `inf` and `nan`, too.
                .filter(|x: &f64| x.is_finite())
                .map(Some)
                .ok_or_else(wrong),
        };
        let parts = text
            // Dots first: loudness is below zero, and its hyphens are signs.
            .split_once("..")
            .or_else(|| text.split_once('-').filter(|_| hyphen));
        let (from, to) = match parts {
            Some((from, to)) => (bound(from)?, bound(to)?),
            None => (bound(text)?, bound(text)?),
        };
        match (from, to) {
            (None, None) => Err(wrong()),
            (Some(from), Some(to)) if from > to => {
                let dash = if hyphen { "-" } else { ".." };
                Err(Refused::text(
                    format!("a span that begins before it ends, such as {to}{dash}{from}"),
                    text,
                ))
            }
            _ => Ok(Self {
                // Half a step wider on both sides: 120 covers
                // the values shown as 120, 119.5 to 120.5.
                from: from.map(|x| x - half),
                to: to.map(|x| x + half),
            }),
        }
    }
}

impl Span {
    /// As [`read`](Self::read) reads it.
    fn write(self, half: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bound: Option<f64>, half: f64| {
            // Rounded, since adding and subtracting a half is not exact.
            let shown = |bound: f64| ((bound + half) * 1e6).round() / 1e6;
            bound.map_or_else(String::new, |bound| shown(bound).to_string())
        };
        // Always with dots, which every kind of span accepts.
        write!(f, "{}..{}", text(self.from, half), text(self.to, -half))
    }
}

/// Beats a minute.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct TempoSpan(pub(crate) Span);

impl fmt::Display for TempoSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(0.5, f)
    }
}

impl FromStr for TempoSpan {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Span::read(
            text,
            true,
            0.5,
            "a tempo or a span such as 120-128, 120- or -90",
        )
        .map(Self)
    }
}

/// LUFS.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LoudnessSpan(pub(crate) Span);

impl fmt::Display for LoudnessSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(0.05, f)
    }
}

impl FromStr for LoudnessSpan {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Span::read(
            text,
            false,
            0.05,
            "a loudness in LUFS or a span such as -16..-9, -14.. or ..-9",
        )
        .map(Self)
    }
}

/// Values of a scale: `energy=60-100`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScaleSpan(pub(crate) ScaleBound);

impl fmt::Display for ScaleSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScaleBound { scale, from, to } = self.0;
        write!(f, "{scale}=")?;
        Span { from, to }.write(0.5, f)
    }
}

impl FromStr for ScaleSpan {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let expected = "a scale and its values, such as energy=60-100, energy=60- or calm=-20";
        let (name, span) = text
            .split_once('=')
            .ok_or_else(|| Refused::text(expected, text))?;
        let scale = name.parse().map_err(|_| Refused::text(expected, text))?;
        let Span { from, to } = Span::read(span, true, 0.5, expected)?;
        // With the half step by which spans are wider.
        let is_beyond = |bound: f64| !(-0.5..=100.5).contains(&bound);
        if from.is_some_and(is_beyond) || to.is_some_and(is_beyond) {
            return Err(Refused::text("0 to 100", span));
        }
        Ok(Self(ScaleBound { scale, from, to }))
    }
}

/// A filter by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyWish {
    /// This one.
    Key(MusicalKey),
    /// Keys that mix with the seeds' keys.
    Compatible,
}

impl KeyWish {
    pub(crate) fn key(self) -> Option<MusicalKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Compatible => None,
        }
    }
}

impl fmt::Display for KeyWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key().map_or("compatible", MusicalKey::name))
    }
}

impl FromStr for KeyWish {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.trim().eq_ignore_ascii_case("compatible") {
            return Ok(Self::Compatible);
        }
        let wrong = |_| {
            Refused::text(
                "a key such as Am, F#, Eb minor or 8A, or \"compatible\"",
                text,
            )
        };
        text.trim().parse().map(Self::Key).map_err(wrong)
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
            ("90m", 5400.0),
            ("1h30m", 5400.0),
            ("30d", 2_592_000.0),
            ("1.5h", 5400.0),
            ("2m45s", 165.0),
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
        let tempo = |text: &str| {
            text.parse::<TempoSpan>()
                .map(|span| (span.0.from, span.0.to))
        };
        assert_eq!(tempo("120-128"), Ok((Some(119.5), Some(128.5))));
        assert_eq!(tempo("120..128"), tempo("120-128"));
        assert_eq!(tempo("120"), Ok((Some(119.5), Some(120.5))));
        assert_eq!(tempo("120-"), Ok((Some(119.5), None)));
        assert_eq!(tempo("-90"), Ok((None, Some(90.5))));
        for text in ["", "-", "..", "fast", "nan", "120-fast", "128-120"] {
            assert!(tempo(text).is_err(), "{text}");
        }
        assert!(
            tempo("128-120")
                .unwrap_err()
                .expected
                .ends_with("such as 120-128")
        );
        let loudness = |text: &str| {
            text.parse::<LoudnessSpan>()
                .map(|span| (span.0.from, span.0.to))
        };
        assert_eq!(loudness("-16..-9"), Ok((Some(-16.05), Some(-8.95))));
        assert_eq!(loudness("-14.."), Ok((Some(-14.05), None)));
        assert_eq!(loudness("..-9"), Ok((None, Some(-8.95))));
        assert!(loudness("-9..-16").is_err());
        let energy: ScaleSpan = "Energy=60-100".parse().unwrap();
        assert_eq!((energy.0.from, energy.0.to), (Some(59.5), Some(100.5)));
        assert_eq!(energy.to_string(), "energy=60..100");
        assert_eq!(energy.to_string().parse(), Ok(energy));
        for text in [
            "energy",
            "energy=",
            "=60-",
            "energy=loud",
            "a b=3",
            "energy=9-1",
            "energy=200",
        ] {
            assert!(text.parse::<ScaleSpan>().is_err(), "{text}");
        }
        assert_eq!("8a".parse(), Ok(KeyWish::Key(MusicalKey::new(9, true))));
        assert_eq!(" Compatible".parse(), Ok(KeyWish::Compatible));
        assert!("loud".parse::<KeyWish>().is_err());
    }
}
