//! The Free Music Archive's data set: `tracks.csv` and folders of clips.
//!
//! Defferrard, Benzi, Vandergheynst, Bresson, "FMA: A Dataset for Music Analysis", 2017. The table has three header rows
//! (level, column, `track_id`) and cells with commas, quotes and line breaks.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::{Dataset, DatasetError, Item, Part, Source};
use voisin_base::text::count_with;

/// Subsets from the smallest; each contains those before it.
const SUBSETS: [&str; 4] = ["small", "medium", "large", "full"];

/// Largest cell: biographies have a few thousand letters.
const LONGEST: usize = 1 << 20;

/// The table of a data set: in its folder, in `fma_metadata` there, or beside the folder.
pub(super) fn table_of(folder: &Path) -> Option<PathBuf> {
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let places = [Some(folder), parent];
    places
        .into_iter()
        .flatten()
        .flat_map(|place| {
            [
                place.join("tracks.csv"),
                place.join("fma_metadata/tracks.csv"),
            ]
        })
        .find(|path| path.is_file() && has_three_headers(path))
}

fn has_three_headers(path: &Path) -> bool {
    rows(path).is_ok_and(|mut rows| {
        rows.nth(2)
            .is_some_and(|row| row.is_ok_and(|row| row[0] == "track_id"))
    })
}

/// Rows of a table, cells as text; invalid UTF-8 is replaced.
pub(super) fn rows(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Vec<String>, DatasetError>> + use<'_>, DatasetError> {
    let io = |source| DatasetError::Io {
        path: path.to_owned(),
        source,
    };
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(std::io::Error::other("expected a file, found none")));
    }
    let file = std::fs::File::open(path).map_err(io)?;
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::with_capacity(
            1 << 16,
            // bounded: the file may be endless
            std::io::Read::take(file, 1 << 30),
        ));
    Ok(reader.into_byte_records().map(move |record| {
        let record = record.map_err(|error| {
            DatasetError::table(
                path,
                error.position().map_or(0, csv::Position::line),
                error.to_string(),
            )
        })?;
        if record.as_slice().len() > LONGEST {
            let line = record.position().map_or(0, csv::Position::line);
            return Err(DatasetError::table(
                path,
                line,
                "expected rows of at most a megabyte: a quote is not closed",
            ));
        }
        let mut cells: Vec<String> = record
            .iter()
            .map(|cell| String::from_utf8_lossy(cell).trim().to_owned())
            .collect();
        if let Some(first) = cells.first_mut() {
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        // an empty last cell, so that even an empty line has a first one
        cells.push(String::new());
        Ok(cells)
    }))
}

/// The rows of a subset, without their audio.
pub(super) struct SubsetRows {
    pub(super) rows: Vec<(u64, Item)>,
    /// Rows of the subset without a label.
    pub(super) unlabelled: u64,
}

/// Reads the rows of a subset.
pub(super) fn tracks(table: &Path, source: &Source) -> Result<SubsetRows, DatasetError> {
    let subset = source.option("subset").unwrap_or(SUBSETS[0]);
    let Some(size) = SUBSETS.iter().position(|name| *name == subset) else {
        return Err(DatasetError::Source {
            text: source.to_string(),
            problem: format!("expected subset={}, found {subset}", SUBSETS.join("|")),
        });
    };
    let mut rows = rows(table)?;
    let mut header = || rows.next().transpose().map(Option::unwrap_or_default);
    let levels = header()?;
    let names = header()?;
    // The third row, whose only name is `track_id`.
    header()?;
    let place = |level: &str, name: &str| {
        (0..levels.len().min(names.len())).find(|&i| levels[i] == level && names[i] == name)
    };
    let label = match source.option("label") {
        None | Some("genre") => ("track", "genre_top"),
        Some("artist") => ("artist", "name"),
        Some("album") => ("album", "title"),
        Some(other) => {
            return Err(DatasetError::Source {
                text: source.to_string(),
                problem: format!("expected label genre, artist or album, found {other}"),
            });
        }
    };
    let needed = |(level, name): (&str, &str)| {
        place(level, name).ok_or_else(|| {
            let problem = format!(
                "expected FMA's three header rows with the column ({level}, {name}), found none"
            );
            DatasetError::table(table, 1, problem)
        })
    };
    let label = needed(label)?;
    let own_subset = needed(("set", "subset"))?;
    let [split, artist, album, licence] = [
        ("set", "split"),
        ("artist", "id"),
        ("album", "id"),
        ("track", "license"),
    ]
    .map(|(level, name)| place(level, name));
    let mut found = SubsetRows {
        rows: Vec::new(),
        unlabelled: 0,
    };
    for row in rows {
        let row = row?;
        let text = |at: Option<usize>| {
            at.and_then(|at| row.get(at))
                .filter(|text| !text.is_empty())
                .cloned()
        };
        // An empty line has only the cell that the reader adds.
        let Ok(id) = row[0].parse::<u64>() else {
            continue;
        };
        let track_subset = text(Some(own_subset)).unwrap_or_else(|| "full".to_owned());
        if SUBSETS
            .iter()
            .position(|name| *name == track_subset)
            .is_none_or(|track_subset| track_subset > size)
        {
            continue;
        }
        let Some(label) = text(Some(label)) else {
            found.unlabelled += 1;
            continue;
        };
        let item = Item {
            path: None,
            key: id.to_string(),
            label: Some(label),
            artist: text(artist),
            album: text(album),
            licence: text(licence),
            part: text(split).and_then(|part| Part::parse(&part)),
        };
        found.rows.push((id, item));
    }
    // By number, so that splits do not depend on the order of the table.
    found.rows.sort_by_key(|(id, _)| *id);
    found.rows.dedup_by_key(|(id, _)| *id);
    Ok(found)
}

pub(super) fn read(source: &Source) -> Result<Dataset, DatasetError> {
    let folder = &source.path;
    let table = table_of(folder).ok_or_else(|| DatasetError::Source {
        text: source.to_string(),
        problem: "expected tracks.csv there, in fma_metadata below it, or beside it: it comes with the audio's metadata"
            .to_owned(),
    })?;
    let found = tracks(&table, source)?;
    let parent = folder.parent().unwrap_or(Path::new(""));
    // the chosen subset's folder first; a larger one may be beside it, or only a smaller one present
    let subset = source.option("subset").unwrap_or(SUBSETS[0]);
    let names: Vec<String> = [subset]
        .iter()
        .chain(&SUBSETS)
        .map(|subset| format!("fma_{subset}"))
        .collect();
    let roots: Vec<PathBuf> = names
        .iter()
        .map(|name| folder.join(name))
        .chain([folder.clone()])
        .chain(names.iter().map(|name| parent.join(name)))
        .collect();
    let mut set = Dataset::new(source, "track_id", "genre");
    for (id, mut item) in found.rows {
        let name = format!("{id:06}");
        // Clips are in folders of a thousand, by the first three of six digits.
        let below = Path::new(&name[..3]).join(format!("{name}.mp3"));
        item.path = roots
            .iter()
            .map(|root| root.join(&below))
            .find(|path| path.is_file());
        if item.path.is_some() {
            set.items.push(item);
        } else {
            set.fault(
                item.key,
                format!("no audio: expected {}", roots[0].join(&below).display()),
            );
        }
    }
    note_unlabelled(&mut set, found.unlabelled);
    Ok(set)
}

/// Notes how many rows of a subset have no label.
pub(super) fn note_unlabelled(set: &mut Dataset, rows: u64) {
    if rows > 0 {
        let one = "row of the subset has";
        let more = "rows of the subset have";
        set.notes
            .push(count_with(rows, one, more) + " no top genre: not used");
    }
}
