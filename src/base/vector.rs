//! Vector arithmetic on slices.

/// How far from 1 the norm of a stored vector may be.
pub const NORM_TOLERANCE: f64 = 1e-3;

/// Sum of products in eight lanes, which the compiler vectorises: the same bits on every machine.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_in_lanes::<8>(a, b)
}

/// [`dot`] with another number of lanes, if that is faster or its result is stored.
pub fn dot_in_lanes<const LANES: usize>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
    // The order of the sums is fixed here and not by the compiler, hence the same bits.
    lanes.into_iter().sum::<f32>() + rest
}

/// Sum of squares, in double precision.
pub fn squared_norm(vector: &[f32]) -> f64 {
    vector
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum()
}

/// Euclidean norm, in double precision, so that neither large values overflow nor small ones vanish when squared.
pub fn norm(vector: &[f32]) -> f64 {
    squared_norm(vector).sqrt()
}

/// Divides a vector by its norm; returns false without a change if that is zero or not finite.
pub fn make_unit(vector: &mut [f32]) -> bool {
    let norm = norm(vector);
    // Zero, NaN, infinity, and norms so small that dividing by them loses the digits.
    if !norm.is_normal() {
        return false;
    }
    for value in vector {
        *value = (f64::from(*value) / norm) as f32;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_norms() {
        let a: Vec<f32> = (0..19).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..19).map(|i| 2.0 - i as f32).collect();
        assert_eq!(
            dot(&a, &b),
            (0..19).map(|i| i * (2 - i)).sum::<i32>() as f32
        );
        assert_eq!(dot_in_lanes::<16>(&a, &b), dot(&a, &b));
        assert_eq!(norm(&[3.0, 0.0, 4.0]), 5.0);
        let mut vector = [3.0, 4.0];
        assert!(make_unit(&mut vector));
        assert_eq!(vector, [0.6, 0.8]);
        for mut vector in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 0.0]] {
            assert!(!make_unit(&mut vector));
        }
    }
}
