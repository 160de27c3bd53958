//! The answer of a run that adds files.

use crate::{AddReport, AddSummary};
use schemars::JsonSchema;
use serde::Serialize;

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

impl AddAnswer {
    pub fn new(report: &AddReport) -> Self {
        Self {
            summary: report.summary.clone(),
            gone: report.gone.files.len(),
            out_of_reach: report.gone.out_of_reach.len(),
        }
    }
}
