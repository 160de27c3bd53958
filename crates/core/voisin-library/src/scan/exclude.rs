//! Patterns that exclude files and folders, in the syntax of `.gitignore`.

use std::path::{Path, PathBuf};

use voisin_base::regular_file;

/// A file of patterns for its folder and all below.
pub const IGNORE_FILE: &str = ".voisinignore";

/// Most bytes of a file of patterns.
// Each pattern is matched with every file below.
const LARGEST: u64 = 1 << 20;

/// Patterns given by a user: `*.wav`, `Podcasts/`, `/incoming`, `!keep.wav`.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    patterns: Vec<Pattern>,
}

/// One line of a `.gitignore`.
#[derive(Debug, Clone)]
struct Pattern {
    /// Matched with the whole path below its folder; a pattern without a slash matches a name at any
    /// depth.
    glob: String,
    /// It matches folders only.
    folders_only: bool,
    /// It includes again what earlier patterns excluded (`!`).
    keeps: bool,
}

impl Pattern {
    /// Parses a line of a file; `None` for a comment.
    fn of_line(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            None
        } else {
            Self::read(line)
        }
    }

    /// `None` for an empty line.
    fn read(line: &str) -> Option<Self> {
        // A blank at the end counts only after a backslash.
        let line = if line.ends_with("\\ ") {
            line
        } else {
            line.trim_end()
        };
        if line.is_empty() {
            return None;
        }
        let (keeps, line) = line
            .strip_prefix('!')
            .map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line
            .strip_suffix('/')
            .map_or((false, line), |rest| (true, rest));
        let glob = match line.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            // As in git: a slash at the beginning or in the middle anchors a pattern to its folder.
            None if line.contains('/') => line.to_owned(),
            None => format!("**/{line}"),
        };
        Some(Self {
            glob,
            folders_only,
            keeps,
        })
    }

    /// - `below`: the path below the pattern's folder, with slashes
    fn fits(&self, below: &str, is_folder: bool) -> bool {
        (is_folder || !self.folders_only) && fast_glob::glob_match(&self.glob, below)
    }
}

/// Whether the last matching pattern excludes the path; `None` if none matches.
fn verdict(patterns: &[Pattern], root: &Path, path: &Path, is_folder: bool) -> Option<bool> {
    let below = path
        .strip_prefix(root)
        .ok()?
        .to_string_lossy()
        // Patterns have slashes on every system.
        .replace(std::path::MAIN_SEPARATOR, "/");
    patterns
        .iter()
        .rev()
        .find(|pattern| pattern.fits(&below, is_folder))
        .map(|pattern| !pattern.keeps)
}

impl Exclusions {
    /// Parses the values of an option, none of which is a comment.
    pub fn new(patterns: &[String]) -> Self {
        Self {
            patterns: patterns
                .iter()
                .filter_map(|line| Pattern::read(line))
                .collect(),
        }
    }
}

/// Whether a comment is probably meant as a folder's name, such as `#recycle/`.
// Such as Synology's bin `#recycle`: `#` begins a comment.
fn looks_like_folder(line: &str) -> bool {
    let name = line
        .strip_prefix('#')
        .and_then(|rest| rest.strip_suffix('/'));
    name.is_some_and(|name| !name.is_empty() && !name.contains([' ', '\t', '#']))
}

/// The patterns that apply at the current place of a walk.
pub(super) struct Ignored<'a> {
    root: PathBuf,
    given: &'a Exclusions,
    /// Depth, path and patterns of each folder from the root down to here.
    files: Vec<(usize, PathBuf, Vec<Pattern>)>,
}

impl<'a> Ignored<'a> {
    /// The state at the beginning of a walk of `root`.
    pub(super) fn below(root: &Path, given: &'a Exclusions) -> Self {
        Self {
            root: root.to_owned(),
            given,
            files: Vec::new(),
        }
    }

    /// Reads the patterns of a folder as the walk enters it. Returns the comments that look like folder names.
    pub(super) fn enter(&mut self, depth: usize, folder: &Path) -> std::io::Result<Vec<String>> {
        self.files.retain(|(above, ..)| *above < depth);
        match regular_file::read(&folder.join(IGNORE_FILE), LARGEST) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                // Windows' Notepad begins a file with a byte order
                // mark, which would be part of the first pattern.
                let lines = text.trim_start_matches('\u{feff}').lines();
                let patterns = lines.clone().filter_map(Pattern::of_line).collect();
                self.files.push((depth, folder.to_owned(), patterns));
                Ok(lines
                    .map(str::trim_end)
                    .filter(|line| looks_like_folder(line))
                    .map(str::to_owned)
                    .collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether a path at `depth` is excluded: the user's patterns take precedence, then the nearest file's.
    pub(super) fn has(&mut self, depth: usize, path: &Path, is_folder: bool) -> bool {
        self.files.retain(|(above, ..)| *above < depth);
        // An option is meant for this run and takes precedence over files.
        let given = verdict(&self.given.patterns, &self.root, path, is_folder);
        let found = self
            .files
            .iter()
            .rev()
            .map(|(_, root, patterns)| verdict(patterns, root, path, is_folder));
        std::iter::once(given)
            .chain(found)
            .flatten()
            .next()
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_as_git_reads_them() {
        for (pattern, path, is_folder, fits) in [
            ("*.wav", "a/b/x.wav", false, true),
            ("*.wav", "x.mp3", false, false),
            ("/x.wav", "x.wav", false, true),
            ("/x.wav", "a/x.wav", false, false),
            ("a/*.wav", "a/x.wav", false, true),
            ("a/*.wav", "b/a/x.wav", false, false),
            ("a/*.wav", "a/b/x.wav", false, false),
            ("a/**/x.wav", "a/b/c/x.wav", false, true),
            ("**/live", "a/live", true, true),
            ("live/", "a/live", true, true),
            ("live/", "a/live", false, false),
            ("take ?.wav", "take 1.wav", false, true),
            ("take [0-9].wav", "take x.wav", false, false),
        ] {
            let pattern = Pattern::read(pattern).unwrap();
            assert_eq!(pattern.fits(path, is_folder), fits, "{pattern:?} {path}");
        }
        assert!(Pattern::of_line("# words").is_none() && Pattern::of_line("  ").is_none());
        // On the command line `#` begins no comment, and a backslash is allowed.
        let bin = Path::new("/m/a/#recycle");
        for (pattern, of_line) in [("#recycle/", None), ("\\#recycle/", Some(true))] {
            let given = Exclusions::new(&[pattern.to_owned()]);
            assert_eq!(
                verdict(&given.patterns, Path::new("/m"), bin, true),
                Some(true),
                "{pattern}"
            );
            let lines: Vec<Pattern> = Pattern::of_line(pattern).into_iter().collect();
            assert_eq!(
                verdict(&lines, Path::new("/m"), bin, true),
                of_line,
                "{pattern}"
            );
        }
        assert!(
            looks_like_folder("#recycle/")
                && !looks_like_folder("# bins/")
                && !looks_like_folder("a/")
        );
        let given = Exclusions::new(&["*.wav".to_owned(), "!keep.wav".to_owned()]);
        let says = |path: &str| {
            verdict(
                &given.patterns,
                Path::new("/m"),
                &Path::new("/m").join(path),
                false,
            )
        };
        assert_eq!(
            (says("a/x.wav"), says("a/keep.wav"), says("x.mp3")),
            (Some(true), Some(false), None)
        );
    }
}
