//! Statistics of an index, and a check that it finds its own vectors.

use rayon::prelude::*;

use super::search::batch;
use super::types::{IndexStats, Neighbor, SearchParams, SelfCheck};
use super::{Id, IndexError, VectorIndex};

/// Similarities that differ by less are equal.
const EQUAL: f32 = 1e-6;

/// Of how many neighbours statistics are.
pub(super) const K: usize = 10;

/// The share of exact neighbours that were found; equal ones may come in either order.
fn share_found((truth, found): (&Vec<Neighbor>, &Vec<Neighbor>)) -> f64 {
    let Some(last) = truth.last() else { return 1. };
    let near = |neighbor: &&Neighbor| neighbor.similarity >= last.similarity - EQUAL;
    found.iter().filter(near).count() as f64 / truth.len() as f64
}

impl VectorIndex {
    /// Statistics for `status`.
    pub fn stats(&self) -> IndexStats {
        self.header().stats()
    }

    /// Searches every item by its own vector, and compares the ten nearest of `sample` evenly
    /// spread items with the exact search; in parallel on rayon's current pool.
    pub fn self_check(&self, sample: usize) -> Result<SelfCheck, IndexError> {
        let ids = self.ids();
        let params = SearchParams::default();
        let is_lost = |&id: &Id| -> Result<Option<Id>, IndexError> {
            let found = self.search_query(&self.stored(id)?, K, &params)?;
            // Ten copies of one recording may rank before it, which is no loss.
            let is_among_them = found.iter().any(|neighbor| neighbor.id == id)
                || found.len() == K
                    && found
                        .iter()
                        .all(|neighbor| neighbor.similarity >= 1. - EQUAL);
            Ok((!is_among_them).then_some(id))
        };
        let lost: Vec<_> = ids.par_iter().map(is_lost).collect::<Result<_, _>>()?;
        // Evenly spread over the ids, because items that were added together are alike.
        let step = ids.len().div_ceil(sample.max(1)).max(1);
        let ids: Vec<Id> = ids.into_iter().step_by(step).collect();
        let exact = SearchParams {
            exact: true,
            ..params
        };
        let compare = |ids: &[Id]| -> Result<Vec<f64>, IndexError> {
            let truths = self.search_ids(ids, K, &exact)?;
            let founds = self.search_ids(ids, K, &params)?;
            Ok(truths.iter().zip(&founds).map(share_found).collect())
        };
        let parts = ids.par_chunks(batch(ids.len())).map(compare);
        let shares = parts.collect::<Result<Vec<_>, _>>()?.concat();
        let sum: f64 = shares.iter().sum();
        Ok(SelfCheck {
            items: self.len(),
            lost: lost.into_iter().flatten().collect(),
            sample: shares.len(),
            recall_at_10: if shares.is_empty() {
                1.
            } else {
                sum / shares.len() as f64
            },
        })
    }
}
