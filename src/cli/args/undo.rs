//! `undo`.

use clap::Args;

use super::ReportFormat;

/// Take back what a run of `classify --write-tags` wrote into files
///
/// A file that is as voisin left it gets back the bytes that it had, to the last one. Where other bytes of it were changed
/// since, the written tags alone get what they held before; where these were changed, the file is left alone. Which it was
/// is told of each file. Runs that can be taken back are listed by --list.
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
