//! Reading a file that somebody named and that may be anything.

#[cfg(unix)]
use std::fs::OpenOptions;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
#[cfg(unix)]
use std::time::{Duration, Instant};

/// How long another program may take to give up its lease of a file, as Samba's clients have them.
#[cfg(unix)]
const LEASE_ENDS: Duration = Duration::from_secs(2);

/// Opens a regular file; links are followed.
///
/// A pipe keeps whoever opens it waiting and a device may never end, so what is not a regular file is refused before it
/// is opened. What takes its place between the look and the opening is opened without waiting, and refused as well.
pub fn open(path: &Path) -> io::Result<File> {
    let check = |metadata: Metadata| {
        let refused = "expected a regular file, found a folder, a pipe or a device: name a file on disk";
        if metadata.is_file() { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidInput, refused)) }
    };
    check(std::fs::metadata(path)?)?;
    let file = open_at_once(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let start = Instant::now();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    loop {
        match options.open(path) {
            // Opening without waiting refuses a leased file, and asks for the lease to be given up.
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LEASE_ENDS => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Reads a regular file, as [`open`] does, of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
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
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
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
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(read(&pipe, 100).unwrap_err().kind(), ErrorKind::InvalidInput);
            // What takes a file's place behind the look is opened without anybody to wait for, too.
            assert!(!open_at_once(&pipe).unwrap().metadata().unwrap().is_file());
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
