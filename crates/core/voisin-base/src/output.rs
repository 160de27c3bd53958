//! Output files that a user names, and the rules for replacing existing files.
//!
//! - Pages, pictures and reports carry a mark. Those that voisin made and that were not changed since are replaced.
//! - Other files (tables, lists, arrays, backups, and all that voisin did not make) are replaced only on request.
//! - `-` and `/dev/stdout` are standard output. Devices and pipes are opened and written, never replaced; output that
//!   must be a complete file, such as a database, is refused there.
//! - Links are followed: the rules apply to their target.
//!
//! Regular files are written by [`AtomicFile`]: they are complete or absent.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, folder_of};
use crate::regular_file;
use crate::remedy::Remedy;

/// Largest file that is checked for a mark: a larger one counts as changed.
const LARGEST: u64 = 1 << 30;
/// Bytes at the beginning of a text in which a mark is searched.
const BEGINNING: usize = 4096;
/// Hexadecimal digits of a mark's digest.
// 64 bits: against accidents, as there is no reason to forge a mark.
const DIGITS: usize = 16;
/// Most links that are followed in a row, as in Linux.
const LINKS: usize = 40;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// End of a PNG file's header: signature, length, type, 13 bytes, checksum.
const PNG_HEADER: usize = 33;
const PNG_MARK: (&[u8], &[u8]) = (b"tEXtSoftware\0voisin ", b"");
const HTML_MARK: (&[u8], &[u8]) = (b"<meta name=\"generator\" content=\"voisin ", b"\">");
/// Before and after the digest in manual pages.
const ROFF_MARK: (&[u8], &[u8]) = (b".\\\" made by voisin ", b"\n");
/// Before and after the digest in SVG and Markdown.
const COMMENT: (&[u8], &[u8]) = (b"<!-- made by voisin ", b" -->\n");

/// Why an output file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file exists that may not be replaced.
    #[error("{} is there already", .0.display())]
    Taken(PathBuf),
    /// The file exists and is no page of voisin, or one that was changed.
    #[error("{} is there already, and was not made by voisin or was changed since", .0.display())]
    Foreign(PathBuf),
    /// The file's path is a folder.
    #[error("{} is a folder, expected the name of a file to write", .0.display())]
    Folder(PathBuf),
    /// The folder's path is no folder.
    #[error("{}: expected a folder, found a file or a device: name another", .0.display())]
    NotAFolder(PathBuf),
    /// Two outputs have the same file.
    #[error("{} is the name of two outputs, expected one for each", .0.display())]
    Shared(PathBuf),
    /// The folder of the file does not exist.
    #[error(
        "{}: there is no folder {}: make it first, or name another",
        path.display(),
        folder_of(path).display()
    )]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// Output that must be a file on disk cannot go through a pipe.
    #[error("{} is {found}, expected the name of a file on disk, which can be written as a whole", path.display())]
    Stream {
        /// The path.
        path: PathBuf,
        /// The kind of file found there.
        found: &'static str,
    },
    /// The system refused.
    #[error("cannot write {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl OutputError {
    /// For `map_err`.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// The next step.
    pub fn remedy(&self) -> Option<Remedy> {
        matches!(self, Self::Taken(_) | Self::Foreign(_)).then_some(Remedy::Replace)
    }

    /// The system's kind of error, or the most similar one.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Taken(_) | Self::Foreign(_) => io::ErrorKind::AlreadyExists,
            Self::Folder(_) => io::ErrorKind::IsADirectory,
            Self::NotAFolder(_) => io::ErrorKind::NotADirectory,
            Self::NoFolder { .. } => io::ErrorKind::NotFound,
            Self::Shared(_) | Self::Stream { .. } => io::ErrorKind::InvalidInput,
            Self::Io { source, .. } => source.kind(),
        }
    }
}

/// The kind of contents, by the rules for existing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// A page, a picture or a report, which carries a mark.
    Page,
    Data,
    /// Contents that cannot go through a pipe.
    Whole,
}

/// The state of the file at a path, links followed.
enum TargetState {
    StandardOutput,
    Stream,
    /// A regular file.
    File(PathBuf, Metadata),
    Free(PathBuf),
}

/// An output file or stream that may be written by the rules.
#[derive(Debug, Clone)]
pub struct OutputTarget {
    path: PathBuf,
    contents: Contents,
    replaces: bool,
}

impl OutputTarget {
    /// For a page, a picture or a report.
    ///
    /// - `replaces`: replace any existing file
    pub fn page(path: &Path, replaces: bool) -> Result<Self, OutputError> {
        Self::new(path, Contents::Page, replaces)
    }

    /// For a table, a list, an array.
    ///
    /// - `replaces`: a file that is there
    pub fn data(path: &Path, replaces: bool) -> Result<Self, OutputError> {
        Self::new(path, Contents::Data, replaces)
    }

    /// For output that must be a file on disk, such as a database: `-`, devices and pipes are
    /// refused.
    ///
    /// - `replaces`: a file that is there
    pub fn whole(path: &Path, replaces: bool) -> Result<Self, OutputError> {
        Self::new(path, Contents::Whole, replaces)
    }

    fn new(path: &Path, contents: Contents, replaces: bool) -> Result<Self, OutputError> {
        let output = Self {
            path: path.to_owned(),
            contents,
            replaces,
        };
        // Checked before the work, which may take hours, and again when it is written.
        output.state()?;
        Ok(output)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is standard output, so that nothing else should be written there.
    pub fn is_standard(&self) -> bool {
        is_standard(&self.path)
    }

    /// Checks the present state, as another program may have written the file since.
    fn state(&self) -> Result<TargetState, OutputError> {
        let path = &self.path;
        if self.is_standard() {
            return match self.contents {
                Contents::Whole => Err(OutputError::Stream {
                    path: path.clone(),
                    found: "standard output",
                }),
                _ => Ok(TargetState::StandardOutput),
            };
        }
        let metadata = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let target = behind_links(path).map_err(OutputError::io(path))?;
                // `out/` means a folder, so it must not become a file.
                if target.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    return Err(OutputError::Folder(path.clone()));
                }
                if !folder_of(&target).is_dir() {
                    return Err(OutputError::NoFolder { path: target });
                }
                return Ok(TargetState::Free(target));
            }
            found => found.map_err(OutputError::io(path))?,
        };
        if metadata.is_dir() {
            return Err(OutputError::Folder(path.clone()));
        }
        if !metadata.is_file() {
            return match self.contents {
                Contents::Whole => Err(OutputError::Stream {
                    path: path.clone(),
                    found: "a device or a pipe",
                }),
                _ => Ok(TargetState::Stream),
            };
        }
        // Data have no mark: whether they were changed is unknown.
        if !self.replaces && self.contents != Contents::Page {
            return Err(OutputError::Taken(path.clone()));
        }
        if !self.replaces && !regular_file::read(path, LARGEST).is_ok_and(|bytes| is_marked(&bytes))
        {
            return Err(OutputError::Foreign(path.clone()));
        }
        Ok(TargetState::File(
            behind_links(path).map_err(OutputError::io(path))?,
            metadata,
        ))
    }

    /// The regular file it refers to, existing or not, for writers that open files themselves.
    pub fn target(&self) -> Result<PathBuf, OutputError> {
        match self.state()? {
            TargetState::File(target, _) | TargetState::Free(target) => Ok(target),
            TargetState::StandardOutput | TargetState::Stream => Ok(self.path.clone()),
        }
    }

    /// Refuses another output of the same run to the same file, by any path.
    pub fn check_apart(&self, other: &Self) -> Result<(), OutputError> {
        let place = |output: &Self| -> Result<_, OutputError> {
            Ok(match output.state()? {
                TargetState::StandardOutput => Some(PathBuf::from("-")),
                TargetState::Stream => None,
                TargetState::File(target, _) | TargetState::Free(target) => {
                    let folder = folder_of(&target).canonicalize();
                    let name = target.file_name();
                    Some(match (folder, name) {
                        (Ok(folder), Some(name)) => folder.join(name),
                        _ => target,
                    })
                }
            })
        };
        let mine = place(self)?;
        if mine.is_some() && mine == place(other)? {
            return Err(OutputError::Shared(other.path.clone()));
        }
        Ok(())
    }

    /// Opens it for writing; a regular file is renamed to its name by [`OutputFile::commit`].
    pub fn open(&self) -> Result<OutputFile, OutputError> {
        let failed = OutputError::io(&self.path);
        let (target, before) = match self.state()? {
            TargetState::StandardOutput => return Ok(OutputFile::StandardOutput),
            TargetState::Stream => {
                return Ok(OutputFile::Stream(
                    File::options()
                        .write(true)
                        .open(&self.path)
                        .map_err(failed)?,
                ));
            }
            TargetState::File(target, metadata) => (target, Some(metadata)),
            TargetState::Free(target) => (target, None),
        };
        // The link's target, or the rename would replace the link.
        let mut file = AtomicFile::create(&target).map_err(&failed)?;
        if let Some(before) = before {
            // Keeps the former permissions; some file systems have none.
            let _ = file.file().set_permissions(before.permissions());
        }
        Ok(OutputFile::Whole(file))
    }

    /// Writes all of it; a page gets its mark.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let marked = (self.contents == Contents::Page).then(|| marked(bytes.as_ref()));
        let mut file = self.open()?;
        file.write_all(marked.as_deref().unwrap_or(bytes.as_ref()))
            .and_then(|()| file.commit())
            .map_err(OutputError::io(&self.path))
    }
}

/// An [`OutputTarget`] that is being written.
#[derive(Debug)]
pub enum OutputFile {
    /// Standard output.
    StandardOutput,
    /// A device or a pipe, which is written directly.
    Stream(File),
    /// A file that appears when it is complete.
    Whole(AtomicFile),
}

impl OutputFile {
    /// Flushes the output and renames a file to its name.
    pub fn commit(mut self) -> io::Result<()> {
        self.flush()?;
        match self {
            Self::Whole(file) => file.commit(),
            _ => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::StandardOutput => io::stdout().write(bytes),
            Self::Stream(file) => file.write(bytes),
            Self::Whole(file) => file.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::StandardOutput => io::stdout().flush(),
            Self::Stream(file) => file.flush(),
            Self::Whole(file) => file.file().flush(),
        }
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Whole(file) => file.file().seek(to),
            _ => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

/// Refuses a path that is no folder, and a folder that has files of these names; a missing folder is
/// accepted.
///
/// - `replaces`: accept such files if they are regular files
pub fn check_folder(folder: &Path, names: &[&str], replaces: bool) -> Result<(), OutputError> {
    if is_standard(folder) || folder.exists() && !folder.is_dir() {
        return Err(OutputError::NotAFolder(folder.to_owned()));
    }
    let mut there = names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists());
    there.try_for_each(|path| OutputTarget::whole(&path, replaces).map(drop))
}

/// Whether a name means standard output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-") || cfg!(unix) && path == Path::new("/dev/stdout")
}

/// Whether a name means standard output, a device or a pipe.
pub fn is_stream(path: &Path) -> bool {
    is_standard(path)
        || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// A path's extension in lower case, or empty: it determines the format of a file.
///
/// - `otherwise`: result for standard output, and a device or pipe without an extension
pub fn ending(path: &Path, otherwise: &str) -> String {
    match path.extension() {
        Some(ending) => ending.to_string_lossy().to_ascii_lowercase(),
        None if is_stream(path) => otherwise.to_owned(),
        None => String::new(),
    }
}

/// The target of a path, which need not exist.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&target) {
            // A relative link starts at its own folder; `join` takes an absolute one as it is.
            Ok(next) => target = folder_of(&target).join(next),
            // Not a link, or missing: the end of the chain.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other(
        "expected a file, found links that lead to each other",
    ))
}

/// Adds voisin's mark to a page, picture or report: a PNG text chunk, an HTML meta element, or a comment. It
/// contains a digest of the rest, so that changes are detected.
pub fn marked(bytes: &[u8]) -> Vec<u8> {
    let digest = digest(&[bytes]);
    if bytes.starts_with(PNG) && bytes.len() >= PNG_HEADER {
        let chunk = [PNG_MARK.0, digest.as_bytes()].concat();
        // The length of a chunk excludes its four-letter name, the checksum includes it.
        let length = chunk.len() as u32 - 4;
        let checksum = crc32fast::hash(&chunk);
        let chunk = [&length.to_be_bytes()[..], &chunk, &checksum.to_be_bytes()].concat();
        return [&bytes[..PNG_HEADER], &chunk, &bytes[PNG_HEADER..]].concat();
    }
    let behind = |text: &[u8]| find(bytes, text).map(|at| at + text.len());
    let (at, (before, after)) = match (behind(b"<head>"), behind(b">")) {
        (Some(at), _) => (at, HTML_MARK),
        (None, Some(at)) if bytes.starts_with(b"<svg") => (at, COMMENT),
        // Manual pages begin with a macro, whose line begins with a dot.
        _ if bytes.starts_with(b".") => (0, ROFF_MARK),
        _ => (0, COMMENT),
    };
    [&bytes[..at], before, digest.as_bytes(), after, &bytes[at..]].concat()
}

/// Whether it has voisin's mark and was not changed since.
fn is_marked(bytes: &[u8]) -> bool {
    let place = if bytes.starts_with(PNG) {
        // length, type, name, digest, checksum
        let end = PNG_HEADER + 4 + PNG_MARK.0.len();
        bytes[..bytes.len().min(end)]
            .ends_with(PNG_MARK.0)
            .then_some((PNG_HEADER, end, end + DIGITS + 4))
    } else {
        let beginning = &bytes[..bytes.len().min(BEGINNING)];
        [HTML_MARK, ROFF_MARK, COMMENT]
            .into_iter()
            .find_map(|(before, after)| {
                let at = find(beginning, before)?;
                let end = at + before.len();
                Some((at, end, end + DIGITS + after.len()))
            })
    };
    let Some((at, begin, end)) = place else {
        return false;
    };
    let Some(found) = bytes.get(begin..begin + DIGITS) else {
        return false;
    };
    bytes
        .get(end..)
        .is_some_and(|rest| found == digest(&[&bytes[..at], rest]).as_bytes())
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..DIGITS].to_owned()
}

/// Position of `wanted` in the beginning of a text.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        // Bounded, as the file may be large.
        .take(BEGINNING)
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn two_outputs_of_one_place_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let page = |name: &str| OutputTarget::page(&folder.path().join(name), false).unwrap();
        let first = page("a.svg");
        assert!(first.check_apart(&page("b.svg")).is_ok());
        let error = first.check_apart(&page("./a.svg")).unwrap_err();
        assert!(error.to_string().contains("two outputs"), "{error}");
        first.write("<svg></svg>").unwrap();
        assert!(first.check_apart(&page("a.svg")).is_err());
        let standard = OutputTarget::data(Path::new("-"), false).unwrap();
        assert!(standard.check_apart(&standard).is_err());
        assert!(standard.check_apart(&first).is_ok());
    }

    #[test]
    fn data_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        OutputTarget::data(&path, false)
            .unwrap()
            .write("a,b\n")
            .unwrap();
        let refused = OutputTarget::data(&path, false).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.remedy()),
            (io::ErrorKind::AlreadyExists, Some(Remedy::Replace))
        );
        assert_eq!(read(&path), "a,b\n");
        OutputTarget::data(&path, true)
            .unwrap()
            .write("c\n")
            .unwrap();
        assert_eq!(read(&path), "c\n");
        // Another program may have written the file since the first check.
        let late = folder.path().join("late.csv");
        let output = OutputTarget::data(&late, false).unwrap();
        std::fs::write(&late, "PRECIOUS").unwrap();
        assert_eq!(
            output.write("x").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(read(&late), "PRECIOUS");
    }

    #[test]
    fn pages_are_renewed_until_somebody_changes_them() {
        let folder = tempfile::tempdir().unwrap();
        let png = [PNG, b"\0\0\0\x0dIHDR", &[7; 17], b"rest"].concat();
        for (name, first, second) in [
            ("a.svg", b"<svg>1</svg>".to_vec(), b"<svg>2</svg>".to_vec()),
            ("a.1", b".TH one".to_vec(), b".TH two".to_vec()),
            ("a.md", b"# One\n".to_vec(), b"# Two\n".to_vec()),
            (
                "a.html",
                b"<!doctype html><head></head>1".to_vec(),
                b"<!doctype html><head></head>2".to_vec(),
            ),
            ("a.png", png.clone(), [&png[..], b"more"].concat()),
        ] {
            let path = folder.path().join(name);
            let write = |bytes: &[u8]| {
                OutputTarget::page(&path, false).and_then(|output| output.write(bytes))
            };
            write(&first).unwrap();
            write(&second).unwrap();
            let whole = std::fs::read(&path).unwrap();
            assert_eq!(whole, marked(&second), "{name}");
            assert_ne!(whole, second, "{name} carries a mark");
            // Notes added to a report, a retouched picture.
            for changed in [
                [&whole[..], b"note"].concat(),
                second.clone(),
                whole[..whole.len() - 1].to_vec(),
            ] {
                std::fs::write(&path, &changed).unwrap();
                assert_eq!(
                    write(&first).unwrap_err().kind(),
                    io::ErrorKind::AlreadyExists,
                    "{name}"
                );
                assert_eq!(std::fs::read(&path).unwrap(), changed);
            }
            OutputTarget::page(&path, true)
                .unwrap()
                .write(&first)
                .unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), marked(&first));
        }
        for cut in 0..marked(&png).len() {
            assert!(!is_marked(&marked(&png)[..cut]), "{cut}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_to_what_is_written() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        symlink("real/x.csv", at("link.csv")).unwrap();
        OutputTarget::data(&at("link.csv"), false)
            .unwrap()
            .write("1")
            .unwrap();
        assert!(at("link.csv").is_symlink());
        assert_eq!(read(&at("real/x.csv")), "1");
        assert!(matches!(
            OutputTarget::data(&at("link.csv"), false),
            Err(OutputError::Taken(_))
        ));
        std::fs::set_permissions(at("real/x.csv"), std::fs::Permissions::from_mode(0o600)).unwrap();
        OutputTarget::data(&at("link.csv"), true)
            .unwrap()
            .write("2")
            .unwrap();
        assert!(at("link.csv").is_symlink());
        assert_eq!(read(&at("real/x.csv")), "2");
        assert_eq!(
            std::fs::metadata(at("real/x.csv"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        symlink("round", at("round")).unwrap();
        assert!(OutputTarget::data(&at("round"), false).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_are_written_through_or_refused() {
        use std::os::unix::fs::FileTypeExt as _;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.svg");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || read(&pipe)
        });
        OutputTarget::data(&pipe, false)
            .unwrap()
            .write("through")
            .unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
        for name in [&pipe, Path::new("-"), Path::new("/dev/null")] {
            let refused = OutputTarget::whole(name, true).unwrap_err().to_string();
            assert!(refused.contains("expected the name of a file"), "{refused}");
        }
        assert!(
            OutputTarget::page(Path::new("/dev/null"), false)
                .unwrap()
                .write("<svg>")
                .is_ok()
        );
    }

    #[test]
    fn folders_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| OutputTarget::data(path, true).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("is a folder"));
        assert!(refused(&folder.path().join("none/x.csv")).contains("there is no folder"));
        let path = folder.path().join("x.csv");
        let check = |folder: &Path, replaces| check_folder(folder, &["x.csv"], replaces);
        check(folder.path(), false).unwrap();
        check(&folder.path().join("none"), false).unwrap();
        std::fs::write(&path, "PRECIOUS").unwrap();
        assert!(
            matches!(check(folder.path(), false), Err(OutputError::Taken(taken)) if taken == path)
        );
        check(folder.path(), true).unwrap();
        for no_folder in [&path, Path::new("-")] {
            assert!(matches!(
                check(no_folder, true),
                Err(OutputError::NotAFolder(_))
            ));
        }
    }
}
