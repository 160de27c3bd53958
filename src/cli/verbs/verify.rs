//! `voisin verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, VerifyArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count};
use ndarray::ArrayView1;
use rayon::prelude::*;
use serde::Serialize;
use voisin::{Engine, EngineError, IndexRefresh};
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_library::{DATABASE, FileRecord, Leftovers, Library, LibraryError, Track};

/// Tracks whose neighbours are compared with the exact search.
const SAMPLE: usize = 200;

/// A row of the table: the check, whether it passed, the finding.
type CheckRow = (&'static str, bool, String);

#[derive(Serialize)]
struct VerifyJson {
    ok: bool,
    /// Tracks that the next `add` analyses again.
    without_vector: u64,
    checks: Vec<CheckJson>,
}

#[derive(Serialize)]
struct CheckJson {
    check: &'static str,
    ok: bool,
    found: String,
}

pub(crate) fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    // Read-only: a check changes nothing, not even the cache.
    let (rows, without_vector) = match Library::open_to_read(&dir) {
        Ok(library) => check(Engine::from_library(library), args.deep)?,
        // An emptied one is refused: there is nothing to check.
        Err(LibraryError::Damaged { detail, path })
            if path.metadata().is_ok_and(|f| f.len() > 0) =>
        {
            (vec![("database", false, detail)], 0)
        }
        // Left by a first run that ended before it wrote anything.
        Err(LibraryError::NotFound { dir }) if dir.join(DATABASE).is_file() => {
            let found =
                "empty: its first run ended before it wrote anything; the same command resumes";
            (vec![("database", true, found.to_owned())], 0)
        }
        Err(error) => return Err(error.into()),
    };
    let wrong = rows.iter().any(|(_, fine, _)| !fine);
    let ending = if wrong { Ending::Partial } else { Ending::Fine };
    if args.format == ReportFormat::Json {
        let check = |(name, fine, found): &CheckRow| CheckJson {
            check: name,
            ok: *fine,
            found: found.clone(),
        };
        let json = VerifyJson {
            ok: !wrong,
            without_vector,
            checks: rows.iter().map(check).collect(),
        };
        render::print_json(&json)?;
        return Ok(ending);
    }
    let mut table = Table::new(&[
        ("check", Align::Left),
        ("", Align::Left),
        ("found", Align::Left),
    ]);
    for (name, fine, found) in &rows {
        table.row([*name, if *fine { "ok" } else { "WRONG" }, found.as_str()]);
    }
    table.print()?;
    if without_vector > 0 {
        let tracks = count(without_vector, "track");
        context
            .console
            .note(&format!("{tracks} to be analysed again by the next add"));
    }
    if rows
        .iter()
        .any(|(name, fine, _)| !fine && *name == "database")
    {
        context.console.note(
            "put a copy of the library back, or add the music again (\"voisin add --force\")",
        );
    }
    Ok(ending)
}

fn check(mut engine: Engine, deep: bool) -> anyhow::Result<(Vec<CheckRow>, u64)> {
    let health = engine.library().check()?;
    let mut rows: Vec<CheckRow> = Vec::new();
    let findings = &health.findings;
    rows.push((
        "database",
        findings.is_empty(),
        if findings.is_empty() && engine.library().status()?.tracks == 0 {
            "empty: it has no tracks".to_owned()
        } else if findings.is_empty() {
            format!(
                "sound; {} finite and of unit norm",
                count(health.vectors, "vector")
            )
        } else {
            findings.join("; ")
        },
    ));
    if health.vectors > 0 {
        // Without vectors there is no index to check.
        match check_index(&mut engine) {
            Ok(more) => rows.extend(more),
            // Vectors that no index takes are in the findings above.
            Err(EngineError::Index(error)) => rows.push(("index", false, with_causes(&error))),
            Err(error) => return Err(error.into()),
        }
    }
    if let Err(EngineError::Genre(error)) = engine.genre_head() {
        rows.push(("genre head", false, with_causes(&error)));
    }
    rows.extend(left_behind(&engine.library().leftovers()));
    if deep {
        rows.extend(check_files(&engine)?);
    }
    Ok((rows, health.without_vector))
}

/// Leftovers of killed runs: no damage, and removed by the next run that writes.
fn left_behind(leftovers: &Leftovers) -> Vec<CheckRow> {
    let interrupted: BTreeSet<&PathBuf> = leftovers.interrupted.iter().collect();
    let interrupted = Vec::from_iter(interrupted);
    let temporary = leftovers.temporary.iter().collect();
    [
        (
            "temporary",
            "of a killed run, removed by the next one",
            temporary,
        ),
        ("interrupted", "being read by a killed run", interrupted),
    ]
    .into_iter()
    .filter(|(_, _, files)| !files.is_empty())
    .map(|(check, what, files)| {
        let names: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let files = count(files.len() as u64, "file");
        (check, true, format!("{files} {what}: {}", names.join(", ")))
    })
    .collect()
}

fn check_index(engine: &mut Engine) -> Result<Vec<CheckRow>, EngineError> {
    let refresh = engine.refresh_index()?;
    if let IndexRefresh::Built { reason, unusable } = refresh {
        // What was built is for this run only, without a graph: its answers are exact and slow.
        let next = "the next search that may write builds it";
        return Ok(vec![("index", !unusable, format!("{reason}: {next}"))]);
    }
    let vectors = engine.library().vectors()?;
    let space = engine.space()?.clone();
    let index = engine.index()?;
    // Both are ascending, so equal lists mean that each track occurs once.
    let same = index.ids() == vectors.ids;
    let text = if same {
        "every track once, nothing else"
    } else {
        "differs from the database"
    };
    let mut rows = vec![("index", same, format!("{text} ({refresh})"))];
    let differs = |(id, vector): &(&TrackId, ArrayView1<'_, f32>)| {
        !index
            // Centred, as the index has centred vectors.
            .is_of(**id, &space.centre(&vector.to_vec()))
            .unwrap_or(false)
    };
    let pairs: Vec<_> = vectors.ids.iter().zip(vectors.values.rows()).collect();
    let other = pairs.par_iter().filter(|pair| differs(pair)).count();
    rows.push((
        "index vectors",
        other == 0,
        if other == 0 {
            "those of the database".to_owned()
        } else {
            // Its checksums are right, so that nothing else replaces it.
            let next = "if that is sound, delete index.bin: the next search builds it again";
            let other = count(other as u64, "vector");
            format!("{other} not as in the database; {next}")
        },
    ));
    let checked = index.self_check(SAMPLE.min(vectors.ids.len()))?;
    rows.push((
        "self-recall",
        checked.lost.is_empty(),
        format!(
            "{} of {} find themselves",
            checked.items - checked.lost.len(),
            checked.items
        ),
    ));
    rows.push((
        "recall@10",
        // Slightly below the 0.995 that indexes are tuned to, as this is another sample.
        checked.recall_at_10 >= 0.99,
        format!(
            "{:.4} against the exact search, {}",
            checked.recall_at_10,
            count(checked.sample as u64, "track")
        ),
    ));
    Ok(rows)
}

enum Reread {
    Same,
    /// It has no file any more.
    Missing,
    /// Size or time differ from the stored ones, which add handles.
    Changed,
    /// Size and time are as stored, but the audio differs or cannot be read.
    Damaged(String),
}

fn reread(track: &Track) -> Reread {
    // Any existing file, as copies of a recording have the same audio.
    let Some(file) = track.files.iter().find(|file| file.record.path.exists()) else {
        return Reread::Missing;
    };
    let path = &file.record.path;
    let is_unchanged = FileRecord::read(path)
        .is_ok_and(|now| (now.size, now.mtime_ns) == (file.record.size, file.record.mtime_ns));
    let reason = match voisin_audio::probe(path) {
        // The content decides, not size and time, which change if a file is restored from a copy.
        Ok(info) if info.content == track.audio.content => return Reread::Same,
        _ if !is_unchanged => return Reread::Changed,
        Ok(_) => "its audio differs from the one that was analysed".to_owned(),
        Err(error) => with_causes(&error),
    };
    Reread::Damaged(format!("{}: {reason}", path.display()))
}

fn check_files(engine: &Engine) -> anyhow::Result<Vec<CheckRow>> {
    let tracks = engine.library().tracks()?;
    // In parallel, as reading files is most of the work.
    let found: Vec<Reread> = tracks.par_iter().map(reread).collect();
    let (mut same, mut missing, mut changed, mut damaged) = (0, 0, 0, Vec::new());
    for one in found {
        match one {
            Reread::Same => same += 1,
            Reread::Missing => missing += 1,
            Reread::Changed => changed += 1,
            Reread::Damaged(reason) => damaged.push(reason),
        }
    }
    let mut text = format!("{} read again and unchanged", count(same, "file"));
    if changed > 0 {
        text += &format!(", {changed} changed since (voisin add)");
    }
    if let Some(first) = damaged.first() {
        let damaged = damaged.len();
        text += &format!(", {damaged} damaged on the disk, the first {first}");
    }
    let mut rows = vec![("files", damaged.is_empty(), text)];
    if missing > 0 {
        let tracks = count(missing, "track");
        let text = format!("{tracks} without a file (voisin remove --missing)");
        rows.push(("gone", false, text));
    }
    Ok(rows)
}
