//! The verbs that keep a library safe and in place: watch, backup, relocate.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Keep the library up to date while folders change
///
/// Looks once, then waits for the system's notices and adds new, changed and moved files two seconds after the last of
/// them. Files that go stay in the library until `voisin remove --missing`, so that a disk that is not mounted loses
/// nothing; a folder that comes back is watched again. Other commands can write in between. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin watch ~/Music --exclude 'incoming/'")]
pub(crate) struct WatchArgs {
    /// Folders to watch, with all below
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folders: Vec<PathBuf>,
    /// Leave out what this pattern names, written as in a .gitignore (several: all of them)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Stop when standard input ends, as it does however the program that holds it ends
    #[arg(long, hide = true)]
    pub(crate) while_input_lasts: bool,
}

/// Copy the library's database to a file, and check the copy
///
/// Other commands may read and write meanwhile. Put the copy into a folder as `voisin.db` to use it again; the index is
/// made anew from it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin backup /mnt/safe/voisin-2026-11-21.db")]
pub(crate) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Tell the library that a folder of music now lies elsewhere
///
/// Run it after moving the files. Every path below OLD is rewritten to lie below NEW, all or none. Refuses where NEW has
/// none of the files. Given again, it says that nothing is left to move.
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
    /// Only say what would change
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
