//! Values that options of several verbs take, each read in one way everywhere (docs/grammar.md).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// A time or length in seconds: `90`, `65.5`, `1:30`, `1:02:03`, `90m`, `1h30m` or `45s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seconds(pub(crate) f64);

/// What no track and no playlist is as long as: some four months.
const LONGEST: f64 = 1e7;

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = if text.contains(':') { clock(text.trim()) } else { units(text.trim()) };
        seconds.filter(|seconds| (0.0..LONGEST).contains(seconds)).map(Self).ok_or_else(|| {
            format!("expected a time such as 90 (seconds), 1:30, 1:02:03, 90m or 1h30m, found \"{text}\"")
        })
    }
}

/// A number without sign and exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// `1:30`, `1:02:03.5`.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (last, front) = parts.split_last()?;
    let mut total = 0.0;
    for (i, part) in front.iter().enumerate() {
        let number = f64::from(part.parse::<u16>().ok()?);
        if front.len() > 2 || i > 0 && number >= 60.0 {
            return None;
        }
        total = (total + number) * 60.0;
    }
    decimal(last).filter(|&seconds| seconds < 60.0).map(|seconds| total + seconds)
}

/// `90`, `90m`, `1h30m`, `45s`: each unit once, the largest first.
fn units(text: &str) -> Option<f64> {
    if let Some(seconds) = decimal(text) {
        return Some(seconds);
    }
    let (mut total, mut rest) = (0.0, text);
    for (name, unit) in [('h', 3600.0), ('m', 60.0), ('s', 1.0)] {
        if let Some((number, after)) = rest.split_once(name) {
            total += unit * decimal(number)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

/// A [`Seconds`] above 0.
pub(super) fn length(text: &str) -> Result<Seconds, String> {
    match text.parse()? {
        Seconds(seconds) if seconds > 0.0 => Ok(Seconds(seconds)),
        Seconds(_) => Err(format!("expected more than 0 seconds, found \"{text}\"")),
    }
}

/// How many at most: a number, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(Option<usize>);

impl Limit {
    /// How many of `all` that is.
    pub(crate) fn of(self, all: usize) -> usize {
        self.0.map_or(all, |most| most.min(all))
    }
}

impl From<usize> for Limit {
    fn from(most: usize) -> Self {
        Self(Some(most).filter(|&most| most > 0))
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<u32>() {
            Ok(most) => Ok(Self::from(most as usize)),
            Err(_) if text.trim().eq_ignore_ascii_case("all") => Ok(Self(None)),
            Err(_) => Err(format!("expected a number, or \"all\" (as 0), found \"{text}\"")),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(most) => most.fmt(f),
            None => f.write_str("all"),
        }
    }
}

/// One of several equal shares of all files: which one, counted from 0, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Whether a file belongs to it: by a digest of its path, so that nobody has to agree with anybody.
    pub(crate) fn holds(self, path: &std::path::Path) -> bool {
        let digest = blake3::hash(path.as_os_str().as_encoded_bytes());
        let number = u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"));
        number % u64::from(self.of) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shard = text.split_once('/').and_then(|(index, of)| {
            Some(Self { index: index.trim().parse().ok()?, of: of.trim().parse().ok()? })
        });
        shard.filter(|shard| shard.index < shard.of).ok_or_else(|| {
            format!("expected a share such as 0/4 (of four, counted from 0 to 3), found \"{text}\"")
        })
    }
}

/// A similarity, -1 to 1.
pub(super) fn cosine(text: &str) -> Result<f32, String> {
    within(text, -1.0, 1.0)
}

/// A weight or share, 0 to 1.
pub(super) fn share(text: &str) -> Result<f32, String> {
    within(text, 0.0, 1.0)
}

fn within(text: &str, least: f32, most: f32) -> Result<f32, String> {
    match text.trim().parse::<f32>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("expected {least} to {most}, found \"{text}\"")),
    }
}

/// The name of a file to write, which must have this ending.
pub(super) fn with_ending(text: &str, ending: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)) {
        Ok(path)
    } else {
        Err(format!("expected a name that ends in .{ending}, found \"{text}\""))
    }
}

/// Where random numbers start.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RandomArgs {
    /// Where random numbers start: the same number gives the same answer
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) random_seed: u64,
    /// The old spelling, for its hint.
    #[arg(long = "seed", hide = true, value_name = "N", value_parser = seed_is_a_track)]
    _seed: Option<u64>,
}

fn seed_is_a_track(_: &str) -> Result<u64, String> {
    Err("a seed is a track; where random numbers start is said by --random-seed N".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_one_way() {
        for (text, seconds) in [
            ("90", 90.0),
            ("65.5", 65.5),
            ("0", 0.0),
            ("1:30", 90.0),
            ("90:00", 5400.0),
            ("1:02:03.5", 3723.5),
            ("90m", 5400.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("2m45s", 165.0),
            ("45s", 45.0),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in [
            "", "m", "-5", "1:75", "1:60:00", "1:2:3:4", "1h30", "30m1h", "1e3", "nan", "+5", "1d", "1:-5",
            "1m1m",
        ] {
            let error = text.parse::<Seconds>().unwrap_err();
            assert!(error.contains("expected a time") && error.contains(&format!("\"{text}\"")), "{error}");
        }
        assert!(length("0").is_err() && length("0:01").is_ok());
    }

    #[test]
    fn limits_are_numbers_or_all() {
        let of = |text: &str| text.parse::<Limit>().map(|limit| limit.of(100));
        assert_eq!(
            (of("7"), of("0"), of("all"), of("ALL"), of("1000")),
            (Ok(7), Ok(100), Ok(100), Ok(100), Ok(100))
        );
        for text in ["-1", "some", "", "1.5", "99999999999"] {
            assert!(of(text).unwrap_err().contains("\"all\""), "{text}");
        }
        assert_eq!(
            (Limit::from(10).to_string(), Limit::from(0).to_string()),
            ("10".to_owned(), "all".to_owned())
        );
    }

    #[test]
    fn each_file_is_in_one_shard() {
        let shards: Vec<Shard> = (0..3).map(|i| format!("{i}/3").parse().unwrap()).collect();
        let mut held = [0; 3];
        for i in 0..300 {
            let path = PathBuf::from(format!("/music/{i}.flac"));
            let of: Vec<usize> = (0..3).filter(|&shard| shards[shard].holds(&path)).collect();
            assert_eq!(of.len(), 1, "{}", path.display());
            held[of[0]] += 1;
        }
        assert!(held.iter().all(|&n| n > 70), "{held:?}");
        for text in ["3/3", "1", "-1/3", "0/0", "a/b", ""] {
            assert!(text.parse::<Shard>().unwrap_err().contains("expected a share"), "{text}");
        }
    }

    #[test]
    fn shares_and_cosines_have_bounds() {
        assert_eq!((cosine("-1"), share("0.5")), (Ok(-1.0), Ok(0.5)));
        for text in ["2", "nan", "-1.1", "x"] {
            assert!(cosine(text).unwrap_err().contains("expected -1 to 1"), "{text}");
        }
        assert!(share("-0.1").unwrap_err().contains("expected 0 to 1"));
    }
}
