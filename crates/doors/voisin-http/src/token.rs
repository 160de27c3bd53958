//! The token that clients must send: 256 bits, in a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _};

use super::ServeError;
use super::devices::Rights;
use voisin_base::regular_file;

/// Hexadecimal digits of a generated token.
const DIGITS: usize = 64;
/// Most bytes of a token's file.
const LARGEST: u64 = 64 << 10;
/// Least length of a token.
const LEAST: usize = 32;
/// Least length of a password, of which at most 1440 a day are compared ([`guess_limit`](super::guess_limit)).
const LEAST_OF_PASSWORD: usize = 10;
/// Most memory in KiB, passes and lanes of an Argon2 hash: a comparison takes a second or two then.
// Without bounds, a hash in the file could allocate all memory at each attempt to sign in.
const MOST_OF_HASH: (u32, u32, u32) = (256 * 1024, 10, 4);

/// A password of its file.
#[derive(Clone)]
enum Password {
    /// Its digest, for a comparison in constant time.
    Plain(blake3::Hash),
    /// Argon2id (RFC 9106), with its salt and parameters.
    Hashed(Box<PasswordHash>),
}

impl Password {
    /// Parses a line; `None` for a hash of another kind, or a damaged one.
    fn of_line(line: &str) -> Option<Self> {
        if !line.starts_with("$argon2") {
            return Some(Self::Plain(blake3::hash(line.as_bytes())));
        }
        let hash = PasswordHash::new(line).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let (memory, passes, lanes) = MOST_OF_HASH;
        let is_known = hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.salt.is_some()
            && hash.hash.is_some()
            && params.m_cost() <= memory
            && params.t_cost() <= passes
            && params.p_cost() <= lanes;
        is_known.then(|| Self::Hashed(Box::new(hash)))
    }

    fn is(&self, offered: &str) -> bool {
        match self {
            Self::Plain(digest) => blake3::hash(offered.as_bytes()) == *digest,
            Self::Hashed(hash) => Argon2::default()
                .verify_password(offered.as_bytes(), hash.as_ref())
                .is_ok(),
        }
    }
}

/// A hash of a password for the file of passwords: Argon2id with 19 MiB, two passes and one lane, the minimum of OWASP's
/// Password Storage Cheat Sheet, as a PHC string.
///
/// # Errors
///
/// The password has fewer than ten characters, or the system's random numbers failed.
pub fn hash_password(password: &str) -> Result<String, ServeError> {
    let password = password.trim();
    if password.chars().count() < LEAST_OF_PASSWORD {
        return Err(ServeError::ShortPassword {
            least: LEAST_OF_PASSWORD,
        });
    }
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|_| ServeError::Random)?;
    Ok(hash.to_string())
}

/// A token. It is compared by its digest, in constant time, and never shown by `Debug`.
#[derive(Clone)]
pub struct Token {
    text: String,
    digest: blake3::Hash,
    /// The key of cookies' digests, different for each token.
    key: [u8; 32],
    passwords: Vec<(Rights, Password)>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    fn new(text: String) -> Self {
        let digest = blake3::hash(text.as_bytes());
        // The string separates this key from others of the same token; changing it signs
        // out all devices.
        let key = blake3::derive_key("voisin serve, cookies of devices", text.as_bytes());
        Self {
            text,
            digest,
            key,
            passwords: Vec::new(),
        }
    }

    /// Reads the token in `path`, or creates one there.
    pub fn of_file(path: &Path) -> Result<Self, ServeError> {
        let fault = |source| ServeError::TokenFile {
            path: path.to_owned(),
            source,
        };
        match regular_file::read_text(path, LARGEST) {
            Ok(text) => {
                let text = text.trim().to_owned();
                if text.len() < LEAST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(ServeError::WeakToken {
                        path: path.to_owned(),
                        least: LEAST,
                    });
                }
                check_secret_file(path)?;
                Ok(Self::new(text))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = [0; DIGITS / 2];
                getrandom::fill(&mut bytes).map_err(|error| fault(error.into()))?;
                let text = blake3::Hash::from(bytes).to_hex().to_string();
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
                Ok(Self::new(text))
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// Adds passwords for signing in: the first line of `path` gives full access, the second one of guests. A line is a
    /// password or its [`hash_password`].
    ///
    /// # Errors
    ///
    /// The file cannot be read, can be read by others, or has other lines.
    pub fn with_passwords(mut self, path: &Path) -> Result<Self, ServeError> {
        let fault = |source| ServeError::TokenFile {
            path: path.to_owned(),
            source,
        };
        let text = regular_file::read_text(path, LARGEST).map_err(fault)?;
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if !(1..=2).contains(&lines.len())
            || lines
                .iter()
                .any(|line| line.chars().count() < LEAST_OF_PASSWORD)
            // Equal passwords would make guests owners.
            || lines.first() == lines.get(1)
        {
            return Err(ServeError::WeakPassword {
                path: path.to_owned(),
                least: LEAST_OF_PASSWORD,
            });
        }
        check_secret_file(path)?;
        let passwords: Option<Vec<Password>> = lines.into_iter().map(Password::of_line).collect();
        let passwords = passwords.ok_or_else(|| ServeError::OtherHash {
            path: path.to_owned(),
        })?;
        self.passwords = [Rights::Change, Rights::Listen]
            .into_iter()
            .zip(passwords)
            .collect();
        Ok(self)
    }

    /// Whether a password is stored in plain text.
    pub fn has_plain_password(&self) -> bool {
        self.passwords
            .iter()
            .any(|(_, password)| matches!(password, Password::Plain(_)))
    }

    /// Whether there are passwords.
    pub fn has_passwords(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// The token itself, for its owner.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Compares a token.
    pub fn is(&self, offered: &str) -> bool {
        blake3::hash(offered.as_bytes()) == self.digest
    }

    /// The rights of a password. May take a second.
    pub fn of_password(&self, offered: &str) -> Option<Rights> {
        let known = self
            .passwords
            .iter()
            .find(|(_, password)| password.is(offered.trim()))?;
        Some(known.0)
    }

    /// A digest of a device's cookie, keyed by the token.
    pub(super) fn digest_of(&self, cookie: &str) -> String {
        blake3::keyed_hash(&self.key, cookie.as_bytes())
            .to_hex()
            .to_string()
    }
}

/// Refuses a secret file that others can read.
///
/// # Errors
/// [`ServeError::OpenToken`], or [`ServeError::TokenFile`] if it cannot be accessed
pub fn check_secret_file(path: &Path) -> Result<(), ServeError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_passwords_are_compared_with_their_own_parameters() {
        let line = hash_password(" violin and drums\n").unwrap();
        assert!(
            line.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{line}"
        );
        assert_ne!(line, hash_password("violin and drums").unwrap(), "salted");
        let known = Password::of_line(&line).unwrap();
        assert!(known.is("violin and drums") && !known.is("violin and drum") && !known.is(&line));
        // By the reference implementation in C: echo -n "violin and drums" | argon2 somesalt -id -m 12 -t 3 -p 1 -e
        let other =
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$f9q5TBJCS820Fi04s8TeP35XSqf/IVb14+L3SVhyET4";
        assert!(Password::of_line(other).unwrap().is("violin and drums"));
        for wrong in [
            &line[..line.len() - 50],
            &line.replace("m=19456", "m=4194304"),
            &line.replace("t=2", "t=1000"),
            &line.replace("$argon2id$", "$argon2i$"),
            "$argon2id$",
        ] {
            assert!(Password::of_line(wrong).is_none(), "{wrong}");
        }
        assert!(matches!(
            hash_password("too short"),
            Err(ServeError::ShortPassword { least: 10 })
        ));
    }
}
