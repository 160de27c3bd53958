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
use voisin_lab::eval::retrieval::retrieval;

pub(super) fn run(context: &Context, args: &RetrievalArgs) -> anyhow::Result<Ending> {
    let place = page_place(context, args.output.report.as_deref())?;
    let engine = context.open_engine()?;
    let set = labelled(&engine, &args.output)?;
    let model = engine.model()?;
    let k = args.neighbours as usize;
    // Centred, as in searches.
    let vectors = LibrarySpace::of_library(engine.library())?.centre_rows(set.vectors.clone());
    let found = retrieval(vectors.view(), &set.labels, &set.artists, k)?;
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
    page.text(format!(
        "precision@{}: {} (by chance {:.3})",
        found.k, found.precision, found.chance
    ));
    page.hint(
        "Neighbours are by other artists. The spread is the standard deviation of the mean over queries.",
    );
    by_genre(&mut page, &by_label, "precision");
    let json = json!({
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "tracks": set.labels.len(),
        "left_out": set.left_out,
        "artists": set.artist_count(),
        "queries": found.queries,
        "k": found.k,
        "precision": found.precision,
        "chance": found.chance,
        "genres": by_label
            .iter()
            .map(|(name, size, share)| json!({"genre": name, "tracks": size, "precision": share}))
            .collect::<Vec<_>>(),
    });
    show_page(&page, &json, args.output.format, place.as_ref())?;
    Ok(Ending::Fine)
}
