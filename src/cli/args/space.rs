//! `space`: several vector spaces in one library.

use clap::{Args, Subcommand};

use super::ReportFormat;

/// Keep vectors of several models in one library: a default for neighbours, others for sentences or for trial
///
/// The default space is that of the library's model: all commands use it. `similar`, `find` and `eval retrieval` take the name
/// of another one. Each has its own index. `add` analyses with the default's model alone; `space add` brings the others up to
/// date. A CLAP model has to be imported first: see `voisin model import --help`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin space add clap\n  voisin space list\n  voisin similar id:17 --space clap\n  voisin eval retrieval --spaces voisin-equal,clap\n  voisin space default clap"
)]
pub(crate) struct SpaceArgs {
    #[command(subcommand)]
    pub(crate) command: SpaceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpaceCommand {
    /// Analyse a library's tracks with another model, keeping its vectors
    ///
    /// After a stop or a kill the same command resumes; run again later, it analyses tracks added since. Tracks may be added and
    /// searched meanwhile. A CLAP model has to be imported first: see `voisin model import --help`.
    #[command(
        after_help = "Examples:\n  voisin space add clap\n  voisin space add voisin-3 --name trial"
    )]
    Add {
        /// The model, by name, manifest or weights file; or an existing space, to resume it
        #[arg(value_name = "MODEL|SPACE")]
        model: String,
        /// The space's name [default: the model's]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// List the spaces of the library, their models, and how many tracks each has
    #[command(after_help = "Example:\n  voisin space list --format json")]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Remove a space, and free its disk space
    #[command(after_help = "Example:\n  voisin space remove trial")]
    Remove {
        /// Its name
        #[arg(value_name = "SPACE")]
        name: String,
    },
    /// Make a space the default; the former default stays, as a space
    ///
    /// From then on `add` analyses with its model, and all commands use it. A trained genre head is trained again.
    #[command(after_help = "Example:\n  voisin space default clap")]
    Default {
        /// Its name
        #[arg(value_name = "SPACE")]
        name: String,
        /// Switch although some tracks have no vector in it: they wait for the next `voisin add` of their files
        #[arg(long)]
        leave_out: bool,
    },
}
