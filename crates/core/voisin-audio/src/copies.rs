//! The local file for a path: for an object in a store, a temporary copy on this disk; for a held file, that very file.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use voisin_base::atomic_file::AtomicFile;
use voisin_base::regular_file;

/// Addresses and their local copies: a handful, and the newest of an address counts.
static COPIES: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());

/// Downloads an object into a temporary file, which is never renamed.
pub type Fetch = fn(&Path) -> io::Result<AtomicFile>;

/// A local copy of an object, which is used when its address is opened until this is dropped.
#[derive(Debug)]
pub struct LocalCopy {
    file: AtomicFile,
}

impl LocalCopy {
    /// Registers `file` as the copy of `address`.
    pub fn new(address: &Path, file: AtomicFile) -> Self {
        let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
        copies.push((address.to_owned(), file.path().to_owned()));
        Self { file }
    }
}

impl Drop for LocalCopy {
    fn drop(&mut self) {
        COPIES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            // By the file's path, as the address may have another copy.
            .retain(|(_, file)| file != self.file.path());
    }
}

thread_local! {
    /// The files that this thread holds, by the paths it opens them by.
    static HELD: RefCell<Vec<(PathBuf, Metadata)>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, a path is opened on this thread only if it still refers to the file that was opened first.
/// Decoders and tag readers each need their own position in the file, which duplicated descriptors share.
#[derive(Debug)]
pub(super) struct Hold {
    paths: Vec<PathBuf>,
    /// Not `Send`: it is dropped on the thread that made it.
    _thread: PhantomData<Rc<()>>,
}

impl Hold {
    /// - `metadata`: of the file at `path`, which stays open, so that its inode is not reused
    pub(super) fn new(path: &Path, metadata: &Metadata) -> Self {
        let mut hold = Self {
            paths: Vec::new(),
            _thread: PhantomData,
        };
        hold.also(path, metadata);
        hold
    }

    pub(super) fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path)
    }

    pub(super) fn also(&mut self, path: &Path, metadata: &Metadata) {
        HELD.with_borrow_mut(|held| held.push((path.to_owned(), metadata.clone())));
        self.paths.push(path.to_owned());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            for path in &self.paths {
                // The newest of this path: holds may be nested, and each removes one.
                if let Some(last) = held.iter().rposition(|(name, _)| name == path) {
                    held.remove(last);
                }
            }
        });
    }
}

/// Opens a regular file, the copy of an address, or the held file once more.
///
/// # Errors
/// `StaleNetworkFileHandle`: another file replaced the held one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // The lock is released before the file is opened, which may wait for a network.
    let copy = COPIES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .rev()
        .find(|(address, _)| address == path)
        .map(|(_, file)| file.clone());
    let file = regular_file::open(copy.as_deref().unwrap_or(path))?;
    let found = file.metadata()?;
    let is_other = HELD.with_borrow(|held| {
        held.iter()
            .any(|(name, metadata)| name == path && !regular_file::is_same(metadata, &found))
    });
    if is_other {
        let text = "another file took its place while it was open: try again";
        return Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, text));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_copy_stands_for_its_address_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let address = Path::new("s3://bucket/song.wav");
        assert_eq!(open(address).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut file = AtomicFile::create(&folder.path().join("copy")).unwrap();
        file.file().write_all(b"song").unwrap();
        let copy = LocalCopy::new(address, file);
        assert_eq!(io::read_to_string(open(address).unwrap()).unwrap(), "song");
        drop(copy);
        assert_eq!(open(address).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_copy_outlives_another_of_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let address = Path::new("s3://bucket/twice.wav");
        let copy = |text: &str| {
            let mut file = AtomicFile::create(&folder.path().join(text)).unwrap();
            file.file().write_all(text.as_bytes()).unwrap();
            LocalCopy::new(address, file)
        };
        let first = copy("first");
        let second = copy("second");
        drop(first);
        assert_eq!(
            io::read_to_string(open(address).unwrap()).unwrap(),
            "second"
        );
        let third = copy("third");
        drop(third);
        assert_eq!(
            io::read_to_string(open(address).unwrap()).unwrap(),
            "second"
        );
        drop(second);
        assert_eq!(open(address).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
