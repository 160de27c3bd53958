//! Compares a library's index with other indexes of the same vectors: recall, speed, size.

use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use tempfile::tempdir;
use voisin_base::random::Random;
use voisin_base::track::TrackId;
use voisin_base::vector::{dot, make_unit};
use voisin_explore::ExploreError;
use voisin_index::{
    HnswRs, IndexError, IndexOptions, IndexStamp, SearchMode, SearchParams, VectorIndex,
};

use super::engine::preferred_builder;
use super::{Engine, EngineError, LibrarySpace};

/// Neighbours per query.
const K: usize = 10;
/// Repeats of each measurement, in turn with the other indexes; the median counts.
const REPEATS: usize = 5;
/// Most tracks that are held out as queries.
const MOST_QUERIES: usize = 1000;
/// Most comparisons in double precision for the true neighbours.
const MOST_COMPARED: usize = 200_000_000;
/// Widths of a search of `hnsw_rs`; the least with the recall of voisin counts.
const WIDTHS: [usize; 14] = [
    10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024,
];

/// Indexes to compare a library's index with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparedIndex {
    /// An index of `hnsw_rs`, with the same number of links and insertion width as voisin's graph.
    HnswRs,
    /// Comparison with every vector.
    Exact,
}

/// Measurements of an index.
#[derive(Debug, Clone)]
pub struct IndexFigures {
    /// Its name.
    pub index: &'static str,
    /// The search method for a single query.
    pub way: String,
    /// Recall@10 of single queries, against double precision; ties count.
    pub recall: f64,
    /// Recall@10 of queries in one batch.
    pub recall_in_batches: f64,
    /// Single queries per second of CPU time.
    pub queries_per_second: f64,
    /// Queries of a batch per second of CPU time of all threads.
    pub queries_per_second_in_batches: f64,
    /// CPU time of all threads to build it; `None` if there is nothing to build.
    pub build_seconds: Option<f64>,
    /// Bytes of its files.
    pub bytes: Option<u64>,
}

/// Indexes of the same vectors.
#[derive(Debug, Clone)]
pub struct IndexComparison {
    /// Tracks in the indexes.
    pub tracks: usize,
    /// Tracks that were held out of the indexes as queries.
    pub queries: usize,
    /// Dimension of the vectors.
    pub dimension: usize,
    /// Neighbours per query.
    pub k: usize,
    /// The indexes, voisin's first.
    pub indexes: Vec<IndexFigures>,
}

/// An index, and functions that search it and return rows of the matrix.
struct Side<'a> {
    figures: IndexFigures,
    alone: Box<Alone<'a>>,
    together: Box<Together<'a>>,
}

type Alone<'a> = dyn Fn(&[f32]) -> Result<Vec<usize>, EngineError> + 'a;
type Together<'a> = dyn Fn() -> Result<Vec<Vec<usize>>, EngineError> + 'a;

impl Engine {
    /// Builds an index of the library's vectors, and others, without some random tracks, and searches with these.
    ///
    /// - `each`: duration of the measurement of each of an index's two speeds
    #[doc(hidden)]
    pub fn compare_indexes(
        &self,
        against: &[ComparedIndex],
        each: Duration,
    ) -> Result<IndexComparison, EngineError> {
        let all = self.library.vectors()?;
        // One is held out, and at least one neighbour has to be left.
        if all.ids.len() < 2 {
            return Err(EngineError::Explore(ExploreError::TooFew {
                what: "a comparison of indexes",
                needed: 2,
                found: all.ids.len(),
            }));
        }
        let space = LibrarySpace::of(&self.library, &all)?;
        let (vectors, queries) = hold_out(&space.centre_rows(all.values));
        let options = IndexOptions {
            builder: preferred_builder().unwrap_or_default(),
            ..IndexOptions::default()
        };
        compare(&vectors, &queries, &options, against, each)
    }
}

/// Splits the rows into those to index and random ones to search with.
fn hold_out(rows: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
    let n = rows.nrows();
    // At most a tenth of the library, so that the index stays nearly the same.
    let wanted = (n / 10).min(MOST_QUERIES).min(MOST_COMPARED / n.max(1));
    let mut order: Vec<usize> = (0..n).collect();
    // A fixed seed: the same library gives the same queries.
    Random::new(1).shuffle(&mut order);
    let (out, left) = order.split_at_mut(wanted.max(1).min(n));
    // The rest keeps the library's order, in which its index is built.
    left.sort_unstable();
    (rows.select(Axis(0), left), rows.select(Axis(0), out))
}

fn compare(
    vectors: &Array2<f32>,
    queries: &Array2<f32>,
    options: &IndexOptions,
    against: &[ComparedIndex],
    each: Duration,
) -> Result<IndexComparison, EngineError> {
    let (n, dimension) = vectors.dim();
    let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
    let start = ProcessTime::now();
    let index = VectorIndex::build(&ids, vectors.view(), options)?;
    let build_seconds = Some(start.elapsed().as_secs_f64());
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: String::new(),
        dimension,
    };
    let folder = tempdir().map_err(io("making a folder for an"))?;
    let path = folder.path().join("voisin");
    index.save(&path, &stamp)?;
    let bytes = Some(path.metadata().map_err(io("reading"))?.len());
    let stats = index.stats();
    let way = |mode: SearchMode| match mode {
        SearchMode::Hnsw => format!("graph by {}, ef {}", options.builder.name(), stats.ef),
        mode => mode.name().to_owned(),
    };
    let mut unit = queries.clone();
    unit.outer_iter_mut().for_each(|mut row| {
        row.as_slice_mut().map(make_unit);
    });
    let truth = Truth::of(vectors, &unit);
    // Built here and not in the loop below, since the closures of its side borrow it.
    let hnsw = against
        .contains(&ComparedIndex::HnswRs)
        .then(|| {
            let start = ProcessTime::now();
            let hnsw = HnswRs::build(vectors.clone(), options.m, options.ef_construction)?;
            let seconds = start.elapsed().as_secs_f64();
            let bytes = hnsw.dump(folder.path()).map_err(io("writing an"))?;
            Ok::<_, EngineError>((hnsw, seconds, bytes))
        })
        .transpose()?;
    let mut sides = vec![Side::of(
        figures("voisin", way(stats.mode), build_seconds, bytes),
        &index,
        queries,
        SearchMode::Auto,
    )];
    // First, because the width of `hnsw_rs` is chosen by it.
    sides[0].measure_recall(&truth, &unit)?;
    for other in against {
        let side = match (other, &hnsw) {
            (ComparedIndex::HnswRs, Some((hnsw, seconds, bytes))) => {
                // The narrowest search with at least the same recall, because speeds are comparable only
                // at equal recall; otherwise the widest.
                let mut width = WIDTHS[0];
                for wider in WIDTHS {
                    width = wider;
                    let found = rows_of(&unit)
                        .map(|query| Ok(hnsw.search(query, K, width)))
                        .collect::<Result<Vec<_>, EngineError>>()?;
                    if truth.recall(&found) >= sides[0].figures.recall {
                        break;
                    }
                }
                let way = format!("ef {width}, products by {}", hnsw.products());
                let mut side = Side {
                    figures: figures("hnsw_rs", way, Some(*seconds), Some(*bytes)),
                    alone: Box::new(move |query| Ok(hnsw.search(query, K, width))),
                    together: Box::new({
                        let unit = &unit;
                        move || {
                            let rows: Vec<&[f32]> = rows_of(unit).collect();
                            Ok(rows
                                .into_par_iter()
                                .map(|query| hnsw.search(query, K, width))
                                .collect())
                        }
                    }),
                };
                side.measure_recall(&truth, &unit)?;
                side
            }
            (ComparedIndex::Exact, _) => {
                let figures = figures("exact", SearchMode::Exact.name().to_owned(), None, None);
                let mut side = Side::of(figures, &index, queries, SearchMode::Exact);
                side.measure_recall(&truth, &unit)?;
                side
            }
            (ComparedIndex::HnswRs, None) => continue,
        };
        sides.push(side);
    }
    let speeds = in_turns(&sides, &unit, each)?;
    let indexes = sides
        .into_iter()
        .zip(speeds)
        .map(|(side, (alone, together))| IndexFigures {
            queries_per_second: alone,
            queries_per_second_in_batches: together,
            ..side.figures
        });
    Ok(IndexComparison {
        tracks: n,
        queries: queries.nrows(),
        dimension,
        k: K,
        indexes: indexes.collect(),
    })
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> IndexError {
    move |source| IndexError::Io {
        path: std::env::temp_dir(),
        doing,
        source,
    }
}

fn figures(
    index: &'static str,
    way: String,
    build_seconds: Option<f64>,
    bytes: Option<u64>,
) -> IndexFigures {
    IndexFigures {
        index,
        way,
        recall: 0.,
        recall_in_batches: 0.,
        queries_per_second: 0.,
        queries_per_second_in_batches: 0.,
        build_seconds,
        bytes,
    }
}

fn rows_of(matrix: &Array2<f32>) -> impl Iterator<Item = &[f32]> {
    matrix
        .outer_iter()
        .map(|row| row.to_slice().unwrap_or_default())
}

impl<'a> Side<'a> {
    /// A search method of voisin's index.
    fn of(
        figures: IndexFigures,
        index: &'a VectorIndex,
        queries: &'a Array2<f32>,
        mode: SearchMode,
    ) -> Self {
        let params = SearchParams {
            mode,
            ..SearchParams::default()
        };
        let rows = |found: Vec<voisin_index::Neighbor>| {
            found.into_iter().map(|it| it.id.0 as usize).collect()
        };
        Self {
            figures,
            alone: Box::new(move |query| Ok(rows(index.search(query, K, &params)?))),
            together: Box::new(move || {
                let found = index.search_batch(queries.view(), K, &params)?;
                Ok(found.into_iter().map(rows).collect())
            }),
        }
    }

    fn measure_recall(&mut self, truth: &Truth, queries: &Array2<f32>) -> Result<(), EngineError> {
        let alone = rows_of(queries)
            .map(|query| (self.alone)(query))
            .collect::<Result<Vec<_>, _>>()?;
        self.figures.recall = truth.recall(&alone);
        self.figures.recall_in_batches = truth.recall(&(self.together)()?);
        Ok(())
    }
}

/// Queries per second of CPU time, alone and in batches, of each side: medians of repeats in turn.
fn in_turns(
    sides: &[Side<'_>],
    queries: &Array2<f32>,
    each: Duration,
) -> Result<Vec<(f64, f64)>, EngineError> {
    let turn = each / REPEATS as u32;
    let rows: Vec<&[f32]> = rows_of(queries).collect();
    let mut alone = vec![Vec::new(); sides.len()];
    let mut together = vec![Vec::new(); sides.len()];
    // In turn, so that a machine that slows down affects all sides equally.
    for _ in 0..REPEATS {
        for (side, speeds) in sides.iter().zip(&mut alone) {
            let end = Instant::now() + turn;
            // One query at a time runs on this thread alone; a batch, below, on all of them.
            let start = ThreadTime::now();
            let mut answered = 0;
            while answered == 0 || Instant::now() < end {
                (side.alone)(rows[answered % rows.len()])?;
                answered += 1;
            }
            speeds.push(answered as f64 / start.elapsed().as_secs_f64());
        }
        for (side, speeds) in sides.iter().zip(&mut together) {
            let end = Instant::now() + turn;
            let start = ProcessTime::now();
            let mut answered = 0;
            while answered == 0 || Instant::now() < end {
                answered += (side.together)()?.len();
            }
            speeds.push(answered as f64 / start.elapsed().as_secs_f64());
        }
    }
    let median = |mut speeds: Vec<f64>| {
        speeds.sort_unstable_by(f64::total_cmp);
        speeds[REPEATS / 2]
    };
    Ok(alone
        .into_iter()
        .zip(together)
        .map(|(alone, together)| (median(alone), median(together)))
        .collect())
}

/// Cosines of all vectors with each query in double precision, to measure recall.
struct Truth<'a> {
    vectors: &'a Array2<f32>,
    queries: &'a Array2<f32>,
    /// Cosine of the last of the true neighbours.
    last: Vec<f64>,
}

impl<'a> Truth<'a> {
    fn of(vectors: &'a Array2<f32>, queries: &'a Array2<f32>) -> Self {
        let rows: Vec<&[f32]> = rows_of(queries).collect();
        let last = rows.par_iter().map(|query| {
            let query = in_double(query);
            let mut cosines: Vec<f64> = rows_of(vectors).map(|row| cosine(row, &query)).collect();
            let at = K.min(cosines.len()) - 1;
            // Only the last of the true neighbours is needed, so nothing is sorted.
            *cosines.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1
        });
        Self {
            vectors,
            queries,
            last: last.collect(),
        }
    }

    /// Share of the true neighbours that was found; a track as near as the last of them counts.
    fn recall(&self, found: &[Vec<usize>]) -> f64 {
        /// Differences of cosines below this are rounding.
        const TIE: f64 = 1e-9;
        let right = found.iter().zip(rows_of(self.queries)).zip(&self.last);
        let right = right.map(|((found, query), last)| {
            let query = in_double(query);
            let row = |row: &&usize| {
                self.vectors
                    .row(**row)
                    .to_slice()
                    .is_some_and(|row| cosine(row, &query) >= last - TIE)
            };
            found.iter().filter(row).count()
        });
        let wanted = K.min(self.vectors.nrows()) * self.last.len();
        right.sum::<usize>() as f64 / wanted as f64
    }
}

fn in_double(vector: &[f32]) -> Vec<f64> {
    vector.iter().map(|&x| f64::from(x)).collect()
}

/// Cosine of two vectors times the length of the second.
fn cosine(row: &[f32], query: &[f64]) -> f64 {
    let row = in_double(row);
    dot(&row, query) / dot(&row, &row).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random vectors around 30 centres.
    fn clustered(n: usize, dimension: usize) -> Array2<f32> {
        let mut random = Random::new(5);
        let centres = Array2::from_shape_simple_fn((30, dimension), || random.f32() - 0.5);
        Array2::from_shape_fn((n, dimension), |(row, at)| {
            centres[[row % 30, at]] + 0.3 * (random.f32() - 0.5)
        })
    }

    #[test]
    fn a_library_of_one_track_cannot_be_compared() {
        use voisin_library::testing::{library, track};

        let dir = tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        library.insert_track(&track(1, vec![0.6, 0.8], 0)).unwrap();
        let engine = Engine::from_library(library);
        let refused = engine.compare_indexes(&[ComparedIndex::Exact], Duration::ZERO);
        assert!(matches!(
            refused,
            Err(EngineError::Explore(ExploreError::TooFew { found: 1, .. }))
        ));
    }

    #[test]
    fn held_out_rows_are_not_in_the_index() {
        let rows = Array2::from_shape_fn((57, 3), |(row, at)| (3 * row + at) as f32);
        let (left, out) = hold_out(&rows);
        assert_eq!((left.nrows(), out.nrows()), (52, 5));
        let mut all: Vec<Vec<f32>> = left
            .outer_iter()
            .chain(out.outer_iter())
            .map(|row| row.to_vec())
            .collect();
        assert!(left.outer_iter().is_sorted_by(|a, b| a[0] < b[0]));
        all.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(
            all,
            rows.outer_iter()
                .map(|row| row.to_vec())
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn indexes_are_compared_at_equal_recall() {
        let (vectors, queries) = hold_out(&clustered(1200, 48));
        let options = IndexOptions {
            graph_from: 0,
            lists_from: 0,
            ..IndexOptions::default()
        };
        let against = [ComparedIndex::HnswRs, ComparedIndex::Exact];
        let each = Duration::from_millis(20);
        let compared = compare(&vectors, &queries, &options, &against, each).unwrap();
        assert_eq!((compared.tracks, compared.queries), (1080, 120));
        let [voisin, hnsw, exact] = &compared.indexes[..] else {
            panic!("{compared:?}")
        };
        assert_eq!(
            [voisin.index, hnsw.index, exact.index],
            ["voisin", "hnsw_rs", "exact"]
        );
        assert!(
            exact.recall > 0.9999 && exact.recall_in_batches > 0.9999,
            "{exact:?}"
        );
        assert!(
            voisin.recall > 0.98 && hnsw.recall >= voisin.recall,
            "{compared:?}"
        );
        assert!(
            compared
                .indexes
                .iter()
                .all(|it| it.queries_per_second > 0. && it.queries_per_second_in_batches > 0.)
        );
        // Vectors of 32 bits, and links.
        assert!(hnsw.bytes > Some(1080 * 48 * 4) && voisin.bytes > Some(1080 * 48 * 2));
        assert!(voisin.build_seconds > Some(0.) && exact.build_seconds.is_none());
    }

    #[test]
    fn recall_counts_ties_and_true_neighbours() {
        // Twenty at one angle, and others farther away.
        let vectors = Array2::from_shape_fn((40, 2), |(row, at)| {
            let angle = if row < 20 { 0.1 } else { 0.1 * row as f32 };
            [angle.cos(), angle.sin()][at]
        });
        let query = Array2::from_shape_vec((1, 2), vec![1., 0.]).unwrap();
        let truth = Truth::of(&vectors, &query);
        assert_eq!(truth.recall(&[(10..20).collect()]), 1.);
        assert_eq!(truth.recall(&[(15..25).collect()]), 0.5);
        assert_eq!(truth.recall(&[vec![0, 1]]), 0.2);
    }
}
