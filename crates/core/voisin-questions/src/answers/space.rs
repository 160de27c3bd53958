//! Vector spaces of a library.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `space list`: a list of these, the default first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpaceJson {
    /// Its name.
    pub name: String,
    /// Whether it is the default.
    pub default: bool,
    /// Its model's name.
    pub model: String,
    /// A digest of all that changes a vector.
    pub model_fingerprint: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Tracks that have a vector in it.
    pub tracks: u64,
    /// Tracks that have none.
    pub missing: u64,
    /// Window vectors in it.
    pub windows: u64,
    /// Its approximate size in the database, in bytes.
    pub bytes: u64,
    /// Whether `find` accepts sentences with it.
    pub reads: bool,
    /// Whether its model can be loaded; without it only stored vectors are searched.
    pub model_is_there: bool,
}

/// The documented JSON of `space add`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpaceFilledJson {
    /// Its name.
    pub name: String,
    /// Its model's name.
    pub model: String,
    /// A digest of all that changes a vector.
    pub model_fingerprint: String,
    /// Tracks analysed by this call.
    pub heard: u64,
    /// Tracks that have a vector in it.
    pub tracks: u64,
    /// Tracks that have none.
    pub missing: u64,
}
