//! Patterns that exclude files and folders, in the syntax of `.gitignore`.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A file of patterns for its folder and all below.
pub const IGNORE_FILE: &str = ".voisinignore";

/// Patterns given by a user: `*.wav`, `Podcasts/`, `/incoming`, `!keep.wav`.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    patterns: Vec<String>,
}

impl Exclusions {
    /// Takes the values of an option, none of which is a comment.
    pub fn new(patterns: &[String]) -> Self {
        Self {
            patterns: patterns.to_vec(),
        }
    }

    fn below(&self, root: &Path) -> Gitignore {
        let mut builder = GitignoreBuilder::new(root);
        for pattern in &self.patterns {
            // In a file `#` begins a comment, on the command line a name such as `#recycle/`.
            let escape = if pattern.starts_with('#') { "\\" } else { "" };
            // A pattern that is no glob matches nothing.
            let _ = builder.add_line(None, &format!("{escape}{pattern}"));
        }
        builder.build().unwrap_or_else(|_| Gitignore::empty())
    }
}

/// The patterns that apply at the current place of a walk.
pub(super) struct Ignored {
    given: Gitignore,
    /// Depth and patterns of each folder from the root down to here.
    files: Vec<(usize, Gitignore)>,
}

impl Ignored {
    /// The state at the beginning of a walk of `root`.
    pub(super) fn below(root: &Path, given: &Exclusions) -> Self {
        Self {
            given: given.below(root),
            files: Vec::new(),
        }
    }

    /// Reads the patterns of a folder as the walk enters it.
    pub(super) fn enter(&mut self, depth: usize, folder: &Path) -> Result<(), ignore::Error> {
        self.files.retain(|(above, _)| *above < depth);
        let file = folder.join(IGNORE_FILE);
        // A pipe of this name would block.
        if !file.is_file() {
            return Ok(());
        }
        let (patterns, error) = Gitignore::new(file);
        self.files.push((depth, patterns));
        error.map_or(Ok(()), Err)
    }

    /// Whether a path at `depth` is excluded: the user's patterns take precedence, then the nearest file's.
    pub(super) fn has(&mut self, depth: usize, path: &Path, is_folder: bool) -> bool {
        self.files.retain(|(above, _)| *above < depth);
        let files = self.files.iter().rev().map(|(_, patterns)| patterns);
        std::iter::once(&self.given)
            .chain(files)
            .map(|patterns| patterns.matched(path, is_folder))
            .find(|matched| !matched.is_none())
            .is_some_and(|matched| matched.is_ignore())
    }
}
