//! Building an index of vectors.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::codes::{CodeSource, Codec, Codes};
use super::lists::Lists;
use super::segment::Segment;
use super::subset::next_version;
use super::tail::IndexTail;
use super::trials::trials;
use super::tuning::{self, Tuning};
use super::unit::check;
use super::{Id, IndexError, IndexOptions, VectorIndex, builder};
use voisin_simd::{Isa, isa};

/// Slots are numbered by 31 bits.
pub(super) const MAX_VECTORS: usize = 1 << 31;
/// Up to this dimension sums of products fit into 32 bits, in every kernel.
pub(super) const MAX_DIMENSION: usize = 65_536;

impl VectorIndex {
    /// Builds an index of `vectors` (`[ids.len(), dimension]`, of any length), in parallel on
    /// rayon's current pool.
    ///
    /// Lists and a graph are made from [`IndexOptions::graph_from`] items on. The result depends
    /// only on the vectors and the options (with
    /// [`GraphBuilder::HnswRs`](super::GraphBuilder::HnswRs), only with a pool of one thread).
    #[allow(clippy::needless_pass_by_value)] // a view is a reference
    pub fn build(
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
        options: &IndexOptions,
    ) -> Result<Self, IndexError> {
        let vectors = vectors.as_standard_layout();
        let (order, codec) = Self::fit(ids, vectors.view(), options)?;
        let mut codes = Codes::zeroed(codec.width, order.len());
        // Slots are in the order of ids, so that an item is found by binary search.
        codes.encode(&codec, 0..order.len(), |slot| {
            vectors.row(order[slot]).to_slice().unwrap_or_default()
        });
        let ids = order.iter().map(|&i| ids[i]).collect();
        Self::finish(*options, codec, Segment::new(ids, codes))
    }

    /// The same for owned vectors, whose memory is freed as they are encoded.
    pub fn build_from(
        ids: &[Id],
        vectors: Array2<f32>,
        options: &IndexOptions,
    ) -> Result<Self, IndexError> {
        /// Vectors that are encoded before their memory is freed.
        const TOGETHER: usize = 65_536;
        // Rows are freed from their end, which requires the order of slots.
        if !ids.is_sorted() || !vectors.is_standard_layout() {
            return Self::build(ids, vectors.view(), options);
        }
        let (_, codec) = Self::fit(ids, vectors.view(), options)?;
        let (n, dimension) = vectors.dim();
        let (mut rows, offset) = vectors.into_raw_vec_and_offset();
        rows.drain(..offset.unwrap_or(0));
        let mut codes = Codes::zeroed(codec.width, n);
        let mut end = n;
        while end > 0 {
            let start = end.saturating_sub(TOGETHER);
            codes.encode(&codec, start..end, |i| {
                &rows[(start + i) * dimension..][..dimension]
            });
            rows.truncate(start * dimension);
            // Shrinking by an allocation of large blocks returns memory to the system at once.
            rows.shrink_to_fit();
            end = start;
        }
        Self::finish(*options, codec, Segment::new(ids.to_vec(), codes))
    }

    /// Checks ids and vectors for an index: the order of the ids, and how vectors are encoded.
    fn fit(
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
        options: &IndexOptions,
    ) -> Result<(Vec<usize>, Codec), IndexError> {
        check_options(options)?;
        let (n, dimension) = vectors.dim();
        if ids.len() != n {
            return Err(IndexError::Count {
                ids: ids.len(),
                vectors: n,
            });
        }
        if n >= MAX_VECTORS {
            return Err(IndexError::TooMany {
                limit: MAX_VECTORS - 1,
                actual: n,
            });
        }
        within("dimension", 1. ..=MAX_DIMENSION as f64, dimension as f64)?;
        let rows = vectors.as_slice().unwrap_or_default();
        let row = |i: usize| &rows[i * dimension..][..dimension];
        (0..n)
            .into_par_iter()
            .try_for_each(|i| check(dimension, Some(ids[i]), row(i)))?;
        let mut order: Vec<usize> = (0..n).collect();
        // Sorting puts equal ids side by side, where one pass finds them.
        order.sort_unstable_by_key(|&i| ids[i]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            return Err(IndexError::Duplicate(ids[pair[0]]));
        }
        let codec = Codec::fit(dimension, order.iter().map(|&i| row(i)));
        Ok((order, codec))
    }

    /// Makes lists and graph, and measures widths.
    fn finish(options: IndexOptions, codec: Codec, base: Segment) -> Result<Self, IndexError> {
        let isa = isa()?;
        let source = CodeSource {
            isa,
            codec: &codec,
            codes: &base.codes,
        };
        if !options.wants_graph(base.len()) {
            return Ok(Self::assemble(options, isa, codec, base, Tuning::default()));
        }
        let lists = Lists::build(source);
        let graph = builder::build(source, &lists, &options);
        let trials = trials(source, &base);
        let tuning = tuning::measure(source, &trials, &graph, &lists, options.target_recall);
        Ok(Self {
            graph: Some(Arc::new(graph)),
            lists: Some(Arc::new(lists)),
            ..Self::assemble(options, isa, codec, base, tuning)
        })
    }

    /// An index without lists and graph.
    pub(super) fn assemble(
        options: IndexOptions,
        isa: Isa,
        codec: Codec,
        base: Segment,
        tuning: Tuning,
    ) -> Self {
        Self {
            options,
            isa,
            codec: Arc::new(codec),
            base,
            graph: None,
            lists: None,
            tuning,
            tail: IndexTail::default(),
            version: next_version(),
            file: None,
        }
    }
}

/// Refuses a number outside its range, or NaN; the error has the range.
fn within(name: &'static str, range: RangeInclusive<f64>, actual: f64) -> Result<(), IndexError> {
    if range.contains(&actual) {
        return Ok(());
    }
    Err(IndexError::Option {
        name,
        expected: format!("{} to {}", range.start(), range.end()),
        actual,
    })
}

pub(super) fn check_options(options: &IndexOptions) -> Result<(), IndexError> {
    within("m", 4. ..=32., options.m as f64)?;
    within(
        "ef_construction",
        16. ..=2000.,
        options.ef_construction as f64,
    )?;
    within("target_recall", 0. ..=1., options.target_recall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IndexStamp;
    use crate::tests::clustered;

    #[test]
    fn vectors_given_away_make_the_same_index() {
        let vectors = clustered(4, 70_000, 8, 40);
        let ids: Vec<Id> = (0..70_000).map(|id| Id(2 * id)).collect();
        let stamp = IndexStamp {
            generation: 1,
            model_fingerprint: String::new(),
            dimension: 8,
        };
        let options = IndexOptions {
            graph_from: usize::MAX,
            ..IndexOptions::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        let bytes = |index: Result<VectorIndex, IndexError>| {
            index.unwrap().save(&path, &stamp).unwrap();
            std::fs::read(&path).unwrap()
        };
        let lent = bytes(VectorIndex::build(&ids, vectors.view(), &options));
        assert!(lent == bytes(VectorIndex::build_from(&ids, vectors.clone(), &options)));
        let backwards: Vec<Id> = ids.iter().rev().copied().collect();
        let turned = vectors.slice(ndarray::s![..;-1, ..]).to_owned();
        assert!(lent == bytes(VectorIndex::build_from(&backwards, turned, &options)));
    }
}
