//! `model`, `bench`, `man` and completions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::{ReportFormat, one_of};
use voisin_encoder::Architecture;
use voisin_questions::spans::{Seconds, length};

/// List, describe and check models; switch a library to another
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin model list\n  voisin model show voisin-3\n  voisin model upgrade voisin-3"
)]
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
    /// Show a model's manifest: architecture, front end, licence, provenance, checksums
    #[command(after_help = "Example:\n  voisin model show voisin-3")]
    Show {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
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
        /// Licence of a CLAP model's weights [default: that in the README.md of its folder]
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
        /// Replace a model of that name
        #[arg(long)]
        force: bool,
    },
    /// Analyse a library's tracks again with another model, and switch to it at the end
    ///
    /// The existing vectors are used until every track has one of the new model; then the library switches at once. After a
    /// stop or a kill the same command resumes. Tracks may be added and searched meanwhile.
    #[command(
        after_help = "Examples:\n  voisin model upgrade voisin-3\n  voisin model upgrade voisin-3 --leave-out\n  voisin model upgrade --give-up"
    )]
    Upgrade {
        /// The model to switch to, by name, manifest or weights file [default: that of an unfinished upgrade, else the default model]
        #[arg(value_name = "MODEL")]
        name: Option<String>,
        /// Switch although some tracks cannot be analysed: they wait for the next `voisin add` of their files
        #[arg(long)]
        leave_out: bool,
        /// Abandon an unfinished upgrade, and keep the current model
        #[arg(long, conflicts_with_all = ["name", "leave_out"])]
        give_up: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Verify a model's weights against its manifest and run it once
    #[command(after_help = "Example:\n  voisin model check musicnn-msd")]
    Check {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
}

/// Print a completion script for a shell
///
/// In bash, zsh and fish it also completes genres, artists, the words that `find` understands, and the library's names after
/// `artist:`, `album:` and `id:`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin completions bash > ~/.local/share/bash-completion/completions/voisin"
)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Names in the library, for completion scripts
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    #[arg(value_enum)]
    pub(crate) what: LibraryNames,
    /// Prefix of the names
    #[arg(default_value = "", allow_hyphen_values = true)]
    pub(crate) typed: String,
}

/// Kinds of names for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LibraryNames {
    Genres,
    Artists,
    Composers,
    Albums,
    Words,
    Ids,
    Models,
    Spaces,
    Scales,
    /// Orders of `list`, with the scales.
    Orders,
    Licences,
}

/// Open the manual page
///
/// On a terminal it is shown by `man`, or as `--help` shows it where there is no such program; elsewhere the page is printed
/// as `man` reads it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin man\n  voisin man similar\n  voisin man eval genre > eval-genre.1"
)]
pub(crate) struct ManArgs {
    /// The command whose page to show, in one word or two
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    pub(crate) command: Vec<String>,
    /// Write one page per verb into this folder instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
}

/// Measure the throughput of this machine
///
/// encoder: windows through the network (seeded random weights); mel: spectrograms; decode: one file to samples at 48 kHz; search: queries for ten
/// neighbours among synthetic tracks; index: the library's own index and others of its vectors, with held-out tracks as queries:
/// recall against double precision, queries a second of CPU time, alone and in batches, time to build, bytes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin bench encoder --arch openl3 --seconds 10\n  voisin bench decode --file song.mp3 --format json\n  voisin bench index --against hnsw_rs,exact"
)]
pub(crate) struct BenchArgs {
    /// Subject of the measurement
    #[arg(value_enum)]
    pub(crate) kind: BenchKind,
    /// Duration of the measurement
    #[arg(long, default_value = "5", value_name = "TIME", value_parser = length)]
    pub(crate) seconds: Seconds,
    /// The network (encoder) or its front end (mel)
    #[arg(long, value_parser = one_of::<Architecture>(["openl3", "musicnn"]), default_value_t = Architecture::Musicnn)]
    pub(crate) arch: Architecture,
    /// Windows that go through the network at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: Option<u32>,
    /// The file to decode
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Number of synthetic tracks to search
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) tracks: u32,
    /// Indexes to compare the library's with: at equal recall, where that can be chosen
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "hnsw_rs",
        value_name = "LIST"
    )]
    pub(crate) against: Vec<Against>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchKind {
    Encoder,
    Decode,
    Mel,
    Search,
    Index,
}

/// Indexes that the library's is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    #[value(name = "hnsw_rs")]
    HnswRs,
    Exact,
}
