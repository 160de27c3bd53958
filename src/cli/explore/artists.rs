//! `voisin artists`.

use crate::explore::artists;

use super::super::Ending;
use super::super::args::{ArtistsArgs, TableFormat};
use super::super::context::Context;
use super::super::render::{self, Align, Table};
use super::display;

pub(crate) fn near_artists(context: &Context, args: &ArtistsArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let collection = engine.collection()?;
    match &args.name {
        None => {
            let all = artists::artists(collection.vectors.view(), &collection.meta)?;
            if args.format == TableFormat::Json {
                render::print_json(&all)?;
                return Ok(Ending::Fine);
            }
            let row = |artist: &artists::ArtistSummary| {
                let (near, similarity) = artist
                    .nearest
                    .clone()
                    .map_or_else(Default::default, |(name, s)| (name, format!("{s:.3}")));
                [
                    artist.artist.clone(),
                    artist.tracks.to_string(),
                    format!("{:.3}", artist.cohesion),
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
                args.limit as usize,
            )?;
            if args.format == TableFormat::Json {
                render::print_json(&near)?;
                return Ok(Ending::Fine);
            }
            let row = |artist: &artists::NearArtist| {
                let because = artist.because.first().map_or_else(String::new, |&(a, b, _)| {
                    format!("{} / {}", display(&collection, a), display(&collection, b))
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
