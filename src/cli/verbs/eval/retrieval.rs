//! `voisin eval retrieval`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use ndarray::Array2;
use serde::Serialize;
use serde_json::json;

use super::{by_genre, labelled};
use crate::cli::Ending;
use crate::cli::args::RetrievalArgs;
use crate::cli::context::Context;
use crate::cli::lab::{PagePlace, show_page};
use crate::cli::render::{count, count_with};
use voisin_audio as audio;
use voisin_engine::{Engine, LibrarySpace};
use voisin_lab::document::Document;
use voisin_lab::eval::degrade::{Degradation, Tools, degrade};
use voisin_lab::eval::plots::bars;
use voisin_lab::eval::retrieval::{Figure, RetrievalOptions, Robustness, retrieval};

/// Longest track to copy, since a copy is held in memory.
const LONGEST_SECONDS: f64 = 1200.0;

/// Results of copies of one kind.
#[derive(Serialize)]
struct DegradationFigures {
    degradation: Degradation,
    name: &'static str,
    #[serde(flatten)]
    figures: Option<Robustness>,
    /// Copies that could not be made or analysed.
    failed: usize,
    /// Why none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
}

pub(super) fn run(context: &Context, args: &RetrievalArgs) -> anyhow::Result<Ending> {
    let place = PagePlace::new(args.output.report.as_deref(), args.output.force)?;
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
    let mut interrupted = false;
    let kinds = if args.robustness {
        robustness(context, &engine, args, &mut interrupted)?
    } else {
        Vec::new()
    };
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
    if !kinds.is_empty() {
        page.heading("Degraded copies");
        let header = [
            "copy",
            "copies",
            "find their original first",
            "mean similarity",
        ];
        page.table(&header, kinds.iter().map(cells).collect(), None);
        let found = kinds
            .iter()
            .filter_map(|kind| Some((kind.name.to_owned(), kind.figures?.found, 0.0)));
        let title = "Copies that find their original first";
        page.picture("robustness", title, bars(title, &found.collect::<Vec<_>>()));
    }
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
        "robustness": kinds,
    });
    show_page(&page, &json, args.output.format, place.as_ref())?;
    Ok(if interrupted {
        Ending::Interrupted
    } else if kinds.iter().any(|kind| kind.failed > 0) {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

fn cells(kind: &DegradationFigures) -> Vec<String> {
    let name = kind.name.to_owned();
    match (kind.figures, kind.skipped) {
        (Some(figures), _) => vec![
            name,
            figures.copies.to_string(),
            format!("{:.1} %", 100.0 * figures.found),
            format!("{:.3}", figures.similarity),
        ],
        (None, skipped) => vec![
            name,
            "0".to_owned(),
            skipped.unwrap_or("none").to_owned(),
            String::new(),
        ],
    }
}

/// Makes copies of some tracks, analyses them, and searches for their originals in the whole library.
fn robustness(
    context: &Context,
    engine: &Engine,
    args: &RetrievalArgs,
    interrupted: &mut bool,
) -> anyhow::Result<Vec<DegradationFigures>> {
    let vectors = engine.library().vectors()?;
    let space = LibrarySpace::of(engine.library(), &vectors)?;
    let ids = vectors.ids;
    let vectors = space.centre_rows(vectors.values);
    let mut there: Vec<(usize, PathBuf)> = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        let track = engine.library().track(*id)?;
        // Files that are gone or cannot be read are skipped.
        let short = audio::probe(&track.path).is_ok_and(|info| info.seconds() <= LONGEST_SECONDS);
        if short {
            there.push((row, track.path));
        }
    }
    let wanted = if args.sample == 0 {
        there.len()
    } else {
        there.len().min(args.sample as usize)
    };
    let chosen: Vec<&(usize, PathBuf)> = (0..wanted)
        // Evenly over the library, and reproducible.
        .map(|i| &there[i * there.len() / wanted])
        .collect();
    if chosen.is_empty() {
        anyhow::bail!(
            "no track of the library can be read: its files are gone, or longer than 20 minutes"
        );
    }
    let embedder = context.embedder(Some(engine.library()))?;
    let plan = engine.windows_setting()?;
    let tools = Tools::find();
    let stop = context.stop_on_ctrl_c()?;
    let folder = tempfile::tempdir()?;
    let mut kinds = Vec::new();
    for (way, name) in Degradation::ALL {
        let mut kind = DegradationFigures {
            degradation: way,
            name,
            figures: None,
            failed: 0,
            skipped: tools.can(way).err(),
        };
        // Listed with the reason, as a table without the row would look complete.
        if let Some(reason) = kind.skipped {
            context.console.note(&format!("{name}: left out, {reason}"));
            kinds.push(kind);
            continue;
        }
        let copies = count_with(chosen.len() as u64, "copy", "copies");
        context.console.note(&format!("{name}: {copies}"));
        let mut rows = Vec::new();
        let mut own_rows = Vec::new();
        for (row, path) in &chosen {
            if stop.load(Ordering::Relaxed) {
                *interrupted = true;
                return Ok(kinds);
            }
            let embedding = degrade(path, way, folder.path(), tools)
                .map_err(anyhow::Error::from)
                .and_then(|copy| Ok((audio::probe(&copy)?, copy)))
                .and_then(|(info, copy)| Ok(embedder.embed(&copy, &info, plan, None)?));
            match embedding {
                // Copies are centred with the library's mean.
                Ok(embedding) => {
                    rows.extend(space.centre(embedding.vector.as_slice()));
                    own_rows.push(*row);
                }
                Err(error) => {
                    context
                        .console
                        .detail(&format!("{}: {error:#}", path.display()));
                    kind.failed += 1;
                }
            }
        }
        let copies = Array2::from_shape_vec((own_rows.len(), vectors.ncols()), rows)?;
        kind.figures =
            // An error means that all copies failed, which are counted.
            voisin_lab::eval::retrieval::robustness(vectors.view(), copies.view(), &own_rows).ok();
        kinds.push(kind);
    }
    Ok(kinds)
}
