//! Music that is elsewhere, in an object store: while it is listened to, a copy on this disk stands for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use voisin_base::atomic_file::AtomicFile;
use voisin_base::regular_file;

/// The files that stand for addresses now.
static COPIES: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// Brings what is at an address here, as a file that is never given a name.
pub type Fetch = fn(&Path) -> io::Result<AtomicFile>;

/// A copy of what is at an address, for whoever opens that address until this is dropped.
#[derive(Debug)]
pub struct LocalCopy {
    address: PathBuf,
    _file: AtomicFile,
}

impl LocalCopy {
    /// Lets `file` stand for `address`.
    pub fn new(address: &Path, file: AtomicFile) -> Self {
        let address = address.to_owned();
        let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
        copies.insert(address.clone(), file.path().to_owned());
        Self { address, _file: file }
    }
}

impl Drop for LocalCopy {
    fn drop(&mut self) {
        COPIES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

/// Opens a regular file, or the copy that stands for an address.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let copy = COPIES.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    regular_file::open(copy.as_deref().unwrap_or(path))
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
}
