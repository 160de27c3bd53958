//! `voisin path`.

use crate::answers::graph::neighbour_graph;
use crate::answers::walk::WalkJson;
use crate::cli::Ending;
use crate::cli::args::{ListFormat, PathArgs};
use crate::cli::context::Context;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, Align, Table};
use crate::cli::seeds::{one_seed, written};
use crate::cli::source::AskedLibrary;
use crate::explore::TrackMeta;

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut source = AskedLibrary::open(context, &args.backend, false)?;
    let named = written(&args.question.stops());
    source.know_names(&named)?;
    source.know_all(context, "a way between tracks")?;
    let mut engine = source.into_engine(context);
    let mut collection = engine.collection()?;
    let stops =
        named.iter().map(|text| one_seed(context, &engine, text)).collect::<anyhow::Result<Vec<_>>>()?;
    collection.take_in(&stops)?;
    let graph = neighbour_graph(&mut engine, &collection)?;
    let walk = args.question.run(&collection, &graph, &stops)?;
    let tracks: Vec<&TrackMeta> = walk.rows.iter().map(|&row| &collection.meta[row]).collect();
    let step = |i: usize| (i > 0).then(|| walk.steps[i - 1]);
    match args.output.format {
        ListFormat::Json => render::print_json(&WalkJson::new(&collection, &walk))?,
        ListFormat::Csv => render::print_csv(
            ["rank", "id", "path", "artist", "title", "distance"],
            tracks.iter().enumerate().map(|(i, track)| {
                [
                    (i + 1).to_string(),
                    track.library_id().map_or_else(String::new, |id| id.to_string()),
                    track.path.clone(),
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    step(i).map_or_else(String::new, |step| format!("{step:.6}")),
                ]
            }),
        )?,
        ListFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("id", Align::Right),
                ("distance", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("path", Align::Left),
            ]);
            for (i, track) in tracks.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    track.library_id().map_or_else(String::new, |id| id.to_string()),
                    step(i).map_or_else(String::new, |step| format!("{step:.3}")),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    track.path.clone(),
                ]);
            }
            table.print()?;
            context.console.note(&format!(
                "largest step {:.3} (distance), smallest possible {:.3}",
                walk.largest_step, walk.bottleneck
            ));
        }
        _ => print_files(&tracks, "voisin path", &args.output)?,
    }
    Ok(Ending::Fine)
}
