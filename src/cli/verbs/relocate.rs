//! `voisin relocate`.

use crate::cli::Ending;
use crate::cli::args::RelocateArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use voisin_library::OpenMode;

/// Files that a dry run lists.
const SHOWN: usize = 10;

pub(crate) fn run(context: &Context, args: &RelocateArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let plan = if args.dry_run {
        engine
            .library()
            .files()
            .plan_relocation(&args.old, &args.new)?
    } else {
        let _lock = engine.library().lock_for_writing()?;
        engine
            .library_mut()
            .files_mut()
            .relocate(&args.old, &args.new)?
    };
    // Running it twice is no error.
    if plan.moved_before > 0 {
        render::print_line(&render::terminal_safe(&format!(
            "nothing is left to move: no file of the library is below {}, {} below {} already",
            args.old.display(),
            if plan.moved_before == 1 {
                "1 file is".to_owned()
            } else {
                format!("{} files are", plan.moved_before)
            },
            args.new.display()
        )))?;
        return Ok(Ending::Fine);
    }
    let files = count(plan.files.len() as u64, "file");
    if args.dry_run {
        for (before, after) in plan.files.iter().take(SHOWN) {
            let text = format!("{} → {}", before.display(), after.display());
            render::print_line(&render::one_line(&text))?;
        }
        if plan.files.len() > SHOWN {
            render::print_line(&format!("… and {} more", plan.files.len() - SHOWN))?;
        }
        render::print_line(&format!(
            "would move {files}, of which {} exist",
            plan.found
        ))?;
    } else {
        render::print_line(&format!(
            "moved {files} in the library, of which {} exist",
            plan.found
        ))?;
    }
    // No error: files that were gone before the move are cleared by another command.
    let missing = plan.files.len() - plan.found;
    if missing > 0 {
        context.console.warn(&format!(
            "{} not at the new place: see \"voisin remove --missing --dry-run\"",
            if missing == 1 {
                "1 file is".to_owned()
            } else {
                format!("{missing} files are")
            }
        ));
    }
    Ok(Ending::Fine)
}
