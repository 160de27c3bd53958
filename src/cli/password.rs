//! Passwords for media servers and for this server.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::Path;

use anyhow::{Context as _, bail};

use voisin_http::token::check_secret_file;

/// Longest password that is read, in bytes.
const LONGEST: u64 = 4096;

/// The password, from the file that was named, the environment, or the terminal.
pub(crate) fn password(file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let cannot = || format!("cannot read the password in {}", file.display());
        let opened = File::open(file).with_context(cannot)?;
        // A pipe has no permissions to check.
        if opened.metadata().with_context(cannot)?.is_file() {
            check_secret_file(file)?;
        }
        return first_line(opened).with_context(cannot);
    }
    // Unlike an argument, a variable is not visible to other users; so there is no option for the
    // password itself.
    if let Ok(password) = std::env::var("VOISIN_PASSWORD") {
        return Ok(password);
    }
    // On standard error, since standard output may be a pipe.
    let terminal = console::Term::stderr();
    if !console::user_attended_stderr() {
        bail!(
            "expected a password, found none: name a file with --password-file, or set VOISIN_PASSWORD"
        );
    }
    terminal.write_str("password: ")?;
    Ok(terminal.read_secure_line()?)
}

/// A new password: typed twice on a terminal, else the first line of standard input.
pub(crate) fn new_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return first_line(std::io::stdin().lock()).context("cannot read standard input");
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

fn first_line(source: impl Read) -> anyhow::Result<String> {
    let mut line = Vec::new();
    BufReader::new(source.take(LONGEST + 1)).read_until(b'\n', &mut line)?;
    if line.len() as u64 > LONGEST {
        bail!("expected a password of at most {LONGEST} bytes, found a longer one");
    }
    // Only the line break is removed: a password may begin and end in blanks.
    Ok(String::from_utf8(line)?
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_whole_or_refused() {
        assert_eq!(first_line(&b" a b \r\nnext"[..]).unwrap(), " a b ");
        assert_eq!(first_line(&b""[..]).unwrap(), "");
        assert!(first_line(&[b'a'; 4096][..]).is_ok());
        assert!(first_line(&[b'a'; 4097][..]).is_err());
    }
}
