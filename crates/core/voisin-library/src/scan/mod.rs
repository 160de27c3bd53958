//! Finds the audio files in the folders, playlists, lists and single files that a user names.
//!
//! A fault of one path is reported and does not stop the rest. Only playlists are opened.
//!
//! Not for: reading audio (`voisin-audio`), or deciding which files the library has already
//! (`voisin-engine`).

mod exclude;
mod followed;
pub mod playlist;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::{DirEntry, WalkDir};

use super::paths;
use super::{FileRecord, mtime_ns, stored_path};
use exclude::Ignored;
pub use exclude::{Exclusions, IGNORE_FILE};
pub use playlist::{PlaylistEntry, is_playlist};
use voisin_base::path_matching::PathFinder;
use voisin_base::system_folders;

/// A playlist larger than this is refused: 64 MiB hold half a million paths.
const LARGEST_PLAYLIST: u64 = 64 << 20;

/// Files of these names exclude a folder and all below it.
const MARKERS: [&str; 2] = [".notmusic", ".nomedia"];

/// The result of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Files to add, without repeats, in the order of the arguments and sorted by name within a
    /// folder.
    pub files: Vec<FileRecord>,
    /// Paths that could not be read.
    pub problems: Vec<ScanProblem>,
    /// Folders left out because of `.notmusic` or `.nomedia`.
    pub skipped_folders: Vec<PathBuf>,
    /// Files and folders left out because of a pattern.
    pub excluded: Vec<PathBuf>,
    /// Bins, snapshots and system folders with audio files in them, which were left out.
    #[doc(hidden)]
    pub of_system: Vec<SystemFolder>,
    /// Comments in an [`IGNORE_FILE`] that look like patterns.
    pub idle_patterns: Vec<ScanProblem>,
    /// Files below folders that were skipped because their names have no extension (`01. Song`). They may be audio.
    pub unnamed: Vec<PathBuf>,
    /// Links below folders that lead out of them, which were not followed.
    pub leading_out: Vec<PathBuf>,
    /// The folders that were walked, in stored form: files of the library below them that this scan
    /// did not find are missing or left out.
    pub roots: Vec<PathBuf>,
}

/// Which links below a folder are followed. A folder argument may itself be a link, and links that stay below it are
/// always followed.
#[derive(Debug, Clone, Copy)]
pub enum Links<'a> {
    /// All of them.
    All,
    /// Of links that lead out of the folder only those below these folders (in stored form): else anyone who can write
    /// into a folder could add any file of the disk.
    Below(&'a [PathBuf]),
}

impl Links<'_> {
    /// Whether a link is followed.
    ///
    /// - `root`: the folder argument, free of links
    fn follow(self, link: &Path, root: &Path) -> bool {
        match self {
            Self::All => true,
            Self::Below(folders) => {
                folders.iter().any(|folder| link.starts_with(folder))
                    || dunce::canonicalize(link).is_ok_and(|target| target.starts_with(root))
            }
        }
    }
}

/// A system folder that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemFolder {
    /// The folder.
    #[serde(with = "crate::record::path_form")]
    pub folder: PathBuf,
    /// Audio files below it.
    pub files: u64,
    /// Whether counting stopped early, so that there may be more files.
    pub is_more: bool,
}

/// A path that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanProblem {
    /// As it was given, or as it is in a playlist.
    pub path: PathBuf,
    /// In one line.
    pub reason: String,
}

/// Finds the audio files that `arguments` stand for.
///
/// - A folder is walked with all below it; all links are followed, no folder twice. Left out are hidden files and
///   folders, folders with a `.notmusic` or `.nomedia`, and bins, snapshots and system folders ([`system_folders`]),
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
    links: Links<'_>,
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
    let Scan {
        roots, of_system, ..
    } = &mut scanner.scan;
    // A folder that is an argument itself is not left out.
    of_system.retain(|left_out| !roots.contains(&left_out.folder));
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
    links: Links<'a>,
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

    /// Whether an entry is a folder or audio.
    fn is_of_interest(&self, entry: &DirEntry) -> bool {
        entry.file_type().is_dir() || (self.is_audio)(entry.path())
    }

    fn folder(&mut self, path: &Path) {
        let root = match dunce::canonicalize(path) {
            Ok(root) => root,
            Err(error) => return self.problem(path, &error),
        };
        // Two folder sets, because the closure below borrows one while files are being taken.
        let mut visited = std::mem::take(&mut self.folders);
        let mut skipped = Vec::new();
        let mut ignored = Ignored::below(&root, self.exclusions);
        let mut walk = WalkDir::new(&root)
            // links that lead out are filtered below, where the root is known
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
                        let path = error.path().unwrap_or(&root).to_path_buf();
                        let reason = error
                            .io_error()
                            .map_or_else(|| error.to_string(), ToString::to_string);
                        self.problem(&path, &reason);
                    }
                    continue;
                }
            };
            // Before hidden folders: most bins are hidden, but their files are counted.
            if is_of_system(&entry) {
                walk.skip_current_dir();
                self.leave_to_system(entry.path());
            } else if entry.depth() > 0 && is_hidden(&entry) {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            } else if entry.depth() > 0
                && ignored.has(entry.depth(), entry.path(), entry.file_type().is_dir())
            {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                    self.scan.excluded.push(entry.into_path());
                } else if (self.is_audio)(entry.path()) {
                    self.scan.excluded.push(entry.into_path());
                }
            } else if entry.depth() > 0
                && entry.path_is_symlink()
                // A link to a picture need not be reported.
                && self.is_of_interest(&entry)
                && !self.links.follow(entry.path(), &root)
            {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
                self.scan.leading_out.push(entry.into_path());
            } else if entry.file_type().is_dir() {
                let file = entry.path().join(IGNORE_FILE);
                // A folder's own patterns apply to its content, so they are read on entering it.
                match ignored.enter(entry.depth(), entry.path()) {
                    Ok(idle) => {
                        self.scan
                            .idle_patterns
                            .extend(idle.into_iter().map(|line| ScanProblem {
                                path: file.clone(),
                                reason: format!(
                                    "\"{line}\" is a comment and leaves nothing out: write \\{line}"
                                ),
                            }));
                    }
                    Err(reason) => self.problem(&file, &reason),
                }
                if MARKERS
                    .iter()
                    // Not followed: a dangling link is a marker as well.
                    .any(|marker| entry.path().join(marker).symlink_metadata().is_ok())
                {
                    skipped.push(entry.into_path());
                    walk.skip_current_dir();
                // Walked before, by another argument or link. A folder that cannot be resolved is
                // walked.
                } else if dunce::canonicalize(entry.path())
                    .is_ok_and(|folder| !visited.insert(folder))
                {
                    walk.skip_current_dir();
                }
            } else if entry.file_type().is_file() && (self.is_audio)(entry.path()) {
                match entry.metadata() {
                    Ok(metadata) => {
                        let folder = entry.path().parent().unwrap_or(&root);
                        // resolving a folder costs system calls, and files come folder by folder
                        if parent.0 != folder {
                            let canonical = dunce::canonicalize(folder)
                                .unwrap_or_else(|_| folder.to_path_buf());
                            parent = (folder.to_path_buf(), canonical);
                        }
                        self.take(
                            parent.1.join(entry.file_name()),
                            entry.path_is_symlink(),
                            &metadata,
                        );
                    }
                    Err(error) => {
                        let reason = error
                            .io_error()
                            .map_or_else(|| error.to_string(), ToString::to_string);
                        self.problem(entry.path(), &reason);
                    }
                }
            } else if entry.file_type().is_file() && !has_ending(entry.path()) {
                self.scan.unnamed.push(entry.into_path());
            }
        }
        self.folders = visited;
        self.scan.skipped_folders.extend(skipped);
        if !self.scan.roots.contains(&root) {
            self.scan.roots.push(root);
        }
    }

    /// Counts the audio files in a system folder.
    fn leave_to_system(&mut self, folder: &Path) {
        /// Snapshots hold a whole library many times over.
        const MOST: usize = 10_000;
        let mut entries = WalkDir::new(folder).into_iter();
        let seen = entries.by_ref().take(MOST).filter_map(Result::ok);
        let is_audio = |entry: &DirEntry| {
            entry.file_type().is_file() && !is_hidden(entry) && (self.is_audio)(entry.path())
        };
        let files = seen.filter(is_audio).count() as u64;
        let is_more = entries.next().is_some();
        if files > 0 || is_more {
            self.scan.of_system.push(SystemFolder {
                folder: folder.to_owned(),
                files,
                is_more,
            });
        }
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
            let file = playlist::resolve(&entry, &base, &|path| path.is_file());
            let file = file.map(|file| match &entry {
                PlaylistEntry::Path(name) if !file.exists() => meant.find(name).unwrap_or(file),
                _ => file,
            });
            match file {
                Ok(file) => match std::fs::metadata(&file) {
                    // Lists that name each other would never end.
                    Ok(_) if is_playlist(&file) => {
                        self.problem(&file, &"playlists inside playlists are not followed");
                    }
                    Ok(metadata) if metadata.is_file() => self.file(&file, &metadata),
                    Ok(_) => self.problem(&file, &"is not a file"),
                    Err(error) => self.problem(&file, &error),
                },
                Err(remote) => self.problem(Path::new(&remote), &"is not a local file"),
            }
        }
    }
}

/// Whether a name has a file extension: `.jpg`, `.flac`.
fn has_ending(path: &Path) -> bool {
    // Extensions of audio and pictures have up to 4 letters; longer ones are probably part of the
    // name.
    const LONGEST: usize = 5;
    path.extension().is_some_and(|ending| {
        let ending = ending.as_encoded_bytes();
        ending.len() <= LONGEST && ending.iter().all(u8::is_ascii_alphanumeric)
    })
}

/// Whether a folder below an argument is a bin, a snapshot, or a system folder.
fn is_of_system(entry: &DirEntry) -> bool {
    let above = entry
        .path()
        .parent()
        // The argument itself is the user's choice, whatever its name.
        .filter(|_| entry.depth() > 1)
        .and_then(Path::file_name);
    let above = above.map(OsStr::to_string_lossy);
    let name = entry.file_name().to_string_lossy();
    // Both cases: Windows's disks may be mounted case-sensitively.
    let lists_deleted = || {
        let mut lists = ["INFO2", "info2"].iter();
        lists.any(|list| entry.path().join(list).is_file())
    };
    entry.depth() > 0
        && entry.file_type().is_dir()
        && (system_folders::is_of_system(&name, above.as_deref())
            || system_folders::is_old_bin(&name) && lists_deleted())
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}
