//! Filters as people write them, on the command line and to the server (docs/grammar.md).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{
    Library, LibraryError, MusicalKey, NameOf, Result as LibraryResult, TrackFilter, WordBound, stored_path,
};
use voisin_base::text::{did_you_mean, meant, spelt_alike};

impl Library {
    /// The names that are meant: one that is so called, else all that have it in them. Nobody is an error that suggests.
    pub fn names_meant(&self, of: NameOf, name: &str) -> LibraryResult<Vec<String>> {
        let all = self.names(of)?;
        let names = || all.iter().map(String::as_str);
        let found: Vec<String> = meant(name, names()).into_iter().map(str::to_owned).collect();
        if found.is_empty() {
            let (what, next) = match of {
                NameOf::Artist => ("artist", "\"voisin artists\" lists those there are"),
                NameOf::Album => ("album", "see the tags of your files"),
            };
            let hint = format!("{}{next}", did_you_mean(&spelt_alike(name, names())));
            return Err(LibraryError::UnknownName { what, name: name.to_owned(), hint });
        }
        Ok(found)
    }

    /// The folder as the library stores it. One that holds no track is an error.
    pub fn folder_meant(&self, folder: &Path) -> LibraryResult<PathBuf> {
        let stored = stored_path(folder);
        let below = TrackFilter { folders: vec![stored.clone()], ..TrackFilter::default() };
        if self.matching(&below)?.is_empty() {
            let hint = "none of its tracks lies there; \"voisin list\" shows where they are".to_owned();
            let name = stored.display().to_string();
            return Err(LibraryError::UnknownName { what: "folder of this library", name, hint });
        }
        Ok(stored)
    }
}

/// A word, and the percentile from which on it holds: `calm`, `female vocalists:90`.
pub fn word_bound(text: &str, usual: f32, not: bool) -> Result<WordBound, String> {
    let (word, percent) = match text.rsplit_once(':') {
        None => (text, usual),
        Some((word, percent)) => {
            let number = percent.trim().trim_end_matches('%').trim_end().parse().ok();
            let number = number.filter(|number| (0.0..=100.0).contains(number));
            let wrong =
                || format!("expected a percentile from 0 to 100 after the colon, found \"{percent}\"");
            (word, number.ok_or_else(wrong)?)
        }
    };
    Ok(WordBound { word: word.trim().to_owned(), percentile: percent / 100.0, not })
}

/// An inclusive span of years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YearSpan {
    first: i32,
    last: i32,
}

impl YearSpan {
    /// First year, where the span has one.
    pub fn from(self) -> Option<i32> {
        Some(self.first).filter(|&year| year != i32::MIN)
    }

    /// Last year, where the span has one.
    pub fn to(self) -> Option<i32> {
        Some(self.last).filter(|&year| year != i32::MAX)
    }
}

impl FromStr for YearSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected a year or a span such as 1970-1979, 1990- or -1965, found \"{text}\"");
        let year = |part: &str| part.trim().parse::<i32>().map_err(|_| wrong());
        let (first, last) = match text.split_once('-') {
            None => (year(text)?, year(text)?),
            Some(("", "")) => return Err(wrong()),
            Some(("", last)) => (i32::MIN, year(last)?),
            Some((first, "")) => (year(first)?, i32::MAX),
            Some((first, last)) => (year(first)?, year(last)?),
        };
        if first > last {
            return Err(format!("the span \"{text}\" ends before it begins; did you mean {last}-{first}?"));
        }
        Ok(Self { first, last })
    }
}

/// An inclusive span of numbers, open where a side is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub from: Option<f64>,
    pub to: Option<f64>,
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
                let dash = if hyphen { "-" } else { ".." };
                Err(format!("the span \"{text}\" ends before it begins; did you mean {to}{dash}{from}?"))
            }
            _ => Ok(Self { from: from.map(|x| x - half), to: to.map(|x| x + half) }),
        }
    }
}

/// Beats a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TempoSpan(pub Span);

impl FromStr for TempoSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Span::read(text, true, 0.5, "a tempo or a span such as 120-128, 120- or -90").map(Self)
    }
}

/// LUFS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoudnessSpan(pub Span);

impl FromStr for LoudnessSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Span::read(text, false, 0.05, "a loudness in LUFS or a span such as -16..-9, -14.. or ..-9").map(Self)
    }
}

/// Which keys are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWish {
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
        assert!(tempo("128-120").unwrap_err().ends_with("did you mean 120-128?"));
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
