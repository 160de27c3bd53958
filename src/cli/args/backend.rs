//! Libraries in databases: `push`, `pull`.

use clap::Args;

use super::ReportFormat;

/// Send the library to PostgreSQL with pgvector, where others can query it
///
/// Only changes since the last push are sent, and tracks removed here are removed there, all in one transaction. A schema
/// of a database holds one library. The first push creates the tables and the vector index. Keep passwords off the command
/// line: use PGPASSWORD, or put the whole address into `VOISIN_BACKEND`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin push --to postgres://me@db.example/music?sslmode=verify-full\n  voisin push --print-ddl > tables.sql"
)]
pub(crate) struct PushArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Print the schema as SQL and end
    #[arg(long, conflicts_with = "to")]
    pub(crate) print_ddl: bool,
    /// Format of the summary
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Fetch a library from a database
///
/// Into a new library, or one of the same model: everything the first time, then only changes and removals.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin pull --from postgres://me@db.example/music --library ~/music-library"
)]
pub(crate) struct PullArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Format of the summary
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
