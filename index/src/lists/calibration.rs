//! How many lists a search has to compare, found by trials at the build.

use std::collections::HashMap;

use voisin_kernels::Isa;

use super::{BUFFERS, ListBuffers, Lists, Reach};
use crate::codes::PreparedQuery;
use crate::grouping::places;
use crate::trials::Hidden;

impl Lists {
    /// Of each of `slots`, how many lists are nearer than its own, and how many vectors of the
    /// nearest `lists` have a better score, each counted as often as it is there; `hidden` are left
    /// out.
    pub(crate) fn ranks(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        hidden: &Hidden,
        slots: &[u32],
        lists_of: &[Vec<u32>],
        lists: usize,
    ) -> Vec<(usize, usize)> {
        let along = self.along(isa, query);
        let place = places(isa, &self.centres, &along);
        let mut seen = Vec::new();
        // Only the nearest lists are compared; vectors in others count as not found.
        for list in (0..self.len()).filter(|&list| place[list] < lists) {
            isa.near(
                self.list(list as u32),
                self.short(&along),
                f32::NEG_INFINITY,
                &mut seen,
            );
        }
        seen.retain(|candidate| !hidden.contains(candidate.name()));
        seen.sort_unstable();
        // Of two places of a vector the first counts.
        let rank: HashMap<u32, usize> = seen
            .iter()
            .enumerate()
            .rev()
            .map(|(rank, candidate)| (candidate.name(), rank))
            .collect();
        let rank_of = |slot: &u32| {
            let nearest = lists_of
                .iter()
                .map(|lists_of| place[lists_of[*slot as usize] as usize])
                .min();
            (
                nearest.unwrap_or(self.len()),
                rank.get(slot).copied().unwrap_or(usize::MAX),
            )
        };
        slots.iter().map(rank_of).collect()
    }

    /// The least margin with which a search reaches each of the nearest `lists` lists, nearest
    /// first, if this many codes are passed on; `hidden` are left out.
    pub(crate) fn margins(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        codes: usize,
        hidden: &Hidden,
        lists: usize,
    ) -> Vec<f32> {
        BUFFERS.with_borrow_mut(|buffers| {
            let along = self.along(isa, query);
            let ListBuffers {
                pool,
                scores: [scores, ..],
                walk,
                ..
            } = buffers;
            self.score(isa, [(scores, &along)]);
            pool.clear(codes);
            // A search with the whole budget and without a floor, which records the floor that
            // would have ended it.
            let everything = Reach::fixed(lists, codes);
            self.begin(
                isa,
                scores,
                self.short(&along),
                (pool, walk),
                everything,
                hidden,
            );
            let mut margins = vec![f32::NEG_INFINITY; walk.count];
            let mut worst = pool.worst(isa);
            while walk.round(isa, lists, |list, _| {
                let least = margins.last().copied().unwrap_or(f32::NEG_INFINITY);
                // Never below the previous one: a search that stopped at the nearer list would not
                // have reached this one.
                margins.push(least.max(worst - list.score()));
                self.compare(isa, list, self.short(&along), pool, hidden);
            }) {
                worst = pool.worst(isa);
            }
            margins
        })
    }
}
