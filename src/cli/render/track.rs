//! Tracks as text: their titles, their paths, lists of them.

use std::path::Path;

use super::{Align, Table, clock};
use crate::cli::args::PlaylistFormat;
use crate::engine::Collection;
use crate::explore::TrackMeta;
use crate::explore::playlist::{self, Format, PathStyle};
use crate::library::{Track, stored_path};
use crate::track::TrackId;

/// Prints tracks as an M3U8 playlist.
pub(crate) fn print_playlist(tracks: &[TrackMeta], relative_to: Option<&Path>) -> anyhow::Result<()> {
    let style = relative_to.map_or(PathStyle::Absolute, |folder| PathStyle::Relative(stored_path(folder)));
    let tracks: Vec<&TrackMeta> = tracks.iter().collect();
    super::print(playlist::write(&tracks, "voisin", Format::M3u8, &style)?)
}

/// The title, or the file's name without its extension.
pub(crate) fn title(track: &Track) -> String {
    track.tags.title.clone().unwrap_or_else(|| lossy(Path::new(track.path.file_stem().unwrap_or_default())))
}

pub(crate) fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Prints tracks of a collection, in the form that was asked for.
pub(crate) fn print_list(
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
        PlaylistFormat::Json => return super::print_json(&tracks),
        PlaylistFormat::M3u8 => Format::M3u8,
        PlaylistFormat::Xspf => Format::Xspf,
        PlaylistFormat::Jspf => Format::Jspf,
        PlaylistFormat::Paths => Format::Paths,
    };
    super::print(playlist::write(&tracks, title, format, &style)?)
}

/// A track as one line: who, and what.
pub(crate) fn display(collection: &Collection, track: TrackId) -> String {
    collection.row(track).map_or_else(String::new, |row| collection.meta[row].display())
}
