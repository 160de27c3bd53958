//! Alignment of two tracks by their window vectors.

use super::WindowSet;

/// The best alignment of two tracks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alignment {
    /// Time t of `a` sounds at t + offset in `b`, in seconds.
    pub(super) offset: f32,
    /// Weighted mean cosine of aligned windows.
    pub(super) similarity: f32,
    /// Share of the shorter track's windows that have a partner within the tolerance.
    pub(super) coverage: f32,
    /// Mean distance in time between partners, in seconds.
    pub(super) slack: f32,
}

/// For each window of the sparser track at a given offset: its nearest partner in time.
///
/// - `tolerance`: seconds by which partners may differ in time
pub(super) fn at_offset(
    a: &WindowSet,
    b: &WindowSet,
    products: &ndarray::Array2<f32>,
    offset: f32,
    tolerance: f32,
) -> Option<Alignment> {
    let mut sum = 0.0_f32;
    let mut total = 0.0_f32;
    let mut late = 0.0_f32;
    let mut partners = 0_usize;
    // Iterates over the track with fewer windows.
    let swap = b.len() < a.len();
    let (few, many, shift) = if swap {
        (b, a, -offset)
    } else {
        (a, b, offset)
    };
    let mut j = 0;
    for (i, &start) in few.starts.iter().enumerate() {
        let time = start + shift;
        // Both lists are ascending, so that the nearest partner only moves forwards.
        while j + 1 < many.len()
            && (many.starts[j + 1] - time).abs() <= (many.starts[j] - time).abs()
        {
            j += 1;
        }
        let apart = (many.starts[j] - time).abs();
        // Windows without a partner reduce the coverage, not the similarity.
        if apart <= tolerance {
            let product = if swap {
                products[[j, i]]
            } else {
                products[[i, j]]
            };
            // Windows with the same start have the same sound; those half a second apart only nearly.
            let weight = (-(apart / 0.35).powi(2)).exp() + 0.02;
            sum += weight * product;
            total += weight;
            late += apart;
            partners += 1;
        }
    }
    (partners > 0).then(|| Alignment {
        offset,
        similarity: sum / total,
        coverage: partners as f32 / few.len() as f32,
        slack: late / partners as f32,
    })
}

/// Median time between windows, in seconds.
pub(super) fn spacing(windows: &WindowSet) -> f32 {
    let mut gaps: Vec<f32> = windows
        .starts
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    if gaps.is_empty() {
        return 0.0;
    }
    let middle = gaps.len() / 2;
    *gaps.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The offset with the greatest similarity among those that cover at least `coverage` of the shorter track.
///
/// Offsets are tried in steps of 0.1 s within `most` seconds of `around`.
pub(super) fn best(
    a: &WindowSet,
    b: &WindowSet,
    coverage: f32,
    around: f32,
    most: f32,
) -> Option<Alignment> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let products: ndarray::Array2<f32> = a.vectors.dot(&b.vectors.t());
    // Half of the coarser spacing: no window is farther from a partner where the tracks overlap.
    let tolerance = (spacing(a).max(spacing(b)) / 2.0).max(0.5) + 0.01;
    // Fine enough, because the weight of partners falls off over 0.35 s.
    let steps = (most / 0.1).ceil() as i32;
    let tried = (-steps..=steps)
        .filter_map(|step| at_offset(a, b, &products, around + step as f32 * 0.1, tolerance));
    tried
        .filter(|alignment| alignment.coverage >= coverage)
        // Of equals the one with the nearest partners, then the smallest shift.
        .max_by(|x, y| {
            let score = |alignment: &Alignment| alignment.similarity - 0.02 * alignment.slack;
            score(x).total_cmp(&score(y)).then(
                (y.offset - around)
                    .abs()
                    .total_cmp(&(x.offset - around).abs()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::super::testing::unit_vectors;
    use super::*;
    use ndarray::s;

    #[test]
    fn a_shift_is_found() {
        let vectors = unit_vectors(60, 16, 4);
        let starts: Vec<f32> = (0..60).map(|i| i as f32).collect();
        let a = WindowSet {
            starts: starts.clone(),
            vectors: vectors.clone(),
        };
        let b = WindowSet {
            starts: starts[..50].to_vec(),
            vectors: vectors.slice(s![7..57, ..]).to_owned(),
        };
        let found = best(&a, &b, 0.5, 0.0, 20.0).expect("overlap");
        assert!(
            (found.offset + 7.0).abs() < 0.11 && found.similarity > 0.99,
            "{found:?}"
        );
        let back = best(&b, &a, 0.5, 12.0, 10.0).expect("overlap");
        assert!(
            (back.offset - 7.0).abs() < 0.11 && (back.similarity - found.similarity).abs() < 1e-3
        );
    }
}
