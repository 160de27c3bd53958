//! `voisin lab data`.

use std::sync::atomic::Ordering;

use crate::cli::Ending;
use crate::cli::args::{DatasetArgs, ReportFormat, check_csv_ending};
use crate::cli::context::Context;
use crate::cli::lab::{interrupted, line, open, with_meter};
use crate::cli::outputs::output_file;
use crate::cli::render::{self, Align, Table, count, count_with};
use voisin_base::output::OutputTarget;
use voisin_lab::inspect::{Overview, canonical_table, inspect, overview};

/// Lines of each kind that are printed; `--format json` and `--output` have all.
const FIRST: usize = 5;

pub(crate) fn run(context: &Context, args: &DatasetArgs) -> anyhow::Result<Ending> {
    // `genre` is the default of every kind of data set.
    let source = if args.label == "genre" {
        args.data.clone()
    } else {
        args.data.clone().with_label(&args.label)
    };
    let table = args
        .output
        .as_ref()
        .map(|path| {
            check_csv_ending(path)?;
            output_file(context, path)
        })
        .transpose()?;
    let set = open(context, &source)?;
    let stop = context.stop_on_ctrl_c()?;
    let found = with_meter(context, set.items.len(), "decoded", |progress| {
        inspect(&set, progress, &stop)
    });
    // Checked before the result, which would be the interruption's error.
    if stop.load(Ordering::Relaxed) {
        return Ok(interrupted(context));
    }
    let found = found?;
    let summary = overview(&set, &found, &args.split, args.random.random_seed)?;
    // The notes of reading the set were printed before.
    for note in summary.notes.iter().skip(set.notes.len()) {
        context.console.note(note);
    }
    if let Some(table) = &table {
        render::write(table, canonical_table(&found))?;
    }
    match args.format {
        // The table alone, as both would mix on standard output.
        _ if table.as_ref().is_some_and(OutputTarget::is_standard) => {}
        ReportFormat::Json => render::print_json(&summary)?,
        ReportFormat::Table => print(&summary)?,
    }
    Ok(Ending::partial_if(!summary.failures.is_empty()))
}

fn print(summary: &Overview) -> anyhow::Result<()> {
    let genres = count_with(summary.classes.len() as u64, "class", "classes");
    let mut parts = vec![format!(
        "{}, {genres}",
        count(summary.tracks as u64, "track")
    )];
    parts.push(format!("{} that cannot be used", summary.failures.len()));
    if summary.seconds > 0.0 {
        parts.push(format!("{:.2} hours", summary.seconds / 3600.0));
    }
    line(&parts.join("; "))?;
    if let Some(split) = &summary.split {
        line(split)?;
    }
    if summary.unlabelled > 0 {
        line(&format!(
            "{} without a label",
            count(summary.unlabelled as u64, "track")
        ))?;
    }
    for (key, reason) in summary.failures.iter().take(FIRST) {
        line(&format!("failed: {key}: {reason}"))?;
    }
    if summary.failures.len() > FIRST {
        line(&format!(
            "… and {} more; --output and --format json have all",
            summary.failures.len() - FIRST
        ))?;
    }
    for (name, n) in &summary.licences {
        line(&format!("licence: {name}, {}", count(*n as u64, "track")))?;
    }
    let right = ["tracks", "artists", "training", "validation", "test"];
    let columns: Vec<(&str, Align)> = std::iter::once(("class", Align::Left))
        .chain(right.map(|name| (name, Align::Right)))
        .collect();
    let mut table = Table::new(&columns);
    for class in &summary.classes {
        let mut row = vec![
            class.name.clone(),
            class.tracks.to_string(),
            class.artists.to_string(),
        ];
        row.extend(class.parts.map(|n| n.to_string()));
        table.row(row);
    }
    table.print()
}
