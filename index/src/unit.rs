//! Vectors at length 1.

use std::borrow::Cow;

use voisin_base::track::Id;
use voisin_base::vector::{NORM_TOLERANCE, dot_in_lanes, norm};

use super::IndexError;

/// Whether `vector` has this many components, all finite, and a direction.
pub(crate) fn check(dimension: usize, id: Option<Id>, vector: &[f32]) -> Result<(), IndexError> {
    if vector.len() != dimension {
        return Err(IndexError::Dimension {
            expected: dimension,
            actual: vector.len(),
        });
    }
    if let Some(position) = vector.iter().position(|x| !x.is_finite()) {
        return Err(IndexError::NotFinite { id, position });
    }
    if !is_about_1(vector) && !norm(vector).is_normal() {
        return Err(IndexError::NoDirection { id });
    }
    Ok(())
}

/// Whether a vector's length is 1 within [`NORM_TOLERANCE`], by single precision.
fn is_about_1(vector: &[f32]) -> bool {
    (dot_in_lanes::<16>(vector, vector) - 1.).abs() <= NORM_TOLERANCE as f32
}

/// A vector of length 1 unchanged, any other scaled to it.
pub(crate) fn at_length_1(vector: &[f32]) -> Cow<'_, [f32]> {
    if is_about_1(vector) {
        return vector.into();
    }
    let norm = norm(vector);
    vector
        .iter()
        .map(|&x| (f64::from(x) / norm) as f32)
        .collect::<Vec<_>>()
        .into()
}
