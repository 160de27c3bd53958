//! Nearest-neighbour search over track vectors, from a hundred to millions of them.
//!
//! For: [`VectorIndex`], built from ids and unit vectors, searched by vector, saved as a cache of the library.
//! Not for: storing vectors (the library does), audio, or anything a restart may not lose.
//!
//! Vectors are kept at 16 bits a component in two byte planes; all products are sums of integers, so every
//! machine returns the same results. Four ways to search, chosen by measured cost or forced by [`SearchMode`]:
//!
//! - *exact*: all vectors, 16-bit products wherever the 8-bit one leaves a chance. The oracle.
//! - *scan*: signs (1 bit) → 8 bits → 16 bits. How many each stage hands on is measured when the index is
//!   built, against the exact search.
//! - *lists*: vectors grouped by k-means, in codes of 64 bytes; those of the nearest lists are compared, the best go on
//!   to 8 and 16 bits. How many lists and how many vectors is measured when the index is built.
//! - *hnsw*: a graph whose links are chosen among each vector's nearest in the lists (or by `hnsw_rs`) as HNSW chooses
//!   them (Malkov and Yashunin 2018), walked by codes of 64 bytes that stand beside each other; the best go on to 8 and 16
//!   bits. Filters that leave few tracks are scanned instead.
//!
//! Vectors inserted after the build form a tail that is scanned beside the lists or the graph; removed ones are skipped.
//! [`VectorIndex::needs_rebuild`] says when to build again.
//!
//! ```
//! use ndarray::array;
//! use voisin_base::track::TrackId;
//! use voisin_index::{IndexOptions, SearchParams, VectorIndex};
//!
//! let ids = [TrackId(1), TrackId(2), TrackId(3)];
//! let vectors = array![[1.0_f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//! let nearest = index.search(&[0.8, 0.6], 2, &SearchParams::default())?;
//! assert_eq!(nearest[0].track, TrackId(2));
//! assert!((nearest[0].similarity - 0.96).abs() < 1e-5);
//! # Ok::<(), voisin_index::IndexError>(())
//! ```

// Not forbid: ndarray's s![] allows itself an unsafe block where it is used.
#![deny(unsafe_code)]

mod builder;
mod check;
mod codes;
mod error;
mod file;
mod graph;
mod lists;
mod persist;
mod rotation;
mod search;
mod segment;
mod subset;
mod summary;
mod tail_file;
mod top;
mod tuning;
mod types;
mod ways;

use std::collections::HashMap;
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use voisin_base::track::TrackId;
use voisin_base::vector::{self, NORM_TOLERANCE};

use codes::{CodeSource, Codec, Codes};
use graph::Graph;
use lists::Lists;
use segment::Segment;
use tuning::Tuning;
use voisin_kernels::{Isa, isa};

pub use error::IndexError;
pub use subset::Subset;
pub use types::{
    GraphBuilder, IndexOptions, IndexStamp, IndexStats, IndexSummary, ListStats, Neighbor, SearchMode,
    SearchParams, SelfCheck,
};

/// Slots are numbered by 31 bits.
const MAX_VECTORS: usize = 1 << 31;
/// Up to here sums of products stay within 32 bits, in every kernel and in the rotation.
const MAX_DIMENSION: usize = 65_536;

/// An index of unit vectors by track.
///
/// Shared freely between threads for searching; inserting and removing need exclusive access.
pub struct VectorIndex {
    options: IndexOptions,
    isa: Isa,
    codec: Codec,
    /// Sorted by id.
    base: Segment,
    /// Over the base and its lists, if it is large enough.
    graph: Option<Graph>,
    /// Over the base, if it is large enough.
    lists: Option<Lists>,
    tuning: Tuning,
    tail: Segment,
    /// Slots of the tail's live tracks.
    tail_slots: HashMap<TrackId, u32>,
    /// Grows with each change.
    version: u64,
    /// Digest of the file that the base was last written to or read from.
    saved: Mutex<Option<[u8; 32]>>,
}

impl VectorIndex {
    /// Builds an index of `vectors` (`[ids.len(), dimension]`, unit rows), in parallel on rayon's current pool.
    ///
    /// Lists are made from [`IndexOptions::lists_from`] tracks on, a graph (and lists, if need be) from
    /// [`IndexOptions::graph_from`] on. The result depends only on the vectors and the options; with
    /// [`GraphBuilder::HnswRs`], only with a pool of one thread.
    #[allow(clippy::needless_pass_by_value)] // a view is a reference
    pub fn build(
        ids: &[TrackId],
        vectors: ArrayView2<'_, f32>,
        options: &IndexOptions,
    ) -> Result<Self, IndexError> {
        check_options(options)?;
        let (n, dimension) = vectors.dim();
        if ids.len() != n {
            return Err(IndexError::Count { ids: ids.len(), vectors: n });
        }
        if n >= MAX_VECTORS {
            return Err(IndexError::TooMany { limit: MAX_VECTORS - 1, actual: n });
        }
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            return Err(IndexError::Option {
                name: "dimension",
                expected: "1 to 65536",
                actual: dimension as f64,
            });
        }
        let vectors = vectors.as_standard_layout();
        let rows = vectors.as_slice().unwrap_or_default();
        let row = |i: usize| &rows[i * dimension..][..dimension];
        (0..n).into_par_iter().try_for_each(|i| check_vector(Some(ids[i]), row(i), dimension))?;
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_unstable_by_key(|&i| ids[i]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            return Err(IndexError::Duplicate(ids[pair[0]]));
        }
        let codec = Codec::fit(dimension, order.iter().map(|&i| row(i)));
        let codes = Codes::encode(&codec, n, |slot| row(order[slot]));
        let ids = order.iter().map(|&i| ids[i]).collect();
        Self::finish(*options, codec, Segment::new(ids, codes))
    }

    /// Makes lists and graph, and measures widths.
    fn finish(options: IndexOptions, codec: Codec, base: Segment) -> Result<Self, IndexError> {
        let isa = isa()?;
        let source = CodeSource { isa, codec: &codec, codes: &base.codes };
        // A graph is walked by the codes of lists.
        let lists_from = options.lists_from.min(options.graph_from).max(2);
        let lists = (base.len() >= lists_from).then(|| Lists::build(source));
        let of = lists.as_ref().filter(|_| base.len() >= options.graph_from.max(2));
        let graph = of.map(|lists| builder::build(source, lists, &options));
        let tuning = tuning::measure(source, &base, graph.as_ref(), lists.as_ref(), options.target_recall);
        Ok(Self { graph, lists, ..Self::assemble(options, isa, codec, base, tuning) })
    }

    /// An index that is scanned.
    fn assemble(options: IndexOptions, isa: Isa, codec: Codec, base: Segment, tuning: Tuning) -> Self {
        let tail = Segment::new(Vec::new(), Codes::empty(codec.width));
        Self {
            options,
            isa,
            codec,
            base,
            graph: None,
            lists: None,
            tuning,
            tail,
            tail_slots: HashMap::new(),
            version: 0,
            saved: Mutex::new(None),
        }
    }

    /// Number of tracks.
    pub fn len(&self) -> usize {
        self.base.live.count + self.tail.live.count
    }

    /// Whether there is no track.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions of the vectors.
    pub fn dimension(&self) -> usize {
        self.codec.dimension
    }

    /// Whether `track` is in the index.
    pub fn contains(&self, track: TrackId) -> bool {
        self.slot(track).is_some()
    }

    /// Whether there is a graph to walk; small indexes are scanned.
    pub fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// All tracks, in ascending order.
    pub fn tracks(&self) -> Vec<TrackId> {
        let of = |segment: &Segment| -> Vec<TrackId> {
            segment.live.slots().map(|slot| segment.ids[slot as usize]).collect()
        };
        let mut all = of(&self.base);
        all.extend(of(&self.tail));
        all.sort_unstable();
        all
    }

    /// The vector of `track` as the index holds it: each component within 5e-5 of the one given.
    pub fn vector(&self, track: TrackId) -> Option<Vec<f32>> {
        let (segment, slot) = self.slot(track)?;
        let mut vector = vec![0.; self.codec.dimension];
        self.codec.decode(&segment.codes, slot, &mut vector);
        Some(vector)
    }

    fn slot(&self, track: TrackId) -> Option<(&Segment, usize)> {
        if let Some(&slot) = self.tail_slots.get(&track) {
            return Some((&self.tail, slot as usize));
        }
        let slot = self.base.ids.binary_search(&track).ok()?;
        self.base.live.contains(slot).then_some((&self.base, slot))
    }

    /// Adds a track. Found by every search from now on.
    pub fn insert(&mut self, track: TrackId, vector: &[f32]) -> Result<(), IndexError> {
        check_vector(Some(track), vector, self.codec.dimension)?;
        if self.contains(track) {
            return Err(IndexError::Duplicate(track));
        }
        let slot = self.tail.len();
        if self.base.len() + slot >= MAX_VECTORS {
            return Err(IndexError::TooMany { limit: MAX_VECTORS - 1, actual: self.base.len() + slot + 1 });
        }
        self.tail.push(track, &self.codec, vector);
        self.tail_slots.insert(track, slot as u32);
        self.version += 1;
        Ok(())
    }

    /// Removes a track; false if it was not there. No search returns it from now on.
    pub fn remove(&mut self, track: TrackId) -> bool {
        if let Some(slot) = self.tail_slots.remove(&track) {
            self.tail.live.unset(slot as usize);
        } else if let Some(slot) =
            self.base.ids.binary_search(&track).ok().filter(|&s| self.base.live.contains(s))
        {
            self.base.live.unset(slot);
        } else {
            return false;
        }
        self.version += 1;
        true
    }

    /// Finds the tracks that pass `filter` once, for many searches with [`SearchParams::subset`].
    pub fn subset(&self, filter: &(dyn Fn(TrackId) -> bool + Sync)) -> Subset {
        Subset {
            base: self.base.live.restrict(&self.base.ids, filter),
            tail: self.tail.live.restrict(&self.tail.ids, filter),
            version: self.version,
        }
    }

    /// All vectors as the index holds them, with their tracks in ascending order.
    pub fn vectors(&self) -> (Vec<TrackId>, Array2<f32>) {
        let tracks = self.tracks();
        let mut vectors = Array2::zeros((tracks.len(), self.codec.dimension));
        for (track, mut row) in tracks.iter().zip(vectors.outer_iter_mut()) {
            if let (Some((segment, slot)), Some(row)) = (self.slot(*track), row.as_slice_mut()) {
                self.codec.decode(&segment.codes, slot, row);
            }
        }
        (tracks, vectors)
    }
}

fn check_options(options: &IndexOptions) -> Result<(), IndexError> {
    let within = |name, expected, range: std::ops::RangeInclusive<f64>, actual: f64| {
        // A range does not contain NaN.
        if range.contains(&actual) { Ok(()) } else { Err(IndexError::Option { name, expected, actual }) }
    };
    within("m", "4 to 32", 4. ..=32., options.m as f64)?;
    within("ef_construction", "16 to 2000", 16. ..=2000., options.ef_construction as f64)?;
    within("target_recall", "0 to 1", 0. ..=1., options.target_recall)
}

fn check_vector(track: Option<TrackId>, vector: &[f32], dimension: usize) -> Result<(), IndexError> {
    if vector.len() != dimension {
        return Err(IndexError::Dimension { expected: dimension, actual: vector.len() });
    }
    if let Some(position) = vector.iter().position(|x| !x.is_finite()) {
        return Err(IndexError::NotFinite { track, position });
    }
    let norm = vector::norm(vector);
    if (norm - 1.).abs() > NORM_TOLERANCE {
        return Err(IndexError::Norm { track, norm, tolerance: NORM_TOLERANCE });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn every_instruction_set_returns_the_same_results() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut vectors = Array2::from_shape_simple_fn((3000, 200), || rng.random::<f32>() - 0.3);
        for mut row in vectors.outer_iter_mut() {
            row /= row.dot(&row).sqrt();
        }
        let ids: Vec<TrackId> = (0..3000).map(TrackId).collect();
        let options =
            IndexOptions { graph_from: 0, lists_from: 0, ef_construction: 50, ..IndexOptions::default() };
        let mut index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        for mode in [SearchMode::Exact, SearchMode::Scan, SearchMode::Lists, SearchMode::Hnsw] {
            let params = SearchParams { mode, ..SearchParams::default() };
            let mut answers = Isa::available().into_iter().map(|isa| {
                index.isa = isa;
                index.search_batch(vectors.slice(ndarray::s![..40, ..]), 10, &params).unwrap()
            });
            let first = answers.next().unwrap();
            assert!(answers.all(|other| other == first), "{mode}");
        }
    }
}
