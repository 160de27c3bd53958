//! Models, and changing the model of a library.

use schemars::JsonSchema;
use serde::Serialize;

/// The documented JSON of `model list`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ModelJson {
    /// Its name.
    pub name: String,
    /// Its network.
    pub architecture: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Whether `find` accepts sentences with it.
    pub reads: bool,
    /// Size of its weights.
    pub bytes: u64,
    /// Its licence.
    pub licence: String,
    /// Where its files are.
    pub location: String,
    /// A digest of all that changes a vector.
    pub fingerprint: String,
    /// Its description, in words.
    pub description: String,
}

/// The documented JSON of `model check`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckedJson {
    /// Its name.
    pub name: String,
    /// Whether it reproduces its test vectors.
    pub ok: bool,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// Its network.
    pub architecture: String,
    /// Where the network ran.
    pub device: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// A digest of all that changes a vector.
    pub fingerprint: String,
}
