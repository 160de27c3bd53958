//! Scored names as integers, and selecting the best of many.

use std::fmt;

/// A vector's name with its score: better ones are smaller, by [`f32::total_cmp`] and then the
/// lower name.
///
/// One integer, so that many are compared and sorted without branches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Scored(u64);

impl Scored {
    #[inline]
    pub fn new(score: f32, name: u32) -> Self {
        let bits = score.to_bits();
        // Positive floats order as their bits, negative ones in reverse.
        let descending = !(bits ^ ((bits as i32 >> 31) as u32 | 1 << 31));
        Self(u64::from(descending) << 32 | u64::from(name))
    }

    #[inline]
    pub fn score(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        f32::from_bits(ascending ^ (!(ascending as i32 >> 31) as u32 | 1 << 31))
    }

    #[inline]
    pub fn name(self) -> u32 {
        self.0 as u32
    }

    /// A number that is smaller for higher scores, in the upper 32 bits, and the name below.
    #[inline]
    pub fn key(self) -> u64 {
        self.0
    }
}

impl From<u64> for Scored {
    #[inline]
    fn from(key: u64) -> Self {
        Self(key)
    }
}

impl fmt::Debug for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.score(), self.name()).fmt(f)
    }
}

/// Keeps the `most` best of `found`, in no order; returns the worst of them, or `None` if there are
/// no more than that.
///
/// Panics if `most` is 0.
pub fn keep_best(found: &mut Vec<Scored>, most: usize) -> Option<Scored> {
    assert!(0 < most, "the best of none");
    if found.len() <= most {
        return None;
    }
    let bound = *found.select_nth_unstable(most - 1).1;
    found.truncate(most);
    Some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_those_of_scores_and_then_names() {
        let values = [f32::NEG_INFINITY, -1., -1e-9, -0., 0., 0.3, 1., f32::NAN];
        for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
            for (i, j) in [(0_u32, 0), (1, 2), (7, 1 << 31), (u32::MAX, 3)] {
                let order = b.total_cmp(&a).then(i.cmp(&j));
                assert_eq!(Scored::new(a, i).cmp(&Scored::new(b, j)), order, "{a} {b}");
                let one = Scored::new(a, i);
                assert_eq!((one.score().to_bits(), one.name()), (a.to_bits(), i));
                assert_eq!(Scored::from(one.key()), one);
            }
        }
    }

    #[test]
    fn the_best_are_kept() {
        // Equal scores, of which the lower name is better.
        let all: Vec<Scored> = (0..100)
            .map(|i| Scored::new((i * 37 % 50) as f32, i))
            .collect();
        let mut want = all.clone();
        want.sort_unstable();
        for most in [1, 2, 33, 99, 100, 101] {
            let mut got = all.clone();
            let bound = keep_best(&mut got, most);
            got.sort_unstable();
            assert_eq!(got, want[..most.min(100)]);
            assert_eq!(bound, (most < 100).then(|| want[most - 1]));
        }
    }
}
