//! Tracks as text: titles, paths, lists.

use super::safe::table_path;
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, ListOutput};
use std::borrow::Borrow;
use voisin_base::output::OutputTarget;
use voisin_base::track::TrackId;
use voisin_engine::meta;
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{self, Format, PathStyle};
use voisin_genre::Taxonomy;
use voisin_library::{Track, stored_path};
use voisin_questions::answers::list::TrackJson;
pub(crate) use voisin_questions::answers::lossy;
pub(crate) use voisin_questions::answers::title;

/// Prints tracks as a playlist or as bare paths: every format that is a list of files.
///
/// - `title`: default title of the list
pub(crate) fn print_files<M: Borrow<TrackMeta>>(
    tracks: &[M],
    title: &str,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let tracks: &[&TrackMeta] = &tracks.iter().map(Borrow::borrow).collect::<Vec<_>>();
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

/// A column of an answer, between a track's number and its artist.
pub(crate) struct Lead {
    /// Its name for people, who get no column without one.
    pub(crate) name: String,
    /// Its name for programs, as well.
    pub(crate) field: &'static str,
    /// The value of each track, for people and for programs.
    pub(crate) cells: Vec<(String, String)>,
}

/// Tracks as every verb prints them.
pub(crate) struct Listing<'a> {
    /// The tracks, in order.
    pub(crate) tracks: Vec<&'a TrackJson>,
    /// Whether the order has a meaning.
    pub(crate) is_ranked: bool,
    /// Columns of this answer.
    pub(crate) leads: Vec<Lead>,
    /// Keys of a track's JSON, and names of scales: what the query filters or sorts by.
    pub(crate) facts: Vec<String>,
}

/// Tracks as players read them.
pub(crate) fn metas<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Vec<TrackMeta> {
    let tracks = tracks.into_iter();
    tracks
        .map(|track| meta(track, &Taxonomy::default()))
        .collect()
}

impl Listing<'_> {
    /// Prints the tracks, in the requested format.
    ///
    /// - `files`: the same tracks, with their exact paths
    /// - `title`: default title of a playlist
    pub(crate) fn print<M: Borrow<TrackMeta>>(
        mut self,
        json: &impl serde::Serialize,
        files: &[M],
        title: &str,
        output: &ListOutput,
    ) -> anyhow::Result<()> {
        // A time has a column of its own, and a fact is shown once.
        let mut facts: Vec<String> = Vec::new();
        for fact in std::mem::take(&mut self.facts) {
            if fact != "seconds" && !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        self.facts = facts;
        match output.format {
            ListFormat::Table => self.table(),
            ListFormat::Json => super::print_json(json),
            ListFormat::Csv => self.csv(files),
            _ => print_files(files, title, output),
        }
    }

    fn table(&self) -> anyhow::Result<()> {
        let mut columns = vec![("", Align::Right), ("id", Align::Right)];
        columns.drain(..usize::from(!self.is_ranked));
        let leads: Vec<&Lead> = self
            .leads
            .iter()
            .filter(|lead| !lead.name.is_empty())
            .collect();
        columns.extend(leads.iter().map(|lead| match lead.name.as_str() {
            name @ ("similarity" | "album") => (name, Align::Left),
            name => (name, Align::Right),
        }));
        columns.extend(["artist", "title", "genre"].map(|name| (name, Align::Left)));
        columns.push(("time", Align::Right));
        columns.extend(self.facts.iter().map(|fact| match fact.as_str() {
            "tempo" => ("bpm", Align::Right),
            "loudness" => ("LUFS", Align::Right),
            other @ ("key" | "licence" | "composer" | "words") => (other, Align::Left),
            other => (other, Align::Right),
        }));
        // The first column to be cut.
        columns.push(("path", Align::Left));
        let mut table = Table::new(&columns);
        for (i, track) in self.tracks.iter().enumerate() {
            let mut cells = vec![(i + 1).to_string(), id(track.id)];
            cells.drain(..usize::from(!self.is_ranked));
            cells.extend(leads.iter().map(|lead| lead.cells[i].0.clone()));
            cells.push(track.artist.clone().unwrap_or_default());
            cells.push(track.title.clone());
            cells.push(track.genres.join(", "));
            cells.push(clock(track.seconds));
            cells.extend(self.facts.iter().map(|fact| match fact.as_str() {
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
            }));
            cells.push(track.path.clone());
            table.row(cells);
        }
        table.print()
    }

    fn csv<M: Borrow<TrackMeta>>(&self, files: &[M]) -> anyhow::Result<()> {
        let leads: Vec<&Lead> = self
            .leads
            .iter()
            .filter(|lead| !lead.field.is_empty())
            .collect();
        let mut header = vec!["rank", "id", "path"];
        header.drain(..usize::from(!self.is_ranked));
        header.extend(leads.iter().map(|lead| lead.field));
        header.extend(["artist", "title", "album", "genres", "seconds"]);
        header.extend(self.facts.iter().map(String::as_str));
        let rows = self
            .tracks
            .iter()
            .zip(files)
            .enumerate()
            .map(|(i, (track, file))| {
                let path = table_path(file.borrow().system_path());
                let mut cells = vec![(i + 1).to_string(), id(track.id), path];
                cells.drain(..usize::from(!self.is_ranked));
                cells.extend(leads.iter().map(|lead| lead.cells[i].1.clone()));
                cells.extend([
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.album.clone().unwrap_or_default(),
                    track.genres.join(";"),
                    number(Some(track.seconds), 2),
                ]);
                cells.extend(self.facts.iter().map(|fact| value(track, fact)));
                cells
            });
        super::print_csv(header, rows)
    }
}

/// A fact of a track, for programs.
fn value(track: &TrackJson, fact: &str) -> String {
    match fact {
        "tempo" => number(track.tempo, 2),
        "loudness" => number(track.loudness, 2),
        "year" => track.year.map_or_else(String::new, |year| year.to_string()),
        "key" => track.key.unwrap_or_default().to_owned(),
        "licence" => track.licence.clone().unwrap_or_default(),
        "composer" => track.composer.clone().unwrap_or_default(),
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
