//! `voisin eval index`: recall and speed of a database's index at several widths, beside the index on this disk.

use std::time::Instant;

use anyhow::bail;
use voisin_postgres::{Effort, Postgres, TrackStore};

use super::place;
use crate::cli::Ending;
use crate::cli::args::{EvalIndexArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count};
use voisin_base::text::with_causes;
use voisin_engine::Engine;
use voisin_index::Neighbor;
use voisin_library::{Library, TrackFilter};
use voisin_questions::answers::database::{EvalIndexJson, SearchQuality};

/// Number of neighbours compared.
const NEIGHBOURS: usize = 10;

pub(crate) fn run(context: &Context, args: &EvalIndexArgs) -> anyhow::Result<Ending> {
    let Some(place) = place(args.backend.backend.as_deref())? else {
        bail!(
            "expected the address of a database: --backend postgres://USER@HOST/DATABASE, or VOISIN_BACKEND"
        );
    };
    let mut store = Postgres::open(&place)?;
    let (tracks, _) = store.size()?;
    let queries = store.sample(args.queries as usize)?;
    if queries.is_empty() {
        bail!("{place} holds no tracks: \"voisin push\" sends some");
    }
    let filter = TrackFilter {
        genres: args.genre.clone(),
        ..TrackFilter::default()
    };
    // The truth comes from the same database, which compares all of its vectors as it stores them.
    let (truth, exact) = measure(&mut store, &queries, &filter, Effort::Exact, &[])?;
    if truth.iter().all(Vec::is_empty) {
        bail!(
            "{place}: expected tracks of {}, found none",
            args.genre.join(" or ")
        );
    }
    let mut widths = Vec::new();
    for &width in &args.widths {
        let (_, quality) = measure(&mut store, &queries, &filter, Effort::Width(width), &truth)?;
        widths.push(SearchQuality {
            width: Some(width),
            ..quality
        });
    }
    // A library here can be compared only if it has the same vectors; none at all is no error.
    let local = match Library::open_to_read(&context.library_dir()) {
        Ok(library)
            if library
                .model()?
                .is_some_and(|model| model.fingerprint == store.model().fingerprint) =>
        {
            let mut engine = Engine::from_library(library);
            // Loaded before the measurement, as reading the file is no part of a query.
            engine.index()?;
            let (truth, _) = measure(&mut engine, &queries, &filter, Effort::Exact, &[])?;
            Some(measure(&mut engine, &queries, &filter, Effort::Index, &truth)?.1)
        }
        _ => None,
    };
    // The narrowest, which is the fastest, in any order of --widths.
    let reached = widths
        .iter()
        .filter(|quality| quality.recall >= f64::from(args.recall.get()))
        .filter_map(|quality| quality.width)
        .min();
    let mut kept = reached;
    if let Some(width) = kept.filter(|_| keeps(args)) {
        // No error: the figures are valid without the right to write.
        if let Err(error) = store.set_width(width) {
            let reason = with_causes(&error);
            context
                .console
                .warn(&format!("the width of {width} is not stored: {reason}"));
            kept = None;
        }
    } else if !store.shards().is_empty() {
        // The measurement changed the options of the shards' servers.
        store.set_width(store.width())?;
    }
    let json = EvalIndexJson {
        tracks,
        queries: queries.len(),
        exact,
        widths,
        local,
        kept,
    };
    match args.format {
        ReportFormat::Json => render::print_json(&json)?,
        ReportFormat::Table => print(context, args, &json, reached)?,
    }
    Ok(if kept.is_some() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// Whether to store the width, which is for all searches, so not one measured with a filter.
fn keeps(args: &EvalIndexArgs) -> bool {
    !args.dry_run && args.genre.is_empty()
}

/// Searches the nearest of each query, and compares them with the truth; without one, recall is 1.
fn measure(
    store: &mut dyn TrackStore,
    queries: &[Vec<f32>],
    filter: &TrackFilter,
    effort: Effort,
    truth: &[Vec<Neighbor>],
) -> anyhow::Result<(Vec<Vec<Neighbor>>, SearchQuality)> {
    let mut times = Vec::new();
    let mut answers = Vec::new();
    let mut hits = 0;
    let mut relevant = 0;
    for (i, query) in queries.iter().enumerate() {
        let start = Instant::now();
        let found = store.nearest(query, NEIGHBOURS, filter, effort)?;
        times.push(1e3 * start.elapsed().as_secs_f64());
        // Filters may leave fewer than ten, so recall is over the expected tracks, not over ten.
        let expected = truth.get(i).unwrap_or(&found);
        relevant += expected.len();
        hits += expected
            .iter()
            .filter(|one| found.iter().any(|other| other.id == one.id))
            .count();
        answers.push(found);
    }
    // At least one query: `run` refuses a database without tracks.
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let quality = SearchQuality {
        width: None,
        recall: hits as f64 / relevant.max(1) as f64,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        queries_per_second: 1e3 / mean,
    };
    Ok((answers, quality))
}

/// - `reached`: the width that reaches the required recall, stored or not
fn print(
    context: &Context,
    args: &EvalIndexArgs,
    json: &EvalIndexJson,
    reached: Option<u32>,
) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("search", Align::Left),
        ("recall@10", Align::Right),
        ("p50 ms", Align::Right),
        ("p99 ms", Align::Right),
        ("a second", Align::Right),
    ]);
    let mut row = |name: String, quality: &SearchQuality| {
        table.row([
            name,
            format!("{:.4}", quality.recall),
            format!("{:.2}", quality.p50_ms),
            format!("{:.2}", quality.p99_ms),
            format!("{:.0}", quality.queries_per_second),
        ]);
    };
    row("all tracks".to_owned(), &json.exact);
    for quality in &json.widths {
        row(
            format!("width {}", quality.width.unwrap_or_default()),
            quality,
        );
    }
    if let Some(local) = &json.local {
        row("this disk".to_owned(), local);
    }
    table.print()?;
    let tracks = count(json.tracks, "track");
    context.console.note(&match (json.kept, reached) {
        (Some(width), _) if keeps(args) => {
            format!("{tracks}; width {width} is stored for all searches there")
        }
        (Some(width), _) => format!("{tracks}; width {width} would be stored"),
        // The reason why it is not stored was reported already.
        (None, Some(width)) => format!("{tracks}; width {width} reaches that recall"),
        (None, None) => format!(
            "{tracks}; no width reaches a recall of {}: try larger ones, or build the index with more connections",
            args.recall
        ),
    });
    Ok(())
}
