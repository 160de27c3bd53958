//! Finds the files of lists written on other systems: on the disk ([`PathFinder`]) or among known files
//! ([`KnownFiles`]).
//!
//! For: names in other case, in other Unicode normal forms, with `\` or `%20`, with a drive, host or folder that does
//! not exist here. Not for: exact names, which are looked up first.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use voisin_base::encoding::OldEncoding;

/// Parent folders of the list that are searched for the end of a name: lists are beside the music or in a folder below
/// it.
const ABOVE: usize = 3;

/// Most last components of a name that are used: no collection is deeper.
const DEEPEST: usize = 32;

/// Looks up names of one list on the disk. Each folder is read once.
pub struct PathFinder {
    base: PathBuf,
    encoding: OldEncoding,
    /// The names in folders, folded and as they are.
    listings: HashMap<PathBuf, Vec<(String, OsString)>>,
}

/// A name in lower case and composed form (NFC): equal for names that file systems may consider equal.
fn folded(name: &str) -> String {
    // Composed again: the lower case of some letters (İ) is decomposed.
    name.nfc()
        .collect::<String>()
        .to_lowercase()
        .nfc()
        .collect()
}

impl PathFinder {
    /// - `base`: the folder of the list
    /// - `encoding`: that of names that are not UTF-8
    pub fn new(base: &Path, encoding: OldEncoding) -> Self {
        Self {
            base: base.to_owned(),
            encoding,
            listings: HashMap::new(),
        }
    }

    /// The best matching file: by the whole name in any form, else by its longest end.
    pub fn find(&mut self, name: &[u8]) -> Option<PathBuf> {
        let forms = forms(name, self.encoding);
        let whole = forms.iter().find_map(|form| {
            // An absolute name replaces the folder.
            let start = self.base.join(if form.starts_with('/') { "/" } else { "" });
            self.file(start, &steps(form))
        });
        whole.or_else(|| forms.iter().find_map(|form| self.tail(&steps(form))))
    }

    /// The file at these components below `start`.
    fn file(&mut self, start: PathBuf, steps: &[&str]) -> Option<PathBuf> {
        let mut path = start;
        for step in steps {
            let next = path.join(step);
            // If the exact name exists, no folder is listed.
            path = if *step == ".." || next.symlink_metadata().is_ok() {
                next
            } else {
                let names = self.listings.entry(path.clone());
                let names = names.or_insert_with(|| listing(&path));
                let wanted = folded(step);
                let (_, name) = names.iter().find(|(listed, _)| *listed == wanted)?;
                path.join(name)
            };
        }
        (!steps.is_empty() && path.is_file()).then_some(path)
    }

    /// The file that matches most of the last components, below the list's folder or one above it.
    fn tail(&mut self, steps: &[&str]) -> Option<PathBuf> {
        let steps = last_steps(steps);
        let folders = self.base.ancestors().take(1 + ABOVE);
        let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        // Longest end first: `Album/01.flac` is more specific than `01.flac`. A file name alone is too unspecific to
        // be searched elsewhere.
        (0..steps.len()).find_map(|first| {
            let end = &steps[first..];
            let within = if end.len() < 2 { 1 } else { folders.len() };
            let mut folders = folders.iter().take(within);
            folders.find_map(|folder| self.file(folder.clone(), end))
        })
    }
}

/// Known files, searchable by the ends of their paths.
pub struct KnownFiles<T> {
    /// By folded name; with the folded components of the path, the last first.
    by_name: HashMap<String, Vec<(Vec<String>, T)>>,
}

/// The last components, folded as on file systems that ignore case, the last first.
fn backwards(path: &str) -> Vec<String> {
    let steps = steps(path);
    let last = last_steps(&steps).iter().rev();
    last.map(|step| folded(step)).collect()
}

impl<T: Copy> KnownFiles<T> {
    /// Files with a value for each.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a Path, T)>) -> Self {
        let mut by_name: HashMap<String, Vec<(Vec<String>, T)>> = HashMap::new();
        for (path, known) in files {
            let steps = backwards(&path.to_string_lossy());
            if let Some(name) = steps.first().cloned() {
                by_name.entry(name).or_default().push((steps, known));
            }
        }
        Self { by_name }
    }

    /// The files whose path has the most last components in common with a name; several if they have equally many.
    /// Names are compared without case.
    ///
    /// A file name alone only matches if the name has no folders.
    pub fn find(&self, name: &[u8]) -> Vec<T> {
        let forms = forms(name, OldEncoding::detect([name]));
        let mut best = forms.iter().map(|form| self.best(&backwards(form)));
        best.find(|found| !found.is_empty()).unwrap_or_default()
    }

    fn best(&self, steps: &[String]) -> Vec<T> {
        let known = steps.first().and_then(|name| self.by_name.get(name));
        let mut best = Vec::new();
        // A name with folders must match in the last of them, too: "01.mp3" is in every album.
        let mut most = steps.len().min(2);
        for (path, known) in known.into_iter().flatten() {
            let pairs = path.iter().zip(steps);
            let alike = pairs.take_while(|(one, other)| one == other).count();
            if alike > most {
                best.clear();
                most = alike;
            }
            if alike == most {
                best.push(*known);
            }
        }
        best
    }
}

/// The components after the last `..`, which cancels those before it, at most [`DEEPEST`].
fn last_steps<'a, 'b>(steps: &'a [&'b str]) -> &'a [&'b str] {
    let behind = steps.iter().rposition(|step| *step == "..");
    let first = behind.map_or(0, |at| at + 1);
    &steps[first.max(steps.len().saturating_sub(DEEPEST))..]
}

fn listing(folder: &Path) -> Vec<(String, OsString)> {
    // A relative list may have no folder in its name.
    let folder = Path::new(".").join(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
    // Sorted, since entries have no fixed order and the first match must always be the same.
    names.sort();
    let names = names.into_iter();
    names
        .map(|name| (folded(&name.to_string_lossy()), name))
        .collect()
}

/// A name as text with `/` between its components: as it is, and percent-decoded.
fn forms(name: &[u8], encoding: OldEncoding) -> Vec<String> {
    // Unchanged before percent-decoded: a file may be called `100%25.mp3`.
    let forms = [name.to_vec(), percent_decoded(name)];
    let texts = forms.iter().map(|bytes| encoding.decode(bytes));
    // No path contains a NUL.
    let texts = texts.filter(|text| !text.contains('\0'));
    texts.map(|text| text.trim().replace('\\', "/")).collect()
}

fn steps(form: &str) -> Vec<&str> {
    let steps = form.split('/');
    steps.filter(|step| !matches!(*step, "" | ".")).collect()
}

/// `%41` → `A`; invalid escapes stay unchanged.
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_systems_lead_to_known_files() {
        let paths = [
            "/music/Björk/Début/01 Human.mp3",
            "/music/Other/Début/01 Human.mp3",
            "/music/Other/Home/Intro.mp3",
        ];
        let known = KnownFiles::new(paths.iter().zip(1..).map(|(path, n)| (Path::new(path), n)));
        for (name, expected) in [
            ("D:\\Musik\\BJÖRK\\De\u{301}but\\01 human.MP3", vec![1]),
            ("/data/Bj%C3%B6rk/D%C3%A9but/01%20Human.mp3", vec![1]),
            ("Début/01 Human.mp3", vec![1, 2]),
            ("Intro.mp3", vec![3]),
            ("/elsewhere/Nobody/Intro.mp3", vec![]),
        ] {
            assert_eq!(known.find(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn names_of_other_systems_lead_to_the_files_here() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "Artist/Caf\u{e9}.mp3",
            "Artist/Plain.mp3",
            "Lists/Artist/Plain.mp3",
            "alone.mp3",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let western = OldEncoding::detect([]);
        let find = |name: &[u8]| {
            let found = PathFinder::new(&folder.path().join("Lists"), western).find(name)?;
            let below = found.strip_prefix(folder.path()).ok()?;
            Some(below.to_str()?.replace("Lists/../", ""))
        };
        for (name, expected) in [
            (&b"..\\Artist\\Caf\xe9.mp3"[..], "Artist/Caf\u{e9}.mp3"),
            (b"../artist/CAF%C3%89.MP3", "Artist/Caf\u{e9}.mp3"),
            (b"\\\\nas\\ARTIST\\Cafe\xcc\x81.mp3", "Artist/Caf\u{e9}.mp3"),
            // The list's own folder counts before others.
            (b"D:\\x\\Artist\\Plain.mp3", "Lists/Artist/Plain.mp3"),
        ] {
            let found = find(name);
            assert_eq!(found.as_deref(), Some(expected), "{}", name.escape_ascii());
        }
        for none in [&b"D:\\x\\alone.mp3"[..], b"", b"..", b"\0", b"//"] {
            assert_eq!(find(none), None, "{}", none.escape_ascii());
        }
    }
}
