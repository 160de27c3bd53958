//! The answer of a run that adds files.

use schemars::JsonSchema;
use serde::Serialize;
use voisin_engine::{AddReport, AddSummary};

/// The documented JSON of `add`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddAnswer {
    #[serde(flatten)]
    summary: AddSummary,
    /// Files that are no longer below the folders named.
    gone: usize,
    /// Files that may be gone or not: their disk seems not to be mounted.
    out_of_reach: usize,
}

/// The documented JSON of `add --from-parquet` and `pull`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TakenInJson {
    /// New tracks.
    pub added: u64,
    /// Tracks that changed.
    pub updated: u64,
    /// Unchanged tracks.
    pub unchanged: u64,
    /// Tracks left out because this library has other audio under the same paths.
    pub conflicts: u64,
    /// Tracks left out because their vectors or texts are damaged; `failed` has the files.
    pub refused: u64,
}

impl AddAnswer {
    /// As programs read it.
    pub fn new(report: &AddReport) -> Self {
        Self {
            summary: report.summary.clone(),
            gone: report.gone.files.len(),
            out_of_reach: report.gone.out_of_reach.len(),
        }
    }
}
