//! The Free Music Archive's data set: `tracks.csv` and folders of clips, and its table of features.
//!
//! Defferrard, Benzi, Vandergheynst, Bresson, "FMA: A Dataset for Music Analysis", 2017. The tables have three header rows
//! (level, column, `track_id`) and cells with commas, quotes and line breaks.

use std::collections::HashMap;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::table::matrix_of;
use super::{Dataset, Item, Part, Source};
use crate::LabError;
use voisin_base::text::count_with;

/// Subsets from the smallest; each contains those before it.
const SUBSETS: [&str; 4] = ["small", "medium", "large", "full"];

/// Largest row: biographies have a few thousand letters.
const LONGEST: usize = 1 << 20;

/// The table of a data set: in its folder, in `fma_metadata` there, or beside the folder.
pub(super) fn table_of(folder: &Path) -> Option<PathBuf> {
    let parent = folder.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    let places = [Some(folder), parent].into_iter().flatten();
    let tables = places
        .flat_map(|place| ["tracks.csv", "fma_metadata/tracks.csv"].map(|name| place.join(name)));
    let mut tables = tables.filter(|path| path.is_file());
    tables.find(|path| has_cell(path, 2, "track_id"))
}

/// Whether a table has FMA's header rows of features.
pub(super) fn is_features(path: &Path) -> bool {
    has_cell(path, 0, "feature")
}

/// Whether a row of a table begins with a word.
fn has_cell(path: &Path, row: usize, word: &str) -> bool {
    let first = rows(path).ok().and_then(|mut rows| rows.nth(row));
    first.is_some_and(|row| row.is_ok_and(|row| row[0] == word))
}

/// Rows of a table, cells as text, each with an empty last cell; invalid UTF-8 is replaced.
fn rows(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Vec<String>, LabError>> + use<'_>, LabError> {
    let io = |error| LabError::io(path)(error);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(std::io::Error::other("expected a file, found none")));
    }
    // Bounded: the file may be endless.
    let file = std::fs::File::open(path).map_err(io)?.take(1 << 30);
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::with_capacity(1 << 16, file));
    Ok(reader.into_byte_records().map(move |record| {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            LabError::table(path, line, error.to_string())
        })?;
        if record.as_slice().len() > LONGEST {
            let line = record.position().map_or(0, csv::Position::line);
            let problem = "expected rows of at most a megabyte: a quote is not closed";
            return Err(LabError::table(path, line, problem));
        }
        let text = |cell: &[u8]| {
            let text = String::from_utf8_lossy(cell);
            text.trim().trim_start_matches('\u{feff}').to_owned()
        };
        let mut cells: Vec<String> = record.iter().map(text).collect();
        // So that even an empty line has a first cell.
        cells.push(String::new());
        Ok(cells)
    }))
}

fn headers(
    rows: &mut impl Iterator<Item = Result<Vec<String>, LabError>>,
) -> Result<[Vec<String>; 3], LabError> {
    let mut header = || rows.next().transpose().map(Option::unwrap_or_default);
    Ok([header()?, header()?, header()?])
}

/// The rows of a subset, without their audio, by number, so that splits do not depend on the order of the table; and the
/// number of rows without a genre.
fn tracks(table: &Path, source: &Source) -> Result<(Vec<(u64, Item)>, u64), LabError> {
    let subset = source.option("subset").unwrap_or(SUBSETS[0]);
    let size_of = |name: &str| SUBSETS.iter().position(|other| *other == name);
    let Some(size) = size_of(subset) else {
        return Err(source.wrong(format!(
            "expected subset={}, found {subset}",
            SUBSETS.join("|")
        )));
    };
    let mut rows = rows(table)?;
    let [levels, names, _] = headers(&mut rows)?;
    let place = |level: &str, name: &str| {
        (0..levels.len().min(names.len())).find(|&i| levels[i] == level && names[i] == name)
    };
    let (Some(label), Some(own_subset)) = (place("track", "genre_top"), place("set", "subset"))
    else {
        let problem = "expected FMA's three header rows with the columns (track, genre_top) and (set, subset)";
        return Err(LabError::table(table, 1, problem));
    };
    let split = place("set", "split");
    let artist = place("artist", "id");
    let album = place("album", "id");
    let licence = place("track", "license");
    let mut found = Vec::new();
    let mut unlabelled = 0;
    for row in rows {
        let row = row?;
        let text = |at: Option<usize>| {
            let cell = at.and_then(|at| row.get(at));
            cell.filter(|text| !text.is_empty()).cloned()
        };
        // An empty line has only the cell that the reader adds.
        let Ok(id) = row[0].parse::<u64>() else {
            continue;
        };
        let track_subset = text(Some(own_subset));
        let track_size = size_of(track_subset.as_deref().unwrap_or("full"));
        if track_size.is_none_or(|track_size| track_size > size) {
            continue;
        }
        let label = text(Some(label));
        if label.is_none() {
            unlabelled += 1;
            continue;
        }
        let item = Item {
            path: None,
            key: id.to_string(),
            label,
            artist: text(artist),
            album: text(album),
            licence: text(licence),
            part: text(split).and_then(|part| Part::parse(&part)),
        };
        found.push((id, item));
    }
    found.sort_by_key(|(id, _)| *id);
    found.dedup_by_key(|(id, _)| *id);
    Ok((found, unlabelled))
}

pub(super) fn read(source: &Source) -> Result<Dataset, LabError> {
    let folder = &source.path;
    let expected = "expected tracks.csv there, in fma_metadata below it, or beside it: it comes with the audio's metadata";
    let table = table_of(folder).ok_or_else(|| source.wrong(expected))?;
    let (found, unlabelled) = tracks(&table, source)?;
    let parent = folder.parent().unwrap_or(Path::new(""));
    // the chosen subset's folder first; a larger one may be beside it, or only a smaller one present
    let subset = source.option("subset").unwrap_or(SUBSETS[0]);
    let names = [subset].into_iter().chain(SUBSETS);
    let names: Vec<String> = names.map(|subset| format!("fma_{subset}")).collect();
    let roots: Vec<PathBuf> = names
        .iter()
        .map(|name| folder.join(name))
        .chain([folder.clone()])
        .chain(names.iter().map(|name| parent.join(name)))
        .collect();
    let mut set = Dataset::new(source, "track_id", "genre");
    for (id, mut item) in found {
        let name = format!("{id:06}");
        // Clips are in folders of a thousand, by the first three of six digits.
        let below = Path::new(&name[..3]).join(format!("{name}.mp3"));
        let mut places = roots.iter().map(|root| root.join(&below));
        item.path = places.find(|path| path.is_file());
        if item.path.is_some() {
            set.items.push(item);
        } else {
            let expected = roots[0].join(&below);
            set.fault(
                item.key,
                format!("no audio: expected {}", expected.display()),
            );
        }
    }
    note_unlabelled(&mut set, unlabelled);
    Ok(set)
}

/// Reads `features.csv`, with the genres of the `tracks.csv` beside it.
pub(super) fn read_features(source: &Source) -> Result<Dataset, LabError> {
    let path = &source.path;
    let table = path.with_file_name("tracks.csv");
    let (found, unlabelled) = tracks(&table, source)?;
    let mut numbers: HashMap<u64, Vec<f32>> = HashMap::new();
    let mut rows = rows(path)?;
    let header = headers(&mut rows)?;
    // The reader adds an empty cell to each row.
    let width = header.iter().map(Vec::len).min().unwrap_or(1) - 1;
    for row in rows {
        let row = row?;
        let Ok(id) = row[0].parse() else { continue };
        let cell = |at: usize| row.get(at).and_then(|cell| cell.parse().ok());
        let values = (1..width).map(|at| cell(at).unwrap_or(f32::NAN));
        numbers.insert(id, values.collect());
    }
    let mut set = Dataset::new(source, "track_id", "genre");
    let mut values = Vec::new();
    for (id, item) in found {
        match numbers.remove(&id) {
            Some(row) => {
                values.push(row);
                set.items.push(item);
            }
            None => set.fault(item.key, "has a genre and no features"),
        }
    }
    note_unlabelled(&mut set, unlabelled);
    let names = (1..width).map(|i| header.each_ref().map(|row| row[i].as_str()).join("_"));
    set.columns = Some(matrix_of(path, names.collect(), &values)?);
    Ok(set)
}

fn note_unlabelled(set: &mut Dataset, rows: u64) {
    if rows > 0 {
        let one = "row of the subset has";
        let more = "rows of the subset have";
        let rows = count_with(rows, one, more);
        set.notes.push(rows + " no top genre: not used");
    }
}
