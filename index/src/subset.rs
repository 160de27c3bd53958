//! Sets of slots that a search may return.

use std::sync::atomic::{AtomicU64, Ordering};

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

    /// From the bytes of a file; `None` if they are not of `n` slots.
    pub(crate) fn of_bytes(bytes: Vec<u8>, n: usize) -> Option<Self> {
        let bits = |byte: &u8| byte.count_ones() as usize;
        let count = bytes.iter().map(bits).sum();
        let is_last_clear =
            n.is_multiple_of(8) || bytes.last().is_none_or(|last| last >> (n % 8) == 0);
        is_last_clear.then_some(Self { bytes, count })
    }

    pub(crate) fn set(&mut self, slot: usize) {
        self.count += usize::from(!self.contains(slot));
        self.bytes[slot / 8] |= 1 << (slot % 8);
    }

    #[inline]
    pub(crate) fn contains(&self, slot: usize) -> bool {
        // A damaged file may name slots that there are not.
        let byte = self.bytes.get(slot / 8);
        byte.is_some_and(|byte| byte >> (slot % 8) & 1 == 1)
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
/// [`VectorIndex::subset_of`](super::VectorIndex::subset_of).
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
