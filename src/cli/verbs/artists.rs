//! `voisin similar --by artist|album`.

use crate::cli::args::{By, ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::track::{Column, print_csv, print_table};
use crate::cli::render::{self, Align};
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
    let columns = match &found {
        FoundArtists::All(all) => columns_of_all(all),
        FoundArtists::Near(near) => columns_of_near(near),
    };
    match format {
        ListFormat::Csv => print_csv(&columns)?,
        _ => print_table(&columns)?,
    }
    Ok(Ending::Fine)
}

fn column<T>(name: &str, align: Align, rows: &[T], cell: impl Fn(&T) -> Option<String>) -> Column {
    let text = |row| cell(row).unwrap_or_default();
    Column::plain(name, name, align, rows, text)
}

fn columns_of_all(found: &[ArtistSummary]) -> Vec<Column> {
    let nearest = |one: &ArtistSummary| {
        let near = one.nearest.as_ref()?;
        let names = near.album.iter().chain([&near.artist]);
        let names: Vec<&str> = names
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect();
        Some(names.join(" – "))
    };
    let similarity = |one: &ArtistSummary| Some(format!("{:.3}", one.nearest.as_ref()?.similarity));
    let cohesion = |one: &ArtistSummary| Some(format!("{:.3}", one.cohesion?));
    vec![
        column("album", Align::Left, found, |one| one.album.clone()),
        column("artist", Align::Left, found, |one| Some(one.artist.clone())),
        column("tracks", Align::Right, found, |one| {
            Some(one.tracks.to_string())
        }),
        column("cohesion", Align::Right, found, cohesion),
        column("nearest", Align::Left, found, nearest),
        column("similarity", Align::Right, found, similarity),
    ]
}

fn columns_of_near(near: &[NearArtist]) -> Vec<Column> {
    let similarity = |one: &NearArtist| Some(format!("{:.3}", one.similarity));
    vec![
        column("album", Align::Left, near, |one| one.album.clone()),
        column("artist", Align::Left, near, |one| Some(one.artist.clone())),
        column("tracks", Align::Right, near, |one| {
            Some(one.tracks.to_string())
        }),
        column("similarity", Align::Right, near, similarity),
    ]
}
