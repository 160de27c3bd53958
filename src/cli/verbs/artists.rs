//! `voisin similar --by artist|album`.

use crate::cli::args::{By, ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table};
use crate::cli::{Ending, NothingFound};
use voisin::questions::answers::artists::{ArtistJson, FoundArtists};
use voisin::questions::explore::NearArtists;
use voisin_explore::artists::{ArtistSummary, Makers, NearArtist};

pub(super) fn run(
    context: &Context,
    args: &SimilarArgs,
    by: By,
    format: ListFormat,
) -> anyhow::Result<Ending> {
    if matches!(format, ListFormat::M3u8 | ListFormat::Paths) {
        anyhow::bail!("--by lists no tracks, expected with it --format table, json or csv");
    }
    let mut engine = context.open_engine()?;
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
    let found = NearArtists { name }.all(&mut engine, makers, limit)?;
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
    if format == ListFormat::Json {
        let tracks = found.tracks(&engine)?;
        render::print_json(&ArtistJson::list(found, |id| tracks.get(&id)))?;
        return Ok(Ending::Fine);
    }
    match &found {
        FoundArtists::All(all) => print_all(all, makers, format)?,
        FoundArtists::Near(near) => print_near(near, makers, format)?,
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

fn print_all(found: &[ArtistSummary], makers: Makers, format: ListFormat) -> anyhow::Result<()> {
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

fn print_near(near: &[NearArtist], makers: Makers, format: ListFormat) -> anyhow::Result<()> {
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
