//! `model`, `bench`, and what a shell wants.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::{ReportFormat, one_of};
use voisin_encoder::Architecture;
use voisin_features::OpenL3Variant;
use voisin_questions::spans::{Seconds, length};

/// List, describe and check models; change a library over to another
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
    /// The models that can be named with --model
    #[command(after_help = "Example:\n  voisin model list --format json")]
    List {
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// One model's manifest: architecture, front end, licence, provenance, checksums
    #[command(after_help = "Example:\n  voisin model show voisin-3")]
    Show {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Take in a model: a CLAP folder of the hub, OpenL3 weights, an ONNX network, or the network of a run
    ///
    /// A CLAP folder has `config.json`, `preprocessor_config.json`, `model.safetensors` and `tokenizer.json` of an unfused model
    /// (clap-htsat-unfused, `larger_clap_music_and_speech`); a library of it answers sentences (`find`). OpenL3's weights may be
    /// Keras .h5, TensorFlow .pb, ONNX, torch .pth or safetensors. Of a run of `voisin train classifier` it is the network
    /// up to its inner layer. Any other network in ONNX takes a voisin with the feature `onnx`, as packages have it, and
    /// --front-end; its data may lie in other files of the same folder.
    #[command(
        after_help = "Examples:\n  voisin model import clap-htsat-unfused --name clap && voisin --model clap add ~/Music\n  voisin model import discogs-effnet.onnx --front-end discogs --output embeddings --name discogs\n  voisin model import openl3_audio_mel256_music.h5 --name openl3-music\n  voisin model import run --name mine && voisin --model mine add ~/Music"
    )]
    Import {
        /// The weights file, whose contents say what it is, or the folder of a CLAP model or of a run
        #[arg(value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
        file: PathBuf,
        /// Name to give the model
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Spectrogram to feed it [default: what the file's publisher uses]
        #[arg(long, value_parser = one_of::<OpenL3Variant>(["original", "kapre04", "essentia"]))]
        variant: Option<OpenL3Variant>,
        /// Spectrogram of an ONNX network: openl3, musicnn, discogs, vggish, efficientat, clap, clap-htk, ast, samples alone
        /// as raw16, raw24, raw32 or raw48 (kHz), or a .toml file with all numbers
        #[arg(long, value_name = "NAME|FILE.toml")]
        front_end: Option<String>,
        /// Output or node of an ONNX network that is the vector [default: its only output]
        #[arg(long, value_name = "NODE")]
        output: Option<String>,
        /// An ONNX network that reads, into the same space
        #[arg(long, value_name = "FILE.onnx", requires = "tokenizer", value_hint = ValueHint::FilePath)]
        text: Option<PathBuf>,
        /// Its tokenizer.json
        #[arg(long, value_name = "FILE", requires = "text", value_hint = ValueHint::FilePath)]
        tokenizer: Option<PathBuf>,
        /// Its output [default: its only output]
        #[arg(long, value_name = "NODE", requires = "text")]
        text_output: Option<String>,
        /// Licence of a CLAP model's or an ONNX network's weights [default: what README.md in its folder states]
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
        /// Replace a model of that name
        #[arg(long)]
        force: bool,
    },
    /// Listen to a library's tracks again with another model, and change over to it at the end
    ///
    /// The vectors that the library has go on answering until every track has one of the new model; then it changes over
    /// at once. Stopped or killed, the same command goes on. Tracks may be added and searched meanwhile.
    #[command(
        after_help = "Examples:\n  voisin model upgrade voisin-3\n  voisin model upgrade voisin-3 --leave-out\n  voisin model upgrade --give-up"
    )]
    Upgrade {
        /// The model to change over to, by name, manifest or weights file [default: the one under way, else the default model]
        #[arg(value_name = "MODEL")]
        name: Option<String>,
        /// Change over although some tracks cannot be listened to: they wait for the next `voisin add` of their files
        #[arg(long)]
        leave_out: bool,
        /// End an upgrade that is under way, and keep the model that the library has
        #[arg(long, conflicts_with_all = ["name", "leave_out"])]
        give_up: bool,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Verify a model's weights against its manifest and run it once
    #[command(after_help = "Example:\n  voisin model check musicnn-msd")]
    Check {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
}

/// Print a completion script for a shell
///
/// In bash, zsh and fish it also completes genres, artists, the words that `find` understands, and after `artist:`,
/// `album:` and `id:` what the library has.
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
    /// How they begin
    #[arg(default_value = "", allow_hyphen_values = true)]
    pub(crate) typed: String,
}

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LibraryNames {
    Genres,
    Artists,
    Composers,
    Albums,
    Words,
    Ids,
    Models,
    Lists,
    Spaces,
    Scales,
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
    /// The command whose page is wanted, in one word or two
    #[arg(value_name = "COMMAND", conflicts_with_all = ["output", "markdown"])]
    pub(crate) command: Vec<String>,
    /// Write one page per verb into this folder instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that are there and that voisin did not make
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Print every command's help as one page in Markdown instead
    #[arg(long, conflicts_with = "output")]
    pub(crate) markdown: bool,
}

/// Measure what this machine does in a second
///
/// encoder: windows through the network (seeded random weights); mel: spectrograms; decode: one file to samples at 48 kHz; search: queries for ten
/// neighbours among made-up tracks; index: the library's own index beside others of its vectors, with tracks that are held out
/// as queries: recall against double precision, queries a second of CPU time, alone and in batches, time to build, bytes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin bench encoder --arch openl3 --seconds 10\n  voisin bench decode --file song.mp3 --format json\n  voisin bench index --against hnsw_rs,exact"
)]
pub(crate) struct BenchArgs {
    /// Subject of the measurement
    #[arg(value_enum)]
    pub(crate) what: BenchKind,
    /// How long to measure
    #[arg(long, default_value = "5", value_name = "TIME", value_parser = length)]
    pub(crate) seconds: Seconds,
    /// The network (encoder) or its front end (mel)
    #[arg(long, value_parser = one_of::<Architecture>(["openl3", "musicnn", "vgg"]), default_value_t = Architecture::Musicnn)]
    pub(crate) arch: Architecture,
    /// Windows that go through the network at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: Option<u32>,
    /// The file to decode
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Made-up tracks to search
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) tracks: u32,
    /// What the library's index is compared with: at equal recall, where that can be chosen
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "hnsw_rs",
        value_name = "LIST"
    )]
    pub(crate) against: Vec<Against>,
    /// How the answer is printed
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

/// What an index is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    #[value(name = "hnsw_rs")]
    HnswRs,
    Exact,
}
