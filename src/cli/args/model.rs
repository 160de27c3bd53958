//! `model` and `completions`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ReportFormat;

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
