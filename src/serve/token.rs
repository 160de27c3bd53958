//! The secrets that open the server, in a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::ServeError;
use voisin_base::regular_file;

const RANDOM: usize = 32;
const LARGEST: u64 = 64 << 10;
const LEAST: usize = 10;

/// A client's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rights {
    /// Everything.
    Change,
    /// Search and play: no changes of the library or of files.
    Read,
}

/// A secret. It is compared by its digest, in constant time.
#[derive(Clone)]
struct Secret {
    rights: Rights,
    digest: blake3::Hash,
    /// The page's cookie: a token cannot be computed from it, and another secret has another one.
    cookie: blake3::Hash,
}

/// The token, or a password of the owner's, and one that only reads. They are never shown by `Debug`.
#[derive(Clone)]
pub struct Secrets {
    token: String,
    all: Vec<Secret>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    fn new(lines: &[&str]) -> Self {
        let secret = |(rights, text): (Rights, &&str)| Secret {
            rights,
            digest: blake3::hash(text.as_bytes()),
            cookie: blake3::derive_key("voisin serve, cookie of a secret", text.as_bytes()).into(),
        };
        let rights = [Rights::Change, Rights::Read];
        Self {
            token: lines.first().copied().unwrap_or_default().to_owned(),
            all: rights.into_iter().zip(lines).map(secret).collect(),
        }
    }

    /// Reads the secrets in `path`, or creates a token there.
    pub fn of_file(path: &Path) -> Result<Self, ServeError> {
        let fault = |source| ServeError::TokenFile {
            path: path.to_owned(),
            source,
        };
        match regular_file::read_text(path, LARGEST) {
            Ok(text) => {
                let lines: Vec<&str> = text
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .collect();
                if !(1..=2).contains(&lines.len())
                    || lines.iter().any(|line| line.chars().count() < LEAST)
                    || lines.first() == lines.get(1)
                {
                    return Err(ServeError::WeakToken {
                        path: path.to_owned(),
                        least: LEAST,
                    });
                }
                check_secret_file(path)?;
                Ok(Self::new(&lines))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = [0; RANDOM];
                getrandom::fill(&mut bytes).map_err(|error| fault(error.into()))?;
                let text = blake3::Hash::from(bytes).to_hex();
                let mut options = OpenOptions::new();
                // Another server that starts at the same time may have created it: its token must not
                // be replaced.
                options.write(true).create_new(true);
                #[cfg(unix)]
                {
                    use std::os::unix::fs::OpenOptionsExt as _;
                    options.mode(0o600);
                }
                let mut file = options.open(path).map_err(fault)?;
                file.write_all(format!("{text}\n").as_bytes())
                    .and_then(|()| file.sync_all())
                    // An empty file, as on a full disk, would be refused at each later start.
                    .inspect_err(|_| drop(std::fs::remove_file(path)))
                    .map_err(fault)?;
                Ok(Self::new(&[&text]))
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// The secret that opens everything, for its owner.
    pub fn reveal(&self) -> &str {
        &self.token
    }

    /// The rights of a secret, and the cookie for the page.
    pub(crate) fn of_secret(&self, offered: &str) -> Option<(Rights, String)> {
        let digest = blake3::hash(offered.trim().as_bytes());
        let known = self.all.iter().find(|secret| secret.digest == digest)?;
        Some((known.rights, known.cookie.to_hex().to_string()))
    }

    pub(crate) fn of_cookie(&self, offered: &str) -> Option<Rights> {
        let cookie = blake3::Hash::from_hex(offered).ok()?;
        let known = self.all.iter().find(|secret| secret.cookie == cookie)?;
        Some(known.rights)
    }
}

/// Refuses a secret file that others can read.
///
/// # Errors
/// [`ServeError::OpenToken`], or [`ServeError::TokenFile`] if it cannot be accessed
fn check_secret_file(path: &Path) -> Result<(), ServeError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let fault = |source| ServeError::TokenFile {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(fault)?;
        let mode = metadata.permissions().mode() & 0o777;
        // Secrets mounted into a container belong to root and are read by their group.
        let is_mounted = metadata.uid() == 0 && !rustix::process::getuid().is_root();
        if mode & if is_mounted { 0o037 } else { 0o077 } != 0 {
            return Err(ServeError::OpenToken {
                path: path.to_owned(),
                mode,
            });
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
