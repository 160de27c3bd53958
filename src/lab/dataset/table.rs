//! A CSV file: a row for each track, columns identified by name; beside audio, or with numbers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{Columns, Dataset, Item, Part, Source, fma};
use crate::LabError;
use voisin_audio::is_audio_candidate;
use voisin_base::table::Table;
use voisin_base::text::{clean, count_with, fold};
use voisin_library::scan::scan;

/// Names of a column, compared without case and accents; the first one present is used.
pub(crate) const KEYS: &[&str] = &[
    "path", "file", "filename", "fichier", "titre", "title", "track", "track id", "id",
];
pub(crate) const LABELS: &[&str] = &["genre", "id genre", "label", "class", "classe"];
const ARTISTS: &[&str] = &["artist", "artiste"];
const SPLITS: &[&str] = &["split", "set", "fold"];

/// Most numbers that are read: 106 574 tracks of 518 columns are 55 million.
const MOST: usize = 1 << 28;

/// The cells of a table of any separator.
pub(crate) struct Cells {
    /// Names of the columns, as they are spelt.
    pub(crate) header: Vec<String>,
    /// Rows, each with its first line.
    pub(crate) rows: Vec<(u64, Vec<String>)>,
    pub(crate) separator: u8,
}

/// Reads all cells.
pub(crate) fn read_cells(path: &Path) -> Result<Cells, LabError> {
    let table = Table::read(path).map_err(LabError::io(path))?;
    if table.header.is_empty() {
        let problem = "expected a header and rows, found an empty file";
        return Err(LabError::table(path, 1, problem));
    }
    Ok(Cells {
        header: table.header,
        rows: table.rows,
        separator: table.separator,
    })
}

impl Cells {
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        let folded: Vec<String> = self.header.iter().map(|name| fold(name)).collect();
        names
            .iter()
            .find_map(|name| folded.iter().position(|header| header == name))
    }

    /// The column that an option names, else one of `names`.
    fn wanted(
        &self,
        source: &Source,
        option: &str,
        names: &[&str],
    ) -> Result<Option<usize>, LabError> {
        let Some(name) = source.option(option) else {
            return Ok(self.column(names));
        };
        let column = self.column(&[&fold(name)]);
        column.map(Some).ok_or_else(|| {
            let found = self.header.join(", ");
            let problem = format!("expected the column {name}, found {found}");
            LabError::table(&source.path, 1, problem)
        })
    }
}

/// The columns of a table that describe a track.
struct Layout {
    key: usize,
    label: Option<usize>,
    artist: Option<usize>,
    album: Option<usize>,
    split: Option<usize>,
    licence: Option<usize>,
}

impl Layout {
    fn of(cells: &Cells, source: &Source) -> Result<Self, LabError> {
        let label = cells.wanted(source, "label", LABELS)?;
        let key = cells.wanted(source, "path", KEYS)?.ok_or_else(|| {
            let problem = format!(
                "expected a column called path, file, filename, titre, title, track or id, found {}; name it with ,path=COLUMN",
                cells.header.join(", ")
            );
            LabError::table(&source.path, 1, problem)
        })?;
        Ok(Self {
            key,
            // One column cannot be both, as if the label is the title.
            label: label.filter(|&label| label != key),
            artist: cells.wanted(source, "artist", ARTISTS)?,
            album: cells.column(&["album"]),
            split: cells.wanted(source, "split", SPLITS)?,
            licence: cells.column(&["licence", "license"]),
        })
    }

    fn item(&self, row: &[String], path: Option<PathBuf>) -> Item {
        Item {
            path,
            key: row[self.key].clone(),
            label: text(row, self.label),
            artist: text(row, self.artist),
            album: text(row, self.album),
            part: text(row, self.split).and_then(|part| Part::parse(&part)),
            licence: text(row, self.licence),
        }
    }

    /// The other columns whose cells are mostly numbers.
    fn numbers(&self, cells: &Cells) -> Vec<usize> {
        let others = [
            self.label,
            self.artist,
            self.album,
            self.split,
            self.licence,
        ];
        let is_other = |column: &usize| *column != self.key && !others.contains(&Some(*column));
        let is_number = |column: &usize| {
            let texts = cells.rows.iter().map(|(_, row)| &row[*column]);
            let texts = texts.filter(|text| !text.is_empty());
            let (numbers, words): (Vec<&String>, Vec<&String>) =
                texts.partition(|text| text.parse::<f32>().is_ok());
            numbers.len() > words.len()
        };
        let columns = (0..cells.header.len()).filter(is_other);
        columns.filter(is_number).collect()
    }
}

fn text(row: &[String], column: Option<usize>) -> Option<String> {
    let cell = column.map(|column| row[column].clone());
    cell.filter(|text| !text.is_empty())
}

pub(super) fn read(source: &Source) -> Result<Dataset, LabError> {
    let path = &source.path;
    if fma::is_features(path) {
        return fma::read_features(source);
    }
    let mut cells = read_cells(path)?;
    let mut notes = Vec::new();
    let is_unnamed = cells.column(KEYS).or(cells.column(LABELS)).is_none();
    if cells.header.len() == 2 && is_unnamed && source.option("path").is_none() {
        notes.push(format!("{}: no header, so path and genre", path.display()));
        let names = ["path", "genre"].map(str::to_owned).to_vec();
        let first = std::mem::replace(&mut cells.header, names);
        cells.rows.insert(0, (1, first));
    }
    let layout = Layout::of(&cells, source)?;
    let label_name = layout.label.map_or("genre", |label| &cells.header[label]);
    let mut set = Dataset::new(source, &cells.header[layout.key], label_name);
    set.notes = notes;
    let files = match source.path_option("audio") {
        Some(folder) => Some(Files::below(&folder, &mut set)?),
        None => None,
    };
    let base = path.parent().unwrap_or(Path::new(""));
    let is_file = |(_, row): &(u64, Vec<String>)| base.join(&row[layout.key]).is_file();
    let numbers = layout.numbers(&cells);
    if files.is_some() || numbers.is_empty() || cells.rows.iter().any(is_file) {
        read_audio(&mut set, &cells, &layout, base, files);
    } else {
        read_numbers(&mut set, &cells, &layout, &numbers, path)?;
    }
    Ok(set)
}

/// Reads a table whose features are its columns of numbers. A track may have several rows, such as one for each excerpt.
fn read_numbers(
    set: &mut Dataset,
    cells: &Cells,
    layout: &Layout,
    columns: &[usize],
    path: &Path,
) -> Result<(), LabError> {
    let n = count_with(columns.len() as u64, "column", "columns");
    set.notes.push(format!(
        "no audio beside it: its {n} of numbers are the features"
    ));
    let mut values: Vec<Vec<f32>> = Vec::new();
    let mut missing = 0;
    let mut first = String::new();
    for (line, row) in &cells.rows {
        let mut numbers = Vec::new();
        for &column in columns {
            let number = row[column].parse().unwrap_or(f32::NAN);
            if !number.is_finite() {
                missing += 1;
                if missing == 1 {
                    first = format!("line {line}, {}", cells.header[column]);
                }
            }
            numbers.push(number);
        }
        values.push(numbers);
        set.items.push(layout.item(row, None));
    }
    if missing > 0 {
        let cells = count_with(missing, "cell is", "cells are");
        set.notes.push(format!(
            "{cells} no number, the first {first}: the column's median is used"
        ));
    }
    let names = columns.iter().map(|&column| cells.header[column].clone());
    set.columns = Some(matrix_of(path, names.collect(), &values)?);
    Ok(())
}

pub(super) fn matrix_of(
    path: &Path,
    names: Vec<String>,
    rows: &[Vec<f32>],
) -> Result<Columns, LabError> {
    let shape = (rows.len(), names.len());
    let problem = format!("{} rows of {} numbers are too many", shape.0, shape.1);
    let cells = Some(rows.concat()).filter(|cells| cells.len() <= MOST);
    let values = cells.and_then(|cells| Array2::from_shape_vec(shape, cells).ok());
    let values = values.ok_or_else(|| LabError::table(path, 1, problem))?;
    Ok(Columns { names, values })
}

/// Reads a table of audio files, which are below a folder or beside the table.
fn read_audio(
    set: &mut Dataset,
    cells: &Cells,
    layout: &Layout,
    base: &Path,
    files: Option<Files>,
) {
    let status = cells.column(&["status"]);
    let mut seen: HashMap<&str, (u64, Option<String>)> = HashMap::new();
    for (line, row) in &cells.rows {
        let name = &row[layout.key];
        if name.is_empty() {
            set.fault(format!("line {line}"), format!("no {}", set.key_name));
            continue;
        }
        let label = text(row, layout.label);
        if let Some((before, other)) = seen.get(name.as_str()) {
            let word = if *other == label {
                "the same as"
            } else {
                "listed with another label than"
            };
            let reason = format!("line {line}: {word} on line {before}; the first counts");
            set.fault(name, reason);
            continue;
        }
        seen.insert(name, (*line, label));
        // Before anything can fail: a submission needs a row for each title, decoded or not.
        set.keys.push(name.clone());
        // the table that `voisin lab data` writes marks the files that failed
        if let Some(why) = text(row, status).filter(|status| status != "ok") {
            set.fault(name, format!("line {line}: {why}"));
            continue;
        }
        let found = match &files {
            Some(files) => files.find(name),
            None => Some(base.join(name)).filter(|path| path.is_file()).ok_or_else(|| {
                "expected a file beside the table, found none; name its folder with ,audio=FOLDER"
                    .to_owned()
            }),
        };
        match found {
            Ok(path) => set.items.push(layout.item(row, Some(path))),
            Err(reason) => set.fault(name, format!("line {line}: {reason}")),
        }
    }
}

/// Audio files of a folder, by path below it, by name and by stem.
struct Files {
    all: Vec<PathBuf>,
    by: [HashMap<String, Vec<usize>>; 3],
}

impl Files {
    fn below(folder: &Path, set: &mut Dataset) -> Result<Self, LabError> {
        let root = folder.canonicalize().map_err(LabError::io(folder))?;
        let found = scan(std::slice::from_ref(&root), &is_audio_candidate);
        for problem in &found.problems {
            set.fault(problem.path.display().to_string(), problem.reason.clone());
        }
        let all: Vec<PathBuf> = found.files.into_iter().map(|file| file.path).collect();
        let mut by: [HashMap<String, Vec<usize>>; 3] = Default::default();
        for (at, path) in all.iter().enumerate() {
            let below = path.strip_prefix(&root).unwrap_or(path);
            let names = [Some(below.as_os_str()), path.file_name(), path.file_stem()];
            for (map, name) in by.iter_mut().zip(names) {
                let name = clean(&name.unwrap_or_default().to_string_lossy());
                map.entry(name).or_default().push(at);
            }
        }
        Ok(Self { all, by })
    }

    /// The file of a cell: by path, else by name, else by stem.
    fn find(&self, cell: &str) -> Result<PathBuf, String> {
        let name = clean(&cell.replace('\\', "/"));
        let Some(found) = self.by.iter().find_map(|map| map.get(&name)) else {
            return Err("no audio file has this path, name or stem".to_owned());
        };
        // No guess: training would use the wrong one of two under this label.
        let [one] = found[..] else {
            let [a, b] = [found[0], found[1]].map(|at| self.all[at].display());
            return Err(format!(
                "two files have this name, {a} and {b}: write more of the path"
            ));
        };
        Ok(self.all[one].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_folded() {
        let Table {
            header,
            rows,
            separator,
        } = Table::parse("Titre;ID_Genre;Durée\n a ;3;1\n\nb\n".as_bytes()).unwrap();
        let cells = Cells {
            header,
            rows,
            separator,
        };
        assert_eq!(
            (cells.column(KEYS), cells.column(LABELS)),
            (Some(0), Some(1))
        );
        assert_eq!(cells.column(&["duree"]), Some(2));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            if let Ok(cells) = Table::parse(&bytes) {
                proptest::prop_assert!(cells.rows.iter().all(|(_, row)| row.len() == cells.header.len()));
            }
        }
    }
}
