//! Builds the graph: `hnsw_rs` inserts, the result is frozen into flat arrays, every point's links are chosen
//! again from a wide search of the frozen graph, and points that do not find themselves get more links.

use hnsw_rs::prelude::{Distance, Hnsw};
use rayon::prelude::*;

use super::codes::{Codec, Codes};
use super::graph::{Candidate, Graph, NONE, better};
use super::types::IndexOptions;
use voisin_base::random::Random;
use voisin_kernels::Isa;

/// Room kept free in each row of links for repairs.
const SPARE: usize = 4;
/// `hnsw_rs` keeps at most this many layers.
const MAX_LAYERS: usize = 16;
/// Width of `hnsw_rs`'s own insertion, at most: its links only have to lead the wide search that follows.
const FIRST_WIDTH: usize = 40;
/// Width of the searches that the first repair is for: narrow, so that it is thorough.
const FIRST_REPAIR: usize = 32;
/// Passes of links for points that do not find themselves.
const REPAIRS: usize = 8;

/// What the builder reads.
#[derive(Clone, Copy)]
pub(crate) struct CodeSource<'a> {
    pub(crate) isa: Isa,
    pub(crate) codec: &'a Codec,
    pub(crate) codes: &'a Codes,
}

/// Distance of two slots at 8 bits. A point of `hnsw_rs` holds its slot only, so vectors are not copied.
struct SlotDistance<'a>(CodeSource<'a>);

impl Distance<u32> for SlotDistance<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        // hnsw_rs asserts that no distance is negative; rounding makes some 1 − cosine so.
        (1. - self.0.similarity(a[0], b[0])).max(0.)
    }
}

impl CodeSource<'_> {
    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.codec.stored8(self.isa, self.codes, a as usize, b as usize)
    }
}

/// Builds a graph over all slots, in parallel on rayon's current pool.
///
/// With one thread the same vectors, options and seed give the same graph.
pub(crate) fn build(source: CodeSource<'_>, options: &IndexOptions) -> Graph {
    let (width, limit) = (options.ef_construction, 2 * options.m);
    let mut graph = insert_all(source, options);
    graph = refine(source, &graph, width, limit);
    refine_upper(source, &mut graph, width, limit);
    repair(source, &mut graph, FIRST_REPAIR);
    graph
}

/// `hnsw_rs` builds, then its layers are copied out.
fn insert_all(source: CodeSource<'_>, options: &IndexOptions) -> Graph {
    let n = source.codes.len();
    let mut order: Vec<u32> = (0..n as u32).collect();
    Random::new(options.seed).shuffle(&mut order);
    let width = options.ef_construction.min(FIRST_WIDTH);
    // `m` was checked: hnsw_rs exits the process above 256.
    let hnsw = Hnsw::new(options.m, n, MAX_LAYERS, width, SlotDistance(source));
    let insert = |&slot: &u32| hnsw.insert((&[slot], slot as usize));
    if rayon::current_num_threads() == 1 {
        order.iter().for_each(insert);
    } else {
        // A point that is inserted while there is no entry point yet would stay without links.
        let (first, rest) = order.split_at(n.min(64));
        first.iter().for_each(insert);
        rest.par_iter().for_each(insert);
    }
    freeze(&hnsw, n, options.m)
}

fn freeze(hnsw: &Hnsw<'_, u32, SlotDistance<'_>>, n: usize, m: usize) -> Graph {
    let stored = hnsw.get_point_indexation();
    let layers = usize::from(hnsw.get_max_level_observed()) + 1;
    // hnsw_rs lists each point in its highest layer only: from the highest down, that is the order of ranks.
    let points: Vec<_> = (0..layers).rev().flat_map(|layer| stored.get_layer_iterator(layer)).collect();
    let sizes: Vec<usize> = (0..layers)
        .map(|layer| points.iter().take_while(|point| usize::from(point.get_point_id().0) >= layer).count())
        .collect();
    let mut rank_of = vec![NONE; n];
    for (rank, point) in points.iter().enumerate() {
        rank_of[point.get_origin_id()] = rank as u32;
    }
    let stride = 2 * m + SPARE;
    let mut links = vec![NONE; n * stride];
    let mut upper: Vec<Vec<u32>> = sizes[1..].iter().map(|&size| vec![NONE; size * 2 * m]).collect();
    let neighbourhoods: Vec<_> = points.par_iter().map(|point| point.get_neighborhood_id()).collect();
    for (rank, (point, neighbourhood)) in points.iter().zip(&neighbourhoods).enumerate() {
        let slot = point.get_origin_id();
        for (layer, neighbours) in neighbourhood.iter().enumerate().take(layers) {
            // Lists above a point's own layer, and neighbours below the list's, are left-overs of insertion.
            if rank >= sizes[layer] {
                break;
            }
            let ranks = neighbours.iter().map(|neighbour| rank_of[neighbour.d_id]);
            let kept = ranks.filter(|&other| other != NONE && other as usize != rank);
            let kept = kept.filter(|&other| (other as usize) < sizes[layer]);
            if layer == 0 {
                let row = &mut links[slot * stride..][..2 * m];
                row.iter_mut().zip(kept).for_each(|(link, other)| {
                    *link = points[other as usize].get_origin_id() as u32;
                });
            } else {
                let row = &mut upper[layer - 1][rank * 2 * m..][..m];
                row.iter_mut().zip(kept).for_each(|(link, other)| *link = other);
            }
        }
    }
    let slot_at = |rank: usize| points.get(rank).map_or(0, |point| point.get_origin_id() as u32);
    let ranked = (0..sizes.get(1).copied().unwrap_or(0)).map(slot_at).collect();
    Graph { stride, links, entry: slot_at(0), ranked, upper_stride: 2 * m, upper }
}

/// Chooses all links of the lowest layer again, from the `ef_construction` nearest that the graph finds.
///
/// Every row is computed from the old graph alone: the result does not depend on the number of threads.
fn refine(source: CodeSource<'_>, old: &Graph, width: usize, limit: usize) -> Graph {
    let n = source.codes.len();
    let forward: Vec<Vec<Candidate>> = (0..n as u32)
        .into_par_iter()
        .map(|slot| {
            let query = source.codec.query_at(source.codes, slot as usize);
            let linked = old.linked(slot as usize);
            old.walk(source.isa, source.codes, &query, width, None, |pool| {
                let mut candidates: Vec<Candidate> =
                    pool.iter().copied().filter(|&(_, other)| other != slot).collect();
                for &other in linked {
                    if !candidates.iter().any(|candidate| candidate.1 == other) {
                        candidates.push((source.similarity(slot, other), other));
                    }
                }
                sort(&mut candidates);
                select(source, &candidates, limit)
            })
        })
        .collect();
    let mut reverse: Vec<Vec<Candidate>> = vec![Vec::new(); n];
    for (slot, chosen) in forward.iter().enumerate() {
        for &(similarity, other) in chosen {
            reverse[other as usize].push((similarity, slot as u32));
        }
    }
    let mut links = vec![NONE; n * old.stride];
    links.par_chunks_exact_mut(old.stride).zip(forward).zip(reverse).for_each(
        |((row, mut chosen), mut back)| {
            back.retain(|candidate| !chosen.iter().any(|other| other.1 == candidate.1));
            chosen.append(&mut back);
            if chosen.len() > limit {
                sort(&mut chosen);
                chosen = select(source, &chosen, limit);
            }
            row.iter_mut().zip(chosen).for_each(|(link, (_, other))| *link = other);
        },
    );
    Graph { links, ..old.clone() }
}

/// Chooses the links of the upper layers again, each layer as a graph of its own.
fn refine_upper(source: CodeSource<'_>, graph: &mut Graph, width: usize, limit: usize) {
    for layer in &mut graph.upper {
        let size = layer.len() / graph.upper_stride;
        let mut codes = Codes::empty(source.codes.width);
        for &slot in &graph.ranked[..size] {
            let slot = slot as usize;
            codes.push_row(source.codes.hi_row(slot), source.codes.lo_row(slot), source.codes.meta[slot]);
        }
        let alone = Graph { stride: graph.upper_stride, links: std::mem::take(layer), ..Graph::default() };
        *layer = refine(CodeSource { codes: &codes, ..source }, &alone, width, limit).links;
    }
}

/// Nearest first, equals by slot.
fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(better);
}

/// The neighbour heuristic (Malkov and Yashunin 2018, algorithm 4): a candidate, nearest first, is kept if it is
/// nearer to the point than to any kept before.
fn select(source: CodeSource<'_>, candidates: &[Candidate], limit: usize) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::with_capacity(limit);
    for &candidate in candidates {
        if kept.len() == limit {
            break;
        }
        if kept.iter().all(|other| source.similarity(candidate.1, other.1) < candidate.0) {
            kept.push(candidate);
        }
    }
    kept
}

/// Links points that a search of width `ef` for their own vector does not find to where that search ends.
pub(crate) fn repair(source: CodeSource<'_>, graph: &mut Graph, ef: usize) {
    for pass in 0..REPAIRS {
        let lost = lost(source, graph, ef);
        if lost.is_empty() {
            return;
        }
        for (slot, near) in lost {
            let mut added = 0;
            for (_, other) in near {
                let row = &mut graph.links[other as usize * graph.stride..][..graph.stride];
                if row.contains(&slot) {
                    continue;
                }
                if let Some(free) = row.iter_mut().find(|link| **link == NONE) {
                    *free = slot;
                    added += 1;
                    if added == 2 + pass {
                        break;
                    }
                }
            }
        }
    }
}

/// Slots that are not found by their own vector with a search of width `ef`, and what was found instead.
fn lost(source: CodeSource<'_>, graph: &Graph, ef: usize) -> Vec<(u32, Vec<Candidate>)> {
    let search = |slot: u32| {
        let query = source.codec.query_at(source.codes, slot as usize);
        graph.walk(source.isa, source.codes, &query, ef, None, |pool| {
            let own = source.codec.stored8(source.isa, source.codes, slot as usize, slot as usize);
            let found = pool.iter().any(|&(_, other)| other == slot)
                || pool.last().is_some_and(|&(similarity, _)| similarity >= own);
            (!found).then(|| (slot, pool.iter().copied().filter(|&(_, other)| other != slot).collect()))
        })
    };
    (0..graph.len() as u32).into_par_iter().filter_map(search).collect()
}
