//! Finds the audio files in the folders, playlists, lists and single files that a user names.
//!
//! A fault of one path is reported and does not stop the rest. Only playlists are opened.
//!
//! Not for: reading audio (`voisin-audio`), or deciding which files the library has already
//! (`voisin`).

mod exclude;
pub mod playlist;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::paths;
use super::{FileRecord, mtime_ns, stored_path};
use crate::path_matching::PathFinder;
use exclude::Ignored;
pub use exclude::{Exclusions, IGNORE_FILE};
pub use playlist::is_playlist;

/// A playlist larger than this is refused: 64 MiB hold half a million paths.
const LARGEST_PLAYLIST: u64 = 64 << 20;

/// Files of these names exclude a folder and all below it.
const MARKERS: [&str; 2] = [".notmusic", ".nomedia"];

/// Bins, snapshots and metadata of Synology, QNAP, `NetApp`, Windows, macOS and Linux, in lower case; others are hidden.
const SYSTEM_FOLDERS: [&str; 10] = [
    "#recycle",
    "#snapshot",
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "~snapshot",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "lost+found",
];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Files to add, without repeats, in the order of the arguments and sorted by name within a
    /// folder.
    pub files: Vec<FileRecord>,
    pub problems: Vec<ScanProblem>,
    /// Links below folders that lead out of them, which were not followed.
    pub leading_out: Vec<PathBuf>,
    /// Files below folders that are not taken for music by their names.
    pub others: u64,
    /// The folders that were walked, in stored form: files of the library below them that this scan
    /// did not find are missing or left out.
    pub roots: Vec<PathBuf>,
}

/// Which links below a folder are followed. A folder argument may itself be a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    All,
    /// Those that stay below the folder: else anyone who can write into it could add any file of the disk.
    Inside,
}

impl Links {
    /// - `root`: the folder argument, free of links
    fn follow(self, link: &Path, root: &Path) -> bool {
        self == Self::All || dunce::canonicalize(link).is_ok_and(|target| target.starts_with(root))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanProblem {
    /// As it was given, or as it is in a playlist.
    pub path: PathBuf,
    pub reason: String,
}

/// Finds the audio files that `arguments` stand for.
///
/// - A folder is walked with all below it; all links are followed, no folder twice. Left out are hidden files and
///   folders, folders with a `.notmusic` or `.nomedia`, and bins, snapshots and system folders,
///   unless they are arguments themselves. Of its files those are taken that `is_audio` accepts by name.
/// - A playlist (m3u, m3u8) stands for the files it lists, relative to its own folder.
/// - Any other file is taken, whatever its name.
///
/// A file reached by several ways is taken once.
///
/// Below a folder, the patterns of a `.voisinignore` there or above exclude files, in the syntax of `.gitignore`.
pub fn scan(arguments: &[PathBuf], is_audio: &dyn Fn(&Path) -> bool) -> Scan {
    scan_without(arguments, is_audio, &Exclusions::default(), Links::All)
}

/// As [`scan`], without paths below the folders that these patterns exclude, and following only these links.
pub fn scan_without(
    arguments: &[PathBuf],
    is_audio: &dyn Fn(&Path) -> bool,
    exclusions: &Exclusions,
    links: Links,
) -> Scan {
    let mut scanner = Scanner {
        scan: Scan::default(),
        files: HashSet::new(),
        folders: HashSet::new(),
        is_audio,
        exclusions,
        links,
    };
    for argument in arguments {
        scanner.argument(argument);
    }
    scanner.scan
}

/// Splits a list of paths, as from standard input: at NULs if there are any, else at line ends (`\n` or `\r\n`). Empty
/// ones are dropped.
pub fn split_list(bytes: &[u8]) -> Vec<PathBuf> {
    // As `find -print0` and `ls` write them; no path has a NUL.
    let separator = if bytes.contains(&0) { 0 } else { b'\n' };
    bytes
        .split(|&byte| byte == separator)
        .map(|line| {
            if separator == 0 {
                line
            } else {
                line.strip_suffix(b"\r").unwrap_or(line)
            }
        })
        .filter(|line| !line.is_empty())
        .map(paths::from_bytes)
        .collect()
}

struct Scanner<'a> {
    scan: Scan,
    /// Canonical paths of the files taken.
    files: HashSet<PathBuf>,
    /// Canonical paths of the folders walked.
    folders: HashSet<PathBuf>,
    is_audio: &'a dyn Fn(&Path) -> bool,
    exclusions: &'a Exclusions,
    links: Links,
}

impl Scanner<'_> {
    fn argument(&mut self, path: &Path) {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            Ok(metadata) if metadata.is_file() => {
                if is_playlist(path) {
                    self.playlist(path);
                } else {
                    self.file(path, &metadata);
                }
            }
            Ok(_) => self.problem(path, &"is neither a file nor a folder"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.problem(path, &"there is no such file or folder");
            }
            Err(error) => self.problem(path, &error),
        }
    }

    fn problem(&mut self, path: &Path, reason: &dyn std::fmt::Display) {
        self.scan.problems.push(ScanProblem {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        });
    }

    fn file(&mut self, path: &Path, metadata: &std::fs::Metadata) {
        self.take(stored_path(path), path.is_symlink(), metadata);
    }

    /// Takes a file under its stored path, unless it was taken under another name.
    fn take(&mut self, stored: PathBuf, is_link: bool, metadata: &std::fs::Metadata) {
        // Only for a link, as the folder of a stored path is canonical.
        let canonical = if is_link {
            dunce::canonicalize(&stored).unwrap_or_else(|_| stored.clone())
        } else {
            stored.clone()
        };
        if self.files.insert(canonical) {
            let size = metadata.len();
            let mtime_ns = mtime_ns(metadata);
            self.scan.files.push(FileRecord {
                path: stored,
                size,
                mtime_ns,
            });
        }
    }

    fn folder(&mut self, path: &Path) {
        let root = match dunce::canonicalize(path) {
            Ok(root) => root,
            Err(error) => return self.problem(path, &error),
        };
        let mut ignored = Ignored::below(&root, self.exclusions);
        let mut walk = WalkDir::new(&root)
            .follow_links(true)
            // directories have no order of their own
            .sort_by_file_name()
            .into_iter();
        // The folder of the last file, as walked and canonical.
        let mut parent = (PathBuf::new(), PathBuf::new());
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    // A link to a parent folder is no fault.
                    if error.loop_ancestor().is_none() {
                        self.walk_problem(error.path().unwrap_or(&root), &error);
                    }
                    continue;
                }
            };
            let is_folder = entry.file_type().is_dir();
            if self.leaves_out(&entry, &root, &mut ignored)
                || is_folder && !self.enters(&entry, &mut ignored)
            {
                if is_folder {
                    walk.skip_current_dir();
                }
            } else if entry.file_type().is_file() {
                if (self.is_audio)(entry.path()) {
                    self.found(&entry, &root, &mut parent);
                } else {
                    self.scan.others += 1;
                }
            }
        }
        if !self.scan.roots.contains(&root) {
            self.scan.roots.push(root);
        }
    }

    fn walk_problem(&mut self, path: &Path, error: &walkdir::Error) {
        match error.io_error() {
            Some(reason) => self.problem(path, reason),
            None => self.problem(path, error),
        }
    }

    /// Whether an entry below the folder is left out, for its name, by a pattern, or as a link.
    fn leaves_out(&mut self, entry: &DirEntry, root: &Path, ignored: &mut Ignored) -> bool {
        let is_folder = entry.file_type().is_dir();
        // The argument itself is the user's choice, whatever its name.
        if entry.depth() == 0 {
            return false;
        }
        if is_hidden(entry) || is_folder && is_of_system(entry) {
            return true;
        }
        if ignored.has(entry.depth(), entry.path(), is_folder) {
            return true;
        }
        // A link to a picture need not be reported.
        let leads_out = entry.path_is_symlink()
            && (is_folder || (self.is_audio)(entry.path()))
            && !self.links.follow(entry.path(), root);
        if leads_out {
            self.scan.leading_out.push(entry.path().to_owned());
        }
        leads_out
    }

    /// Whether to walk a folder, whose patterns are read: one without a marker that was not walked before, by another
    /// argument or link.
    fn enters(&mut self, entry: &DirEntry, ignored: &mut Ignored) -> bool {
        if let Err(error) = ignored.enter(entry.depth(), entry.path()) {
            self.problem(&entry.path().join(IGNORE_FILE), &error);
        }
        let is_marked = MARKERS
            .iter()
            // Not followed: a dangling link is a marker as well.
            .any(|marker| entry.path().join(marker).symlink_metadata().is_ok());
        // A folder that cannot be resolved is walked.
        !is_marked
            && dunce::canonicalize(entry.path()).map_or(true, |folder| self.folders.insert(folder))
    }

    /// Takes a file below a folder.
    ///
    /// - `parent`: the folder of the last file, as walked and canonical
    fn found(&mut self, entry: &DirEntry, root: &Path, parent: &mut (PathBuf, PathBuf)) {
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return self.walk_problem(entry.path(), &error),
        };
        let folder = entry.path().parent().unwrap_or(root);
        // resolving a folder costs system calls, and files come folder by folder
        if parent.0 != folder {
            let canonical = dunce::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
            *parent = (folder.to_path_buf(), canonical);
        }
        let stored = parent.1.join(entry.file_name());
        self.take(stored, entry.path_is_symlink(), &metadata);
    }

    fn playlist(&mut self, path: &Path) {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST_PLAYLIST + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return self.problem(path, &error);
        }
        // One byte more than allowed was requested above, to detect a larger file.
        if bytes.len() as u64 > LARGEST_PLAYLIST {
            return self.problem(path, &"playlist is larger than 64 MiB");
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let base = dunce::canonicalize(base).unwrap_or_else(|_| base.to_path_buf());
        // One for the whole list, so that each folder is read once.
        let mut meant = PathFinder::new(&base, playlist::encoding(&bytes));
        for entry in playlist::parse(&bytes) {
            let mut file = base.join(paths::from_bytes(&entry));
            // Lists are written by many programs, on other systems, too.
            if !file.exists() {
                file = meant.find(&entry).unwrap_or(file);
            }
            match std::fs::metadata(&file) {
                // Lists that name each other would never end.
                Ok(_) if is_playlist(&file) => {
                    self.problem(&file, &"playlists inside playlists are not followed");
                }
                Ok(metadata) if metadata.is_file() => self.file(&file, &metadata),
                Ok(_) => self.problem(&file, &"is not a file"),
                Err(error) => self.problem(&file, &error),
            }
        }
    }
}

fn is_of_system(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
    SYSTEM_FOLDERS.contains(&&*name)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}
