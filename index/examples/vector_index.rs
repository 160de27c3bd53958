//! A vector index by itself: built, searched, filtered, changed while it is searched, saved and
//! opened again.
//!
//! ```text
//! cargo run --release -p voisin-index --example vector_index
//! ```

#![allow(clippy::print_stdout)] // an example shows its results

use ndarray::{Array2, s};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_index::{
    Id, IndexMetric, IndexOptions, IndexStamp, SearchParams, SharedIndex, VectorIndex,
};

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

    // Cosines are the default metric. From 5 000 vectors on there are lists; fewer are scanned.
    let options = IndexOptions {
        metric: IndexMetric::Euclidean,
        ..IndexOptions::default()
    };
    let index = VectorIndex::build(&ids[..5900], vectors.slice(s![..5900, ..]), &options)?;
    let check = index.self_check(200)?;
    println!(
        "{} vectors; {} do not find themselves; recall@10 {:.4}",
        index.len(),
        check.lost.len(),
        check.recall_at_10
    );

    let query = vectors.row(0).to_vec();
    println!(
        "nearest to the first: {:?}",
        index.search(&query, 3, &SearchParams::default())?
    );

    // Filters are applied inside the search, so the result has `k` items: a function, or a bitmap
    // for many searches.
    let hundreds = |id: Id| id.0 % 100 == 0;
    let by_function = SearchParams {
        filter: Some(&hundreds),
        ..SearchParams::default()
    };
    println!(
        "nearest of the hundreds: {:?}",
        index.search(&query, 3, &by_function)?
    );
    let some = index.subset_of(&ids[1000..1100]);
    let by_bitmap = SearchParams {
        subset: Some(&some),
        ..SearchParams::default()
    };
    println!(
        "nearest of a hundred: {:?}",
        index.search(&query, 3, &by_bitmap)?
    );

    // Many threads may search while others add and remove vectors.
    let shared = SharedIndex::new(index);
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| shared.add(&ids[5900..], vectors.slice(s![5900.., ..])));
        let found = shared.with(|index| index.search(&query, 1, &SearchParams::default()));
        println!("meanwhile: {found:?}");
        adding.join().expect("no panic")
    })?;
    shared.remove(Id(0))?;
    println!(
        "now: {:?}",
        shared.with(|index| index.search(&query, 1, &SearchParams::default()))?
    );

    // Saved atomically; opened by mapping the file. The stamp identifies the vectors.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index.bin");
    let stamp = IndexStamp {
        generation: 1,
        model_fingerprint: "none".into(),
        dimension: 64,
    };
    shared.with(|index| index.save(&path, &stamp))?;
    let opened = VectorIndex::load(&path, &stamp)?;
    println!(
        "opened again: {} vectors, by {}",
        opened.len(),
        opened.stats().mode
    );
    Ok(())
}
