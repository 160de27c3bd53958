//! Nearest-neighbour search over track vectors, from a hundred to millions of them.
//!
//! For: [`VectorIndex`], built from ids and unit vectors, searched by vector, saved as a cache of the library.
//! Not for: storing vectors (the library does), audio, or anything a restart may not lose.
//!
//! Vectors are kept at 16 bits a component in two byte planes; all products are sums of integers, so every
//! machine returns the same results. Three ways to search, chosen by measured cost or forced by [`SearchMode`]:
//!
//! - *exact*: all vectors, 16-bit products wherever the 8-bit one leaves a chance. The oracle.
//! - *scan*: signs (1 bit) → 8 bits → 16 bits. How many each stage hands on is measured when the index is
//!   built, against the exact search.
//! - *hnsw*: the graph that `hnsw_rs` builds (Malkov and Yashunin 2018), frozen into flat arrays and walked at
//!   8 bits by a short loop of its own. Filters that leave few tracks are scanned instead.
//!
//! Vectors inserted after the build form a tail that is scanned beside the graph; removed ones are skipped.
//! [`VectorIndex::needs_rebuild`] says when to build again.
//!
//! ```
//! use ndarray::array;
//! use voisin::{index::{IndexOptions, SearchParams, VectorIndex}, track::TrackId};
//!
//! let ids = [TrackId(1), TrackId(2), TrackId(3)];
//! let vectors = array![[1.0_f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//! let nearest = index.search(&[0.8, 0.6], 2, &SearchParams::default())?;
//! assert_eq!(nearest[0].track, TrackId(2));
//! assert!((nearest[0].similarity - 0.96).abs() < 1e-5);
//! # Ok::<(), voisin::index::IndexError>(())
//! ```

mod builder;
mod check;
mod codes;
mod error;
mod file;
mod graph;
mod hubs;
mod persist;
mod rotation;
mod segment;
mod subset;
mod summary;
mod tail_file;
mod top;
mod tuning;
mod types;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::base::vector::{self, NORM_TOLERANCE};
use crate::track::TrackId;

use crate::kernels::{Isa, isa};
use builder::Source;
use codes::{Codec, Codes, Query};
use graph::Graph;
use hubs::{HubScale, Hubs};
use segment::Segment;
use subset::Bitmap;
use top::Top;
use tuning::Tuning;

pub use error::IndexError;
pub use hubs::k_occurrence_skewness;
pub use subset::Subset;
pub use types::{
    Hubness, IndexOptions, IndexStamp, IndexStats, IndexSummary, Neighbor, SearchMode, SearchParams,
    SelfCheck,
};

/// A walk costs about as much per candidate as scanning this many allowed vectors.
const WALK_COST: usize = 60;
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
    /// Over the base, if it is large enough.
    graph: Option<Graph>,
    tuning: Tuning,
    hubs: Option<Hubs>,
    /// Hub scales of the tail's slots.
    tail_hubs: Vec<HubScale>,
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
    /// Below [`IndexOptions::graph_from`] tracks no graph is built. With a pool of one thread the result depends
    /// only on the vectors and the options.
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

    /// Builds the graph and measures widths.
    fn finish(options: IndexOptions, codec: Codec, base: Segment) -> Result<Self, IndexError> {
        let isa = isa()?;
        let source = Source { isa, codec: &codec, codes: &base.codes };
        let mut graph = (base.len() >= options.graph_from.max(2)).then(|| builder::build(source, &options));
        let tuning = tuning::measure(source, &base, graph.as_ref(), options.target_recall);
        if let Some(graph) = &mut graph {
            // Every vector has to be found by the search that is the default.
            builder::repair(source, graph, tuning.ef(10));
        }
        let mut index = Self::assemble(options, isa, codec, base, graph, tuning, None);
        index.hubs = options.hubness.map(|kind| index.measure_hubs(kind));
        Ok(index)
    }

    fn assemble(
        options: IndexOptions,
        isa: Isa,
        codec: Codec,
        base: Segment,
        graph: Option<Graph>,
        tuning: Tuning,
        hubs: Option<Hubs>,
    ) -> Self {
        let tail = Segment::new(Vec::new(), Codes::empty(codec.width));
        Self {
            options,
            isa,
            codec,
            base,
            graph,
            tuning,
            hubs,
            tail_hubs: Vec::new(),
            tail,
            tail_slots: HashMap::new(),
            version: 0,
            saved: Mutex::new(None),
        }
    }

    fn source(&self) -> Source<'_> {
        Source { isa: self.isa, codec: &self.codec, codes: &self.base.codes }
    }

    fn measure_hubs(&self, kind: Hubness) -> Hubs {
        Hubs::measure(kind, self.source(), &self.base, |slot, k| {
            let found = self.search_track(self.base.ids[slot], k, &SearchParams::default());
            found.unwrap_or_default()
        })
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
        if let Some(hubs) = &self.hubs {
            let query = self.codec.query(vector);
            let nearest = self.search_query(&query, 100, &SearchParams::default())?;
            self.tail_hubs.push(hubs.of_query(self.source(), &self.base, &query, &nearest));
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

    /// The `k` tracks most similar to `query` (a unit vector): nearest first, equals by id, none twice.
    ///
    /// Fewer than `k` only if fewer tracks pass the filter.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        check_vector(None, query, self.codec.dimension)?;
        self.search_query(&self.codec.query(query), k, params)
    }

    /// The `k` tracks most similar to a track of the index, itself left out.
    pub fn search_track(
        &self,
        track: TrackId,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let (segment, slot) = self.slot(track).ok_or(IndexError::Unknown(track))?;
        let query = self.codec.query_at(&segment.codes, slot);
        let mut found = self.search_query(&query, k.saturating_add(1), params)?;
        found.retain(|neighbor| neighbor.track != track);
        found.truncate(k);
        Ok(found)
    }

    /// Searches for each row of `queries`, in parallel on rayon's current pool.
    #[allow(clippy::needless_pass_by_value)] // a view is a reference
    pub fn search_batch(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let queries = queries.as_standard_layout();
        let dimension = queries.ncols();
        if dimension != self.codec.dimension {
            return Err(IndexError::Dimension { expected: self.codec.dimension, actual: dimension });
        }
        let rows = queries.as_slice().unwrap_or_default();
        rows.par_chunks_exact(dimension).map(|query| self.search(query, k, params)).collect()
    }

    /// Searches for ever more neighbours until `choose` has taken `k` of them or all have been offered.
    ///
    /// For conditions on the list as a whole (at most two tracks an artist, no duplicates): `choose` sees each
    /// neighbour once, in lists that are nearest first, and returns those that belong in the result. So what it needs
    /// to know of them can be read once for a whole list.
    pub fn search_until<E: From<IndexError>>(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams<'_>,
        mut choose: impl FnMut(Vec<Neighbor>) -> Result<Vec<Neighbor>, E>,
    ) -> Result<Vec<Neighbor>, E> {
        check_vector(None, query, self.codec.dimension)?;
        let query = self.codec.query(query);
        let mut offered = std::collections::HashSet::new();
        let mut taken = Vec::new();
        let mut width = k.saturating_mul(3).saturating_add(10);
        while taken.len() < k {
            let mut found = self.search_query(&query, width, params)?;
            let is_all = found.len() < width;
            found.retain(|neighbor| offered.insert(neighbor.track));
            taken.extend(choose(found)?);
            if is_all {
                break;
            }
            width = width.saturating_mul(4);
        }
        taken.truncate(k);
        Ok(taken)
    }

    /// The `k` nearest other tracks of every track, in the order of [`tracks`](Self::tracks); in parallel on
    /// rayon's current pool.
    pub fn knn_graph(&self, k: usize, params: &SearchParams<'_>) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        self.tracks().par_iter().map(|&track| self.search_track(track, k, params)).collect()
    }

    fn allowed(&self, params: &SearchParams<'_>) -> Result<[Cow<'_, Bitmap>; 2], IndexError> {
        let mut sides = [Cow::Borrowed(&self.base.live), Cow::Borrowed(&self.tail.live)];
        if let Some(subset) = params.subset {
            if subset.version != self.version {
                return Err(IndexError::SubsetOutdated);
            }
            sides = [Cow::Owned(subset.base.clone()), Cow::Owned(subset.tail.clone())];
        }
        if let Some(filter) = params.filter {
            let [base, tail] = &sides;
            sides = [
                Cow::Owned(base.restrict(&self.base.ids, filter)),
                Cow::Owned(tail.restrict(&self.tail.ids, filter)),
            ];
        }
        Ok(sides)
    }

    fn search_query(
        &self,
        query: &Query,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let Some(hubs) = self.hubs.as_ref().filter(|_| params.correct_hubs) else {
            return self.search_plain(query, k, params);
        };
        // The query's own scale is measured without its filter; the corrected order is that of a wider list.
        let plain = SearchParams { mode: params.mode, ..SearchParams::default() };
        let nearest = self.search_plain(query, 101, &plain)?;
        let others = nearest.iter().position(|first| first.similarity < 1. - 1e-6).unwrap_or(nearest.len());
        let own = hubs.of_query(self.source(), &self.base, query, &nearest[others..]);
        let wide = self.search_plain(query, k.saturating_mul(4).saturating_add(50), params)?;
        let score = |found: &Neighbor| {
            let scale = match self.tail_slots.get(&found.track) {
                Some(&slot) => self.tail_hubs.get(slot as usize).copied(),
                None => self.base.ids.binary_search(&found.track).ok().map(|slot| hubs.scales[slot]),
            };
            hubs.score(own, scale.unwrap_or_default(), found.similarity)
        };
        Ok(hubs::reorder(wide, k, score))
    }

    fn search_plain(
        &self,
        query: &Query,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        if params.mode == SearchMode::Hnsw && self.graph.is_none() {
            return Err(IndexError::NoGraph { tracks: self.len(), graph_from: self.options.graph_from });
        }
        let k = k.min(self.len());
        let mut top = Top::new(k);
        let [base, tail] = self.allowed(params)?;
        match (params.mode, &self.graph) {
            (SearchMode::Exact, _) => {
                self.base.exact(self.isa, &self.codec, query, &base, &mut top);
                self.tail.exact(self.isa, &self.codec, query, &tail, &mut top);
                return Ok(top.into_sorted());
            }
            (SearchMode::Auto | SearchMode::Hnsw, Some(graph)) => {
                self.search_graph(graph, query, k, params, &base, &mut top);
            }
            _ => self.scan(&self.base, query, &base, k, &mut top),
        }
        self.scan(&self.tail, query, &tail, k, &mut top);
        Ok(top.into_sorted())
    }

    fn scan(&self, segment: &Segment, query: &Query, allowed: &Bitmap, k: usize, top: &mut Top) {
        segment.scan(self.isa, &self.codec, query, allowed, self.tuning.budget(k), top);
    }

    /// Walks the graph if that is cheaper than scanning the allowed vectors, and scans if that cannot be trusted.
    fn search_graph(
        &self,
        graph: &Graph,
        query: &Query,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
        top: &mut Top,
    ) {
        let n = self.base.len();
        let wanted = params.ef.unwrap_or_else(|| self.tuning.ef(k)).max(k);
        // Of the candidates that a walk ends with, about the share that is allowed will be.
        let ef = (wanted as f64 * n as f64 / allowed.count.max(1) as f64).ceil() as usize;
        if allowed.count == 0 || allowed.count < WALK_COST.saturating_mul(ef) && params.ef.is_none() {
            return self.scan(&self.base, query, allowed, k, top);
        }
        let enough = graph.walk(self.isa, &self.base.codes, query, ef.min(n), None, |pool| {
            // Where the k-th allowed candidate is: without a filter, would a walk as wide as this have found all up
            // to there? Not if the filter leaves out what is near the query: another cluster, say.
            let mut passing = Vec::new();
            let mut last = None;
            for (at, &(similarity, slot)) in pool.iter().enumerate() {
                if allowed.count == n || allowed.contains(slot as usize) {
                    passing.push((similarity, slot));
                    if passing.len() == k.min(allowed.count).max(1) {
                        last = Some(at);
                    }
                }
            }
            for &(_, slot) in passing.iter().take(2 * k) {
                self.base.codes.prefetch_low(slot as usize);
            }
            segment::rerank(&mut passing, self.tuning.error8, top, |slot| {
                (self.base.codes.similarity(self.isa, query, slot), self.base.ids[slot])
            });
            match (last, params.ef) {
                (Some(at), None) => allowed.count == n || self.tuning.ef(at + 1) <= ef,
                (found, _) => found.is_some(),
            }
        });
        if !enough {
            *top = Top::new(k);
            self.scan(&self.base, query, allowed, k, top);
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
    within("target_recall", "0 to 1", 0. ..=1., options.target_recall)?;
    match options.hubness {
        Some(Hubness::LocalScaling { k }) => within("hubness k", "1 to 100", 1. ..=100., k as f64),
        Some(Hubness::MutualProximity) | None => Ok(()),
    }
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
        let options = IndexOptions { graph_from: 0, ef_construction: 50, ..IndexOptions::default() };
        let mut index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        for mode in [SearchMode::Exact, SearchMode::Scan, SearchMode::Hnsw] {
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
