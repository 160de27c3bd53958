//! `voisin outliers`.

use crate::engine::window_set;
use crate::explore::outliers::{self, outliers};
use crate::track::TrackId;
use anyhow::bail;
use serde::Serialize;

use super::super::Ending;
use super::super::args::{OutliersArgs, TableFormat};
use super::super::context::Context;
use super::super::render::{self, Align, Table};
use super::graph;

#[derive(Serialize)]
struct OutlierJson<'a> {
    path: &'a str,
    #[serde(flatten)]
    outlier: &'a outliers::Outlier,
}

pub(crate) fn find_outliers(context: &Context, args: &OutliersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let graph = graph(&mut engine, &collection)?;
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
