//! `voisin repair`.

use anyhow::Context as _;

use crate::cli::Ending;
use crate::cli::context::Context;
use crate::cli::render;
use crate::engine::EngineError;
use crate::index::VectorIndex;
use crate::library::{Library, LibraryError, OpenMode, free_name, salvage};

pub(crate) fn run(context: &Context) -> anyhow::Result<Ending> {
    mend(context).map_err(|error| {
        let of_engine = error.downcast_ref::<EngineError>().and_then(|error| match error {
            EngineError::Library(error) => Some(error),
            _ => None,
        });
        match error.downcast_ref::<LibraryError>().or(of_engine) {
            Some(LibraryError::Damaged { path, detail } | LibraryError::NotALibrary { path, found: detail }) => {
                anyhow::anyhow!(
                    "{} cannot be mended ({detail}): put a backup of it back, or move it away and run \"voisin add\" on your music again; your music itself is untouched",
                    path.display()
                )
            }
            _ => error,
        }
    })
}

fn mend(context: &Context) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    match Library::open(&dir, OpenMode::ReadWrite) {
        Ok(_) => {}
        Err(LibraryError::Damaged { detail, .. }) => {
            context.console.note(&format!("the database is damaged ({detail}); reading what can be read"));
            let report = salvage(&dir)?;
            for (table, rows) in &report.rows {
                context.console.note(&format!("  {table}: {rows} rows"));
            }
            if !report.incomplete.is_empty() {
                context.console.note(&format!("not all of {} could be read", report.incomplete.join(", ")));
            }
            render::print_line(&format!(
                "database made anew; the damaged one is kept as {}",
                render::terminal_safe(&report.damaged.display().to_string())
            ))?;
        }
        Err(error) => return Err(error.into()),
    }
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let _lock = engine.library().lock_for_writing()?;
    let report = engine.library_mut().repair()?;
    for (n, what) in [
        (report.renormalised, "vector scaled to unit norm"),
        (report.repooled, "vector made again from its windows"),
        (report.to_embed, "vector taken out: its file is there, run add"),
        (report.dangling_rows, "row removed that belonged to nothing"),
        (report.counters, "counter set right"),
        (report.definitions, "damaged definition written again"),
    ] {
        if n > 0 {
            render::print_line(&format!("{n} {what}"))?;
        }
    }
    let index = engine.index_path();
    if std::fs::symlink_metadata(&index).is_ok_and(|metadata| metadata.is_dir()) {
        let aside = free_name(&index, ".folder");
        std::fs::rename(&index, &aside)
            .with_context(|| format!("{} is a folder and cannot be moved: remove it", index.display()))?;
        let aside = aside.display().to_string();
        render::print_line(&format!(
            "a folder stood in the index's place: now {}",
            render::terminal_safe(&aside)
        ))?;
    }
    let mut kept = true;
    if engine.library().status()?.vectors > 0 {
        engine.rebuild_index("asked for")?;
        let lost = engine.index()?.self_check(1)?.lost.len();
        let mode = engine.index()?.stats().mode;
        render::print_line(&format!("index built anew ({mode}), {lost} tracks not found by themselves"))?;
        kept = VectorIndex::summary(&index).is_ok();
    }
    for finding in &report.remaining {
        context.console.warn(&format!("left as it is: {finding}"));
    }
    Ok(if report.remaining.is_empty() && kept { Ending::Fine } else { Ending::Partial })
}
