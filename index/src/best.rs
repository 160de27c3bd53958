//! The best results of searches of short codes.

use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::short::{LANES, ShortQuery, ShortSearch};

/// The `most` best of the added vectors, in any order: highest score, then lowest name.
#[derive(Debug, Clone)]
pub(crate) struct BestScored {
    pub(crate) most: usize,
    pub(crate) found: Vec<Scored>,
    /// Vectors with a lower score cannot be among the best.
    limit: f32,
    spare: Vec<Scored>,
}

impl Default for BestScored {
    fn default() -> Self {
        Self {
            most: 0,
            found: Vec::new(),
            limit: f32::NEG_INFINITY,
            spare: Vec::new(),
        }
    }
}

impl BestScored {
    pub(crate) fn clear(&mut self, most: usize) {
        self.most = most.max(1);
        self.found.clear();
        self.limit = f32::NEG_INFINITY;
    }

    pub(crate) fn compare(&mut self, isa: Isa, blocks: &[u8], query: ShortQuery<'_>) {
        Self::compare_each(isa, blocks, [(self, query)]);
    }

    /// As [`compare`](Self::compare) for each of several queries of one kind.
    pub(crate) fn compare_each<const N: usize>(
        isa: Isa,
        blocks: &[u8],
        mut all: [(&mut Self, ShortQuery<'_>); N],
    ) {
        // The kernel filters by the limit, so that only candidates are written.
        isa.near_each(
            blocks,
            all.each_mut().map(|(best, query)| ShortSearch {
                query: *query,
                limit: best.limit,
                out: &mut best.found,
            }),
        );
        for (best, _) in all {
            best.cut_where_it_pays(isa);
        }
    }

    /// As [`compare`](Self::compare), of those whose names are `allowed`.
    pub(crate) fn compare_allowed(
        &mut self,
        isa: Isa,
        blocks: &[u8],
        query: ShortQuery<'_>,
        allowed: impl Fn(u32) -> bool,
    ) {
        // The kernel does not check `allowed`, so others are removed afterwards.
        let before = self.found.len();
        isa.near(blocks, query, self.limit, &mut self.found);
        let mut kept = before;
        for at in before..self.found.len() {
            if allowed(self.found[at].name()) {
                self.found.swap(kept, at);
                kept += 1;
            }
        }
        self.found.truncate(kept);
        self.cut_where_it_pays(isa);
    }

    /// Whether there are `most`.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    /// The worst score of the best; below every score if there are fewer.
    pub(crate) fn worst(&mut self, isa: Isa) -> f32 {
        self.cut(isa);
        let worst = self.found.iter().max().filter(|_| self.is_full());
        let worst = worst.map_or(f32::NEG_INFINITY, |worst| worst.score());
        self.limit = self.limit.max(worst);
        worst
    }

    pub(crate) fn cut(&mut self, isa: Isa) {
        self.keep(isa, self.most);
    }

    fn cut_where_it_pays(&mut self, isa: Isa) {
        // Selecting costs about as much as comparing, so candidates are collected up to twice as
        // many first.
        if self.found.len() >= 2 * self.most + LANES {
            self.keep(isa, self.most + self.most / 2);
        }
    }

    /// Keeps the best, and others up to `most` in all.
    fn keep(&mut self, isa: Isa, most: usize) {
        // Scores equal to the bound pass the limit: among equals the name decides.
        if let Some(bound) = isa.keep_best(&mut self.found, (self.most, most), &mut self.spare) {
            self.limit = bound.score();
        }
    }
}
