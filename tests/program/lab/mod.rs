//! The laboratory: algorithms and measures against scikit-learn and XGBoost, and its commands as processes.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod algorithms;
mod challenge;
mod datasets;
mod features;
mod networks;
mod runs;
mod twin;

use std::process::Output;

use serde_json::Value;

use crate::common::{Sandbox, code, json, text};

/// Runs a line of words, in which `@` stands for the sandbox's folder.
fn run(sandbox: &Sandbox, line: &str) -> Output {
    let folder = format!("{}/", sandbox.path("").display());
    sandbox.run(
        line.split_whitespace()
            .map(|word| word.replace('@', &folder)),
    )
}

/// The JSON of a command that succeeds, or in which some files fail.
fn ask(sandbox: &Sandbox, line: &str) -> Value {
    let output = run(sandbox, &format!("{line} --format json"));
    assert!(code(&output) <= 1, "{line}: {}", text(&output.stderr));
    json(output)
}

/// The message of a command that is refused.
fn refused(sandbox: &Sandbox, line: &str) -> String {
    let output = run(sandbox, line);
    assert_eq!(code(&output), 2, "{line}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}
