//! The state of a library and of the settings.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyJson {
    /// Whether all is sound.
    pub ok: bool,
    /// Tracks to be listened to again by the next `add`.
    pub without_vector: u64,
    /// The checks.
    pub checks: Vec<CheckJson>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckJson {
    /// Its name.
    pub check: &'static str,
    /// Whether it is sound.
    pub ok: bool,
    /// The finding, in words.
    pub found: String,
}

/// The documented JSON of `config`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigJson {
    /// The config file; null without a home.
    pub file: Option<String>,
    /// Whether it is there.
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
