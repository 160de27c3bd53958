//! `voisin similar FILE --from TIME --to TIME`: search by a passage.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{lossy, print_files, title};
use crate::cli::render::{self, Align, Table, clock, count};
use crate::cli::seeds::{one_seed, one_seed_name};
use voisin_engine::{Engine, SimilarPassage, meta};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_questions::answers::similar::PassagesJson;

pub(super) fn run(
    context: &Context,
    engine: &mut Engine,
    args: &SimilarArgs,
) -> anyhow::Result<Ending> {
    let question = &args.question;
    let (from, to) = question.passage().unwrap_or_default();
    let embedder = context.embedder(Some(engine.library()))?;
    let seed = one_seed(context, engine, &one_seed_name(&question.seeds[0])?)?;
    question.filters.check_folders(engine)?;
    let (passage, found) = question.run_passage(engine, seed, &embedder)?;
    let length = f64::from(passage.seconds);
    // A smaller difference is from rounding to whole samples.
    if length + 0.05 < to - from {
        context.console.note(&format!(
            "the track ends at {}: the passage is {length:.1} s long",
            clock(from + length)
        ));
    }
    if found.is_empty() {
        context.nothing_found(engine.library(), &question.filters, "")?;
        return Ok(Ending::Partial);
    }
    // Their positions come from stored windows, which are further apart.
    let unread = found.iter().filter(|found| found.is_unread).count();
    if unread > 0 {
        context.console.warn(&format!(
            "{} could not be read again: positions in them are approximate",
            count(unread as u64, "file")
        ));
    }
    match args.output.format {
        ListFormat::Table => table(&found)?,
        ListFormat::Json => {
            render::print_json(&PassagesJson::new(&passage, from, to, &found))?;
        }
        ListFormat::Csv => render::print_csv(
            [
                "rank",
                "id",
                "path",
                "from",
                "to",
                "similarity",
                "artist",
                "title",
            ],
            found.iter().enumerate().map(|(i, found)| {
                [
                    (i + 1).to_string(),
                    found.track.id.to_string(),
                    table_path(&found.track.path),
                    format!("{:.2}", found.from),
                    format!("{:.2}", found.to),
                    format!("{:.6}", found.similarity),
                    found.track.tags.artist.clone().unwrap_or_default(),
                    found.track.tags.title.clone().unwrap_or_default(),
                ]
            }),
        )?,
        _ => {
            let metas: Vec<TrackMeta> = found
                .iter()
                .map(|found| meta(&found.track, &Taxonomy::default()))
                .collect();
            print_files(
                &metas.iter().collect::<Vec<_>>(),
                "voisin similar",
                &args.output,
            )?;
        }
    }
    Ok(Ending::Fine)
}

fn table(found: &[SimilarPassage]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("", Align::Right),
        ("id", Align::Right),
        ("similarity", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("artist", Align::Left),
        ("title", Align::Left),
        ("path", Align::Left),
    ]);
    for (i, found) in found.iter().enumerate() {
        table.row([
            (i + 1).to_string(),
            found.track.id.to_string(),
            format!("{:.3}", found.similarity),
            clock(f64::from(found.from)),
            clock(f64::from(found.to)),
            found.track.tags.artist.clone().unwrap_or_default(),
            title(&found.track),
            lossy(&found.track.path),
        ]);
    }
    table.print()
}
