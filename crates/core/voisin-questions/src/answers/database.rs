//! A library in a database, and files that several machines share.

use schemars::JsonSchema;
use serde::Serialize;

/// The quality of a search method.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SearchQuality {
    /// Null for a search without width.
    pub width: Option<u32>,
    /// Share of the true nearest neighbours that are found.
    pub recall: f64,
    /// Median time of a search, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the time of a search, in milliseconds.
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
    /// The index at each tested width.
    pub widths: Vec<SearchQuality>,
    /// The library on this disk, if it has the same model.
    pub local: Option<SearchQuality>,
    /// The width that is stored; null if none is good enough.
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
    /// Files that this worker added.
    pub own_done: u64,
    /// Files that failed on this worker.
    pub own_failed: u64,
}

/// The documented JSON of `worker --fill`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FilledJson {
    /// Files that are new in the queue.
    pub added: u64,
    /// Files that will be analysed again.
    pub changed: u64,
    /// Files that were in the queue.
    pub unchanged: u64,
}

/// The progress of all workers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkersJson {
    /// Files in the queue.
    pub jobs: u64,
    /// Files that are added.
    pub done: u64,
    /// Files that failed.
    pub failed: u64,
    /// Files that are leased to a worker.
    pub leased: u64,
    /// Files an hour, by the last ten minutes.
    pub per_hour: f64,
    /// Estimated seconds to the end at this rate; null if no file was done in the last ten minutes.
    pub seconds_left: Option<f64>,
    /// The workers with leases.
    pub workers: Vec<LeaseJson>,
    /// The newest failures.
    pub failures: Vec<JobFailureJson>,
}

/// A worker and its leases.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeaseJson {
    /// Its name.
    pub worker: String,
    /// Files leased to it.
    pub files: u64,
    /// When its leases expire.
    pub until: String,
}

/// A file that failed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobFailureJson {
    /// The file.
    pub path: String,
    /// Number of attempts.
    pub attempts: i32,
    /// The reason.
    pub reason: String,
}

/// The documented JSON of `push`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PushJson {
    /// New tracks.
    pub added: u64,
    /// Tracks that changed.
    pub updated: u64,
    /// Unchanged tracks.
    pub unchanged: u64,
    /// Tracks removed because this library no longer has them.
    pub removed: u64,
    /// Tracks pushed by other libraries.
    pub of_others: u64,
    /// Tracks that this library no longer has and that stay in the database.
    pub stayed: u64,
    /// Tracks that other libraries removed.
    pub taken_down: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds for the index; null if it existed.
    pub index_seconds: Option<f64>,
    /// Tracks whose vectors were centred again, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recentred: Option<u64>,
}
