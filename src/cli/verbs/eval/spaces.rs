//! `voisin eval retrieval --spaces`: compares vector spaces of a library.

use std::collections::BTreeSet;

use anyhow::bail;
use ndarray::{Array2, ArrayView2, Axis};
use serde_json::json;

use super::labelled;
use crate::cli::Ending;
use crate::cli::args::RetrievalArgs;
use crate::cli::context::Context;
use crate::cli::lab::{PagePlace, show_page};
use crate::cli::render::count;
use voisin_base::track::TrackId;
use voisin_engine::LibrarySpace;
use voisin_lab::document::Document;
use voisin_lab::eval::retrieval::{RetrievalOptions, compare_spaces};
use voisin_lab::report::Interval;

pub(super) fn run(context: &Context, args: &RetrievalArgs) -> anyhow::Result<Ending> {
    let names: BTreeSet<&String> = args.spaces.iter().collect();
    // A space compared with itself would always be a tie.
    if names.len() < args.spaces.len() || names.len() < 2 {
        bail!("--spaces: expected two names or more, each once, separated by commas");
    }
    let place = PagePlace::new(args.output.report.as_deref(), args.output.force)?;
    let mut sets = Vec::new();
    for name in &args.spaces {
        let engine = context.open_engine_of(Some(name))?;
        let set = labelled(&engine, &args.output)?;
        let vectors = LibrarySpace::of_library(engine.library())?.centre_rows(set.vectors.clone());
        sets.push((engine.model()?, set, vectors));
    }
    // The same queries and candidates for each: tracks that all spaces have.
    let (_, first, _) = &sets[0];
    let mut common: BTreeSet<TrackId> = first.ids.iter().copied().collect();
    for (_, set, _) in &sets[1..] {
        let ids: BTreeSet<TrackId> = set.ids.iter().copied().collect();
        common.retain(|id| ids.contains(id));
    }
    let rows = |ids: &[TrackId]| -> Vec<usize> {
        (0..ids.len())
            .filter(|&row| common.contains(&ids[row]))
            .collect()
    };
    // Labels and artists are those of the library, so those of the first space apply to all.
    let kept = rows(&first.ids);
    let labels: Vec<usize> = kept.iter().map(|&row| first.labels[row]).collect();
    let artists: Vec<Option<usize>> = kept.iter().map(|&row| first.artists[row]).collect();
    let vectors: Vec<Array2<f32>> = sets
        .iter()
        .map(|(_, set, vectors)| vectors.select(Axis(0), &rows(&set.ids)))
        .collect();
    let views: Vec<ArrayView2<'_, f32>> = vectors.iter().map(|rows| rows.view()).collect();
    let options = RetrievalOptions {
        k: args.neighbours as usize,
        standardise: args.standardise,
    };
    let compared = compare_spaces(&views, &labels, &artists, options)?;

    let mut page = Document::new("Neighbours and genres, by space");
    page.text(format!(
        "{} that all of these spaces have, of {}",
        count(labels.len() as u64, "labelled track"),
        count(labels.iter().collect::<BTreeSet<_>>().len() as u64, "genre")
    ));
    let spaces = args.spaces.iter().zip(&sets).zip(&compared);
    let table = spaces.clone().map(|((name, (model, ..)), figures)| {
        vec![
            name.clone(),
            model.name.clone(),
            figures.precision.to_string(),
            figures.average_precision.to_string(),
            figures.difference.map_or_else(String::new, render_interval),
        ]
    });
    let precision = format!("precision@{}", options.k);
    let header = [
        "space",
        "model",
        &precision,
        "mean average precision",
        "above the first, 95 % interval",
    ];
    page.table(&header, table.collect(), None);
    for (name, figures) in args.spaces.iter().zip(&compared).skip(1) {
        page.text(format!(
            "{name} {} {} on these labels.",
            figures.difference.map_or("", verdict),
            args.spaces[0]
        ));
    }
    page.hint("Neighbours are by other artists; the interval is over redraws of the artists. Labels cover only part of similarity.");
    let json = json!({
        "tracks": labels.len(),
        "k": options.k,
        "standardised": args.standardise,
        "spaces": spaces
            .map(|((name, (model, ..)), figures)| json!({
                "space": name,
                "model": {"name": model.name, "fingerprint": model.fingerprint},
                "precision": figures.precision,
                "average_precision": figures.average_precision,
                "difference": figures.difference,
            }))
            .collect::<Vec<_>>(),
    });
    show_page(&page, &json, args.output.format, place.as_ref())?;
    Ok(Ending::Fine)
}

fn render_interval(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    format!("{value:+.3} ({low:+.3} to {high:+.3})")
}

fn verdict(interval: Interval) -> &'static str {
    if interval.low > 0.0 {
        "is better than"
    } else if interval.high < 0.0 {
        "is worse than"
    } else {
        "does not differ significantly from"
    }
}
