//! Libraries in databases: `push`, `pull`, `worker`, `eval index`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::library::Depth;
use super::units::PathOrAddress;
use super::{BackendArgs, ReportFormat, WindowCount};
use voisin_base::track::ContentKind;
use voisin_questions::spans::{Seconds, length};
use voisin_questions::values::Fraction;

/// Send the library to PostgreSQL with pgvector, for others to ask
///
/// Only what changed since the last time is sent, and what was removed here is removed there. Each batch is one transaction:
/// stop or kill it whenever you like, the next one goes on. The first push makes the tables and, at its end, the vector index.
/// A password does not belong on the command line: PGPASSFILE names a file for it, or `VOISIN_BACKEND` holds the whole address.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin push --to postgres://me@db.example/music?sslmode=verify-full\n  voisin push --windows --index-memory 16000\n  voisin push --print-ddl partitioned > tables.sql"
)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each of its own")]
pub(crate) struct PushArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Send the vectors of this space, see `voisin space list`: into a schema of its own
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// Send the window vectors too: some twenty times as much
    #[arg(long)]
    pub(crate) windows: bool,
    /// Make no vector index
    #[arg(long, conflicts_with_all = ["index_sql", "index_memory"])]
    pub(crate) no_index: bool,
    /// Make the vector index anew, beside the one that is there, which serves until then
    #[arg(long, conflicts_with = "no_index")]
    pub(crate) reindex: bool,
    /// Bits of each number of a vector in the vector index: 16 bits, or its sign alone, which makes a smaller index that
    /// finds a little less [default: as the one that is there, else 16]
    #[arg(long, value_name = "BITS", value_parser = ["16", "1"], conflicts_with_all = ["no_index", "index_sql"])]
    pub(crate) index_bits: Option<String>,
    /// Make the vector index with the statement in this file: for `VectorChord`, `YugabyteDB`, `ScaNN`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) index_sql: Option<PathBuf>,
    /// Memory for making the index, in MB [default: as the server has it, `maintenance_work_mem`]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub(crate) index_memory: Option<u32>,
    /// Make similarity relative to the tracks that are in the database afterwards: without it, to those of the first push
    #[arg(long)]
    pub(crate) recentre: bool,
    /// This folder is a copy of a library on another machine that is sent there too: give it an identity of its own. A copy
    /// whose origin is on this machine gets one by itself
    #[arg(long)]
    pub(crate) new_identity: bool,
    /// First bring the tables of an older voisin forward, with all that they hold; the vector index is then made anew, by
    /// --index-sql where it was made so
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Print the tables as SQL and do nothing: for one server, for partitions on several (`postgres_fdw`), for Citus
    #[arg(long, value_name = "FORM", value_enum, conflicts_with_all = ["to", "windows", "no_index", "reindex", "index_sql", "index_memory", "recentre", "new_identity", "upgrade"])]
    pub(crate) print_ddl: Option<DdlForm>,
    /// With --print-ddl partitioned: servers that the tracks lie on
    #[arg(long, value_name = "N", default_value_t = 3, requires = "print_ddl", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(crate) shards: u32,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DdlForm {
    Single,
    Partitioned,
    Citus,
}

/// Bring the library of a database here
///
/// Into a new library, or one of the same model: all the first time, afterwards what changed there, and what was removed there
/// goes here too. Windows come with it as far as they were sent.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin pull --from postgres://me@db.example/music --library ~/music-library"
)]
pub(crate) struct PullArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Listen to files that several machines share, dealt from a table of a database
///
/// Start it on as many machines as you like: each takes some files in hand at a time, and what a lost one had in hand goes to
/// another when its lease ends. A file that ends its reader, or that no machine can open, is tried three times. Vectors go
/// into the tables of the same database, as `push` makes them, or with --output into Parquet files. It ends when every file is
/// done or has failed (docs/scale.md).
#[allow(clippy::struct_excessive_bools, reason = "options of the command line")]
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin worker --jobs postgres://me@db.example/music --add /mnt/music\n  voisin worker --jobs postgres://me@db.example/music --output /mnt/vectors\n  voisin worker --jobs postgres://me@db.example/music --status"
)]
pub(crate) struct WorkerArgs {
    /// Address of the database [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) jobs: Option<String>,
    /// Put these files, folders and playlists into the table (`-`: a list on standard input), and end; what has changed since it
    /// was listened to will be again
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub(crate) add: Vec<PathOrAddress>,
    /// With --add: follow links that lead out of the folders named
    #[arg(long, requires = "add")]
    pub(crate) follow_links: bool,
    /// Say how far all workers are, what each has in hand and what failed, and end
    #[arg(long, conflicts_with_all = ["add", "output", "windows", "with_windows", "descriptors", "identity", "alive"])]
    pub(crate) status: bool,
    /// Write this file anew whenever a file has been listened to: where it grows old, the worker hangs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "add")]
    pub(crate) alive: Option<PathBuf>,
    /// Write Parquet files into this folder instead, as `embed --format parquet` does
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "add")]
    pub(crate) output: Option<PathOrAddress>,
    /// Windows per track, spread evenly over it; `all` for one every second [default: 24]
    #[arg(long, value_name = "N|all", conflicts_with = "add")]
    pub(crate) windows: Option<WindowCount>,
    /// Send the window vectors too: some twenty times as much
    #[arg(long, conflicts_with_all = ["add", "output"])]
    pub(crate) with_windows: bool,
    /// With --output: leave out the window vectors
    #[arg(long, requires = "output")]
    pub(crate) no_windows: bool,
    /// Measure tempo, key, loudness and scales, as `add` does [default: fast]
    #[arg(long, value_name = "DEPTH", value_enum, conflicts_with = "add")]
    pub(crate) descriptors: Option<Depth>,
    /// How recordings are known again: full, by all of their packets; quick, by size, ends and samples, for which most of a FLAC
    /// or WAV file is not read, and a change of a few bytes may not be noticed [default: full]
    #[arg(long, value_name = "full|quick", conflicts_with = "add")]
    pub(crate) identity: Option<ContentKind>,
    /// Files in hand at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// How long files stay in hand without a sign of life
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = length)]
    pub(crate) lease: Seconds,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Measure the index of a database: recall, times and questions a second at several widths, beside the index on this disk
///
/// The narrowest width that reaches --recall is kept, for all who search there. On several servers it is an option of the
/// foreign servers, which only their owner may set.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin eval index --backend postgres://me@db.example/music --widths 40,100,200,400"
)]
pub(crate) struct EvalIndexArgs {
    /// Widths to try, ascending
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [40, 100, 200, 400], value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) widths: Vec<u32>,
    /// How many tracks are asked with
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) queries: u32,
    /// Share of the true nearest that must be found
    #[arg(long, value_name = "0..1", default_value = "0.99")]
    pub(crate) recall: Fraction,
    /// Search only tracks of this genre (several: any of them); no width is kept
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Vec<String>,
    /// Keep no width
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}
