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

/// The documented JSON of `config`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigJson {
    /// The config file; null without a home.
    pub file: Option<String>,
    /// Whether it exists.
    pub exists: bool,
    /// The settings.
    pub settings: Vec<SettingJson>,
}

/// A setting and where it comes from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SettingJson {
    /// Its name.
    pub name: &'static str,
    /// null: the library's own model, else the one that comes with voisin.
    pub value: Option<String>,
    /// An option, a variable, `config.toml` or `default`.
    pub from: String,
}
