//! A CSV file: a row for each track, columns identified by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Dataset, DatasetError, Item, Part, Source};
use voisin_audio::is_audio_candidate;
use voisin_base::encoding::OldEncoding;
use voisin_base::table::TableText;
use voisin_base::text::{clean, count, fold};
use voisin_library::scan::scan;

/// Names of a column, compared without case and accents; the first one present is used.
pub(super) const KEYS: &[&str] = &[
    "path", "file", "filename", "fichier", "titre", "title", "track", "track id", "id",
];
pub(super) const LABELS: &[&str] = &["genre", "id genre", "label", "class", "classe"];
pub(super) const ARTISTS: &[&str] = &["artist", "artiste"];
pub(super) const ALBUMS: &[&str] = &["album"];
pub(super) const SPLITS: &[&str] = &["split", "set", "fold"];
pub(super) const LICENCES: &[&str] = &["licence", "license"];

/// The cells of a table of any encoding and separator.
pub(crate) struct Cells {
    /// Names of the columns, as they are spelt.
    pub(crate) header: Vec<String>,
    /// Rows, each with its first line.
    pub(crate) rows: Vec<(u64, Vec<String>)>,
    /// The encoding of lines that are not UTF-8.
    pub(crate) old_encoding: Option<OldEncoding>,
    /// The separator.
    pub(crate) separator: u8,
}

/// Reads all cells; rows of another length than the header are padded or cut.
pub(crate) fn read_cells(path: &Path) -> Result<Cells, DatasetError> {
    let table = TableText::read(path).map_err(|source| DatasetError::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(&table).map_err(|(line, problem)| DatasetError::table(path, line, problem))
}

pub(crate) fn parse(table: &TableText) -> Result<Cells, (u64, String)> {
    let mut rows = table.rows()?;
    if rows.is_empty() {
        return Err((
            1,
            "expected a header and rows, found an empty file".to_owned(),
        ));
    }
    let header = rows.remove(0).1;
    for (_, cells) in &mut rows {
        // short rows are common in tables from spreadsheets
        cells.resize(header.len(), String::new());
    }
    Ok(Cells {
        header,
        rows,
        old_encoding: table.old_encoding,
        separator: table.separator,
    })
}

impl Cells {
    /// The column of one of these names.
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        let folded: Vec<String> = self.header.iter().map(|name| fold(name)).collect();
        names
            .iter()
            .find_map(|name| folded.iter().position(|header| header == name))
    }

    /// The column that an option names, else one of `names`.
    pub(super) fn wanted(
        &self,
        source: &Source,
        option: &str,
        names: &[&str],
        path: &Path,
    ) -> Result<Option<usize>, DatasetError> {
        let Some(name) = source.option(option) else {
            return Ok(self.column(names));
        };
        self.column(&[&fold(name)]).map(Some).ok_or_else(|| {
            let found = self.header.join(", ");
            DatasetError::table(
                path,
                1,
                format!("expected the column {name}, found {found}"),
            )
        })
    }
}

pub(super) fn read(source: &Source) -> Result<Dataset, DatasetError> {
    let path = &source.path;
    let mut cells = read_cells(path)?;
    let key = cells.wanted(source, "path", KEYS, path)?;
    let label = cells.wanted(source, "label", LABELS, path)?;
    let mut headless = false;
    let (key, label) = match (key, label) {
        // One column cannot be both, as if the label is the title.
        (Some(key), label) => (key, label.filter(|&label| label != key)),
        // two columns without a header
        (None, None) if cells.header.len() == 2 => {
            headless = true;
            let first = std::mem::replace(
                &mut cells.header,
                vec!["path".to_owned(), "genre".to_owned()],
            );
            cells.rows.insert(0, (1, first));
            (0, Some(1))
        }
        _ => {
            let problem = format!(
                "expected a column called path, file, filename, titre, title, track or id, found {}; name it with ,path=COLUMN",
                cells.header.join(", ")
            );
            return Err(DatasetError::table(path, 1, problem));
        }
    };
    let label_name = label.map_or("genre", |label| cells.header[label].as_str());
    let mut set = Dataset::new(source, &cells.header[key], label_name);
    if let Some(encoding) = cells.old_encoding {
        set.notes.push(format!(
            "{}: not UTF-8, read as {}",
            path.display(),
            encoding.name()
        ));
    }
    if headless {
        set.notes
            .push(format!("{}: no header, so path and genre", path.display()));
    }
    let status = cells.column(&["status"]);
    let others = [
        cells.wanted(source, "artist", ARTISTS, path)?,
        cells.column(ALBUMS),
        cells.wanted(source, "split", SPLITS, path)?,
        cells.column(LICENCES),
    ];
    let files = source
        .path_option("audio")
        .map(|folder| Files::below(&folder, &mut set))
        .transpose()?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut seen: HashMap<String, (u64, Option<String>)> = HashMap::new();
    let mut used = vec![false; files.as_ref().map_or(0, |files| files.all.len())];
    for (line, row) in &cells.rows {
        let text = |column: Option<usize>| {
            column
                .map(|column| row[column].clone())
                .filter(|text| !text.is_empty())
        };
        let Some(name) = text(Some(key)) else {
            set.fault(format!("line {line}"), format!("no {}", set.key_name));
            continue;
        };
        let row_label = text(label);
        if let Some((before, other)) = seen.get(&name) {
            let same = *other == row_label;
            let word = if same {
                "the same as"
            } else {
                "listed with another label than"
            };
            set.fault(
                &name,
                format!("line {line}: {word} on line {before}; the first counts"),
            );
            continue;
        }
        seen.insert(name.clone(), (*line, row_label.clone()));
        // Before anything can fail: a submission needs a row for each title, decoded or not.
        set.keys.push(name.clone());
        // the table that `voisin lab data` writes marks the files that failed
        if let Some(why) = text(status).filter(|status| status != "ok") {
            set.fault(&name, format!("line {line}: {why}"));
            continue;
        }
        let found = match &files {
            Some(files) => files.find(&name).map(|at| {
                used[at] = true;
                files.all[at].clone()
            }),
            None => Some(base.join(&name))
                .filter(|path| path.is_file())
                .ok_or_else(|| {
                    "expected a file beside the table, found none; name its folder with ,audio=FOLDER"
                        .to_owned()
                }),
        };
        match found {
            Ok(path) => set.items.push(Item {
                path: Some(path),
                key: name,
                label: row_label,
                artist: text(others[0]),
                album: text(others[1]),
                part: text(others[2]).and_then(|part| Part::parse(&part)),
                licence: text(others[3]),
            }),
            Err(reason) => set.fault(&name, format!("line {line}: {reason}")),
        }
    }
    if let Some(files) = &files {
        let unnamed: Vec<_> = files
            .all
            .iter()
            .zip(&used)
            .filter(|(_, used)| !**used)
            .collect();
        if let [(first, _), ..] = unnamed[..] {
            let n = count(unnamed.len() as u64, "file");
            let first = first.display();
            set.notes.push(format!(
                "{n} below audio= that no row of the table names, such as {first}"
            ));
        }
    }
    Ok(set)
}

/// Audio files of a folder, by path below it, by name and by stem.
struct Files {
    all: Vec<PathBuf>,
    by: [HashMap<String, Vec<usize>>; 3],
}

impl Files {
    fn below(folder: &Path, set: &mut Dataset) -> Result<Self, DatasetError> {
        let io = |source| DatasetError::Io {
            path: folder.to_owned(),
            source,
        };
        let root = folder.canonicalize().map_err(io)?;
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
    fn find(&self, cell: &str) -> Result<usize, String> {
        let name = clean(&cell.replace('\\', "/"));
        let Some(found) = self.by.iter().find_map(|map| map.get(&name)) else {
            return Err("no audio file has this path, name or stem".to_owned());
        };
        // No guess: training would use the wrong one of two under this label.
        let [one] = found[..] else {
            let a = self.all[found[0]].display();
            let b = self.all[found[1]].display();
            return Err(format!(
                "two files have this name, {a} and {b}: write more of the path"
            ));
        };
        Ok(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_folded() {
        let parse = |bytes: &[u8]| parse(&TableText::parse(bytes));
        let cells = parse("Titre;ID_Genre;Durée\n a ;3;1\n\nb\n".as_bytes()).unwrap();
        assert_eq!(
            (cells.column(KEYS), cells.column(LABELS)),
            (Some(0), Some(1))
        );
        assert_eq!(cells.column(&["duree"]), Some(2));
        assert_eq!(
            cells.rows[1],
            (4, vec!["b".to_owned(), String::new(), String::new()])
        );
        assert_eq!(
            parse(b"\n\n").err().unwrap().1,
            "expected a header and rows, found an empty file"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            if let Ok(cells) = parse(&TableText::parse(&bytes)) {
                proptest::prop_assert!(cells.rows.iter().all(|(_, row)| row.len() == cells.header.len()));
            }
        }
    }
}
