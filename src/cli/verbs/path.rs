//! `voisin path`.

use crate::answers::graph::neighbour_graph;
use crate::answers::walk::WalkJson;
use crate::cli::Ending;
use crate::cli::args::{ListFormat, PathArgs};
use crate::cli::context::Context;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, Align, Table};
use crate::cli::seeds::one_seed;
use crate::cli::source::AskedLibrary;
use crate::explore::TrackMeta;
use crate::explore::path::{PathOptions, path};

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut source = AskedLibrary::open(context, &args.backend, false)?;
    let named: Vec<_> = [&args.from, &args.to].into_iter().chain(&args.via).cloned().collect();
    source.know_names(&named)?;
    source.know_all(context, "a way between tracks")?;
    let mut engine = source.into_engine(context);
    let mut collection = engine.collection()?;
    let stops = [&args.from, &args.to].into_iter().chain(&args.via);
    let stops = stops.map(|text| one_seed(context, &engine, text)).collect::<anyhow::Result<Vec<_>>>()?;
    collection.take_in(&stops)?;
    let rows = stops.iter().map(|seed| collection.row_of(seed)).collect::<Result<Vec<_>, _>>()?;
    let (from, to, via) = (rows[0], rows[1], rows[2..].to_vec());
    let graph = neighbour_graph(&mut engine, &collection)?;
    let options = PathOptions {
        via,
        tracks: args.steps.map(|steps| steps as usize + 1),
        max_per_artist: args.max_per_artist.map(|n| n as usize),
    };
    let walk = path(collection.vectors.view(), &graph, &collection.meta, from, to, &options)?;
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
