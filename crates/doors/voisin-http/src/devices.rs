//! Rights of devices, and the short codes that sign in further ones.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::state::lock;

/// Lifetime of a code.
pub const CODE_LASTS: Duration = Duration::from_mins(10);
/// Most valid codes at once.
const MOST: usize = 8;

/// The rights of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rights {
    /// Everything.
    Change,
    /// Search and play: no changes of the library or of files, and no codes for other devices.
    Listen,
}

/// A valid code.
struct Code {
    digits: String,
    rights: Rights,
    until: Instant,
}

/// The valid codes.
#[derive(Default)]
pub struct Devices(Mutex<Vec<Code>>);

impl Devices {
    /// A new code: six digits, valid once.
    pub fn code(&self, rights: Rights) -> Result<String, getrandom::Error> {
        // The remainder favours some codes by less than one in 10^12, which does not help
        // guessing.
        let digits = format!("{:06}", getrandom::u64()? % 1_000_000);
        let mut codes = lock(&self.0);
        // Two equal codes with different rights would be ambiguous.
        codes.retain(|code| code.until > Instant::now() && code.digits != digits);
        if codes.len() >= MOST {
            // The oldest one.
            codes.remove(0);
        }
        let until = Instant::now() + CODE_LASTS;
        codes.push(Code {
            digits: digits.clone(),
            rights,
            until,
        });
        Ok(digits)
    }

    /// The rights of a typed code, which becomes invalid. Wrong codes have no effect on the others: attempts are limited in
    /// [`guess_limit`](super::guess_limit).
    pub fn take(&self, typed: &str) -> Option<Rights> {
        let typed: String = typed
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect();
        let mut codes = lock(&self.0);
        codes.retain(|code| code.until > Instant::now());
        let at = codes.iter().position(|code| code.digits == typed)?;
        Some(codes.remove(at).rights)
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Devices(…)")
    }
}

/// A code as it is shown: `482 193`.
pub fn readable(code: &str) -> String {
    let (first, last) = code.split_at(code.len() / 2);
    format!("{first} {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_valid_once_despite_wrong_ones() {
        let devices = Devices::default();
        let owner = devices.code(Rights::Change).unwrap();
        let guest = devices.code(Rights::Listen).unwrap();
        assert!(
            owner.len() == 6 && owner.bytes().all(|digit| digit.is_ascii_digit()),
            "{owner}"
        );
        assert_eq!(devices.take(&readable(&guest)), Some(Rights::Listen));
        assert_eq!(devices.take(&guest), None, "once");
        let wrong = if owner == "000000" {
            "000001"
        } else {
            "000000"
        };
        for _ in 0..1000 {
            assert_eq!(devices.take(wrong), None);
        }
        assert_eq!(
            devices.take(&owner),
            Some(Rights::Change),
            "wrong ones end none"
        );
        lock(&devices.0).push(Code {
            digits: "1".to_owned(),
            rights: Rights::Change,
            until: Instant::now(),
        });
        assert_eq!(devices.take("1"), None, "late");
    }
}
