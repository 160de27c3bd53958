//! Nearest-neighbour search over vectors, from a hundred to millions of them.
//!
//! For: [`VectorIndex`], built from ids and vectors, searched by vector, saved as a cache. Not for:
//! storing vectors, or data that must not be lost.
//!
//! Vectors are kept at 16 bits a component in two byte planes; all products are sums of integers, so
//! every machine returns the same results. From [`IndexOptions::graph_from`] vectors on they are
//! grouped into lists by k-means, with codes of 64 bytes, and linked to a graph as HNSW chooses
//! links (Malkov and Yashunin 2018). A batch reads the nearest lists, a single query too where it
//! does not compare less by walking the graph; both compare by codes of 64 bytes and the best at 8 and 16 bits, with widths that the
//! build finds for a recall. With a [`Subset`] every vector that it allows is compared, at 8 and
//! then at 16 bits, and so are all in a small index.
//!
//! Vectors inserted after the build form a tail that every search compares, too; removed ones are
//! skipped. [`VectorIndex::needs_rebuild`] reports when to rebuild.
//!
//! ```
//! use ndarray::array;
//! use voisin_index::{IndexOptions, SearchParams, Id, VectorIndex};
//!
//! let ids = [Id(1), Id(2), Id(3)];
//! let vectors = array![[1.0_f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//! let nearest = index.search(&[0.8, 0.6], 2, &SearchParams::default())?;
//! assert_eq!(nearest[0].id, Id(2));
//! assert!((nearest[0].similarity - 0.96).abs() < 1e-5);
//! # Ok::<(), voisin_index::IndexError>(())
//! ```

// Not `forbid`: ndarray's `s![]` expands to an unsafe block.
#![deny(unsafe_code)]

mod best;
mod builder;
mod check;
mod codes;
mod construction;
mod directions;
mod error;
mod fields;
mod file;
mod fill;
mod format;
mod graph;
#[cfg(feature = "hnsw_rs")]
mod hnsw;
mod kmeans;
mod lists;
mod search;
mod segment;
mod subset;
mod tail;
mod top;
mod trials;
mod tuning;
mod types;
mod unit;

use std::sync::Arc;

use ndarray::{Array2, aview1};

pub use voisin_base::track::Id;

use codes::{Codec, PreparedQuery};
use construction::MAX_VECTORS;
use file::IndexFile;
use graph::Graph;
use lists::Lists;
use segment::Segment;
use subset::{Bitmap, next_version};
use tail::IndexTail;
use tuning::Tuning;
use voisin_simd::Isa;

pub use error::IndexError;
pub use subset::Subset;
pub use types::{
    GraphBuilder, IndexOptions, IndexStamp, IndexStats, Neighbor, SearchParams, SelfCheck,
};

/// A tail and removed items above this share of the items cause a rebuild, as every search compares
/// the tail.
const CHANGED_SHARE: f64 = 0.04;
/// Up to this many changed items never cause a rebuild.
const CHANGED_FREE: usize = 1000;

/// An index of vectors by id.
///
/// Threads may share it for searching; inserting and removing need exclusive access. A clone takes
/// microseconds: it shares the built part and all but the last 64 inserted vectors, and changes
/// independently.
#[derive(Clone)]
pub struct VectorIndex {
    options: IndexOptions,
    isa: Isa,
    codec: Arc<Codec>,
    /// Sorted by id.
    base: Segment,
    /// Over the base and its lists, if it is large enough.
    graph: Option<Arc<Graph>>,
    lists: Option<Arc<Lists>>,
    tuning: Tuning,
    tail: IndexTail,
    /// Unique to each state of each index.
    version: u64,
    /// The file that it was opened from.
    file: Option<Arc<IndexFile>>,
}

impl VectorIndex {
    /// Options that the index was built with.
    pub fn options(&self) -> IndexOptions {
        self.options
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.base.live.count + self.tail.live()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions of the vectors.
    pub fn dimension(&self) -> usize {
        self.codec.dimension
    }

    /// Whether `id` is in the index.
    pub fn contains(&self, id: Id) -> bool {
        self.slot(id).is_some()
    }

    /// Whether there is a graph; small indexes have none.
    pub fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// All items, in ascending order.
    pub fn ids(&self) -> Vec<Id> {
        let mut all = Vec::with_capacity(self.len());
        for segment in std::iter::once(&self.base).chain(self.tail.parts()) {
            let live = segment.live.slots();
            all.extend(live.map(|slot| segment.ids[slot as usize]));
        }
        all.sort_unstable();
        all
    }

    /// The vector of `id` as stored, at length 1: each component within 5e-5 of the given one.
    pub fn vector(&self, id: Id) -> Option<Vec<f32>> {
        let (segment, slot) = self.slot(id)?;
        Some(self.codec.decoded(&segment.codes, slot))
    }

    /// The vector of `id` as a query.
    fn stored(&self, id: Id) -> Result<PreparedQuery, IndexError> {
        let (segment, slot) = self.slot(id).ok_or(IndexError::Unknown(id))?;
        Ok(self.codec.stored_at(&segment.codes, slot))
    }

    /// Whether the index has this vector for `id`, as far as its codes show.
    #[doc(hidden)]
    pub fn is_of(&self, id: Id, vector: &[f32]) -> Result<bool, IndexError> {
        /// The index keeps 16 bits a component.
        const ERROR: f32 = 1e-3;
        unit::check(self.dimension(), Some(id), vector)?;
        let held = self.vector(id).ok_or(IndexError::Unknown(id))?;
        let pairs = held.iter().zip(vector);
        Ok(pairs
            .map(|(a, b)| (a - b).abs())
            .all(|error| error <= ERROR))
    }

    fn slot(&self, id: Id) -> Option<(&Segment, usize)> {
        self.base
            .slot(id)
            .map(|slot| (&self.base, slot))
            .or_else(|| self.tail.slot(id))
    }

    /// Adds an item, which every search finds from now on.
    pub fn insert(&mut self, id: Id, vector: &[f32]) -> Result<(), IndexError> {
        unit::check(self.dimension(), Some(id), vector)?;
        let held = self.base.len() + self.tail.len();
        if held >= MAX_VECTORS {
            return Err(IndexError::TooMany {
                limit: MAX_VECTORS - 1,
                actual: held + 1,
            });
        }
        if self.contains(id) {
            return Err(IndexError::Duplicate(id));
        }
        self.tail.push(id, &self.codec, vector);
        self.version = next_version();
        Ok(())
    }

    /// Removes an item; false if it was not there. No search returns it from now on.
    pub fn remove(&mut self, id: Id) -> bool {
        let removed = self.base.remove(id) || self.tail.remove(id);
        if removed {
            self.version = next_version();
        }
        removed
    }

    /// Whether a rebuild would make searches cheaper: the tail or the removed items are too many,
    /// or there are enough items for a graph.
    pub fn needs_rebuild(&self) -> bool {
        let base = self.base.len();
        let changed = self.tail.len() + base - self.base.live.count;
        // Without a graph everything is compared anyway, and a tail is as fast as the base.
        let share = if self.has_graph() { CHANGED_SHARE } else { 1. };
        !self.has_graph() && self.options.wants_graph(self.len())
            || changed > CHANGED_FREE && changed as f64 > share * base as f64
    }

    /// Those of `ids` that are in the index, as a set for many searches with
    /// [`SearchParams::subset`]; fastest for ascending ids.
    pub fn subset_of(&self, ids: &[Id]) -> Subset {
        let parts = self.tail.parts();
        let mut base = Bitmap::empty(self.base.len());
        let mut tail: Vec<Bitmap> = parts.iter().map(|part| Bitmap::empty(part.len())).collect();
        let held = &self.base.ids;
        let mut at = 0;
        for &id in ids {
            // The next id is near the last one: a galloping search finds its range.
            if at > 0 && held[at - 1] >= id {
                at = 0;
            }
            let mut from = at;
            let mut step = 1;
            while held.get(from + step - 1).is_some_and(|&it| it < id) {
                from += step;
                step *= 2;
            }
            let span = &held[from..held.len().min(from + step)];
            at = from + span.partition_point(|&it| it < id);
            if held.get(at) == Some(&id) && self.base.live.contains(at) {
                base.set(at);
            } else if let Some((part, slot)) = parts
                .iter()
                .zip(&mut tail)
                .find_map(|(part, set)| Some((set, part.slot(id)?)))
            {
                part.set(slot);
            }
        }
        Subset {
            base,
            tail,
            version: self.version,
        }
    }

    /// Whether a set was made for this index, which did not change since.
    pub fn is_current(&self, subset: &Subset) -> bool {
        subset.version == self.version
    }

    /// All vectors as stored, with their ids in ascending order.
    pub fn vectors(&self) -> (Vec<Id>, Array2<f32>) {
        let ids = self.ids();
        let mut vectors = Array2::zeros((ids.len(), self.dimension()));
        let held = ids.iter().filter_map(|&id| self.vector(id));
        for (held, mut row) in held.zip(vectors.outer_iter_mut()) {
            row.assign(&aview1(&held));
        }
        (ids, vectors)
    }
}

#[cfg(test)]
mod tests;
