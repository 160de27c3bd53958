//! Indexes without vectors: residuals of the short codes in a few bits, and a reader of the
//! vectors.
//!
//! A vector's short code encodes its projection on 64, 128 or 256 directions. The residual is
//! stored at 0, 1, 2 or 4 bits a component (see [`quantise`]). A search adds the product with the
//! residual to the short code's score and reads only the best vectors.

use std::cell::RefCell;
use std::sync::Arc;

use rayon::prelude::*;

use voisin_base::track::Id;

use super::IndexError;
use super::codes::{CodeSource, Plane, PreparedQuery};
use super::directions::Directions;
use super::metric::Sphere;
use super::quantise::{quantise, row_bytes, unpack};
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::short::SHORT;

/// Valid bits of a component; `None`: vectors are in the index.
pub(crate) const RESIDUAL_BITS: &[Option<usize>] = &[None, Some(0), Some(1), Some(2), Some(4)];

thread_local! {
    static ROWS: RefCell<Vec<u8>> = RefCell::default();
}

/// Residuals of the vectors from their short codes, one row per slot.
pub(crate) struct Residuals {
    /// Bits of a component; 0: no residuals.
    pub(crate) bits: usize,
    /// Components of a vector, padded.
    pub(crate) width: usize,
    /// `[n, row_bytes]`, as [`quantise`] writes them.
    pub(crate) rows: Plane,
    /// Values of one step.
    pub(crate) scales: Vec<f32>,
}

impl Residuals {
    /// Computes those of all vectors, in parallel on rayon's current pool; the result does not
    /// depend on its size.
    ///
    /// - `shorts`: the short code of each slot, with its factor and offset
    pub(crate) fn build(
        source: CodeSource<'_>,
        directions: &Directions,
        shorts: impl FnOnce() -> Vec<([u8; SHORT], f32, f32)>,
        bits: usize,
    ) -> Self {
        let n = source.codes.len();
        let width = source.codes.width;
        let step = row_bytes(width, bits);
        if bits == 0 {
            return Self {
                bits,
                width,
                rows: Plane::zeroed(0),
                scales: Vec::new(),
            };
        }
        // Converted to floats once, as every vector uses all of them.
        let rows_of: Vec<f32> = directions
            .rows
            .plane()
            .iter()
            .map(|&x| f32::from((x ^ 0x80) as i8) * directions.step)
            .collect();
        let shorts = shorts();
        let mut rows = Plane::zeroed(n * step);
        let mut scales = vec![0_f32; n];
        let write = |left: &mut Vec<f32>, (slot, (row, scale)): (usize, (&mut [u8], &mut f32))| {
            let steps = source.codes.meta[slot].scale / 254.;
            let high = |&hi: &u8| 254 * (i32::from(hi) - 128);
            let hi = source.codes.hi_row(slot).iter().map(high);
            left.clear();
            if source.codec.space.is_euclidean() {
                left.extend(hi.map(|x| x as f32 * steps));
            } else {
                let lo = source.codes.lo_row(slot).iter();
                left.extend(
                    hi.zip(lo)
                        .map(|(x, &lo)| (x + i32::from(lo) - 128) as f32 * steps),
                );
            }
            let (code, factor, _) = &shorts[slot];
            // The decoded vector is subtracted, so that the residual corrects rounding as well as
            // missing directions.
            for (along, direction) in directions
                .decode(code)
                .into_iter()
                .zip(rows_of.chunks_exact(width))
            {
                let along = f32::from(along) * factor;
                left.iter_mut()
                    .zip(direction)
                    .for_each(|(x, d)| *x -= along * d);
            }
            // Padding is zero and would lower the scale, so it is left out.
            *scale = quantise(&left[..source.codec.dimension], bits, row);
        };
        let rows_and_scales = rows.as_mut()[..n * step]
            .par_chunks_exact_mut(step)
            .zip(&mut scales);
        rows_and_scales.enumerate().for_each_init(Vec::new, write);
        Self {
            bits,
            width,
            rows,
            scales,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() + 4 * self.scales.len()
    }

    /// Adds the query's products with the residuals to the scores of candidates by short code.
    pub(crate) fn add(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        products: &mut Vec<i32>,
        slots: &mut Vec<u32>,
        found: &mut [Scored],
    ) {
        if self.bits > 0 {
            ROWS.with_borrow_mut(|rows| {
                rows.clear();
                rows.resize(found.len() * self.width, 0);
                let step = row_bytes(self.width, self.bits);
                // Prefetched together before any is read.
                let parts = || {
                    found.iter().map(|candidate| {
                        candidate.name() as usize * step..(candidate.name() as usize + 1) * step
                    })
                };
                self.rows.expect(parts());
                for (to, part) in rows.chunks_exact_mut(self.width).zip(parts()) {
                    unpack(self.rows.part(part), self.bits, to);
                }
                // Unpacked to bytes for the 8-bit kernel.
                slots.clear();
                slots.extend(0..found.len() as u32);
                isa.dot8_list(rows, slots, &query.code, products);
            });
            for (candidate, &product) in found.iter_mut().zip(products.iter()) {
                let left = product as f32 * (query.scale * self.scales[candidate.name() as usize]);
                *candidate = Scored::new(candidate.score() + left, candidate.name());
            }
        }
        // Only the query's part is added; offsets of vectors are in the scores already.
        found.iter_mut().for_each(|candidate| {
            *candidate = Scored::new(candidate.score() + query.offset, candidate.name());
        });
    }
}

/// Writes the vectors of some items, as given to the index, concatenated.
pub(crate) type VectorReader = dyn Fn(&[Id], &mut [f32]) -> std::io::Result<()> + Send + Sync;

/// Reads and checks the vectors of some items, concatenated.
pub(crate) fn read(
    reader: Option<&Arc<VectorReader>>,
    space: &Sphere,
    tracks: &[Id],
) -> Result<Vec<f32>, IndexError> {
    let reader = reader.ok_or(IndexError::NoVectors)?;
    let mut vectors = vec![0_f32; tracks.len() * space.dimension];
    reader(tracks, &mut vectors).map_err(|source| IndexError::Reading { source })?;
    let mut pairs = tracks.iter().zip(vectors.chunks_exact(space.dimension));
    // A caller's function is not trusted: its vectors are checked like any others.
    pairs.try_for_each(|(&track, vector)| space.check(Some(track), vector))?;
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::{Array2, s};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        IndexMetric, IndexOptions, IndexStamp, Neighbor, SearchMode, SearchParams, VectorIndex,
    };

    const BITS: [usize; 4] = [0, 1, 2, 4];

    /// Vectors in groups that differ in more than 64 directions.
    fn grouped(n: usize, dimension: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(3);
        let centres = Array2::from_shape_simple_fn((31, dimension), || rng.random::<f32>() - 0.4);
        Array2::from_shape_fn((n, dimension), |(row, at)| {
            centres[(row % 31, at)] + rng.random::<f32>() - 0.5
        })
    }

    fn ids(n: i64) -> Vec<Id> {
        (0..n).map(|id| Id(2 * id + 1)).collect()
    }

    fn options(residual_bits: Option<usize>, metric: IndexMetric) -> IndexOptions {
        IndexOptions {
            residual_bits,
            metric,
            lists_from: 0,
            // No search here walks a graph.
            graph_from: usize::MAX,
            ..IndexOptions::default()
        }
    }

    fn reader(vectors: &Array2<f32>) -> Arc<VectorReader> {
        let vectors = vectors.clone();
        Arc::new(move |tracks, out| {
            for (track, out) in tracks.iter().zip(out.chunks_exact_mut(vectors.ncols())) {
                out.copy_from_slice(&vectors.row((track.0 / 2) as usize).to_vec());
            }
            Ok(())
        })
    }

    fn built(vectors: &Array2<f32>, bits: Option<usize>, metric: IndexMetric) -> VectorIndex {
        let ids = ids(vectors.nrows() as i64);
        let mut index = VectorIndex::build(&ids, vectors.view(), &options(bits, metric)).unwrap();
        index.read_vectors_with(reader(vectors));
        index
    }

    fn saved(index: &VectorIndex, path: &Path) -> u64 {
        let stamp = IndexStamp {
            generation: 1,
            model_fingerprint: "x".into(),
            dimension: index.dimension(),
        };
        index.save(path, &stamp).unwrap();
        std::fs::metadata(path).unwrap().len()
    }

    fn shared(found: &[Vec<Neighbor>], truth: &[Vec<Neighbor>]) -> f64 {
        let pairs = found.iter().zip(truth);
        let is_of = |neighbor: &Neighbor, truth: &[Neighbor]| {
            truth.iter().any(|other| other.id == neighbor.id)
        };
        let hits = pairs.map(|(found, truth)| {
            found
                .iter()
                .filter(|neighbor| is_of(neighbor, truth))
                .count()
        });
        hits.sum::<usize>() as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
    }

    #[test]
    fn an_index_without_vectors_finds_the_same_as_one_with_them() {
        let vectors = grouped(3000, 200);
        let queries = vectors.slice(s![..300;3, ..]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        for metric in IndexMetric::ALL {
            let whole = built(&vectors, None, metric);
            let exact = SearchParams {
                mode: SearchMode::Exact,
                ..SearchParams::default()
            };
            let truth = whole.search_batch(queries, 10, &exact).unwrap();
            let mut before = saved(&whole, &path);
            for bits in BITS.into_iter().rev() {
                let index = built(&vectors, Some(bits), metric);
                let bytes = saved(&index, &path);
                // A row, and padding.
                assert!(bytes < before, "{bits} bits: {bytes} bytes");
                before = bytes;
                let (mut opened, _) = VectorIndex::open(&path).unwrap();
                assert!(matches!(
                    opened.search_batch(queries, 10, &exact),
                    Err(IndexError::NoVectors)
                ));
                opened.read_vectors_with(reader(&vectors));
                let all = opened.search_batch(queries, 10, &exact).unwrap();
                assert!(shared(&all, &truth) > 0.999, "{metric}, {bits} bits");
                for (found, truth) in all.iter().flatten().zip(truth.iter().flatten()) {
                    let error = (found.similarity - truth.similarity).abs()
                        / truth.similarity.abs().max(1.);
                    assert!(error < 3e-4, "{metric}, {bits} bits: {found:?} {truth:?}");
                }
                let found = opened
                    .search_batch(queries, 10, &SearchParams::default())
                    .unwrap();
                let recall = shared(&found, &truth);
                assert!(recall >= 0.98, "{metric}, {bits} bits: {recall}");
                let alone = opened
                    .search(&queries.row(7).to_vec(), 10, &SearchParams::default())
                    .unwrap();
                assert_eq!(alone, found[7], "alone as in a batch");
                for isa in Isa::available() {
                    opened.isa = isa;
                    let again = opened
                        .search_batch(queries, 10, &SearchParams::default())
                        .unwrap();
                    assert!(again == found, "{metric}, {bits} bits, {isa:?}");
                }
                let summary = VectorIndex::summary(&path).unwrap();
                assert_eq!(
                    (summary.residual_bits, summary.mode),
                    (Some(bits), SearchMode::Lists)
                );
                assert_eq!((summary.bytes, summary.resident), (bytes, bytes));
            }
        }
    }

    #[test]
    fn changes_and_filters_give_the_results_of_comparing_all() {
        let vectors = grouped(6000, 100);
        let metric = IndexMetric::Cosine;
        let gone: Vec<Id> = (0..6000).step_by(7).map(|row| Id(2 * row + 1)).collect();
        let mut whole = built(&vectors, None, metric);
        assert!(gone.iter().all(|&id| whole.remove(id)));
        for bits in BITS {
            let first = vectors.slice(s![..5900, ..]);
            let mut index =
                VectorIndex::build(&ids(5900), first, &options(Some(bits), metric)).unwrap();
            index.read_vectors_with(reader(&vectors));
            for row in 5900..6000_i64 {
                index
                    .insert(Id(2 * row + 1), &vectors.row(row as usize).to_vec())
                    .unwrap();
            }
            assert!(gone.iter().all(|&id| index.remove(id)));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index.bin");
            saved(&index, &path);
            let (mut index, _) = VectorIndex::open(&path).unwrap();
            index.read_vectors_with(reader(&vectors));
            let queries = vectors.slice(s![..400;8, ..]);
            // Random items; items far from the query; few; very few.
            let filters: [&(dyn Fn(Id) -> bool + Sync); 5] = [
                &|_| true,
                &|track| track.0 % 5 != 1,
                &|track| track.0 / 2 % 31 > 20,
                &|track| track.0 % 501 == 1,
                &|track| track.0 < 9,
            ];
            for (at, filter) in filters.into_iter().enumerate() {
                let params = SearchParams {
                    filter: Some(filter),
                    ..SearchParams::default()
                };
                let exact = SearchParams {
                    mode: SearchMode::Exact,
                    ..params
                };
                let truth = whole.search_batch(queries, 10, &exact).unwrap();
                let found = index.search_batch(queries, 10, &params).unwrap();
                assert!(
                    shared(&found, &truth) >= 0.98,
                    "{bits} bits, filter {at}: {}",
                    shared(&found, &truth)
                );
                let all = shared(&index.search_batch(queries, 10, &exact).unwrap(), &truth);
                assert!(all > 0.999, "{bits} bits, filter {at}: {all}");
            }
            for track in [Id(31), Id(2 * 5951 + 1)] {
                let pair = index
                    .vector(track)
                    .unwrap()
                    .into_iter()
                    .zip(whole.vector(track).unwrap());
                assert!(pair.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
                let vector = vectors.row((track.0 / 2) as usize).to_vec();
                let unit = voisin_base::vector::norm(&vector) as f32;
                let mut vector: Vec<f32> = vector.iter().map(|x| x / unit).collect();
                assert!(
                    index.is_of(track, &vector).unwrap() && whole.is_of(track, &vector).unwrap()
                );
                vector[3] += 0.1;
                assert!(
                    !index.is_of(track, &vector).unwrap() && !whole.is_of(track, &vector).unwrap()
                );
            }
            let check = index.self_check(50).unwrap();
            assert!(
                check.lost.is_empty() && check.recall_at_10 > 0.98,
                "{bits} bits: {check:?}"
            );
            let near = index.knn_graph(5, &SearchParams::default()).unwrap();
            assert_eq!(
                near[40],
                index
                    .search_id(index.ids()[40], 5, &SearchParams::default())
                    .unwrap()
            );
        }
    }

    #[test]
    fn unreadable_vectors_are_an_error_and_read_ones_are_checked() {
        let vectors = grouped(2000, 70);
        let mut index = built(&vectors, Some(1), IndexMetric::Cosine);
        let ask = |index: &VectorIndex| index.search(&[1.; 70], 10, &SearchParams::default());
        assert_eq!(ask(&index).unwrap().len(), 10);
        index.read_vectors_with(Arc::new(|_, _| Err(std::io::Error::other("locked"))));
        assert!(
            matches!(ask(&index), Err(IndexError::Reading { source }) if source.to_string() == "locked")
        );
        assert!(index.vector(Id(1)).is_none() && index.vectors().is_err());
        index.read_vectors_with(Arc::new(|_, vectors| {
            vectors.fill(f32::NAN);
            Ok(())
        }));
        assert!(matches!(ask(&index), Err(IndexError::NotFinite { .. })));
        // A reader that searches itself.
        let inner = built(&vectors, Some(0), IndexMetric::Cosine);
        let read = reader(&vectors);
        index.read_vectors_with(Arc::new(move |tracks, out| {
            inner
                .search(&[1.; 70], 3, &SearchParams::default())
                .map_err(std::io::Error::other)?;
            read(tracks, out)
        }));
        assert_eq!(ask(&index).unwrap().len(), 10);
        for bad in [3, 16] {
            let options = IndexOptions {
                residual_bits: Some(bad),
                ..IndexOptions::default()
            };
            let refused = VectorIndex::build(&ids(2000), vectors.view(), &options).err();
            assert!(
                matches!(
                    refused,
                    Some(IndexError::Option {
                        name: "residual_bits",
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
        let options = IndexOptions {
            graph_from: 0,
            ..options(Some(1), IndexMetric::Cosine)
        };
        let without = VectorIndex::build(&ids(2000), vectors.view(), &options).unwrap();
        assert!(!without.has_graph() && !without.needs_rebuild());
    }
}
