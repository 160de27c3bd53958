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
//! - *hnsw*: the graph that `hnsw_rs` builds (Malkov and Yashunin 2018), frozen into flat arrays and walked at
//!   8 bits by a short loop of its own. Filters that leave few tracks are scanned instead.
//!
//! Vectors inserted after the build form a tail that is scanned beside the lists or the graph; removed ones are skipped.
//! [`VectorIndex::needs_rebuild`] says when to build again.
//!
//! ```
//! use ndarray::array;
//! use voisin::{IndexOptions, SearchParams, TrackId, VectorIndex};
//!
//! let ids = [TrackId(1), TrackId(2), TrackId(3)];
//! let vectors = array![[1.0_f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//! let nearest = index.search(&[0.8, 0.6], 2, &SearchParams::default())?;
//! assert_eq!(nearest[0].track, TrackId(2));
//! assert!((nearest[0].similarity - 0.96).abs() < 1e-5);
//! # Ok::<(), voisin::IndexError>(())
//! ```

mod builder;
mod check;
mod codes;
mod error;
mod file;
mod graph;
mod hubs;
mod lists;
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
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::base::vector::{self, NORM_TOLERANCE};
use crate::track::TrackId;

use crate::kernels::{Isa, isa};
use builder::CodeSource;
use codes::{Codec, Codes, PreparedQuery};
use graph::{Candidate, Graph};
use hubs::{HubScale, Hubs};
use lists::{Lists, Reach};
use segment::Segment;
use subset::Bitmap;
use top::Top;
use tuning::Tuning;

pub use error::IndexError;
pub use hubs::k_occurrence_skewness;
pub use subset::Subset;
pub use types::{
    Hubness, IndexOptions, IndexStamp, IndexStats, IndexSummary, ListStats, Neighbor, SearchMode,
    SearchParams, SelfCheck,
};

/// A walk costs about as much per candidate as scanning this many allowed vectors.
const WALK_COST: usize = 60;
/// Lists of so many bytes stay in a core's own cache: to read each once for many queries saves nothing then.
const CACHED: usize = 2 << 20;
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
    /// Over the base, if it is large enough.
    lists: Option<Lists>,
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

/// How a search goes.
enum Way<'a> {
    Exact,
    Scan,
    Lists(&'a Lists),
    Graph(&'a Graph),
}

impl VectorIndex {
    /// Builds an index of `vectors` (`[ids.len(), dimension]`, unit rows), in parallel on rayon's current pool.
    ///
    /// Lists are made from [`IndexOptions::lists_from`] tracks on, a graph from [`IndexOptions::graph_from`] on. The
    /// result depends only on the vectors and the options; if there is a graph, only with a pool of one thread.
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
        let mut graph = (base.len() >= options.graph_from.max(2)).then(|| builder::build(source, &options));
        let lists = (base.len() >= options.lists_from.max(2)).then(|| Lists::build(source));
        let tuning = tuning::measure(source, &base, graph.as_ref(), lists.as_ref(), options.target_recall);
        if let Some(graph) = &mut graph {
            // Every vector has to be found by the search that is the default.
            builder::repair(source, graph, tuning.ef(10));
        }
        let mut index = Self { graph, lists, ..Self::assemble(options, isa, codec, base, tuning) };
        index.hubs = options.hubness.map(|kind| index.measure_hubs(kind));
        Ok(index)
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
            hubs: None,
            tail_hubs: Vec::new(),
            tail,
            tail_slots: HashMap::new(),
            version: 0,
            saved: Mutex::new(None),
        }
    }

    fn source(&self) -> CodeSource<'_> {
        CodeSource { isa: self.isa, codec: &self.codec, codes: &self.base.codes }
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

    /// Searches for each row of `queries`, in parallel on rayon's current pool: the same answers as one by one, but lists
    /// are read once for many queries.
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
        let search = |rows: &[f32]| {
            let rows = rows.chunks_exact(dimension);
            rows.clone().try_for_each(|query| check_vector(None, query, dimension))?;
            let queries: Vec<PreparedQuery> = rows.map(|query| self.codec.query(query)).collect();
            self.search_all(&queries, k, params)
        };
        let found: Vec<_> =
            rows.par_chunks(batch(queries.nrows()) * dimension).map(search).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// As [`search_query`](Self::search_query) for each of `queries`, on this thread.
    fn search_all(
        &self,
        queries: &[PreparedQuery],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        if let Way::Lists(lists) = self.way(params.mode)?
            && !(params.correct_hubs && self.hubs.is_some())
            && lists.blocks.len() > CACHED
        {
            let k = k.min(self.len());
            let [base, tail] = self.allowed(params)?;
            if let Some(reach) = self.reach(lists, k, params, &base) {
                let take = |at: usize, pool: &mut [Candidate]| {
                    let mut top = Top::new(k);
                    let within = |count: usize| self.reached(reach, count);
                    let within: Option<&dyn Fn(usize) -> bool> =
                        if params.ef.is_none() { Some(&within) } else { None };
                    self.take(&queries[at], k, &base, pool, within, &mut top).then_some(top)
                };
                let tops = lists.nearest_of_all(self.isa, &self.base.codes, queries, reach, take);
                let finish = |(query, top): (&PreparedQuery, Option<Top>)| {
                    let mut top = top.unwrap_or_else(|| {
                        let mut top = Top::new(k);
                        self.scan(&self.base, query, &base, k, &mut top);
                        top
                    });
                    self.scan(&self.tail, query, &tail, k, &mut top);
                    top.into_sorted()
                };
                return Ok(queries.iter().zip(tops).map(finish).collect());
            }
        }
        queries.iter().map(|query| self.search_query(query, k, params)).collect()
    }

    /// For each row of `queries`, searches for ever more neighbours until `choose` has taken `k` of them or all have been
    /// offered. The rows are searched for [together](Self::search_batch), with the same answers as one by one.
    ///
    /// For conditions on the list as a whole (at most two tracks an artist, no duplicates): `choose` is told the row,
    /// sees each neighbour once, in lists that are nearest first, and returns those that belong in the result. So what
    /// it needs to know of them can be read once for a whole list.
    pub fn search_until<E: From<IndexError>>(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        params: &SearchParams<'_>,
        mut choose: impl FnMut(usize, Vec<Neighbor>) -> Result<Vec<Neighbor>, E>,
    ) -> Result<Vec<Vec<Neighbor>>, E> {
        /// Queries whose neighbours are in memory at once.
        const TOGETHER: usize = 1 << 13;
        let mut taken = vec![Vec::new(); queries.nrows()];
        for start in (0..queries.nrows()).step_by(TOGETHER) {
            let mut left: Vec<usize> = (start..queries.nrows().min(start + TOGETHER)).collect();
            let mut offered = vec![HashSet::new(); left.len()];
            // Most conditions leave out next to nothing: the seed itself, a copy of it.
            let mut width = k.saturating_add(k / 4 + 2);
            while k > 0 && !left.is_empty() {
                let all = match left[..] {
                    [row] => vec![self.search(&queries.row(row).to_vec(), width, params)?],
                    _ => self.search_batch(queries.select(Axis(0), &left).view(), width, params)?,
                };
                let mut unfinished = Vec::new();
                for (row, mut found) in left.into_iter().zip(all) {
                    let is_all = found.len() < width;
                    found.retain(|neighbor| offered[row - start].insert(neighbor.track));
                    taken[row].extend(choose(row, found)?);
                    if !is_all && taken[row].len() < k {
                        unfinished.push(row);
                    }
                }
                left = unfinished;
                width = width.saturating_mul(4);
            }
        }
        taken.iter_mut().for_each(|taken| taken.truncate(k));
        Ok(taken)
    }

    /// The `k` nearest other tracks of every track, in the order of [`tracks`](Self::tracks); in parallel on
    /// rayon's current pool. The same answers as [`search_track`](Self::search_track).
    pub fn knn_graph(&self, k: usize, params: &SearchParams<'_>) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let tracks = self.tracks();
        let mut order: Vec<usize> = (0..tracks.len()).collect();
        if let Way::Lists(lists) = self.way(params.mode)? {
            // Tracks of one list are near each other: their searches read the same lists.
            let mut place = vec![0; self.base.len()];
            lists.order().iter().enumerate().for_each(|(at, &slot)| place[slot as usize] = at);
            order.sort_by_cached_key(|&at| match self.base.ids.binary_search(&tracks[at]) {
                Ok(slot) => place[slot],
                Err(_) => usize::MAX,
            });
        }
        let search = |part: &[usize]| {
            let query = |&at: &usize| {
                let (segment, slot) = self.slot(tracks[at]).ok_or(IndexError::Unknown(tracks[at]))?;
                Ok(self.codec.query_at(&segment.codes, slot))
            };
            let queries = part.iter().map(query).collect::<Result<Vec<PreparedQuery>, IndexError>>()?;
            let mut found = self.search_all(&queries, k.saturating_add(1), params)?;
            for (&at, found) in part.iter().zip(&mut found) {
                found.retain(|neighbor| neighbor.track != tracks[at]);
                found.truncate(k);
            }
            Ok(found)
        };
        let parts: Vec<_> =
            order.par_chunks(batch(order.len())).map(search).collect::<Result<_, IndexError>>()?;
        let mut lists = vec![Vec::new(); tracks.len()];
        order.iter().zip(parts.into_iter().flatten()).for_each(|(&at, found)| lists[at] = found);
        Ok(lists)
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
        query: &PreparedQuery,
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
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let way = self.way(params.mode)?;
        let k = k.min(self.len());
        let mut top = Top::new(k);
        let [base, tail] = self.allowed(params)?;
        match way {
            Way::Exact => {
                self.base.exact(self.isa, &self.codec, query, &base, &mut top);
                self.tail.exact(self.isa, &self.codec, query, &tail, &mut top);
                return Ok(top.into_sorted());
            }
            Way::Lists(lists) => self.search_lists(lists, query, k, params, &base, &mut top),
            Way::Graph(graph) => self.search_graph(graph, query, k, params, &base, &mut top),
            Way::Scan => self.scan(&self.base, query, &base, k, &mut top),
        }
        self.scan(&self.tail, query, &tail, k, &mut top);
        Ok(top.into_sorted())
    }

    /// What a mode comes to in this index.
    fn way(&self, mode: SearchMode) -> Result<Way<'_>, IndexError> {
        Ok(match (mode, &self.lists, &self.graph) {
            (SearchMode::Exact, _, _) => Way::Exact,
            (SearchMode::Auto | SearchMode::Lists, Some(lists), _) => Way::Lists(lists),
            (SearchMode::Auto | SearchMode::Hnsw, _, Some(graph)) => Way::Graph(graph),
            (SearchMode::Hnsw, _, None) => {
                return Err(IndexError::NoGraph { tracks: self.len(), graph_from: self.options.graph_from });
            }
            (SearchMode::Lists, None, _) => {
                return Err(IndexError::NoLists { tracks: self.len(), lists_from: self.options.lists_from });
            }
            (SearchMode::Scan | SearchMode::Auto, _, _) => Way::Scan,
        })
    }

    fn scan(&self, segment: &Segment, query: &PreparedQuery, allowed: &Bitmap, k: usize, top: &mut Top) {
        segment.scan(self.isa, &self.codec, query, allowed, self.tuning.budget(k), top);
    }

    /// Walks the graph if that is cheaper than scanning the allowed vectors, and scans if that cannot be trusted.
    fn search_graph(
        &self,
        graph: &Graph,
        query: &PreparedQuery,
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
        let within = |count: usize| self.tuning.ef(count) <= ef;
        let enough = graph.walk(self.isa, &self.base.codes, query, ef.min(n), None, |pool| {
            self.take(query, k, allowed, pool, params.ef.is_none().then_some(&within), top)
        });
        if !enough {
            *top = Top::new(k);
            self.scan(&self.base, query, allowed, k, top);
        }
    }

    /// Goes through the nearest lists if that is cheaper than scanning the allowed vectors, and scans if that cannot be
    /// trusted.
    fn search_lists(
        &self,
        lists: &Lists,
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
        top: &mut Top,
    ) {
        let reach = self.reach(lists, k, params, allowed);
        let found = reach.is_some_and(|reach| {
            lists.nearest(self.isa, &self.base.codes, query, reach, None, |pool| {
                let within = |count: usize| self.reached(reach, count);
                self.take(query, k, allowed, pool, params.ef.is_none().then_some(&within), top)
            })
        });
        if !found {
            *top = Top::new(k);
            self.scan(&self.base, query, allowed, k, top);
        }
    }

    /// How much of the lists a search looks at; `None` if a scan of the allowed vectors is cheaper or surer.
    fn reach(&self, lists: &Lists, k: usize, params: &SearchParams<'_>, allowed: &Bitmap) -> Option<Reach> {
        // Of the vectors that a search ends with, about the share that is allowed will be.
        let (wanted, share) = (k as f64, self.base.len() as f64 / allowed.count.max(1) as f64);
        // Where the k-th allowed vector is expected, and two standard deviations more; with a filter, whose own cost is
        // larger than a wider search's, twice that.
        let is_filtered = allowed.count < self.base.len();
        let margin = if is_filtered { 2. } else { 1. };
        let depth = margin * (wanted * share + 2. * (wanted * (1. - 1. / share)).sqrt() * share);
        let mut reach = self.tuning.reach(depth.ceil() as usize);
        if let Some(width) = params.ef {
            reach.lists = width;
        }
        let cost = lists.places(reach.lists) + tuning::HANDED_ON_COST * reach.codes;
        // Widths are measured without a filter: far beyond them nothing is known.
        let is_sure = !is_filtered || 3 * reach.lists <= lists.len();
        (k > 0 && (params.ef.is_some() || cost < allowed.count && is_sure)).then_some(reach)
    }

    /// Whether a search of so much of the lists was wide enough for so many neighbours.
    fn reached(&self, reach: Reach, count: usize) -> bool {
        let needed = self.tuning.reach(count);
        needed.lists <= reach.lists && needed.codes <= reach.codes
    }

    /// Puts the allowed of `pool`, nearest first by 8 bits, into `top`; whether they are as good as all that are allowed.
    ///
    /// - `within`: whether the search was wide enough for so many neighbours, if that is to be made sure of
    fn take(
        &self,
        query: &PreparedQuery,
        k: usize,
        allowed: &Bitmap,
        pool: &[Candidate],
        within: Option<&dyn Fn(usize) -> bool>,
        top: &mut Top,
    ) -> bool {
        // Where the k-th allowed candidate is: without a filter, would a search as wide as this have found all up to
        // there? Not if the filter leaves out what is near the query: another cluster, say.
        let all = allowed.count == self.base.len();
        let mut passing = Vec::with_capacity(pool.len());
        let mut last = None;
        for (at, &(similarity, slot)) in pool.iter().enumerate() {
            if all || allowed.contains(slot as usize) {
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
        match (last, within) {
            (Some(at), Some(within)) => all || within(at + 1),
            (found, _) => found.is_some(),
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

/// Queries that are searched for together, of `n`: many, but enough parts for all threads.
fn batch(n: usize) -> usize {
    const MOST: usize = 1024;
    n.div_ceil(rayon::current_num_threads()).clamp(1, MOST)
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
