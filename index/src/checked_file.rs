//! A mapped file whose body is held against its digests: all of it, or piece by piece as it is
//! read.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;
use rayon::prelude::*;

use super::IndexError;
use voisin_kernels::buffer::{ask_for, fetch, let_go};

/// Bytes of a piece, which has a digest of its own.
pub(crate) const PIECE: usize = 1 << 14;
/// The damage of a file that is no longer what it was when it was checked.
pub(crate) const CHANGED: &str = "changed";
/// Bytes of a digest.
pub(crate) const DIGEST: usize = 32;
/// Pieces that are brought into memory together when all are checked.
const TOGETHER: usize = 64;

/// A file's bytes.
pub(crate) struct FileBytes {
    pub(crate) map: Arc<Mmap>,
    /// Whether they are a copy of the file, whose memory is not given back.
    pub(crate) is_copy: bool,
}

/// Bytes are where the body has them.
pub(crate) struct CheckedFile {
    path: PathBuf,
    file: FileBytes,
    /// Where the body is.
    body: Range<usize>,
    /// Digests of its pieces.
    table: Range<usize>,
    /// From here on the body need not stay in memory once it was checked.
    on_demand: usize,
    /// A bit for each piece that is as it was written.
    sound: Vec<AtomicU64>,
    /// All are, and what is in them.
    is_whole: AtomicBool,
    /// The damage that was found, if any.
    damage: OnceLock<&'static str>,
}

impl FileBytes {
    /// Lets go of the memory of a part.
    fn let_go(&self, part: Range<usize>) {
        if !self.is_copy {
            let_go(&self.map, &part);
        }
    }
}

impl CheckedFile {
    /// - `on_demand`: from here on the body need not stay in memory once it was checked
    pub(crate) fn new(
        path: PathBuf,
        file: FileBytes,
        body: Range<usize>,
        table: Range<usize>,
        on_demand: usize,
    ) -> Self {
        let words = table.len().div_ceil(64 * DIGEST);
        // Whatever is read is asked for: the system is to read nothing around it.
        file.let_go(0..file.map.len());
        Self {
            path,
            file,
            body,
            table,
            on_demand,
            sound: std::iter::repeat_with(AtomicU64::default)
                .take(words)
                .collect(),
            is_whole: AtomicBool::new(false),
            damage: OnceLock::new(),
        }
    }

    /// Whether it is read from the disk as it is needed.
    pub(crate) fn is_mapped(&self) -> bool {
        !self.file.is_copy
    }

    /// The body, checked or not.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.file.map[self.body.clone()]
    }

    /// Whether nothing is left to check.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.load(Relaxed)
    }

    /// Everything was checked, beyond what digests tell.
    pub(crate) fn set_whole(&self) {
        self.is_whole.store(true, Relaxed);
    }

    /// Keeps in mind that something in the file is not as it was written.
    pub(crate) fn set_damaged(&self, what: &'static str) {
        // The first damage stays; a second one would only hide it.
        let _ = self.damage.set(what);
    }

    /// Whether all that was read was as it was written.
    pub(crate) fn intact(&self) -> Result<(), IndexError> {
        match self.damage.get() {
            Some(&CHANGED) => Err(IndexError::Changed {
                path: self.path.clone(),
            }),
            Some(&what) => Err(IndexError::Damaged {
                path: self.path.clone(),
                what: what.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Lets go of the memory of a part.
    pub(crate) fn release(&self, part: Range<usize>) {
        self.file
            .let_go(self.body.start + part.start..self.body.start + part.end);
    }

    /// Asks for those pieces of a part that were not checked yet.
    pub(crate) fn expect(&self, part: Range<usize>) {
        (part.start / PIECE..part.end.div_ceil(PIECE))
            .filter(|&piece| !self.is_sound(piece))
            .for_each(|piece| self.ask_for_piece(piece));
    }

    fn ask_for_piece(&self, piece: usize) {
        let from = self.body.start + piece * PIECE;
        if !self.file.is_copy {
            ask_for(&self.file.map, &(from..self.body.end.min(from + PIECE)));
        }
    }

    fn is_sound(&self, piece: usize) -> bool {
        // Relaxed: the bytes themselves never change, so no other memory has to be visible with the
        // bit.
        self.sound[piece / 64].load(Relaxed) & 1 << (piece % 64) != 0
    }

    /// Whether a part is as its digests say; what is not is kept in mind.
    #[inline]
    pub(crate) fn check(&self, part: Range<usize>) -> bool {
        // A piece that another thread is checking is checked twice: cheaper than waiting for it.
        let is_sound = |piece| {
            self.is_sound(piece) || {
                self.ask_for_piece(piece);
                self.check_piece(piece)
            }
        };
        self.is_whole() || (part.start / PIECE..part.end.div_ceil(PIECE)).all(is_sound)
    }

    fn check_piece(&self, piece: usize) -> bool {
        let body = self.bytes();
        let bytes = &body[piece * PIECE..body.len().min((piece + 1) * PIECE)];
        let is_sound = blake3::hash(bytes).as_bytes()
            == &self.file.map[self.table.clone()][piece * DIGEST..][..DIGEST];
        if is_sound {
            self.sound[piece / 64].fetch_or(1 << (piece % 64), Relaxed);
        // Not kept as sound, so that every later read of the piece fails as well.
        } else {
            self.set_damaged("checksum");
        }
        is_sound
    }

    /// As [`check`](Self::check), of a long part: in parallel on rayon's current pool.
    pub(crate) fn check_long(&self, part: Range<usize>) -> bool {
        let pieces = part.start / PIECE..part.end.div_ceil(PIECE);
        pieces
            .clone()
            .into_par_iter()
            .step_by(TOGETHER)
            .all(|first| {
                let end = pieces.end.min(first + TOGETHER);
                let from = first * PIECE;
                let to = self.bytes().len().min(end * PIECE);
                if !self.file.is_copy {
                    fetch(
                        &self.file.map,
                        &(self.body.start + from..self.body.start + to),
                    );
                }
                let are_sound =
                    (first..end).all(|piece| self.is_sound(piece) || self.check_piece(piece));
                // The rest was checked to be known as sound; what is read again comes back by
                // itself.
                if from >= self.on_demand {
                    self.release(from..to);
                }
                are_sound
            })
    }
}
