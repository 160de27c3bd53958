//! Tracks as text: titles, paths, lists.

use super::safe::table_path;
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, Output};
use voisin::questions::answers::list::TrackJson;
pub(crate) use voisin::questions::answers::lossy;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{self, Format};
use voisin_library::stored_path;

/// Prints tracks as a playlist or as bare paths: every format that is a list of files.
///
/// - `title`: default title of the list
pub(crate) fn print_files(
    tracks: &[TrackMeta],
    title: &str,
    output: &Output,
) -> anyhow::Result<()> {
    let tracks: Vec<&TrackMeta> = tracks.iter().collect();
    let format = match output.format {
        ListFormat::Table | ListFormat::Json | ListFormat::Csv => return Ok(()),
        ListFormat::M3u8 => Format::M3u8,
        ListFormat::Paths if output.null => Format::Paths0,
        ListFormat::Paths => Format::Paths,
    };
    let folder = output.relative_to.as_deref();
    let folder = folder.map(stored_path);
    super::print_exact(&playlist::write(&tracks, title, format, folder.as_deref())?)
}

pub(crate) fn id(track: Option<TrackId>) -> String {
    track.map_or_else(String::new, |id| id.to_string())
}

pub(crate) struct Column {
    /// Its name for people, who get no column without one.
    name: Option<String>,
    /// Its name for programs, as well.
    field: Option<String>,
    align: Align,
    /// The value of each row, for people and for programs.
    cells: Vec<(String, String)>,
}

impl Column {
    /// A column of the same text for people and for programs.
    pub(crate) fn plain<T>(
        name: &str,
        field: &str,
        align: Align,
        rows: impl IntoIterator<Item = T>,
        cell: impl Fn(T) -> String,
    ) -> Self {
        let both = |text: String| (text.clone(), text);
        Self::new(name, field, align, rows, |row| both(cell(row)))
    }

    /// A column for people and for programs.
    pub(crate) fn new<T>(
        name: &str,
        field: &str,
        align: Align,
        rows: impl IntoIterator<Item = T>,
        cell: impl Fn(T) -> (String, String),
    ) -> Self {
        Self {
            name: Some(name.to_owned()),
            field: Some(field.to_owned()),
            align,
            cells: rows.into_iter().map(cell).collect(),
        }
    }

    pub(crate) fn for_people(self) -> Self {
        Self {
            field: None,
            ..self
        }
    }

    pub(crate) fn for_programs(self) -> Self {
        Self { name: None, ..self }
    }
}

/// - `files`: the same rows as files
/// - `title`: default title of a playlist
pub(crate) fn print_rows(
    columns: &[Column],
    json: &impl serde::Serialize,
    files: &[TrackMeta],
    title: &str,
    output: &Output,
) -> anyhow::Result<()> {
    match output.format {
        ListFormat::Json => super::print_json(json),
        ListFormat::Table => print_table(columns),
        ListFormat::Csv => print_csv(columns),
        _ => print_files(files, title, output),
    }
}

pub(crate) fn print_csv(columns: &[Column]) -> anyhow::Result<()> {
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|column| column.field.is_some())
        .collect();
    let cells = |row: usize| {
        let cells = columns.iter().map(|column| column.cells[row].1.clone());
        cells.collect::<Vec<_>>()
    };
    super::print_csv(
        columns.iter().flat_map(|column| &column.field),
        rows(&columns).map(cells),
    )
}

/// Prints a table, without columns that have no value.
pub(crate) fn print_table(columns: &[Column]) -> anyhow::Result<()> {
    let has_value = |column: &&Column| column.cells.iter().any(|(text, _)| !text.is_empty());
    let columns = columns.iter().filter(|column| column.name.is_some());
    let columns: Vec<&Column> = columns.filter(has_value).collect();
    let named = columns.iter();
    let header: Vec<(&str, Align)> = named
        .filter_map(|column| Some((column.name.as_deref()?, column.align)))
        .collect();
    let mut table = Table::new(&header);
    rows(&columns).for_each(|row| table.row(columns.iter().map(|column| &column.cells[row].0)));
    table.print()
}

fn rows(columns: &[&Column]) -> std::ops::Range<usize> {
    0..columns.first().map_or(0, |column| column.cells.len())
}

/// Tracks as every verb prints them.
pub(crate) struct Listing<'a> {
    pub(crate) tracks: Vec<&'a TrackJson>,
    pub(crate) is_ranked: bool,
    pub(crate) leads: Vec<Column>,
    /// Keys of a track's JSON, and names of scales: what the query filters or sorts by.
    pub(crate) facts: Vec<String>,
}

impl Listing<'_> {
    /// - `title`: default title of a playlist
    pub(crate) fn print(
        self,
        json: &impl serde::Serialize,
        title: &str,
        output: &Output,
    ) -> anyhow::Result<()> {
        let files: Vec<TrackMeta> = self.tracks.iter().map(|track| track.meta()).collect();
        let columns = match output.format {
            ListFormat::Table | ListFormat::Csv => self.columns(),
            _ => Vec::new(),
        };
        print_rows(&columns, json, &files, title, output)
    }

    fn columns(self) -> Vec<Column> {
        let tracks = || self.tracks.iter().copied();
        let plain = |name: &str, field: &str, align, cell: &dyn Fn(&TrackJson) -> String| {
            Column::plain(name, field, align, tracks(), cell)
        };
        let mut columns = Vec::new();
        if self.is_ranked {
            let ranks = 1..=self.tracks.len();
            let text = |rank: usize| rank.to_string();
            columns.push(Column::plain("", "rank", Align::Right, ranks, text));
        }
        columns.push(plain("id", "id", Align::Right, &|track| id(track.id)));
        let path = |track: &TrackJson| table_path(&track.file);
        columns.push(plain("", "path", Align::Left, &path).for_programs());
        columns.extend(self.leads);
        let artist = |track: &TrackJson| track.artist.clone().unwrap_or_default();
        columns.push(plain("artist", "artist", Align::Left, &artist));
        let title = |track: &TrackJson| track.title.clone();
        columns.push(plain("title", "title", Align::Left, &title));
        let album = |track: &TrackJson| track.album.clone().unwrap_or_default();
        columns.push(plain("", "album", Align::Left, &album).for_programs());
        let genres = |track: &TrackJson| (track.genres.join(", "), track.genres.join(";"));
        columns.push(Column::new(
            "genre",
            "genres",
            Align::Left,
            tracks(),
            genres,
        ));
        let time = |track: &TrackJson| (clock(track.seconds), number(Some(track.seconds), 2));
        columns.push(Column::new("time", "seconds", Align::Right, tracks(), time));
        for (i, fact) in self.facts.iter().enumerate() {
            // A fact is shown once.
            if !self.facts[..i].contains(fact) {
                columns.push(fact_column(fact, tracks()));
            }
        }
        columns
    }
}

/// A column of a fact: a key of a track's JSON, or the name of a scale.
fn fact_column<'a>(fact: &str, tracks: impl Iterator<Item = &'a TrackJson>) -> Column {
    let (name, align) = match fact {
        "tempo" => ("bpm", Align::Right),
        "loudness" => ("LUFS", Align::Right),
        "key" | "licence" | "words" => (fact, Align::Left),
        other => (other, Align::Right),
    };
    Column::new(name, fact, align, tracks, |track| {
        let shown = match fact {
            // Whole beats for people; two decimals for programs.
            "tempo" => number(track.tempo, 0),
            "loudness" if track.loudness_is_exact == Some(false) => {
                format!("~{}", number(track.loudness, 1))
            }
            "loudness" => number(track.loudness, 1),
            "words" => words(track, ", "),
            fact => match track.scales.get(fact) {
                Some(value) => number(Some(*value), 0),
                None => value(track, fact),
            },
        };
        (shown, value(track, fact))
    })
}

/// A fact of a track, for programs.
fn value(track: &TrackJson, fact: &str) -> String {
    match fact {
        "tempo" => number(track.tempo, 2),
        "loudness" => number(track.loudness, 2),
        "year" => track.year.map_or_else(String::new, |year| year.to_string()),
        "key" => track.key.unwrap_or_default().to_owned(),
        "licence" => track.licence.clone().unwrap_or_default(),
        "mbid" => track.mbid.clone().unwrap_or_default(),
        "isrc" => track.isrc.clone().unwrap_or_default(),
        "words" => words(track, ";"),
        scale => number(track.scales.get(scale).copied(), 2),
    }
}

fn words(track: &TrackJson, between: &str) -> String {
    let words = track.words.iter().flatten();
    let words: Vec<&str> = words.map(|word| word.word.as_str()).collect();
    words.join(between)
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
}
