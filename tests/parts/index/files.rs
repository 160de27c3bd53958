//! Saved indexes open again with the same answers; outdated and damaged ones are errors.

use super::*;
use std::path::{Path, PathBuf};

fn same_answers(a: &VectorIndex, b: &VectorIndex, queries: &Array2<f32>) {
    for params in [SearchParams::default(), exact()] {
        assert_eq!(both(a, queries, 12, &params), both(b, queries, 12, &params));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_saved_index_answers_as_before() {
    let n = 2000;
    let dimension = 80;
    let ids = ids(n);
    let vectors = clustered(10, n, dimension, 12);
    let queries = clustered(11, 30, dimension, 12);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = graph_options();
    let mut index =
        VectorIndex::build(&ids[..1900], vectors.slice(s![..1900, ..]), &options).unwrap();
    index.save(&path, &stamp(dimension)).unwrap();
    same_answers(
        &index,
        &VectorIndex::load(&path, &stamp(dimension)).unwrap(),
        &queries,
    );

    // With later changes.
    for row in (1900..n).rev() {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    (0..300)
        .step_by(3)
        .for_each(|row| assert!(index.remove(ids[row])));
    index.remove(ids[1950]);
    let later = IndexStamp {
        generation: 8,
        ..stamp(dimension)
    };
    index.save(&path, &later).unwrap();
    let loaded = VectorIndex::load(&path, &later).unwrap();
    assert_eq!((loaded.len(), loaded.ids()), (index.len(), index.ids()));
    assert_eq!((loaded.stats().tail, loaded.stats().tombstones), (99, 100));
    same_answers(&index, &loaded, &queries);
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!(summary, (later.clone(), index.stats()));
    assert_eq!(summary.1.items, index.len());

    // A rebuild merges the tail.
    let rebuilt = rebuilt(&loaded, &options);
    rebuilt.save(&path, &later).unwrap();
    let again = VectorIndex::load(&path, &later).unwrap();
    assert_eq!(
        (again.stats().tail, again.stats().tombstones, again.len()),
        (0, 0, index.len())
    );

    let load = |expected: &IndexStamp| VectorIndex::load(&path, expected).err();
    assert!(matches!(
        load(&stamp(dimension)),
        Some(IndexError::Stale {
            expected: 7,
            actual: 8,
            ..
        })
    ));
    let other = IndexStamp {
        model_fingerprint: "91bc".into(),
        ..later.clone()
    };
    assert!(matches!(load(&other), Some(IndexError::OtherModel { .. })));
    let other = IndexStamp {
        dimension: 512,
        ..later
    };
    assert!(matches!(
        load(&other),
        Some(IndexError::Dimension {
            expected: 80,
            actual: 512
        })
    ));
    let (_, stamp) = VectorIndex::open(&path).unwrap();
    assert_eq!(stamp.generation, 8);
    for none in ["/nonexistent/index.bin", "/dev/zero"] {
        let refused = VectorIndex::load(Path::new(none), &stamp);
        assert!(matches!(refused, Err(IndexError::Io { .. })));
    }
}

#[test]
fn the_widest_vectors_that_can_be_built_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    for dimension in [20_000, 65_536] {
        let ids = ids(6);
        let vectors = clustered(3, 6, dimension, 2);
        let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
        index.save(&path, &stamp(dimension)).unwrap();
        let opened = VectorIndex::load(&path, &stamp(dimension)).unwrap();
        assert_eq!(opened.ids(), index.ids());
        for (row, &id) in ids.iter().enumerate() {
            let found = opened
                .search(&vectors.row(row).to_vec(), 1, &exact())
                .unwrap();
            assert!(
                found[0].id == id && (found[0].similarity - 1.).abs() < 1e-3,
                "{found:?}"
            );
            assert_eq!(opened.vector(id), index.vector(id));
        }
    }
    let wide = Array2::<f32>::zeros((0, 65_537));
    let refused = VectorIndex::build(&[], wide.view(), &IndexOptions::default());
    assert_eq!(
        refused.err().unwrap().to_string(),
        "index option dimension is 65537, expected 1 to 65536"
    );
}

/// The seeds of the fuzz target of index files.
fn fuzz_seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fuzz/seeds/index")
}

/// Writes small indexes to [`fuzz_seeds`]: again whenever the format changes.
/// `cargo test --release --test parts index::files::write_fuzz_seeds -- --ignored`.
#[test]
#[ignore = "writes test data"]
fn write_fuzz_seeds() {
    for (name, graph_from) in [("scan", usize::MAX), ("graph", 0)] {
        let options = IndexOptions {
            m: 4,
            ef_construction: 40,
            graph_from,
            ..IndexOptions::default()
        };
        let vectors = clustered(31, 130, 16, 130);
        let ids = ids(130);
        let first = vectors.slice(s![..120, ..]);
        let mut index = VectorIndex::build(&ids[..120], first, &options).unwrap();
        for row in 120..130 {
            index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
        }
        assert!(index.remove(ids[50]) && index.remove(ids[125]));
        index.save(&fuzz_seeds().join(name), &stamp(16)).unwrap();
    }
}

#[test]
fn seeds_of_the_fuzz_target_are_indexes_of_today() {
    for name in ["scan", "graph"] {
        let (index, _) = VectorIndex::open(&fuzz_seeds().join(name)).unwrap();
        assert_eq!((index.len(), index.has_graph()), (128, name == "graph"));
    }
}

#[test]
fn damaged_files_are_errors() {
    let ids = ids(400);
    let vectors = clustered(13, 400, 24, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let mut index =
        VectorIndex::build(&ids[..390], vectors.slice(s![..390, ..]), &graph_options()).unwrap();
    for row in 390..400 {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    index.remove(ids[3]);
    index.save(&path, &stamp(24)).unwrap();
    let mut rng = StdRng::seed_from_u64(14);
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str, in_head: bool| {
        std::fs::write(&path, bytes).unwrap();
        match VectorIndex::open(&path) {
            Err(IndexError::Damaged { .. } | IndexError::Version { .. }) => {}
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what}: accepted"),
        }
        assert!(!in_head || VectorIndex::summary(&path).is_err(), "{what}");
    };
    let step = good.len() / 50;
    for length in (0..120)
        .step_by(3)
        .chain((120..good.len()).step_by(step))
        .chain([good.len() - 1])
    {
        let what = format!("cut to {length} of {}", good.len());
        refused(&good[..length], &what, length < 4096);
    }
    refused(&[&good[..], &[0]].concat(), "one byte more", false);
    for _ in 0..200 {
        let mut bad = good.clone();
        // Half of the flips in the head, where sizes are.
        let end = if rng.random() { bad.len() } else { 1200 };
        let at = rng.random_range(0..end);
        bad[at] ^= 1 << rng.random_range(0..8);
        refused(&bad, &format!("bit flipped in byte {at}"), at < 1200);
    }
    std::fs::write(&path, &good).unwrap();
    assert!(VectorIndex::open(&path).is_ok());
}

/// The child process that the next test kills.
#[test]
#[ignore = "saves until it is killed"]
fn saves_without_end() {
    let Some(path) = std::env::var_os("VOISIN_TEST_INDEX") else {
        return;
    };
    let ids = ids(3000);
    let vectors = clustered(25, 3000, 64, 12);
    let build = |n: usize| {
        VectorIndex::build(&ids[..n], vectors.slice(s![..n, ..]), &graph_options()).unwrap()
    };
    let few = build(2000);
    let many = build(3000);
    loop {
        few.save(
            Path::new(&path),
            &IndexStamp {
                generation: 2000,
                ..stamp(64)
            },
        )
        .unwrap();
        many.save(
            Path::new(&path),
            &IndexStamp {
                generation: 3000,
                ..stamp(64)
            },
        )
        .unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_kill_while_saving_leaves_the_old_index_or_the_new() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let mut rng = StdRng::seed_from_u64(26);
    for _ in 0..8 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "index::files::saves_without_end"])
            .env("VOISIN_TEST_INDEX", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = std::fs::metadata(&path)
            .and_then(|file| file.modified())
            .ok();
        let is_new = || {
            std::fs::metadata(&path)
                .and_then(|file| file.modified())
                .ok()
                != before
        };
        let start = std::time::Instant::now();
        while !is_new() && start.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_micros(
            rng.random_range(0..20_000),
        ));
        child.kill().unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(9),
            "it ended by itself"
        );
        let (index, stamp) = VectorIndex::open(&path).unwrap();
        assert!([2000, 3000].contains(&index.len()) && stamp.generation == index.len() as u64);
    }
}
