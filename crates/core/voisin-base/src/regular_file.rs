//! Safely opening a file of unknown kind by a given path.

#[cfg(unix)]
use std::fs::OpenOptions;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
#[cfg(unix)]
use std::time::{Duration, Instant};

/// How long another program, such as a Samba client, may take to release its lease of a file.
#[cfg(unix)]
const LEASE_ENDS: Duration = Duration::from_secs(2);

/// Opens a regular file; links are followed.
///
/// Opening a pipe blocks and a device may never end, so anything but a regular file is refused before it is opened. If
/// one replaces the file after the check, it is opened without blocking and refused as well.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, true)
}

fn open_with(path: &Path, follows: bool) -> io::Result<File> {
    let check = |metadata: Metadata| {
        let refused =
            "expected a regular file, found a folder, a pipe or a device: name a file on disk";
        if metadata.is_file() {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::InvalidInput, refused))
        }
    };
    check(if follows {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    }?)?;
    let file = open_at_once(path, follows)?;
    // Checked again, as a pipe may have replaced the file in between.
    check(file.metadata()?)?;
    Ok(file)
}

#[cfg(unix)]
fn open_at_once(path: &Path, follows: bool) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;
    let start = Instant::now();
    let mut options = OpenOptions::new();
    let flags = if follows {
        // Opening a pipe without a writer would block forever.
        OFlags::NONBLOCK
    } else {
        OFlags::NONBLOCK | OFlags::NOFOLLOW
    };
    options.read(true).custom_flags(flags.bits() as i32);
    loop {
        match options.open(path) {
            // Opening a leased file without blocking fails, and requests the lease's release.
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LEASE_ENDS => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

#[cfg(not(unix))]
fn open_at_once(path: &Path, _: bool) -> io::Result<File> {
    File::open(path)
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
        let state =
            |metadata: &Metadata| (metadata.len(), mtime_ns(metadata), metadata.created().ok());
        state(a) == state(b)
    }
}

/// Reads a regular file of at most `limit` bytes; see [`open`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_from(open(path)?, limit)
}

/// [`read`] of a file that must not be a link.
pub fn read_itself(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_from(open_with(path, false)?, limit)
}

fn read_from(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    let too_large = |size: u64| {
        io::Error::new(
            ErrorKind::FileTooLarge,
            format!(
                "expected at most {} MB, found {} MB",
                limit >> 20,
                size.div_ceil(1 << 20)
            ),
        )
    };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    // Not more than `limit`, which was checked.
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
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        assert_eq!(read(&path, 99).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(
            read(folder.path(), 100).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            read(&folder.path().join("none"), 100).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        #[cfg(unix)]
        for device in ["/dev/zero", "/dev/null"] {
            assert_eq!(
                read(Path::new(device), 100).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(&pipe)
                    .status()
                    .unwrap()
                    .success()
            );
            assert_eq!(
                read(&pipe, 100).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(read(&link, 100).unwrap(), [7; 100]);
            assert_eq!(read_itself(&path, 100).unwrap(), [7; 100]);
            assert_eq!(
                read_itself(&link, 100).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            // A link that replaces the file after the check is not followed.
            assert!(open_at_once(&link, false).is_err());
            // A pipe that replaces the file after the check does not block either.
            assert!(
                !open_at_once(&pipe, true)
                    .unwrap()
                    .metadata()
                    .unwrap()
                    .is_file()
            );
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(
            read_text(&path, 100).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
}
