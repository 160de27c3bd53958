//! The secret that a client must show: 256 bits, in a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::ServeError;
use super::devices::Rights;
use voisin_base::regular_file;

/// Hexadecimal digits of a token that voisin makes.
const DIGITS: usize = 64;
/// Bytes of a token's file.
const LARGEST: u64 = 64 << 10;
/// Fewer characters could be guessed.
const LEAST: usize = 32;
/// The same of a password, which is tried five times a minute at most.
const LEAST_OF_PASSWORD: usize = 10;

/// A token. It is compared as a digest, whose comparison takes the same time wherever the two differ, and never shown by
/// `Debug`.
#[derive(Clone)]
pub struct Token {
    text: String,
    digest: blake3::Hash,
    /// What the page gets for it, which is not the token itself: to change things, and to listen.
    cookies: [(Rights, String); 2],
    passwords: Vec<(Rights, blake3::Hash)>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    fn new(text: String) -> Self {
        let digest = blake3::hash(text.as_bytes());
        let cookie = |of| blake3::Hash::from(blake3::derive_key(of, text.as_bytes())).to_hex().to_string();
        let cookies = [
            (Rights::Change, cookie("voisin serve, cookie of the page")),
            (Rights::Listen, cookie("voisin serve, cookie of a guest")),
        ];
        Self { text, digest, cookies, passwords: Vec::new() }
    }

    /// Reads the token in `path`, or makes one there.
    pub fn of_file(path: &Path) -> Result<Self, ServeError> {
        let fault = |source| ServeError::TokenFile { path: path.to_owned(), source };
        match regular_file::read_text(path, LARGEST) {
            Ok(text) => {
                let text = text.trim().to_owned();
                if text.len() < LEAST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(ServeError::WeakToken { path: path.to_owned(), least: LEAST });
                }
                is_the_owners(path)?;
                Ok(Self::new(text))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = [0; DIGITS / 2];
                getrandom::fill(&mut bytes).map_err(|error| fault(error.into()))?;
                let text = blake3::Hash::from(bytes).to_hex().to_string();
                let mut options = OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                {
                    use std::os::unix::fs::OpenOptionsExt as _;
                    options.mode(0o600);
                }
                let mut file = options.open(path).map_err(fault)?;
                file.write_all(format!("{text}\n").as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(fault)?;
                Ok(Self::new(text))
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// Signs browsers in by passwords as well: that in the first line of `path` lets a device do everything, one in the second
    /// line search and listen.
    pub fn with_passwords(mut self, path: &Path) -> Result<Self, ServeError> {
        let fault = |source| ServeError::TokenFile { path: path.to_owned(), source };
        let text = regular_file::read_text(path, LARGEST).map_err(fault)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !(1..=2).contains(&lines.len())
            || lines.iter().any(|line| line.chars().count() < LEAST_OF_PASSWORD)
            || lines.first() == lines.get(1)
        {
            return Err(ServeError::WeakPassword { path: path.to_owned(), least: LEAST_OF_PASSWORD });
        }
        is_the_owners(path)?;
        let rights = [Rights::Change, Rights::Listen];
        self.passwords =
            rights.into_iter().zip(lines.iter().map(|line| blake3::hash(line.as_bytes()))).collect();
        Ok(self)
    }

    /// The token itself, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    pub(super) fn is(&self, offered: &str) -> bool {
        blake3::hash(offered.as_bytes()) == self.digest
    }

    /// What the token, or a password, lets a browser do.
    pub(super) fn signs_in(&self, offered: &str) -> Option<Rights> {
        let digest = blake3::hash(offered.trim().as_bytes());
        let password = self.passwords.iter().find(|(_, known)| *known == digest).map(|(rights, _)| *rights);
        if self.is(offered) { Some(Rights::Change) } else { password }
    }

    /// What the page gets in exchange for the token or a code.
    pub(super) fn cookie(&self, rights: Rights) -> &str {
        self.cookies.iter().find(|(of, _)| *of == rights).map_or("", |(_, cookie)| cookie)
    }

    /// What a cookie allows.
    pub(super) fn rights_of(&self, offered: &str) -> Option<Rights> {
        let offered = blake3::hash(offered.as_bytes());
        let is_it = |cookie: &str| offered == blake3::hash(cookie.as_bytes());
        self.cookies.iter().find(|(_, cookie)| is_it(cookie)).map(|(rights, _)| *rights)
    }
}

/// Refuses a file that others can read.
fn is_the_owners(path: &Path) -> Result<(), ServeError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let fault = |source| ServeError::TokenFile { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(fault)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ServeError::OpenToken { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
