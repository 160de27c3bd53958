use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// About normal.
pub(crate) fn normal(rng: &mut StdRng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.
}

/// Vectors of any length around `clusters` centres, off the origin like embeddings.
pub(crate) fn clustered(seed: u64, n: usize, dimension: usize, clusters: usize) -> Array2<f32> {
    let mut rng = StdRng::seed_from_u64(99);
    let centres = Array2::from_shape_simple_fn((clusters, dimension), || 0.6 + normal(&mut rng));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut vectors = Array2::from_shape_simple_fn((n, dimension), || 0.7 * normal(&mut rng));
    for (i, mut vector) in vectors.outer_iter_mut().enumerate() {
        vector += &centres.row(i * 7919 % clusters);
    }
    vectors
}

/// An index with lists and a graph of any number of vectors, whose ids are their rows.
pub(crate) fn built(vectors: &Array2<f32>) -> VectorIndex {
    let ids: Vec<Id> = (0..vectors.nrows() as i64).map(Id).collect();
    let options = IndexOptions {
        graph_from: 0,
        ..IndexOptions::default()
    };
    VectorIndex::build(&ids, vectors.view(), &options).unwrap()
}

#[test]
fn a_batch_names_its_first_query_that_is_none() {
    let vectors = Array2::from_shape_fn((50, 2), |(row, at)| (row + at) as f32 - 20.2);
    let index = built(&vectors);
    let mut rows = Array2::<f32>::ones((3000, 2));
    rows.row_mut(2900).fill(f32::NAN);
    rows.row_mut(1431).fill(0.);
    rows.row_mut(1432).fill(0.);
    let params = SearchParams::default();
    let refused = index.search_batch(rows.view(), 1, &params).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "query 1431 of the batch: vector has length 0, and so no direction: leave it out"
    );
}

#[test]
fn an_empty_index_has_no_dimension_to_refuse_queries_by() {
    let none = Array2::<f32>::zeros((0, 1));
    let mut index = VectorIndex::build(&[], none.view(), &IndexOptions::default()).unwrap();
    let params = SearchParams::default();
    let queries = Array2::<f32>::ones((3, 7));
    let found = index.search_batch(queries.view(), 5, &params).unwrap();
    assert_eq!(found, vec![Vec::new(); 3]);
    assert_eq!(index.search(&[1_f32; 7], 5, &params).unwrap(), []);
    index.insert(Id(1), &[2.]).unwrap();
    assert!(index.search(&[1_f32; 7], 5, &params).is_err());
}

#[test]
fn every_instruction_set_returns_the_same_results() {
    let vectors = clustered(6, 3000, 200, 30);
    let mut index = built(&vectors);
    let queries = vectors.slice(ndarray::s![..40, ..]);
    for exact in [false, true] {
        let params = SearchParams {
            exact,
            ..SearchParams::default()
        };
        let mut answers = Isa::available().into_iter().map(|isa| {
            index.isa = isa;
            let alone = queries.outer_iter();
            let alone = alone.map(|query| index.search(&query.to_vec(), 10, &params).unwrap());
            let alone: Vec<_> = alone.collect();
            (index.search_batch(queries, 10, &params).unwrap(), alone)
        });
        let first = answers.next().unwrap();
        assert!(answers.all(|other| other == first), "{exact}");
    }
}

#[test]
fn a_set_of_ids_filters() {
    let vectors = clustered(5, 3000, 20, 40);
    let ids: Vec<Id> = (0..3000).map(Id).collect();
    let mut index = built(&vectors.slice(ndarray::s![..2900, ..]).to_owned());
    (2900..3000).for_each(|row| index.insert(ids[row], &vectors.row(row).to_vec()).unwrap());
    (0..3000)
        .step_by(30)
        .for_each(|id| assert!(index.remove(Id(id))));
    // Some twice, some unknown.
    let some: Vec<Id> = (0..900).rev().chain(0..10).map(|id| Id(7 * id)).collect();
    let set = index.subset_of(&some);
    let passes = |id: i64| id % 7 == 0 && id % 30 != 0;
    assert_eq!(set.len(), (0..3000).filter(|&id| passes(id)).count());
    let params = SearchParams {
        subset: Some(&set),
        ..SearchParams::default()
    };
    let queries = vectors.slice(ndarray::s![..50, ..]);
    let found = index.search_batch(queries, 10, &params).unwrap();
    assert!(found.iter().flatten().all(|found| passes(found.id.0)));
    assert!(found.iter().all(|found| found.len() == 10));
    // A set belongs to one state of one index, and to no other index of the same vectors.
    assert!(index.is_current(&set) && !built(&vectors).is_current(&set));
    assert!(index.remove(ids[1]) && !index.is_current(&set));
    let refused = index.search(&vectors.row(0).to_vec(), 10, &params);
    assert!(matches!(refused, Err(IndexError::SubsetOutdated)));
}
