//! The 24 major and minor keys: their names, and their positions on the Camelot wheel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MAJOR: [&str; 12] = [
    "C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
];
const MINOR: [&str; 12] = [
    "Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm",
];

/// A major or minor key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct MusicalKey(u8);

impl From<MusicalKey> for u8 {
    fn from(key: MusicalKey) -> Self {
        key.0
    }
}

impl TryFrom<u8> for MusicalKey {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::from_number(number)
            .ok_or_else(|| format!("expected a key from 0 to 23, found {number}"))
    }
}

impl MusicalKey {
    /// All keys: C major upwards, then C minor upwards.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..24).map(Self)
    }

    /// - `tonic`: 0 for C, 1 for C sharp … 11 for B; taken modulo 12
    pub fn new(tonic: u8, minor: bool) -> Self {
        Self(tonic % 12 + if minor { 12 } else { 0 })
    }

    /// From its number: 0 to 11 from C major upwards, 12 to 23 from C minor.
    pub fn from_number(number: u8) -> Option<Self> {
        (number < 24).then_some(Self(number))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    pub fn tonic(self) -> u8 {
        self.0 % 12
    }

    pub fn is_minor(self) -> bool {
        self.0 >= 12
    }

    /// Its name, such as `Am` or `Eb`.
    pub fn name(self) -> &'static str {
        let names = if self.is_minor() { &MINOR } else { &MAJOR };
        names[usize::from(self.tonic())]
    }

    /// Its name on the Camelot wheel, such as `8A` for A minor and `8B` for C major.
    pub fn camelot(self) -> String {
        format!("{}{}", self.hour(), if self.is_minor() { 'A' } else { 'B' })
    }

    /// Keys that it mixes with: itself, its neighbours on the wheel (a fifth up and down), and its relative key.
    pub fn compatible(self) -> [Self; 4] {
        // A fifth is 7 semitones up; down it is 5 up, an octave lower. `new` takes them modulo 12.
        let fifth = |by: u8| Self::new(self.tonic() + by, self.is_minor());
        let relative = Self::new(
            self.tonic() + if self.is_minor() { 3 } else { 9 },
            !self.is_minor(),
        );
        [self, fifth(7), fifth(5), relative]
    }

    /// Its position on the wheel, 1 to 12, which is also that of its relative key.
    fn hour(self) -> u8 {
        let major = if self.is_minor() {
            self.tonic() + 3
        } else {
            self.tonic()
        };
        // C major is 8 on the wheel, and each fifth upwards one more.
        (major * 7 + 7) % 12 + 1
    }
}

/// `Am (8A)`.
impl fmt::Display for MusicalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.camelot())
    }
}

impl FromStr for MusicalKey {
    type Err = String;

    /// Reads `Am`, `F#`, `gb`, and Camelot's `8A`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a key such as Am, F#, Eb or 8A, found \"{text}\"");
        if let Some(key) = Self::all().find(|key| key.camelot().eq_ignore_ascii_case(text)) {
            return Ok(key);
        }
        let (tonic, minor) = text
            .strip_suffix('m')
            .map_or((text, false), |tonic| (tonic, true));
        let mut letters = tonic.chars();
        let letter = letters.next().ok_or_else(wrong)?.to_ascii_uppercase();
        let natural = "C.D.EF.G.A.B".find(letter).filter(|_| letter != '.');
        let natural = natural.ok_or_else(wrong)? as u8;
        match letters.as_str() {
            "" => Ok(Self::new(natural, minor)),
            "#" => Ok(Self::new(natural + 1, minor)),
            // A flat is one semitone down, that is 11 up: `new` takes it modulo 12.
            "b" => Ok(Self::new(natural + 11, minor)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hours_are_read_back() {
        for key in MusicalKey::all() {
            assert_eq!(key.name().parse(), Ok(key));
            assert_eq!(key.camelot().parse(), Ok(key));
        }
    }

    #[test]
    fn sharps_and_flats_are_understood_in_either_case() {
        let key = |text: &str| text.parse::<MusicalKey>().map(MusicalKey::name);
        for (text, name) in [
            ("am", "Am"),
            ("8a", "Am"),
            ("Gb", "F#"),
            ("B", "B"),
            ("bb", "Bb"),
            ("Cb", "B"),
            ("Dbm", "C#m"),
        ] {
            assert_eq!(key(text), Ok(name), "{text}");
        }
        for text in ["", "H", "13A", "0B", "8C", "Amx", "8", "#", "m", "."] {
            assert!(key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn neighbours_on_the_wheel_and_the_relative_key_are_compatible() {
        let key: MusicalKey = "Am".parse().unwrap();
        assert_eq!(key.to_string(), "Am (8A)");
        let mut names = key.compatible().map(MusicalKey::camelot);
        names.sort();
        assert_eq!(names, ["7A", "8A", "8B", "9A"]);
    }
}
