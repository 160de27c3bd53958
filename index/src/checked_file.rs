//! A mapped file whose body is verified against its digests, as a whole or piece by piece on
//! reading.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;
use rayon::prelude::*;

use super::IndexError;
use voisin_kernels::buffer::{fetch, prefetch, release};

/// Bytes of a piece, which has a digest of its own.
pub(crate) const PIECE: usize = 1 << 14;
/// The damage of a file that changed after it was verified.
pub(crate) const CHANGED: &str = "changed";
/// Bytes of a digest.
pub(crate) const DIGEST: usize = 32;
/// Pieces that are read together when all are verified.
const TOGETHER: usize = 64;

/// A file's bytes.
pub(crate) struct FileBytes {
    pub(crate) map: Arc<Mmap>,
    /// Whether they are a copy of the file, whose memory is not released.
    pub(crate) is_copy: bool,
}

/// A file with a table of digests; positions are within its body.
pub(crate) struct CheckedFile {
    path: PathBuf,
    file: FileBytes,
    /// Range of the body.
    body: Range<usize>,
    /// Range of the digests of its pieces.
    table: Range<usize>,
    /// From here on the body need not stay in memory once it was verified.
    on_demand: usize,
    /// A bit for each verified piece.
    sound: Vec<AtomicU64>,
    /// Whether all pieces and their contents are verified.
    is_whole: AtomicBool,
    /// The damage that was found, if any.
    damage: OnceLock<&'static str>,
}

impl FileBytes {
    /// Releases the memory of a part.
    fn release(&self, part: Range<usize>) {
        if !self.is_copy {
            release(&self.map, &part);
        }
    }
}

impl CheckedFile {
    /// - `on_demand`: from here on the body need not stay in memory once it was verified
    pub(crate) fn new(
        path: PathBuf,
        file: FileBytes,
        body: Range<usize>,
        table: Range<usize>,
        on_demand: usize,
    ) -> Self {
        let words = table.len().div_ceil(64 * DIGEST);
        // Reads are prefetched explicitly, so readahead is turned off.
        file.release(0..file.map.len());
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

    /// Whether it is read from the disk on demand.
    pub(crate) fn is_mapped(&self) -> bool {
        !self.file.is_copy
    }

    /// The body, verified or not.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.file.map[self.body.clone()]
    }

    /// Whether everything is verified.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.load(Relaxed)
    }

    /// Marks everything as verified, including contents.
    pub(crate) fn set_whole(&self) {
        self.is_whole.store(true, Relaxed);
    }

    /// Records damage of the file.
    pub(crate) fn set_damaged(&self, what: &'static str) {
        // The first damage is kept.
        let _ = self.damage.set(what);
    }

    /// An error if damage was found in what was read.
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

    /// Releases the memory of a part.
    pub(crate) fn release(&self, part: Range<usize>) {
        self.file
            .release(self.body.start + part.start..self.body.start + part.end);
    }

    /// Prefetches those pieces of a part that are not verified yet.
    pub(crate) fn expect(&self, part: Range<usize>) {
        (part.start / PIECE..part.end.div_ceil(PIECE))
            .filter(|&piece| !self.is_sound(piece))
            .for_each(|piece| self.prefetch_piece(piece));
    }

    fn prefetch_piece(&self, piece: usize) {
        let from = self.body.start + piece * PIECE;
        if !self.file.is_copy {
            prefetch(&self.file.map, &(from..self.body.end.min(from + PIECE)));
        }
    }

    fn is_sound(&self, piece: usize) -> bool {
        // Relaxed: the bytes themselves never change, so no other memory has to be visible with the
        // bit.
        self.sound[piece / 64].load(Relaxed) & 1 << (piece % 64) != 0
    }

    /// Verifies a part by its digests; damage is recorded.
    #[inline]
    pub(crate) fn check(&self, part: Range<usize>) -> bool {
        // Two threads may verify the same piece, which is cheaper than waiting.
        let is_sound = |piece| {
            self.is_sound(piece) || {
                self.prefetch_piece(piece);
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
        // Not marked as verified, so that every later read of the piece fails as well.
        } else {
            self.set_damaged("checksum");
        }
        is_sound
    }

    /// As [`check`](Self::check), for a long part: in parallel on rayon's current pool.
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
                // This part is only read on demand: its memory is released after verification.
                if from >= self.on_demand {
                    self.release(from..to);
                }
                are_sound
            })
    }
}
