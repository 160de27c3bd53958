//! Passwords: of a media server's user, and of this server.

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use voisin_serve::check_secret_file;

/// Longest password that is read, in bytes.
const LONGEST: u64 = 4096;

/// The password: from the file that was named, from the environment, or from who sits at the terminal.
pub(crate) fn password(file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let cannot = || format!("cannot read the password in {}", file.display());
        let opened = File::open(file).with_context(cannot)?;
        // A pipe is its reader's own.
        if opened.metadata().with_context(cannot)?.is_file() {
            check_secret_file(file)?;
        }
        let mut text = String::new();
        opened
            .take(LONGEST)
            .read_to_string(&mut text)
            .with_context(cannot)?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if let Ok(password) = std::env::var("VOISIN_PASSWORD") {
        return Ok(password);
    }
    let terminal = console::Term::stderr();
    if !console::user_attended_stderr() {
        bail!(
            "expected a password, found none: name a file with --password-file, or set VOISIN_PASSWORD"
        );
    }
    terminal.write_str("password: ")?;
    Ok(terminal.read_secure_line()?)
}

/// A new password: typed twice where somebody sits at a terminal, else the first line of standard input.
pub(crate) fn new_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .take(LONGEST)
            .read_line(&mut line)
            .context("cannot read standard input")?;
        return Ok(line.trim().to_owned());
    }
    let terminal = console::Term::stderr();
    terminal.write_str("new password: ")?;
    let password = terminal.read_secure_line()?;
    terminal.write_str("again, the same password: ")?;
    if terminal.read_secure_line()? != password {
        bail!("expected the same password twice, found two: run it again");
    }
    Ok(password)
}
