//! `voisin backup`.

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::BackupArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::library::{DATABASE, Library, OpenMode};

pub(crate) fn run(context: &Context, args: &BackupArgs) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    if args.file.exists() && !args.force {
        bail!("{} is there already: name another file, or replace it with --force", args.file.display());
    }
    if args.file.is_dir() {
        bail!("{} is a folder, expected the name of a file to write", args.file.display());
    }
    let parent = args.file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(std::path::Path::new("."));
    // A library of its own beside the target: the copy is opened and checked as one before it takes its name.
    let staging = tempfile::Builder::new()
        .prefix(".voisin-backup-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write beside {}", args.file.display()))?;
    let copy = staging.path().join(DATABASE);
    library.back_up(&copy)?;
    let copied = Library::open(staging.path(), OpenMode::ReadOnly)?;
    let health = copied.check(true)?;
    if let Some(finding) = health.findings.first() {
        bail!("the copy is damaged ({finding}) and was not kept: run \"voisin repair\", then try again");
    }
    let (before, after) = (library.status()?, copied.status()?);
    drop(copied);
    if before.tracks > after.tracks {
        bail!("the copy has {} of {} tracks and was not kept: try again", after.tracks, before.tracks);
    }
    std::fs::rename(&copy, &args.file).with_context(|| format!("cannot write {}", args.file.display()))?;
    let text = format!(
        "{} and {} in {}, checked",
        count(after.tracks, "track"),
        count(after.files, "file"),
        args.file.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::Fine)
}
