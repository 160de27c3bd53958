//! Tracks as text: their titles, their paths, lists of them.

use serde::Serialize;

use super::safe::table_path;
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_base::output::OutputTarget;
use voisin_engine::Standing;
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{self, Format, PathStyle};
use voisin_library::stored_path;
pub(crate) use voisin_questions::answers::lossy;
use voisin_questions::answers::playlist::PlaylistJson;
pub(crate) use voisin_questions::answers::track::title;

/// Prints tracks as a playlist or as bare paths: every format that is a list of files.
///
/// - `title`: of the list, where nobody named it
pub(crate) fn print_files(
    tracks: &[&TrackMeta],
    title: &str,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let title = output.title.as_deref().unwrap_or(title);
    if let Some(file) = &output.target {
        let bytes = playlist_bytes(tracks, title, output)?.unwrap_or_default();
        return super::write(&OutputTarget::data(file, output.replaces)?, bytes);
    }
    if output.format == ListFormat::Paths {
        let bytes = playlist::write(tracks, title, Format::Paths0, &style(output))?;
        let paths = bytes
            .split_inclusive(|&b| b == 0)
            .map(|p| &p[..p.len() - 1]);
        return super::print_paths(paths, output.null);
    }
    playlist_bytes(tracks, title, output)?.map_or(Ok(()), super::print)
}

fn style(output: &ListOutput) -> PathStyle {
    let folder = output.relative_to.as_deref();
    folder.map_or(PathStyle::Absolute, |folder| {
        PathStyle::Relative(stored_path(folder))
    })
}

/// Tracks as a playlist or bare paths; `None` in formats that are only printed.
fn playlist_bytes(
    tracks: &[&TrackMeta],
    title: &str,
    output: &ListOutput,
) -> anyhow::Result<Option<Vec<u8>>> {
    let format = match output.format {
        ListFormat::Table | ListFormat::Json | ListFormat::Csv | ListFormat::Template(_) => {
            return Ok(None);
        }
        ListFormat::M3u8 => Format::M3u8,
        ListFormat::Xspf => Format::Xspf,
        ListFormat::Jspf => Format::Jspf,
        ListFormat::Rekordbox => Format::Rekordbox,
        ListFormat::Traktor => Format::Traktor,
        ListFormat::Paths if output.null => Format::Paths0,
        ListFormat::Paths => Format::Paths,
    };
    Ok(Some(playlist::write(
        tracks,
        title,
        format,
        &style(output),
    )?))
}

/// Prints an answer as JSON, or its rows by a template.
pub(crate) fn print_rows<T: Serialize>(answer: &T, format: &ListFormat) -> anyhow::Result<()> {
    match format {
        ListFormat::Template(template) => super::print(template.lines(answer)?),
        _ => super::print_json(answer),
    }
}

/// The track's id in the library; empty for a file that is not in it.
pub(crate) fn id(track: &TrackMeta) -> String {
    track
        .library_id()
        .map_or_else(String::new, |id| id.to_string())
}

/// Prints tracks as a table.
///
/// - `steps`: of a walk, the distance from each track to the next, shown in place of the time
pub(crate) fn print_table(tracks: &[&TrackMeta], steps: Option<&[f32]>) -> anyhow::Result<()> {
    let mut columns = vec![
        ("", Align::Right),
        ("id", Align::Right),
        ("artist", Align::Left),
        ("title", Align::Left),
        ("path", Align::Left),
    ];
    let (name, place) = if steps.is_some() {
        ("distance", 2)
    } else {
        ("time", 4)
    };
    columns.insert(place, (name, Align::Right));
    let mut table = Table::new(&columns);
    for (i, track) in tracks.iter().enumerate() {
        let artist = track.artist.clone().unwrap_or_default();
        let title = track.display_title().to_owned();
        let mut row = vec![
            (i + 1).to_string(),
            id(track),
            artist,
            title,
            track.path.clone(),
        ];
        row.insert(
            place,
            match steps {
                None => clock(track.seconds),
                Some(steps) => i
                    .checked_sub(1)
                    .map_or_else(String::new, |i| format!("{:.3}", steps[i])),
            },
        );
        table.row(row);
    }
    table.print()
}

/// Prints tracks, in the form that was asked for.
pub(crate) fn print_list(
    tracks: &[&TrackMeta],
    standing: Option<&Standing>,
    title: &str,
    output: &ListOutput,
) -> anyhow::Result<()> {
    match output.format {
        ListFormat::Table => print_table(tracks, None),
        ListFormat::Json | ListFormat::Template(_) => {
            print_rows(&PlaylistJson::new(tracks, standing), &output.format)
        }
        ListFormat::Csv => super::print_csv(
            [
                "rank", "id", "path", "artist", "title", "album", "genres", "seconds",
            ],
            tracks.iter().enumerate().map(|(i, track)| {
                [
                    (i + 1).to_string(),
                    id(track),
                    table_path(track.system_path()),
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.album.clone().unwrap_or_default(),
                    track.genres.join(";"),
                    format!("{:.2}", track.seconds),
                ]
            }),
        ),
        _ => print_files(tracks, title, output),
    }
}
