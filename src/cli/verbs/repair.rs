//! `voisin repair`.

use std::path::Path;

use anyhow::Context as _;

use crate::cli::Ending;
use crate::cli::args::RepairArgs;
use crate::cli::context::Context;
use crate::cli::render;
use voisin_engine::{Engine, EngineError};
use voisin_index::VectorIndex;
use voisin_library::{
    Library, LibraryError, OpenMode, RepairReport, WriterLock, free_name, salvage,
};

pub(crate) fn run(context: &Context, args: &RepairArgs) -> anyhow::Result<Ending> {
    repair(context, args).map_err(|error| match damage(&error) {
        Some((path, detail)) => anyhow::anyhow!(
            "{} cannot be repaired ({detail}): restore a backup, or move it away and run \"voisin add\" on your music again; your music itself is untouched",
            path.display()
        ),
        None => error,
    })
}

/// The path of a file that is damaged or no database, and the fault.
fn damage(error: &anyhow::Error) -> Option<(&Path, &str)> {
    let of_engine = error
        .downcast_ref::<EngineError>()
        .and_then(|error| match error {
            EngineError::Library(error) => Some(error),
            _ => None,
        });
    match error.downcast_ref::<LibraryError>().or(of_engine)? {
        LibraryError::Damaged { path, detail }
        | LibraryError::NotALibrary {
            path,
            found: detail,
        } => Some((path, detail)),
        _ => None,
    }
}

/// Repairs a database in place. SQLite detects damage when it reads it, so any step may fail.
fn repair_in_place(context: &Context) -> anyhow::Result<(Engine, WriterLock, RepairReport)> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let lock = engine.library().lock_for_writing()?;
    let report = engine.library_mut().repair()?;
    Ok((engine, lock, report))
}

/// Rebuilds the database from all that can be read of it; returns whether that is all.
fn rebuild_database(context: &Context, detail: &str) -> anyhow::Result<bool> {
    context.console.note(&format!(
        "the database is damaged ({detail}); reading all that can be read"
    ));
    let report = salvage(&context.library_dir())?;
    for (table, rows) in &report.rows {
        let rows = render::count(*rows, "row");
        context.console.note(&format!("  {table}: {rows}"));
    }
    if !report.incomplete.is_empty() {
        context.console.note(&format!(
            "not all of {} could be read",
            report.incomplete.join(", ")
        ));
    }
    let kept = render::terminal_safe(&report.damaged.display().to_string()).into_owned();
    let saved = report.rows_of("audio");
    let of_all = report
        .tracks
        .map_or_else(String::new, |tracks| format!(" of {tracks}"));
    render::print_line(&format!(
        "database rebuilt with {saved}{of_all} tracks; the damaged one is kept as {kept}"
    ))?;
    if saved == 0 {
        context.console.warn(
            "no track could be read: the library is empty now. Restore a backup, or run \"voisin add\" on your music again; your music itself is untouched",
        );
    }
    Ok(report.incomplete.is_empty() && saved > 0)
}

fn repair(context: &Context, args: &RepairArgs) -> anyhow::Result<Ending> {
    let opened = Library::open(&context.library_dir(), OpenMode::ReadWrite);
    // Opened once as by any command, then again to repair: damage may show at either.
    let first = opened.map_err(anyhow::Error::from).and_then(|library| {
        drop(library);
        repair_in_place(context)
    });
    let detail = match &first {
        // A file that is no database has no rows to salvage; it is left alone, as it may be the
        // user's.
        Err(error) if !matches!(error.downcast_ref(), Some(LibraryError::NotALibrary { .. })) => {
            damage(error).map(|(_, detail)| detail.to_owned())
        }
        _ => None,
    };
    let (whole, (mut engine, _lock, report)) = match detail {
        None => (true, first?),
        Some(detail) => {
            drop(first);
            (
                rebuild_database(context, &detail)?,
                repair_in_place(context)?,
            )
        }
    };
    for (n, what, became) in [
        (report.renormalised, "vector", "scaled to unit norm"),
        (report.repooled, "vector", "computed again from its windows"),
        (
            report.to_embed,
            "vector",
            "removed, whose file exists: run add",
        ),
        (
            report.to_embed_in_spaces,
            "vector",
            "of other spaces removed, whose file exists: run space add",
        ),
        (report.to_read, "file", "to be read again: run add"),
        (
            report.to_measure,
            "measurement",
            "removed: run add --update-descriptors",
        ),
        (
            report.dangling_rows,
            "row",
            "removed that referred to nothing",
        ),
        (report.counters, "counter", "corrected"),
        (report.definitions, "damaged definition", "written again"),
    ] {
        if n > 0 {
            render::print_line(&format!("{} {became}", render::count(n, what)))?;
        }
    }
    let index = engine.index_path();
    // Not followed: a link to a folder is replaced like any file.
    if std::fs::symlink_metadata(&index).is_ok_and(|metadata| metadata.is_dir()) {
        let aside = free_name(&index, ".folder");
        std::fs::rename(&index, &aside).with_context(|| {
            format!(
                "{} is a folder and cannot be moved: remove it",
                index.display()
            )
        })?;
        let aside = aside.display().to_string();
        render::print_line(&format!(
            "a folder had the index's name: renamed to {}",
            render::terminal_safe(&aside)
        ))?;
    }
    if let Some(bits) = args.index_bits {
        engine.set_index_bits(bits.0)?;
    }
    let mut kept = true;
    if engine.library().status()?.vectors > 0 {
        engine.rebuild_index("requested")?;
        let lost = engine.index()?.self_check(1)?.lost.len();
        let mode = engine.index()?.stats().mode;
        render::print_line(&format!(
            "index rebuilt ({mode}), {lost} tracks do not find themselves"
        ))?;
        // Built in memory, but perhaps not stored, as on a full disk.
        kept = VectorIndex::summary(&index).is_ok();
    }
    for finding in &report.remaining {
        context.console.warn(&format!("left as it is: {finding}"));
    }
    Ok(if whole && report.remaining.is_empty() && kept {
        Ending::Fine
    } else {
        Ending::Partial
    })
}
