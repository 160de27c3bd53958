//! A library in a database.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `push`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PushJson {
    /// New tracks.
    pub added: u64,
    /// Tracks that changed.
    pub updated: u64,
    /// Unchanged tracks.
    pub unchanged: u64,
    /// Tracks removed because this library no longer has them.
    pub removed: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds for the index; null if it existed.
    pub index_seconds: Option<f64>,
}
