//! Tracks as text: their titles, their paths, lists of them.

use super::{Align, Table, clock};
pub(crate) use crate::answers::lossy;
pub(crate) use crate::answers::track::{ListedJson, TrackRef, title};
use crate::cli::args::{ListFormat, ListOutput};
use crate::engine::Collection;
use crate::explore::TrackMeta;
use crate::explore::playlist::{self, Format, PathStyle};
use crate::library::stored_path;
use crate::track::TrackId;

/// Prints tracks as a playlist or as bare paths: every format that is a list of files.
pub(crate) fn print_files(tracks: &[&TrackMeta], title: &str, output: &ListOutput) -> anyhow::Result<()> {
    let style = output
        .relative_to
        .as_deref()
        .map_or(PathStyle::Absolute, |dir| PathStyle::Relative(stored_path(dir)));
    let format = match output.format {
        ListFormat::Xspf => Format::Xspf,
        ListFormat::Jspf => Format::Jspf,
        ListFormat::Paths => {
            let bytes = playlist::write(tracks, title, Format::Paths0, &style)?;
            return super::print_paths(
                bytes.split_inclusive(|&b| b == 0).map(|p| &p[..p.len() - 1]),
                output.null,
            );
        }
        ListFormat::Table | ListFormat::Json | ListFormat::Csv | ListFormat::M3u8 => Format::M3u8,
    };
    super::print(playlist::write(tracks, title, format, &style)?)
}

/// Prints tracks, in the form that was asked for.
pub(crate) fn print_list(tracks: &[&TrackMeta], title: &str, output: &ListOutput) -> anyhow::Result<()> {
    match output.format {
        ListFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("id", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("time", Align::Right),
                ("path", Align::Left),
            ]);
            for (i, track) in tracks.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    track.library_id().map_or_else(String::new, |id| id.to_string()),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    clock(track.seconds),
                    track.path.clone(),
                ]);
            }
            table.print()
        }
        ListFormat::Json => super::print_json(&ListedJson::list(tracks).collect::<Vec<_>>()),
        ListFormat::Csv => super::print_csv(
            ["rank", "id", "path", "artist", "title", "album", "genres", "seconds"],
            tracks.iter().enumerate().map(|(i, track)| {
                [
                    (i + 1).to_string(),
                    track.library_id().map_or_else(String::new, |id| id.to_string()),
                    track.path.clone(),
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.album.clone().unwrap_or_default(),
                    track.genres.join(";"),
                    format!("{:.2}", track.seconds),
                ]
            }),
        ),
        ListFormat::M3u8 | ListFormat::Xspf | ListFormat::Jspf | ListFormat::Paths => {
            print_files(tracks, title, output)
        }
    }
}

/// A track as one line: who, and what.
pub(crate) fn display(collection: &Collection, track: TrackId) -> String {
    collection.row(track).map_or_else(String::new, |row| collection.meta[row].display())
}
