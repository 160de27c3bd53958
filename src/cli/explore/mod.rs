//! `voisin clusters`, `map`, `path`, `playlist`, `artists`, `duplicates` and `outliers`: one file per verb.

mod artists;
mod clusters;
mod duplicates;
mod map;
mod outliers;
mod path;
mod playlist;

use std::path::Path;

pub(crate) use artists::near_artists;
pub(crate) use clusters::clusters;
pub(crate) use duplicates::find_copies;
pub(crate) use map::map;
pub(crate) use outliers::find_outliers;
pub(crate) use path::walk;
pub(crate) use playlist::make_playlist;

use crate::engine::{Collection, Engine};
use crate::explore::playlist::{Format, PathStyle, write};
use crate::explore::{KnnGraph, TrackMeta};
use crate::library::stored_path;
use crate::track::TrackId;

use super::args::PlaylistFormat;
use super::render::{self, Align, Table, clock};

/// Neighbours in the graphs that clusters and maps are made from.
const GRAPH_K: usize = 15;

/// The library's tracks and their neighbour graph.
fn graph(engine: &mut Engine, collection: &Collection) -> anyhow::Result<KnnGraph> {
    Ok(engine.knn_graph(collection, GRAPH_K.min(collection.ids.len().saturating_sub(1)))?)
}

fn print_list(
    collection: &Collection,
    rows: &[usize],
    format: PlaylistFormat,
    relative_to: Option<&Path>,
    title: &str,
) -> anyhow::Result<()> {
    let tracks: Vec<&TrackMeta> = rows.iter().map(|&row| &collection.meta[row]).collect();
    let style = relative_to.map_or(PathStyle::Absolute, |folder| PathStyle::Relative(stored_path(folder)));
    let format = match format {
        PlaylistFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("time", Align::Right),
                ("path", Align::Left),
            ]);
            for (i, track) in tracks.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    clock(track.seconds),
                    track.path.clone(),
                ]);
            }
            return table.print();
        }
        PlaylistFormat::Json => return render::print_json(&tracks),
        PlaylistFormat::M3u8 => Format::M3u8,
        PlaylistFormat::Xspf => Format::Xspf,
        PlaylistFormat::Jspf => Format::Jspf,
        PlaylistFormat::Paths => Format::Paths,
    };
    render::print(write(&tracks, title, format, &style)?)
}

fn display(collection: &Collection, track: TrackId) -> String {
    collection.row(track).map_or_else(String::new, |row| collection.meta[row].display())
}
