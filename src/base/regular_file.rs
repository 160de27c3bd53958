//! Opening a file of unknown kind by a given path.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file; links are followed.
///
/// Opening a pipe blocks and a device may never end, so anything but a regular file is refused before it is opened.
pub fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    let refused =
        "expected a regular file, found a folder, a pipe or a device: name a file on disk";
    Err(io::Error::new(ErrorKind::InvalidInput, refused))
}

/// Modification time in nanoseconds since 1970 UTC, 0 if the file system has none.
pub fn mtime_ns(metadata: &Metadata) -> i64 {
    let Ok(time) = metadata.modified() else {
        return 0;
    };
    match time.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// Whether both are of one file, even if its contents changed. At least one must be of an open file, as the inode of a
/// deleted file is reused.
pub fn is_same(a: &Metadata, b: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        (a.dev(), a.ino()) == (b.dev(), b.ino())
    }
    // There the standard library has no inode number.
    #[cfg(not(unix))]
    {
        (a.len(), mtime_ns(a), a.created().ok()) == (b.len(), mtime_ns(b), b.created().ok())
    }
}

/// Reads a regular file of at most `limit` bytes; see [`open`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not by the size in its metadata: the file may grow while it is read.
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("expected at most {} MB, found more", limit >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// [`read`] for text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| {
        io::Error::new(
            ErrorKind::InvalidData,
            "expected text, found bytes that are not UTF-8",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [0xff; 100]);
        let kind = |error: io::Error| error.kind();
        let refused = |path: &Path, limit| read(path, limit).map_err(kind).unwrap_err();
        assert_eq!(refused(&path, 99), ErrorKind::FileTooLarge);
        assert_eq!(refused(folder.path(), 100), ErrorKind::InvalidInput);
        #[cfg(unix)]
        assert_eq!(
            refused(Path::new("/dev/zero"), 100),
            ErrorKind::InvalidInput
        );
    }
}
