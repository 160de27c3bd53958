//! `voisin heard`.

use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::args::{HeardArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count, count_with};
use anyhow::{Context as _, bail};
use voisin_library::{Library, OpenMode};
use voisin_players::heard::take_listens;
use voisin_questions::answers::listening::ListenerJson;

pub(crate) fn run(context: &Context, args: &HeardArgs) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    if let Some(listener) = &args.forget {
        let forgotten = Library::open(&dir, OpenMode::ReadWrite)?
            .history_mut()
            .forget_listener(listener)?;
        if forgotten == 0 {
            bail!("no history of {listener}: \"voisin heard\" lists the listeners");
        }
        context.console.note(&format!(
            "{} of {listener} deleted",
            count_with(forgotten, "play or opinion", "plays and opinions")
        ));
        return Ok(Ending::Fine);
    }
    if args.file.is_empty() {
        return list(context, args);
    }
    // All files are read before the first is imported: one that cannot be read leaves the history
    // unchanged.
    let mut files = Vec::new();
    for path in &args.file {
        for path in exported(path)? {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((path.display().to_string(), bytes));
        }
    }
    let mut library = Library::open(&dir, OpenMode::ReadWrite)?;
    let report = take_listens(&mut library, &args.listener, &files)?;
    for line in &report.named {
        context.console.warn(line);
    }
    let more = report.malformed.saturating_sub(report.named.len());
    if more > 0 {
        context
            .console
            .warn(&format!("{} more", count(more as u64, "malformed line")));
    }
    match args.format {
        ReportFormat::Json => render::print_json(&report)?,
        ReportFormat::Table => context.console.note(&format!(
            "{} and {} of {}; {} of songs that are not in the library",
            count(report.plays as u64, "play"),
            count(report.opinions as u64, "opinion"),
            args.listener,
            report.unknown
        )),
    }
    Ok(if report.malformed == 0 {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// A file, or all files of an unpacked export.
fn exported(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| {
                ["jsonl", "json", "csv"].iter().any(|one| extension == *one)
            }) {
                found.push(entry.path());
            }
        }
    }
    if found.is_empty() {
        bail!(
            "{}: expected an unpacked export of ListenBrainz or Last.fm, found no .jsonl, .json or .csv file below it",
            path.display()
        );
    }
    // The system lists files in any order, but reports should not depend on it.
    found.sort();
    Ok(found)
}

fn list(context: &Context, args: &HeardArgs) -> anyhow::Result<Ending> {
    let known = Library::open_to_read(&context.library_dir())?
        .history()
        .listeners()?;
    if args.format == ReportFormat::Json {
        let one = |(listener, plays, opinions)| ListenerJson {
            listener,
            plays,
            opinions,
        };
        render::print_json(&known.into_iter().map(one).collect::<Vec<_>>())?;
        return Ok(Ending::Fine);
    }
    if known.is_empty() {
        context.console.note(
            "no listening history yet: players report plays through \"voisin serve --subsonic\", or run \"voisin heard EXPORT\"",
        );
        return Ok(Ending::Partial);
    }
    let columns = [
        ("listener", Align::Left),
        ("plays", Align::Right),
        ("opinions", Align::Right),
    ];
    let mut table = Table::new(&columns);
    known.into_iter().for_each(|(name, plays, opinion)| {
        table.row([name, plays.to_string(), opinion.to_string()]);
    });
    table.print()?;
    Ok(Ending::Fine)
}
