//! `voisin verify`.

use std::path::PathBuf;

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, VerifyArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, advised, count};
use ndarray::ArrayView1;
use rayon::prelude::*;
use voisin_base::address;
use voisin_base::text::with_causes;
use voisin_base::track::{ContentKind, TrackId};
use voisin_engine::{Engine, EngineError, IndexRefresh, WindowPlan};
use voisin_library::{DATABASE, FileRecord, Leftovers, Library, LibraryError, Track};
use voisin_music::cue::Place;
use voisin_questions::answers::checks::{CheckJson, VerifyJson};

/// The row of files that are not there: nothing that a repair can mend.
const GONE: &str = "gone";
/// Tracks whose neighbours are compared with the exact search.
const SAMPLE: usize = 200;

/// A row of the table: what was checked, whether it is sound, what was found.
type CheckRow = (&'static str, bool, String);

pub(crate) fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    // For reading: a check changes nothing, not even the cache.
    let (rows, without_vector) = match Library::open_to_read(&dir) {
        Ok(library) => look(context, Engine::from_library(library), args.deep)?,
        Err(LibraryError::Damaged { detail, .. }) => (vec![("database", false, detail)], 0),
        // As the first run leaves it that is ended before it wrote anything; one of which more is left was emptied.
        Err(LibraryError::NotFound { dir }) if dir.join(DATABASE).is_file() => {
            let found =
                "empty: its first run was ended before it wrote anything; the same command goes on";
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
            .note(&format!("{tracks} to be listened to again by the next add"));
    }
    if rows.iter().any(|(name, fine, _)| !fine && *name != GONE) {
        context.console.note("run \"voisin repair\"");
    }
    Ok(ending)
}

fn look(context: &Context, mut engine: Engine, deep: bool) -> anyhow::Result<(Vec<CheckRow>, u64)> {
    let health = engine.library().check(true)?;
    let mut rows: Vec<CheckRow> = Vec::new();
    let findings: Vec<String> = health.findings.iter().map(ToString::to_string).collect();
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
        // An index is a cache of vectors; without any there is none to look at.
        match look_at_index(&mut engine) {
            Ok(more) => rows.extend(more),
            // Vectors that no index takes are in the findings above.
            Err(EngineError::Index(error)) => rows.push(("index", false, with_causes(&error))),
            Err(EngineError::Library(error @ LibraryError::DamagedTrack { .. })) => {
                rows.push(("index", false, format!("not compared: {}", advised(&error))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Err(EngineError::Genre(error)) = engine.genres().genre_head() {
        rows.push(("genre head", false, advised(&error)));
    }
    rows.extend(left_behind(&engine.library().files().leftovers()));
    if deep {
        rows.extend(listen_again(context, &engine)?);
    }
    Ok((rows, health.without_vector))
}

/// Leftovers of killed runs: no damage, and removed by the next run that writes.
fn left_behind(leftovers: &Leftovers) -> Vec<CheckRow> {
    const NAMED: usize = 3;
    let named = |paths: &[PathBuf]| {
        let names: Vec<String> = paths
            .iter()
            .take(NAMED)
            .map(|path| path.display().to_string())
            .collect();
        let more = if paths.len() > NAMED { ", …" } else { "" };
        format!("{}{more}", names.join(", "))
    };
    let mut rows = Vec::new();
    if !leftovers.temporary.is_empty() {
        let files = count(leftovers.temporary.len() as u64, "file");
        let text = format!(
            "{files} of a killed run, removed by the next one: {}",
            named(&leftovers.temporary)
        );
        rows.push(("temporary", true, text));
    }
    if !leftovers.in_hand.is_empty() {
        let files = count(leftovers.in_hand.len() as u64, "file");
        let text = format!(
            "{files} being read by a killed run: {}",
            named(&leftovers.in_hand)
        );
        rows.push(("in hand", true, text));
    }
    rows
}

fn look_at_index(engine: &mut Engine) -> Result<Vec<CheckRow>, EngineError> {
    let refresh = engine.refresh_index()?;
    let vectors = engine.library().vectors()?;
    let space = engine.space()?.clone();
    let index = engine.index()?;
    let unusable = matches!(refresh, IndexRefresh::Built { unusable: true, .. });
    // Both ascend, so equal lists mean that each track is there once.
    let same = index.ids() == vectors.ids;
    let text = if same {
        "every track once, nothing else"
    } else {
        "differs from the database"
    };
    let mut rows = vec![("index", same && !unusable, format!("{text} ({refresh})"))];
    let differs = |(id, vector): &(&TrackId, ArrayView1<'_, f32>)| {
        !index
            // Centred anew from the database: the index has the vectors as they are compared.
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
            format!("{} not as in the database", count(other as u64, "vector"))
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
        // A little below the 0.995 that indexes are tuned to, as this sample is another.
        checked.recall_at_10 >= 0.99,
        format!(
            "{:.4} against the exact search, {}",
            checked.recall_at_10,
            count(checked.sample as u64, "track")
        ),
    ));
    Ok(rows)
}

/// The result of reading a track's file again.
enum Again {
    /// The same audio.
    Same(PathBuf),
    /// No file of it is there.
    Missing,
    /// Its file is in an object store, from where a check fetches nothing.
    Remote,
    /// Size or time differ from what was stored: for add to find.
    Changed,
    /// Size and time are as stored, but the audio is another or cannot be read.
    Damaged(PathBuf, String),
}

/// Reads every file again, and listens to a sample of them.
fn listen_again(context: &Context, engine: &Engine) -> anyhow::Result<Vec<CheckRow>> {
    const LISTENED: usize = 20;
    let tracks = engine.library().tracks()?;
    let kind = engine.library().settings().content_kind()?;
    let read = |track: &Track| {
        // The first that is there: copies of a recording have the same audio.
        let Some(file) = track
            .files
            .iter()
            .find(|file| Place::exists(&file.record.path))
        else {
            let mut paths = track.files.iter().map(|file| &file.record.path);
            return if paths.any(|path| address::scheme(path).is_some()) {
                Again::Remote
            } else {
                Again::Missing
            };
        };
        let path = &file.record.path;
        let unchanged = FileRecord::read(path)
            .is_ok_and(|now| (now.size, now.mtime_ns) == (file.record.size, file.record.mtime_ns));
        match voisin_audio::probe_as(path, kind) {
            // The content decides, whatever size and time say: a file that was copied back is as it
            // was.
            Ok(info) if info.content == track.audio.content => Again::Same(path.clone()),
            _ if !unchanged => Again::Changed,
            Ok(_) => Again::Damaged(
                path.clone(),
                "its audio is not what was listened to".to_owned(),
            ),
            Err(error) => Again::Damaged(path.clone(), with_causes(&error)),
        }
    };
    // In parallel, for reading files is most of the work.
    let found: Vec<Again> = tracks.par_iter().map(read).collect();
    let mut same = 0_u64;
    let mut missing = 0_u64;
    let mut remote = 0_u64;
    let mut changed = 0_u64;
    let mut damaged = Vec::new();
    for one in &found {
        match one {
            Again::Same(_) => same += 1,
            Again::Missing => missing += 1,
            Again::Remote => remote += 1,
            Again::Changed => changed += 1,
            Again::Damaged(path, reason) => damaged.push((path, reason)),
        }
    }
    let mut text = format!("{} read again and as they were", count(same, "file"));
    if kind == ContentKind::Quick {
        text += " in size, ends and samples (--identity quick)";
    }
    if remote > 0 {
        text += &format!(", {remote} at addresses not read");
    }
    if changed > 0 {
        text += &format!(", {changed} changed since (voisin add)");
    }
    if let Some((path, reason)) = damaged.first() {
        let path = path.display();
        text += &format!(
            ", {} damaged on the disk, the first {path}: {reason}",
            damaged.len()
        );
    }
    let mut rows = vec![("files", damaged.is_empty(), text)];
    if missing > 0 {
        let text = format!(
            "{} without a file (voisin remove --missing)",
            count(missing, "track")
        );
        rows.push((GONE, false, text));
    }

    let same: Vec<(&Track, &PathBuf)> = tracks
        .iter()
        .zip(&found)
        .filter_map(|(track, found)| match found {
            Again::Same(path) => Some((track, path)),
            _ => None,
        })
        .collect();
    if same.is_empty() {
        return Ok(rows);
    }
    let embedder = context.embedder(Some(engine.library()))?;
    let mut compared = 0_u64;
    let mut worst = 1.0_f32;
    let mut failed = Vec::new();
    // Evenly over the library, which is in the order in which it was added.
    for (track, path) in same.iter().step_by(same.len().div_ceil(LISTENED)) {
        // Vectors that are missing or damaged are told of elsewhere; windows may have been chosen otherwise for an older track.
        let (Ok(Some(stored)), Ok(Some(windows))) = (
            engine.library().vector(track.id),
            engine.library().windows(track.id),
        ) else {
            continue;
        };
        let again = voisin_audio::probe_as(path, kind)
            .map_err(EngineError::from)
            .and_then(|info| {
                embedder.embed(path, &info, plan(engine, windows.starts.len())?, None)
            });
        match again {
            Ok(again) if again.starts.len() == windows.starts.len() => {
                // Both are of length 1, so the product is the cosine.
                let cosine: f32 = stored
                    .iter()
                    .zip(again.vector.as_slice())
                    .map(|(a, b)| a * b)
                    .sum();
                worst = worst.min(cosine);
                compared += 1;
            }
            Ok(_) => {}
            Err(error) => failed.push(with_causes(&error)),
        }
    }
    let mut text = format!(
        "{} listened to again, lowest cosine {worst:.5}",
        count(compared, "track")
    );
    if let Some(first) = failed.first() {
        text += &format!(", {} failed: {first}", failed.len());
    }
    // Devices and instruction sets differ in the last digits, and bf16 by less than 0.001.
    rows.push(("vectors", worst > 0.999 && failed.is_empty(), text));
    Ok(rows)
}

/// The windows that a track with `n` of them was listened to with.
fn plan(engine: &Engine, n: usize) -> Result<WindowPlan, EngineError> {
    Ok(match engine.windows_setting()? {
        // More windows than the setting gives: it was added with all of them.
        WindowPlan::Spread(wanted) if n > wanted => WindowPlan::All,
        other => other,
    })
}
