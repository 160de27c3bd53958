use super::*;
use crate::SearchParams;
use crate::tests::{built, clustered};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_simd::buffer::copy;

fn stamp(dimension: usize) -> IndexStamp {
    IndexStamp {
        generation: 1,
        model_fingerprint: "x".into(),
        dimension,
    }
}

/// An index with a tail and removed vectors: no section of its file is empty.
fn changed(n: usize, dimension: usize) -> VectorIndex {
    let vectors = clustered(8, n, dimension, 9);
    let mut index = built(&vectors.slice(ndarray::s![..n - 9, ..]).to_owned());
    for row in n - 9..n {
        index
            .insert(Id(row as i64), &vectors.row(row).to_vec())
            .unwrap();
    }
    assert!(index.remove(Id(3)));
    index
}

/// Makes the digests right again after a change.
fn sign(bytes: &mut [u8]) {
    let length = u32::from_le_bytes(array(&bytes[12..16])) as usize;
    let start = PREFIX.saturating_add(length).next_multiple_of(PAGE);
    if start > bytes.len() {
        return;
    }
    let body = body_digest(&bytes[start..]);
    bytes[16 + DIGEST..PREFIX].copy_from_slice(&body);
    let head = head_digest(&bytes[..start]);
    bytes[16..][..DIGEST].copy_from_slice(&head);
}

#[test]
fn a_flipped_byte_in_any_section_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    changed(600, 70).save(&path, &stamp(70)).unwrap();
    let good = std::fs::read(&path).unwrap();
    let (header, start) = Damage(path.clone()).head(&good).unwrap();
    let all = header.sections().unwrap();
    for section in [
        all.mean,
        all.meta,
        all.ids,
        all.live,
        all.tail_meta,
        all.tail_ids,
        all.starts,
        all.directions,
        all.centres,
        all.blocks,
        all.hi,
        all.lo,
        all.links,
        all.places,
        all.tail_hi,
        all.tail_lo,
    ] {
        assert!(!section.is_empty());
        for at in [section.start, section.end - 1] {
            let mut bad = good.clone();
            bad[start + at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let error = VectorIndex::open(&path).err();
            assert!(
                matches!(error, Some(IndexError::Damaged { .. })),
                "byte {at}: {error:?}"
            );
        }
    }
}

#[test]
fn an_opened_index_answers_as_the_built_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    let index = changed(6000, 70);
    index.save(&path, &stamp(70)).unwrap();
    let (opened, _) = VectorIndex::load_any_generation(&path, &stamp(70), false).unwrap();
    let params = SearchParams {
        width: Some(60),
        ..SearchParams::default()
    };
    // Walks gather codes until there were enough to make blocks.
    for row in (0..6000).step_by(40) {
        let query = index.vector(Id(row + 1)).unwrap();
        let found = opened.search(&query, 10, &params).unwrap();
        assert_eq!(found, index.search(&query, 10, &params).unwrap());
    }
    assert_eq!(opened.stats(), index.stats());
    assert_eq!(opened.vectors(), index.vectors());
}

/// Runs for `VOISIN_FUZZ_SECONDS`, two by default.
#[test]
fn forged_files_with_right_checksums_are_refused_or_searched() {
    let seconds = std::env::var("VOISIN_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(2.);
    let mut rng = StdRng::seed_from_u64(seconds as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.bin");
    changed(300, 20).save(&path, &stamp(20)).unwrap();
    let good = std::fs::read(&path).unwrap();
    let (_, body) = Damage(path.clone()).head(&good).unwrap();
    let header = PREFIX + u32::from_le_bytes(array(&good[12..16])) as usize;
    let mut accepted = 0;
    let mut refused = 0;
    let start = std::time::Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        let mut bad = good.clone();
        for _ in 0..rng.random_range(1..6) {
            let part = if rng.random_ratio(1, 4) {
                8..header
            } else {
                body..bad.len()
            };
            let at = rng.random_range(part);
            if rng.random() && at + 4 <= bad.len() {
                let word: u32 = [0, 1, u32::MAX, i32::MAX as u32, 1 << 20, rng.random()]
                    [rng.random_range(0..6)];
                bad[at..at + 4].copy_from_slice(&word.to_le_bytes());
            } else {
                bad[at] = rng.random_range(0..3);
            }
        }
        if rng.random_ratio(1, 8) {
            bad.truncate(rng.random_range(PREFIX..bad.len()));
        }
        sign(&mut bad);
        let bytes = Arc::new(copy(&bad[..], bad.len()).unwrap());
        let opened = VectorIndex::of_file(Damage(path.clone()), bytes, bad.len());
        if let Ok((index, stamp)) = &opened {
            let query = vec![1.; stamp.dimension];
            let params = SearchParams::default();
            let alone = index.search(&query, 10, &params).unwrap();
            let rows = ndarray::Array2::ones((3, stamp.dimension));
            let found = index.search_batch(rows.view(), 10, &params).unwrap();
            assert!(alone.len() <= 10 && found.iter().all(|found| found.len() <= 10));
        }
        match opened.and_then(|(index, _)| index.check().map(|()| index.stats())) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        accepted > 0 && refused > 0,
        "{accepted} accepted, {refused} refused"
    );
}
