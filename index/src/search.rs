//! Searches of an index: one query or many, with filters, and the neighbours of all items.

use std::collections::HashSet;
use std::hash::Hash;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use voisin_base::track::Id;

use super::codes::{CodeSource, PreparedQuery};
use super::lists::CACHED;
use super::top::Top;
use super::trials::Hidden;
use super::tuning::Queries;
use super::ways::Way;
use voisin_kernels::dot::best::Scored;

use super::{Component, IndexError, Neighbor, SearchMode, SearchParams, VectorIndex};

impl VectorIndex {
    /// The `k` items most similar to `query`: nearest first, equals by id, none twice.
    ///
    /// Fewer than `k` only if fewer items pass the filter; none in an empty index, whose first
    /// vectors set its dimension.
    pub fn search<T: Component>(
        &self,
        query: &[T],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        if self.is_open_to(query.len()) {
            return Ok(Vec::new());
        }
        let query = self.codec.query(self.isa, &T::vector(query))?;
        self.search_query(&query, k, params)
    }

    /// Whether vectors of this dimension are valid, as of any dimension in an empty index.
    fn is_open_to(&self, dimension: usize) -> bool {
        self.is_empty() && dimension != self.dimension()
    }

    /// The `k` items most similar to an item of the index, without itself.
    pub fn search_id(
        &self,
        id: Id,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let query =
            self.with_codes(id, |codes, slot| self.codec.query_at(self.isa, codes, slot))?;
        // One more, because the item itself is among them.
        let mut found = self.search_query(&query, k.saturating_add(1), params)?;
        found.retain(|neighbor| neighbor.id != id);
        found.truncate(k);
        Ok(found)
    }

    /// Searches for each row of `queries`, in parallel on rayon's current pool: lists are read once
    /// for many queries. With a fixed [mode](SearchParams::mode) the results are those of single
    /// searches; [`SearchMode::Auto`] may choose another method for a single query, with the same
    /// target recall.
    pub fn search_batch<T: Component>(
        &self,
        queries: ArrayView2<'_, T>,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let queries = T::rows(queries);
        let queries = queries.as_standard_layout();
        let dimension = queries.ncols();
        if self.is_open_to(dimension) {
            return Ok(vec![Vec::new(); queries.nrows()]);
        }
        if dimension != self.dimension() {
            return Err(IndexError::Dimension {
                expected: self.dimension(),
                actual: dimension,
            });
        }
        let rows = queries.as_slice().unwrap_or_default();
        let together = batch(queries.nrows());
        let search = |(part, rows): (usize, &[f32])| {
            let prepare = |(at, query): (usize, &[f32])| {
                let named = |error| IndexError::Query {
                    number: part * together + at,
                    error: Box::new(error),
                };
                self.codec.query(self.isa, query).map_err(named)
            };
            // All queries of a batch are prepared together, as projections are computed four at a
            // time.
            let rows = rows.chunks_exact(dimension).enumerate();
            let queries: Result<Vec<_>, _> = rows.map(prepare).collect();
            self.search_all(&queries?, k, params)
        };
        let parts = rows.par_chunks(together * dimension).enumerate();
        let found: Vec<Result<_, _>> = parts.map(search).collect();
        // The error is that of the first faulty query in the batch.
        let found: Vec<_> = found.into_iter().collect::<Result<_, IndexError>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// As [`search_id`](Self::search_id) for each of `ids`, on this thread.
    pub(super) fn search_ids(
        &self,
        tracks: &[Id],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let query = |&track: &Id| {
            self.with_codes(track, |codes, slot| {
                self.codec.query_at(self.isa, codes, slot)
            })
        };
        let queries = tracks
            .iter()
            .map(query)
            .collect::<Result<Vec<PreparedQuery>, IndexError>>()?;
        // One more, because the item itself is among them.
        let mut all = self.search_all(&queries, k.saturating_add(1), params)?;
        for (&track, found) in tracks.iter().zip(&mut all) {
            found.retain(|neighbor| neighbor.id != track);
            found.truncate(k);
        }
        Ok(all)
    }

    /// As [`search_query`](Self::search_query) for each of `queries`, on this thread.
    pub(super) fn search_all(
        &self,
        queries: &[PreparedQuery],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        self.reading(|| self.search_all_by_way(queries, k, params))
    }

    fn search_all_by_way(
        &self,
        queries: &[PreparedQuery],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let way = self.way(params.mode, Queries::Batch)?;
        if let Way::Lists(_) | Way::Graph(..) = way {
            let k = k.min(self.len());
            let allowed = self.allowed(params)?;
            let base = &allowed.base;
            let take = |at: usize, pool: &mut [Scored], within: &dyn Fn(usize) -> bool| {
                let mut top = Top::new(k);
                // An explicit width is used as it is, whether it suffices or not.
                let within = params.ef.is_none().then_some(within);
                Ok(self
                    .take(&queries[at], k, base, pool, within, &mut top)?
                    .then_some(top))
            };
            let tops: Option<Vec<_>> = match way {
                // Lists that fit the cache are read per query, as sharing saves nothing.
                Way::Lists(lists) if lists.blocks.len() > CACHED => {
                    self.reach(lists, k, params, base).map(|reach| {
                        let within = |count: usize| self.reached(reach, count);
                        if self.residuals.is_some() {
                            // The reader may itself search, so no buffers are borrowed while it
                            // runs.
                            let copy = |_, pool: &mut [Scored]| pool.to_vec();
                            let mut pools =
                                lists.nearest_of_all(self.isa, self.next(), queries, reach, copy);
                            pools
                                .iter_mut()
                                .enumerate()
                                .map(|(at, pool)| take(at, pool, &within))
                                .collect()
                        } else {
                            let take = |at, pool: &mut [Scored]| take(at, pool, &within);
                            lists.nearest_of_all(self.isa, self.next(), queries, reach, take)
                        }
                    })
                }
                Way::Graph(graph, lists) => {
                    let ef = self.width(k, params, base);
                    if ef.is_some() {
                        self.prepare_walks(graph, lists, queries.len())?;
                    }
                    ef.map(|ef| {
                        let within = |count: usize| self.tuning.ef(count) <= ef;
                        let source = CodeSource {
                            isa: self.isa,
                            codec: &self.codec,
                            codes: &self.base.codes,
                        };
                        let take = |at, pool: &mut [Scored]| take(at, pool, &within);
                        graph.walk_all(lists, source, queries, ef, &Hidden::NONE, take)
                    })
                }
                _ => None,
            };
            if let Some(tops) = tops {
                let finish = |(query, top): (&PreparedQuery, Result<Option<Top>, IndexError>)| {
                    // The result is not reliable, e.g. if a filter excludes all near items: scanned
                    // instead.
                    let mut top = if let Some(top) = top? {
                        top
                    } else {
                        let mut top = Top::new(k);
                        self.scan(&self.base, query, base, k, &mut top)?;
                        top
                    };
                    self.scan_tail(query, &allowed, k, &mut top)?;
                    self.results(query, top, params)
                };
                return queries.iter().zip(tops).map(finish).collect();
            }
        }
        if params.mode == SearchMode::Exact && self.residuals.is_some() {
            let allowed = self.allowed(params)?;
            let mut tops = vec![Top::new(k.min(self.len())); queries.len()];
            self.read_all(queries, &allowed.base, &mut tops)?;
            let finish = |(query, mut top): (&PreparedQuery, Top)| {
                self.exact_tail(query, &allowed, &mut top);
                self.results(query, top, params)
            };
            return queries.iter().zip(tops).map(finish).collect();
        }
        queries
            .iter()
            .map(|query| self.search_query(query, k, params))
            .collect()
    }

    /// For each row of `queries`, searches for more and more neighbours until `choose` has taken
    /// `k` of them or all have been offered. The rows are searched [together](Self::search_batch).
    ///
    /// For conditions on the whole result (at most two items per artist, no duplicates): `choose`
    /// gets the row and lists of neighbours, each neighbour once and nearest first, and returns
    /// those that belong in the result, so that it can read data once per list.
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
            // Most conditions exclude very little: the seed itself, a copy of it.
            let mut width = k.saturating_add(k / 4 + 2);
            while k > 0 && !left.is_empty() {
                let all = match left[..] {
                    [row] => vec![self.search(&queries.row(row).to_vec(), width, params)?],
                    _ => self.search_batch(queries.select(Axis(0), &left).view(), width, params)?,
                };
                let mut unfinished = Vec::new();
                for (row, mut found) in left.into_iter().zip(all) {
                    let is_all = found.len() < width;
                    // Wider searches return the earlier neighbours again; each is offered once.
                    found.retain(|neighbor| offered[row - start].insert(neighbor.id));
                    taken[row].extend(choose(row, found)?);
                    if !is_all && taken[row].len() < k {
                        unfinished.push(row);
                    }
                }
                left = unfinished;
                // Four times as wide, so that a strict condition needs few rounds.
                width = width.saturating_mul(4);
            }
        }
        taken.iter_mut().for_each(|taken| taken.truncate(k));
        Ok(taken)
    }

    /// The nearest item of each of the `k` nearest groups: the best window of each recording, or the
    /// best recording of each artist.
    ///
    /// - `group`: the group of an item
    pub fn search_groups<G: Eq + Hash>(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams<'_>,
        group: impl Fn(Id) -> G,
    ) -> Result<Vec<Neighbor>, IndexError> {
        if self.is_open_to(query.len()) {
            return Ok(Vec::new());
        }
        let query =
            ArrayView2::from_shape((1, query.len()), query).map_err(|_| IndexError::Dimension {
                expected: self.dimension(),
                actual: query.len(),
            })?;
        let mut groups = HashSet::new();
        // Offered nearest first, so the first of a group is its best.
        let best = |_, mut found: Vec<Neighbor>| {
            found.retain(|neighbor| groups.insert(group(neighbor.id)));
            Ok::<_, IndexError>(found)
        };
        let mut found = self.search_until(query, k, params, best)?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The `k` nearest other items of every item, in the order of [`ids`](Self::ids); in
    /// parallel on rayon's current pool, as a [batch](Self::search_batch).
    pub fn knn_graph(
        &self,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        self.check()?;
        let tracks = self.ids();
        let mut order: Vec<usize> = (0..tracks.len()).collect();
        if let Way::Lists(lists) = self.way(params.mode, Queries::Batch)? {
            // Items of one list are near each other: their searches read the same lists.
            let mut place = vec![0; self.base.len()];
            lists
                .order()
                .iter()
                .enumerate()
                .for_each(|(at, &slot)| place[slot as usize] = at);
            order.sort_by_cached_key(|&at| match self.base.ids.binary_search(&tracks[at]) {
                Ok(slot) => place[slot],
                Err(_) => usize::MAX,
            });
        }
        let search = |part: &[usize]| {
            let part: Vec<Id> = part.iter().map(|&at| tracks[at]).collect();
            self.search_ids(&part, k, params)
        };
        let parts: Vec<_> = order
            .par_chunks(batch(order.len()))
            .map(search)
            .collect::<Result<_, IndexError>>()?;
        let mut lists = vec![Vec::new(); tracks.len()];
        order
            .iter()
            .zip(parts.into_iter().flatten())
            .for_each(|(&at, found)| lists[at] = found);
        Ok(lists)
    }
}

/// Queries per part of a batch of `n`: many, but enough parts for all threads.
pub(super) fn batch(n: usize) -> usize {
    const MOST: usize = 1024;
    n.div_ceil(rayon::current_num_threads()).clamp(1, MOST)
}
