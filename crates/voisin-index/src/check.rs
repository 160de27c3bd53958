//! What an index says about itself: figures, and whether it finds what it holds.

use rayon::prelude::*;

use super::lists::Lists;
use super::segment::Segment;
use super::types::{IndexStats, Neighbor, SearchMode, SearchParams, SelfCheck};
use super::{IndexError, VectorIndex};

/// Similarities that differ by less are equal.
const EQUAL: f32 = 1e-6;

impl VectorIndex {
    /// Figures for `status`.
    pub fn stats(&self) -> IndexStats {
        let graph = self.graph.as_ref();
        let held = |segment: &Segment| segment.len() * (2 * self.codec.width + 8 + 8);
        let links = graph.map_or(0, |graph| 4 * graph.links.len() + graph.block_bytes());
        let mapped = self.base.codes.file().is_some();
        let bytes = held(&self.base) + held(&self.tail) + links + self.lists.as_ref().map_or(0, Lists::bytes);
        let on_demand = if mapped { self.base.len() * self.codec.width } else { 0 };
        IndexStats {
            tracks: self.len(),
            dimension: self.dimension(),
            mode: self.tuning.mode(self.lists.is_some(), graph.is_some()),
            ef: self.tuning.ef(10),
            lists: self.lists.as_ref().map(|_| self.tuning.list_stats()),
            list_count: self.lists.as_ref().map_or(0, Lists::len),
            tail: self.tail.live.count,
            tombstones: self.base.len() - self.base.live.count,
            links: graph.map_or(0, super::graph::Graph::count_links),
            bytes,
            resident: bytes - on_demand + self.base.sign_bytes() + self.tail.sign_bytes(),
            isa: self.isa.name(),
            mapped,
        }
    }

    /// Searches every track by its own vector, and compares the ten nearest of `sample` evenly spread tracks with
    /// the exact search; in parallel on rayon's current pool.
    pub fn self_check(&self, sample: usize) -> Result<SelfCheck, IndexError> {
        let tracks = self.tracks();
        let params = SearchParams::default();
        let finds_itself = |&track: &_| -> Result<Option<_>, IndexError> {
            let (segment, slot) = self.slot(track).ok_or(IndexError::Unknown(track))?;
            let query = self.codec.query_at(&segment.codes, slot);
            let own = Neighbor { track, similarity: segment.codes.similarity(self.isa, &query, slot) };
            let own = self.value(&query, &own);
            let found = self.search_query(&query, 10, &params)?;
            let there = found.iter().any(|neighbor| neighbor.track == track)
                || found.len() == 10 && found.iter().all(|neighbor| neighbor.similarity >= own - EQUAL);
            Ok((!there).then_some(track))
        };
        let lost: Vec<_> = tracks.par_iter().map(finds_itself).collect::<Result<_, _>>()?;
        let step = tracks.len().div_ceil(sample.max(1)).max(1);
        let shares: Vec<f64> = tracks
            .par_iter()
            .step_by(step)
            .map(|&track| {
                let exact = SearchParams { mode: SearchMode::Exact, ..params };
                let truth = self.search_track(track, 10, &exact)?;
                let found = self.search_track(track, 10, &params)?;
                let Some(last) = truth.last() else {
                    return Ok(1.);
                };
                let hits =
                    found.iter().filter(|neighbor| neighbor.similarity >= last.similarity - EQUAL).count();
                Ok(hits as f64 / truth.len() as f64)
            })
            .collect::<Result<_, IndexError>>()?;
        Ok(SelfCheck {
            tracks: tracks.len(),
            lost: lost.into_iter().flatten().collect(),
            sample: shares.len(),
            recall_at_10: if shares.is_empty() {
                1.
            } else {
                shares.iter().sum::<f64>() / shares.len() as f64
            },
        })
    }
}
