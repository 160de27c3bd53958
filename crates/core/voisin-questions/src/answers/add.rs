//! The answer of a run that adds files.

use schemars::JsonSchema;
use serde::Serialize;
use voisin_engine::{AddReport, AddSummary};
use voisin_library::scan::SystemFolder;

use super::lossy;

/// The documented JSON of `add`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddAnswer {
    #[serde(flatten)]
    summary: AddSummary,
    /// Files that are no longer below the folders named.
    gone: usize,
    /// Files that may be gone or not: their disk seems not to be mounted.
    out_of_reach: usize,
    /// Bins, snapshots and system folders that were left out.
    left_out: Vec<LeftOutFolder>,
}

/// A system folder that was left out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeftOutFolder {
    /// The folder.
    pub folder: String,
    /// Files of audio in it.
    pub files: u64,
    /// Whether there may be more.
    pub more: bool,
}

impl From<&SystemFolder> for LeftOutFolder {
    fn from(system: &SystemFolder) -> Self {
        Self {
            folder: lossy(&system.folder),
            files: system.files,
            more: system.is_more,
        }
    }
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
    /// - `left_out`: folders that the scan skipped
    pub fn new(report: &AddReport, left_out: &[SystemFolder]) -> Self {
        Self {
            summary: report.summary.clone(),
            gone: report.gone.files.len(),
            out_of_reach: report.gone.out_of_reach.len(),
            left_out: left_out.iter().map(LeftOutFolder::from).collect(),
        }
    }
}
