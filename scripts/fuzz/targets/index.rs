//! The index loader: a file of arbitrary bytes with valid checksums, searched if it opens.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use voisin_base::track::TrackId;
use voisin_index::{IndexStamp, SearchParams, VectorIndex};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("index.bin"));

const PREFIX: usize = 80;
const PAGE: usize = 4096;
const PIECE: usize = 1 << 20;

/// Makes the digests of the body and of the head right.
fn sign(file: &mut [u8]) {
    let Some(length) = file.get(12..16) else {
        return;
    };
    let length = u32::from_le_bytes(length.try_into().expect("four")) as usize;
    let start = PREFIX.saturating_add(length).next_multiple_of(PAGE);
    if start > file.len() {
        return;
    }
    let mut pieces = blake3::Hasher::new();
    for piece in file[start..].chunks(PIECE) {
        pieces.update(blake3::hash(piece).as_bytes());
    }
    file[48..PREFIX].copy_from_slice(pieces.finalize().as_bytes());
    let mut head = blake3::Hasher::new();
    head.update(&file[..16]).update(&file[48..start]);
    file[16..48].copy_from_slice(head.finalize().as_bytes());
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    sign(&mut file);
    std::fs::write(&*FILE, &file).expect("room in memory");
    let _ = VectorIndex::summary(&FILE);
    let Ok((mut index, stamp)) = VectorIndex::open(&FILE) else {
        return;
    };
    let _ = index.stats();
    let dimension = index.dimension();
    let query = vec![1. / (dimension as f32).sqrt(); dimension];
    let even: Vec<TrackId> = index.ids().into_iter().filter(|id| id.0 % 2 == 0).collect();
    let subset = index.subset_of(&even);
    for params in [
        SearchParams::default(),
        SearchParams {
            exact: true,
            ..SearchParams::default()
        },
        SearchParams {
            width: Some(3),
            ..SearchParams::default()
        },
        SearchParams {
            subset: Some(&subset),
            ..SearchParams::default()
        },
    ] {
        let found = index.search(&query, 10, &params).expect("a unit vector");
        assert!(found.len() <= 10.min(index.len()));
        assert!(found.iter().all(|neighbor| neighbor.similarity.is_finite()));
        let together = Array2::from_shape_fn((3, dimension), |(_, column)| query[column]);
        let together = index.search_batch(together.view(), 10, &params);
        assert!(together.expect("searched alone before").len() == 3);
    }
    if let Some(&track) = index.ids().first() {
        assert!(index.remove(track) && !index.contains(track));
        index.insert(track, &query).expect("removed before");
    }
    let stamp = IndexStamp {
        generation: stamp.generation.wrapping_add(1),
        ..stamp
    };
    index.save(&FILE, &stamp).expect("room in memory");
    VectorIndex::load(&FILE, &stamp).expect("a saved index opens");
});
