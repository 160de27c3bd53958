//! A vector index by itself: built, searched, filtered, changed, saved and opened again.
//!
//! ```text
//! cargo run --release -p voisin-index --example vector_index
//! ```

#![allow(clippy::print_stdout)] // an example shows its results

use ndarray::{Array2, s};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_index::{Id, IndexOptions, IndexStamp, SearchParams, VectorIndex};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any vectors will do: here 6 000 of 64 dimensions around fifty centres.
    let mut rng = StdRng::seed_from_u64(1);
    let centres = Array2::from_shape_simple_fn((50, 64), || rng.random::<f32>() - 0.5);
    let mut vectors =
        Array2::from_shape_simple_fn((6000, 64), || 0.4 * (rng.random::<f32>() - 0.5));
    for (i, mut vector) in vectors.outer_iter_mut().enumerate() {
        vector += &centres.row(i % 50);
    }
    // Ids are any unique numbers.
    let ids: Vec<Id> = (0..6000).map(|i| Id(10 * i)).collect();

    // From 5 000 vectors on there is a graph; of fewer all are compared.
    let options = IndexOptions::default();
    let mut index = VectorIndex::build(&ids[..5900], vectors.slice(s![..5900, ..]), &options)?;
    let check = index.self_check(200)?;
    println!(
        "{} vectors; {} do not find themselves; recall@10 {:.4}",
        index.len(),
        check.lost.len(),
        check.recall_at_10
    );

    let query = vectors.row(0).to_vec();
    let params = SearchParams::default();
    println!(
        "nearest to the first: {:?}",
        index.search(&query, 3, &params)?
    );

    // A filter is a bitmap, applied inside the search, so that the result has `k` items.
    let some = index.subset_of(&ids[1000..1100]);
    let filtered = SearchParams {
        subset: Some(&some),
        ..params
    };
    println!(
        "nearest of a hundred: {:?}",
        index.search(&query, 3, &filtered)?
    );

    for (id, vector) in ids[5900..].iter().zip(vectors.outer_iter().skip(5900)) {
        index.insert(*id, &vector.to_vec())?;
    }
    index.remove(Id(0));
    println!("now: {:?}", index.search(&query, 1, &params)?);

    // Saved atomically; opened by mapping the file. The stamp identifies the vectors.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: "none".into(),
        dimension: 64,
    };
    index.save(&path, &stamp)?;
    let opened = VectorIndex::load(&path, &stamp)?;
    println!("opened again: {} vectors", opened.len());
    Ok(())
}
