//! `voisin path`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, PathArgs};
use crate::cli::context::Context;
use crate::cli::render;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{FactColumns, id, print_files, print_rows, print_table};
use crate::cli::seeds::{one_seed, one_seed_name};
use crate::cli::source::{self, fetch_named, report_sample};
use voisin_explore::TrackMeta;
use voisin_questions::answers::list::TrackJson;
use voisin_questions::answers::walk::WalkJson;

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let stops = args.question.stops();
    let named = stops
        .iter()
        .map(one_seed_name)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut source = source::open(context, &args.backend)?;
    fetch_named(&mut source, &named)?;
    let stops = named
        .iter()
        .map(|text| one_seed(context, source.engine(), text))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let found = source.path(&args.question, &stops)?;
    report_sample(context, "a way between tracks", found.sample.as_deref());
    let (collection, walk) = found.answer;
    let tracks: Vec<&TrackMeta> = walk.rows.iter().map(|&row| &collection.meta[row]).collect();
    let json = WalkJson::new(source.engine(), &collection, &walk)?;
    match args.output.format {
        ListFormat::Json | ListFormat::Template(_) => {
            print_rows(&json, &args.output.format)?;
        }
        ListFormat::Csv => render::print_csv(
            ["rank", "id", "path", "artist", "title", "distance"],
            tracks.iter().enumerate().map(|(i, track)| {
                [
                    (i + 1).to_string(),
                    id(track.library_id()),
                    table_path(track.system_path()),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    i.checked_sub(1)
                        .map_or_else(String::new, |i| format!("{:.6}", walk.steps[i])),
                ]
            }),
        )?,
        ListFormat::Table => {
            let tracks: Vec<TrackJson> = json.tracks.into_iter().map(|step| step.track).collect();
            print_table(&tracks, &FactColumns::new([]), Some(&walk.steps))?;
            context.console.note(&format!(
                "largest step {:.3} (distance), smallest possible {:.3}",
                walk.largest_step, walk.bottleneck
            ));
        }
        _ => print_files(&tracks, "voisin path", &args.output)?,
    }
    Ok(Ending::Fine)
}
