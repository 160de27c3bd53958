//! A library in a database, and files that several machines share.

use schemars::JsonSchema;
use serde::Serialize;

/// The quality of a way to search.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SearchQuality {
    /// Null for a search that has none.
    pub width: Option<u32>,
    /// Share of the true nearest neighbours that are found.
    pub recall: f64,
    /// Median time of a search, in milliseconds.
    pub p50_ms: f64,
    /// Of a hundred searches one is slower.
    pub p99_ms: f64,
    /// Searches a second, one after the other.
    pub queries_per_second: f64,
}

/// The documented JSON of `eval index`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EvalIndexJson {
    /// Tracks of the database.
    pub tracks: u64,
    /// Searches that were measured.
    pub queries: usize,
    /// A search that compares all tracks.
    pub exact: SearchQuality,
    /// The index, at each width that was tried.
    pub widths: Vec<SearchQuality>,
    /// The library on this disk, if it has the same model.
    pub local: Option<SearchQuality>,
    /// The width that is kept; null where none is good enough.
    pub kept: Option<u32>,
}

/// The documented JSON of `worker`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkerJson {
    /// Files in the queue.
    pub jobs: u64,
    /// Files that are added.
    pub done: u64,
    /// Files that failed.
    pub failed: u64,
    /// Of these, what this worker did.
    pub own_done: u64,
    /// Failed ones of this worker.
    pub own_failed: u64,
}

/// The documented JSON of `worker --fill`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FilledJson {
    /// Files that are new in the queue.
    pub added: u64,
    /// Files that are listened to again.
    pub changed: u64,
    /// Files that were in it.
    pub unchanged: u64,
}

/// How far all workers are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkersJson {
    /// Files in the queue.
    pub jobs: u64,
    /// Files that are added.
    pub done: u64,
    /// Files that failed.
    pub failed: u64,
    /// Files that some worker has in hand.
    pub leased: u64,
    /// Files an hour, by the last ten minutes.
    pub per_hour: f64,
    /// Until all is done at this rate; null where nothing was done in the last ten minutes.
    pub seconds_left: Option<f64>,
    /// The workers that hold files.
    pub workers: Vec<LeaseJson>,
    /// The newest of those that failed.
    pub failures: Vec<JobFailureJson>,
}

/// A worker and the files that it holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeaseJson {
    /// Its name.
    pub worker: String,
    /// How many it holds.
    pub files: u64,
    /// When others may take them.
    pub until: String,
}

/// A file that failed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobFailureJson {
    /// The file.
    pub path: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Why.
    pub reason: String,
}

/// The documented JSON of `push`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PushJson {
    /// New tracks.
    pub added: u64,
    /// Tracks that changed.
    pub updated: u64,
    /// Tracks that did not.
    pub unchanged: u64,
    /// Tracks that this library no longer has.
    pub removed: u64,
    /// Tracks that other libraries sent.
    pub of_others: u64,
    /// Tracks that are gone here and stay there.
    pub stayed: u64,
    /// Tracks that others took down.
    pub taken_down: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds for the index; null where it was there.
    pub index_seconds: Option<f64>,
    /// Tracks whose vectors were centred anew, if any were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recentred: Option<u64>,
}
