//! Saved indexes open again with the same answers; outdated and damaged ones are errors.

use super::*;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn same_answers(a: &VectorIndex, b: &VectorIndex, queries: &Array2<f32>) {
    for mode_ in MODES {
        let found = a.search_batch(queries.view(), 12, &mode(mode_)).unwrap();
        assert_eq!(
            found,
            b.search_batch(queries.view(), 12, &mode(mode_)).unwrap(),
            "{mode_}"
        );
    }
}

#[test]
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
    index.save_changes(&path, &stamp(dimension)).unwrap();
    same_answers(
        &index,
        &VectorIndex::load(&path, &stamp(dimension)).unwrap(),
        &queries,
    );

    // Later changes go to the tail file beside it.
    let before = std::fs::read(&path).unwrap();
    for row in 1900..n {
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
    index.save_changes(&path, &later).unwrap();
    assert!(std::fs::read(&path).unwrap() == [&before[..], b"voisinTL"].concat());
    let loaded = VectorIndex::load(&path, &later).unwrap();
    assert_eq!((loaded.len(), loaded.ids()), (index.len(), index.ids()));
    assert_eq!(loaded.stats().tail, 99);
    same_answers(&index, &loaded, &queries);

    // A rebuild merges the tail and removes its file.
    let rebuilt = rebuilt(&loaded, &options);
    rebuilt.save_changes(&path, &later).unwrap();
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
    let missing = VectorIndex::load(Path::new("/nonexistent/index.bin"), &stamp);
    assert!(matches!(missing, Err(IndexError::Io { .. })));
}

/// Neighbours are spread over more lists than widths are measured in.
#[test]
fn vectors_without_groups_are_saved_and_opened() {
    let n = 4000;
    let dimension = 64;
    let mut rng = StdRng::seed_from_u64(19);
    let mut vectors = Array2::from_shape_simple_fn((n, dimension), || normal(&mut rng));
    for mut row in vectors.outer_iter_mut() {
        row /= row.dot(&row).sqrt();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = IndexOptions {
        lists_from: 0,
        ..IndexOptions::default()
    };
    let index = VectorIndex::build(&ids(n), vectors.view(), &options).unwrap();
    index.save(&path, &stamp(dimension)).unwrap();
    let opened = VectorIndex::load(&path, &stamp(dimension)).unwrap();
    let queries = vectors.slice(s![..20, ..]).to_owned();
    for k in [10, 100] {
        let found = index
            .search_batch(queries.view(), k, &mode(SearchMode::Lists))
            .unwrap();
        assert_eq!(
            found,
            opened
                .search_batch(queries.view(), k, &mode(SearchMode::Lists))
                .unwrap()
        );
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
        let exact = SearchParams {
            mode: SearchMode::Exact,
            ..SearchParams::default()
        };
        for (row, &id) in ids.iter().enumerate() {
            let found = opened
                .search(&vectors.row(row).to_vec(), 1, &exact)
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

/// The seeds of the fuzz target of index files: the length of the base, the base, the tail.
fn fuzz_seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/index")
}

/// Writes small indexes of every kind to [`fuzz_seeds`]: again whenever the format changes.
/// `cargo test --release --test parts index::files::write_fuzz_seeds -- --ignored`.
#[test]
#[ignore = "writes test data"]
fn write_fuzz_seeds() {
    let plain = IndexOptions {
        m: 4,
        ef_construction: 40,
        ..IndexOptions::default()
    };
    let lists = IndexOptions {
        lists_from: 0,
        ..plain
    };
    let kinds = [
        ("scan", 130, 16, plain),
        ("lists", 130, 16, lists),
        (
            "graph",
            130,
            16,
            IndexOptions {
                graph_from: 0,
                ..lists
            },
        ),
        (
            "signs",
            130,
            16,
            IndexOptions {
                residual_bits: Some(1),
                ..lists
            },
        ),
        (
            "signs-in-all-directions",
            1200,
            128,
            IndexOptions {
                residual_bits: Some(1),
                ..lists
            },
        ),
        (
            "products",
            130,
            16,
            IndexOptions {
                metric: voisin_index::IndexMetric::InnerProduct,
                ..lists
            },
        ),
        (
            "distances",
            130,
            16,
            IndexOptions {
                metric: voisin_index::IndexMetric::Euclidean,
                ..lists
            },
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    for (name, n, dimension, options) in kinds {
        let ids = ids(n);
        let vectors = clustered(31, n, dimension, n);
        let mut index =
            VectorIndex::build(&ids[..n - 10], vectors.slice(s![..n - 10, ..]), &options).unwrap();
        index.save_changes(&path, &stamp(dimension)).unwrap();
        for row in n - 10..n {
            index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
        }
        assert!(index.remove(ids[50]) && index.remove(ids[n - 5]));
        index.save_changes(&path, &stamp(dimension)).unwrap();
        let base = std::fs::read(&path).unwrap();
        let mut seed = (base.len() as u32).to_le_bytes().to_vec();
        seed.extend(base);
        seed.extend(std::fs::read(folder.path().join("index.bin.tail")).unwrap());
        assert!(seed.len() < 200_000, "{name}: {} bytes", seed.len());
        std::fs::write(fuzz_seeds().join(name), seed).unwrap();
    }
}

#[test]
fn seeds_of_the_fuzz_target_are_indexes_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let mut tracks = Vec::new();
    for seed in std::fs::read_dir(fuzz_seeds()).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        let (length, rest) = seed.split_at(4);
        let (base, tail) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
        std::fs::write(&path, base).unwrap();
        std::fs::write(folder.path().join("index.bin.tail"), tail).unwrap();
        tracks.push(VectorIndex::open(&path).unwrap().0.len());
    }
    tracks.sort_unstable();
    assert_eq!(tracks, [128, 128, 128, 128, 128, 128, 1198]);
}

#[test]
fn a_summary_equals_the_loaded_index() {
    let ids = ids(300);
    let vectors = clustered(17, 300, 24, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    assert!(matches!(
        VectorIndex::summary(&path),
        Err(IndexError::Io { .. })
    ));
    let options = IndexOptions {
        graph_from: 1000,
        ..IndexOptions::default()
    };
    let mut index =
        VectorIndex::build(&ids[..290], vectors.slice(s![..290, ..]), &options).unwrap();
    index.save_changes(&path, &stamp(24)).unwrap();
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!(
        (summary.items, summary.mode, summary.ef),
        (290, SearchMode::Scan, None)
    );
    index.insert(ids[295], &vectors.row(295).to_vec()).unwrap();
    index.remove(ids[0]);
    index
        .save_changes(
            &path,
            &IndexStamp {
                generation: 9,
                ..stamp(24)
            },
        )
        .unwrap();
    let summary = VectorIndex::summary(&path).unwrap();
    assert_eq!(
        (
            summary.items,
            summary.tail,
            summary.tombstones,
            summary.stamp.generation
        ),
        (290, 1, 1, 9)
    );
    // A truncated head is an error; damage behind the head is found by loading.
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
    let ids = ids(60);
    let vectors = clustered(12, 60, 16, 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let tail = folder.path().join("index.bin.tail");
    let options = IndexOptions::default();
    let mut index = VectorIndex::build(&ids[..50], vectors.slice(s![..50, ..]), &options).unwrap();
    index.insert(ids[55], &vectors.row(55).to_vec()).unwrap();
    index.save_changes(&path, &stamp(16)).unwrap();
    assert_eq!(VectorIndex::load(&path, &stamp(16)).unwrap().len(), 51);
    let old_tail = std::fs::read(&tail).unwrap();
    // A crash between the two renames: this base was written with a tail that is not there.
    std::fs::remove_file(&tail).unwrap();
    assert!(matches!(
        VectorIndex::open(&path),
        Err(IndexError::Damaged { .. })
    ));
    // A complete base with the tail of another: the tail is ignored.
    let whole = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
    whole.save_changes(&path, &stamp(16)).unwrap();
    assert!(!tail.exists());
    std::fs::write(&tail, old_tail).unwrap();
    assert_eq!(VectorIndex::load(&path, &stamp(16)).unwrap().len(), 60);
}

/// An index of 400 vectors that changed since it was built, and its vectors.
fn changed() -> (VectorIndex, Array2<f32>) {
    let ids = ids(400);
    let vectors = clustered(13, 400, 24, 5);
    let mut index =
        VectorIndex::build(&ids[..300], vectors.slice(s![..300, ..]), &graph_options()).unwrap();
    for row in (300..400).rev() {
        index.insert(ids[row], &vectors.row(row).to_vec()).unwrap();
    }
    for row in [3, 250, 350] {
        assert!(index.remove(ids[row]));
    }
    (index, vectors)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_changed_index_is_saved_in_one_file() {
    let (mut index, vectors) = changed();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.index");
    let opened =
        VectorIndex::build(&ids(300), vectors.slice(s![..300, ..]), &graph_options()).unwrap();
    opened.save(&path, &stamp(24)).unwrap();
    let unchanged = std::fs::read(&path).unwrap();
    // Another program's file beside it, even with the name of a tail, is kept.
    let beside = folder.path().join("v.index.tail");
    std::fs::write(&beside, b"mine").unwrap();
    index.save(&path, &stamp(24)).unwrap();
    assert_eq!(names(folder.path()), ["v.index", "v.index.tail"]);
    std::fs::remove_file(&beside).unwrap();
    for _ in 0..3 {
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("other");
        std::fs::copy(&path, &moved).unwrap();
        let loaded = VectorIndex::load(&moved, &stamp(24)).unwrap();
        assert_eq!(loaded.ids(), index.ids());
        same_answers(&index, &loaded, &vectors);
        let summary = VectorIndex::summary(&moved).unwrap();
        let stats = index.stats();
        assert_eq!((summary.items, summary.tail), (index.len(), stats.tail));
        assert_eq!(summary.tombstones, stats.tombstones);
        // The opened index is changed and saved again, over another one.
        index = loaded;
        assert!(index.remove(index.ids()[7]) && index.remove(index.ids()[300]));
        index.save(&path, &stamp(24)).unwrap();
        assert_eq!(names(folder.path()), ["v.index"]);
    }
    // Without its end it is an error, not an older index.
    let good = std::fs::read(&path).unwrap();
    assert!(good.len() > unchanged.len());
    let mut rng = StdRng::seed_from_u64(15);
    let cuts = (unchanged.len()..good.len())
        .step_by(101)
        .chain(unchanged.len()..unchanged.len() + 20);
    for length in cuts {
        std::fs::write(&path, &good[..length]).unwrap();
        let error = VectorIndex::open(&path).err();
        assert!(
            matches!(error, Some(IndexError::Damaged { .. })),
            "cut to {length}: {error:?}"
        );
    }
    for _ in 0..100 {
        let mut bad = good.clone();
        bad[rng.random_range(unchanged.len()..good.len())] ^= 1 << rng.random_range(0..8);
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(
            VectorIndex::open(&path),
            Err(IndexError::Damaged { .. } | IndexError::Version { .. })
        ));
    }
}

#[test]
fn an_index_is_written_to_bytes_and_read_from_them() {
    let (index, vectors) = changed();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.index");
    index.save(&path, &stamp(24)).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    index.write_to(&mut bytes, &stamp(24)).unwrap();
    let bytes = bytes.into_inner();
    assert!(bytes == std::fs::read(&path).unwrap());
    let (read, origin) = VectorIndex::from_bytes(&bytes).unwrap();
    assert_eq!((read.ids(), origin), (index.ids(), stamp(24)));
    same_answers(&index, &read, &vectors);
    // Two files are one, end to end.
    let pair = folder.path().join("pair");
    index.save_changes(&pair, &stamp(24)).unwrap();
    let [base, tail] =
        [pair, folder.path().join("pair.tail")].map(|path| std::fs::read(path).unwrap());
    assert!(matches!(
        VectorIndex::from_bytes(&base),
        Err(IndexError::Damaged { .. })
    ));
    assert_eq!(
        VectorIndex::from_bytes(&[base, tail].concat())
            .unwrap()
            .0
            .ids(),
        index.ids()
    );
}

#[test]
fn a_mapped_file_that_is_written_into_is_an_error() {
    let ids = ids(6000);
    let vectors = clustered(33, 6000, 48, 9);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let options = IndexOptions {
        lists_from: 0,
        ..IndexOptions::default()
    };
    let built = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
    built.save(&path, &stamp(48)).unwrap();
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    let mapped = VectorIndex::load(&path, &stamp(48)).unwrap();
    let (copied, _) = VectorIndex::open(&path).unwrap();
    let mut rng = StdRng::seed_from_u64(34);
    let other: Vec<u8> = (0..length).map(|_| rng.random()).collect();
    // As "cp" does: the file is overwritten in place.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(&other)
        .unwrap();
    let queries = vectors.slice(s![..50, ..]);
    let some = SearchParams::default();
    assert!(matches!(
        mapped.search_batch(queries, 10, &some),
        Err(IndexError::Changed { .. })
    ));
    for query in queries.outer_iter() {
        assert!(matches!(
            mapped.search(&query.to_vec(), 10, &some),
            Err(IndexError::Changed { .. })
        ));
    }
    assert!(matches!(mapped.intact(), Err(IndexError::Changed { .. })));
    // A copy is not changed by anything that happens to the file.
    let found = copied.search_batch(queries, 10, &some).unwrap();
    assert_eq!(found, built.search_batch(queries, 10, &some).unwrap());
    assert!(mapped.stats().mapped && !copied.stats().mapped);
}

/// Elsewhere an open file cannot be replaced.
#[cfg(unix)]
#[test]
fn a_durable_index_refuses_changes_when_its_file_is_replaced() {
    let vectors = clustered(35, 110, 24, 5);
    let built = |n: usize| {
        let rows = vectors.slice(s![..n, ..]);
        VectorIndex::build(&ids(n), rows, &IndexOptions::default()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.index");
    let other = folder.path().join("other.index");
    built(100).save(&path, &stamp(24)).unwrap();
    let kept = SharedIndex::open(&path).unwrap();
    // A save would take its file away.
    let refused = built(10).save(&path, &stamp(24));
    assert!(matches!(
        refused,
        Err(IndexError::Io {
            doing: "locking",
            ..
        })
    ));
    let add = |at: usize| kept.add(&[TrackId(-1)], vectors.slice(s![at..=at, ..]));
    let is_refused = |changed: Result<(), IndexError>| {
        let Err(IndexError::Io { source, .. }) = changed else {
            return false;
        };
        source.to_string().contains("replaced or removed")
    };
    built(10).save(&other, &stamp(24)).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert!(is_refused(add(100)) && is_refused(kept.replace(built(50))));
    assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 10);
    std::fs::remove_file(&path).unwrap();
    assert!(is_refused(add(100)) && is_refused(kept.rebuild()) && !path.exists());
    // Nothing is lost: it can be saved under another name.
    assert_eq!(kept.with(VectorIndex::len), 100);
    let saved = kept.with(|index| index.save(&other, &stamp(24)));
    assert!(saved.is_ok() && VectorIndex::open(&other).unwrap().0.ids() == ids(100));
}

#[test]
fn changes_that_are_missing_are_named() {
    let vectors = clustered(13, 310, 24, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let tail = folder.path().join("index.bin.tail");
    let mut index =
        VectorIndex::build(&ids(300), vectors.slice(s![..300, ..]), &graph_options()).unwrap();
    index.save_changes(&path, &stamp(24)).unwrap();
    let base = std::fs::read(&path).unwrap();
    assert_eq!(names(folder.path()), ["index.bin"]);
    index.remove(TrackId(index.ids()[20].0));
    for generation in 8..11 {
        // The base is not rewritten; a mark that it has a tail is appended once.
        let later = IndexStamp {
            generation,
            ..stamp(24)
        };
        index.save_changes(&path, &later).unwrap();
        assert!(std::fs::read(&path).unwrap() == [&base[..], b"voisinTL"].concat());
        index = VectorIndex::load(&path, &later).unwrap();
        assert_eq!(index.len(), 299);
    }
    let changes = std::fs::read(&tail).unwrap();
    let is_named = |error: Option<IndexError>| matches!(error, Some(IndexError::Damaged { path, .. }) if path == tail);
    std::fs::remove_file(&tail).unwrap();
    assert!(
        is_named(VectorIndex::open(&path).err()) && is_named(VectorIndex::summary(&path).err())
    );
    // As before bases were marked.
    std::fs::write(&path, &base).unwrap();
    assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 300);
    std::fs::write(&tail, changes).unwrap();
    assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 299);
    // Marked by two processes at once, and by one that was killed while writing.
    for mark in [&b"voisinTLvoisinTL"[..], b"voi"] {
        std::fs::write(&path, [&base[..], mark].concat()).unwrap();
        assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 299);
    }
    // A full save replaces both files by one.
    index.save(&path, &stamp(24)).unwrap();
    assert_eq!(names(folder.path()), ["index.bin"]);
    assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 299);
    // Saving changes makes two files again.
    index.save_changes(&path, &stamp(24)).unwrap();
    assert_eq!(names(folder.path()), ["index.bin", "index.bin.tail"]);
    assert_eq!(VectorIndex::open(&path).unwrap().0.len(), 299);
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
    index.save_changes(&path, &stamp(24)).unwrap();
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
        for length in (0..120)
            .step_by(3)
            .chain((120..good.len()).step_by(step))
            .chain([good.len() - 1])
        {
            refused(
                &good[..length],
                &format!("cut to {length} of {}", good.len()),
            );
        }
        refused(&[&good[..], &[0]].concat(), "one byte more");
        for _ in 0..200 {
            let mut bad = good.clone();
            // Half of the flips in the head, where sizes are.
            let end = if rng.random() {
                bad.len()
            } else {
                bad.len().min(1200)
            };
            let at = rng.random_range(0..end);
            bad[at] ^= 1 << rng.random_range(0..8);
            refused(&bad, &format!("bit flipped in byte {at}"));
        }
        std::fs::write(&file, &good).unwrap();
        assert!(VectorIndex::open(&path).is_ok());
    }
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
        let options = IndexOptions {
            lists_from: 0,
            ..IndexOptions::default()
        };
        VectorIndex::build(&ids[..n], vectors.slice(s![..n, ..]), &options).unwrap()
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

/// Opening keeps the codes in memory; the second half of the vectors is read as it is needed.
#[cfg(target_os = "linux")]
#[test]
fn opening_keeps_less_than_700_bytes_a_vector_in_memory() {
    let n = 20_000;
    let dimension = 512;
    let ids = ids(n);
    let vectors = clustered(27, n, dimension, 40);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
    index.save(&path, &stamp(dimension)).unwrap();
    let query = vectors.row(0).to_vec();
    let found = index.search(&query, 10, &SearchParams::default()).unwrap();
    drop(index);
    let opened = VectorIndex::load(&path, &stamp(dimension)).unwrap();
    // The lines of the file's mappings in smaps, each with its figures behind it.
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_of_file = false;
    let mut mapped = 0;
    for line in maps.lines() {
        if let Some(rss) = line.strip_prefix("Rss:").filter(|_| is_of_file) {
            mapped += 1024 * rss.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
            is_of_file = false;
        }
        is_of_file |= line.ends_with(path.to_str().unwrap());
    }
    assert_eq!(
        opened.search(&query, 10, &SearchParams::default()).unwrap(),
        found
    );
    let stats = opened.stats();
    let file = std::fs::metadata(&path).unwrap().len();
    let summary = VectorIndex::summary(&path).unwrap();
    assert!(
        (500 * n..=660 * n).contains(&mapped),
        "{} bytes a vector of the file",
        mapped / n
    );
    // Frequent graph searches create blocks, which the summary counts.
    let blocks = if summary.mode == SearchMode::Hnsw {
        2432 * n
    } else {
        0
    };
    assert!(
        stats.resident <= 700 * n && summary.resident <= (700 * n + blocks) as u64,
        "{stats:?} {summary:?}"
    );
    assert!(summary.bytes == file && file <= 1400 * n as u64, "{file}");
}
