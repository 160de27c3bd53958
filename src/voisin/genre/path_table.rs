//! A user's table that assigns genres to files.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::EngineError;
use voisin_base::table::Table;
use voisin_base::text::count;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::stored_path;

/// A CSV table with a column of paths and one of genres.
pub(super) struct PathTable {
    file: PathBuf,
    exact: HashMap<PathBuf, Vec<usize>>,
    /// Relative paths by their last component.
    endings: HashMap<OsString, Vec<(PathBuf, usize)>>,
    values: Vec<String>,
    used: Vec<bool>,
}

impl PathTable {
    pub(super) fn read(file: &Path) -> Result<Self, EngineError> {
        let problem = |line: u64, problem: String| EngineError::table(file, line, &problem);
        let Table { header, rows, .. } = Table::read(file).map_err(EngineError::unread(file))?;
        let find = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        let path_at = find("path").or_else(|| find("file"));
        let value_at = find("genre");
        let (Some(path_at), Some(value_at)) = (path_at, value_at) else {
            let found = header.join(",");
            let found = if found.is_empty() {
                "an empty file"
            } else {
                &found
            };
            return Err(problem(
                1,
                format!("expected the columns path and genre, found {found}"),
            ));
        };
        let mut table = Self {
            file: file.to_owned(),
            exact: HashMap::new(),
            endings: HashMap::new(),
            values: Vec::new(),
            used: Vec::new(),
        };
        for (line, cells) in rows {
            let (path, value) = (&cells[path_at], &cells[value_at]);
            if path.is_empty() {
                let expected = "expected a path, found nothing";
                return Err(problem(line, expected.to_owned()));
            }
            let path = path_in_table(path);
            let at = table.values.len();
            table.values.push(value.to_owned());
            table.used.push(false);
            // A path that begins with a dot is relative to the table, not an ending of any path.
            let dotted = path.starts_with(".") || path.starts_with("..");
            // `join` leaves an absolute path as it is.
            if path.is_absolute() || dotted {
                let folder = file.parent().unwrap_or(Path::new(""));
                table
                    .exact
                    .entry(stored_path(&folder.join(&path)))
                    .or_default()
                    .push(at);
            } else if let Some(name) = path.file_name() {
                // By the last component, so that a track is compared only with possible endings.
                table
                    .endings
                    .entry(name.to_owned())
                    .or_default()
                    .push((path.clone(), at));
            }
        }
        Ok(table)
    }

    fn lines_of<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = usize> + 'a {
        let exact = self.exact.get(path).into_iter().flatten().copied();
        let endings = path.file_name().and_then(|name| self.endings.get(name));
        let endings = endings.into_iter().flatten();
        exact.chain(
            endings
                .filter(|(end, _)| path.ends_with(end))
                .map(|(_, at)| *at),
        )
    }

    /// The values of the lines that name a file of a track, in the order of the lines.
    pub(super) fn of<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
        let mut found: Vec<usize> = Vec::new();
        for path in files {
            found.extend(self.lines_of(path));
        }
        // A line may match several files of a track.
        found.sort_unstable();
        found.dedup();
        found.iter().for_each(|&at| self.used[at] = true);
        found
            .into_iter()
            .map(|at| self.values[at].clone())
            .collect()
    }

    /// The number of lines that matched no track; an error if none matched.
    pub(super) fn unused(&self) -> Result<usize, EngineError> {
        let used = self.used.iter().filter(|used| **used).count();
        if used == 0 {
            return Err(EngineError::file(
                &self.file,
                match self.values.len() {
                    0 => "expected rows below the header, found none".to_owned(),
                    lines => format!(
                        "no file of this library is named: expected paths of its files, found {} of others",
                        count(lines as u64, "path")
                    ),
                },
            ));
        }
        Ok(self.values.len() - used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_table_match_whole_components_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(folder.path()).unwrap();
        let file = root.join("labels.csv");
        let text = format!(
            "\u{feff}genre,path\nRock,a/one.mp3\nJazz,{}/b/two.mp3\nPop,./c/three.mp3\nSoul,nowhere.mp3\n\"Ska; Dub\",a/one.mp3\n",
            root.display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(root.join("c")).unwrap();
        let mut table = PathTable::read(&file).unwrap();
        assert_eq!(table.of([&*root.join("a/one.mp3")]), ["Rock", "Ska; Dub"]);
        assert_eq!(table.of([&*root.join("aa/one.mp3")]), Vec::<String>::new());
        assert_eq!(table.of([&*root.join("b/two.mp3")]), ["Jazz"]);
        assert_eq!(table.of([&*root.join("c/three.mp3")]), ["Pop"]);
        assert_eq!(table.unused().unwrap(), 1);
        std::fs::write(&file, "path,style\nx,y\n").unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            voisin_base::text::with_causes(&PathTable::read(&file).err().unwrap())
        };
        let error = refused(b"path,style\nx,y\n");
        assert!(
            error.contains("path and genre") && error.contains("path,style"),
            "{error}"
        );
        assert!(refused(b"").ends_with("found an empty file"));
        for (text, end) in [
            ("\n\npath;genre\n\n\n;Pop\n", "line 6: expected a path"),
            ("path;genre\na;\"Rock\nb;Pop\n", "line 2: a quote is opened"),
        ] {
            let error = refused(text.as_bytes());
            assert!(error.contains(end), "{error}");
        }
    }
}
