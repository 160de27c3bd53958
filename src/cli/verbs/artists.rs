//! `voisin artists` and `voisin albums`.

use crate::cli::args::{ArtistsArgs, MakersArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table};
use crate::cli::{Ending, NothingFound};
use voisin_explore::artists::{ArtistSummary, Makers, NearArtist};
use voisin_questions::answers::artists::{ArtistJson, FoundArtists};
use voisin_questions::values::Limit;

/// Default number of neighbours of a named one.
const NEAREST: usize = 10;

pub(crate) fn artists(context: &Context, args: &ArtistsArgs) -> anyhow::Result<Ending> {
    // Set first, so that it applies to this answer.
    if let Some(person) = args.count_by {
        context
            .open_engine()?
            .library_mut()
            .settings_mut()
            .set_person(person)?;
    }
    run(context, Makers::Artists, &args.makers)
}

pub(crate) fn run(context: &Context, makers: Makers, args: &MakersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let usual = if args.question.name.is_some() {
        NEAREST.into()
    } else {
        Limit::from(0)
    };
    let limit = args.limit.unwrap_or(usual).of(usize::MAX);
    let found = args.question.all(&mut engine, makers, limit)?;
    let one = makers.one();
    let nothing = match &found {
        FoundArtists::All(all) if all.is_empty() => Some(format!(
            "no track of this library names its {one}: add tagged music"
        )),
        FoundArtists::Near(near) if near.is_empty() => Some(format!(
            "the library has no other {one} to compare this one with: add more music"
        )),
        _ => None,
    };
    if let Some(text) = nothing {
        return Err(NothingFound(text).into());
    }
    if args.format == TableFormat::Json {
        let tracks = found.tracks(&engine)?;
        render::print_json(&ArtistJson::list(found, |id| tracks.get(&id)))?;
        return Ok(Ending::Fine);
    }
    match &found {
        FoundArtists::All(all) => print_all(all, makers, args.format)?,
        FoundArtists::Near(near) => print_near(near, makers, args.format)?,
    }
    Ok(Ending::Fine)
}

/// The cells that name one: an album by title and artist.
fn names(album: Option<&str>, artist: &str) -> Vec<String> {
    album
        .into_iter()
        .chain([artist])
        .map(str::to_owned)
        .collect()
}

fn headed(makers: Makers, others: &[(&'static str, Align)]) -> Vec<(&'static str, Align)> {
    let first: &[_] = match makers {
        Makers::Artists => &[("artist", Align::Left)],
        Makers::Albums => &[("album", Align::Left), ("artist", Align::Left)],
    };
    [first, others].concat()
}

fn print_all(found: &[ArtistSummary], makers: Makers, format: TableFormat) -> anyhow::Result<()> {
    let others = [
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("nearest", Align::Left),
        ("similarity", Align::Right),
    ];
    let rows = found.iter().map(|one| {
        let (near, similarity) = one.nearest.as_ref().map_or_else(Default::default, |near| {
            let whose = near
                .album
                .iter()
                .map(String::as_str)
                .chain([near.artist.as_str()]);
            let name = whose
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join(" – ");
            (name, format!("{:.3}", near.similarity))
        });
        let cohesion = one
            .cohesion
            .map_or_else(|| "–".to_owned(), |cohesion| format!("{cohesion:.3}"));
        let mut cells = names(one.album.as_deref(), &one.artist);
        cells.extend([one.tracks.to_string(), cohesion, near, similarity]);
        cells
    });
    print(&headed(makers, &others), rows, format)
}

fn print_near(near: &[NearArtist], makers: Makers, format: TableFormat) -> anyhow::Result<()> {
    let others = [("tracks", Align::Right), ("similarity", Align::Right)];
    let rows = near.iter().map(|one| {
        let mut cells = names(one.album.as_deref(), &one.artist);
        cells.extend([one.tracks.to_string(), format!("{:.3}", one.similarity)]);
        cells
    });
    print(&headed(makers, &others), rows, format)
}

fn print(
    columns: &[(&'static str, Align)],
    rows: impl Iterator<Item = Vec<String>>,
    format: TableFormat,
) -> anyhow::Result<()> {
    if format == TableFormat::Csv {
        return render::print_csv(
            columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            rows,
        );
    }
    let mut table = Table::new(columns);
    rows.for_each(|row| table.row(row));
    table.print()
}
