use std::sync::Arc;

use super::*;
use crate::directions::tests::sparse;
use crate::grouping::tests::spilled;
use crate::{SearchMode, SearchParams, VectorIndex};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_base::track::Id;

fn vectors(rng: &mut StdRng, n: usize, dimension: usize) -> ndarray::Array2<f32> {
    let mut all =
        ndarray::Array2::from_shape_simple_fn((n, dimension), || rng.random::<f32>() - 0.4);
    for mut row in all.outer_iter_mut() {
        row /= row.dot(&row).sqrt();
    }
    all
}

/// Makes the digests right again after a change.
fn sign(bytes: &mut [u8]) {
    let header_len = u32::from_le_bytes(array(&bytes[12..16])) as usize;
    let body_start = u64::from_le_bytes(array(&bytes[16..24])) as usize;
    if body_start > bytes.len() || PREFIX + header_len > body_start {
        return;
    }
    let table: Vec<u8> = bytes[body_start..]
        .chunks(PIECE)
        .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
        .collect();
    if PREFIX + header_len + table.len() <= body_start {
        bytes[PREFIX + header_len..][..table.len()].copy_from_slice(&table);
    }
    let root = head_digest(&bytes[..body_start]);
    bytes[24..PREFIX].copy_from_slice(&root);
}

/// Options with which no section of a file is empty.
fn everything() -> IndexOptions {
    IndexOptions {
        m: 4,
        graph_from: 0,
        lists_from: 0,
        ef_construction: 30,
        ..IndexOptions::default()
    }
}

/// As [`everything`], of an index that holds no vectors.
fn without_vectors() -> IndexOptions {
    IndexOptions {
        graph_from: usize::MAX,
        residual_bits: Some(4),
        ..everything()
    }
}

#[test]
fn a_flipped_byte_in_any_section_is_told() {
    let vectors = vectors(&mut StdRng::seed_from_u64(8), 600, 70);
    let ids: Vec<Id> = (0..600).map(Id).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: "x".into(),
        dimension: 70,
    };
    for options in [everything(), without_vectors()] {
        VectorIndex::build(&ids, vectors.view(), &options)
            .unwrap()
            .save(&path, &stamp)
            .unwrap();
        let good = std::fs::read(&path).unwrap();
        let body_start = u64::from_le_bytes(array(&good[16..24])) as usize;
        let (header, _) = parse_head(&Damage(path.clone()), &good[..body_start]).unwrap();
        let all = Sections::of(&header).unwrap();
        let mut sections = vec![
            all.mean,
            all.ids,
            all.starts,
            all.directions,
            all.centres,
            all.blocks,
            all.hi,
        ];
        sections.extend(match options.residual_bits {
            Some(_) => vec![all.scales],
            None => vec![all.meta, all.links, all.places, all.lo],
        });
        for section in sections {
            assert!(!section.is_empty());
            for at in [
                section.start,
                section.start.midpoint(section.end),
                section.end - 1,
            ] {
                let mut bad = good.clone();
                bad[body_start + at] ^= 1;
                std::fs::write(&path, &bad).unwrap();
                let error = VectorIndex::open(&path).err();
                assert!(
                    matches!(error, Some(IndexError::Damaged { .. })),
                    "byte {at}: {error:?}"
                );
            }
        }
    }
}

#[test]
fn a_search_checked_as_it_reads_is_right_or_reports_damage() {
    let mut rng = StdRng::seed_from_u64(9);
    let vectors = vectors(&mut rng, 6000, 70);
    let ids: Vec<Id> = (0..6000).map(Id).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: "x".into(),
        dimension: 70,
    };
    let options = IndexOptions {
        lists_from: 0,
        ..IndexOptions::default()
    };
    let whole = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
    whole.save(&path, &stamp).unwrap();
    let good = std::fs::read(&path).unwrap();
    let body_start = u64::from_le_bytes(array(&good[16..24])) as usize;
    let (header, _) = parse_head(&Damage(path.clone()), &good[..body_start]).unwrap();
    let sections = Sections::of(&header).unwrap();
    let by = |mode, ef| SearchParams {
        mode,
        ef: Some(ef),
        ..SearchParams::default()
    };
    let lists = by(SearchMode::Lists, 3);
    let walk = by(SearchMode::Hnsw, 5);
    let mut right = 0;
    let mut reported = 0;
    for (section, narrow, exact_reads_it) in [
        (sections.blocks.clone(), lists, false),
        (sections.hi, lists, true),
        (sections.lo, lists, true),
        (sections.blocks, walk, false),
        (sections.links, walk, false),
        (sections.places, walk, false),
    ] {
        for _ in 0..20 {
            let mut bad = good.clone();
            bad[body_start + rng.random_range(section.clone())] ^= 1 << rng.random_range(0..8);
            std::fs::write(&path, &bad).unwrap();
            let (index, _) = VectorIndex::load_any_generation(&path, &stamp).unwrap();
            for row in [5, 700, 5900] {
                let query = vectors.row(row).to_vec();
                match index.search(&query, 3, &narrow) {
                    Ok(found) => {
                        assert_eq!(found, whole.search(&query, 3, &narrow).unwrap());
                        assert_eq!(index.vector(ids[row]), whole.vector(ids[row]));
                        right += 1;
                    }
                    Err(IndexError::Damaged { .. }) => reported += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            let params = SearchParams {
                mode: SearchMode::Exact,
                ..SearchParams::default()
            };
            let all = index.search_batch(vectors.slice(ndarray::s![..4, ..]), 6000, &params);
            assert!(!exact_reads_it || matches!(all, Err(IndexError::Damaged { .. })));
            assert!(matches!(index.check(), Err(IndexError::Damaged { .. })));
            assert!(matches!(
                index.knn_graph(2, &narrow),
                Err(IndexError::Damaged { .. })
            ));
            assert!(index.save(&folder.path().join("other"), &stamp).is_err());
        }
    }
    assert!(
        right > 60 && reported > 60,
        "{right} right, {reported} reported"
    );
    std::fs::write(&path, &good).unwrap();
    let (index, _) = VectorIndex::load_any_generation(&path, &stamp).unwrap();
    // Walks gather codes until there were enough to make blocks.
    for row in (0..6000).step_by(40) {
        let query = vectors.row(row).to_vec();
        assert_eq!(
            index.search(&query, 10, &walk).unwrap(),
            whole.search(&query, 10, &walk).unwrap()
        );
    }
    assert!(index.stats().bytes > good.len() * 2);
    index.check().unwrap();
    assert_eq!(index.vectors().unwrap(), whole.vectors().unwrap());
}

/// Runs for `VOISIN_FUZZ_SECONDS`, two by default.
#[test]
fn forged_files_with_right_checksums_are_refused_or_searched() {
    let some = vectors(&mut StdRng::seed_from_u64(7), 300, 20);
    let ids: Vec<Id> = (0..300).map(Id).collect();
    for options in [
        IndexOptions {
            m: 16,
            ..everything()
        },
        without_vectors(),
    ] {
        forge(&VectorIndex::build(&ids, some.view(), &options).unwrap());
    }
    forge(&spilled(&sparse(20, 6), &everything()));
}

fn forge(index: &VectorIndex) {
    let dimension = index.dimension();
    let seconds = std::env::var("VOISIN_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(2.);
    let mut rng = StdRng::seed_from_u64(seconds as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: "x".into(),
        dimension,
    };
    index.save(&path, &stamp).unwrap();
    let reader = |_: &[Id], vectors: &mut [f32]| {
        vectors.fill(0.5);
        Ok(())
    };
    let good = std::fs::read(&path).unwrap();
    let header_end = PREFIX + u32::from_le_bytes(array(&good[12..16])) as usize;
    let body_start = u64::from_le_bytes(array(&good[16..24])) as usize;
    let mut accepted = 0;
    let mut refused = 0;
    let start = std::time::Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        let mut bad = good.clone();
        for _ in 0..rng.random_range(1..6) {
            let part = match rng.random_range(0..4) {
                0 => 8..header_end,
                1 => body_start..(body_start + 30_000).min(bad.len()),
                _ => body_start..bad.len(),
            };
            let at = rng.random_range(part);
            if rng.random() && at + 4 <= bad.len() {
                let word: u32 = [0, 1, u32::MAX, i32::MAX as u32, 1 << 20, rng.random()]
                    [rng.random_range(0..6)];
                bad[at..at + 4].copy_from_slice(&word.to_le_bytes());
            } else if at < header_end && rng.random() {
                // Most numbers of the header are small.
                bad[at] = rng.random_range(0..3);
            } else {
                bad[at] = rng.random();
            }
        }
        if rng.random_ratio(1, 8) {
            bad.truncate(rng.random_range(24..bad.len()));
        }
        if bad.len() >= PREFIX {
            sign(&mut bad);
        }
        std::fs::write(&path, &bad).unwrap();
        let query = vec![1.; dimension];
        if let Ok((mut index, _)) = VectorIndex::load_any_generation(&path, &stamp) {
            index.read_vectors_with(Arc::new(reader));
            for mode in [SearchMode::Scan, SearchMode::Lists, SearchMode::Hnsw] {
                let _ = index.search(
                    &query,
                    10,
                    &SearchParams {
                        mode,
                        ..SearchParams::default()
                    },
                );
            }
        }
        let Ok((mut index, _)) = VectorIndex::open(&path) else {
            refused += 1;
            continue;
        };
        index.read_vectors_with(Arc::new(reader));
        accepted += 1;
        let query = vec![1. / (index.dimension() as f32).sqrt(); index.dimension()];
        for mode in [
            SearchMode::Exact,
            SearchMode::Scan,
            SearchMode::Hnsw,
            SearchMode::Lists,
        ] {
            let params = SearchParams {
                mode,
                ..SearchParams::default()
            };
            match index.search(&query, 10, &params) {
                Ok(found) => assert!(found.len() <= 10),
                Err(error) => {
                    assert!(matches!(
                        error,
                        IndexError::NoGraph { .. } | IndexError::NoLists { .. }
                    ));
                }
            }
        }
        let _ = index.stats();
    }
    assert!(
        accepted > 0 && refused > 0,
        "{accepted} accepted, {refused} refused"
    );
}
