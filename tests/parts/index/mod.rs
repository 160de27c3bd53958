//! `VectorIndex` as its users see it: against brute force, by properties, and (`files`) saved, outdated and damaged.

// A recall of 1 is a ratio of equal numbers; helpers of tests unwrap; rows are numbers and indices.
#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    clippy::needless_range_loop,
    clippy::needless_pass_by_value
)]

mod files;

use ndarray::{Array2, ArrayView1, s};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_base::track::TrackId;
use voisin_index::{
    GraphBuilder, IndexError, IndexMetric, IndexOptions, IndexStamp, Neighbor, SearchMode,
    SearchParams, SharedIndex, VectorIndex,
};

const MODES: [SearchMode; 4] = [
    SearchMode::Exact,
    SearchMode::Scan,
    SearchMode::Lists,
    SearchMode::Hnsw,
];

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
        lists_from: 0,
        ..IndexOptions::default()
    }
}

fn mode(mode: SearchMode) -> SearchParams<'static> {
    SearchParams {
        mode,
        ..SearchParams::default()
    }
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
    let (ids, vectors) = index.vectors().unwrap();
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
            let found = index
                .search(&query.to_vec(), 10, &mode(SearchMode::Exact))
                .unwrap();
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
    for mode_ in MODES {
        let mut sum = 0.;
        let queries = clustered(4, 100, dimension, 40);
        for query in queries.outer_iter() {
            let found = index.search(&query.to_vec(), 10, &mode(mode_)).unwrap();
            assert!(is_sorted_and_unique(&found) && found.len() == 10);
            sum += recall(&found, &brute(&ids, &vectors, query), 10);
        }
        assert!(sum / 100. >= 0.99, "{mode_}: {}", sum / 100.);
        for slot in (0..n).step_by(500) {
            let found = index
                .search(&vectors.row(slot).to_vec(), 1, &mode(mode_))
                .unwrap();
            assert_eq!(found[0].id, ids[slot], "{mode_}");
            assert!((found[0].similarity - 1.).abs() < 1e-5);
        }
    }
    let stats = index.stats();
    assert_eq!((stats.items, stats.tail), (n, 0));
    let speeds = stats.speeds.unwrap();
    let is_faster = |ways: voisin_index::GraphAndLists, times: f64| {
        assert!(ways.graph > 100. && ways.lists > 100., "{speeds:?}");
        if ways.lists > times * ways.graph {
            SearchMode::Lists
        } else {
            SearchMode::Hnsw
        }
    };
    assert_eq!(stats.mode, is_faster(speeds.alone, 1.05));
    assert_eq!(stats.batch_mode, is_faster(speeds.batches, 1.));
    let lists = stats.lists.unwrap();
    assert!(
        lists.lists * 3 < stats.list_count && lists.recall >= 0.995 && lists.recall_error < 0.01,
        "{stats:?}"
    );
    assert!(stats.links > 24 * n, "{stats:?}");
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
        let subset = index.subset(&filter);
        assert_eq!(subset.len(), few.len());
        for mode_ in [
            SearchMode::Auto,
            SearchMode::Hnsw,
            SearchMode::Lists,
            SearchMode::Scan,
            SearchMode::Exact,
        ] {
            let mut sum = 0.;
            for query in queries.outer_iter() {
                let params = SearchParams {
                    mode: mode_,
                    filter: Some(&filter),
                    ..SearchParams::default()
                };
                let found = index.search(&query.to_vec(), 10, &params).unwrap();
                assert_eq!(found.len(), 10.min(few.len()), "{mode_} 1 in {every}");
                assert!(
                    found.iter().all(|neighbor| filter(neighbor.id))
                        && is_sorted_and_unique(&found)
                );
                let params = SearchParams {
                    mode: mode_,
                    subset: Some(&subset),
                    ..SearchParams::default()
                };
                assert_eq!(found, index.search(&query.to_vec(), 10, &params).unwrap());
                let row = query.insert_axis(ndarray::Axis(0));
                let batch = index.search_batch(row, 10, &params).unwrap();
                // A batch may use another method.
                assert!(mode_ == SearchMode::Auto || batch == vec![found.clone()]);
                sum += recall(&found, &brute(&few, &kept, query), 10);
            }
            assert!(sum / 50. >= 0.99, "{mode_} 1 in {every}: {}", sum / 50.);
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
    let mean_recall = |index: &VectorIndex, ids: &[TrackId], vectors: &Array2<f32>| {
        let one = |query: ArrayView1<'_, f32>| {
            let found = index
                .search(&query.to_vec(), 10, &SearchParams::default())
                .unwrap();
            recall(&found, &brute(ids, vectors, query), 10)
        };
        queries.outer_iter().map(one).sum::<f64>() / 50.
    };
    assert!(mean_recall(&index, &ids, &vectors) >= 0.99);

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
        for mode_ in MODES {
            for row in (0..n).step_by(7) {
                let found = index
                    .search(&vectors.row(row).to_vec(), 20, &mode(mode_))
                    .unwrap();
                assert_eq!(found.len(), 20);
                assert!(
                    found
                        .iter()
                        .all(|neighbor| left.binary_search(&neighbor.id).is_ok())
                );
            }
        }
        assert!(mean_recall(index, &left, &kept) >= 0.99);
        assert_eq!(index.self_check(10).unwrap().lost, []);
    }
    // A removed track can come back.
    index.insert(ids[0], &vectors.row(0).to_vec()).unwrap();
    let found = index
        .search(&vectors.row(0).to_vec(), 1, &SearchParams::default())
        .unwrap();
    assert_eq!(found[0].id, ids[0]);
}

fn similarities(found: &[Neighbor]) -> Vec<f32> {
    found.iter().map(|neighbor| neighbor.similarity).collect()
}

#[test]
fn a_minimum_similarity_applies_to_every_method() {
    let ids = ids(3000);
    let vectors = clustered(61, 3000, 48, 20);
    for metric in [
        IndexMetric::Cosine,
        IndexMetric::InnerProduct,
        IndexMetric::Euclidean,
    ] {
        let options = IndexOptions {
            metric,
            ..graph_options()
        };
        let mut index =
            VectorIndex::build(&ids[..2900], vectors.slice(s![..2900, ..]), &options).unwrap();
        index
            .insert(ids[2900], &vectors.row(2900).to_vec())
            .unwrap();
        let queries = clustered(62, 20, 48, 20);
        for mode_ in MODES {
            for query in queries.outer_iter() {
                let all = index.search(&query.to_vec(), 40, &mode(mode_)).unwrap();
                let bound = all[17].similarity;
                let params = SearchParams {
                    least: Some(bound),
                    ..mode(mode_)
                };
                let some = index.search(&query.to_vec(), 40, &params).unwrap();
                let within = all.iter().filter(|found| found.similarity >= bound);
                assert_eq!(
                    some,
                    within.copied().collect::<Vec<_>>(),
                    "{metric} {mode_}"
                );
                let batch = index
                    .search_batch(query.insert_axis(ndarray::Axis(0)), 40, &params)
                    .unwrap();
                assert_eq!(batch[..], *std::slice::from_ref(&some));
                assert!(some.len() >= 18 && some.len() < 40);
                let few = index.search(&query.to_vec(), 5, &params).unwrap();
                assert_eq!(similarities(&few), similarities(&some[..5]));
            }
        }
    }
}

#[test]
fn an_upsert_gives_a_track_another_vector() {
    let ids = ids(400);
    let vectors = clustered(63, 400, 24, 8);
    let mut index =
        VectorIndex::build(&ids[..300], vectors.slice(s![..300, ..]), &graph_options()).unwrap();
    let nearest = |index: &VectorIndex, row: usize| {
        index
            .search(&vectors.row(row).to_vec(), 1, &mode(SearchMode::Exact))
            .unwrap()[0]
            .id
    };
    // One of the base, one of the tail, one that is new.
    assert!(index.upsert(ids[7], &vectors.row(350).to_vec()).unwrap());
    assert!(!index.upsert(ids[390], &vectors.row(351).to_vec()).unwrap());
    assert!(index.upsert(ids[390], &vectors.row(352).to_vec()).unwrap());
    assert_eq!(index.len(), 301);
    assert_eq!(nearest(&index, 350), ids[7]);
    assert_eq!(nearest(&index, 352), ids[390]);
    assert_ne!(nearest(&index, 7), ids[7]);
    // A refused vector leaves the former one in place.
    let before = index.vector(ids[7]);
    assert!(index.upsert(ids[7], &[f32::NAN; 24]).is_err());
    assert!(index.upsert(ids[7], &[1.; 23]).is_err());
    assert_eq!(index.vector(ids[7]), before);
    // While others search.
    let shared = SharedIndex::new(index);
    shared
        .upsert(&[ids[7], ids[360]], vectors.slice(s![360..362, ..]))
        .unwrap();
    shared.with(|index| {
        assert_eq!(index.len(), 302);
        assert_eq!(nearest(index, 360), ids[7]);
        assert_eq!(nearest(index, 361), ids[360]);
    });
    assert!(
        shared
            .upsert(&ids[..2], vectors.slice(s![..1, ..]))
            .is_err()
    );
}

#[test]
fn groups_are_answered_by_their_best() {
    let ids = ids(2000);
    let vectors = clustered(64, 2000, 32, 12);
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    // Forty tracks a group, and one of all others.
    let group = |track: TrackId| (track.0 / 120).min(9);
    for query in clustered(65, 20, 32, 12).outer_iter() {
        for k in [3, 8, 20] {
            let found = index
                .search_groups(&query.to_vec(), k, &mode(SearchMode::Exact), group)
                .unwrap();
            let mut want = Vec::new();
            for (_, track) in brute(&ids, &vectors, query) {
                if !want.iter().any(|&other| group(other) == group(track)) {
                    want.push(track);
                }
            }
            want.truncate(k);
            let tracks: Vec<TrackId> = found.iter().map(|neighbor| neighbor.id).collect();
            assert_eq!(tracks, want);
        }
    }
}

/// The bytes of a file except for the six speeds that end its header, and the digest of its head.
fn without_speeds(path: &std::path::Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let header = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    bytes[24..56].fill(0);
    bytes[56 + header - 48..56 + header].fill(0);
    bytes
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
        without_speeds(&path)
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
        without_speeds(&path)
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
                ef: Some(width),
                ..mode(SearchMode::Hnsw)
            };
            let recalls = queries.outer_iter().map(|query| {
                recall(
                    &index.search(&query.to_vec(), 10, &params).unwrap(),
                    &brute(&ids, &vectors, query),
                    10,
                )
            });
            recalls.sum::<f64>() / 100.
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

/// With very few full comparisons, alone and in batches, with and without a filter.
#[test]
fn more_candidates_of_the_same_lists_find_more() {
    let n = 6000;
    let dimension = 256;
    let ids = ids(n);
    let vectors = clustered(51, n, dimension, 1);
    let queries = clustered(52, 60, dimension, 1);
    let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
    let half = |track: TrackId| track.0 % 2 == 0;
    for filter in [None, Some(&half as &(dyn Fn(TrackId) -> bool + Sync))] {
        let found = [10, 40, 2000].map(|candidates| {
            let params = SearchParams {
                mode: SearchMode::Lists,
                ef: Some(index.stats().list_count),
                candidates: Some(candidates),
                filter,
                ..SearchParams::default()
            };
            let batch = index.search_batch(queries.view(), 10, &params).unwrap();
            let recalls = queries.outer_iter().zip(&batch).map(|(query, found)| {
                assert_eq!(*found, index.search(&query.to_vec(), 10, &params).unwrap());
                assert_eq!(found.len(), 10);
                let mut truth = brute(&ids, &vectors, query);
                truth.retain(|one| filter.is_none_or(|filter| filter(one.1)));
                recall(found, &truth, 10)
            });
            recalls.sum::<f64>() / 60.
        });
        assert!(
            found[0] < found[1] && found[1] < found[2] && found[2] > 0.999,
            "{found:?}"
        );
    }
}

#[test]
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
    let filter = |track: TrackId| track.0 % 4 != 0;
    for mode_ in MODES {
        for filter in [None, Some(&filter as &(dyn Fn(TrackId) -> bool + Sync))] {
            for k in [1, 10, 70, 5000] {
                let params = SearchParams {
                    mode: mode_,
                    filter,
                    ..SearchParams::default()
                };
                let batch = index.search_batch(queries.view(), k, &params).unwrap();
                for (query, found) in queries.outer_iter().zip(&batch) {
                    assert_eq!(
                        *found,
                        index.search(&query.to_vec(), k, &params).unwrap(),
                        "{mode_} {k}"
                    );
                }
            }
        }
        let graph = index.knn_graph(7, &mode(mode_)).unwrap();
        for (track, found) in index.ids().iter().zip(&graph) {
            assert_eq!(
                *found,
                index.search_id(*track, 7, &mode(mode_)).unwrap(),
                "{mode_} {track}"
            );
        }
    }
    let none = SearchParams {
        filter: Some(&|_| false),
        ..SearchParams::default()
    };
    assert!(
        index
            .search_batch(queries.view(), 3, &none)
            .unwrap()
            .iter()
            .all(Vec::is_empty)
    );
    assert!(
        index
            .search_batch(queries.slice(s![..0, ..]), 3, &none)
            .unwrap()
            .is_empty()
    );
}

/// Lists that are too large for a core's own cache are read once for many queries.
#[test]
fn batches_over_large_lists_answer_as_single_searches_do() {
    let n = 40_000;
    let dimension = 32;
    let ids = ids(n);
    let vectors = clustered(28, n, dimension, 200);
    let options = IndexOptions::default();
    let mut index =
        VectorIndex::build(&ids[..39_900], vectors.slice(s![..39_900, ..]), &options).unwrap();
    for row in 39_900..n {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    (0..n)
        .step_by(9)
        .for_each(|row| assert!(index.remove(ids[row])));
    let queries = clustered(29, 300, dimension, 200);
    let half = |track: TrackId| track.0 % 2 == 0;
    for filter in [None, Some(&half as &(dyn Fn(TrackId) -> bool + Sync))] {
        for (ef, k) in [(None, 1), (None, 10), (Some(3), 10), (Some(100), 200)] {
            let params = SearchParams {
                mode: SearchMode::Lists,
                ef,
                filter,
                ..SearchParams::default()
            };
            let batch = index.search_batch(queries.view(), k, &params).unwrap();
            for (query, found) in queries.outer_iter().zip(&batch) {
                assert_eq!(
                    *found,
                    index.search(&query.to_vec(), k, &params).unwrap(),
                    "{ef:?} {k}"
                );
            }
        }
    }
}

#[test]
fn small_and_odd_indexes_answer() {
    let none =
        VectorIndex::build(&[], Array2::<f32>::zeros((0, 8)).view(), &graph_options()).unwrap();
    let query = clustered(1, 1, 8, 1).row(0).to_vec();
    for mode_ in [SearchMode::Auto, SearchMode::Exact, SearchMode::Scan] {
        assert_eq!(none.search(&query, 10, &mode(mode_)).unwrap(), []);
    }
    assert!(matches!(
        none.search(&query, 1, &mode(SearchMode::Hnsw)),
        Err(IndexError::NoGraph { .. })
    ));
    assert!(matches!(
        none.search(&query, 1, &mode(SearchMode::Lists)),
        Err(IndexError::NoLists { .. })
    ));
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
    for mode_ in [SearchMode::Exact, SearchMode::Scan] {
        let found = index.search(&copy.to_vec(), 5, &mode(mode_)).unwrap();
        assert_eq!(
            found
                .iter()
                .map(|neighbor| neighbor.id.0)
                .collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
    }
    for mode_ in [SearchMode::Lists, SearchMode::Hnsw] {
        let found = index.search(&copy.to_vec(), 50, &mode(mode_)).unwrap();
        assert!(
            found.len() == 50 && found.iter().all(|neighbor| neighbor.similarity > 0.99999),
            "{mode_}"
        );
    }
}

#[test]
fn copies_by_inner_products_limit_the_stated_recall() {
    let mut rng = StdRng::seed_from_u64(41);
    let mut originals = Array2::from_shape_simple_fn((300, 32), || normal(&mut rng));
    for mut row in originals.outer_iter_mut() {
        row *= (0.3 * normal(&mut rng)).exp();
    }
    // Twenty copies each, at any place.
    let vectors = Array2::from_shape_fn((6000, 32), |(row, at)| {
        originals[(row * 7919 % 6000 / 20, at)]
    });
    let options = IndexOptions {
        metric: IndexMetric::InnerProduct,
        lists_from: 0,
        graph_from: usize::MAX,
        ..IndexOptions::default()
    };
    let index = VectorIndex::build(&ids(6000), vectors.view(), &options).unwrap();
    // Two hundred trials support no more.
    let stated = index.stats().recall.unwrap();
    assert!((0.98..0.996).contains(&stated), "{stated}");
    let queries = Array2::from_shape_simple_fn((1000, 32), || normal(&mut rng));
    let search = |mode_| {
        let found = index.search_batch(queries.view(), 10, &mode(mode_));
        found.unwrap()
    };
    let pairs = search(SearchMode::Lists)
        .into_iter()
        .zip(search(SearchMode::Exact));
    let near = pairs.map(|(found, truth)| {
        let last = truth[9].similarity * (1. - 1e-4);
        found.iter().filter(|one| one.similarity >= last).count()
    });
    let real = near.sum::<usize>() as f64 / 10_000.;
    assert!(real >= 0.99, "{real}");
}

#[test]
fn a_vector_too_far_from_the_others_is_named() {
    let ids = ids(30);
    let mut vectors = clustered(1, 30, 8, 1);
    vectors.row_mut(3).fill(f32::MAX);
    let options = IndexOptions {
        metric: IndexMetric::Euclidean,
        ..IndexOptions::default()
    };
    let refused = VectorIndex::build(&ids, vectors.view(), &options).err();
    let text = refused.map_or_else(String::new, |error| error.to_string());
    let beginning = format!("vector of id {} is 9.6e38 from", ids[3]);
    assert!(
        text.starts_with(&beginning) && text.contains(": leave it out, or"),
        "{text}"
    );
}

#[test]
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
    for mode in MODES {
        let params = SearchParams {
            mode,
            ef: Some(usize::MAX),
            ..SearchParams::default()
        };
        assert_eq!(
            whole.search(&[0., 1.], usize::MAX, &params).unwrap().len(),
            2,
            "{mode}"
        );
    }
    let subset = index.subset(&|_| true);
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
    for mode_ in MODES {
        let many = index
            .search_until(
                queries.view(),
                12,
                &mode(mode_),
                |row, mut found| -> Result<_, IndexError> {
                    found.retain(|found| takes(row, found));
                    Ok(found)
                },
            )
            .unwrap();
        for row in 0..queries.nrows() {
            let query = queries.slice(s![row..=row, ..]);
            let one = index.search_until(query, 12, &mode(mode_), |_, mut found| {
                found.retain(|found| takes(row, found));
                Ok::<_, IndexError>(found)
            });
            assert_eq!(many[row], one.unwrap()[0], "{mode_} {row}");
            let there = ids
                .iter()
                .filter(|id| id.0 % (1 + 7 * row as i64) == 0)
                .count();
            assert_eq!(many[row].len(), there.min(12), "{mode_} {row}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn results_are_sorted_unique_and_filtered(
        seed in 0_u64..1000, n in 0_usize..400, dimension in 2_usize..70, k in 0_usize..500, keep in 1_i64..6,
        removed in proptest::collection::vec(0_usize..400, 0..40), split in 0_usize..400,
    ) {
        let (ids, vectors) = (ids(n), clustered(seed, n, dimension, 5));
        let split = split.min(n);
        let options = IndexOptions { graph_from: 50, ..graph_options() };
        let mut index = VectorIndex::build(&ids[..split], vectors.slice(s![..split, ..]), &options).unwrap();
        for row in split..n {
            index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
        }
        for &row in removed.iter().filter(|&&row| row < n) {
            index.remove(ids[row]);
        }
        let filter = |track: TrackId| track.0 % keep == 0;
        let passing: Vec<TrackId> = index.ids().into_iter().filter(|&track| filter(track)).collect();
        let query = clustered(seed + 1, 1, dimension, 5).row(0).to_vec();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        index.save(&path, &stamp(dimension)).unwrap();
        let loaded = VectorIndex::load(&path, &stamp(dimension)).unwrap();
        for mode in [SearchMode::Auto, SearchMode::Exact, SearchMode::Scan, SearchMode::Lists] {
            if mode == SearchMode::Lists && split < 2 {
                continue;
            }
            let params = SearchParams { mode, filter: Some(&filter), ..SearchParams::default() };
            let found = index.search(&query, k, &params).unwrap();
            prop_assert!(is_sorted_and_unique(&found));
            prop_assert_eq!(found.len(), k.min(passing.len()));
            prop_assert!(found.iter().all(|neighbor| passing.binary_search(&neighbor.id).is_ok()));
            prop_assert_eq!(&found, &loaded.search(&query, k, &params).unwrap());
            if mode == SearchMode::Exact {
                let rows: Vec<usize> = passing.iter().map(|id| (id.0 as usize - 5) / 3).collect();
                let kept = vectors.select(ndarray::Axis(0), &rows);
                prop_assert_eq!(recall(&found, &brute(&passing, &kept, ArrayView1::from(&query)), k), 1.);
            }
        }
    }
}
