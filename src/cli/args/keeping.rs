//! The verbs that maintain a library: watch, backup, relocate.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Keep the library up to date while folders change
///
/// Scans once, then waits for file system events and adds new, changed and moved files two seconds after the last event.
/// Deleted files stay in the library until `voisin remove --missing`, so that an unmounted disk loses nothing; a folder that
/// comes back is watched again. Other commands can write in between. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin watch ~/Music --exclude 'incoming/'")]
pub(crate) struct WatchArgs {
    /// Folders to watch, with all below
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folders: Vec<PathBuf>,
    /// Leave out files and folders that match this pattern, as in a .gitignore (several: all of them)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Stop when standard input ends, which it does even if the parent process crashes
    #[arg(long, hide = true)]
    pub(crate) while_input_lasts: bool,
}

/// Copy the library's database to a file, and check the copy
///
/// Other commands may read and write meanwhile. To restore it, delete `voisin.db-wal` and `voisin.db-shm` in the folder,
/// which belong to the old database, and put the copy there as `voisin.db`; the index is rebuilt from it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin backup /mnt/safe/voisin-2026-11-21.db")]
pub(crate) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// Update the library's paths after a music folder was moved
///
/// Run it after moving the files. Every path below OLD is rewritten to lie below NEW, all or none. It fails if NEW has none of
/// the files. Running it again changes nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin relocate /mnt/old/Music ~/Music --dry-run\n  voisin relocate /mnt/old/Music ~/Music"
)]
pub(crate) struct RelocateArgs {
    /// Where the files were
    #[arg(value_name = "OLD", value_hint = ValueHint::DirPath)]
    pub(crate) old: PathBuf,
    /// Where they are
    #[arg(value_name = "NEW", value_hint = ValueHint::DirPath)]
    pub(crate) new: PathBuf,
    /// Only print what would change
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
