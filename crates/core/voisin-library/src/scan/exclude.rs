//! Patterns that keep files and folders out, written as in a `.gitignore`.

use std::path::{Path, PathBuf};

use voisin_base::regular_file;

/// A file of patterns for the folder that it lies in, and all below.
pub const IGNORE_FILE: &str = ".voisinignore";

/// A longer file of patterns is refused.
// Each pattern is compared with every file below.
const LARGEST: u64 = 1 << 20;

/// Patterns that a user gave: `*.wav`, `Podcasts/`, `/incoming`, `!keep.wav`.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    patterns: Vec<Pattern>,
}

/// One line of a `.gitignore`.
#[derive(Debug, Clone)]
struct Pattern {
    /// Against the whole path below its folder; one without a slash stands for that name at any depth.
    glob: String,
    /// Of folders only.
    folders_only: bool,
    /// Takes back what earlier ones left out.
    keeps: bool,
}

impl Pattern {
    /// A line of a file; `None` for a comment.
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
            // As git has it: a slash at the beginning or
            // in the middle ties a pattern to its folder.
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

/// Verdict of the last pattern that fits: whether the path is left out; `None` if none fits.
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
    /// From patterns as in `.gitignore` files; an option's value is never a comment.
    pub fn new(patterns: &[String]) -> Self {
        Self {
            patterns: patterns
                .iter()
                .filter_map(|line| Pattern::read(line))
                .collect(),
        }
    }
}

/// Whether a comment is rather a folder's name, such as `#recycle/`.
// Synology's bin `#recycle` is the name that people trip over: `#` begins a comment.
fn looks_like_folder(line: &str) -> bool {
    let name = line
        .strip_prefix('#')
        .and_then(|rest| rest.strip_suffix('/'));
    name.is_some_and(|name| !name.is_empty() && !name.contains([' ', '\t', '#']))
}

/// The patterns that hold where a walk is.
pub(super) struct Ignored<'a> {
    root: PathBuf,
    given: &'a Exclusions,
    /// Those of the folders from the root down to here: the depth of each, the folder, its patterns.
    files: Vec<(usize, PathBuf, Vec<Pattern>)>,
}

impl<'a> Ignored<'a> {
    /// Where a walk of `root` begins.
    pub(super) fn below(root: &Path, given: &'a Exclusions) -> Self {
        Self {
            root: root.to_owned(),
            given,
            files: Vec::new(),
        }
    }

    /// Reads the patterns of a folder as the walk enters it. Returns the lines that are comments, and look as if they were to
    /// leave a folder out.
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

    /// Whether something at `depth` is left out: the patterns that were given decide, then those nearest to it.
    pub(super) fn has(&mut self, depth: usize, path: &Path, is_folder: bool) -> bool {
        self.files.retain(|(above, ..)| *above < depth);
        // An option is said for this one run, and stands above files that lie around.
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
        // On the command line nothing is a comment, and a backslash does no harm.
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
