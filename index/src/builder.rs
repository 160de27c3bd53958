//! Builds the graph: candidates for each slot's links come from the lists, pruned by the neighbour
//! heuristic, and links go both ways; or `hnsw_rs` makes them.

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::graph::{Graph, NONE};
use super::lists::{LANES, Lists};
use super::types::{GraphBuilder, IndexOptions};
use voisin_simd::dot::best::Scored;

/// Slots whose neighbours are searched together.
const TOGETHER: usize = 512;
/// Lists that are searched for a slot's neighbours.
const LOOKED_AT: usize = 40;

/// Builds a graph over all slots, in parallel on rayon's current pool.
///
/// From lists the result does not depend on the number of threads; with `hnsw_rs`, on one thread
/// the same vectors, options and seed give the same graph.
pub(crate) fn build(source: CodeSource<'_>, lists: &Lists, options: &IndexOptions) -> Graph {
    // Whole blocks, as a row of links is compared in one sweep of the kernel.
    let stride = (2 * options.m).next_multiple_of(LANES);
    let order = lists.order();
    let query = |&slot: &u32| source.codec.stored_at(source.codes, slot as usize);
    let links = match options.builder {
        GraphBuilder::Lists => link(source, &order, stride, |slots, then| {
            let queries: Vec<PreparedQuery> = slots.iter().map(query).collect();
            let reach = (LOOKED_AT, options.ef_construction);
            lists.nearest_of_all(
                source,
                &queries,
                reach,
                |_| None,
                |at, found| {
                    then(slots[at], found);
                },
            );
        }),
        #[cfg(feature = "hnsw_rs")]
        GraphBuilder::HnswRs => super::hnsw::links(source, stride, options),
    };
    Graph::new(stride, &links, lists)
}

/// Links all slots, each with the best of its candidates and of those slots that chose it.
///
/// Rows depend on the candidates alone: not on the number of threads.
///
/// - `order`: slots, near ones near each other
/// - `nearest`: passes on candidates for each of several slots
fn link(
    source: CodeSource<'_>,
    order: &[u32],
    stride: usize,
    nearest: impl Fn(&[u32], &mut dyn FnMut(u32, &mut [Scored])) + Sync,
) -> Vec<u32> {
    let n = source.codes.len();
    let choose = |slots: &[u32]| {
        let mut chosen = Vec::with_capacity(slots.len());
        nearest(slots, &mut |slot, found: &mut [Scored]| {
            let others = found
                .iter()
                .copied()
                .filter(|candidate| candidate.name() != slot)
                .collect();
            chosen.push((slot, Chosen::of(source, others, stride)));
        });
        chosen
    };
    let mut forward = vec![Chosen::default(); n];
    let mut reverse: Vec<Vec<Scored>> = vec![Vec::new(); n];
    // Parts are gathered in the order of slots before any is reversed, so threads do not change the
    // result.
    let parts: Vec<_> = order.par_chunks(TOGETHER).map(choose).collect();
    for (slot, chosen) in parts.into_iter().flatten() {
        // A slot that chose this one is a candidate for its row, too: links go both ways.
        for other in &chosen.kept {
            reverse[other.name() as usize].push(Scored::new(other.score(), slot));
        }
        forward[slot as usize] = chosen;
    }
    let mut links = vec![NONE; n * stride];
    links
        .par_chunks_exact_mut(stride)
        .zip(&forward)
        .zip(reverse)
        .for_each(|((row, chosen), mut all)| {
            // Two slots may have chosen each other.
            all.retain(|slot| !chosen.kept.contains(slot));
            all.extend(&chosen.kept);
            if all.len() > stride {
                all = Chosen::of(source, all, stride).whole();
            }
            row.iter_mut()
                .zip(all)
                .for_each(|(link, other)| *link = other.name());
        });
    fill(&mut links, &forward, stride);
    links
}

/// Fills free places of rows, which are compared anyway: slots with few links to them first, in the rows of their nearest.
fn fill(links: &mut [u32], forward: &[Chosen], stride: usize) {
    let n = forward.len();
    let mut leading = vec![0_usize; n];
    links
        .iter()
        .filter(|&&link| link != NONE)
        .for_each(|&link| leading[link as usize] += 1);
    let near: Vec<Vec<Scored>> = forward
        .iter()
        .map(|chosen| {
            let mut near = chosen.clone().whole();
            near.sort_unstable();
            near
        })
        .collect();
    // Positions in `near` that were tried already.
    let mut tried = vec![0_usize; n];
    // Round by round, so that the slots with the fewest links get room first.
    for want in (0..=stride).step_by(4) {
        for (slot, near) in near.iter().enumerate() {
            while leading[slot] < want && tried[slot] < near.len() {
                let other = near[tried[slot]].name() as usize;
                let row = &mut links[other * stride..][..stride];
                leading[slot] += usize::from(add(row, slot as u32));
                tried[slot] += 1;
            }
        }
    }
    links
        .par_chunks_exact_mut(stride)
        .zip(forward)
        .for_each(|(row, chosen)| {
            chosen.spare.iter().for_each(|candidate| {
                add(row, candidate.name());
            });
        });
}

/// Adds a link to a row; returns false if the row is full or has the link.
fn add(row: &mut [u32], slot: u32) -> bool {
    let end = row.iter_mut().find(|link| **link == NONE || **link == slot);
    end.is_some_and(|link| std::mem::replace(link, slot) == NONE)
}

/// Candidates for links, at most `limit`, nearest first.
#[derive(Default, Clone)]
struct Chosen {
    /// Those that the heuristic keeps.
    kept: Vec<Scored>,
    /// The nearest of the others.
    spare: Vec<Scored>,
}

impl Chosen {
    /// The neighbour heuristic (Malkov and Yashunin 2018, algorithm 4): a candidate, nearest first,
    /// is kept if it is nearer to the point than to any kept before.
    fn of(source: CodeSource<'_>, mut candidates: Vec<Scored>, limit: usize) -> Self {
        candidates.sort_unstable();
        let mut chosen = Self::default();
        for candidate in candidates {
            if chosen.kept.len() == limit {
                break;
            }
            if chosen
                .kept
                .iter()
                .all(|other| source.similarity(candidate.name(), other.name()) < candidate.score())
            {
                chosen.kept.push(candidate);
            } else if chosen.spare.len() < limit {
                chosen.spare.push(candidate);
            }
        }
        chosen.spare.truncate(limit - chosen.kept.len());
        chosen
    }

    /// All candidates.
    fn whole(mut self) -> Vec<Scored> {
        self.kept.append(&mut self.spare);
        self.kept
    }
}
