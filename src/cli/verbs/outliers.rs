//! `voisin outliers`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, OutliersArgs};
use crate::cli::context::Context;
use crate::cli::render;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::print_files;
use voisin_explore::outliers::Outlier;
use voisin_questions::answers::graph::neighbour_graph;
use voisin_questions::answers::outliers::OutlierJson;

pub(crate) fn run(context: &Context, args: &OutliersArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let graph = neighbour_graph(&mut engine, &collection)?;
    let mut found = args.question.run(&engine, &collection, &graph)?;
    found.truncate(args.limit.of(found.len()));
    let row = |outlier: &Outlier| {
        let track = &collection.meta[outlier.row];
        let id = track.id.to_string();
        [
            format!("{:.1}", outlier.score),
            id,
            track.display(),
            outlier.reasons.join("; "),
            table_path(track.system_path()),
        ]
    };
    match args.output.format {
        ListFormat::Json => {
            render::print_json(&OutlierJson::list(&engine, &collection, &found)?)?;
        }
        ListFormat::Csv => {
            render::print_csv(
                ["score", "id", "track", "reasons", "path"],
                found.iter().map(row),
            )?;
        }
        ListFormat::Table => {
            // Three lines each, as the reason does not fit beside the track.
            for outlier in &found {
                let track = &collection.meta[outlier.row];
                let score = outlier.score;
                let name = track.display();
                let id = track.id;
                render::print_fitted(&format!("{score:>5.1}  {name} (id:{id})"))?;
                render::print_fitted(&format!("       {}", outlier.reasons.join("; ")))?;
                render::print_fitted_path("       ", &track.path)?;
            }
        }
        _ => {
            let tracks: Vec<_> = found
                .iter()
                .map(|outlier| &collection.meta[outlier.row])
                .collect();
            print_files(&tracks, "voisin outliers", &args.output)?;
        }
    }
    if found.is_empty() {
        context.console.note("nothing lies far from everything");
    }
    Ok(Ending::Fine)
}
