//! Sets of slots that a search may return.

use std::sync::atomic::{AtomicU64, Ordering};

use voisin_base::track::Id;

/// A unique number for a state of an index in this process.
pub(crate) fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The numbers only need to be distinct.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One bit per slot of a segment; eight slots a byte.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bitmap {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

impl Bitmap {
    pub(crate) fn full(n: usize) -> Self {
        let mut bytes = vec![0xff; n.div_ceil(8)];
        if let Some(last) = bytes.last_mut()
            // Bits beyond the last slot stay clear, as loops over bytes read all eight.
            && !n.is_multiple_of(8)
        {
            *last = (1 << (n % 8)) - 1;
        }
        Self { bytes, count: n }
    }

    /// Room for `n` slots, none of them set.
    pub(crate) fn empty(n: usize) -> Self {
        Self {
            bytes: vec![0; n.div_ceil(8)],
            count: 0,
        }
    }

    pub(crate) fn set(&mut self, slot: usize) {
        self.count += usize::from(!self.contains(slot));
        self.bytes[slot / 8] |= 1 << (slot % 8);
    }

    #[inline]
    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.bytes[slot / 8] >> (slot % 8) & 1 == 1
    }

    pub(crate) fn push_set(&mut self, slot: usize) {
        if slot / 8 == self.bytes.len() {
            self.bytes.push(0);
        }
        self.set(slot);
    }

    pub(crate) fn unset(&mut self, slot: usize) {
        if self.contains(slot) {
            self.bytes[slot / 8] &= !(1 << (slot % 8));
            self.count -= 1;
        }
    }

    /// The set slots of `self` whose id passes.
    pub(crate) fn restrict(&self, ids: &[Id], pass: &(dyn Fn(Id) -> bool + Sync)) -> Self {
        let mut count = 0;
        let bytes = ids.chunks(8).zip(&self.bytes).map(|(ids, &byte)| {
            let mut kept = 0_u8;
            // No call of the filter for a byte without a live slot.
            if byte != 0 {
                for (lane, &id) in ids.iter().enumerate() {
                    kept |= u8::from(byte >> lane & 1 == 1 && pass(id)) << lane;
                }
            }
            count += kept.count_ones() as usize;
            kept
        });
        let bytes = bytes.collect();
        Self { bytes, count }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes.iter().enumerate().flat_map(|(i, &byte)| {
            let mut left = byte;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let lane = left.trailing_zeros();
                    left &= left - 1;
                    i as u32 * 8 + lane
                })
            })
        })
    }
}

/// Items that pass a filter, as a bitmap for many searches: see
/// [`VectorIndex::subset`](super::VectorIndex::subset) and
/// [`subset_of`](super::VectorIndex::subset_of).
#[derive(Debug, Clone)]
pub struct Subset {
    pub(crate) base: Bitmap,
    /// For each part of the tail.
    pub(crate) tail: Vec<Bitmap>,
    /// The state of the index it was made for.
    pub(crate) version: u64,
}

impl Subset {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.base.count + self.tail.iter().map(|part| part.count).sum::<usize>()
    }

    /// Whether no item passed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
