//! Number types of given vectors.

use std::borrow::Cow;

use half::f16;
use ndarray::{ArrayView2, CowArray, Ix2};

/// A component of an inserted vector or query: `f32`, or `f16` or `f64`, which are converted to it.
pub trait Component: Copy + 'static {
    /// A vector as `f32`.
    #[doc(hidden)]
    fn vector(given: &[Self]) -> Cow<'_, [f32]>;

    /// Rows as `f32`.
    #[doc(hidden)]
    fn rows(given: ArrayView2<'_, Self>) -> CowArray<'_, f32, Ix2>;
}

impl Component for f32 {
    fn vector(given: &[Self]) -> Cow<'_, [f32]> {
        given.into()
    }

    fn rows(given: ArrayView2<'_, Self>) -> CowArray<'_, f32, Ix2> {
        given.into()
    }
}

impl Component for f16 {
    fn vector(given: &[Self]) -> Cow<'_, [f32]> {
        given.iter().map(|x| x.to_f32()).collect()
    }

    fn rows(given: ArrayView2<'_, Self>) -> CowArray<'_, f32, Ix2> {
        given.mapv(f16::to_f32).into()
    }
}

impl Component for f64 {
    fn vector(given: &[Self]) -> Cow<'_, [f32]> {
        given.iter().map(|&x| x as f32).collect()
    }

    fn rows(given: ArrayView2<'_, Self>) -> CowArray<'_, f32, Ix2> {
        given.mapv(|x| x as f32).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::of_all_lengths;
    use crate::{Id, IndexOptions, SearchParams, SharedIndex, VectorIndex};

    #[test]
    fn halves_and_doubles_make_the_index_of_their_floats() {
        let halves = of_all_lengths(500, 24, 1).mapv(f16::from_f32);
        let floats = halves.mapv(f16::to_f32);
        let doubles = floats.mapv(f64::from);
        let ids: Vec<Id> = (0..500).map(Id).collect();
        let options = IndexOptions::default();
        let rest = ndarray::s![400.., ..];
        let first = ndarray::s![..400, ..];
        let params = SearchParams::default();
        let built = VectorIndex::build(&ids[..400], halves.slice(first), &options).unwrap();
        let shared = SharedIndex::new(built);
        shared
            .add(&ids[400..450], halves.slice(ndarray::s![400..450, ..]))
            .unwrap();
        shared.upsert(&ids[400..], halves.slice(rest)).unwrap();
        let of_halves = shared
            .with(|index| index.search_batch(halves.view(), 5, &params))
            .unwrap();
        let mut of_floats = VectorIndex::build(&ids[..400], floats.slice(first), &options).unwrap();
        for row in 400..500 {
            of_floats
                .insert(ids[row], &doubles.row(row).to_vec())
                .unwrap();
        }
        for row in (0..500).step_by(50) {
            let found = of_floats
                .search(&doubles.row(row).to_vec(), 5, &params)
                .unwrap();
            assert_eq!(
                found,
                of_floats
                    .search(&halves.row(row).to_vec(), 5, &params)
                    .unwrap()
            );
            assert_eq!(found[0].id, ids[row]);
        }
        assert_eq!(
            of_halves,
            of_floats.search_batch(floats.view(), 5, &params).unwrap()
        );
    }
}
