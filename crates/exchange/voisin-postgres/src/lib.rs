//! Libraries in PostgreSQL with pgvector.
//!
//! For sending a library (`push`), fetching one (`pull`), and answering queries from a database
//! (`--backend`) with the code that answers from a library on this disk: the tracks that a query
//! needs are fetched into a temporary library ([`Remote`]). Not for dividing data among servers:
//! PostgreSQL does that, with the tables that [`ddl`] prints.

#![forbid(unsafe_code)]

mod address;
pub mod ddl;
mod error;
mod filter;
mod jobs;
mod local;
mod mirror;
mod parameter;
mod push;
mod remote;
mod row;
mod server;

pub use address::PostgresAddress;
pub use error::BackendError;
pub use jobs::{
    Job, JobCounts, JobFailure, JobLease, JobOutcome, JobStatus, Jobs, JobsAdded, job_status,
};
pub use mirror::Mirror;
pub use push::{IndexMaking, PushEvent, PushOptions, PushSummary, add_tracks, pull, push};
pub use remote::Remote;
pub use server::{Counts, IndexState, Postgres, Upgraded};

use voisin_base::track::ContentId;
use voisin_engine::LibrarySpace;
use voisin_index::Neighbor;
use voisin_library::{Changes, TrackFilter, TrackRecord};

type Result<T, E = BackendError> = std::result::Result<T, E>;

/// A recording to be stored, with its genres in the library that it comes from.
#[derive(Debug, Clone)]
pub struct StoredTrack {
    /// All that is known of it.
    pub record: TrackRecord,
    /// Its genres by the library's label source; ignored by a library on this disk, which has its own label source.
    pub genres: Vec<voisin_genre::Genre>,
}

/// Which tracks a search compares the query with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// The candidates of the store's index.
    Index,
    /// As [`Index`](Self::Index), with this width instead of the store's own.
    Width(u32),
    /// All.
    Exact,
}

/// A store of tracks with their vectors: a library on this disk or a database. One trait for both,
/// so that `eval index` and the tests measure them by the same code.
///
/// Track ids are valid within one store; content ids are the same in all.
pub trait TrackStore {
    /// The space in which the store compares.
    fn space(&mut self) -> Result<LibrarySpace>;

    /// The tracks nearest to a unit vector of the store's [space](Self::space) that fit a filter, nearest first.
    fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        effort: Effort,
    ) -> Result<Vec<Neighbor>>;

    /// Stores recordings, replacing those that are there.
    fn upsert(&mut self, tracks: &[StoredTrack]) -> Result<()>;

    /// Removes recordings; unknown ones are no error. Returns how many were there.
    fn remove(&mut self, contents: &[ContentId]) -> Result<u64>;

    /// Changes since a generation of this store; `None` if they are not known and everything has to be read again.
    fn changes(&mut self, since: u64) -> Result<Option<Changes>>;
}
