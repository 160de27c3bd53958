//! Devices that are let in: what one may do here, and the short code that lets another one in.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::state::lock;

/// How long a code is good for.
pub(super) const CODE_LASTS: Duration = Duration::from_mins(10);
/// Wrong codes, whoever tries them, after which no code that was given is good any more: with one in a million each, nobody
/// guesses one.
const TRIES: u32 = 5;
/// Codes that are good at once.
const MOST: usize = 8;

/// What a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rights {
    /// Everything.
    Change,
    /// Ask and listen: nothing that changes the library or a file, and nobody else is let in.
    Listen,
}

/// A code that was given out.
struct Code {
    digits: String,
    rights: Rights,
    until: Instant,
    tries: u32,
}

/// The codes that are good now.
#[derive(Default)]
pub(super) struct Devices(Mutex<Vec<Code>>);

impl Devices {
    /// A new code: six digits that are good once.
    pub(super) fn code(&self, rights: Rights) -> Result<String, getrandom::Error> {
        let digits = format!("{:06}", getrandom::u64()? % 1_000_000);
        let mut codes = lock(&self.0);
        codes.retain(|code| code.until > Instant::now() && code.digits != digits);
        if codes.len() >= MOST {
            codes.remove(0);
        }
        let until = Instant::now() + CODE_LASTS;
        codes.push(Code { digits: digits.clone(), rights, until, tries: TRIES });
        Ok(digits)
    }

    /// What a code allows, as its owner types it. It is good no more after that; a wrong one brings all others nearer to
    /// their end.
    pub(super) fn take(&self, typed: &str) -> Option<Rights> {
        let typed: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let mut codes = lock(&self.0);
        codes.retain(|code| code.until > Instant::now());
        if let Some(at) = codes.iter().position(|code| code.digits == typed) {
            return Some(codes.remove(at).rights);
        }
        codes.iter_mut().for_each(|code| code.tries -= 1);
        codes.retain(|code| code.tries > 0);
        None
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Devices(…)")
    }
}

/// A code as people read it: `482 193`.
pub(super) fn readable(code: &str) -> String {
    let (first, last) = code.split_at(code.len() / 2);
    format!("{first} {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_ends_with_wrong_tries() {
        let devices = Devices::default();
        let own = devices.code(Rights::Change).unwrap();
        let guest = devices.code(Rights::Listen).unwrap();
        assert!(own.len() == 6 && own.bytes().all(|digit| digit.is_ascii_digit()), "{own}");
        assert_eq!(devices.take(&readable(&guest)), Some(Rights::Listen));
        assert_eq!(devices.take(&guest), None, "once");
        let wrong = if own == "000000" { "000001" } else { "000000" };
        for _ in 0..TRIES - 2 {
            assert_eq!(devices.take(wrong), None);
        }
        let last = devices.code(Rights::Change).unwrap();
        assert_eq!(devices.take(if wrong == last { "x" } else { wrong }), None);
        assert_eq!(devices.take(&own), None, "five wrong tries end it");
        assert_eq!(devices.take(&last), Some(Rights::Change), "a newer one is still good");
        lock(&devices.0).push(Code {
            digits: "1".to_owned(),
            rights: Rights::Change,
            until: Instant::now(),
            tries: TRIES,
        });
        assert_eq!(devices.take("1"), None, "late");
    }
}
