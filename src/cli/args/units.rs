//! Values that only options of the command line take.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use voisin_base::output;

/// One of several equal shares of all files: which one, counted from 0, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u32,
    total: u32,
}

impl Shard {
    /// Whether a file belongs to it: by a digest of its path, so that machines need no coordination.
    pub(crate) fn holds(self, path: &Path) -> bool {
        // A digest, not the file's position in the scan: machines that find different files still
        // assign each alike.
        let digest = blake3::hash(path.as_os_str().as_encoded_bytes());
        let first = digest.as_bytes().first_chunk();
        let number = u64::from_le_bytes(*first.expect("a digest has 32 bytes"));
        // `total` is at least 1: `from_str` requires an index below it.
        number % u64::from(self.total) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shard = text.split_once('/').and_then(|(index, total)| {
            Some(Self {
                index: index.trim().parse().ok()?,
                total: total.trim().parse().ok()?,
            })
        });
        // Also refuses 0/0.
        shard
            .filter(|shard| shard.index < shard.total)
            .ok_or_else(|| {
                format!(
                    "expected a share such as 0/4 (of four, counted from 0 to 3), found \"{text}\""
                )
            })
    }
}

/// The name of a file to write, which must have this ending.
pub(super) fn with_ending(text: &str, ending: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if output::ending(&path, ending) == ending {
        Ok(path)
    } else {
        Err(format!(
            "expected a name that ends in .{ending}, found \"{text}\""
        ))
    }
}

/// The seed of the random numbers.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RandomArgs {
    /// Seed of the random numbers: the same number gives the same result
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) random_seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_in_one_shard() {
        let shards: Vec<Shard> = (0..3).map(|i| format!("{i}/3").parse().unwrap()).collect();
        let mut held = [0; 3];
        for i in 0..300 {
            let path = PathBuf::from(format!("/music/{i}.flac"));
            let holding: Vec<usize> = (0..3).filter(|&shard| shards[shard].holds(&path)).collect();
            assert_eq!(holding.len(), 1, "{}", path.display());
            held[holding[0]] += 1;
        }
        assert!(held.iter().all(|&n| n > 70), "{held:?}");
        for text in ["3/3", "1", "-1/3", "0/0", "a/b", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
