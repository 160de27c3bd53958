//! This program, started for something else.

use std::process::{Command, Stdio};

/// Runs a command to its end: whether it did what it should, and what it said.
pub fn ended(mut command: Command) -> std::io::Result<(bool, Vec<String>)> {
    let output = command
        .stdin(Stdio::null())
        // Messages go to standard error; a result on standard output is for a shell.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let messages = String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(str::to_owned)
        .collect();
    // 1 is the program's code for "done, but not all of it".
    Ok((matches!(output.status.code(), Some(0 | 1)), messages))
}
