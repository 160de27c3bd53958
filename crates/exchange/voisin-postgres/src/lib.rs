//! Libraries in other engines: one interface to a store of tracks, and its two forms, the library on this disk and
//! PostgreSQL with pgvector.
//!
//! It is for sending a library there (`push`), bringing one here (`pull`), and answering from there (`--backend`) with the
//! same code that answers from a library on this disk: what an answer needs is fetched into a temporary library
//! ([`Remote`]). It does not divide data among servers: that is PostgreSQL's business, by the tables that
//! [`ddl`] prints.

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
pub use push::{IndexMaking, PushEvent, PushOptions, PushSummary, pull, push, put};
pub use remote::Remote;
pub use server::{Counts, IndexState, Postgres, Upgraded};

use voisin_base::track::ContentId;
use voisin_engine::LibrarySpace;
use voisin_index::Neighbor;
use voisin_library::{Changes, TrackFilter, TrackRecord};

type Result<T, E = BackendError> = std::result::Result<T, E>;

/// A recording on its way into a store, with its genres as its library has them.
#[derive(Debug, Clone)]
pub struct StoredTrack {
    /// All that is known of it.
    pub record: TrackRecord,
    /// Its genres, by the library's label source; a store on this disk finds them itself.
    pub genres: Vec<voisin_genre::Genre>,
}

/// Which tracks a search compares the query with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Those that the store's index leads to.
    Index,
    /// As [`Index`](Self::Index), with this width instead of the store's own.
    Width(u32),
    /// All.
    Exact,
}

/// Where tracks with their vectors are: on this disk, or in another engine.
///
/// Ids are the store's own and mean nothing to another one; recordings are known everywhere by their content ids.
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

    /// Puts recordings in, in place of what is known of them.
    fn upsert(&mut self, tracks: &[StoredTrack]) -> Result<()>;

    /// Takes recordings out; unknown ones are no error. Returns how many were there.
    fn remove(&mut self, contents: &[ContentId]) -> Result<u64>;

    /// Changes since a generation of this store; `None` where it cannot tell, and all is to be read again.
    fn changes(&mut self, since: u64) -> Result<Option<Changes>>;
}
