//! Nearest-neighbour search over vectors, from a hundred to millions of them.
//!
//! For: [`VectorIndex`], built from ids and vectors, searched by vector, saved as a cache;
//! [`SharedIndex`], which threads search while others change it. Not for: storing vectors, or data
//! that must not be lost.
//!
//! Vectors are kept at 16 bits a component in two byte planes (for Euclidean distances, at 32 bits
//! and in a plane of 8); all products are sums of integers, so every machine returns the same
//! results. Four ways to search, chosen by measured cost or
//! forced by [`SearchMode`]:
//!
//! - *exact*: all vectors, 16-bit products unless the 8-bit one excludes the vector. The reference.
//! - *scan*: signs (1 bit) → 8 bits → 16 bits. How many each stage passes on is measured at the
//!   build, against the exact search.
//! - *lists*: vectors grouped by k-means, in codes of 64 bytes; those of the nearest lists are
//!   compared, the best at 8 and 16 bits. The numbers of lists and vectors are measured at the
//!   build.
//! - *hnsw*: a graph whose links are chosen among each vector's nearest in the lists (or by
//!   `hnsw_rs`) as HNSW chooses them (Malkov and Yashunin 2018), walked by codes of 64 bytes that
//!   stand beside each other; the best go on to 8 and 16 bits. Filters that leave few items are
//!   scanned instead.
//!
//! An index with [`IndexOptions::residual_bits`] has lists and no vectors: those found in the lists
//! are read by the function given to [`VectorIndex::read_vectors_with`].
//!
//! Vectors inserted after the build form a tail that is scanned beside the lists or the graph;
//! removed ones are skipped. [`VectorIndex::needs_rebuild`] reports when to rebuild.
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
mod change_log;
mod check;
mod checked_file;
mod codes;
mod component;
mod construction;
mod directions;
mod error;
mod fields;
mod file;
mod fill;
mod graph;
mod grouping;
#[cfg(feature = "hnsw_rs")]
mod hnsw;
mod kmeans;
mod lists;
mod metric;
mod order;
mod persist;
mod quantise;
mod residual;
mod rotation;
mod search;
mod segment;
mod shared;
mod speeds;
mod subset;
mod summary;
mod tail;
mod tail_file;
mod top;
mod trials;
mod tuning;
mod types;
mod ways;

use std::sync::{Arc, Mutex};

use ndarray::{Array2, aview1};

pub use voisin_base::track::Id;

use codes::{Codec, Codes};
use construction::MAX_VECTORS;
use file::BasePlace;
use graph::Graph;
use lists::Lists;
use residual::{Residuals, VectorReader};
use segment::Segment;
use subset::{Bitmap, next_version};
use tail::IndexTail;
use tuning::Tuning;
use voisin_kernels::Isa;

pub use component::Component;
pub use error::IndexError;
#[cfg(feature = "hnsw_rs")]
pub use hnsw::HnswRs;
pub use metric::IndexMetric;
pub use shared::SharedIndex;
pub use subset::Subset;
pub use types::{
    GraphAndLists, GraphBuilder, IndexOptions, IndexStamp, IndexStats, IndexSummary, ListStats,
    Neighbor, SearchMode, SearchParams, SelfCheck, WaySpeeds,
};

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
    /// Over the base, if it is large enough.
    lists: Option<Arc<Lists>>,
    /// For an index without vectors, whose base has none.
    residuals: Option<Arc<Residuals>>,
    /// Reads vectors for such an index.
    reader: Option<Arc<VectorReader>>,
    tuning: Tuning,
    tail: IndexTail,
    /// Unique to each state of each index.
    version: u64,
    /// The file that the base was last written to or read from.
    saved: Arc<Mutex<Option<BasePlace>>>,
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
        self.codec.space.dimension
    }

    /// Whether `id` is in the index.
    pub fn contains(&self, id: Id) -> bool {
        self.slot(id).is_some()
    }

    /// Whether there is a graph; small indexes are scanned.
    pub fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// All items, in ascending order.
    pub fn ids(&self) -> Vec<Id> {
        let live_ids = |segment: &Segment| -> Vec<Id> {
            segment
                .live
                .slots()
                .map(|slot| segment.ids[slot as usize])
                .collect()
        };
        let mut all = live_ids(&self.base);
        self.tail
            .parts()
            .iter()
            .for_each(|part| all.extend(live_ids(part)));
        all.sort_unstable();
        all
    }

    /// The vector of `id` as stored, at length 1 for cosines: each component within 5e-5 of the
    /// given one (relative to the longest vector for inner products), and exact for Euclidean
    /// distances. `None` if there is none, or it is damaged in the index's file, or cannot be read.
    pub fn vector(&self, id: Id) -> Option<Vec<f32>> {
        let vector = self
            .with_codes(id, |codes, slot| self.codec.lowered(codes, slot))
            .ok()?;
        self.intact().is_ok().then_some(vector)
    }

    /// Sets how vectors are read that the index does not hold ([`IndexOptions::residual_bits`]):
    /// `reader` writes those of some items, concatenated, as they were when the index was built.
    /// Several threads call it at once.
    #[allow(clippy::type_complexity)] // a name of its own would say less
    pub fn read_vectors_with(
        &mut self,
        reader: Arc<dyn Fn(&[Id], &mut [f32]) -> std::io::Result<()> + Send + Sync>,
    ) {
        self.reader = Some(reader);
    }

    /// Whether the index has this vector for `id`, as far as its codes show; for cosines.
    #[doc(hidden)]
    pub fn is_of(&self, id: Id, vector: &[f32]) -> Result<bool, IndexError> {
        /// The index keeps 16 bits a component.
        const ERROR: f32 = 1e-3;
        let (segment, slot) = self.slot(id).ok_or(IndexError::Unknown(id))?;
        self.codec.space.check(Some(id), vector)?;
        if let (Some(lists), true) = (&self.lists, self.is_outside(segment)) {
            let mut codes = Codes::empty(&self.codec);
            codes.push(&self.codec, &self.codec.lift(id, vector)?);
            let is_held = lists.holds(self.isa, slot as u32, &self.codec.stored_at(&codes, 0));
            return self.intact().map(|()| is_held);
        }
        let held = self.codec.lowered(&segment.codes, slot);
        let difference = held
            .iter()
            .zip(vector)
            .map(|(a, b)| (a - b).abs())
            .fold(0_f32, f32::max);
        self.intact().map(|()| difference <= ERROR)
    }

    /// Whether a segment's vectors are not in the index.
    fn is_outside(&self, segment: &Segment) -> bool {
        self.residuals.is_some() && std::ptr::eq(segment, &raw const self.base)
    }

    /// Passes on the codes with an item, and its slot.
    fn with_codes<R>(
        &self,
        id: Id,
        work: impl FnOnce(&Codes, usize) -> R,
    ) -> Result<R, IndexError> {
        let (segment, slot) = self.slot(id).ok_or(IndexError::Unknown(id))?;
        if !self.is_outside(segment) {
            return Ok(work(&segment.codes, slot));
        }
        let mut codes = Codes::empty(&self.codec);
        codes.push(&self.codec, &self.codec.lift(id, &self.read(&[id])?)?);
        Ok(work(&codes, 0))
    }

    /// Reads the vectors of some items, concatenated, which are not in the index.
    fn read(&self, ids: &[Id]) -> Result<Vec<f32>, IndexError> {
        residual::read(self.reader.as_ref(), &self.codec.space, ids)
    }

    fn slot(&self, id: Id) -> Option<(&Segment, usize)> {
        self.base
            .slot(id)
            .map(|slot| (&self.base, slot))
            .or_else(|| self.tail.slot(id))
    }

    /// Adds an item, which every search finds from now on.
    pub fn insert<T: Component>(&mut self, id: Id, vector: &[T]) -> Result<(), IndexError> {
        let lifted = self.lifted(id, &T::vector(vector))?;
        if self.contains(id) {
            return Err(IndexError::Duplicate(id));
        }
        self.tail.push(id, &self.codec, &lifted);
        self.version = next_version();
        Ok(())
    }

    /// Adds an item, or replaces its vector; returns whether it existed. On an error nothing
    /// changes.
    pub fn upsert<T: Component>(&mut self, id: Id, vector: &[T]) -> Result<bool, IndexError> {
        let lifted = self.lifted(id, &T::vector(vector))?;
        let was_there = self.remove(id);
        self.tail.push(id, &self.codec, &lifted);
        self.version = next_version();
        Ok(was_there)
    }

    /// A checked vector, lifted for encoding.
    fn lifted(&self, id: Id, vector: &[f32]) -> Result<Vec<f32>, IndexError> {
        self.codec.space.check(Some(id), vector)?;
        let lifted = self.codec.lift(id, vector)?;
        let held = self.base.len() + self.tail.len();
        if held >= MAX_VECTORS {
            return Err(IndexError::TooMany {
                limit: MAX_VECTORS - 1,
                actual: held + 1,
            });
        }
        Ok(lifted.into_owned())
    }

    /// Removes an item; false if it was not there. No search returns it from now on.
    pub fn remove(&mut self, id: Id) -> bool {
        let removed = self.base.remove(id) || self.tail.remove(id);
        if removed {
            self.version = next_version();
        }
        removed
    }

    /// Finds the items that pass `filter` once, for many searches with [`SearchParams::subset`].
    pub fn subset(&self, filter: &(dyn Fn(Id) -> bool + Sync)) -> Subset {
        Subset {
            base: self.base.live.restrict(&self.base.ids, filter),
            tail: self
                .tail
                .parts()
                .iter()
                .map(|part| part.live.restrict(&part.ids, filter))
                .collect(),
            version: self.version,
        }
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
    ///
    /// # Errors
    /// [`IndexError::NoVectors`], [`IndexError::Reading`]
    pub fn vectors(&self) -> Result<(Vec<Id>, Array2<f32>), IndexError> {
        let ids = self.ids();
        let mut vectors = Array2::zeros((ids.len(), self.dimension()));
        for (id, mut row) in ids.iter().zip(vectors.outer_iter_mut()) {
            row.assign(&aview1(
                &self.with_codes(*id, |codes, slot| self.codec.lowered(codes, slot))?,
            ));
        }
        Ok((ids, vectors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn a_batch_names_its_first_query_that_is_none() {
        let vectors = Array2::from_shape_fn((50, 2), |(row, at)| (row + at) as f32 - 20.2);
        let ids: Vec<Id> = (0..50).map(Id).collect();
        let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
        let mut rows = Array2::<f32>::ones((3000, 2));
        rows.row_mut(2900).fill(f32::NAN);
        rows.row_mut(1431).fill(0.);
        rows.row_mut(1432).fill(0.);
        let params = SearchParams::default();
        let refused = index.search_batch(rows.view(), 1, &params).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "query 1431 of the batch: vector has length 0, and so no direction: leave it out"
        );
    }

    #[test]
    fn an_empty_index_has_no_dimension_to_refuse_queries_by() {
        let none = Array2::<f32>::zeros((0, 1));
        let mut index = VectorIndex::build(&[], none.view(), &IndexOptions::default()).unwrap();
        let params = SearchParams::default();
        let queries = Array2::<f32>::ones((3, 7));
        let found = index.search_batch(queries.view(), 5, &params).unwrap();
        assert_eq!(found, vec![Vec::new(); 3]);
        assert_eq!(index.search(&[1_f32; 7], 5, &params).unwrap(), []);
        let groups = index.search_groups(&[1.; 7], 5, &params, |id| id);
        assert_eq!(groups.unwrap(), []);
        index.insert(Id(1), &[2.]).unwrap();
        assert!(index.search(&[1_f32; 7], 5, &params).is_err());
    }

    #[test]
    fn every_instruction_set_returns_the_same_results() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut vectors = Array2::from_shape_simple_fn((3000, 200), || rng.random::<f32>() - 0.3);
        for mut row in vectors.outer_iter_mut() {
            row /= row.dot(&row).sqrt();
        }
        let ids: Vec<Id> = (0..3000).map(Id).collect();
        let options = IndexOptions {
            graph_from: 0,
            lists_from: 0,
            ef_construction: 50,
            ..IndexOptions::default()
        };
        let mut index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        for mode in [
            SearchMode::Exact,
            SearchMode::Scan,
            SearchMode::Lists,
            SearchMode::Hnsw,
        ] {
            let params = SearchParams {
                mode,
                ..SearchParams::default()
            };
            let mut answers = Isa::available().into_iter().map(|isa| {
                index.isa = isa;
                index
                    .search_batch(vectors.slice(ndarray::s![..40, ..]), 10, &params)
                    .unwrap()
            });
            let first = answers.next().unwrap();
            assert!(answers.all(|other| other == first), "{mode}");
        }
    }

    /// Vectors in groups, of lengths from a third to three times the mean, away from the origin.
    pub(super) fn of_all_lengths(n: usize, dimension: usize, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(3);
        let centres = Array2::from_shape_simple_fn((40, dimension), || rng.random::<f32>() - 0.5);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut all = Array2::zeros((n, dimension));
        for (i, mut row) in all.outer_iter_mut().enumerate() {
            let length = 3_f32.powf(2. * rng.random::<f32>() - 1.);
            for (x, centre) in row.iter_mut().zip(centres.row(i % 40)) {
                *x = 2. + length * (centre + 0.6 * (rng.random::<f32>() - 0.5));
            }
        }
        all
    }

    #[test]
    fn every_metric_finds_what_comparing_all_finds() {
        let vectors = of_all_lengths(6000, 40, 1);
        let queries = of_all_lengths(60, 40, 2);
        let ids: Vec<Id> = (0..6000).map(|id| Id(3 * id)).collect();
        for metric in IndexMetric::ALL {
            let options = IndexOptions {
                metric,
                graph_from: 0,
                lists_from: 0,
                ..IndexOptions::default()
            };
            let mut index = VectorIndex::build(
                &ids[..5900],
                vectors.slice(ndarray::s![..5900, ..]),
                &options,
            )
            .unwrap();
            for row in 5900..6000 {
                index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index.bin");
            let stamp = IndexStamp {
                generation: 1,
                model_fingerprint: String::new(),
                dimension: 40,
            };
            index.save(&path, &stamp).unwrap();
            let opened = VectorIndex::load(&path, &stamp).unwrap();
            assert_eq!(opened.options, options);
            for mode in [
                SearchMode::Exact,
                SearchMode::Scan,
                SearchMode::Lists,
                SearchMode::Hnsw,
            ] {
                let params = SearchParams {
                    mode,
                    ..SearchParams::default()
                };
                let all = opened.search_batch(queries.view(), 10, &params).unwrap();
                assert_eq!(
                    all,
                    index.search_batch(queries.view(), 10, &params).unwrap()
                );
                let mut right = 0;
                for (query, found) in queries.outer_iter().zip(&all) {
                    let value = |row: &ndarray::ArrayView1<'_, f32>| {
                        let mut product = 0_f64;
                        let mut square = 0_f64;
                        let mut distance = 0_f64;
                        for (&x, &q) in row.iter().zip(&query) {
                            let x = f64::from(x);
                            let q = f64::from(q);
                            product += x * q;
                            square += x * x;
                            distance += (x - q) * (x - q);
                        }
                        let length = query.iter().map(|&q| f64::from(q).powi(2)).sum::<f64>();
                        match metric {
                            IndexMetric::Cosine => product / (square * length).sqrt(),
                            IndexMetric::InnerProduct => product,
                            IndexMetric::Euclidean => -distance.sqrt(),
                        }
                    };
                    let mut truth: Vec<(f64, Id)> = vectors
                        .outer_iter()
                        .zip(&ids)
                        .map(|(row, &id)| (value(&row), id))
                        .collect();
                    truth.sort_by(|a, b| b.0.total_cmp(&a.0));
                    right += found
                        .iter()
                        .filter(|neighbor| truth[..10].iter().any(|other| other.1 == neighbor.id))
                        .count();
                    assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
                    for neighbor in found {
                        let truth = value(&vectors.row(neighbor.id.0 as usize / 3));
                        let error =
                            (f64::from(neighbor.similarity) - truth).abs() / truth.abs().max(1.);
                        assert!(
                            error < 1e-4,
                            "{metric} {mode}: {} {truth}",
                            neighbor.similarity
                        );
                    }
                }
                let least = if mode == SearchMode::Exact { 597 } else { 590 };
                assert!(right >= least, "{metric} {mode}: {right} of 600");
            }
            let back = opened.vector(ids[5950]).unwrap();
            let length = if metric == IndexMetric::Cosine {
                voisin_base::vector::norm(&vectors.row(5950).to_vec())
            } else {
                1.
            };
            for (back, &x) in back.iter().zip(&vectors.row(5950)) {
                assert!(
                    (f64::from(*back) * length - f64::from(x)).abs() < 1e-2,
                    "{metric}: {back} {x}"
                );
            }
            let check = opened.self_check(100).unwrap();
            // A vector need not be among those that its product is largest with.
            let lost = if metric == IndexMetric::InnerProduct {
                6
            } else {
                0
            };
            assert!(
                check.lost.len() <= lost && check.recall_at_10 > 0.99,
                "{metric}: {check:?}"
            );
        }
    }

    /// Sets whose distances single precision or one scale for all loses, with queries.
    fn hard_distances() -> Vec<(&'static str, Array2<f32>)> {
        const N: usize = 6100;
        let mut rng = StdRng::seed_from_u64(11);
        let mut normal = || {
            let sum: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
            sum - 6.
        };
        let mut made = |n: usize, d: usize, value: &mut dyn FnMut(usize, usize, f64) -> f64| {
            Array2::from_shape_fn((n, d), |(row, at)| value(row, at, normal()) as f32)
        };
        let mut sets = vec![
            ("one dimension", made(N, 1, &mut |_, _, x| x)),
            ("two dimensions", made(N, 2, &mut |_, _, x| x)),
            (
                "metres",
                made(N, 3, &mut |_, at, x| 4.2e6 - 9e5 * at as f64 + 3e5 * x),
            ),
            (
                "degrees",
                made(N, 2, &mut |_, at, x| 39. - 4. * at as f64 + 2. * x),
            ),
            (
                "one column",
                made(N, 32, &mut |_, at, x| {
                    if at == 3 { 1e4 * x } else { x }
                }),
            ),
            (
                "two clusters",
                made(N, 32, &mut |row, _, x| 1e3 * (row % 2) as f64 + x),
            ),
        ];
        for far in [1e3_f32, 1e6] {
            let mut with_a_far_one = made(N, 32, &mut |_, _, x| x);
            with_a_far_one.row_mut(17).fill(far);
            sets.push(("a far one", with_a_far_one));
        }
        let mut lengths = made(N, 32, &mut |_, _, x| x);
        for mut row in lengths.outer_iter_mut() {
            row *= (2. * row[0]).exp();
        }
        sets.push(("lengths", lengths));
        sets
    }

    /// Share of results that are as near as the last of the `k` nearest by double precision.
    fn recall_of(found: &[Vec<Neighbor>], rows: &Array2<f32>, queries: &Array2<f32>) -> f64 {
        let mut right = 0;
        let mut all = 0;
        for (found, query) in found.iter().zip(queries.outer_iter()) {
            let far = |row: ndarray::ArrayView1<'_, f32>| {
                let squares = row.iter().zip(query.iter()).map(|(&x, &q)| {
                    let difference = f64::from(x) - f64::from(q);
                    difference * difference
                });
                squares.sum::<f64>().sqrt()
            };
            let mut truth: Vec<f64> = rows.outer_iter().map(far).collect();
            truth.sort_unstable_by(f64::total_cmp);
            let last = truth[found.len() - 1] * (1. + 1e-7);
            for neighbor in found {
                let distance = far(rows.row(neighbor.id.0 as usize));
                right += usize::from(distance <= last);
                let error = (f64::from(neighbor.similarity) + distance).abs();
                assert!(
                    error <= 1e-7 * distance,
                    "{} {distance}",
                    neighbor.similarity
                );
            }
            all += found.len();
        }
        right as f64 / all as f64
    }

    #[test]
    fn distances_rank_as_in_double_precision() {
        for (name, set) in hard_distances() {
            let rows = set.slice(ndarray::s![..6000, ..]).to_owned();
            let queries = set.slice(ndarray::s![6000.., ..]).to_owned();
            let ids: Vec<Id> = (0..6000).map(Id).collect();
            let options = IndexOptions {
                metric: IndexMetric::Euclidean,
                graph_from: 0,
                ..IndexOptions::default()
            };
            // The last ones are added later.
            let first = rows.slice(ndarray::s![..5800, ..]);
            let mut index = VectorIndex::build(&ids[..5800], first, &options).unwrap();
            for row in 5800..6000 {
                index.insert(ids[row], &rows.row(row).to_vec()).unwrap();
            }
            let far = vec![1e5_f32; rows.ncols()];
            index.insert(Id(-1), &far).unwrap();
            assert!(index.remove(Id(-1)));
            for mode in [
                SearchMode::Exact,
                SearchMode::Scan,
                SearchMode::Auto,
                SearchMode::Hnsw,
            ] {
                let params = SearchParams {
                    mode,
                    ..SearchParams::default()
                };
                let found = index.search_batch(queries.view(), 10, &params).unwrap();
                let recall = recall_of(&found, &rows, &queries);
                let least = match mode {
                    SearchMode::Exact | SearchMode::Scan => 1.,
                    // With a hundred queries this much below the target may be chance.
                    SearchMode::Auto => 0.99,
                    _ => 0.9,
                };
                assert!(recall >= least, "{name}, {mode}: {recall}");
            }
            assert_eq!(index.vector(ids[17]).unwrap(), rows.row(17).to_vec());
        }
    }

    #[test]
    fn a_set_of_ids_filters_as_a_callback_does() {
        let vectors = of_all_lengths(3000, 20, 5);
        let ids: Vec<Id> = (0..3000).map(Id).collect();
        let mut index = VectorIndex::build(
            &ids[..2900],
            vectors.slice(ndarray::s![..2900, ..]),
            &IndexOptions::default(),
        )
        .unwrap();
        (2900..3000).for_each(|row| index.insert(ids[row], &vectors.row(row).to_vec()).unwrap());
        (0..3000)
            .step_by(30)
            .for_each(|id| assert!(index.remove(Id(id))));
        let pass = |track: Id| track.0 % 7 == 0;
        // Some twice, some unknown.
        let some: Vec<Id> = (0..900).rev().chain(0..10).map(|id| Id(7 * id)).collect();
        let set = index.subset_of(&some);
        let by_callback = index.subset(&pass);
        assert_eq!(
            set.len(),
            (0..3000).filter(|id| id % 7 == 0 && id % 30 != 0).count()
        );
        let search = |params: SearchParams<'_>| {
            index.search_batch(vectors.slice(ndarray::s![..50, ..]), 10, &params)
        };
        let found = search(SearchParams {
            subset: Some(&set),
            ..SearchParams::default()
        })
        .unwrap();
        assert_eq!(
            found,
            search(SearchParams {
                subset: Some(&by_callback),
                ..SearchParams::default()
            })
            .unwrap()
        );
        assert_eq!(
            found,
            search(SearchParams {
                filter: Some(&pass),
                ..SearchParams::default()
            })
            .unwrap()
        );
        assert!(
            found.iter().flatten().all(|neighbor| pass(neighbor.id))
                && found.iter().all(|found| found.len() == 10)
        );
        // A set belongs to one state of one index, and to no other index of the same vectors.
        assert!(index.is_current(&set));
        let another = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
        assert!(!another.is_current(&set));
        assert!(index.remove(ids[1]) && !index.is_current(&set));
        let refused = index.search(
            &vectors.row(0).to_vec(),
            10,
            &SearchParams {
                subset: Some(&set),
                ..SearchParams::default()
            },
        );
        assert!(matches!(refused, Err(IndexError::SubsetOutdated)));
    }
}
