//! The password of a media server's user.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Longest password that is read, in bytes.
const LONGEST: u64 = 4096;

/// The password: from the file that was named, from the environment, or from who sits at the terminal.
pub(crate) fn password(file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let cannot = || format!("cannot read the password in {}", file.display());
        let opened = File::open(file).with_context(cannot)?;
        let mut text = String::new();
        opened.take(LONGEST).read_to_string(&mut text).with_context(cannot)?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if let Ok(password) = std::env::var("VOISIN_PASSWORD") {
        return Ok(password);
    }
    let terminal = console::Term::stderr();
    if !console::user_attended_stderr() {
        bail!("expected a password, found none: name a file with --password-file, or set VOISIN_PASSWORD");
    }
    terminal.write_str("password: ")?;
    Ok(terminal.read_secure_line()?)
}
