//! `voisin similar --by artist|album`.

use crate::cli::args::{By, ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table};
use crate::cli::{Ending, NothingFound};
use voisin::questions::explore::near_makers;
use voisin_explore::artists::Makers;

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
    let mut columns = vec![("artist", Align::Left), ("tracks", Align::Right)];
    if makers == Makers::Albums {
        columns.insert(0, ("album", Align::Left));
    }
    let measure = if name.is_some() {
        "similarity"
    } else {
        "cohesion"
    };
    columns.push((measure, Align::Right));
    let rows = found.iter().map(|one| {
        let measured = one.similarity.or(one.cohesion);
        let measured = measured.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let mut cells: Vec<String> = one.album.iter().cloned().collect();
        cells.extend([one.artist.clone(), one.tracks.to_string(), measured]);
        cells
    });
    print(&columns, rows, format)?;
    Ok(Ending::Fine)
}

fn print(
    columns: &[(&'static str, Align)],
    rows: impl Iterator<Item = Vec<String>>,
    format: ListFormat,
) -> anyhow::Result<()> {
    if format == ListFormat::Csv {
        return render::print_csv(
            columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            rows,
        );
    }
    let mut table = Table::new(columns);
    rows.for_each(|row| table.row(row));
    table.print()
}
