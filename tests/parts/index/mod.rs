//! `VectorIndex` as its users see it: against brute force, by properties, and (`files`) saved, outdated and damaged.

// A recall of 1 is a ratio of equal numbers; helpers of tests unwrap; rows are numbers and indices.
#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    clippy::needless_range_loop,
    clippy::needless_pass_by_value
)]

mod files;

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView1, s};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_base::track::TrackId;
use voisin_index::{
    GraphBuilder, IndexError, IndexOptions, IndexStamp, Neighbor, SearchParams, VectorIndex,
};

/// Unit vectors around `clusters` centres, off the origin like embeddings.
fn clustered(seed: u64, n: usize, dimension: usize, clusters: usize) -> Array2<f32> {
    let mut rng = StdRng::seed_from_u64(99);
    let centres = Array2::from_shape_simple_fn((clusters, dimension), || 0.6 + normal(&mut rng));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut vectors = Array2::from_shape_simple_fn((n, dimension), || 0.7 * normal(&mut rng));
    for (i, mut vector) in vectors.outer_iter_mut().enumerate() {
        vector += &centres.row(i * 7919 % clusters);
        let norm = vector.dot(&vector).sqrt();
        vector /= norm;
    }
    vectors
}

fn normal(rng: &mut StdRng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.
}

fn ids(n: usize) -> Vec<TrackId> {
    (0..n as i64).map(|i| TrackId(3 * i + 5)).collect()
}

/// Lists and a graph for any number of tracks.
fn graph_options() -> IndexOptions {
    IndexOptions {
        graph_from: 0,
        ..IndexOptions::default()
    }
}

fn exact() -> SearchParams<'static> {
    SearchParams {
        exact: true,
        ..SearchParams::default()
    }
}

/// The answers of single searches, and those of a batch.
fn both(
    index: &VectorIndex,
    queries: &Array2<f32>,
    k: usize,
    params: &SearchParams<'_>,
) -> [Vec<Vec<Neighbor>>; 2] {
    let alone = queries.outer_iter();
    let alone = alone.map(|query| index.search(&query.to_vec(), k, params).unwrap());
    let batch = index.search_batch(queries.view(), k, params).unwrap();
    [alone.collect(), batch]
}

/// Mean recall of some answers.
fn mean_recall(
    found: &[Vec<Neighbor>],
    (ids, vectors): (&[TrackId], &Array2<f32>),
    queries: &Array2<f32>,
) -> f64 {
    let pairs = found.iter().zip(queries.outer_iter());
    let recalls = pairs.map(|(found, query)| {
        assert!(is_sorted_and_unique(found));
        recall(found, &brute(ids, vectors, query), 10)
    });
    recalls.sum::<f64>() / found.len() as f64
}

/// All similarities in 64-bit arithmetic, nearest first.
fn brute(
    ids: &[TrackId],
    vectors: &Array2<f32>,
    query: ArrayView1<'_, f32>,
) -> Vec<(f64, TrackId)> {
    let dot = |row: ArrayView1<'_, f32>| {
        row.iter()
            .zip(query)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    let mut all: Vec<(f64, TrackId)> = vectors
        .outer_iter()
        .map(dot)
        .zip(ids.iter().copied())
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all
}

/// Recall of the `k` best; results as near as the last of them count.
fn recall(found: &[Neighbor], truth: &[(f64, TrackId)], k: usize) -> f64 {
    let k = k.min(truth.len());
    if k == 0 {
        return 1.;
    }
    let last = truth[k - 1].0 - 5e-5;
    let near = |neighbor: &&Neighbor| truth.iter().any(|(s, id)| *id == neighbor.id && *s >= last);
    found.iter().filter(near).count() as f64 / k as f64
}

fn is_sorted_and_unique(found: &[Neighbor]) -> bool {
    let ordered = found.is_sorted_by(|a, b| {
        a.similarity > b.similarity || a.similarity == b.similarity && a.id < b.id
    });
    let mut tracks: Vec<TrackId> = found.iter().map(|neighbor| neighbor.id).collect();
    tracks.sort_unstable();
    tracks.dedup();
    ordered && tracks.len() == found.len()
}

/// A new index of the same tracks, without a tail.
fn rebuilt(index: &VectorIndex, options: &IndexOptions) -> VectorIndex {
    let (ids, vectors) = index.vectors();
    VectorIndex::build(&ids, vectors.view(), options).unwrap()
}

fn stamp(dimension: usize) -> IndexStamp {
    IndexStamp {
        generation: 7,
        model_fingerprint: "3f2a".into(),
        dimension,
    }
}

#[test]
fn exact_search_is_brute_force() {
    for (n, dimension) in [(1, 2), (5, 3), (700, 200), (900, 512)] {
        let ids = ids(n);
        let vectors = clustered(1, n, dimension, 9.min(n));
        let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
        for query in clustered(2, 20, dimension, 9.min(n)).outer_iter() {
            let found = index.search(&query.to_vec(), 10, &exact()).unwrap();
            let truth = brute(&ids, &vectors, query);
            assert_eq!(found.len(), 10.min(n));
            assert!(is_sorted_and_unique(&found));
            for (neighbor, (similarity, _)) in found.iter().zip(&truth) {
                assert!(
                    (f64::from(neighbor.similarity) - similarity).abs() < 5e-5,
                    "{neighbor:?} {similarity}"
                );
            }
            assert_eq!(recall(&found, &truth, 10), 1.);
        }
    }
}

#[test]
fn every_track_finds_itself_and_the_measured_recall_holds() {
    let n = 6000;
    let dimension = 96;
    let ids = ids(n);
    let vectors = clustered(3, n, dimension, 40);
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let check = index.self_check(300).unwrap();
    assert_eq!(check.lost, []);
    assert!(check.recall_at_10 >= 0.99, "{check:?}");
    let queries = clustered(4, 100, dimension, 40);
    for found in both(&index, &queries, 10, &SearchParams::default()) {
        assert!(found.iter().all(|found| found.len() == 10));
        let recall = mean_recall(&found, (&ids, &vectors), &queries);
        assert!(recall >= 0.99, "{recall}");
    }
    let some: Vec<usize> = (0..n).step_by(500).collect();
    let own = vectors.select(ndarray::Axis(0), &some);
    for found in both(&index, &own, 1, &SearchParams::default()) {
        for (found, &row) in found.iter().zip(&some) {
            assert_eq!(found[0].id, ids[row]);
            assert!((found[0].similarity - 1.).abs() < 1e-5);
        }
    }
    let stats = index.stats();
    assert_eq!((stats.items, stats.tail), (n, 0));
    let stated = stats.recall.unwrap();
    assert!(
        stats.lists.unwrap() * 3 < stats.list_count && stated >= 0.99,
        "{stats:?}"
    );
}

#[test]
fn filters_apply_at_every_selectivity() {
    let n = 8000;
    let dimension = 64;
    let ids = ids(n);
    let vectors = clustered(5, n, dimension, 30);
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let queries = clustered(6, 50, dimension, 30);
    for every in [2, 10, 100, 1000] {
        let filter = move |track: TrackId| track.0 % every == 0;
        let (few, rows): (Vec<TrackId>, Vec<usize>) = ids
            .iter()
            .enumerate()
            .filter(|(_, id)| filter(**id))
            .map(|(row, id)| (*id, row))
            .unzip();
        let kept = vectors.select(ndarray::Axis(0), &rows);
        let subset = index.subset_of(&few);
        assert_eq!(subset.len(), few.len());
        let params = SearchParams {
            subset: Some(&subset),
            ..SearchParams::default()
        };
        for found in both(&index, &queries, 10, &params) {
            let passes = |found: &Neighbor| filter(found.id);
            assert!(found.iter().flatten().all(passes), "1 in {every}");
            assert!(found.iter().all(|found| found.len() == 10.min(few.len())));
            let recall = mean_recall(&found, (&few, &kept), &queries);
            assert_eq!(recall, 1., "1 in {every}");
        }
    }
}

#[test]
fn removed_tracks_leave_no_ghosts_and_pieces_equal_the_whole() {
    let n = 3000;
    let dimension = 64;
    let ids = ids(n);
    let vectors = clustered(7, n, dimension, 20);
    let first = n - 400;
    let mut index = VectorIndex::build(
        &ids[..first],
        vectors.slice(s![..first, ..]),
        &graph_options(),
    )
    .unwrap();
    for row in first..n {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    let again = index.insert(ids[0], &vectors.row(0).to_vec());
    assert!(matches!(again, Err(IndexError::Duplicate(id)) if id == ids[0]));
    let queries = clustered(8, 50, dimension, 20);
    let worst_recall = |index: &VectorIndex, ids: &[TrackId], vectors: &Array2<f32>| {
        let found = both(index, &queries, 10, &SearchParams::default());
        let recalls = found.map(|found| mean_recall(&found, (ids, vectors), &queries));
        recalls[0].min(recalls[1])
    };
    assert!(worst_recall(&index, &ids, &vectors) >= 0.99);

    let gone = |row: usize| row.is_multiple_of(3);
    for row in (0..n).filter(|&row| gone(row)) {
        assert!(index.remove(ids[row]));
        assert!(!index.remove(ids[row]) && !index.contains(ids[row]));
    }
    let rows: Vec<usize> = (0..n).filter(|&row| !gone(row)).collect();
    let left: Vec<TrackId> = rows.iter().map(|&row| ids[row]).collect();
    let kept = vectors.select(ndarray::Axis(0), &rows);
    assert_eq!(index.ids(), left);
    for index in [&index, &rebuilt(&index, &graph_options())] {
        assert_eq!(index.len(), left.len());
        let some: Vec<usize> = (0..n).step_by(7).collect();
        let own = vectors.select(ndarray::Axis(0), &some);
        for params in [SearchParams::default(), exact()] {
            for found in both(index, &own, 20, &params) {
                assert!(found.iter().all(|found| found.len() == 20));
                let is_left = |found: &Neighbor| left.binary_search(&found.id).is_ok();
                assert!(found.iter().flatten().all(is_left));
            }
        }
        assert!(worst_recall(index, &left, &kept) >= 0.99);
        assert_eq!(index.self_check(10).unwrap().lost, []);
    }
    // A removed track can come back.
    index.insert(ids[0], &vectors.row(0).to_vec()).unwrap();
    let found = index
        .search(&vectors.row(0).to_vec(), 1, &SearchParams::default())
        .unwrap();
    assert_eq!(found[0].id, ids[0]);
}

#[test]
fn one_thread_and_one_seed_give_one_index_by_hnsw_rs() {
    let ids = ids(1500);
    let vectors = clustered(9, 1500, 48, 10);
    let options = IndexOptions {
        builder: GraphBuilder::HnswRs,
        ..graph_options()
    };
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let build = |name: &str| {
        let path = folder.path().join(name);
        let index = pool
            .install(|| VectorIndex::build(&ids, vectors.view(), &options))
            .unwrap();
        index.save(&path, &stamp(48)).unwrap();
        std::fs::read(&path).unwrap()
    };
    assert!(build("a.bin") == build("b.bin"));
}

#[test]
fn lists_and_graph_are_the_same_bytes_on_any_thread_count() {
    let ids = ids(2500);
    let vectors = clustered(9, 2500, 72, 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = graph_options();
    let build = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let index = pool
            .install(|| VectorIndex::build(&ids, vectors.view(), &options))
            .unwrap();
        let _ = std::fs::remove_file(&path);
        index.save(&path, &stamp(72)).unwrap();
        std::fs::read(&path).unwrap()
    };
    let one = build(1);
    assert!(one == build(2) && one == build(5));
}

/// At each width, the graph from lists has the recall of the one by `hnsw_rs`.
#[test]
fn a_graph_from_lists_matches_the_recall_of_hnsw_rs() {
    let n = 6000;
    let dimension = 96;
    let ids = ids(n);
    let vectors = clustered(31, n, dimension, 40);
    let queries = clustered(32, 100, dimension, 40);
    let found = |builder: GraphBuilder| {
        let options = IndexOptions {
            builder,
            ..graph_options()
        };
        let index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        [10, 40, 160].map(|width| {
            let params = SearchParams {
                width: Some(width),
                ..SearchParams::default()
            };
            let [walks, _] = both(&index, &queries, 10, &params);
            mean_recall(&walks, (&ids, &vectors), &queries)
        })
    };
    let from_lists = found(GraphBuilder::Lists);
    let reference = found(GraphBuilder::HnswRs);
    assert!(
        from_lists
            .iter()
            .zip(&reference)
            .all(|(from_lists, reference)| *from_lists > reference - 0.01),
        "{from_lists:?} {reference:?}"
    );
    assert!(
        from_lists.is_sorted() && from_lists[0] < from_lists[2] && from_lists[2] > 0.995,
        "{from_lists:?}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn batches_answer_as_single_searches_do() {
    let n = 4000;
    let dimension = 80;
    let ids = ids(n);
    let vectors = clustered(21, n, dimension, 30);
    let mut index = VectorIndex::build(
        &ids[..3900],
        vectors.slice(s![..3900, ..]),
        &graph_options(),
    )
    .unwrap();
    for row in 3900..n {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    (0..n)
        .step_by(9)
        .for_each(|row| assert!(index.remove(ids[row])));
    let queries = clustered(22, 150, dimension, 30);
    let some: Vec<TrackId> = ids.iter().copied().filter(|id| id.0 % 4 != 0).collect();
    let subset = index.subset_of(&some);
    let filtered = SearchParams {
        subset: Some(&subset),
        ..SearchParams::default()
    };
    for k in [1, 10, 70, 5000] {
        for params in [exact(), filtered] {
            let [alone, batch] = both(&index, &queries, k, &params);
            assert_eq!(alone, batch, "{k}");
        }
        let truth = index.search_batch(queries.view(), k, &exact()).unwrap();
        for found in both(&index, &queries, k, &SearchParams::default()) {
            let pairs = found.iter().zip(&truth);
            let hits = pairs.map(|(found, truth)| {
                let is_there = |one: &&Neighbor| truth.contains(one);
                found.iter().filter(is_there).count() as f64 / truth.len() as f64
            });
            assert!(hits.sum::<f64>() / 150. > 0.985, "{k}");
        }
    }
    for (track, found) in index
        .ids()
        .iter()
        .zip(index.knn_graph(7, &exact()).unwrap())
    {
        let query = index.vector(*track).unwrap();
        let mut alone = index.search(&query, 8, &exact()).unwrap();
        alone.retain(|neighbor| neighbor.id != *track);
        let ids = |found: &[Neighbor]| found.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&alone[..7]), "{track}");
    }
    let nothing = index.subset_of(&[]);
    let none = SearchParams {
        subset: Some(&nothing),
        ..SearchParams::default()
    };
    assert!(
        both(&index, &queries, 3, &none)
            .iter()
            .flatten()
            .all(Vec::is_empty)
    );
    let empty = queries.slice(s![..0, ..]);
    assert!(index.search_batch(empty, 3, &none).unwrap().is_empty());
}

#[test]
fn small_and_odd_indexes_answer() {
    let none =
        VectorIndex::build(&[], Array2::<f32>::zeros((0, 8)).view(), &graph_options()).unwrap();
    let query = clustered(1, 1, 8, 1).row(0).to_vec();
    for params in [SearchParams::default(), exact()] {
        assert_eq!(none.search(&query, 10, &params).unwrap(), []);
    }
    assert_eq!(none.self_check(5).unwrap().items, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    none.save(&path, &stamp(8)).unwrap();
    assert!(VectorIndex::load(&path, &stamp(8)).unwrap().is_empty());

    // From nothing, one by one.
    let mut grown = none;
    let some = ids(300);
    let vectors = clustered(2, 300, 8, 3);
    for (id, vector) in some.iter().zip(vectors.outer_iter()) {
        grown.insert(*id, &vector.to_vec()).unwrap();
    }
    assert_eq!(
        grown
            .search(&query, 1000, &SearchParams::default())
            .unwrap()
            .len(),
        300
    );
    assert_eq!(
        grown.search(&query, 0, &SearchParams::default()).unwrap(),
        []
    );
    assert!(grown.needs_rebuild());
    assert_eq!(rebuilt(&grown, &IndexOptions::default()).len(), 300);

    // A single track, with a graph of one point.
    let one = VectorIndex::build(&some[..1], vectors.slice(s![..1, ..]), &graph_options()).unwrap();
    assert_eq!(
        one.search(&query, 10, &SearchParams::default()).unwrap()[0].id,
        some[0]
    );

    // Four hundred copies of one vector among others: all are found, lowest ids first.
    let mut many = clustered(3, 600, 8, 3);
    let copy = many.row(0).to_owned();
    many.slice_mut(s![..400, ..]).assign(&copy);
    let ids: Vec<TrackId> = (0..600).map(TrackId).collect();
    let index = VectorIndex::build(&ids, many.view(), &graph_options()).unwrap();
    assert_eq!(index.self_check(600).unwrap().lost, []);
    let found = index.search(&copy.to_vec(), 5, &exact()).unwrap();
    let found: Vec<i64> = found.iter().map(|neighbor| neighbor.id.0).collect();
    assert_eq!(found, [0, 1, 2, 3, 4]);
    let query = copy.insert_axis(ndarray::Axis(0));
    for found in both(&index, &query, 50, &SearchParams::default()) {
        assert_eq!(found[0].len(), 50);
        assert!(
            found[0]
                .iter()
                .all(|neighbor| neighbor.similarity > 0.99999)
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn the_index_refuses_vectors_that_have_no_direction() {
    let options = IndexOptions::default();
    let mut index =
        VectorIndex::build(&[TrackId(1)], ndarray::array![[0.6, 0.8]].view(), &options).unwrap();
    let id = TrackId(2);
    assert!(matches!(
        index.insert(id, &[1.]),
        Err(IndexError::Dimension {
            expected: 2,
            actual: 1
        })
    ));
    assert!(matches!(
        index.insert(id, &[f32::NAN, 0.]),
        Err(IndexError::NotFinite { position: 0, .. })
    ));
    assert!(matches!(
        index.insert(id, &[0., 0.]),
        Err(IndexError::NoDirection {
            id: Some(TrackId(2))
        })
    ));
    // Of other lengths only the direction counts.
    index.insert(id, &[3e-9, 3e-9]).unwrap();
    let found = index
        .search(&[8e20, 6e20], 2, &SearchParams::default())
        .unwrap();
    let cosines = [(0.8 + 0.6) * 0.5_f32.sqrt(), 0.96];
    assert_eq!(found.iter().map(|one| one.id.0).collect::<Vec<_>>(), [2, 1]);
    assert!(
        found
            .iter()
            .zip(cosines)
            .all(|(one, cosine)| (one.similarity - cosine).abs() < 5e-5),
        "{found:?}"
    );
    index.remove(id);
    let infinite = index.search(&[f32::INFINITY, 0.], 1, &SearchParams::default());
    assert!(matches!(infinite, Err(IndexError::NotFinite { .. })));
    let two = ndarray::array![[1_f32, 0.], [0., 1.]];
    let build = |ids: &[TrackId], options: &IndexOptions| {
        VectorIndex::build(ids, two.view(), options).err()
    };
    assert!(matches!(
        build(&[id], &options),
        Some(IndexError::Count { ids: 1, vectors: 2 })
    ));
    assert!(matches!(
        build(&[id, id], &options),
        Some(IndexError::Duplicate(_))
    ));
    // hnsw_rs aborts the process above 256 links, so the option is checked before.
    let links = |m| IndexOptions { m, ..options };
    let width = |ef_construction| IndexOptions {
        ef_construction,
        ..options
    };
    let recall = |target_recall| IndexOptions {
        target_recall,
        ..options
    };
    for (expected, wrong) in [
        ("m is 3, expected 4 to 32", links(3)),
        ("m is 33, expected 4 to 32", links(33)),
        ("m is 257, expected 4 to 32", links(257)),
        ("ef_construction is 15, expected 16 to 2000", width(15)),
        ("ef_construction is 2001, expected 16 to 2000", width(2001)),
        ("target_recall is 1.5, expected 0 to 1", recall(1.5)),
        ("target_recall is NaN, expected 0 to 1", recall(f64::NAN)),
    ] {
        let error = build(&[id, TrackId(3)], &wrong).unwrap();
        assert!(matches!(error, IndexError::Option { .. }), "{error}");
        assert_eq!(error.to_string(), format!("index option {expected}"));
    }
    for options in [links(4), links(32), width(16), recall(0.)] {
        let options = IndexOptions {
            graph_from: 0,
            ..options
        };
        assert!(build(&[id, TrackId(3)], &options).is_none(), "{options:?}");
    }
    // A limit beyond the number of tracks allocates nothing for it.
    let whole = VectorIndex::build(&[id, TrackId(3)], two.view(), &graph_options()).unwrap();
    for width in [None, Some(usize::MAX)] {
        let params = SearchParams {
            width,
            ..SearchParams::default()
        };
        let query = ndarray::array![[0., 1.]];
        for found in both(&whole, &query, usize::MAX, &params) {
            assert_eq!(found[0].len(), 2);
        }
    }
    let subset = index.subset_of(&[id]);
    index.insert(id, &[0., 1.]).unwrap();
    let params = SearchParams {
        subset: Some(&subset),
        ..SearchParams::default()
    };
    assert!(matches!(
        index.search(&[0., 1.], 1, &params),
        Err(IndexError::SubsetOutdated)
    ));
}

#[test]
fn search_until_offers_everyone_once() {
    let ids = ids(500);
    let vectors = clustered(15, 500, 32, 4);
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let query = vectors.slice(s![..1, ..]);
    // At most two of each residue: as tracks an artist.
    let mut taken = [0; 50];
    let found = index
        .search_until(
            query,
            60,
            &SearchParams::default(),
            |_, mut found| -> Result<_, IndexError> {
                found.retain(|neighbor| {
                    let artist = &mut taken[(neighbor.id.0 % 50) as usize];
                    *artist += 1;
                    *artist <= 2
                });
                Ok(found)
            },
        )
        .unwrap();
    assert!(found[0].len() == 60 && is_sorted_and_unique(&found[0]));
    let mut offered = 0;
    let none = index.search_until(
        query,
        5,
        &SearchParams::default(),
        |_, found| -> Result<_, IndexError> {
            offered += found.len();
            Ok(Vec::new())
        },
    );
    assert_eq!((none.unwrap(), offered), (vec![vec![]], 500));
}

#[test]
fn search_until_for_many_answers_as_for_one() {
    let n = 3000;
    let dimension = 48;
    let ids = ids(n);
    let vectors = clustered(23, n, dimension, 20);
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let queries = clustered(24, 60, dimension, 20);
    // Each row accepts other tracks, some so few that it must be offered all.
    let takes = |row: usize, found: &Neighbor| found.id.0 % (1 + 7 * row as i64) == 0;
    let many = index
        .search_until(
            queries.view(),
            12,
            &exact(),
            |row, mut found| -> Result<_, IndexError> {
                found.retain(|found| takes(row, found));
                Ok(found)
            },
        )
        .unwrap();
    for row in 0..queries.nrows() {
        let query = queries.slice(s![row..=row, ..]);
        let one = index.search_until(query, 12, &exact(), |_, mut found| {
            found.retain(|found| takes(row, found));
            Ok::<_, IndexError>(found)
        });
        assert_eq!(many[row], one.unwrap()[0], "{row}");
        let there = ids
            .iter()
            .filter(|id| id.0 % (1 + 7 * row as i64) == 0)
            .count();
        assert_eq!(many[row].len(), there.min(12), "{row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A failure prints its seed and the fewest steps that still fail, in the last of them.
    #[test]
    fn any_order_of_changes_answers_as_brute_force(
        seed in any::<u32>(), n in 0_usize..=400, dimension in 2_usize..70,
        steps in proptest::collection::vec((0..5, 0_usize..400, 1_usize..80, 0_usize..500), 1..30),
    ) {
        let ids = ids(400);
        let [vectors, queries] = [0, 1].map(|more| clustered(u64::from(seed) + more, 400, dimension, 5));
        let options = IndexOptions { graph_from: 50, ..IndexOptions::default() };
        let mut index = VectorIndex::build(&ids[..n], vectors.slice(s![..n, ..]), &options).unwrap();
        let mut held: BTreeSet<usize> = (0..n).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        index.save(&path, &stamp(dimension)).unwrap();
        let mut saved = held.clone();
        for (step, first, count, k) in steps {
            for row in first..400.min(first + count) {
                match step {
                    0 => {
                        let added = index.insert(ids[row], &vectors.row(row).to_vec());
                        assert_eq!(added.is_ok(), held.insert(row));
                    }
                    1 => assert_eq!(index.remove(ids[row]), held.remove(&row)),
                    _ => {}
                }
            }
            if step == 2 {
                index.save(&path, &stamp(dimension)).unwrap();
                saved.clone_from(&held);
            } else if step == 3 {
                index = VectorIndex::load(&path, &stamp(dimension)).unwrap();
                held.clone_from(&saved);
            }
            let query = queries.slice(s![first..=first, ..]).to_owned();
            let nearest = |every: usize| {
                let rows: Vec<usize> = held.iter().copied().filter(|row| row % every == 0).collect();
                let passing: Vec<TrackId> = rows.iter().map(|&row| ids[row]).collect();
                let truth = brute(&passing, &vectors.select(ndarray::Axis(0), &rows), query.row(0));
                (passing, truth)
            };
            let [(all, truth), (few, truth_of_few)] = [1, 1 + count % 5].map(nearest);
            assert_eq!(index.ids(), all);
            let subset = index.subset_of(&few);
            let default = SearchParams::default();
            let filtered = SearchParams { subset: Some(&subset), ..default };
            let walk = SearchParams { width: Some(20), ..default };
            let ways = [(exact(), &truth), (filtered, &truth_of_few), (default, &truth), (walk, &truth)];
            for ((params, truth), share) in ways.into_iter().zip([0., 0., 0.1, 0.1]) {
                for found in both(&index, &query, k, &params) {
                    assert!(is_sorted_and_unique(&found[0]) && found[0].len() == k.min(truth.len()));
                    let missing = (1. - recall(&found[0], truth, k)) * k.min(truth.len()) as f64;
                    assert!(missing <= share * (30 + k) as f64);
                    for one in &found[0] {
                        let (similarity, _) = truth.iter().find(|(_, id)| *id == one.id).unwrap();
                        // 6.3e-5 was seen, at five dimensions.
                        assert!((f64::from(one.similarity) - similarity).abs() < 1e-4);
                    }
                }
            }
        }
    }
}
