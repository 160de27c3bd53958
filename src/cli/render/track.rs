//! Tracks as text: titles, paths, lists.

use super::safe::table_path;
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_base::output::OutputTarget;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, Standing};
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{self, Format, PathStyle};
use voisin_library::stored_path;
use voisin_questions::answers::list::TrackJson;
pub(crate) use voisin_questions::answers::lossy;
use voisin_questions::answers::playlist::PlaylistJson;
pub(crate) use voisin_questions::answers::title;

/// Prints tracks as a playlist or as bare paths: every format that is a list of files.
///
/// - `title`: default title of the list
pub(crate) fn print_files(
    tracks: &[&TrackMeta],
    title: &str,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let title = output.title.as_deref().unwrap_or(title);
    if let Some(file) = &output.target {
        let bytes = playlist_bytes(tracks, title, output)?.unwrap_or_default();
        return super::write(&OutputTarget::new(file)?, bytes);
    }
    if output.format == ListFormat::Paths {
        let bytes = playlist::write(tracks, title, Format::Paths0, &style(output))?;
        // Split at NUL, which no path contains, so that a line break in a name does not split it.
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
        ListFormat::Table | ListFormat::Json | ListFormat::Csv => return Ok(None),
        ListFormat::M3u8 => Format::M3u8,
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

/// A track's id in the library; empty for a file that is not in it.
pub(crate) fn id(track: Option<TrackId>) -> String {
    track.map_or_else(String::new, |id| id.to_string())
}

/// Columns for fields that a query filters or sorts by and that a table does not always have.
#[derive(Default)]
pub(crate) struct FactColumns(Vec<String>);

impl FactColumns {
    /// - `fields`: keys of a track's JSON, and names of scales, each once or more
    pub(crate) fn new(fields: impl IntoIterator<Item = String>) -> Self {
        // In the order of the options, which a set would lose.
        let mut once: Vec<String> = Vec::new();
        for field in fields {
            if !once.contains(&field) {
                once.push(field);
            }
        }
        Self(once)
    }

    /// Without a field that a table has.
    pub(crate) fn without(&self, field: &str) -> Self {
        Self(self.0.iter().filter(|one| *one != field).cloned().collect())
    }

    /// Names of columns in a table.
    pub(crate) fn header(&self) -> impl Iterator<Item = (&str, Align)> {
        self.0.iter().map(|field| match field.as_str() {
            "seconds" => ("time", Align::Right),
            "tempo" => ("bpm", Align::Right),
            "loudness" => ("LUFS", Align::Right),
            "year" => ("year", Align::Right),
            other @ ("key" | "licence" | "composer") => (other, Align::Left),
            scale => (scale, Align::Right),
        })
    }

    /// Names of columns for programs.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The track's values of these fields, for people.
    pub(crate) fn cells(&self, track: &TrackJson) -> impl Iterator<Item = String> {
        self.0.iter().map(|field| match field.as_str() {
            "seconds" => clock(track.seconds),
            // Whole beats for people; `values` has two decimals for programs.
            "tempo" => number(track.tempo, 0),
            "loudness" => number(track.loudness, 1),
            "year" => track.year.map_or_else(String::new, |year| year.to_string()),
            "key" => track.key.unwrap_or_default().to_owned(),
            "licence" => track.licence.clone().unwrap_or_default(),
            "composer" => track.composer.clone().unwrap_or_default(),
            scale => number(track.scales.get(scale).copied(), 0),
        })
    }

    /// The same for programs.
    pub(crate) fn values(&self, track: &TrackJson) -> Vec<String> {
        let cells = self.0.iter().zip(self.cells(track));
        cells
            .map(|(field, cell)| match field.as_str() {
                "seconds" => format!("{:.2}", track.seconds),
                "tempo" => number(track.tempo, 2),
                "loudness" => number(track.loudness, 2),
                _ => cell,
            })
            .collect()
    }
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
}

/// Prints tracks as a table.
///
/// - `facts`: columns before the path
/// - `steps`: of a path, the distance from each track to the next, shown instead of the time
pub(crate) fn print_table(
    tracks: &[TrackJson],
    facts: &FactColumns,
    steps: Option<&[f32]>,
) -> anyhow::Result<()> {
    // Without steps the table shows the time itself.
    let facts = facts.without(if steps.is_none() { "seconds" } else { "" });
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
    // Before the path, which is cut first.
    columns.splice(5..5, facts.header());
    let mut table = Table::new(&columns);
    for (i, track) in tracks.iter().enumerate() {
        let mut row = vec![
            (i + 1).to_string(),
            id(track.id),
            track.artist.clone().unwrap_or_default(),
            track.title.clone(),
            track.path.clone(),
        ];
        row.insert(
            place,
            match steps {
                None => clock(track.seconds),
                // The first track has no step to it.
                Some(steps) => i
                    .checked_sub(1)
                    .map_or_else(String::new, |i| format!("{:.3}", steps[i])),
            },
        );
        row.splice(5..5, facts.cells(track));
        table.row(row);
    }
    table.print()
}

/// Prints tracks, in the requested format.
///
/// - `facts`: columns for fields that the query filters by
pub(crate) fn print_list(
    engine: &Engine,
    tracks: &[&TrackMeta],
    standing: Option<&Standing>,
    title: &str,
    facts: &FactColumns,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let json = || PlaylistJson::new(engine, tracks, standing);
    match output.format {
        ListFormat::Table => {
            let tracks: Vec<TrackJson> = json()?.items.into_iter().map(|one| one.track).collect();
            print_table(&tracks, facts, None)
        }
        ListFormat::Json => super::print_json(&json()?),
        ListFormat::Csv => {
            let mut header = vec![
                "rank", "id", "path", "artist", "title", "album", "genres", "seconds",
            ];
            let facts = facts.without("seconds");
            header.extend(facts.fields());
            let items = json()?.items;
            let rows = items.iter().zip(tracks).map(|(item, meta)| {
                let track = &item.track;
                let mut cells = vec![
                    item.rank.to_string(),
                    id(track.id),
                    table_path(meta.system_path()),
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.album.clone().unwrap_or_default(),
                    track.genres.join(";"),
                    format!("{:.2}", track.seconds),
                ];
                cells.extend(facts.values(track));
                cells
            });
            super::print_csv(header, rows)
        }
        _ => print_files(tracks, title, output),
    }
}
