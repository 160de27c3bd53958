//! The state of a library and of the settings.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyJson {
    /// Whether all checks passed.
    pub ok: bool,
    /// Tracks that the next `add` analyses again.
    pub without_vector: u64,
    /// The checks.
    pub checks: Vec<CheckJson>,
}

/// A check.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckJson {
    /// Its name.
    pub check: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// The finding, in words.
    pub found: String,
}
