//! Tracks that were removed from a library, and tags that were restored.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use voisin_engine::MissingFiles;

/// The documented JSON of `remove`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct RemovedJson {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Files that were removed, or would be.
    pub files: u64,
    /// Tracks that were removed with them.
    pub tracks: u64,
    /// Records of failed files that were removed.
    pub failures: u64,
    /// With `--dry-run`: the files that would be removed.
    pub would_remove: Vec<String>,
    /// With `--missing`: files that stay, because their folder is absent or empty.
    pub out_of_reach: usize,
    /// Those folders.
    pub absent_folders: Vec<String>,
}

impl RemovedJson {
    /// Files that stay.
    pub fn staying(gone: &MissingFiles) -> Self {
        Self {
            out_of_reach: gone.out_of_reach.len(),
            absent_folders: gone
                .absent_folders()
                .keys()
                .map(|folder| lossy(folder))
                .collect(),
            ..Self::default()
        }
    }
}

/// The documented JSON of `undo`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UndoneJson {
    /// The file.
    pub path: String,
    /// Its outcome.
    pub outcome: UndoOutcome,
    /// Genres before.
    pub before: Vec<String>,
    /// Genres now.
    pub after: Vec<String>,
    /// Why it was not restored, or only its tags were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of restoring a file's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndoOutcome {
    /// The file has its old bytes.
    Restored,
    /// It would have its old bytes.
    WouldRestore,
    /// It has its old tags; other bytes may differ.
    TagsRestored,
    /// It would have its old tags.
    WouldRestoreTags,
    /// It had its old bytes, or tags, already.
    AsItWas,
    /// It was changed by something else since, and stays.
    ChangedSince,
    /// It could not be read or written.
    Failed,
}
