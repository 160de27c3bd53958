//! `voisin lab eval retrieval`.

use serde_json::json;

use super::{by_genre, labelled};
use crate::cli::Ending;
use crate::cli::args::RetrievalArgs;
use crate::cli::context::Context;
use crate::cli::lab::{page_place, show_page};
use crate::cli::render::count;
use voisin::LibrarySpace;
use voisin_lab::document::Document;
use voisin_lab::eval::retrieval::{Figure, RetrievalOptions, retrieval};

pub(super) fn run(context: &Context, args: &RetrievalArgs) -> anyhow::Result<Ending> {
    let place = page_place(context, args.output.report.as_deref())?;
    let engine = context.open_engine()?;
    let set = labelled(&engine, &args.output)?;
    let model = engine.model()?;
    let options = RetrievalOptions {
        k: args.neighbours as usize,
        standardise: args.standardise,
    };
    // Centred, as in searches.
    let vectors = LibrarySpace::of_library(engine.library())?.centre_rows(set.vectors.clone());
    let found = retrieval(vectors.view(), &set.labels, &set.artists, options)?;
    let by_label = set.by_label(&found.by_label);
    let summary = format!(
        "{} of {}{}, {} left out, {} with a track by another artist; model {} ({})",
        count(set.labels.len() as u64, "track"),
        count(set.names.len() as u64, "genre"),
        set.by_artists(),
        set.left_out,
        found.queries,
        model.name,
        model.fingerprint
    );
    let mut page = Document::new("Neighbours and genres");
    page.text(&summary);
    let row = |name: String, figure: Figure| {
        vec![
            name,
            format!("{:.3}", figure.mean),
            format!("{:.3}", figure.spread),
        ]
    };
    let rows = vec![
        row(format!("precision@{}", found.k), found.precision),
        row("mean average precision".to_owned(), found.average_precision),
        row(format!("{}-NN accuracy", found.k), found.knn_accuracy),
        vec![
            "precision by chance".to_owned(),
            format!("{:.3}", found.chance),
            String::new(),
        ],
    ];
    page.table(&["figure", "mean", "spread"], rows, None);
    page.hint("Neighbours are by other artists. Spreads are standard deviations of the means over redraws of the queries.");
    by_genre(&mut page, &by_label, "precision", "Precision by genre");
    let json = json!({
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "tracks": set.labels.len(),
        "left_out": set.left_out,
        "artists": set.artist_count(),
        "queries": found.queries,
        "k": found.k,
        "standardised": args.standardise,
        "precision": found.precision,
        "chance": found.chance,
        "average_precision": found.average_precision,
        "knn_accuracy": found.knn_accuracy,
        "genres": by_label
            .iter()
            .map(|(name, size, share)| json!({"genre": name, "tracks": size, "precision": share}))
            .collect::<Vec<_>>(),
    });
    show_page(&page, &json, args.output.format, place.as_ref())?;
    Ok(Ending::Fine)
}
