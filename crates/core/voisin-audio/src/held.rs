//! Files that are held open while they are analysed.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use voisin_base::regular_file;

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

/// Opens a regular file, or the held file once more.
///
/// # Errors
/// `StaleNetworkFileHandle`: another file replaced the held one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = regular_file::open(path)?;
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
