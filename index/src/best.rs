//! The best results of searches of short codes.

use super::subset::Bitmap;
use voisin_simd::Isa;
use voisin_simd::dot::best::{Scored, keep_best};
use voisin_simd::dot::short::{LANES, ShortQuery, ShortSearch};

/// The `most` best of the added vectors, in any order: highest score, then lowest name.
#[derive(Debug, Clone)]
pub(crate) struct BestScored {
    most: usize,
    pub(crate) found: Vec<Scored>,
    /// Vectors with a lower score cannot be among the best.
    limit: f32,
}

impl Default for BestScored {
    fn default() -> Self {
        Self {
            most: 0,
            found: Vec::new(),
            limit: f32::NEG_INFINITY,
        }
    }
}

impl BestScored {
    pub(crate) fn clear(&mut self, most: usize) {
        self.most = most.max(1);
        self.found.clear();
        self.limit = f32::NEG_INFINITY;
    }

    /// Adds those of a list that are allowed for each of several queries.
    pub(crate) fn compare_each<const N: usize>(
        isa: Isa,
        blocks: &[u8],
        mut all: [(&mut Self, ShortQuery<'_>, Option<&Bitmap>); N],
    ) {
        let before = all.each_ref().map(|(best, ..)| best.found.len());
        // The kernel filters by the limit, so that only candidates are written.
        isa.near_each(
            blocks,
            all.each_mut().map(|(best, query, _)| ShortSearch {
                query: *query,
                limit: best.limit,
                out: &mut best.found,
            }),
        );
        for ((best, _, allowed), before) in all.into_iter().zip(before) {
            if let Some(allowed) = allowed {
                best.retain_from(before, allowed);
            }
            best.cut_where_it_pays();
        }
    }

    fn retain_from(&mut self, before: usize, allowed: &Bitmap) {
        let mut kept = before;
        for at in before..self.found.len() {
            if allowed.contains(self.found[at].name() as usize) {
                self.found.swap(kept, at);
                kept += 1;
            }
        }
        self.found.truncate(kept);
    }

    /// Keeps only the best.
    pub(crate) fn cut(&mut self) {
        // Scores equal to the bound pass the limit: among equals the name decides.
        if let Some(bound) = keep_best(&mut self.found, self.most) {
            self.limit = bound.score();
        }
    }

    fn cut_where_it_pays(&mut self) {
        // Selecting costs about as much as comparing, so candidates are collected up to twice as
        // many first.
        if self.found.len() >= 2 * self.most + LANES {
            self.cut();
        }
    }
}
