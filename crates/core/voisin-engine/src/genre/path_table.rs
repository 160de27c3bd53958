//! A user's table that assigns genres or groups to files or recordings.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::EngineError;
use voisin_base::table::TableText;
use voisin_base::text::count;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{Library, PathLookup, stored_path};

/// A CSV table with a column of paths, one of ids of recordings at `MusicBrainz`, or both, and one of values.
pub(super) struct PathTable {
    file: PathBuf,
    exact: HashMap<PathBuf, Vec<usize>>,
    /// Relative paths by their last component.
    endings: HashMap<OsString, Vec<(PathBuf, usize)>>,
    /// In lower case.
    mbids: HashMap<String, Vec<usize>>,
    values: Vec<String>,
    /// The path of each line, if it has one.
    paths: Vec<Option<PathBuf>>,
    used: Vec<bool>,
}

impl PathTable {
    fn read(file: &Path, column: &str) -> Result<Self, EngineError> {
        let problem = |line: u64, problem: String| EngineError::Table {
            path: file.to_owned(),
            line,
            problem,
        };
        let table = TableText::read(file).map_err(|source| EngineError::ReadTable {
            path: file.to_owned(),
            source,
        })?;
        let rows = table.rows().map_err(|(line, fault)| problem(line, fault))?;
        let mut rows = rows.into_iter();
        let (header_line, header) = rows.next().unwrap_or((1, Vec::new()));
        let find = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        let path_at = find("path").or_else(|| find("file"));
        // The column's name in voisin, ListenBrainz and beets; beets also has genres in the plural.
        let mbid_at = ["mbid", "recording_mbid", "mb_trackid"]
            .into_iter()
            .find_map(find);
        let value_at = find(column).or_else(|| find(&format!("{column}s")));
        let Some(value_at) = value_at.filter(|_| path_at.or(mbid_at).is_some()) else {
            let found = header.join(",");
            let found = if found.is_empty() {
                "an empty file"
            } else {
                &found
            };
            return Err(problem(
                header_line,
                format!(
                    "expected the columns path and {column}, or mbid and {column}, found {found}"
                ),
            ));
        };
        let mut table = Self {
            file: file.to_owned(),
            exact: HashMap::new(),
            endings: HashMap::new(),
            mbids: HashMap::new(),
            values: Vec::new(),
            paths: Vec::new(),
            used: Vec::new(),
        };
        for (line, cells) in rows {
            // Rows may have more or fewer cells than the header.
            let cell =
                |at: Option<usize>| at.and_then(|at| cells.get(at)).map_or("", String::as_str);
            let path = cell(path_at);
            let mbid = cell(mbid_at);
            let value = cell(Some(value_at));
            // An unclosed quote extends to the next quote, lines below.
            if path.contains('\n') || value.contains('\n') {
                let expected = format!("expected a path and {column} on one line each");
                return Err(problem(line, format!("{expected}: is a quote closed?")));
            }
            if path.is_empty() && mbid.is_empty() {
                let expected = if mbid_at.is_none() {
                    "a path"
                } else {
                    "a path or an mbid"
                };
                return Err(problem(line, format!("expected {expected}, found nothing")));
            }
            let at = table.values.len();
            table.values.push(value.to_owned());
            table.used.push(false);
            table
                .paths
                .push((!path.is_empty()).then(|| path_in_table(path)));
            if !mbid.is_empty() {
                table
                    .mbids
                    .entry(mbid.to_ascii_lowercase())
                    .or_default()
                    .push(at);
            }
            let Some(path) = &table.paths[at] else {
                continue;
            };
            // A path that begins with a dot is relative to the table, not an ending of any path.
            let dotted = path.starts_with(".") || path.starts_with("..");
            // `join` leaves an absolute path as it is.
            if path.is_absolute() || dotted {
                let folder = file.parent().unwrap_or(Path::new(""));
                table
                    .exact
                    .entry(stored_path(&folder.join(path)))
                    .or_default()
                    .push(at);
            } else if let Some(name) = path.file_name() {
                // By the last component, so that a track is compared only with possible endings.
                table
                    .endings
                    .entry(name.to_owned())
                    .or_default()
                    .push((path.to_owned(), at));
            }
        }
        Ok(table)
    }

    /// As [`read`](Self::read); paths that match no file of the library are translated to those of this machine.
    pub(super) fn of_library(
        file: &Path,
        column: &str,
        library: &Library,
    ) -> Result<Self, EngineError> {
        let mut table = Self::read(file, column)?;
        let mut is_there = vec![false; table.values.len()];
        // Lines that match are left unchanged; only for the others, other spellings of the path are
        // tried.
        for (path, _) in library.files().paths_of_tracks()? {
            table.lines_of(&path).for_each(|at| is_there[at] = true);
        }
        let mut lookup = PathLookup::new(library);
        for (at, path) in table.paths.iter().enumerate() {
            if let Some(path) = path.as_ref().filter(|_| !is_there[at])
                && let Some(meant) = lookup.file(path)?
            {
                table.exact.entry(meant).or_default().push(at);
            }
        }
        Ok(table)
    }

    /// The lines that name a file.
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

    /// The values of the lines that match a track, by one of its files or by its recording at `MusicBrainz`, in the order of
    /// the lines.
    pub(super) fn of<'a>(
        &mut self,
        files: impl IntoIterator<Item = &'a Path>,
        mbid: Option<&str>,
    ) -> Vec<String> {
        let of_mbid = mbid.and_then(|mbid| self.mbids.get(&mbid.to_ascii_lowercase()));
        let mut found: Vec<usize> = of_mbid.cloned().unwrap_or_default();
        for path in files {
            found.extend(self.lines_of(path));
        }
        // A line may match a track several times, by its files and by its recording.
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
            return Err(EngineError::Table {
                path: self.file.clone(),
                line: 0,
                problem: match self.values.len() {
                    0 => "expected rows below the header, found none".to_owned(),
                    lines if self.mbids.is_empty() => format!(
                        "no file of this library is named: expected paths of its files, found {} of others",
                        count(lines as u64, "path")
                    ),
                    lines => format!(
                        "no track of this library is named: expected its paths or recordings, found {} of others",
                        count(lines as u64, "line")
                    ),
                },
            });
        }
        Ok(self.values.len() - used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_library::testing::{library, track};

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
        let mut table = PathTable::read(&file, "genre").unwrap();
        assert_eq!(
            table.of([&*root.join("a/one.mp3")], None),
            ["Rock", "Ska; Dub"]
        );
        assert_eq!(
            table.of([&*root.join("aa/one.mp3")], None),
            Vec::<String>::new()
        );
        assert_eq!(table.of([&*root.join("b/two.mp3")], None), ["Jazz"]);
        assert_eq!(table.of([&*root.join("c/three.mp3")], None), ["Pop"]);
        assert_eq!(table.unused().unwrap(), 1);
        std::fs::write(&file, "path,style\nx,y\n").unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            PathTable::read(&file, "genre").err().unwrap().to_string()
        };
        let error = refused(b"path,style\nx,y\n");
        assert!(
            error.contains("path and genre") && error.contains("path,style"),
            "{error}"
        );
        assert!(refused(b"").ends_with("found an empty file"));
        let error = refused(b"sep=;\r\npath;genre\r\na.mp3;Rock\r\n;Pop\r\n");
        assert!(
            error.ends_with("line 4: expected a path, found nothing"),
            "{error}"
        );
        // Excel may end tables with rows of separators.
        std::fs::write(&file, "path;genre\na.mp3;Rock\n;;\n;\n").unwrap();
        assert_eq!(PathTable::read(&file, "genre").unwrap().values, ["Rock"]);
        for (text, end) in [
            (
                "\n\npath;style\n",
                "line 3: expected the columns path and genre",
            ),
            ("\n\npath;genre\n\n\n;Pop\n", "line 6: expected a path"),
            ("path;genre\na;\"Rock\nb;Pop\n", "line 2: a quote is opened"),
            (
                "path;genre\na;\"Rock\nb;Pop\"\n",
                "line 2: expected a path and genre on one",
            ),
        ] {
            let error = refused(text.as_bytes());
            assert!(error.contains(end), "{error}");
        }
    }

    #[test]
    fn tables_of_a_german_excel_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        let text = "Path\tGenre\r\nm/Bjök.mp3\tRock; Pop, too\r\n";
        let utf_16 = text.encode_utf16().flat_map(u16::to_le_bytes);
        let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf_16).collect();
        let western = b"sep=;\r\nPath;Genre\r\nm/Bj\xf6k.mp3;\"Rock; Pop, too\"\r\n";
        for bytes in [&utf_16[..], text.as_bytes(), &western[..], &western[7..]] {
            std::fs::write(&file, bytes).unwrap();
            let mut table = PathTable::read(&file, "genre").unwrap();
            let found = table.of([Path::new("/m/Bjök.mp3")], None);
            assert_eq!(found, ["Rock; Pop, too"]);
        }
    }

    #[test]
    fn paths_of_another_machine_match_files_of_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut library = library(folder.path(), 2);
        let mut paths = Vec::new();
        for (seed, name) in ["/m/Björk/Début/01.mp3", "/m/Kino/Début/01.mp3"]
            .iter()
            .enumerate()
        {
            let mut new = track(seed as u64, vec![1.0, 0.0], 0);
            new.file.path = PathBuf::from(name);
            library.insert_track(&new).unwrap();
            paths.push(new.file.path);
        }
        let file = folder.path().join("labels.csv");
        let text = "path,genre\nD:\\Musik\\Björk\\DÉBUT\\01.mp3,Pop\n/n/Nobody/Début/01.mp3,Two are meant\n/m/Kino/Début/01.mp3,Rock\n";
        std::fs::write(&file, text).unwrap();
        let mut table = PathTable::of_library(&file, "genre", &library).unwrap();
        assert_eq!(table.of([&*paths[0]], None), ["Pop"]);
        assert_eq!(table.of([&*paths[1]], None), ["Rock"]);
        assert_eq!(table.unused().unwrap(), 1);
    }

    #[test]
    fn recordings_of_a_table_match_by_id_and_by_file() {
        const ONE: &str = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae";
        const TWO: &str = "b1a9c0e9-d987-4042-ae91-78d6a3267d69";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        let text = format!(
            "mbid,genre,path\n{},Rock,\n{TWO},Jazz,two.mp3\n,Pop,two.mp3\n{TWO},Soul,\n0,Ska,\n",
            ONE.to_uppercase()
        );
        std::fs::write(&file, text).unwrap();
        let mut table = PathTable::read(&file, "genre").unwrap();
        let one = Path::new("/m/one.mp3");
        let two = Path::new("/m/two.mp3");
        assert_eq!(table.of([one], Some(ONE)), ["Rock"]);
        assert_eq!(table.of([one], None), Vec::<String>::new());
        assert_eq!(table.of([one], Some(TWO)), ["Jazz", "Soul"]);
        assert_eq!(
            table.of([one, two], Some(TWO)),
            ["Jazz", "Pop", "Soul"],
            "each line once"
        );
        assert_eq!(table.unused().unwrap(), 1);
        std::fs::write(
            &file,
            format!("mb_trackid,genres,path\n{ONE},Rock; Pop,/m/1.mp3\n"),
        )
        .unwrap();
        assert_eq!(
            PathTable::read(&file, "genre")
                .unwrap()
                .of([one], Some(ONE)),
            ["Rock; Pop"]
        );
        std::fs::write(&file, "mbid,genre\n0,Rock\n").unwrap();
        let error = PathTable::read(&file, "genre")
            .unwrap()
            .unused()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected its paths or recordings, found 1 line of others"),
            "{error}"
        );
        std::fs::write(&file, "mbid,genre\n,Rock\n").unwrap();
        let error = PathTable::read(&file, "genre").err().unwrap().to_string();
        assert!(
            error.contains("expected a path or an mbid, found nothing"),
            "{error}"
        );
    }
}
