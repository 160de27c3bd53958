//! `voisin verify` and `voisin repair`.

use voisin::engine::Engine;
use voisin::index::SearchMode;
use voisin::library::{Library, LibraryError, OpenMode, salvage};

use super::Ending;
use super::args::VerifyArgs;
use super::context::Context;
use super::render::{self, Align, Table, count};

/// Tracks whose neighbours are compared with the exact search.
const SAMPLE: usize = 200;

pub(crate) fn verify(context: &Context, args: &VerifyArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let health = engine.library().check(true)?;
    let mut rows: Vec<(&str, bool, String)> = Vec::new();
    let findings: Vec<String> = health.findings.iter().map(ToString::to_string).collect();
    rows.push((
        "database",
        findings.is_empty(),
        if findings.is_empty() {
            format!("sound; {} finite and of unit norm", count(health.vectors, "vector"))
        } else {
            findings.join("; ")
        },
    ));
    if health.vectors > 0 {
        let refresh = engine.refresh_index()?;
        let ids = engine.library().vectors()?.ids;
        let index = engine.index()?;
        let same = index.tracks() == ids;
        let text = if same { "every track once, nothing else" } else { "differs from the database" };
        rows.push(("index", same, format!("{text} ({refresh})")));
        let checked = index.self_check(SAMPLE.min(ids.len()))?;
        rows.push((
            "self-recall",
            checked.lost.is_empty(),
            format!("{} of {} find themselves", checked.tracks - checked.lost.len(), checked.tracks),
        ));
        rows.push((
            "recall@10",
            checked.recall_at_10 >= 0.99,
            format!(
                "{:.4} against the exact search, {}",
                checked.recall_at_10,
                count(checked.sample as u64, "track")
            ),
        ));
    }
    if args.deep {
        rows.push(deep(context, &engine)?);
    }
    let mut table = Table::new(&[("check", Align::Left), ("", Align::Left), ("found", Align::Left)]);
    for (name, fine, found) in &rows {
        table.row([*name, if *fine { "ok" } else { "WRONG" }, found.as_str()]);
    }
    table.print()?;
    if health.without_vector > 0 {
        context.console.note(&format!(
            "{} to be listened to again by the next add",
            count(health.without_vector, "track")
        ));
    }
    let wrong = rows.iter().any(|(_, fine, _)| !fine);
    if wrong {
        context.console.note("run \"voisin repair\"");
    }
    Ok(if wrong { Ending::Partial } else { Ending::Fine })
}

/// Listens to a sample of tracks again and compares.
fn deep(context: &Context, engine: &Engine) -> anyhow::Result<(&'static str, bool, String)> {
    const FILES: usize = 20;
    let embedder = context.embedder(Some(engine.library()))?;
    let tracks = engine.library().tracks()?;
    let step = tracks.len().div_ceil(FILES).max(1);
    let (mut compared, mut worst, mut missing) = (0u64, 1.0f32, 0u64);
    for track in tracks.iter().step_by(step) {
        let Some(file) = track.files.iter().find(|file| file.record.path.is_file()) else {
            missing += 1;
            continue;
        };
        let info = voisin::audio::probe(&file.record.path)?;
        if info.content != track.audio.content {
            // Changed since: that is for add to find, not damage.
            missing += 1;
            continue;
        }
        let again = embedder.embed(&file.record.path, &info, engine.windows_setting()?, None)?;
        if let Some(stored) = engine.library().vector(track.id)? {
            let cosine: f32 = stored.iter().zip(again.vector.as_slice()).map(|(a, b)| a * b).sum();
            worst = worst.min(cosine);
            compared += 1;
        }
    }
    let text = format!(
        "{} listened to again, lowest cosine {worst:.5}, {missing} missing or changed",
        count(compared, "track")
    );
    Ok(("vectors", worst > 0.999, text))
}

pub(crate) fn repair(context: &Context) -> anyhow::Result<Ending> {
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
    let mut engine = Engine::open(&dir, OpenMode::ReadWrite)?;
    let _lock = engine.library().lock_for_writing()?;
    let report = engine.library_mut().repair()?;
    for (n, what) in [
        (report.renormalised, "vector scaled to unit norm"),
        (report.repooled, "vector made again from its windows"),
        (report.to_embed, "vector taken out: its file is there, run add"),
        (report.dangling_rows, "row removed that belonged to nothing"),
        (report.counters, "counter set right"),
    ] {
        if n > 0 {
            render::print_line(&format!("{n} {what}"))?;
        }
    }
    if engine.library().status()?.vectors > 0 {
        engine.rebuild_index("asked for")?;
        let lost = engine.index()?.self_check(1)?.lost.len();
        let mode = engine.index()?.stats().mode;
        let how = if mode == SearchMode::Hnsw { "graph" } else { "scan" };
        render::print_line(&format!("index built anew ({how}), {lost} tracks not found by themselves"))?;
    }
    for finding in &report.remaining {
        context.console.warn(&format!("left as it is: {finding}"));
    }
    Ok(if report.remaining.is_empty() { Ending::Fine } else { Ending::Partial })
}
