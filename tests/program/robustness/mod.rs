//! Robustness of a library, from the command line: damage, kills, concurrent processes, and hostile names.

// A test may fail by a panic; helpers of tests unwrap as tests do.
#![allow(clippy::unwrap_used)]

use crate::common;
mod damage;
mod disk;
mod hostile;
mod leftovers;
mod processes;
mod strangers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Sandbox, code, json, noise_wav, text, write_noises};
use serde_json::Value;

/// Runs a verb that must succeed.
fn fine(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let output = sandbox.run(arguments);
    assert_eq!(
        code(&output),
        0,
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// Writes `n` different pieces of noise, four seconds each.
fn noises(sandbox: &Sandbox, n: u64) -> PathBuf {
    let music = sandbox.path("music");
    write_noises(&music, 0..n, 4.0);
    music
}

fn string(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn status(sandbox: &Sandbox) -> Value {
    json(fine(sandbox, &["status", "--format", "json"]))
}
