//! The index loader: a base and its tail of arbitrary bytes with valid checksums, searched if they open.
//!
//! Input: length of the base (u32, little-endian), the base, the tail.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use voisin_base::track::TrackId;
use voisin_index::{IndexStamp, SearchMode, SearchParams, VectorIndex};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("index.bin"));

const PREFIX: usize = 56;
const PIECE: usize = 1 << 14;

fn word(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |word| {
        u32::from_le_bytes(word.try_into().expect("four")) as usize
    })
}

/// Digests of the body's pieces and of the head.
fn sign_base(base: &mut [u8]) -> Option<[u8; 32]> {
    if base.len() < PREFIX {
        return None;
    }
    let header = word(base, 12);
    let body = word(base, 16);
    if word(base, 20) != 0 || body < PREFIX || body > base.len() || header > body - PREFIX {
        return None;
    }
    let table: Vec<u8> = base[body..]
        .chunks(PIECE)
        .flat_map(|piece| *blake3::hash(piece).as_bytes())
        .collect();
    base.get_mut(PREFIX + header..PREFIX + header + table.len())?
        .copy_from_slice(&table);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&base[..24]).update(&base[PREFIX..body]);
    let root = *hasher.finalize().as_bytes();
    base[24..PREFIX].copy_from_slice(&root);
    Some(root)
}

/// The tail's digest, and the digest of its base if its header has one.
fn sign_tail(tail: &mut Vec<u8>, root: [u8; 32]) {
    let header = 16 + word(tail, 12);
    if tail.len() < 16 + 32 || header > tail.len() - 32 {
        return;
    }
    let text = String::from_utf8_lossy(&tail[16..header]).into_owned();
    if let (Some(from), Some(to)) = (text.find('['), text.find(']'))
        && from < to
    {
        let named = root.map(|byte| byte.to_string()).join(",");
        let text = format!("{}{named}{}", &text[..=from], &text[to..]);
        tail.splice(16..header, text.bytes());
        tail[12..16].copy_from_slice(&(text.len() as u32).to_le_bytes());
    }
    let end = tail.len() - 32;
    let digest = blake3::hash(&tail[..end]);
    tail[end..].copy_from_slice(digest.as_bytes());
}

/// Vectors for an index without any.
fn vectors(tracks: &[TrackId], vectors: &mut [f32]) -> std::io::Result<()> {
    let dimension = vectors.len() / tracks.len().max(1);
    for (track, vector) in tracks
        .iter()
        .zip(vectors.chunks_exact_mut(dimension.max(1)))
    {
        vector
            .iter_mut()
            .zip(1..)
            .for_each(|(x, at)| *x = ((track.0 % 97) as f32 + at as f32).sin());
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((length, files)) = bytes.split_at_checked(4) else {
        return;
    };
    let length = word(length, 0).min(files.len());
    let (mut base, mut tail) = (files[..length].to_vec(), files[length..].to_vec());
    if let Some(root) = sign_base(&mut base) {
        sign_tail(&mut tail, root);
    }
    let mut beside = FILE.clone().into_os_string();
    beside.push(".tail");
    std::fs::write(&*FILE, &base).expect("room in memory");
    if tail.is_empty() {
        let _ = std::fs::remove_file(&beside);
    } else {
        std::fs::write(&beside, &tail).expect("room in memory");
    }
    if let Ok(stamp) = VectorIndex::summary(&FILE).map(|summary| summary.stamp)
        && let Ok((mut index, _)) = VectorIndex::load_any_generation(&FILE, &stamp)
    {
        index.read_vectors_with(Arc::new(vectors));
        // Checked while reading: a fault is reported, or never reached.
        let query = vec![1.; index.dimension()];
        for mode in [SearchMode::Exact, SearchMode::Scan, SearchMode::Auto] {
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
    // The changes after the base, as in a single file.
    if let Ok((mut index, _)) = VectorIndex::from_bytes(&[&base[..], &tail[..]].concat()) {
        index.read_vectors_with(Arc::new(vectors));
        let query = vec![1.; index.dimension()];
        let _ = index.search(&query, 10, &SearchParams::default());
    }
    let Ok((mut index, stamp)) = VectorIndex::open(&FILE) else {
        return;
    };
    index.read_vectors_with(Arc::new(vectors));
    let _ = index.stats();
    let dimension = index.dimension();
    let query = vec![1. / (dimension as f32).sqrt(); dimension];
    let even = |track: TrackId| track.0 % 2 == 0;
    for mode in [
        SearchMode::Exact,
        SearchMode::Scan,
        SearchMode::Lists,
        SearchMode::Hnsw,
        SearchMode::Auto,
    ] {
        for params in [
            SearchParams {
                mode,
                ..SearchParams::default()
            },
            SearchParams {
                mode,
                filter: Some(&even),
                ..SearchParams::default()
            },
            SearchParams {
                mode,
                ef: Some(3),
                ..SearchParams::default()
            },
        ] {
            let found = match index.search(&query, 10, &params) {
                Err(_) if matches!(mode, SearchMode::Lists | SearchMode::Hnsw) => continue, // it has none
                found => found.expect("a unit vector"),
            };
            assert!(found.len() <= 10.min(index.len()));
            assert!(found.iter().all(|neighbor| neighbor.similarity.is_finite()));
            let together = Array2::from_shape_fn((3, dimension), |(_, column)| query[column]);
            let together = index
                .search_batch(together.view(), 10, &params)
                .expect("searched alone before");
            assert!(together.iter().all(|one| one == &found));
        }
    }
    if let Some(&track) = index.ids().first() {
        let _ = index
            .search_id(track, 5, &SearchParams::default())
            .expect("it is there");
        assert!(index.remove(track) && !index.contains(track));
        index.insert(track, &query).expect("removed before");
    }
    let stamp = IndexStamp {
        generation: stamp.generation.wrapping_add(1),
        ..stamp
    };
    index.save(&FILE, &stamp).expect("room in memory");
    VectorIndex::load(&FILE, &stamp).expect("a saved index opens");
    index.save_changes(&FILE, &stamp).expect("room in memory");
    VectorIndex::load(&FILE, &stamp).expect("a saved index opens");
});
