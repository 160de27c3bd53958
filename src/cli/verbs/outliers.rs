//! `voisin outliers`.

use anyhow::bail;
use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{OutliersArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::graph::neighbour_graph;
use crate::cli::render::{self, Align, Table};
use crate::engine::window_set;
use crate::explore::outliers::{self, outliers};
use crate::track::TrackId;

#[derive(Serialize)]
struct OutlierJson<'a> {
    path: &'a str,
    #[serde(flatten)]
    outlier: &'a outliers::Outlier,
}

pub(crate) fn run(context: &Context, args: &OutliersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let graph = neighbour_graph(&mut engine, &collection)?;
    let library = engine.library();
    let mut source = |track: TrackId| window_set(library, track);
    let threshold = args.threshold.unwrap_or(outliers::THRESHOLD);
    if !threshold.is_finite() {
        bail!("--threshold is {threshold}, expected a number such as {}", outliers::THRESHOLD);
    }
    let mut found = outliers(&graph, &collection.meta, Some(&mut source), threshold)?;
    found.truncate(args.limit as usize);
    let row = |outlier: &outliers::Outlier| {
        let track = &collection.meta[outlier.row];
        [format!("{:.1}", outlier.score), track.display(), outlier.reasons.join("; "), track.path.clone()]
    };
    match args.format {
        TableFormat::Json => {
            let json =
                found.iter().map(|outlier| OutlierJson { path: &collection.meta[outlier.row].path, outlier });
            render::print_json(&json.collect::<Vec<_>>())?;
        }
        TableFormat::Csv => render::print_csv(["score", "track", "reasons", "path"], found.iter().map(row))?,
        TableFormat::Table => {
            let mut table = Table::new(&[
                ("score", Align::Right),
                ("track", Align::Left),
                ("why", Align::Left),
                ("path", Align::Left),
            ]);
            found.iter().for_each(|outlier| table.row(row(outlier)));
            if !found.is_empty() {
                table.print()?;
            }
        }
    }
    if found.is_empty() {
        context.console.note("nothing lies far from everything");
    }
    Ok(if found.is_empty() { Ending::Partial } else { Ending::Fine })
}
