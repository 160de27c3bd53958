//! `voisin path`.

use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{PathArgs, PlaylistFormat};
use crate::cli::context::Context;
use crate::cli::graph::neighbour_graph;
use crate::cli::render::track::print_list;
use crate::cli::render::{self, Align, Table};
use crate::cli::seeds::seeds;
use crate::explore::TrackMeta;
use crate::explore::path::{PathOptions, path};
use crate::track::TrackId;

/// The documented JSON of `path`.
#[derive(Serialize)]
struct WalkJson<'a> {
    tracks: Vec<StepJson<'a>>,
    largest_step: f32,
    smallest_possible: f32,
}

#[derive(Serialize)]
struct StepJson<'a> {
    id: TrackId,
    path: &'a str,
    artist: Option<&'a str>,
    title: &'a str,
    /// Distance (1 − cosine) from the track before.
    step: Option<f32>,
}

impl<'a> StepJson<'a> {
    fn new(track: &'a TrackMeta, step: Option<f32>) -> Self {
        let artist = track.artist.as_deref();
        Self { id: track.id, path: &track.path, artist, title: track.display_title(), step }
    }
}

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let row = |text: &std::ffi::OsString| -> anyhow::Result<usize> {
        let seed = seeds(context, &engine, std::slice::from_ref(text))?;
        Ok(collection.row_of(&seed[0])?)
    };
    let (from, to) = (row(&args.from)?, row(&args.to)?);
    let via = args.via.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    let graph = neighbour_graph(&mut engine, &collection)?;
    let options = PathOptions {
        via,
        tracks: args.steps.map(|steps| steps as usize + 1),
        max_per_artist: args.max_per_artist.map(|n| n as usize),
    };
    let walk = path(collection.vectors.view(), &graph, &collection.meta, from, to, &options)?;
    if args.format == PlaylistFormat::Json {
        let step = |i: usize| (i > 0).then(|| walk.steps[i - 1]);
        let tracks = walk.rows.iter().enumerate();
        let json = WalkJson {
            tracks: tracks.map(|(i, &row)| StepJson::new(&collection.meta[row], step(i))).collect(),
            largest_step: walk.largest_step,
            smallest_possible: walk.bottleneck,
        };
        render::print_json(&json)?;
        return Ok(Ending::Fine);
    }
    if args.format == PlaylistFormat::Table {
        let mut table = Table::new(&[
            ("", Align::Right),
            ("step", Align::Right),
            ("artist", Align::Left),
            ("title", Align::Left),
            ("path", Align::Left),
        ]);
        for (i, &row) in walk.rows.iter().enumerate() {
            let track = &collection.meta[row];
            let step = if i == 0 { String::new() } else { format!("{:.3}", walk.steps[i - 1]) };
            let artist = track.artist.clone().unwrap_or_default();
            table.row([
                (i + 1).to_string(),
                step,
                artist,
                track.display_title().to_owned(),
                track.path.clone(),
            ]);
        }
        table.print()?;
        context.console.note(&format!(
            "largest step {:.3} (distance), smallest possible {:.3}",
            walk.largest_step, walk.bottleneck
        ));
        return Ok(Ending::Fine);
    }
    print_list(&collection, &walk.rows, args.format, args.relative_to.as_deref(), "voisin path")?;
    Ok(Ending::Fine)
}
