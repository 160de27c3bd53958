//! Listeners, and servers whose songs are linked.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `heard` without a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListenerJson {
    /// The name.
    pub listener: String,
    /// Number of plays.
    pub plays: u64,
    /// Number of tracks liked or disliked.
    pub opinions: u64,
}

/// The documented JSON of `link` without a server.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServerJson {
    /// Its address.
    pub server: String,
    /// Its songs that are tracks of this library.
    pub songs: u64,
}
