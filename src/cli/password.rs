//! Passwords for the server.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};

use anyhow::{Context as _, bail};

/// Longest password that is read, in bytes.
const LONGEST: u64 = 4096;

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
