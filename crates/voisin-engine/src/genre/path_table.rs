//! A user's table of files: which genre, or which group, each of them belongs to.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::EngineError;
use voisin_base::regular_file;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::stored_path;

/// Bytes of a table.
const LARGEST: u64 = 1 << 30;

/// A CSV table with a column of paths and one of values.
pub(super) struct PathTable {
    file: PathBuf,
    exact: HashMap<PathBuf, Vec<usize>>,
    /// Relative paths by their last part.
    endings: HashMap<OsString, Vec<(PathBuf, usize)>>,
    values: Vec<String>,
    used: Vec<bool>,
}

impl PathTable {
    pub(super) fn read(file: &Path, column: &str) -> Result<Self, EngineError> {
        let problem =
            |line: u64, problem: String| EngineError::Table { path: file.to_owned(), line, problem };
        let bytes = regular_file::read(file, LARGEST)
            .map_err(|source| EngineError::ReadTable { path: file.to_owned(), source })?;
        let tabs = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        let header = reader.headers().map_err(|e| problem(1, e.to_string()))?.clone();
        let find = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        let (Some(path_at), Some(value_at)) = (find("path").or_else(|| find("file")), find(column)) else {
            let found = header.iter().collect::<Vec<_>>().join(",");
            return Err(problem(1, format!("expected the columns path and {column}, found {found}")));
        };
        let mut table = Self {
            file: file.to_owned(),
            exact: HashMap::new(),
            endings: HashMap::new(),
            values: Vec::new(),
            used: Vec::new(),
        };
        for record in reader.records() {
            let record =
                record.map_err(|e| problem(e.position().map_or(0, csv::Position::line), e.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let (path, value) =
                (record.get(path_at).unwrap_or_default(), record.get(value_at).unwrap_or_default());
            if path.is_empty() {
                return Err(problem(line, "expected a path, found nothing".into()));
            }
            let at = table.values.len();
            table.values.push(value.to_owned());
            table.used.push(false);
            let path = &path_in_table(path);
            let dotted = path.starts_with(".") || path.starts_with("..");
            if path.is_absolute() || dotted {
                let folder = file.parent().unwrap_or(Path::new(""));
                table.exact.entry(stored_path(&folder.join(path))).or_default().push(at);
            } else if let Some(name) = path.file_name() {
                table.endings.entry(name.to_owned()).or_default().push((path.to_owned(), at));
            }
        }
        Ok(table)
    }

    /// The values of the lines that name a file, in the order of the lines.
    pub(super) fn of(&mut self, path: &Path) -> Vec<String> {
        let mut found: Vec<usize> = self.exact.get(path).cloned().unwrap_or_default();
        let endings = path.file_name().and_then(|name| self.endings.get(name));
        found.extend(endings.into_iter().flatten().filter(|(end, _)| path.ends_with(end)).map(|(_, at)| *at));
        found.sort_unstable();
        found.iter().for_each(|&at| self.used[at] = true);
        found.into_iter().map(|at| self.values[at].clone()).collect()
    }

    /// Lines that named no file; an error if none did.
    pub(super) fn unused(&self) -> Result<usize, EngineError> {
        let used = self.used.iter().filter(|used| **used).count();
        if used == 0 {
            return Err(EngineError::Table {
                path: self.file.clone(),
                line: 0,
                problem: format!("none of its {} paths is a file of this library", self.values.len()),
            });
        }
        Ok(self.values.len() - used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_table_match_whole_parts_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(folder.path()).unwrap();
        let file = root.join("labels.csv");
        let text = format!(
            "\u{feff}genre,path\nRock,a/one.mp3\nJazz,{}/b/two.mp3\nPop,./c/three.mp3\nSoul,nowhere.mp3\n\"Ska; Dub\",a/one.mp3\n",
            root.display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(root.join("c")).unwrap();
        let mut table = PathTable::read(&file, "genre").unwrap();
        assert_eq!(table.of(&root.join("a/one.mp3")), ["Rock", "Ska; Dub"]);
        assert_eq!(table.of(&root.join("aa/one.mp3")), Vec::<String>::new());
        assert_eq!(table.of(&root.join("b/two.mp3")), ["Jazz"]);
        assert_eq!(table.of(&root.join("c/three.mp3")), ["Pop"]);
        assert_eq!(table.unused().unwrap(), 1);
        std::fs::write(&file, "path,style\nx,y\n").unwrap();
        let error = PathTable::read(&file, "genre").err().unwrap().to_string();
        assert!(error.contains("path and genre") && error.contains("path,style"), "{error}");
    }
}
