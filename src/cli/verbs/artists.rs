//! `voisin similar --by artist|album`.

use crate::cli::args::{By, ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::track::{Column, print_csv, print_table};
use crate::cli::render::{self, Align};
use crate::cli::{Ending, NothingFound};
use voisin::questions::explore::near_makers;
use voisin_explore::artists::{ArtistSummary, Makers};

pub(super) fn run(
    context: &Context,
    args: &SimilarArgs,
    by: By,
    format: ListFormat,
) -> anyhow::Result<Ending> {
    if matches!(format, ListFormat::M3u8 | ListFormat::Paths) {
        anyhow::bail!("--by lists no tracks, expected with it --format table, json or csv");
    }
    let engine = context.open_engine()?;
    let makers = match by {
        By::Artist => Makers::Artists,
        By::Album => Makers::Albums,
    };
    let words: Vec<String> = args
        .question
        .seeds
        .iter()
        .map(|word| word.written().to_string_lossy().into_owned())
        .collect();
    let name = (!words.is_empty()).then(|| words.join(" "));
    let limit = args.question.limit.of(usize::MAX);
    let found = near_makers(&engine, makers, name.as_deref(), limit)?;
    let one = makers.one();
    if found.is_empty() {
        return Err(NothingFound(match name {
            None => format!("no track of this library names its {one}: add tagged music"),
            Some(_) => {
                format!("the library has no other {one} to compare this one with: add more music")
            }
        })
        .into());
    }
    if format == ListFormat::Json {
        render::print_json(&found)?;
        return Ok(Ending::Fine);
    }
    let number = |value: Option<f32>| value.map(|value| format!("{value:.3}"));
    let columns = [
        column("album", Align::Left, &found, |one| one.album.clone()),
        column("artist", Align::Left, &found, |one| {
            Some(one.artist.clone())
        }),
        column("tracks", Align::Right, &found, |one| {
            Some(one.tracks.to_string())
        }),
        column("cohesion", Align::Right, &found, |one| number(one.cohesion)),
        column("similarity", Align::Right, &found, |one| {
            number(one.similarity)
        }),
    ];
    match format {
        ListFormat::Csv => print_csv(&columns)?,
        _ => print_table(&columns)?,
    }
    Ok(Ending::Fine)
}

fn column(
    name: &str,
    align: Align,
    rows: &[ArtistSummary],
    cell: impl Fn(&ArtistSummary) -> Option<String>,
) -> Column {
    let text = |row| cell(row).unwrap_or_default();
    Column::plain(name, name, align, rows, text)
}
