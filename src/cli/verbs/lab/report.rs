//! `voisin lab report`.

use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::args::{EvalClassifierArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::lab::{line, page_place, show_page};
use crate::cli::render::{self, count};
use voisin_lab::LabError;
use voisin_lab::compare::{Comparison, Score, compare, score};
use voisin_lab::pages::{self, between};
use voisin_lab::report::Report;

pub(super) fn run(context: &Context, args: &EvalClassifierArgs) -> anyhow::Result<Ending> {
    if let (Some(submission), Some(truth)) = (&args.submission, &args.truth) {
        return scored(submission, truth, args.format);
    }
    let place = page_place(context, args.html.as_deref())?;
    // Clap requires a run unless there is a submission.
    let Some((first, others)) = args.runs.split_first() else {
        return Ok(Ending::Fine);
    };
    if others.is_empty() {
        let report = Report::read(first)?;
        show_page(&pages::run(&report), &report, args.format, place.as_ref())?;
        return Ok(Ending::Fine);
    }
    let compared: Vec<Comparison> = others
        .iter()
        .map(|other| compare(first, other))
        .collect::<Result<_, _>>()?;
    let name = |run: &PathBuf| {
        run.file_name()
            .unwrap_or(run.as_os_str())
            .to_string_lossy()
            .into_owned()
    };
    let runs = args
        .runs
        .iter()
        .map(|run| Ok((name(run), Report::read(run)?)));
    let runs = runs.collect::<Result<Vec<_>, LabError>>()?;
    show_page(
        &pages::comparison(&compared, &runs),
        &compared,
        args.format,
        place.as_ref(),
    )?;
    Ok(Ending::Fine)
}

fn scored(submission: &Path, truth: &Path, format: ReportFormat) -> anyhow::Result<Ending> {
    let found: Score = score(submission, truth)?;
    match format {
        ReportFormat::Json => render::print_json(&found)?,
        ReportFormat::Table => {
            line(&format!(
                "{} right of {}; macro F1 {:.1} %; {} missing, {} unknown",
                between(found.accuracy),
                count(found.rows as u64, "row"),
                100.0 * found.macro_f1,
                found.missing.len(),
                found.unknown.len()
            ))?;
            for (word, titles) in [("missing", &found.missing), ("unknown", &found.unknown)] {
                titles
                    .iter()
                    .take(5)
                    .try_for_each(|title| line(&format!("{word}: {title}")))?;
            }
        }
    }
    // A submission with missing rows is scored, but the exit code is 1.
    let is_whole = found.missing.is_empty() && found.unknown.is_empty();
    Ok(Ending::partial_if(!is_whole))
}
