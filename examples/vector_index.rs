//! A vector index by itself: no audio, no library.
//!
//! ```text
//! cargo run --release --example vector_index
//! ```

#![allow(clippy::print_stdout)] // an example shows its results

use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin::{IndexOptions, IndexStamp, SearchMode, SearchParams, TrackId, VectorIndex};

fn main() -> anyhow::Result<()> {
    // Any unit vectors will do: here 5 000 of 64 dimensions around fifty centres.
    let mut rng = StdRng::seed_from_u64(1);
    let centres = Array2::from_shape_simple_fn((50, 64), || rng.random::<f32>() - 0.5);
    let mut vectors = Array2::from_shape_simple_fn((5000, 64), || 0.4 * (rng.random::<f32>() - 0.5));
    for (i, mut vector) in vectors.outer_iter_mut().enumerate() {
        vector += &centres.row(i % 50);
        vector /= vector.dot(&vector).sqrt();
    }
    let ids: Vec<TrackId> = (1..=5000).map(TrackId).collect();

    // From 5 000 vectors on the nearest inverted lists are searched; fewer are scanned.
    let options = IndexOptions::default();
    let mut index = VectorIndex::build(&ids, vectors.view(), &options)?;
    let check = index.self_check(200)?;
    println!(
        "{} vectors; {} do not find themselves; recall@10 {:.4}",
        index.len(),
        check.lost.len(),
        check.recall_at_10
    );

    let query = vectors.row(0).to_vec();
    let nearest = index.search(&query, 3, &SearchParams::default())?;
    println!("nearest to vector 1: {nearest:?}");

    // Filters are applied inside the search: the list is full whatever they leave.
    let even = |track: TrackId| track.0 % 2 == 0;
    let params = SearchParams { mode: SearchMode::Auto, filter: Some(&even), ..SearchParams::default() };
    println!("nearest with an even id: {:?}", index.search(&query, 3, &params)?);

    // Vectors come and go without building again.
    index.remove(nearest[1].track);
    index.insert(TrackId(9001), &query)?;
    println!("after a change: {:?}", index.search(&query, 3, &SearchParams::default())?);

    // Saved beside whatever it is a cache of; the stamp says which state of it.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp { generation: 1, model_fingerprint: "none".into(), dimension: 64 };
    index.save(&path, &stamp)?;
    let opened = VectorIndex::load(&path, &stamp)?;
    println!("opened again: {} vectors, {:?}", opened.len(), opened.stats().mode);
    Ok(())
}
