//! `voisin labels suspects`.

use crate::cli::Ending;
use crate::cli::args::{Output, SuspectsArgs};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{Column, print_rows};
use crate::cli::render::{Align, count};
use voisin::questions::answers::suspects::SuspectJson;
use voisin_explore::TrackMeta;
use voisin_genre::Genre;

pub(crate) fn run(context: &Context, args: &SuspectsArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    let mut engine = context.open_engine()?;
    let busy = context
        .console
        .busy("predicting every track with models that were trained without it and its artist");
    let (mut found, judged) = args.question.run(&mut engine)?;
    drop(busy);
    let contradicted = found.len();
    found.truncate(args.limit.of(contradicted));
    print(&found, &output)?;
    let judged = count(judged as u64, "labelled track");
    context.console.note(&if args.question.all {
        format!("{judged} predicted")
    } else {
        let shown = if found.len() < contradicted {
            format!(", {} shown (--limit)", found.len())
        } else {
            String::new()
        };
        let labels = count(contradicted as u64, "label");
        format!(
            "{labels} contradicted{shown}, of {judged} predicted by models that were trained without them and, where it is known, their artist"
        )
    });
    Ok(Ending::Fine)
}

fn print(rows: &[SuspectJson], output: &Output) -> anyhow::Result<()> {
    let column = |name: &str, field: &str, cell: &dyn Fn(&SuspectJson) -> String| {
        Column::plain(name, field, Align::Left, rows, cell)
    };
    let share = |name: &str, field: &str, cell: fn(&SuspectJson) -> f32| {
        Column::new(name, field, Align::Right, rows, |row| {
            let share = cell(row);
            (format!("{:.0} %", 100.0 * share), format!("{share:.4}"))
        })
    };
    let display = |row: &SuspectJson| row.shown.display.clone();
    let columns = [
        column("", "rank", &|row| row.rank.to_string()),
        column("id", "id", &|row| row.id.to_string()),
        column("", "path", &|row| table_path(&row.shown.path)).for_programs(),
        column("", "artist", &|row| row.artist.clone().unwrap_or_default()).for_programs(),
        column("label", "labels", &|row| names(&row.labels)),
        share("likely", "label_probability", |row| row.label_probability),
        column("suggested", "suggested", &|row| row.suggested.to_string()),
        share("likely", "suggested_probability", |row| {
            row.suggested_probability
        }),
        share("score", "score", |row| row.score),
        column("", "confident", &|row| row.confident.to_string()).for_programs(),
        column("", "reason", &|row| row.reason.clone()).for_programs(),
        column("track", "", &display).for_people(),
    ];
    let meta = |row: &SuspectJson| TrackMeta {
        artist: row.artist.clone(),
        ..TrackMeta::of_file(row.id, &row.shown.path)
    };
    let files: Vec<TrackMeta> = rows.iter().map(meta).collect();
    print_rows(&columns, &rows, &files, "voisin labels suspects", output)
}

fn names(genres: &[Genre]) -> String {
    let names: Vec<&str> = genres.iter().map(Genre::name).collect();
    names.join("; ")
}
