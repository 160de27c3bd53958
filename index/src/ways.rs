//! The methods of searching, chosen by measured cost: all vectors, a scan of their codes, the
//! nearest lists, the graph.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::{from_mut, from_ref};

use voisin_base::track::Id;
use voisin_base::vector::dot_in_lanes;

use super::checked_file::CHANGED;
use super::codes::{CodeSource, PreparedQuery};
use super::graph::Graph;
use super::lists::{Lists, Next, Reach};
use super::metric::{IndexMetric, distance};
use super::segment::{self, Segment};
use super::subset::Bitmap;
use super::top::Top;
use super::trials::Hidden;
use super::tuning::Queries;
use voisin_kernels::dot::best::Scored;

use super::{IndexError, Neighbor, SearchMode, SearchParams, VectorIndex};

/// A walk costs about as much per candidate as scanning this many allowed vectors.
const WALK_COST: usize = 60;

/// Vectors that a search may return.
pub(super) struct Allowed<'a> {
    pub(super) base: Cow<'a, Bitmap>,
    /// Of each part of the tail.
    tail: Vec<Cow<'a, Bitmap>>,
}

/// A method of searching.
pub(super) enum Way<'a> {
    Exact,
    Scan,
    Lists(&'a Lists),
    Graph(&'a Graph, &'a Lists),
}

impl VectorIndex {
    pub(super) fn allowed<'a>(
        &'a self,
        params: &SearchParams<'a>,
    ) -> Result<Allowed<'a>, IndexError> {
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
        let passing = |allowed: &'a Bitmap, segment: &Segment| match params.filter {
            Some(filter) => Cow::Owned(allowed.restrict(&segment.ids, filter)),
            None => Cow::Borrowed(allowed),
        };
        let tail = tail
            .into_iter()
            .zip(parts)
            .map(|(allowed, part)| passing(allowed, part))
            .collect();
        Ok(Allowed {
            base: passing(base, &self.base),
            tail,
        })
    }

    /// Compares the query with every allowed vector of the tail.
    pub(super) fn exact_tail(&self, query: &PreparedQuery, allowed: &Allowed<'_>, top: &mut Top) {
        for (part, allowed) in self.tail.parts().iter().zip(&allowed.tail) {
            part.exact(
                self.isa,
                &self.codec,
                from_ref(query),
                allowed,
                from_mut(top),
            );
        }
    }

    pub(super) fn scan_tail(
        &self,
        query: &PreparedQuery,
        allowed: &Allowed<'_>,
        k: usize,
        top: &mut Top,
    ) -> Result<(), IndexError> {
        let mut parts = self.tail.parts().iter().zip(&allowed.tail);
        parts.try_for_each(|(part, allowed)| self.scan(part, query, allowed, k, top))
    }

    /// Runs a search. Names of missing vectors can only come from a mapped file that was
    /// overwritten: this and every later search then return an error.
    pub(super) fn reading<T>(
        &self,
        search: impl FnOnce() -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let Some(file) = self.base.codes.file().filter(|file| file.is_mapped()) else {
            return search();
        };
        // A panic is safe, as the next search makes new buffers.
        catch_unwind(AssertUnwindSafe(search)).unwrap_or_else(|_| {
            file.set_damaged(CHANGED);
            Err(file.intact().err().unwrap_or(IndexError::NoVectors))
        })
    }

    pub(super) fn search_query(
        &self,
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        self.reading(|| self.search_by_way(query, k, params))
    }

    fn search_by_way(
        &self,
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let is_filtered = params.filter.is_some() || params.subset.is_some();
        let queries = if is_filtered {
            Queries::Filtered
        } else {
            Queries::Alone
        };
        let way = self.way(params.mode, queries)?;
        let k = k.min(self.len());
        let mut top = Top::new(k);
        let allowed = self.allowed(params)?;
        let base = &allowed.base;
        match way {
            Way::Exact => {
                if self.is_outside(&self.base) {
                    self.read_all(from_ref(query), base, from_mut(&mut top))?;
                } else {
                    self.base.exact(
                        self.isa,
                        &self.codec,
                        from_ref(query),
                        base,
                        from_mut(&mut top),
                    );
                }
                self.exact_tail(query, &allowed, &mut top);
                return self.results(query, top, params);
            }
            Way::Lists(lists) => self.search_lists(lists, query, k, params, base, &mut top)?,
            Way::Graph(graph, lists) => {
                self.search_graph((graph, lists), query, k, params, base, &mut top)?;
            }
            Way::Scan => self.scan(&self.base, query, base, k, &mut top)?,
        }
        self.scan_tail(query, &allowed, k, &mut top)?;
        self.results(query, top, params)
    }

    /// Sorted results, with products instead of cosines if those are the metric; an error if damage
    /// was found in the index's file.
    pub(super) fn results(
        &self,
        query: &PreparedQuery,
        top: Top,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let mut found = top.into_sorted();
        if self.options.metric == IndexMetric::InnerProduct {
            for neighbor in &mut found {
                neighbor.similarity *= query.factor;
            }
        }
        if let Some(least) = params.least {
            found.retain(|neighbor| neighbor.similarity >= least);
        }
        self.intact().map(|()| found)
    }

    /// The codes by which the best by short code are compared next.
    pub(super) fn next(&self) -> Next<'_> {
        self.residuals
            .as_deref()
            .map_or(Next::Codes(&self.base.codes), Next::Residuals)
    }

    /// Compares queries with vectors of the base that are not in the index.
    fn offer(
        &self,
        queries: &[PreparedQuery],
        mut slots: Vec<u32>,
        tops: &mut [Top],
    ) -> Result<(), IndexError> {
        // In order of ids, which is usually the order on disk.
        slots.sort_unstable();
        let tracks: Vec<Id> = slots
            .iter()
            .map(|&slot| self.base.ids[slot as usize])
            .collect();
        let vectors = self.read(&tracks)?;
        let rows = tracks.iter().zip(vectors.chunks_exact(self.dimension()));
        if self.codec.space.is_euclidean() {
            for (&track, vector) in rows {
                for (query, top) in queries.iter().zip(&mut *tops) {
                    top.push(-distance(vector, &query.plain) as f32, track);
                }
            }
            return Ok(());
        }
        let queries: Vec<Vec<f32>> = queries
            .iter()
            .map(|query| self.codec.whole(query))
            .collect();
        for (&track, vector) in rows {
            let vector = self.codec.lift(track, vector)?;
            // Lifted vectors have length 1 except for rounding, which is corrected here.
            let to_unit = 1.
                / dot_in_lanes::<f32, 16>(&vector, &vector)
                    .max(f32::MIN_POSITIVE)
                    .sqrt();
            for (query, top) in queries.iter().zip(&mut *tops) {
                top.push(
                    (dot_in_lanes::<f32, 16>(query, &vector) * to_unit).clamp(-1., 1.),
                    track,
                );
            }
        }
        Ok(())
    }

    /// Compares queries with all allowed vectors of a base without vectors, which are read once.
    pub(super) fn read_all(
        &self,
        queries: &[PreparedQuery],
        allowed: &Bitmap,
        tops: &mut [Top],
    ) -> Result<(), IndexError> {
        /// Vectors in memory at once.
        const TOGETHER: usize = 1024;
        let mut slots = allowed.slots();
        loop {
            let some: Vec<u32> = slots.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.offer(queries, some, tops)?;
        }
    }

    /// The method of a mode in this index.
    pub(super) fn way(&self, mode: SearchMode, queries: Queries) -> Result<Way<'_>, IndexError> {
        let mode = match mode {
            SearchMode::Auto => {
                self.tuning
                    .mode(self.lists.is_some(), self.graph.is_some(), queries)
            }
            mode => mode,
        };
        Ok(match (mode, &self.lists, &self.graph) {
            (SearchMode::Exact, _, _) => Way::Exact,
            (SearchMode::Hnsw, Some(lists), Some(graph)) => Way::Graph(graph, lists),
            (SearchMode::Lists, Some(lists), _) => Way::Lists(lists),
            // An explicit mode that is not available is an error; `Auto` uses what there is.
            (SearchMode::Hnsw, ..) => {
                return Err(IndexError::NoGraph {
                    items: self.len(),
                    graph_from: self.options.graph_from,
                });
            }
            (SearchMode::Lists, None, _) => {
                return Err(IndexError::NoLists {
                    items: self.len(),
                    lists_from: self.options.lists_from,
                });
            }
            (SearchMode::Scan | SearchMode::Auto, _, _) => Way::Scan,
        })
    }

    pub(super) fn scan(
        &self,
        segment: &Segment,
        query: &PreparedQuery,
        allowed: &Bitmap,
        k: usize,
        top: &mut Top,
    ) -> Result<(), IndexError> {
        let Some(lists) = self.lists.as_ref().filter(|_| self.is_outside(segment)) else {
            segment.scan(
                self.isa,
                &self.codec,
                query,
                allowed,
                self.tuning.budget(k),
                top,
            );
            return Ok(());
        };
        // Twice as many as for the nearest lists alone, as that number was measured without a
        // filter.
        let reads = 2 * self.tuning.reads(k);
        let slots = if allowed.count <= reads {
            allowed.slots().collect()
        } else {
            let codes = (2 * self.tuning.reach(k).codes).max(reads);
            lists.nearest_allowed(self.isa, self.next(), query, codes, allowed, |pool| {
                self.best_of(pool, reads)
            })
        };
        self.offer(from_ref(query), slots, from_mut(top))
    }

    /// Walks the graph if that is cheaper than scanning the allowed vectors, and scans if the
    /// result is not reliable.
    fn search_graph(
        &self,
        (graph, lists): (&Graph, &Lists),
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
        top: &mut Top,
    ) -> Result<(), IndexError> {
        if let Some(ef) = self.width(k, params, allowed) {
            self.prepare_walks(graph, lists, 1)?;
            let within = |count: usize| self.tuning.ef(count) <= ef;
            let source = CodeSource {
                isa: self.isa,
                codec: &self.codec,
                codes: &self.base.codes,
            };
            let enough = graph.walk(lists, source, query, ef, &Hidden::NONE, |pool| {
                self.take(
                    query,
                    k,
                    allowed,
                    pool,
                    params.ef.is_none().then_some(&within),
                    top,
                )
            });
            if let Some(enough) = enough
                && enough?
            {
                return Ok(());
            }
            // A walk that stayed among vectors that are not allowed may have missed near ones.
            *top = Top::new(k);
        }
        self.scan(&self.base, query, allowed, k, top)
    }

    /// Makes the graph's blocks if this many more walks make them pay.
    pub(super) fn prepare_walks(
        &self,
        graph: &Graph,
        lists: &Lists,
        walks: usize,
    ) -> Result<(), IndexError> {
        if graph.wants_blocks(walks) {
            // They need all links and lists.
            self.check()?;
            graph.make_blocks(lists);
        }
        Ok(())
    }

    /// How many candidates a walk of the graph keeps; `None` if a scan of the allowed vectors is
    /// cheaper.
    pub(super) fn width(
        &self,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
    ) -> Option<usize> {
        let n = self.base.len();
        let wanted = params.ef.unwrap_or_else(|| self.tuning.ef(k)).max(k);
        // About the allowed share of a walk's candidates will be allowed.
        let ef = (wanted as f64 * n as f64 / allowed.count.max(1) as f64).ceil() as usize;
        let pays = allowed.count >= WALK_COST.saturating_mul(ef) || params.ef.is_some();
        (allowed.count > 0 && pays).then_some(ef.min(n))
    }

    /// Searches the nearest lists if that is cheaper than scanning the allowed vectors, and scans
    /// if the result is not reliable.
    fn search_lists(
        &self,
        lists: &Lists,
        query: &PreparedQuery,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
        top: &mut Top,
    ) -> Result<(), IndexError> {
        if let Some(reach) = self.reach(lists, k, params, allowed) {
            let within = |count: usize| self.reached(reach, count);
            let within: Option<&dyn Fn(usize) -> bool> = if params.ef.is_none() {
                Some(&within)
            } else {
                None
            };
            let isa = self.isa;
            let next = self.next();
            let none = &Hidden::NONE;
            let found = if self.residuals.is_some() {
                // The reader may itself search, so no buffers are borrowed meanwhile.
                let mut pool = lists.nearest(isa, next, query, reach, none, |pool| pool.to_vec());
                self.take(query, k, allowed, &mut pool, within, top)
            } else {
                lists.nearest(isa, next, query, reach, none, |pool| {
                    self.take(query, k, allowed, pool, within, top)
                })
            };
            if found? {
                return Ok(());
            }
            // A scan finds again all that was found so far.
            *top = Top::new(k);
        }
        self.scan(&self.base, query, allowed, k, top)
    }

    /// How much of the lists a search compares; `None` if a scan of the allowed vectors is cheaper
    /// or more reliable.
    pub(super) fn reach(
        &self,
        lists: &Lists,
        k: usize,
        params: &SearchParams<'_>,
        allowed: &Bitmap,
    ) -> Option<Reach> {
        // About the allowed share of a search's vectors will be allowed.
        let wanted = k as f64;
        let share = self.base.len() as f64 / allowed.count.max(1) as f64;
        // The expected rank of the k-th allowed vector plus two standard deviations; twice that
        // with a filter, which costs more than a wider search.
        let is_filtered = allowed.count < self.base.len();
        let margin = if is_filtered { 2. } else { 1. };
        let depth = margin * (wanted * share + 2. * (wanted * (1. - 1. / share)).sqrt() * share);
        let mut reach = self.tuning.reach(depth.ceil() as usize);
        if let Some(width) = params.ef {
            reach = self.tuning.reach_of(depth.ceil() as usize, width as f32);
        }
        if let Some(candidates) = params.candidates {
            reach.codes = (candidates as f64 * share).ceil().max(wanted) as usize;
        }
        // Each of the nearest may occur in every copy.
        reach.codes = reach.codes.max(lists.copies.saturating_mul(k));
        // Widths are measured without a filter and do not apply far beyond.
        let is_sure = !is_filtered || 3. * reach.lists <= lists.len() as f32;
        (k > 0 && (params.ef.is_some() || lists.cost(reach) < allowed.count && is_sure))
            .then_some(reach)
    }

    /// Whether a search with this reach was wide enough for this many neighbours.
    pub(super) fn reached(&self, reach: Reach, count: usize) -> bool {
        let needed = self.tuning.reach(count);
        needed.lists <= reach.lists && needed.codes <= reach.codes
    }

    /// Adds the allowed of `pool`, with their similarities at 8 bits, to `top`; returns whether the
    /// result is reliable.
    ///
    /// - `within`: whether the search was wide enough for a number of neighbours, if that is to be
    ///   checked
    pub(super) fn take(
        &self,
        query: &PreparedQuery,
        k: usize,
        allowed: &Bitmap,
        pool: &mut [Scored],
        within: Option<&dyn Fn(usize) -> bool>,
        top: &mut Top,
    ) -> Result<bool, IndexError> {
        let all = allowed.count == self.base.len();
        // The rank of the k-th allowed candidate: would a search of this width have found all up to
        // there without a filter? Not if the filter excludes the query's cluster.
        let count = k.min(allowed.count).max(1);
        let (passing, last) = if all {
            let last = (pool.len() >= count).then(|| count - 1);
            (pool, last)
        } else {
            pool.sort_unstable();
            let mut place =
                (0..pool.len()).filter(|&at| allowed.contains(pool[at].name() as usize));
            let last = place.nth(count - 1);
            (
                retain(pool, |candidate| {
                    allowed.contains(candidate.name() as usize)
                }),
                last,
            )
        };
        if self.residuals.is_some() {
            let slots = self.best_of(passing, self.tuning.reads(k));
            self.offer(from_ref(query), slots, from_mut(top))?;
        } else {
            let source = CodeSource {
                isa: self.isa,
                codec: &self.codec,
                codes: &self.base.codes,
            };
            segment::nearest16(
                source,
                query,
                passing,
                top.k(),
                self.tuning.error8,
                |found| {
                    top.start(found.iter().map(|candidate| Neighbor {
                        id: self.base.ids[candidate.name() as usize],
                        similarity: candidate.score(),
                    }));
                },
            );
        }
        // Without a filter the pool is as good as its width, which was measured; with one it has to
        // reach far enough.
        Ok(match (last, within) {
            (Some(at), Some(within)) => all || within(at + 1),
            (found, _) => found.is_some(),
        })
    }

    /// The slots of the `most` best of `pool`.
    fn best_of(&self, pool: &[Scored], most: usize) -> Vec<u32> {
        let mut best = pool.to_vec();
        let most = most.max(1);
        self.isa.keep_best(&mut best, (most, most), &mut Vec::new());
        best.into_iter().map(Scored::name).collect()
    }
}

/// Moves those that pass `keep` to the front.
fn retain(pool: &mut [Scored], keep: impl Fn(&Scored) -> bool) -> &mut [Scored] {
    let mut kept = 0;
    for at in 0..pool.len() {
        if keep(&pool[at]) {
            pool[kept] = pool[at];
            kept += 1;
        }
    }
    &mut pool[..kept]
}
