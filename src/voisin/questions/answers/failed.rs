//! Files that could not be analysed.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use voisin_library::Failure;

#[derive(Debug, Serialize, JsonSchema)]
pub struct FailureJson {
    path: String,
    reason: String,
    attempts: u32,
}

impl FailureJson {
    pub fn list(failures: &[Failure]) -> Vec<Self> {
        let json = failures.iter().map(|failure| Self {
            path: lossy(&failure.path),
            reason: failure.reason.clone(),
            attempts: failure.attempts,
        });
        json.collect()
    }
}
