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
    mend(context, args).map_err(|error| match damage(&error) {
        Some((path, detail)) => anyhow::anyhow!(
            "{} cannot be mended ({detail}): put a backup of it back, or move it away and run \"voisin add\" on your music again; your music itself is untouched",
            path.display()
        ),
        None => error,
    })
}

/// Where a database is that is damaged or none, and what is wrong with it.
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

/// Mends a database in its place. SQLite meets damage where it reads, so any step may find it.
fn mend_in_place(context: &Context) -> anyhow::Result<(Engine, WriterLock, RepairReport)> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let lock = engine.library().lock_for_writing()?;
    let report = engine.library_mut().repair()?;
    Ok((engine, lock, report))
}

/// Makes the database anew of what can be read of it; returns whether all of it could.
fn read_what_is_left(context: &Context, detail: &str) -> anyhow::Result<bool> {
    context.console.note(&format!(
        "the database is damaged ({detail}); reading what can be read"
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
        "database made anew with {saved}{of_all} tracks; the damaged one is kept as {kept}"
    ))?;
    if saved == 0 {
        context.console.warn(
            "no track could be read: the library is empty now. Put a backup of it back, or run \"voisin add\" on your music again; your music itself is untouched",
        );
    }
    Ok(report.incomplete.is_empty() && saved > 0)
}

fn mend(context: &Context, args: &RepairArgs) -> anyhow::Result<Ending> {
    let opened = Library::open(&context.library_dir(), OpenMode::ReadWrite);
    // Opened once as any program does, then again to mend: damage may show at either.
    let first = opened.map_err(anyhow::Error::from).and_then(|library| {
        drop(library);
        mend_in_place(context)
    });
    let detail = match &first {
        // A file that is no database holds no rows to salvage; it is left alone, for it may be
        // somebody's.
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
                read_what_is_left(context, &detail)?,
                mend_in_place(context)?,
            )
        }
    };
    for (n, what, became) in [
        (report.renormalised, "vector", "scaled to unit norm"),
        (report.repooled, "vector", "made again from its windows"),
        (
            report.to_embed,
            "vector",
            "taken out, whose file is there: run add",
        ),
        (
            report.to_embed_in_spaces,
            "vector",
            "of other spaces taken out, whose file is there: run space add",
        ),
        (report.to_read, "file", "to be read again: run add"),
        (
            report.to_measure,
            "measurement",
            "taken out: run add --update-descriptors",
        ),
        (
            report.dangling_rows,
            "row",
            "removed that belonged to nothing",
        ),
        (report.counters, "counter", "set right"),
        (report.definitions, "damaged definition", "written again"),
    ] {
        if n > 0 {
            render::print_line(&format!("{} {became}", render::count(n, what)))?;
        }
    }
    let index = engine.index_path();
    // Not followed: a link to a folder is replaced as any file is.
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
            "a folder stood in the index's place: now {}",
            render::terminal_safe(&aside)
        ))?;
    }
    if let Some(bits) = args.index_bits {
        engine.set_index_bits(bits.0)?;
    }
    let mut kept = true;
    if engine.library().status()?.vectors > 0 {
        engine.rebuild_index("asked for")?;
        let lost = engine.index()?.self_check(1)?.lost.len();
        let mode = engine.index()?.stats().mode;
        render::print_line(&format!(
            "index built anew ({mode}), {lost} tracks not found by themselves"
        ))?;
        // Built in memory, but perhaps not kept, as on a full disk.
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
