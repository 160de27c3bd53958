//! The verbs that fill, maintain and export the library; models and completions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::ReportFormat;
use super::units::Shard;
use voisin::questions::spans::{Seconds, length};
use voisin_library::scan::Links;

/// Build a small library from the music that comes with voisin, and show what it can do
///
/// Takes under a minute and needs no network. The library goes into the folder voisin-demo beside your own unless --library
/// names another, and is kept; a library that holds other tracks is refused.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin demo")]
pub(crate) struct DemoArgs {}

/// Add music to the library, or bring it up to date
///
/// Folders are read recursively; playlists (M3U) and single files are accepted too; `-` reads a list of
/// paths from standard input. Unchanged files are not opened; moved and retagged ones keep their vectors. Hidden
/// folders and those that hold a `.nomedia` or `.notmusic` file are skipped. So are bins, snapshots and system folders
/// (`#recycle`, `$RECYCLE.BIN`, `@eaDir` …), unless one is named itself. A run can be stopped at any
/// time: finished tracks are kept, and the next run resumes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin add ~/Music\n  voisin add ~/Music --remove-missing\n  voisin add ~/Music --exclude 'Podcasts/' --exclude '*.wav'\n  voisin add --vectors clap.npy --tracks tracks.csv --model clap --library clap\n  find /mnt/nas -name '*.flac' -newer stamp | voisin add -"
)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each of its own")]
pub(crate) struct AddArgs {
    /// Folders, playlists or files; `-` for a list on standard input
    #[arg(required_unless_present_any = ["from_parquet", "vectors", "retry"], value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Import the output of `embed --format parquet` or `export FILE.parquet`: files, or folders of them
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["paths", "dry_run", "force"], value_hint = ValueHint::AnyPath)]
    pub(crate) from_parquet: Vec<PathBuf>,
    /// Import vectors that another program computed: a .npy file [tracks, dimension]; --model is the name of their model, of
    /// yours or of voisin's (docs/models.md)
    #[arg(long, value_name = "FILE", requires = "tracks", conflicts_with_all = [
        "paths", "from_parquet", "dry_run", "force", "exclude", "follow_links",
        "remove_missing"
    ], value_hint = ValueHint::FilePath)]
    pub(crate) vectors: Option<PathBuf>,
    /// With --vectors: a table (CSV) with a row for each vector, in their order: the column `path`, and for files that are not
    /// on this machine `title`, `artist`, `album`, `genre` and `year`
    #[arg(long, value_name = "FILE", requires = "vectors", value_hint = ValueHint::FilePath)]
    pub(crate) tracks: Option<PathBuf>,
    /// Leave out files and folders that match this pattern, as in a .gitignore: '*.wav', 'Podcasts/', '/incoming'
    /// (several: all of them). A file `.voisinignore` in a folder does the same for it and all below
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Follow links that lead out of the folders named. Without it, nobody who can write into such a
    /// folder can make voisin read other files. Links that stay below their folder are always followed
    #[arg(long, conflicts_with = "from_parquet")]
    pub(crate) follow_links: bool,
    /// Try the files again that could not be added before (those at or below PATH, if given)
    #[arg(long, conflicts_with_all = ["from_parquet", "vectors", "watch", "dry_run", "remove_missing"])]
    pub(crate) retry: bool,
    /// Go on until Ctrl-C: add new, changed and moved files below the folders two seconds after the last change
    #[arg(long, conflicts_with_all = ["from_parquet", "vectors", "dry_run", "remove_missing", "force"])]
    pub(crate) watch: bool,
    /// Read and analyse unchanged files again
    #[arg(long)]
    pub(crate) force: bool,
    /// Remove files from the library that are gone from the folders named; those of a folder that is absent or empty stay, as
    /// its disk may not be mounted
    #[arg(long)]
    pub(crate) remove_missing: bool,
    /// Only print what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Format of the summary
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    /// The list on standard input is separated by NUL, not by newlines
    #[arg(long = "null", short = '0')]
    pub(crate) null: bool,
    /// Stop when standard input ends, which it does even if the parent process crashes
    #[arg(long, hide = true)]
    pub(crate) while_input_lasts: bool,
}

impl AddArgs {
    /// The links that are followed.
    pub(crate) fn links(&self) -> Links {
        if self.follow_links {
            Links::All
        } else {
            Links::Inside
        }
    }
}

/// Write the window embeddings of files, without a library
///
/// One file for each: `embedding` [windows, dimension] and `timestamps` [windows] in seconds, as the openl3 tool does.
/// Windows are --hop apart, the first one centred on the start. Folders are mirrored, and existing files are not
/// overwritten.
///
/// --format parquet (in builds with that feature) writes the data that `add` would store into Parquet files, for other
/// engines and other libraries: see docs/scale.md.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin embed song.wav --hop 0.1 --output vectors/\n  voisin embed ~/Music --hop 1 --output vectors/\n  find . -name '*.flac' | voisin embed - --output vectors/"
)]
pub(crate) struct EmbedArgs {
    /// Audio files, folders or playlists; `-` for a list on standard input
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Time from one window to the next [default: 0.1]
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) hop: Option<Seconds>,
    /// Only this share of the files: four machines that see the same folders take 0/4 to 3/4
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Folder to write into
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = EmbedFormat::Npz)]
    pub(crate) format: EmbedFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmbedFormat {
    Npz,
    Parquet,
}

/// Show the content of the library: tracks, failures, model, index
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin status --format json")]
pub(crate) struct StatusArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Remove tracks from the library (your files are not touched)
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin remove ~/Music/podcasts\n  voisin remove id:17\n  voisin remove --missing --dry-run"
)]
pub(crate) struct RemoveArgs {
    /// Files, folders, or tracks by `id:NUMBER`
    #[arg(required_unless_present = "missing", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Files that no longer exist (below PATH, if given). Those of a folder that is absent or empty stay, with a message and
    /// exit code 2: a disk may just not be mounted
    #[arg(long)]
    pub(crate) missing: bool,
    /// With --missing: also the files of folders that are absent or empty
    #[arg(long, requires = "missing")]
    pub(crate) force: bool,
    /// Only print what would be removed
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Write vectors and metadata for other programs
///
/// vectors.npy (float32 [tracks, dimension], raw), mean.npy (float32 [dimension]: subtracted from them before
/// they are compared), model.json (how their parts are scaled then), and tracks.csv in the same row order.
///
/// A name that ends in .db gets a copy of the library's database, which is checked. To restore it, delete `voisin.db-wal` and
/// `voisin.db-shm` in the library's folder, and put the copy there as `voisin.db`.
///
/// A name that ends in .parquet gets a table of the tracks with their vectors (docs/scale.md), in builds with that feature.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin export vectors/ && python -c \"import numpy; print(numpy.load('vectors/vectors.npy').shape)\""
)]
pub(crate) struct ExportArgs {
    /// Folder to write into, or a file that ends in .db or .parquet
    #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
}

/// Check the database, the index, and that every track finds itself
///
/// Changes nothing. Exit code 1 if anything is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin verify --deep")]
pub(crate) struct VerifyArgs {
    /// Read every file again and compare its audio
    #[arg(long)]
    pub(crate) deep: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// List and import models
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin model list")]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List the models that --model accepts
    #[command(after_help = "Example:\n  voisin model list --format json")]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Import a model: a CLAP folder of the hub, or weights
    ///
    /// A CLAP folder has `config.json`, `preprocessor_config.json`, `model.safetensors` and `tokenizer.json` of an unfused model
    /// (clap-htsat-unfused, `larger_clap_music_and_speech`); with it, `find` accepts sentences. Weights of OpenL3 or MusiCNN are
    /// safetensors, with a manifest (FILE.json) beside them or without, or an archive of torch (.pth).
    #[command(
        after_help = "Examples:\n  voisin model import clap-htsat-unfused --name clap && voisin --model clap add ~/Music\n  voisin model import openl3.safetensors --name openl3"
    )]
    Import {
        /// The weights file, or the folder of a CLAP model
        #[arg(value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
        file: PathBuf,
        /// Name to give the model
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Licence of a CLAP model's weights [default: unknown]
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
        /// Replace a model of that name
        #[arg(long)]
        force: bool,
    },
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin completions bash > ~/.local/share/bash-completion/completions/voisin"
)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

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
