//! The log of changes after an index in its file: those of a [`SharedIndex`](super::SharedIndex)
//! with a file since the file was written.
//!
//! ```text
//! magic 8 · bytes of the change u64 · the change · BLAKE3 32
//! a change: kind u8 · number of ids u64 · ids i64 · vectors f32 [n, d], of what was put in
//! ```
//!
//! A digest covers the previous one (at first that of the index's head) and the record, so that a
//! missing record is detected. A last record that is truncated or does not match its digest was
//! being written when the process ended, and is ignored.

#[cfg(unix)]
use std::fs::Metadata;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ndarray::ArrayView2;

use super::checked_file::DIGEST;
use super::file::{Damage, array, floats};
use super::{Id, IndexError, IndexStamp, VectorIndex};

/// Differs from a [tail](super::tail_file)'s first byte on, so that even a part of it is not
/// confused with one.
const MAGIC: &[u8; 8] = b"changeLG";
/// Bytes before a change.
const PREFIX: usize = 16;
/// Bytes before the ids of a change.
const HEAD: usize = 9;
const PUT: u8 = 1;
const REMOVED: u8 = 2;
/// Bytes of changes up to which the file is not rewritten.
const FREE: u64 = if cfg!(test) { 1 << 12 } else { 1 << 20 };

/// A change of an index.
pub(crate) enum LoggedChange<'a> {
    /// Inserts or replaces these vectors.
    Put(&'a [Id], ArrayView2<'a, f32>),
    Removed(Id),
    /// The index was replaced.
    Whole,
}

/// A change read back.
pub(crate) struct Record {
    pub(crate) ids: Vec<Id>,
    /// The vectors of all ids, concatenated; `None` if they were removed.
    pub(crate) vectors: Option<Vec<f32>>,
}

/// Position of the next record, and the digest before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogEnd {
    pub(crate) at: u64,
    pub(crate) digest: [u8; DIGEST],
}

/// Whether bytes are records or the beginning of one.
pub(crate) fn is_log(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    MAGIC.starts_with(head) || head.iter().all(|&byte| byte == 0)
}

fn digest(before: &[u8; DIGEST], record: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(record);
    *hasher.finalize().as_bytes()
}

/// A record, and its digest.
fn encode(
    before: &[u8; DIGEST],
    kind: u8,
    ids: &[Id],
    vectors: ArrayView2<'_, f32>,
) -> (Vec<u8>, [u8; DIGEST]) {
    let length = HEAD + 8 * ids.len() + 4 * vectors.len();
    let mut bytes = Vec::with_capacity(PREFIX + length + DIGEST);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    bytes.extend(ids.iter().flat_map(|id| id.0.to_le_bytes()));
    bytes.extend(vectors.iter().flat_map(|x| x.to_le_bytes()));
    let digest = digest(before, &bytes);
    bytes.extend_from_slice(&digest);
    (bytes, digest)
}

/// The records in the bytes after an index, and their end.
///
/// - `root`: digest of the index's head
pub(crate) fn decode(
    damage: &Damage,
    bytes: &[u8],
    root: [u8; DIGEST],
    dimension: usize,
) -> Result<(Vec<Record>, LogEnd), IndexError> {
    let mut records = Vec::new();
    let mut end = LogEnd {
        at: 0,
        digest: root,
    };
    let mut rest = bytes;
    while let Some((record, next)) = first_record(rest) {
        let (body, stored) = record.split_at(record.len() - DIGEST);
        let found = digest(&end.digest, body);
        if found != stored {
            if next.is_empty() {
                break;
            }
            return Err(damage.error("checksum of a change"));
        }
        records.push(parse(damage, &body[PREFIX..], dimension)?);
        end.digest = found;
        end.at += record.len() as u64;
        rest = next;
    }
    // After a power failure the file may end with bytes that were not written.
    if is_log(rest) || rest.is_empty() {
        Ok((records, end))
    } else {
        Err(damage.error("not a change"))
    }
}

/// A complete record, and the bytes after it.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = bytes.get(8..PREFIX).filter(|_| bytes.starts_with(MAGIC))?;
    let length = usize::try_from(u64::from_le_bytes(array(length))).ok()?;
    bytes.split_at_checked(length.checked_add(PREFIX + DIGEST)?)
}

fn parse(damage: &Damage, change: &[u8], dimension: usize) -> Result<Record, IndexError> {
    let parts = || {
        let (head, rest) = change.split_at_checked(HEAD)?;
        let n = usize::try_from(u64::from_le_bytes(array(&head[1..]))).ok()?;
        let (ids, vectors) = rest.split_at_checked(n.checked_mul(8)?)?;
        let wanted = match head[0] {
            PUT => n.checked_mul(dimension)?.checked_mul(4)?,
            REMOVED => 0,
            _ => return None,
        };
        (vectors.len() == wanted).then_some((head[0], ids, vectors))
    };
    let (kind, ids, vectors) = parts().ok_or_else(|| damage.error("sizes of a change"))?;
    let ids = ids
        .chunks_exact(8)
        .map(|id| Id(i64::from_le_bytes(array(id))));
    Ok(Record {
        ids: ids.collect(),
        vectors: (kind == PUT).then(|| floats(vectors)),
    })
}

/// The file of an index, locked against other processes that would write it.
pub(crate) struct KeptFile {
    path: PathBuf,
    stamp: IndexStamp,
    /// `None` if another file replaced it and could not be opened.
    file: Option<File>,
    /// Bytes before the records.
    start: u64,
    end: LogEnd,
}

impl KeptFile {
    /// Opens the index in a file, to log changes there.
    pub(crate) fn open(path: &Path) -> Result<(VectorIndex, Self), IndexError> {
        let file = opened(path)?;
        let (index, stamp, end) = VectorIndex::open_with_log(path)?;
        let mut kept = Self {
            path: path.to_owned(),
            stamp,
            file: Some(file),
            start: 0,
            end: end.unwrap_or(LogEnd {
                at: 0,
                digest: [0; DIGEST],
            }),
        };
        match end {
            // An incomplete entry is cut off.
            Some(end) => kept.cut(end.at)?,
            // The index is in two files.
            None => kept.renew(&index)?,
        }
        kept.start = kept.end.at;
        Ok((index, kept))
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> IndexError + use<> {
        let path = self.path.clone();
        move |source| IndexError::Io {
            path,
            doing,
            source,
        }
    }

    fn file(&mut self) -> Result<&mut File, IndexError> {
        let lost = self.io("writing");
        let gone = || {
            lost(io::Error::new(
                ErrorKind::NotFound,
                "it could not be opened again",
            ))
        };
        self.file.as_mut().ok_or_else(gone)
    }

    fn cut(&mut self, length: u64) -> Result<(), IndexError> {
        let failed = self.io("writing");
        let file = self.file()?;
        if file
            .metadata()
            .map(|file| file.len())
            .is_ok_and(|now| now == length)
        {
            return Ok(());
        }
        file.set_len(length).map_err(failed)
    }

    /// Writes the change that leads to `index`; when this returns, it is on the disk.
    pub(crate) fn write(
        &mut self,
        change: &LoggedChange<'_>,
        index: &VectorIndex,
    ) -> Result<(), IndexError> {
        if let Some(file) = &self.file
            && !is_named(file, &self.path)
        {
            let lost = "it was replaced or removed since it was opened: \
                        save this index under another name";
            return Err(self.io("writing")(io::Error::other(lost)));
        }
        let none = ArrayView2::from_shape((0, 0), &[]);
        let none = none.map_err(|error| self.io("writing")(io::Error::other(error)))?;
        let before = &self.end.digest;
        let (bytes, digest) = match change {
            LoggedChange::Put(ids, vectors) => encode(before, PUT, ids, *vectors),
            LoggedChange::Removed(id) => encode(before, REMOVED, &[*id], none),
            LoggedChange::Whole => return self.renew(index),
        };
        let end = self.end.at;
        let failed = self.io("writing");
        let file = self.file()?;
        let written = file
            .seek(SeekFrom::Start(end))
            .and_then(|_| file.write_all(&bytes))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // An incomplete record would hide the next ones.
            let _ = self.cut(end);
            return Err(failed(error));
        }
        let at = end + bytes.len() as u64;
        self.end = LogEnd { at, digest };
        if at - self.start > self.start.max(FREE) {
            // The change is stored; if rewriting fails, the file only stays longer.
            let _ = self.renew(index);
        }
        Ok(())
    }

    /// Rewrites the whole file.
    fn renew(&mut self, index: &VectorIndex) -> Result<(), IndexError> {
        self.stamp.dimension = index.dimension();
        let root = index.save_root(&self.path, &self.stamp)?;
        // The open file was replaced.
        self.file = None;
        let file = opened(&self.path)?;
        let length = file.metadata().map_err(self.io("reading"))?.len();
        self.file = Some(file);
        self.start = length;
        self.end = LogEnd {
            at: length,
            digest: root,
        };
        Ok(())
    }
}

/// Whether a path is that of an open file.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: io::Result<Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
    identity(file.metadata()).is_some_and(|open| identity(path.metadata()) == Some(open))
}

/// There an open file keeps its name.
#[cfg(not(unix))]
fn is_named(_: &File, _: &Path) -> bool {
    true
}

/// An error if changes of an index are logged in a file, which another one is to replace.
pub(crate) fn refuse_kept(path: &Path) -> Result<(), IndexError> {
    // A file that was just saved is locked, too, until its folder is flushed.
    for _ in 0..20 {
        match opened(path) {
            Err(IndexError::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(25));
            }
            _ => return Ok(()),
        }
    }
    opened(path).map(drop)
}

/// Opens a file with an exclusive lock.
fn opened(path: &Path) -> Result<File, IndexError> {
    let io = |doing| {
        move |source| IndexError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io("opening"))?;
    // There a lock keeps others from reading, too.
    match if cfg!(windows) {
        Ok(())
    } else {
        file.try_lock()
    } {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let other = io::Error::new(ErrorKind::WouldBlock, "another index is kept in it");
            Err(io("locking")(other))
        }
        Err(TryLockError::Error(error)) => Err(io("locking")(error)),
    }
}
