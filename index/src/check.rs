//! Statistics of an index, and a check that it finds its own vectors.

use rayon::prelude::*;

use super::checked_file::CheckedFile;
use super::graph::Graph;
use super::lists::Lists;
use super::residual::Residuals;
use super::search::batch;
use super::segment::Segment;
use super::tuning::Queries;
use super::types::{IndexStats, Neighbor, SearchMode, SearchParams, SelfCheck};
use super::{Id, IndexError, VectorIndex};

/// Similarities that differ by less are equal.
const EQUAL: f32 = 1e-6;
/// The same for vectors from a reader: the query is rounded to 16 bits.
const EQUAL_READ: f32 = 2e-5;

/// Most items that are searched by their own vector if vectors are read.
const READ_AT_MOST: usize = 10_000;

impl VectorIndex {
    /// Statistics for `status`.
    pub fn stats(&self) -> IndexStats {
        let graph = self.graph.as_deref();
        let held = |segment: &Segment| {
            let row = self.codec.width + self.codec.low_width() + 8;
            segment.len() * 8 + segment.codes.len() * row
        };
        let mode = |queries| {
            self.tuning
                .mode(self.lists.is_some(), graph.is_some(), queries)
        };
        let mapped = self.base.codes.file().is_some_and(CheckedFile::is_mapped);
        let parts = graph.map_or(0, |graph| graph.link_bytes() + graph.block_bytes())
            + self.lists.as_deref().map_or(0, Lists::bytes)
            + self.residuals.as_deref().map_or(0, Residuals::bytes);
        let tail = self.tail.parts();
        let bytes = held(&self.base) + tail.iter().map(held).sum::<usize>() + parts;
        let signs = self.base.sign_bytes() + tail.iter().map(Segment::sign_bytes).sum::<usize>();
        // The low half of mapped vectors is only read for the best candidates, links only to make
        // blocks: neither need stay in memory.
        let on_demand = if mapped {
            self.base.codes.len() * self.codec.low_width() + graph.map_or(0, Graph::link_bytes)
        } else {
            0
        };
        IndexStats {
            items: self.len(),
            dimension: self.dimension(),
            mode: mode(Queries::Alone),
            batch_mode: mode(Queries::Batch),
            speeds: self.tuning.measured_speeds(),
            ef: self.tuning.ef(10),
            recall: self
                .tuning
                .recall(self.lists.is_some(), graph.is_some())
                .map(|recall| recall.mean),
            lists: self
                .lists
                .as_ref()
                .map(|_| self.tuning.list_stats(self.residuals.is_some())),
            list_count: self.lists.as_deref().map_or(0, Lists::len),
            tail: self.tail.live(),
            tombstones: self.base.len() - self.base.live.count,
            links: graph.map_or(0, Graph::count_links),
            bytes,
            resident: bytes - on_demand + signs,
            isa: self.isa.name(),
            mapped,
        }
    }

    /// Searches every item by its own vector (with a reader, at most 10 000 evenly spread), and
    /// compares the ten nearest of `sample` evenly spread items with the exact search; in parallel
    /// on rayon's current pool.
    pub fn self_check(&self, sample: usize) -> Result<SelfCheck, IndexError> {
        let tracks = self.ids();
        let params = SearchParams::default();
        let equal = if self.residuals.is_some() {
            EQUAL_READ
        } else {
            EQUAL
        };
        let finds_itself = |&track: &_| -> Result<Option<_>, IndexError> {
            let (query, similarity) = self.with_codes(track, |codes, slot| {
                let query = self.codec.query_at(self.isa, codes, slot);
                let similarity = codes.similarity(self.isa, &query, slot);
                (query, similarity)
            })?;
            let to_itself = similarity * query.factor;
            let found = self.search_query(&query, 10, &params)?;
            // Ten copies of one recording may rank before it, which is no loss.
            let is_among_them = found.iter().any(|neighbor| neighbor.id == track)
                || found.len() == 10
                    && found
                        .iter()
                        .all(|neighbor| neighbor.similarity >= to_itself - equal);
            Ok((!is_among_them).then_some(track))
        };
        let every = if self.residuals.is_some() {
            tracks.len().div_ceil(READ_AT_MOST).max(1)
        } else {
            1
        };
        let lost: Vec<_> = tracks
            .par_iter()
            .step_by(every)
            .map(finds_itself)
            .collect::<Result<_, _>>()?;
        // Evenly spread over the ids, because items that were added together are alike.
        let step = tracks.len().div_ceil(sample.max(1)).max(1);
        let tracks: Vec<Id> = tracks.into_iter().step_by(step).collect();
        let exact = SearchParams {
            mode: SearchMode::Exact,
            ..params
        };
        // Vectors that are not in the index are read once for many.
        let compare = |tracks: &[Id]| {
            let truths = self.search_ids(tracks, 10, &exact)?;
            let founds = self.search_ids(tracks, 10, &params)?;
            let share = |(truth, found): (&Vec<Neighbor>, &Vec<Neighbor>)| {
                let Some(last) = truth.last() else { return 1. };
                // By similarity and not by id: equal ones may come in either order.
                let near = |neighbor: &&Neighbor| neighbor.similarity >= last.similarity - equal;
                found.iter().filter(near).count() as f64 / truth.len() as f64
            };
            Ok(truths.iter().zip(&founds).map(share).collect())
        };
        let parts: Vec<Vec<f64>> = tracks
            .par_chunks(batch(tracks.len()))
            .map(compare)
            .collect::<Result<_, IndexError>>()?;
        let shares = parts.concat();
        Ok(SelfCheck {
            items: self.len(),
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
