//! `voisin eval classifier`.

use std::path::Path;

use crate::cli::Ending;
use crate::cli::args::{EvalClassifierArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::lab::{between, line, print_report};
use crate::cli::render::{self, Align, Table, count};
use crate::lab::compare::{Comparison, Score, compare, score};
use crate::lab::html;
use crate::lab::report::Report;

pub(super) fn run(context: &Context, args: &EvalClassifierArgs) -> anyhow::Result<Ending> {
    if let (Some(submission), Some(truth)) = (&args.submission, &args.truth) {
        return scored(submission, truth, args.format);
    }
    let Some((first, others)) = args.runs.split_first() else { return Ok(Ending::Fine) };
    if others.is_empty() {
        let report = Report::read(first)?;
        if let Some(path) = &args.html {
            render::write_file(path, html::page(&report).as_bytes())?;
        }
        match args.format {
            ReportFormat::Json => render::print_json(&report)?,
            ReportFormat::Table => print_report(&report)?,
        }
        return Ok(Ending::Fine);
    }
    let compared: Vec<Comparison> =
        others.iter().map(|other| compare(first, other, args.anyway)).collect::<Result<_, _>>()?;
    for warning in compared.iter().flat_map(|one| &one.warnings) {
        context.console.warn(warning);
    }
    if let Some(path) = &args.html {
        render::write_file(path, html::comparison(&compared).as_bytes())?;
    }
    match args.format {
        ReportFormat::Json => render::print_json(&compared)?,
        ReportFormat::Table => compared.iter().try_for_each(print_comparison)?,
    }
    Ok(Ending::Fine)
}

fn print_comparison(one: &Comparison) -> anyhow::Result<()> {
    let d = one.difference;
    let sure = if d.low > 0.0 || d.high < 0.0 { "" } else { ": no difference that 95 % of draws agree on" };
    line(&format!(
        "{} {:.1} %, {} {:.1} % on {}: {:+.1} points ({:+.1} to {:+.1}), McNemar p {:.3}{sure}",
        one.first,
        100.0 * one.accuracy[0],
        one.second,
        100.0 * one.accuracy[1],
        count(one.tracks as u64, "track"),
        100.0 * d.value,
        100.0 * d.low,
        100.0 * d.high,
        one.p_value
    ))?;
    let columns =
        [("class", Align::Left), ("tracks", Align::Right), ("first", Align::Right), ("second", Align::Right)];
    let mut table = Table::new(&columns);
    for (name, n, a, b) in &one.recall {
        table.row([
            name.clone(),
            n.to_string(),
            format!("{:.1} %", 100.0 * a),
            format!("{:.1} %", 100.0 * b),
        ]);
    }
    table.print()
}

fn scored(submission: &Path, truth: &Path, format: ReportFormat) -> anyhow::Result<Ending> {
    let found: Score = score(submission, truth)?;
    match format {
        ReportFormat::Json => render::print_json(&found)?,
        ReportFormat::Table => {
            line(&format!(
                "{} right of {}; balanced {:.1} %; macro F1 {:.1} %; {} missing, {} unknown",
                between(found.accuracy),
                count(found.rows as u64, "row"),
                100.0 * found.balanced_accuracy,
                100.0 * found.macro_f1,
                found.missing.len(),
                found.unknown.len()
            ))?;
            for (word, titles) in [("missing", &found.missing), ("unknown", &found.unknown)] {
                titles.iter().take(5).try_for_each(|title| line(&format!("{word}: {title}")))?;
            }
        }
    }
    let is_whole = found.missing.is_empty() && found.unknown.is_empty();
    Ok(if is_whole { Ending::Fine } else { Ending::Partial })
}
