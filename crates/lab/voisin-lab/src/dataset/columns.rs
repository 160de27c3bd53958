//! Computed features: FMA's `features.csv`, or any CSV file with a row of numbers for each track.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;

use super::table::{ALBUMS, ARTISTS, KEYS, LABELS, LICENCES, SPLITS, read_cells};
use super::{Columns, Dataset, DatasetError, Item, Part, Source, fma};
use voisin_base::text::{count, count_with};

/// Cells or rows that a note names.
const FIRST: usize = 5;
/// Most numbers that are read: 106 574 tracks of 518 columns are 55 million.
const MOST: usize = 1 << 28;

/// The group of a column: its name up to its statistic or its number.
pub fn group_of(name: &str) -> &str {
    const STATISTICS: [&str; 7] = ["kurtosis", "max", "mean", "median", "min", "skew", "std"];
    // The first word that is a statistic ends the group's name.
    let statistic = STATISTICS
        .iter()
        .filter_map(|word| name.find(&format!("_{word}")))
        .min();
    let end =
        statistic.unwrap_or_else(|| name.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    let group = name[..end].trim_end_matches(['_', '.', '-', ' ']);
    if group.is_empty() { name } else { group }
}

/// Whether a table has FMA's three header rows.
pub(super) fn is_fma(path: &Path) -> bool {
    fma::rows(path).is_ok_and(|mut rows| {
        rows.next()
            .is_some_and(|row| row.is_ok_and(|row| row[0] == "feature"))
    })
}

pub(super) fn read(source: &Source) -> Result<Dataset, DatasetError> {
    if is_fma(&source.path) {
        read_fma(source)
    } else {
        read_plain(source)
    }
}

fn read_fma(source: &Source) -> Result<Dataset, DatasetError> {
    let path = &source.path;
    let table = source
        .path_option("tracks")
        .or_else(|| path.parent().map(|folder| folder.join("tracks.csv")))
        .filter(|table| table.is_file())
        .ok_or_else(|| DatasetError::Source {
            text: source.to_string(),
            problem: "expected FMA's tracks.csv beside it, for the genres; name it with ,tracks=tracks.csv"
                .to_owned(),
        })?;
    let found = fma::tracks(&table, source)?;
    let mut rows = fma::rows(path)?;
    let mut header = || rows.next().transpose().map(Option::unwrap_or_default);
    let features = header()?;
    let statistics = header()?;
    let numbers = header()?;
    let width = features
        .len()
        .min(statistics.len())
        .min(numbers.len())
        // The reader adds an empty cell to each row.
        .saturating_sub(1);
    let names: Vec<String> = (1..width)
        .map(|i| format!("{}_{}_{}", features[i], statistics[i], numbers[i]))
        .collect();
    let place: HashMap<u64, usize> = found
        .rows
        .iter()
        .enumerate()
        .map(|(at, (id, _))| (*id, at))
        .collect();
    let mut filled = vec![false; found.rows.len()];
    let mut values = zeros(path, found.rows.len(), names.len())?;
    for row in rows {
        let row = row?;
        let Some(&at) = row[0].parse().ok().and_then(|id| place.get(&id)) else {
            continue;
        };
        filled[at] = true;
        for (value, cell) in values.row_mut(at).iter_mut().zip(&row[1..]) {
            *value = cell.parse().unwrap_or(f32::NAN);
        }
    }
    let mut set = Dataset::new(source, "track_id", "genre");
    let mut kept = Vec::new();
    let all = found.rows;
    for (at, (_, item)) in all.into_iter().enumerate() {
        if filled[at] {
            kept.push(at);
            set.items.push(item);
        } else {
            set.fault(item.key, "has a genre and no features");
        }
    }
    fma::note_unlabelled(&mut set, found.unlabelled);
    note_missing(&mut set, values.select(ndarray::Axis(0), &kept), names);
    Ok(set)
}

fn read_plain(source: &Source) -> Result<Dataset, DatasetError> {
    let path = &source.path;
    let cells = read_cells(path)?;
    let key = cells.wanted(source, "path", KEYS, path)?.ok_or_else(|| {
        let found = cells.header.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let problem = format!(
            "expected a column called path, file, titre, title, track or id, found {found}; name it with ,path=COLUMN"
        );
        DatasetError::table(path, 1, problem)
    })?;
    let label = cells.wanted(source, "label", LABELS, path)?;
    let others = [
        cells.wanted(source, "artist", ARTISTS, path)?,
        cells.column(ALBUMS),
        cells.wanted(source, "split", SPLITS, path)?,
        cells.column(LICENCES),
    ];
    let known: Vec<usize> = [Some(key), label]
        .into_iter()
        .chain(others)
        .flatten()
        .collect();
    // one bad cell is a missing number; a column of words is ignored
    let is_number = |column: usize| {
        let texts = cells
            .rows
            .iter()
            .map(|(_, row)| &row[column])
            .filter(|text| !text.is_empty());
        let (numbers, words): (Vec<&String>, Vec<&String>) =
            texts.partition(|text| text.parse::<f32>().is_ok());
        numbers.len() > words.len()
    };
    let (numbers, words): (Vec<usize>, Vec<usize>) = (0..cells.header.len())
        .filter(|column| !known.contains(column))
        .partition(|&c| is_number(c));
    if numbers.is_empty() {
        return Err(DatasetError::table(
            path,
            1,
            "expected columns of numbers, found none",
        ));
    }
    let label_name = label.map_or("genre", |label| cells.header[label].as_str());
    let mut set = Dataset::new(source, &cells.header[key], label_name);
    if !words.is_empty() {
        let names: Vec<&str> = words
            .iter()
            .take(5)
            .map(|&column| cells.header[column].as_str())
            .collect();
        set.notes.push(format!(
            "columns that are not numbers are ignored: {}",
            names.join(", ")
        ));
    }
    let mut values = zeros(path, cells.rows.len(), numbers.len())?;
    let mut kept = Vec::new();
    let mut bad = Vec::new();
    // A track may have several rows if their numbers differ, such as one for each excerpt.
    let mut seen = HashMap::new();
    let mut again = Vec::new();
    for (at, (line, row)) in cells.rows.iter().enumerate() {
        let text = |column: Option<usize>| {
            column
                .map(|column| row[column].clone())
                .filter(|text| !text.is_empty())
        };
        for (value, &column) in values.row_mut(at).iter_mut().zip(&numbers) {
            *value = row[column].parse().unwrap_or(f32::NAN);
            if value.is_nan() && !row[column].is_empty() && row[column].parse::<f32>().is_err() {
                bad.push(format!(
                    "line {line}, {}: \"{}\"",
                    cells.header[column], row[column]
                ));
            }
        }
        let bits: Vec<u32> = values.row(at).iter().map(|value| value.to_bits()).collect();
        if let Some((before, numbers, other)) = seen.get(&row[key]) {
            // equal numbers are a duplicate row; others are another part of the track
            if *numbers == bits {
                let word = if *other == text(label) {
                    "the same as"
                } else {
                    "another label than"
                };
                set.fault(
                    &row[key],
                    format!("line {line}: {word} on line {before}; the first counts"),
                );
                continue;
            }
            again.push(row[key].clone());
        } else {
            seen.insert(row[key].clone(), (line, bits, text(label)));
        }
        kept.push(at);
        set.items.push(Item {
            path: None,
            key: row[key].clone(),
            label: text(label),
            artist: text(others[0]),
            album: text(others[1]),
            part: text(others[2]).and_then(|part| Part::parse(&part)),
            licence: text(others[3]),
        });
    }
    if !bad.is_empty() {
        let n = bad.len() as u64;
        let first = bad[..bad.len().min(FIRST)].join("; ");
        set.notes.push(format!(
            "{} no number: taken as missing: {first}",
            count_with(n, "cell is", "cells are")
        ));
    }
    if !again.is_empty() {
        let n = again.len() as u64;
        let first = again[..again.len().min(FIRST)].join(", ");
        let rows = count_with(n, "row has", "rows have");
        set.notes.push(format!("{rows} the {} of another with other numbers: {first}; such rows stay together unless --split is given", set.key_name));
    }
    let values = values.select(ndarray::Axis(0), &kept);
    let names = numbers
        .iter()
        .map(|&column| cells.header[column].clone())
        .collect();
    note_missing(&mut set, values, names);
    Ok(set)
}

fn zeros(path: &Path, rows: usize, columns: usize) -> Result<Array2<f32>, DatasetError> {
    if rows.saturating_mul(columns) > MOST {
        let problem = format!("{rows} rows of {columns} numbers: expected at most {MOST} numbers");
        return Err(DatasetError::table(path, 1, problem));
    }
    Ok(Array2::zeros((rows, columns)))
}

fn note_missing(set: &mut Dataset, values: Array2<f32>, names: Vec<String>) {
    let missing = values.iter().filter(|value| !value.is_finite()).count();
    if missing > 0 {
        let rows = values
            .outer_iter()
            .filter(|row| row.iter().any(|value| !value.is_finite()))
            .count();
        let cells = count_with(missing as u64, "cell", "cells");
        let rows = count(rows as u64, "row");
        set.notes.push(format!(
            "no number in {cells} of {rows}: the column's median is used"
        ));
    }
    set.columns = Some(Columns { names, values });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_grouped_by_what_they_measure() {
        assert_eq!(group_of("chroma_cqt_mean_03"), "chroma_cqt");
        assert_eq!(group_of("mfcc12"), "mfcc");
        assert_eq!(group_of("17"), "17");
        assert_eq!(group_of("tempo"), "tempo");
    }
}
