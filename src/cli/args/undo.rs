//! `undo`.

use clap::Args;

use super::ReportFormat;

/// Undo the changes that a run of `classify --write-tags` made to files
///
/// A file that did not change since is restored byte for byte. If other bytes of it changed since, only the written tags are
/// restored; if these changed, the file is left alone. The outcome is reported for each file. --list shows the runs that can be
/// undone.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin undo --dry-run\n  voisin undo\n  voisin undo --list\n  voisin undo 3"
)]
pub(crate) struct UndoArgs {
    /// Number of the run [default: the last one]
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
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
