//! Devices that are signed in: each has its own cookie, is listed, and can be signed out separately.
//!
//! They are stored in a file of the library's folder, with digests of their cookies, keyed by the token: another token signs
//! all of them out. If it cannot be written, they last as long as the server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::devices::Rights;
use super::state::lock;
use super::token::Token;
use voisin_base::atomic_file::AtomicFile;
use voisin_base::regular_file;

/// Name of the file.
const FILE: &str = "serve.devices";
/// Most bytes of the file.
const LARGEST: u64 = 1 << 20;
/// Most devices; the least recently seen one makes room.
const MOST: usize = 500;
/// Seconds after which a device's last visit is stored again.
const SEEN_AGAIN: u64 = 3600;

/// A device that is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DeviceSession {
    id: u64,
    name: String,
    rights: Rights,
    /// Seconds since 1970 UTC.
    since: u64,
    seen: u64,
    /// Digest of its cookie, keyed by the token.
    digest: String,
    /// Digest of the token: devices of a former token are signed out.
    token: String,
}

/// A device for the owner's list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct SignedIn {
    /// Its number.
    id: u64,
    /// Browser and system.
    name: String,
    /// Whether it may change something.
    rights: Rights,
    /// When it signed in, in seconds since 1970 UTC.
    since: u64,
    /// Its last visit, in seconds since 1970 UTC.
    seen: u64,
    /// Whether it sent this request.
    is_this: bool,
}

#[derive(Default)]
struct Known {
    sessions: Mutex<Vec<DeviceSession>>,
    /// Held from before the sessions are read until the file is written, so that the last write has the last state.
    file: Mutex<Option<PathBuf>>,
}

/// Devices that are signed in.
#[derive(Default)]
pub struct Sessions(Arc<Known>);

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Known {
    fn keep(&self) {
        let file = lock(&self.file);
        let Some(file) = &*file else { return };
        let text = serde_json::to_vec_pretty(&*lock(&self.sessions));
        if let Ok(text) = text {
            // If the folder cannot be written, devices sign in again after the next start.
            let _ = write(file, &text);
        }
    }
}

fn write(file: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut writer = AtomicFile::create(file)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        writer
            // Before the first byte, since others may read new files.
            .file()
            .set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    writer.file().write_all(text)?;
    writer.commit()
}

impl Sessions {
    /// Reads those of a folder.
    pub fn of_folder(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let text = regular_file::read_text(&file, LARGEST).unwrap_or_default();
        // A damaged file only signs out all devices.
        let sessions = serde_json::from_str(&text).unwrap_or_default();
        Self(Arc::new(Known {
            sessions: Mutex::new(sessions),
            file: Mutex::new(Some(file)),
        }))
    }

    /// Signs a device in; returns its cookie.
    pub fn begin(
        &self,
        token: &Token,
        rights: Rights,
        name: String,
    ) -> Result<String, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let cookie = blake3::Hash::from(secret).to_hex().to_string();
        let now = now();
        let session = DeviceSession {
            // 53 bits, which JavaScript represents exactly.
            id: getrandom::u64()? >> 11,
            name,
            rights,
            since: now,
            seen: now,
            digest: token.digest_of(&cookie),
            token: token.digest_of(""),
        };
        let mut sessions = lock(&self.0.sessions);
        // Those of a former token are useless and would take the places of others.
        sessions.retain(|one| one.token == session.token);
        if sessions.len() >= MOST
            && let Some(oldest) = (0..sessions.len()).min_by_key(|&at| sessions[at].seen)
        {
            sessions.remove(oldest);
        }
        sessions.push(session);
        drop(sessions);
        self.0.keep();
        Ok(cookie)
    }

    /// The rights of a cookie.
    pub(super) fn rights_of(&self, token: &Token, cookie: &str) -> Option<Rights> {
        let digest = token.digest_of(cookie);
        let mut sessions = lock(&self.0.sessions);
        let now = now();
        // Digests are compared, so that the time reveals nothing of a cookie.
        let session = sessions.iter_mut().find(|one| one.digest == digest)?;
        // Not at each request, which would write the file with each song.
        if now.saturating_sub(session.seen) >= SEEN_AGAIN {
            session.seen = now;
            let known = Arc::clone(&self.0);
            // Not on this thread, which moves the bytes of all songs, as a disk may be slow.
            tokio::task::spawn_blocking(move || known.keep());
        }
        Some(session.rights)
    }

    /// All devices, most recently seen first.
    ///
    /// - `cookie`: of the request, if it has one
    pub fn all(&self, token: &Token, cookie: Option<&str>) -> Vec<SignedIn> {
        let digest = cookie.map(|cookie| token.digest_of(cookie));
        let current = token.digest_of("");
        let mut all: Vec<SignedIn> = lock(&self.0.sessions)
            .iter()
            .filter(|one| one.token == current)
            .map(|one| SignedIn {
                id: one.id,
                name: one.name.clone(),
                rights: one.rights,
                since: one.since,
                seen: one.seen,
                is_this: digest.as_deref() == Some(&one.digest),
            })
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse((one.is_this, one.seen)));
        all
    }

    /// Signs a device out; returns whether it was signed in.
    pub fn end(&self, id: u64) -> bool {
        self.end_where(|one| one.id == id)
    }

    /// Signs out the device with this cookie.
    pub fn end_own(&self, token: &Token, cookie: &str) {
        let digest = token.digest_of(cookie);
        self.end_where(|one| one.digest == digest);
    }

    fn end_where(&self, is_it: impl Fn(&DeviceSession) -> bool) -> bool {
        let mut sessions = lock(&self.0.sessions);
        let before = sessions.len();
        sessions.retain(|one| !is_it(one));
        let is_less = sessions.len() < before;
        drop(sessions);
        if is_less {
            self.0.keep();
        }
        is_less
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(…)")
    }
}

/// Browser and system from a `User-Agent`: `Firefox on Linux`.
pub fn device_name(agent: &str) -> String {
    // Browsers also name older ones: the most specific first.
    let first = |known: &[(&str, &str)]| {
        let found = known.iter().find(|(sign, _)| agent.contains(sign));
        found.map(|(_, name)| (*name).to_owned())
    };
    let browser = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS", "Firefox"),
        ("CriOS", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "Mac"),
        ("CrOS", "Chromebook"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "A device".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_sign_out_separately_and_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        let token = Token::of_file(&token_file).unwrap();
        let sessions = Sessions::of_folder(folder.path());
        let begin = |rights, name: &str| sessions.begin(&token, rights, name.to_owned()).unwrap();
        let owner = begin(Rights::Change, "a");
        let guest = begin(Rights::Listen, "b");
        let other = begin(Rights::Listen, "c");
        assert_ne!(guest, other, "each its own");
        assert_eq!(sessions.rights_of(&token, &owner), Some(Rights::Change));
        assert_eq!(sessions.rights_of(&token, "no cookie"), None);
        let all = sessions.all(&token, Some(&owner));
        assert!(all.len() == 3 && all[0].is_this && all[0].name == "a");
        let id = all.iter().find(|one| one.name == "b").unwrap().id;
        assert!(sessions.end(id) && !sessions.end(id));
        assert_eq!(sessions.rights_of(&token, &guest), None, "signed out");
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            !text.contains(&owner) && !text.contains(&other),
            "digests alone"
        );
        let again = Sessions::of_folder(folder.path());
        assert_eq!(again.rights_of(&token, &other), Some(Rights::Listen));
        std::fs::remove_file(&token_file).unwrap();
        let new = Token::of_file(&token_file).unwrap();
        assert_eq!(again.rights_of(&new, &other), None, "another token");
    }

    #[test]
    fn a_visit_is_stored_after_its_request() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::of_file(&folder.path().join("token")).unwrap();
        let sessions = Sessions::of_folder(folder.path());
        let cookie = sessions.begin(&token, Rights::Listen, "a".to_owned());
        let cookie = cookie.unwrap();
        // Long ago, unlike in the file.
        lock(&sessions.0.sessions)[0].seen = 0;
        sessions.0.keep();
        let is_kept = || {
            let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
            let kept: Vec<DeviceSession> = serde_json::from_str(&text).unwrap();
            kept[0].seen == lock(&sessions.0.sessions)[0].seen
        };
        let runtime = crate::runtime().unwrap();
        runtime.block_on(async {
            // A slow disk: the request does not wait for it.
            let file = lock(&sessions.0.file);
            assert_eq!(sessions.rights_of(&token, &cookie), Some(Rights::Listen));
            drop(file);
        });
        let begun = std::time::Instant::now();
        while !is_kept() {
            assert!(begun.elapsed().as_secs() < 20);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_device_is_named_by_browser_and_system() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            ("curl/8", "A device"),
        ] {
            assert_eq!(device_name(agent), name);
        }
    }
}
