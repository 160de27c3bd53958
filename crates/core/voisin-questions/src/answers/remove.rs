//! Tracks that were removed from a library, and tags that were taken back.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use voisin_engine::{MissingFiles, TagChange};

/// The documented JSON of `remove`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct RemovedJson {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Files that were taken out, or would be.
    pub files: u64,
    /// Tracks that went with them.
    pub tracks: u64,
    /// Files that had failed and are forgotten.
    pub failures: u64,
    /// With `--dry-run`: the files that would go.
    pub would_remove: Vec<String>,
    /// With `--missing`: files that stay, because their folder is absent or empty, and these folders.
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
    /// Genres.
    pub before: Vec<String>,
    /// Genres now.
    pub after: Vec<String>,
    /// Other tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagChange>,
    /// Why it is not restored, or only its tags are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of taking a file's tags back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndoOutcome {
    /// The file has the bytes that it had.
    Restored,
    /// It would have them.
    WouldRestore,
    /// Its tags say what they said, and other bytes of it may differ.
    TagsRestored,
    /// Its tags would say that.
    WouldRestoreTags,
    /// It had the bytes, or the tags, of before already.
    AsItWas,
    /// Something else changed it: it stays as it is.
    ChangedSince,
    /// It could not be read or written.
    Failed,
}

/// The documented JSON of `undo --list`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TagRunJson {
    /// Its number: `voisin undo RUN`.
    pub run: i64,
    /// Seconds since 1970 UTC.
    pub at: i64,
    /// Files that it wrote.
    pub files: u64,
}
