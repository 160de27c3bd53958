//! The queries that a library answers, each defined once. The command line (clap), the server and assistants (serde) and their
//! descriptions (schemars) share the fields, comments, defaults and bounds of one structure.
//!
//! For: reading and validating queries of any caller, and running them on the engine. Not for: names as a terminal or a player
//! writes them, nor rendering of answers; each caller does that.

pub mod answers;
pub mod explore;
pub(crate) mod filter;
pub mod genre;
pub mod list;
pub mod playlist;
pub mod queries;
pub mod read;
pub mod schema;
pub mod seed;
pub(crate) mod similar;
pub mod spans;
pub mod values;

pub use filter::Filters;
pub use similar::Similar;
