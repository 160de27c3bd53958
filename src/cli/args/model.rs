//! `model`, `man` and completions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::ReportFormat;

/// List, describe and check models
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin model list\n  voisin model show voisin-3")]
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
