//! Libraries in databases: `push`, `pull`, `worker`, `eval index`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::library::Depth;
use super::units::PathOrAddress;
use super::{BackendArgs, ReportFormat, WindowCount};
use voisin_base::track::ContentKind;
use voisin_questions::spans::{Seconds, length};
use voisin_questions::values::Fraction;

/// Send the library to PostgreSQL with pgvector, where others can query it
///
/// Only changes since the last push are sent, and tracks removed here are removed there. Each batch is one transaction: a push
/// can be stopped or killed at any time, and the next one resumes. The first creates the tables and, at its end, the vector
/// index. Keep passwords off the command line: use PGPASSFILE, or put the whole address into `VOISIN_BACKEND`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin push --to postgres://me@db.example/music?sslmode=verify-full\n  voisin push --windows --index-memory 16000\n  voisin push --print-ddl partitioned > tables.sql"
)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each of its own")]
pub(crate) struct PushArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Send the window vectors too: about twenty times as much data
    #[arg(long)]
    pub(crate) windows: bool,
    /// Build no vector index
    #[arg(long, conflicts_with_all = ["index_sql", "index_memory"])]
    pub(crate) no_index: bool,
    /// Rebuild the vector index beside the existing one, which serves until the new one is ready
    #[arg(long, conflicts_with = "no_index")]
    pub(crate) reindex: bool,
    /// Bits per vector component in the vector index: 16, or 1 (the sign), for a smaller index with a slightly lower recall
    /// [default: as in the existing index, else 16]
    #[arg(long, value_name = "BITS", value_parser = ["16", "1"], conflicts_with_all = ["no_index", "index_sql"])]
    pub(crate) index_bits: Option<String>,
    /// Build the vector index with the statement in this file: for `VectorChord`, `YugabyteDB`, `ScaNN`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) index_sql: Option<PathBuf>,
    /// Memory for building the index, in MB [default: the server's `maintenance_work_mem`]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub(crate) index_memory: Option<u32>,
    /// Make similarity relative to the tracks that the database then holds, instead of those of the first push
    #[arg(long)]
    pub(crate) recentre: bool,
    /// Give this library an identity of its own, if it is a copy of one on another machine that is pushed there too. A copy
    /// whose original is on this machine gets one automatically
    #[arg(long)]
    pub(crate) new_identity: bool,
    /// First migrate the tables of an older voisin, with their data; the vector index is then rebuilt, with --index-sql where
    /// it was built with that
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Print the schema as SQL and end: for one server, for partitions on several (`postgres_fdw`), for Citus
    #[arg(long, value_name = "FORM", value_enum, conflicts_with_all = ["to", "windows", "no_index", "reindex", "index_sql", "index_memory", "recentre", "new_identity", "upgrade"])]
    pub(crate) print_ddl: Option<DdlForm>,
    /// With --print-ddl partitioned: number of servers that hold the tracks
    #[arg(long, value_name = "N", default_value_t = 3, requires = "print_ddl", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(crate) shards: u32,
    /// Format of the summary
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DdlForm {
    Single,
    Partitioned,
    Citus,
}

/// Fetch a library from a database
///
/// Into a new library, or one of the same model: everything the first time, then only changes and removals. Window vectors are
/// fetched where they were pushed.
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

/// Process files from a shared job queue in PostgreSQL
///
/// Start it on any number of machines: each leases a few files at a time, and those of a lost machine go to another when
/// the lease expires. A file that crashes the decoder, or that no machine can open, is tried three times. Vectors go into the
/// tables of the same database, as `push` creates them, or with --output into Parquet files. The worker ends when every file
/// is done or has failed (docs/scale.md).
#[allow(clippy::struct_excessive_bools, reason = "options of the command line")]
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin worker --jobs postgres://me@db.example/music --add /mnt/music\n  voisin worker --jobs postgres://me@db.example/music --output /mnt/vectors\n  voisin worker --jobs postgres://me@db.example/music --status"
)]
pub(crate) struct WorkerArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) jobs: Option<String>,
    /// Add these files, folders and playlists to the queue (`-`: a list on standard input), and end; files that changed since
    /// they were analysed are analysed again
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub(crate) add: Vec<PathOrAddress>,
    /// With --add: follow links that lead out of the folders named
    #[arg(long, requires = "add")]
    pub(crate) follow_links: bool,
    /// Print the progress of all workers, the files that each has leased and those that failed, and end
    #[arg(long, conflicts_with_all = ["add", "output", "windows", "with_windows", "descriptors", "identity", "alive"])]
    pub(crate) status: bool,
    /// Write this file after each analysed file: if it grows old, the worker hangs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "add")]
    pub(crate) alive: Option<PathBuf>,
    /// Write Parquet files into this folder instead, as `embed --format parquet` does
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "add")]
    pub(crate) output: Option<PathOrAddress>,
    /// Windows per track, spread evenly over it; `all` for one every second [default: 24]
    #[arg(long, value_name = "N|all", conflicts_with = "add")]
    pub(crate) windows: Option<WindowCount>,
    /// Send the window vectors too: about twenty times as much data
    #[arg(long, conflicts_with_all = ["add", "output"])]
    pub(crate) with_windows: bool,
    /// With --output: leave out the window vectors
    #[arg(long, requires = "output")]
    pub(crate) no_windows: bool,
    /// Measure tempo, key, loudness and scales, as `add` does [default: fast]
    #[arg(long, value_name = "DEPTH", value_enum, conflicts_with = "add")]
    pub(crate) descriptors: Option<Depth>,
    /// How recordings are recognised: full, by all of their packets; quick, by size, ends and samples, which skips most of a
    /// FLAC or WAV file and may miss a change of a few bytes [default: full]
    #[arg(long, value_name = "full|quick", conflicts_with = "add")]
    pub(crate) identity: Option<ContentKind>,
    /// Files leased at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// How long a lease lasts if the worker does not renew it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = length)]
    pub(crate) lease: Seconds,
    /// Format of the summary
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Measure the index of a database: recall, times and queries a second at several widths, beside the index on this disk
///
/// The narrowest width that reaches --recall is stored in the database, for all searches there. On several servers it is an
/// option of the foreign servers, which only their owner may set.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin eval index --backend postgres://me@db.example/music --widths 40,100,200,400"
)]
pub(crate) struct EvalIndexArgs {
    /// Widths to try, ascending
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [40, 100, 200, 400], value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) widths: Vec<u32>,
    /// Number of tracks used as queries
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) queries: u32,
    /// Share of the true nearest neighbours that must be found
    #[arg(long, value_name = "0..1", default_value = "0.99")]
    pub(crate) recall: Fraction,
    /// Search only tracks of this genre (several: any of them); no width is stored
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Vec<String>,
    /// Store no width
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}
