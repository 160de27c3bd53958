//! `VectorIndex` as its users see it: against brute force, by properties, and with damaged files.

// A recall of 1 is a ratio of equal numbers; helpers of tests unwrap as tests do; rows are numbers and indices.
#![allow(clippy::float_cmp, clippy::unwrap_used, clippy::needless_range_loop, clippy::needless_pass_by_value)]

use std::path::Path;

use ndarray::{Array2, ArrayView1, s};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin::index::{
    Hubness, IndexError, IndexOptions, IndexStamp, Neighbor, SearchMode, SearchParams, VectorIndex,
    k_occurrence_skewness,
};
use voisin::track::TrackId;

const MODES: [SearchMode; 3] = [SearchMode::Exact, SearchMode::Scan, SearchMode::Hnsw];

/// Unit vectors around `clusters` centres, off the origin as embeddings are.
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

fn graph_options() -> IndexOptions {
    IndexOptions { graph_from: 0, ef_construction: 80, ..IndexOptions::default() }
}

fn mode(mode: SearchMode) -> SearchParams<'static> {
    SearchParams { mode, ..SearchParams::default() }
}

/// All similarities in 64-bit arithmetic, nearest first.
fn brute(ids: &[TrackId], vectors: &Array2<f32>, query: ArrayView1<'_, f32>) -> Vec<(f64, TrackId)> {
    let dot =
        |row: ArrayView1<'_, f32>| row.iter().zip(query).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
    let mut all: Vec<(f64, TrackId)> = vectors.outer_iter().map(dot).zip(ids.iter().copied()).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all
}

/// Share of the `k` best that was found; what is as near as the last of them counts.
fn recall(found: &[Neighbor], truth: &[(f64, TrackId)], k: usize) -> f64 {
    let k = k.min(truth.len());
    if k == 0 {
        return 1.;
    }
    let last = truth[k - 1].0 - 5e-5;
    let near = |neighbor: &&Neighbor| truth.iter().any(|(s, id)| *id == neighbor.track && *s >= last);
    found.iter().filter(near).count() as f64 / k as f64
}

fn is_sorted_and_unique(found: &[Neighbor]) -> bool {
    let ordered = found.is_sorted_by(|a, b| {
        a.similarity > b.similarity || a.similarity == b.similarity && a.track < b.track
    });
    let mut tracks: Vec<TrackId> = found.iter().map(|neighbor| neighbor.track).collect();
    tracks.sort_unstable();
    tracks.dedup();
    ordered && tracks.len() == found.len()
}

fn stamp(dimension: usize) -> IndexStamp {
    IndexStamp { generation: 7, model_fingerprint: "3f2a".into(), dimension }
}

#[test]
fn exact_search_is_brute_force() {
    for (n, dimension) in [(1, 2), (5, 3), (700, 200), (900, 512)] {
        let (ids, vectors) = (ids(n), clustered(1, n, dimension, 9.min(n)));
        let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
        for query in clustered(2, 20, dimension, 9.min(n)).outer_iter() {
            let found = index.search(&query.to_vec(), 10, &mode(SearchMode::Exact)).unwrap();
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
    let (n, dimension) = (6000, 96);
    let (ids, vectors) = (ids(n), clustered(3, n, dimension, 40));
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
            let found = index.search(&vectors.row(slot).to_vec(), 1, &mode(mode_)).unwrap();
            assert_eq!(found[0].track, ids[slot], "{mode_}");
            assert!((found[0].similarity - 1.).abs() < 1e-5);
        }
    }
    let stats = index.stats();
    assert_eq!((stats.tracks, stats.mode, stats.tail), (n, SearchMode::Hnsw, 0));
    assert!(stats.links > 4 * n && stats.layers >= 2, "{stats:?}");
}

#[test]
fn filters_hold_at_every_share() {
    let (n, dimension) = (8000, 64);
    let (ids, vectors) = (ids(n), clustered(5, n, dimension, 30));
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let queries = clustered(6, 50, dimension, 30);
    for every in [2, 10, 100, 1000] {
        let filter = move |track: TrackId| track.0 % every == 0;
        let (few, rows): (Vec<TrackId>, Vec<usize>) =
            ids.iter().enumerate().filter(|(_, id)| filter(**id)).map(|(row, id)| (*id, row)).unzip();
        let kept = vectors.select(ndarray::Axis(0), &rows);
        let subset = index.subset(&filter);
        assert_eq!(subset.len(), few.len());
        for mode_ in [SearchMode::Auto, SearchMode::Hnsw, SearchMode::Scan, SearchMode::Exact] {
            let mut sum = 0.;
            for query in queries.outer_iter() {
                let params = SearchParams { mode: mode_, filter: Some(&filter), ..SearchParams::default() };
                let found = index.search(&query.to_vec(), 10, &params).unwrap();
                assert_eq!(found.len(), 10.min(few.len()), "{mode_} 1 in {every}");
                assert!(found.iter().all(|neighbor| filter(neighbor.track)) && is_sorted_and_unique(&found));
                let params = SearchParams { mode: mode_, subset: Some(&subset), ..SearchParams::default() };
                assert_eq!(found, index.search(&query.to_vec(), 10, &params).unwrap());
                sum += recall(&found, &brute(&few, &kept, query), 10);
            }
            assert!(sum / 50. >= 0.99, "{mode_} 1 in {every}: {}", sum / 50.);
        }
    }
}

#[test]
fn removed_tracks_leave_no_ghosts_and_pieces_equal_the_whole() {
    let (n, dimension) = (3000, 64);
    let (ids, vectors) = (ids(n), clustered(7, n, dimension, 20));
    let first = n - 400;
    let mut index =
        VectorIndex::build(&ids[..first], vectors.slice(s![..first, ..]), &graph_options()).unwrap();
    for row in first..n {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    let again = index.insert(ids[0], &vectors.row(0).to_vec());
    assert!(matches!(again, Err(IndexError::Duplicate(id)) if id == ids[0]));
    let queries = clustered(8, 50, dimension, 20);
    let mean_recall = |index: &VectorIndex, ids: &[TrackId], vectors: &Array2<f32>| {
        let one = |query: ArrayView1<'_, f32>| {
            let found = index.search(&query.to_vec(), 10, &SearchParams::default()).unwrap();
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
    assert_eq!(index.tracks(), left);
    for index in [&index, &index.rebuilt(&graph_options()).unwrap()] {
        assert_eq!(index.len(), left.len());
        for mode_ in MODES {
            for row in (0..n).step_by(7) {
                let found = index.search(&vectors.row(row).to_vec(), 20, &mode(mode_)).unwrap();
                assert_eq!(found.len(), 20);
                assert!(found.iter().all(|neighbor| left.binary_search(&neighbor.track).is_ok()));
            }
        }
        assert!(mean_recall(index, &left, &kept) >= 0.99);
        assert_eq!(index.self_check(10).unwrap().lost, []);
    }
    // A removed track can come back.
    index.insert(ids[0], &vectors.row(0).to_vec()).unwrap();
    let found = index.search(&vectors.row(0).to_vec(), 1, &SearchParams::default()).unwrap();
    assert_eq!(found[0].track, ids[0]);
}

#[test]
fn one_thread_and_one_seed_give_one_index() {
    let (ids, vectors) = (ids(1500), clustered(9, 1500, 48, 10));
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let build = |name: &str| {
        let path = folder.path().join(name);
        let index = pool.install(|| VectorIndex::build(&ids, vectors.view(), &graph_options())).unwrap();
        index.save(&path, &stamp(48)).unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(build("a.bin") == build("b.bin"));
}

#[test]
fn small_and_odd_indexes_answer() {
    let none = VectorIndex::build(&[], Array2::zeros((0, 8)).view(), &graph_options()).unwrap();
    let query = clustered(1, 1, 8, 1).row(0).to_vec();
    for mode_ in [SearchMode::Auto, SearchMode::Exact, SearchMode::Scan] {
        assert_eq!(none.search(&query, 10, &mode(mode_)).unwrap(), []);
    }
    assert!(matches!(none.search(&query, 1, &mode(SearchMode::Hnsw)), Err(IndexError::NoGraph { .. })));
    assert_eq!(none.self_check(5).unwrap().tracks, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    none.save(&path, &stamp(8)).unwrap();
    assert!(VectorIndex::load(&path, &stamp(8)).unwrap().is_empty());

    // From nothing, one by one.
    let mut grown = none;
    let (some, vectors) = (ids(300), clustered(2, 300, 8, 3));
    for (id, vector) in some.iter().zip(vectors.outer_iter()) {
        grown.insert(*id, &vector.to_vec()).unwrap();
    }
    assert_eq!(grown.search(&query, 1000, &SearchParams::default()).unwrap().len(), 300);
    assert_eq!(grown.search(&query, 0, &SearchParams::default()).unwrap(), []);
    assert!(grown.needs_rebuild());
    assert_eq!(grown.rebuilt(&IndexOptions::default()).unwrap().len(), 300);

    // A single track, with a graph of one point.
    let one = VectorIndex::build(&some[..1], vectors.slice(s![..1, ..]), &graph_options()).unwrap();
    assert_eq!(one.search(&query, 10, &SearchParams::default()).unwrap()[0].track, some[0]);

    // Four hundred copies of one vector among others: all are found, lowest ids first.
    let mut many = clustered(3, 600, 8, 3);
    let copy = many.row(0).to_owned();
    many.slice_mut(s![..400, ..]).assign(&copy);
    let ids: Vec<TrackId> = (0..600).map(TrackId).collect();
    let index = VectorIndex::build(&ids, many.view(), &graph_options()).unwrap();
    assert_eq!(index.self_check(600).unwrap().lost, []);
    for mode_ in [SearchMode::Exact, SearchMode::Scan] {
        let found = index.search(&copy.to_vec(), 5, &mode(mode_)).unwrap();
        assert_eq!(found.iter().map(|neighbor| neighbor.track.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
    let found = index.search(&copy.to_vec(), 50, &mode(SearchMode::Hnsw)).unwrap();
    assert!(found.len() == 50 && found.iter().all(|neighbor| neighbor.similarity > 0.99999));
}

#[test]
fn what_is_no_unit_vector_is_refused() {
    let options = IndexOptions::default();
    let mut index = VectorIndex::build(&[TrackId(1)], ndarray::array![[0.6, 0.8]].view(), &options).unwrap();
    let id = TrackId(2);
    assert!(matches!(index.insert(id, &[1.]), Err(IndexError::Dimension { expected: 2, actual: 1 })));
    assert!(matches!(index.insert(id, &[f32::NAN, 0.]), Err(IndexError::NotFinite { position: 0, .. })));
    assert!(matches!(index.insert(id, &[1., 1.]), Err(IndexError::Norm { .. })));
    assert!(matches!(index.insert(id, &[0., 0.]), Err(IndexError::Norm { .. })));
    let infinite = index.search(&[f32::INFINITY, 0.], 1, &SearchParams::default());
    assert!(matches!(infinite, Err(IndexError::NotFinite { .. })));
    let two = ndarray::array![[1_f32, 0.], [0., 1.]];
    let build = |ids: &[TrackId], options: &IndexOptions| VectorIndex::build(ids, two.view(), options).err();
    assert!(matches!(build(&[id], &options), Some(IndexError::Count { ids: 1, vectors: 2 })));
    assert!(matches!(build(&[id, id], &options), Some(IndexError::Duplicate(_))));
    // hnsw_rs ends the process above 256 links; nothing of that reaches a caller.
    let links = |m| IndexOptions { m, ..options };
    let width = |ef_construction| IndexOptions { ef_construction, ..options };
    let recall = |target_recall| IndexOptions { target_recall, ..options };
    let hubs = |k| IndexOptions { hubness: Some(Hubness::LocalScaling { k }), ..options };
    for (expected, wrong) in [
        ("m is 3, expected 4 to 32", links(3)),
        ("m is 33, expected 4 to 32", links(33)),
        ("m is 257, expected 4 to 32", links(257)),
        ("ef_construction is 15, expected 16 to 2000", width(15)),
        ("ef_construction is 2001, expected 16 to 2000", width(2001)),
        ("target_recall is 1.5, expected 0 to 1", recall(1.5)),
        ("target_recall is NaN, expected 0 to 1", recall(f64::NAN)),
        ("hubness k is 0, expected 1 to 100", hubs(0)),
        ("hubness k is 101, expected 1 to 100", hubs(101)),
    ] {
        let error = build(&[id, TrackId(3)], &wrong).unwrap();
        assert!(matches!(error, IndexError::Option { .. }), "{error}");
        assert_eq!(error.to_string(), format!("index option {expected}"));
    }
    for options in [links(4), links(32), width(16), recall(0.)] {
        let options = IndexOptions { graph_from: 0, ..options };
        assert!(build(&[id, TrackId(3)], &options).is_none(), "{options:?}");
    }
    // Nobody has so many tracks; asking costs nothing.
    let whole = VectorIndex::build(&[id, TrackId(3)], two.view(), &graph_options()).unwrap();
    for mode in MODES {
        let params = SearchParams { mode, ef: Some(usize::MAX), ..SearchParams::default() };
        assert_eq!(whole.search(&[0., 1.], usize::MAX, &params).unwrap().len(), 2, "{mode}");
    }
    let subset = index.subset(&|_| true);
    index.insert(id, &[0., 1.]).unwrap();
    let params = SearchParams { subset: Some(&subset), ..SearchParams::default() };
    assert!(matches!(index.search(&[0., 1.], 1, &params), Err(IndexError::SubsetOutdated)));
}

fn same_answers(a: &VectorIndex, b: &VectorIndex, queries: &Array2<f32>) {
    for mode_ in MODES {
        let found = a.search_batch(queries.view(), 12, &mode(mode_)).unwrap();
        assert_eq!(found, b.search_batch(queries.view(), 12, &mode(mode_)).unwrap(), "{mode_}");
    }
}

#[test]
fn a_saved_index_answers_as_before() {
    let (n, dimension) = (2000, 80);
    let (ids, vectors, queries) = (ids(n), clustered(10, n, dimension, 12), clustered(11, 30, dimension, 12));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = IndexOptions { hubness: Some(Hubness::LocalScaling { k: 5 }), ..graph_options() };
    let mut index = VectorIndex::build(&ids[..1900], vectors.slice(s![..1900, ..]), &options).unwrap();
    index.save(&path, &stamp(dimension)).unwrap();
    same_answers(&index, &VectorIndex::load(&path, &stamp(dimension)).unwrap(), &queries);

    // What comes later goes to the small file beside it.
    let before = std::fs::read(&path).unwrap();
    for row in 1900..n {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    (0..300).step_by(3).for_each(|row| assert!(index.remove(ids[row])));
    index.remove(ids[1950]);
    let later = IndexStamp { generation: 8, ..stamp(dimension) };
    index.save(&path, &later).unwrap();
    assert!(std::fs::read(&path).unwrap() == before);
    let loaded = VectorIndex::load(&path, &later).unwrap();
    assert_eq!((loaded.len(), loaded.tracks()), (index.len(), index.tracks()));
    assert_eq!(loaded.stats().tail, 99);
    same_answers(&index, &loaded, &queries);
    let corrected = SearchParams { correct_hubs: true, ..SearchParams::default() };
    let query = queries.row(0).to_vec();
    assert_eq!(index.search(&query, 9, &corrected).unwrap(), loaded.search(&query, 9, &corrected).unwrap());

    // And is built in when it is built again; the old tail is gone.
    let rebuilt = loaded.rebuilt(&options).unwrap();
    rebuilt.save(&path, &later).unwrap();
    let again = VectorIndex::load(&path, &later).unwrap();
    assert_eq!((again.stats().tail, again.stats().tombstones, again.len()), (0, 0, index.len()));

    let load = |expected: &IndexStamp| VectorIndex::load(&path, expected).err();
    assert!(matches!(load(&stamp(dimension)), Some(IndexError::Stale { expected: 7, actual: 8, .. })));
    let other = IndexStamp { model_fingerprint: "91bc".into(), ..later.clone() };
    assert!(matches!(load(&other), Some(IndexError::OtherModel { .. })));
    let other = IndexStamp { dimension: 512, ..later };
    assert!(matches!(load(&other), Some(IndexError::Dimension { expected: 80, actual: 512 })));
    let (_, stamp) = VectorIndex::open(&path).unwrap();
    assert_eq!(stamp.generation, 8);
    let missing = VectorIndex::load(Path::new("/nonexistent/index.bin"), &stamp);
    assert!(matches!(missing, Err(IndexError::Io { .. })));
}

/// Vectors that depend on nothing but arithmetic: those of the files in `tests/data/index`.
fn fixed(n: usize, dimension: usize) -> Array2<f32> {
    let mut vectors =
        Array2::from_shape_fn((n, dimension), |(i, j)| ((i as f32 + 1.) * (j as f32 + 0.7)).sin());
    for mut vector in vectors.outer_iter_mut() {
        let norm = vector.dot(&vector).sqrt();
        vector /= norm;
    }
    vectors
}

/// Writes `tests/data/index/vN.bin` and its tail. Run it once when a format is released:
/// `cargo test --release --test index write_fixture -- --ignored`.
#[test]
#[ignore = "writes test data"]
fn write_fixture() {
    let (ids, vectors) = (ids(130), fixed(130, 16));
    let options = IndexOptions {
        m: 4,
        graph_from: 0,
        ef_construction: 40,
        hubness: Some(Hubness::LocalScaling { k: 5 }),
        ..IndexOptions::default()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/index");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("v1.bin");
    let mut index = VectorIndex::build(&ids[..120], vectors.slice(s![..120, ..]), &options).unwrap();
    index.save(&path, &stamp(16)).unwrap();
    for row in 120..130 {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    for row in [3, 50, 125] {
        index.remove(ids[row]);
    }
    index.save(&path, &IndexStamp { generation: 20, ..stamp(16) }).unwrap();
}

#[test]
fn an_index_written_by_format_1_opens_and_answers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/index/v1.bin");
    let (ids, vectors) = (ids(130), fixed(130, 16));
    let kept: Vec<usize> = (0..130).filter(|row| ![3, 50, 125].contains(row)).collect();
    let left: Vec<TrackId> = kept.iter().map(|&row| ids[row]).collect();
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!((summary.tracks, summary.tail, summary.tombstones), (127, 9, 2));
    assert_eq!((summary.mode, summary.graph_from), (SearchMode::Hnsw, 0));
    let expected = IndexStamp { generation: 20, ..stamp(16) };
    assert_eq!(summary.stamp, expected);
    let index = VectorIndex::load(&path, &expected).unwrap();
    assert_eq!(index.tracks(), left);
    assert_eq!(index.self_check(127).unwrap().lost, []);
    let some = vectors.select(ndarray::Axis(0), &kept);
    for &row in &kept {
        let truth = brute(&left, &some, vectors.row(row));
        for mode_ in MODES {
            let found = index.search(&vectors.row(row).to_vec(), 10, &mode(mode_)).unwrap();
            assert_eq!(found[0].track, ids[row]);
            assert!(
                recall(&found, &truth, 10) >= if mode_ == SearchMode::Hnsw { 0.7 } else { 1. },
                "{mode_} {row}"
            );
        }
    }
    let corrected = SearchParams { correct_hubs: true, ..SearchParams::default() };
    assert_eq!(index.search(&vectors.row(0).to_vec(), 10, &corrected).unwrap().len(), 10);
}

#[test]
fn a_summary_says_what_loading_would_find() {
    let (ids, vectors) = (ids(300), clustered(17, 300, 24, 5));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    assert!(matches!(VectorIndex::summary(&path), Err(IndexError::Io { .. })));
    let options = IndexOptions { graph_from: 1000, ..IndexOptions::default() };
    let mut index = VectorIndex::build(&ids[..290], vectors.slice(s![..290, ..]), &options).unwrap();
    index.save(&path, &stamp(24)).unwrap();
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!((summary.tracks, summary.mode, summary.ef), (290, SearchMode::Scan, None));
    index.insert(ids[295], &vectors.row(295).to_vec()).unwrap();
    index.remove(ids[0]);
    index.save(&path, &IndexStamp { generation: 9, ..stamp(24) }).unwrap();
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!((summary.tracks, summary.tail, summary.tombstones, summary.stamp.generation), (290, 1, 1, 9));
    // Whatever is cut from the head is noticed; what is behind it is left to loading.
    let good = std::fs::read(&path).unwrap();
    for length in (0..4096).step_by(37) {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(VectorIndex::summary(&path).is_err(), "{length}");
    }
    for at in (0..300).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 16;
        std::fs::write(&path, &bad).unwrap();
        assert!(VectorIndex::summary(&path).is_err(), "{at}");
    }
}

#[test]
fn a_base_never_takes_the_tail_of_another() {
    let (ids, vectors) = (ids(60), clustered(12, 60, 16, 4));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let tail = folder.path().join("index.bin.tail");
    let options = IndexOptions::default();
    let mut index = VectorIndex::build(&ids[..50], vectors.slice(s![..50, ..]), &options).unwrap();
    index.insert(ids[55], &vectors.row(55).to_vec()).unwrap();
    index.save(&path, &stamp(16)).unwrap();
    assert_eq!(VectorIndex::load(&path, &stamp(16)).unwrap().len(), 51);
    let old_tail = std::fs::read(&tail).unwrap();
    // A crash between the two renames: this base was written with a tail that is not there.
    std::fs::remove_file(&tail).unwrap();
    assert!(matches!(VectorIndex::open(&path), Err(IndexError::Damaged { .. })));
    // A whole base beside the tail of another: the tail means nothing.
    let whole = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
    whole.save(&path, &stamp(16)).unwrap();
    assert!(!tail.exists());
    std::fs::write(&tail, old_tail).unwrap();
    assert_eq!(VectorIndex::load(&path, &stamp(16)).unwrap().len(), 60);
}

#[test]
fn damaged_files_are_errors() {
    let (ids, vectors) = (ids(400), clustered(13, 400, 24, 5));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = IndexOptions { hubness: Some(Hubness::MutualProximity), ..graph_options() };
    let mut index = VectorIndex::build(&ids[..390], vectors.slice(s![..390, ..]), &options).unwrap();
    for row in 390..400 {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    index.remove(ids[3]);
    index.save(&path, &stamp(24)).unwrap();
    let mut rng = StdRng::seed_from_u64(14);
    for file in [path.clone(), folder.path().join("index.bin.tail")] {
        let good = std::fs::read(&file).unwrap();
        let refused = |bytes: &[u8], what: &str| {
            std::fs::write(&file, bytes).unwrap();
            match VectorIndex::open(&path) {
                Err(IndexError::Damaged { .. } | IndexError::Version { .. }) => {}
                Err(other) => panic!("{what}: {other}"),
                Ok(_) => panic!("{what}: accepted"),
            }
        };
        let step = (good.len() / 50).max(1);
        for length in (0..120).step_by(3).chain((120..good.len()).step_by(step)).chain([good.len() - 1]) {
            refused(&good[..length], &format!("cut to {length} of {}", good.len()));
        }
        refused(&[&good[..], &[0]].concat(), "one byte more");
        for _ in 0..200 {
            let mut bad = good.clone();
            // Half of the flips in the head, where sizes are.
            let end = if rng.random() { bad.len() } else { bad.len().min(1200) };
            let at = rng.random_range(0..end);
            bad[at] ^= 1 << rng.random_range(0..8);
            refused(&bad, &format!("bit flipped in byte {at}"));
        }
        std::fs::write(&file, &good).unwrap();
        assert!(VectorIndex::open(&path).is_ok());
    }
}

#[test]
fn search_until_offers_everyone_once() {
    let (ids, vectors) = (ids(500), clustered(15, 500, 32, 4));
    let index = VectorIndex::build(&ids, vectors.view(), &graph_options()).unwrap();
    let query = vectors.row(0).to_vec();
    // At most two of each residue: as tracks an artist.
    let mut taken = [0; 50];
    let found = index
        .search_until(&query, 60, &SearchParams::default(), |neighbor| {
            let artist = &mut taken[(neighbor.track.0 % 50) as usize];
            *artist += 1;
            *artist <= 2
        })
        .unwrap();
    assert!(found.len() == 60 && is_sorted_and_unique(&found));
    let mut offered = 0;
    let none = index.search_until(&query, 5, &SearchParams::default(), |_| {
        offered += 1;
        false
    });
    assert_eq!((none.unwrap(), offered), (vec![], 500));
}

#[test]
fn corrections_make_hubs_rarer() {
    let (n, dimension) = (1500, 100);
    let (ids, vectors) = (ids(n), clustered(16, n, dimension, 3));
    for kind in [Hubness::LocalScaling { k: 10 }, Hubness::MutualProximity] {
        let options = IndexOptions { hubness: Some(kind), ..IndexOptions::default() };
        let index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        let skewness = |correct_hubs| {
            let params = SearchParams { correct_hubs, ..SearchParams::default() };
            k_occurrence_skewness(&ids, &index.knn_graph(10, &params).unwrap())
        };
        let (before, after) = (skewness(false), skewness(true));
        assert!(before > 1. && after < 0.7 * before, "{kind:?}: {before} to {after}");
    }
    // Counts 3, 1, 0, 0: mean 1, second moment 1.5, third 1.5.
    let [a, b, c, d] = [1, 2, 3, 4].map(TrackId);
    let near = |track| vec![Neighbor { track, similarity: 0.5 }];
    let skewness = k_occurrence_skewness(&[a, b, c, d], &[near(b), near(a), near(a), near(a)]);
    assert!((skewness - 1.5 / 1.5_f64.powf(1.5)).abs() < 1e-12);
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
        let passing: Vec<TrackId> = index.tracks().into_iter().filter(|&track| filter(track)).collect();
        let query = clustered(seed + 1, 1, dimension, 5).row(0).to_vec();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        index.save(&path, &stamp(dimension)).unwrap();
        let loaded = VectorIndex::load(&path, &stamp(dimension)).unwrap();
        for mode in [SearchMode::Auto, SearchMode::Exact, SearchMode::Scan] {
            let params = SearchParams { mode, filter: Some(&filter), ..SearchParams::default() };
            let found = index.search(&query, k, &params).unwrap();
            prop_assert!(is_sorted_and_unique(&found));
            prop_assert_eq!(found.len(), k.min(passing.len()));
            prop_assert!(found.iter().all(|neighbor| passing.binary_search(&neighbor.track).is_ok()));
            prop_assert_eq!(&found, &loaded.search(&query, k, &params).unwrap());
            if mode == SearchMode::Exact {
                let rows: Vec<usize> = passing.iter().map(|id| (id.0 as usize - 5) / 3).collect();
                let kept = vectors.select(ndarray::Axis(0), &rows);
                prop_assert_eq!(recall(&found, &brute(&passing, &kept, ArrayView1::from(&query)), k), 1.);
            }
        }
    }
}
