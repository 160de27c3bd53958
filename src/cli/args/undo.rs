//! `undo`.

use clap::Args;

use super::ReportFormat;

/// Take back what a run of `classify --write-tags` wrote into files
///
/// Each file gets the tags that it had before, not its bytes: room that writing made stays in it, so its size and checksum
/// are others than before it was first written. One whose tags were changed since is left alone. Runs that can be taken back
/// are listed by --list.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin undo --dry-run\n  voisin undo\n  voisin undo --list\n  voisin undo 3"
)]
pub(crate) struct UndoArgs {
    /// Which run [default: the last one]
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<i64>,
    /// Only list the runs
    #[arg(long, conflicts_with_all = ["run", "dry_run"])]
    pub(crate) list: bool,
    /// Show what would change, and change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Keep the files' modification times
    #[arg(long)]
    pub(crate) keep_times: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
