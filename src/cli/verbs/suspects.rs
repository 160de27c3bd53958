//! `voisin labels suspects`.

use std::collections::HashMap;

use crate::cli::Ending;
use crate::cli::args::{ListFormat, ListOutput, SuspectsArgs};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, count};
use voisin::TrackDisplay;
use voisin::questions::answers::suspects::SuspectJson;
use voisin::questions::genre::{FoundSuspects, Suspects};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_genre::{Genre, Suspect};

pub(crate) fn run(context: &Context, args: &SuspectsArgs) -> anyhow::Result<Ending> {
    args.output.check(context)?;
    let mut engine = context.open_engine()?;
    let busy = context
        .console
        .busy("predicting every track with models that were trained without it and its artist");
    let FoundSuspects {
        suspects: mut found,
        judged,
    } = args.question.run(&mut engine)?;
    drop(busy);
    let contradicted = found.len();
    // Sorted, worst first.
    found.truncate(args.limit.of(contradicted));
    print(&Suspects::shown(&engine, &found)?, &found, &args.output)?;
    if args.question.all {
        context.console.note(&format!(
            "{} predicted",
            count(judged as u64, "labelled track")
        ));
    } else {
        let shown = if found.len() < contradicted {
            format!(", {} shown (--limit)", found.len())
        } else {
            String::new()
        };
        context.console.note(&format!(
            "{} contradicted{shown}, of {} predicted by models that were trained without them and, where it is known, their artist",
            count(contradicted as u64, "label"),
            count(judged as u64, "track")
        ));
    }
    Ok(Ending::Fine)
}

fn print(
    shown: &HashMap<TrackId, TrackDisplay>,
    found: &[Suspect],
    output: &ListOutput,
) -> anyhow::Result<()> {
    let lines = SuspectJson::list(shown, found);
    let names = |genres: &[Genre]| {
        genres
            .iter()
            .map(Genre::name)
            .collect::<Vec<_>>()
            .join("; ")
    };
    match output.format {
        ListFormat::Table => {
            // Two lines and a path each, as names and reasons do not fit beside each other.
            for (line, suspect) in lines.zip(found) {
                let display = shown
                    .get(&suspect.track)
                    .map_or("", |track| track.display.as_str());
                // The reason repeats the labels.
                let why = suspect
                    .reason
                    .split_once(": ")
                    .map_or(line.reason.as_str(), |(_, why)| why);
                let labels = names(&line.labels);
                let id = line.id;
                let rank = line.rank;
                render::print_fitted(&format!(
                    "{rank:>3}  {labels} → {}  {display} (id:{id})",
                    line.suggested
                ))?;
                render::print_fitted(&format!("     score {:.2}: {why}", line.score))?;
                render::print_fitted_path("     ", &line.path)?;
            }
            Ok(())
        }
        ListFormat::Json => render::print_json(&lines.collect::<Vec<_>>()),
        ListFormat::Csv => render::print_csv(
            [
                "rank",
                "id",
                "path",
                "artist",
                "labels",
                "suggested",
                "score",
                "confident",
                "label_probability",
                "suggested_probability",
                "reason",
            ],
            lines.map(|line| {
                [
                    line.rank.to_string(),
                    line.id.to_string(),
                    shown
                        .get(&line.id)
                        .map_or(line.path, |track| table_path(&track.path)),
                    line.artist.unwrap_or_default(),
                    names(&line.labels),
                    line.suggested.to_string(),
                    format!("{:.4}", line.score),
                    line.confident.to_string(),
                    format!("{:.4}", line.label_probability),
                    format!("{:.4}", line.suggested_probability),
                    line.reason,
                ]
            }),
        ),
        _ => {
            let metas: Vec<TrackMeta> = found
                .iter()
                .filter_map(|suspect| Some((suspect.track, shown.get(&suspect.track)?)))
                .map(|(id, facts)| TrackMeta {
                    artist: facts.artist.clone(),
                    ..TrackMeta::of_file(id, &facts.path)
                })
                .collect();
            print_files(&metas, "voisin labels suspects", output)
        }
    }
}
