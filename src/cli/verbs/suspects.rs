//! `voisin suspects`.

use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{SuspectsArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, Align, Table, count};
use crate::engine::LabelledTracks;
use crate::genre::{FitOptions, Genre, Suspect};
use crate::track::TrackId;

/// The documented JSON of `suspects`: a list of these.
#[derive(Serialize)]
struct SuspectJson<'a> {
    rank: usize,
    id: TrackId,
    path: String,
    artist: Option<&'a str>,
    labels: &'a [Genre],
    suggested: &'a Genre,
    score: f32,
    confident: bool,
    label_probability: f32,
    suggested_probability: f32,
    reason: &'a str,
}

pub(crate) fn run(context: &Context, args: &SuspectsArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let (tracks, mut found) = engine.suspects(&args.labels.source(&engine), true, &FitOptions::default())?;
    let judged = found.len();
    if !args.all {
        found.retain(|suspect| suspect.confident);
    }
    let contradicted = found.len();
    if args.limit > 0 {
        found.truncate(args.limit as usize);
    }
    print(&tracks, &found, args.format)?;
    if args.all {
        context.console.note(&format!("{} judged", count(judged as u64, "labelled track")));
    } else {
        let shown = if found.len() < contradicted {
            format!(", {} shown (--limit)", found.len())
        } else {
            String::new()
        };
        context.console.note(&format!(
            "{} contradicted{shown}, of {} judged by models that never heard their artist",
            count(contradicted as u64, "label"),
            count(judged as u64, "track")
        ));
    }
    Ok(Ending::Fine)
}

fn print(tracks: &LabelledTracks, found: &[Suspect], format: TableFormat) -> anyhow::Result<()> {
    let lines = found.iter().enumerate().filter_map(|(i, suspect)| {
        let facts = &tracks.facts[tracks.row(suspect.track)?];
        Some(SuspectJson {
            rank: i + 1,
            id: suspect.track,
            path: lossy(&facts.path),
            artist: facts.artist.as_deref(),
            labels: &suspect.labels,
            suggested: &suspect.suggested,
            score: suspect.score,
            confident: suspect.confident,
            label_probability: suspect.label_probability,
            suggested_probability: suspect.suggested_probability,
            reason: &suspect.reason,
        })
    });
    let names = |genres: &[Genre]| genres.iter().map(Genre::name).collect::<Vec<_>>().join("; ");
    match format {
        TableFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("score", Align::Right),
                ("labelled", Align::Left),
                ("looks like", Align::Left),
                ("track", Align::Left),
                ("why", Align::Left),
                ("path", Align::Left),
            ]);
            for (line, suspect) in lines.zip(found) {
                let display = tracks.row(suspect.track).map_or("", |row| tracks.facts[row].display.as_str());
                // the reason repeats the labels, which have columns of their own
                let why = suspect.reason.split_once(": ").map_or(line.reason, |(_, why)| why);
                table.row([
                    line.rank.to_string(),
                    format!("{:.2}", line.score),
                    names(line.labels),
                    line.suggested.to_string(),
                    display.to_owned(),
                    why.to_owned(),
                    line.path,
                ]);
            }
            table.print()
        }
        TableFormat::Json => render::print_json(&lines.collect::<Vec<_>>()),
        TableFormat::Csv => render::print_csv(
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
                    line.path,
                    line.artist.unwrap_or_default().to_owned(),
                    names(line.labels),
                    line.suggested.to_string(),
                    format!("{:.4}", line.score),
                    line.confident.to_string(),
                    format!("{:.4}", line.label_probability),
                    format!("{:.4}", line.suggested_probability),
                    line.reason.to_owned(),
                ]
            }),
        ),
    }
}
