//! Who heard what, and servers whose songs are known.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `heard` without a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListenerJson {
    /// The name.
    pub listener: String,
    /// Plays that are known.
    pub plays: u64,
    /// Tracks that were liked or disliked.
    pub opinions: u64,
}

/// The documented JSON of `link` without a server.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServerJson {
    /// Its address.
    pub server: String,
    /// Songs of it that are tracks here.
    pub songs: u64,
}
