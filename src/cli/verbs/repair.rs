//! `voisin repair`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::Ending;
use crate::cli::args::RepairArgs;
use crate::cli::context::Context;
use crate::cli::render;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, EngineError, is_external};
use voisin_index::VectorIndex;
use voisin_library::{
    LibraryError, LibraryFault, OpenMode, RepairReport, WriterLock, free_name, salvage,
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

/// The error of a library that this is.
fn of_library(error: &anyhow::Error) -> Option<&LibraryError> {
    match error.downcast_ref() {
        Some(EngineError::Library(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// The path of a file that is damaged or no database, and the fault.
fn damage(error: &anyhow::Error) -> Option<(&Path, &str)> {
    match of_library(error)? {
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

/// Tracks whose vectors are faulty, each once.
fn faulty_vectors(faults: &[LibraryFault]) -> BTreeSet<TrackId> {
    let track_of = |fault: &LibraryFault| match fault {
        LibraryFault::Checksum(track)
        | LibraryFault::NotFinite(track)
        | LibraryFault::NotUnit { track, .. }
        | LibraryFault::WrongDimension { track, .. } => Some(*track),
        _ => None,
    };
    faults.iter().filter_map(track_of).collect()
}

/// The next step for faulty vectors that cannot be computed again, the first of which is this track's.
fn next_for_faulty(is_external: bool, track: TrackId) -> String {
    let next = if is_external {
        "import these vectors again (\"voisin add --vectors\" or \"--from-parquet\")"
    } else {
        "put the files back and run \"voisin repair\" again"
    };
    format!("{next}, or remove the tracks (\"voisin remove id:{track}\")")
}

fn repair(context: &Context, args: &RepairArgs) -> anyhow::Result<Ending> {
    // Opened only once: a connection that closes without finding the damage merges the log, which may be that of another
    // database, into the file.
    let first = repair_in_place(context);
    // A file that is no database has no rows to salvage; it is left alone, as it may be the user's.
    let detail = match first.as_ref().err().and_then(of_library) {
        Some(LibraryError::Damaged { detail, .. }) => Some(detail.clone()),
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
    let faulty = faulty_vectors(&report.remaining);
    if engine.library().status()?.vectors > 0 {
        match engine.rebuild_index("requested") {
            // No index takes a faulty vector; the fault is reported below.
            Err(_) if !faulty.is_empty() => context.console.note("index not rebuilt"),
            rebuilt => {
                rebuilt?;
                let lost = engine.index()?.self_check(1)?.lost.len();
                let mode = engine.index()?.stats().mode;
                render::print_line(&format!(
                    "index rebuilt ({mode}), {lost} tracks do not find themselves"
                ))?;
                // Built in memory, but perhaps not stored, as on a full disk.
                kept = VectorIndex::summary(&index).is_ok();
            }
        }
    }
    for finding in &report.remaining {
        context.console.warn(&format!("left as it is: {finding}"));
    }
    if let Some(track) = faulty.first() {
        let model = engine.library().model()?;
        let next = next_for_faulty(model.is_some_and(|model| is_external(&model)), *track);
        context.console.warn(&next);
    }
    Ok(if whole && report.remaining.is_empty() && kept {
        Ending::Fine
    } else {
        Ending::Partial
    })
}
