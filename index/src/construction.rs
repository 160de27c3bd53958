//! Building an index of vectors.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::codes::{CodeSource, Codec, Codes};
use super::grouping::Spill;
use super::lists::Lists;
use super::metric::Sphere;
use super::residual::{RESIDUAL_BITS, Residuals, VectorReader};
use super::segment::Segment;
use super::subset::next_version;
use super::tail::IndexTail;
use super::trials::Trials;
use super::tuning::{self, Tuning};
use super::{Component, Id, IndexError, IndexOptions, VectorIndex, builder};
use voisin_kernels::{Isa, isa};

/// Slots are numbered by 31 bits.
pub(super) const MAX_VECTORS: usize = 1 << 31;
/// Up to this dimension sums of products fit into 32 bits, in every kernel and in the rotation.
pub(super) const MAX_DIMENSION: usize = 65_536;

impl VectorIndex {
    /// Builds an index of `vectors` (`[ids.len(), dimension]`, of any length), in parallel on
    /// rayon's current pool.
    ///
    /// Lists are made from [`IndexOptions::lists_from`] items on, a graph (and lists, if need be)
    /// from [`IndexOptions::graph_from`] on. The result depends only on the vectors and the options
    /// (with [`GraphBuilder::HnswRs`](super::GraphBuilder::HnswRs), only with a pool of one
    /// thread), except for the measured speeds of graph and lists, and so the one that
    /// [`SearchMode::Auto`](super::SearchMode::Auto) uses.
    #[allow(clippy::needless_pass_by_value)] // a view is a reference
    pub fn build<T: Component>(
        ids: &[Id],
        vectors: ArrayView2<'_, T>,
        options: &IndexOptions,
    ) -> Result<Self, IndexError> {
        let rows = T::rows(vectors);
        Self::build_spilled(ids, rows.view(), options, Spill::of(options))
    }

    /// As [`build`](Self::build).
    pub(crate) fn build_spilled(
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
        options: &IndexOptions,
        spill: Option<Spill>,
    ) -> Result<Self, IndexError> {
        let vectors = vectors.as_standard_layout();
        let (order, codec) = Self::fit(ids, vectors.view(), options)?;
        let mut codes = Codes::zeroed(&codec, order.len());
        // Slots are in the order of ids, so that an item is found by binary search.
        let row = |slot: usize| vectors.row(order[slot]).to_slice().unwrap_or_default();
        codes.encode(&codec, 0..order.len(), |slot| {
            codec.lift(ids[order[slot]], row(slot))
        })?;
        let ids = order.iter().map(|&i| ids[i]).collect();
        Self::finish(*options, codec, Segment::new(ids, codes), spill)
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
        let mut codes = Codes::zeroed(&codec, n);
        let mut end = n;
        while end > 0 {
            let start = end.saturating_sub(TOGETHER);
            let row = |i: usize| &rows[(start + i) * dimension..][..dimension];
            codes.encode(&codec, start..end, |i| codec.lift(ids[start + i], row(i)))?;
            rows.truncate(start * dimension);
            // Shrinking by an allocation of large blocks returns memory to the system at once.
            rows.shrink_to_fit();
            end = start;
        }
        Self::finish(
            *options,
            codec,
            Segment::new(ids.to_vec(), codes),
            Spill::of(options),
        )
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
        // These checks do not use lengths, so a sphere without radius suffices until the vectors
        // are known to be finite.
        let space = Sphere::new(options.metric, dimension);
        (0..n)
            .into_par_iter()
            .try_for_each(|i| space.check(Some(ids[i]), row(i)))?;
        let mut order: Vec<usize> = (0..n).collect();
        // Sorting puts equal ids side by side, where one pass finds them.
        order.sort_unstable_by_key(|&i| ids[i]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            return Err(IndexError::Duplicate(ids[pair[0]]));
        }
        let rows = order.iter().map(|&i| (ids[i], row(i)));
        let codec = Codec::fit(options.metric, dimension, rows)?;
        Ok((order, codec))
    }

    /// Makes lists and graph, and measures widths.
    fn finish(
        options: IndexOptions,
        codec: Codec,
        mut base: Segment,
        spill: Option<Spill>,
    ) -> Result<Self, IndexError> {
        let isa = isa()?;
        let source = CodeSource {
            isa,
            codec: &codec,
            codes: &base.codes,
        };
        let trials = Trials::new(source, &base);
        let wants_graph = options.wants_graph(base.len());
        let wants_lists = wants_graph || base.len() >= options.lists_from.max(2);
        let lists = wants_lists.then(|| Lists::build(source, &trials.beside, spill));
        let lists_of_graph = lists.as_ref().filter(|_| wants_graph);
        let graph = lists_of_graph.map(|lists| builder::build(source, lists, &options));
        let residuals = lists.as_ref().zip(options.residual_bits);
        let residuals = residuals.map(|(lists, bits)| {
            Residuals::build(
                source,
                &lists.directions,
                || lists.codes_by_slot(source.codes.len()),
                bits,
            )
        });
        let target = options.target_recall;
        let tuning = tuning::measure(
            source,
            &base,
            &trials,
            graph.as_ref(),
            lists.as_ref(),
            residuals.as_ref(),
            target,
        );
        // The vectors are dropped only now, as widths were measured with them.
        if residuals.is_some() {
            base.codes = Arc::new(Codes::empty(&codec));
        }
        let mut index = Self {
            graph: graph.map(Arc::new),
            lists: lists.map(Arc::new),
            residuals: residuals.map(Arc::new),
            ..Self::assemble(options, isa, codec, base, &tuning)
        };
        index.measure_speeds(&trials)?;
        Ok(index)
    }

    /// An index without lists and graph.
    pub(super) fn assemble(
        options: IndexOptions,
        isa: Isa,
        codec: Codec,
        base: Segment,
        tuning: &Tuning,
    ) -> Self {
        Self {
            options,
            isa,
            codec: Arc::new(codec),
            base,
            graph: None,
            lists: None,
            residuals: None,
            reader: None,
            tuning: *tuning,
            tail: IndexTail::default(),
            version: next_version(),
            saved: Arc::default(),
        }
    }

    /// All vectors with their ids, and additional ones.
    pub(super) fn gathered(
        &self,
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Gathered, IndexError> {
        if self.is_empty() {
            let ids = ids.to_vec();
            let vectors = vectors.to_owned();
            return Ok(Gathered {
                ids,
                vectors,
                options: self.options,
                reader: self.reader.clone(),
            });
        }
        let (mut all, mut rows) = self.vectors()?;
        all.extend(ids);
        let expected = self.dimension();
        // `append` only fails for another number of columns.
        let actual = vectors.ncols();
        rows.append(Axis(0), vectors)
            .map_err(|_| IndexError::Dimension { expected, actual })?;
        Ok(Gathered {
            ids: all,
            vectors: rows,
            options: self.options,
            reader: self.reader.clone(),
        })
    }
}

/// The vectors and options to build an index of.
pub(super) struct Gathered {
    ids: Vec<Id>,
    vectors: Array2<f32>,
    options: IndexOptions,
    reader: Option<Arc<VectorReader>>,
}

impl Gathered {
    pub(super) fn build(&self) -> Result<VectorIndex, IndexError> {
        let built = VectorIndex::build(&self.ids, self.vectors.view(), &self.options)?;
        Ok(VectorIndex {
            reader: self.reader.clone(),
            ..built
        })
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
    within("target_recall", 0. ..=1., options.target_recall)?;
    let option = |name, expected: &str, actual| {
        Err(IndexError::Option {
            name,
            expected: expected.to_owned(),
            actual,
        })
    };
    match options.residual_bits {
        bits if !RESIDUAL_BITS.contains(&bits) => {
            option("residual_bits", "0, 1, 2 or 4", bits.unwrap_or(0) as f64)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::of_all_lengths;
    use crate::{IndexMetric, IndexStamp};

    #[test]
    fn vectors_given_away_make_the_same_index() {
        let vectors = of_all_lengths(70_000, 8, 4);
        let ids: Vec<Id> = (0..70_000).map(|id| Id(2 * id)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        let stamp = IndexStamp {
            generation: 1,
            model_fingerprint: String::new(),
            dimension: 8,
        };
        let file = |index: &VectorIndex| {
            index.save(&path, &stamp).unwrap();
            std::fs::read(&path).unwrap()
        };
        for metric in [IndexMetric::Cosine, IndexMetric::Euclidean] {
            let options = IndexOptions {
                metric,
                graph_from: usize::MAX,
                lists_from: usize::MAX,
                ..IndexOptions::default()
            };
            let lent = file(&VectorIndex::build(&ids, vectors.view(), &options).unwrap());
            let given = file(&VectorIndex::build_from(&ids, vectors.clone(), &options).unwrap());
            assert!(lent == given, "{metric}");
            let backwards: Vec<Id> = ids.iter().rev().copied().collect();
            let turned = vectors.slice(ndarray::s![..;-1, ..]).to_owned();
            assert!(
                lent == file(&VectorIndex::build_from(&backwards, turned, &options).unwrap()),
                "{metric}"
            );
        }
    }
}
