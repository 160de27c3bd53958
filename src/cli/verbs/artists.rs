//! `voisin artists`.

use crate::answers::artists::{ArtistJson, SimilarArtistJson};
use crate::cli::args::{ArtistsArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::track::display;
use crate::cli::render::{self, Align, Table};
use crate::cli::{Ending, NothingFound};
use crate::explore::artists;

/// Artists near a named one, where nobody says how many.
const NEAREST: usize = 10;

pub(crate) fn run(context: &Context, args: &ArtistsArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let collection = engine.collection()?;
    match &args.name {
        None => {
            let mut all = artists::artists(collection.vectors.view(), &collection.meta)?;
            if all.is_empty() {
                let text = "no track of this library names its artist: add tagged music";
                return Err(NothingFound(text.to_owned()).into());
            }
            all.truncate(args.limit.map_or(all.len(), |limit| limit.of(all.len())));
            if args.format == TableFormat::Json {
                render::print_json(&ArtistJson::list(&collection, &all))?;
                return Ok(Ending::Fine);
            }
            let row = |artist: &artists::ArtistSummary| {
                let (near, similarity) = artist.nearest.as_ref().map_or_else(Default::default, |near| {
                    (near.artist.clone(), format!("{:.3}", near.similarity))
                });
                [
                    artist.artist.clone(),
                    artist.tracks.to_string(),
                    artist.cohesion.map_or_else(|| "–".to_owned(), |cohesion| format!("{cohesion:.3}")),
                    near,
                    similarity,
                ]
            };
            let header = ["artist", "tracks", "cohesion", "nearest", "similarity"];
            let aligns = [Align::Left, Align::Right, Align::Right, Align::Left, Align::Right];
            print(&header, &aligns, all.iter().map(row), args)?;
        }
        Some(name) => {
            let near = artists::near_artists(
                collection.vectors.view(),
                &collection.meta,
                name,
                args.limit.unwrap_or(NEAREST.into()).of(collection.ids.len()),
            )?;
            if args.format == TableFormat::Json {
                render::print_json(&SimilarArtistJson::list(&collection, &near))?;
                return Ok(Ending::Fine);
            }
            let row = |artist: &artists::NearArtist| {
                let because = artist.because.first().map_or_else(String::new, |pair| {
                    format!("{} / {}", display(&collection, pair.other), display(&collection, pair.own))
                });
                let similarity = format!("{:.3}", artist.similarity);
                [artist.artist.clone(), artist.tracks.to_string(), similarity, because]
            };
            let header = ["artist", "tracks", "similarity", "because"];
            print(
                &header,
                &[Align::Left, Align::Right, Align::Right, Align::Left],
                near.iter().map(row),
                args,
            )?;
        }
    }
    Ok(Ending::Fine)
}

fn print<const N: usize>(
    header: &[&'static str; N],
    aligns: &[Align; N],
    rows: impl Iterator<Item = [String; N]>,
    args: &ArtistsArgs,
) -> anyhow::Result<()> {
    if args.format == TableFormat::Csv {
        return render::print_csv(*header, rows);
    }
    let columns: Vec<_> = header.iter().copied().zip(aligns.iter().copied()).collect();
    let mut table = Table::new(&columns);
    rows.for_each(|row| table.row(row));
    table.print()
}
