//! The moving average of a run's weights.

use rayon::prelude::*;

/// Moves `average` towards `values` by `1 - keep`.
pub(super) fn average(average: &mut [f32], values: &[f32], keep: f32) {
    let chunk = 1 << 14;
    average
        .par_chunks_mut(chunk)
        .zip(values.par_chunks(chunk))
        .for_each(|(average, values)| {
            for (a, v) in average.iter_mut().zip(values) {
                *a += (1.0 - keep) * (v - *a);
            }
        });
}

/// The share of the average that a step keeps: less at the start, when the weights are still random.
pub(super) fn keep(limit: f32, step: u64) -> f32 {
    limit.min((1.0 + step as f32) / (10.0 + step as f32))
}
