//! Reading a file that somebody named and that may be anything.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file.
///
/// A pipe keeps whoever opens it waiting and a device may never end, so what is not a regular file is refused before it
/// is opened; links are followed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "expected a regular file, found a folder, a pipe or a device: name a file on disk",
        ));
    }
    File::open(path)
}

/// Reads a regular file, as [`open`] does, of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let too_large = |size: u64| {
        io::Error::new(
            ErrorKind::FileTooLarge,
            format!("expected at most {} MB, found {} MB", limit >> 20, size.div_ceil(1 << 20)),
        )
    };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // The file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// [`read`] for text.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "expected text, found bytes that are not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        assert_eq!(read(&path, 99).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 100).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read(&folder.path().join("none"), 100).unwrap_err().kind(), ErrorKind::NotFound);
        #[cfg(unix)]
        for device in ["/dev/zero", "/dev/null"] {
            assert_eq!(read(Path::new(device), 100).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
