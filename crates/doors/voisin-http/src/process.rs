//! Runs this program as a child process.

use std::process::{Command, Stdio};

/// Runs a command to its end; returns whether it succeeded, and its messages.
pub fn ended(mut command: Command) -> std::io::Result<(bool, Vec<String>)> {
    let output = command
        .stdin(Stdio::null())
        // Messages go to standard error; the result on standard output is not needed.
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
