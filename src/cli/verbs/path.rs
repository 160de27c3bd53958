//! `voisin path`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, PathArgs};
use crate::cli::context::Context;
use crate::cli::render;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{FactColumns, id, print_files, print_table};
use crate::cli::seeds::{one_seed, one_seed_name};
use voisin_explore::TrackMeta;
use voisin_questions::answers::list::TrackJson;
use voisin_questions::answers::walk::WalkJson;

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    args.output.check(context)?;
    // From, via and to, each a single track, as a list has no order along a path.
    let stops = args.question.stops();
    let named = stops
        .iter()
        .map(one_seed_name)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let engine = &mut context.open_engine()?;
    let stops = named
        .iter()
        .map(|text| one_seed(context, engine, text))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (collection, walk) = args.question.answer(engine, &stops)?;
    let tracks: Vec<&TrackMeta> = walk.rows.iter().map(|&row| &collection.meta[row]).collect();
    let json = WalkJson::new(engine, &collection, &walk)?;
    match args.output.format {
        ListFormat::Json => {
            render::print_json(&json)?;
        }
        ListFormat::Csv => {
            let header = ["rank", "id", "path", "artist", "title", "distance"];
            let rows = tracks.iter().enumerate();
            let rows = rows.map(|(i, track)| {
                [
                    (i + 1).to_string(),
                    id(track.library_id()),
                    table_path(track.system_path()),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    i.checked_sub(1)
                        .map_or_else(String::new, |i| format!("{:.6}", walk.steps[i])),
                ]
            });
            render::print_csv(header, rows)?;
        }
        ListFormat::Table => {
            let tracks: Vec<TrackJson> = json.tracks.into_iter().map(|step| step.track).collect();
            print_table(&tracks, &FactColumns::default(), Some(&walk.steps))?;
            context
                .console
                .note(&format!("largest step {:.3} (distance)", walk.largest_step));
        }
        _ => print_files(&tracks, "voisin path", &args.output)?,
    }
    Ok(Ending::Fine)
}
