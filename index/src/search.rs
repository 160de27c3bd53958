//! Searches of an index: one query or many, and the neighbours of all items.
//!
//! A single query walks the graph, or goes through the lists where these are shorter, as a batch
//! does; with a filter every vector that it allows is compared, and so are all where there is no
//! graph. What was added since the build is compared in every case.

use std::collections::HashSet;
use std::slice::{from_mut, from_ref};

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use voisin_base::track::Id;

use super::codes::{CodeSource, PreparedQuery};
use super::graph::Graph;
use super::lists::Lists;
use super::segment::nearest16;
use super::subset::Bitmap;
use super::top::Top;
use voisin_simd::dot::best::Scored;

use super::{IndexError, Neighbor, SearchParams, VectorIndex};

/// Share of the vectors that must be left for walks and lists: with more removed, all are compared.
const LEFT: f64 = 0.5;

impl VectorIndex {
    /// The `k` items most similar to `query`: nearest first, equals by id, none twice.
    ///
    /// Fewer than `k` only if fewer items are allowed; none in an empty index, whose first vectors
    /// set its dimension.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        if self.is_open_to(query.len()) {
            return Ok(Vec::new());
        }
        let query = self.codec.query(self.isa, query)?;
        self.search_query(&query, k, params)
    }

    /// Whether vectors of this dimension are valid, as of any dimension in an empty index.
    fn is_open_to(&self, dimension: usize) -> bool {
        self.is_empty() && dimension != self.dimension()
    }

    /// Searches for each row of `queries`, in parallel on rayon's current pool: lists are read once
    /// for many queries.
    pub fn search_batch(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
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

    /// The codes that queries are compared with.
    fn source(&self) -> CodeSource<'_> {
        CodeSource {
            isa: self.isa,
            codec: &self.codec,
            codes: &self.base.codes,
        }
    }

    /// Graph and lists, for a search that may use them.
    fn ways(&self, params: &SearchParams<'_>) -> Option<(&Graph, &Lists)> {
        let live = self.base.live.count as f64;
        let is_usable = live > LEFT * self.base.len() as f64;
        let is_all = !params.exact && params.subset.is_none() && is_usable;
        self.graph
            .as_deref()
            .zip(self.lists.as_deref())
            .filter(|_| is_all)
    }

    /// Live vectors of the base, if some were removed.
    fn left(&self) -> Option<&Bitmap> {
        let live = &*self.base.live;
        (live.count < self.base.len()).then_some(live)
    }

    /// The `k` nearest to one query.
    pub(super) fn search_query(
        &self,
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let k = k.min(self.len());
        let mut top = Top::new(k);
        if let Some((graph, lists)) = self.ways(params) {
            let sizes = [graph.slots, graph.stride, lists.len()];
            if params.width.is_none() && self.tuning.prefers_lists(k, sizes) {
                let found = self.search_all(from_ref(query), k, params)?;
                return Ok(found.into_iter().flatten().collect());
            }
            if graph.wants_blocks(1) {
                graph.make_blocks(lists);
            }
            let ef = params.width.unwrap_or_else(|| self.tuning.ef(k)).max(k);
            graph.walk(lists, self.source(), query, ef, self.left(), |pool| {
                self.take(query, pool, &mut top);
            });
        }
        let mut tops = [top];
        self.complete(from_ref(query), &mut tops, params)?;
        let [top] = tops;
        Ok(top.into_sorted())
    }

    /// The `k` nearest to each of `queries`, on this thread.
    pub(super) fn search_all(
        &self,
        queries: &[PreparedQuery],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let k = k.min(self.len());
        let mut tops = vec![Top::new(k); queries.len()];
        if let Some((_, lists)) = self.ways(params) {
            let (count, codes) = self.tuning.reach(k);
            let reach = (params.width.unwrap_or(count), codes);
            lists.nearest_of_all(
                self.source(),
                queries,
                reach,
                |_| self.left(),
                |at, pool| {
                    self.take(&queries[at], pool, &mut tops[at]);
                },
            );
        }
        self.complete(queries, &mut tops, params)?;
        Ok(tops.into_iter().map(Top::into_sorted).collect())
    }

    /// Adds the nearest of `pool`, with their similarities at 8 bits, to an empty `top`.
    fn take(&self, query: &PreparedQuery, pool: &[Scored], top: &mut Top) {
        nearest16(self.source(), query, pool, top.k(), |found| {
            top.start(found.iter().map(|candidate| Neighbor {
                id: self.base.ids[candidate.name() as usize],
                similarity: candidate.score(),
            }));
        });
    }

    /// Compares queries with every allowed vector: of the tail, and of the base unless its nearest
    /// were found.
    fn complete(
        &self,
        queries: &[PreparedQuery],
        tops: &mut [Top],
        params: &SearchParams<'_>,
    ) -> Result<(), IndexError> {
        let parts = self.tail.parts();
        let (base, tail): (_, Vec<&Bitmap>) = match params.subset {
            // A subset holds slots, which any change may invalidate.
            Some(subset) if !self.is_current(subset) => return Err(IndexError::SubsetOutdated),
            Some(subset) => (&subset.base, subset.tail.iter().collect()),
            None => (
                &*self.base.live,
                parts.iter().map(|part| &*part.live).collect(),
            ),
        };
        let isa = self.isa;
        let codec = &self.codec;
        if self.ways(params).is_none() {
            self.base.exact(isa, codec, queries, base, tops);
        } else {
            for (query, top) in queries.iter().zip(&mut *tops) {
                // A walk that stayed among removed vectors may have missed near ones.
                if top.len() < top.k().min(base.count) {
                    *top = Top::new(top.k());
                    self.base
                        .exact(isa, codec, from_ref(query), base, from_mut(top));
                }
            }
        }
        for (part, allowed) in parts.iter().zip(tail) {
            part.exact(isa, codec, queries, allowed, tops);
        }
        Ok(())
    }

    /// As [`search_all`](Self::search_all) for the vectors of `ids`, each without itself.
    pub(super) fn search_ids(
        &self,
        ids: &[Id],
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let queries = ids.iter().map(|&id| self.stored(id));
        let queries = queries.collect::<Result<Vec<PreparedQuery>, IndexError>>()?;
        // One more, because the item itself is among them.
        let mut all = self.search_all(&queries, k.saturating_add(1), params)?;
        for (&id, found) in ids.iter().zip(&mut all) {
            found.retain(|neighbor| neighbor.id != id);
            found.truncate(k);
        }
        Ok(all)
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

    /// The `k` nearest other items of every item, in the order of [`ids`](Self::ids); in
    /// parallel on rayon's current pool, as a [batch](Self::search_batch).
    pub fn knn_graph(
        &self,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let ids = self.ids();
        let mut order: Vec<usize> = (0..ids.len()).collect();
        if let Some(lists) = &self.lists {
            // Items of one list are near each other: their searches read the same lists.
            let mut place = vec![0; self.base.len()];
            let slots = lists.order().into_iter().enumerate();
            slots.for_each(|(at, slot)| place[slot as usize] = at);
            order.sort_by_cached_key(|&at| match self.base.ids.binary_search(&ids[at]) {
                Ok(slot) => place[slot],
                Err(_) => usize::MAX,
            });
        }
        let search = |part: &[usize]| {
            let part: Vec<Id> = part.iter().map(|&at| ids[at]).collect();
            self.search_ids(&part, k, params)
        };
        let parts: Vec<_> = order
            .par_chunks(batch(order.len()))
            .map(search)
            .collect::<Result<_, IndexError>>()?;
        let mut lists = vec![Vec::new(); ids.len()];
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
