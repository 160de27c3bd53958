//! Libraries in PostgreSQL with pgvector.
//!
//! For sending a library (`push`), fetching one (`pull`), and answering queries from a database
//! (`--library postgresql://…`) with the code that answers from a library on this disk: the tracks that a query
//! needs are fetched into a temporary library ([`Remote`]). One schema of a database holds one
//! library. Not for dividing data among servers: an extension such as Citus does that.
//!
//! Statements have no names and nothing is left in a session, so that a pooler in transaction mode, such as
//! `PgBouncer`, may stand between.

mod address;
pub mod ddl;
mod error;
mod filter;
mod push;
mod remote;
mod row;
mod server;

pub use address::PostgresAddress;
pub use error::BackendError;
pub use push::{PushSummary, pull, push};
pub use remote::Remote;
pub use server::Postgres;

type Result<T, E = BackendError> = std::result::Result<T, E>;
