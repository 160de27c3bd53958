//! Scored names as integers, and selecting the best of many.

use std::fmt;

use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Set;

/// A vector's name with its score: better ones are smaller, by [`f32::total_cmp`] and then the
/// lower name.
///
/// One integer, so that many are compared and sorted without branches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Scored(u64);

impl Scored {
    /// A name with its score.
    #[inline]
    pub fn new(score: f32, name: u32) -> Self {
        let bits = score.to_bits();
        // Positive floats order as their bits, negative ones in reverse.
        let descending = !(bits ^ ((bits as i32 >> 31) as u32 | 1 << 31));
        Self(u64::from(descending) << 32 | u64::from(name))
    }

    /// The score.
    #[inline]
    pub fn score(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        f32::from_bits(ascending ^ (!(ascending as i32 >> 31) as u32 | 1 << 31))
    }

    /// The name.
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
    /// From a [key](Self::key).
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

impl Isa {
    /// Keeps at least the `least` best of `found`, in no order, and up to `most` if that is faster;
    /// returns a bound: none of the kept is worse than it, none of the others better. `spare` is
    /// scratch memory.
    ///
    /// Panics if `least` is 0 or more than `most`.
    #[inline]
    pub fn keep_best(
        self,
        found: &mut Vec<Scored>,
        wanted: (usize, usize),
        spare: &mut Vec<Scored>,
    ) -> Option<Scored> {
        let (least, most) = wanted;
        assert!(0 < least && least <= most, "the best of none");
        if found.len() <= most {
            return None;
        }
        let (kept, bound) = match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` is only made for what the processor has.
            Set::Avx512 { .. } => unsafe { avx512::best_to_front(found, wanted, spare) },
            _ => (least, *found.select_nth_unstable(least - 1).1),
        };
        found.truncate(kept);
        Some(bound)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        _mm512_cmplt_epu64_mask, _mm512_loadu_si512, _mm512_maskz_compress_epi64,
        _mm512_set1_epi64, _mm512_storeu_si512,
    };

    use super::Scored;

    /// Scores in a register.
    const LANES: usize = 8;
    /// Most that are sorted by comparing each with all.
    const FEW: usize = 8;
    /// Most rounds, each of which usually halves the rest, before another algorithm takes over.
    const TURNS: usize = 64;

    #[target_feature(enable = "avx512f,popcnt")]
    pub(super) fn best_to_front(
        found: &mut [Scored],
        (least, most): (usize, usize),
        spare: &mut Vec<Scored>,
    ) -> (usize, Scored) {
        // Those before `kept` are among the best, those from `end` on are not.
        let mut kept = 0;
        let mut end = found.len();
        for _ in 0..TURNS {
            let open = &mut found[kept..end];
            if open.len() <= FEW {
                break;
            }
            let a = open[0];
            let b = open[open.len() / 2];
            let c = open[open.len() - 1];
            // The median of three avoids bad splits of sorted input, which is common.
            let pivot = a.min(b).max(a.max(b).min(c));
            // By whole registers, without branches, which would be unpredictable.
            let better = partition(open, pivot, spare);
            if kept + better < least {
                open[better..].copy_from_slice(spare);
            }
            // Too many are better: the bound lies among them, and the others are done.
            if kept + better > most {
                end = kept + better;
                continue;
            }
            kept += better;
            if kept >= least {
                return (kept, pivot);
            }
            if better == 0 {
                // If many are equal, which needs equal names.
                break;
            }
        }
        // After `TURNS` rounds, or with few left, the standard library's selection is fast and
        // never quadratic.
        (
            least,
            *found[kept..end].select_nth_unstable(least - 1 - kept).1,
        )
    }

    /// Moves those of `all` that are better than `pivot` to the front and the others into `rest`;
    /// returns how many are better.
    #[inline]
    #[target_feature(enable = "avx512f,popcnt")]
    fn partition(all: &mut [Scored], pivot: Scored, rest: &mut Vec<Scored>) -> usize {
        let n = all.len();
        rest.clear();
        // Both sides are written in full registers, so `rest` needs room for all.
        rest.reserve(n);
        let limit = _mm512_set1_epi64(pivot.key() as i64);
        let from = all.as_mut_ptr();
        let to = rest.as_mut_ptr();
        let mut better = 0;
        let mut worse = 0;
        let whole = n / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: a `Scored` is a `u64`, and `at + 8 ≤ n`. `better + worse = at`, so that both
            // stores end by `at + 8`, inside the slice and what is reserved; what they overwrite of
            // the slice has been read.
            unsafe {
                let some = _mm512_loadu_si512(from.add(at).cast());
                let mask = _mm512_cmplt_epu64_mask(some, limit);
                _mm512_storeu_si512(
                    from.add(better).cast(),
                    _mm512_maskz_compress_epi64(mask, some),
                );
                _mm512_storeu_si512(
                    to.add(worse).cast(),
                    _mm512_maskz_compress_epi64(!mask, some),
                );
                let count = mask.count_ones() as usize;
                better += count;
                worse += LANES - count;
            }
        }
        // SAFETY: this many were written.
        unsafe { rest.set_len(worse) };
        for at in whole..n {
            let candidate = all[at];
            if candidate < pivot {
                all[better] = candidate;
                better += 1;
            } else {
                rest.push(candidate);
            }
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn orders_are_those_of_scores_and_then_names() {
        let values = [
            f32::NEG_INFINITY,
            -1.,
            -1e-9,
            -0.,
            0.,
            1e-9,
            0.3,
            0.999_999,
            1.,
            f32::INFINITY,
            f32::NAN,
        ];
        for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
            for (i, j) in [(0_u32, 0), (1, 2), (7, 1 << 31), (u32::MAX, 3)] {
                let order = b.total_cmp(&a).then(i.cmp(&j));
                assert_eq!(Scored::new(a, i).cmp(&Scored::new(b, j)), order, "{a} {b}");
                let candidate = Scored::new(a, i);
                assert_eq!(
                    (candidate.score().to_bits(), candidate.name()),
                    (a.to_bits(), i)
                );
                assert_eq!(Scored::from(candidate.key()), candidate);
            }
        }
    }

    #[test]
    fn every_instruction_set_keeps_the_best() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut spare = Vec::new();
        for n in [1, 2, 17, 21, 40, 63, 64, 200, 1000, 5000] {
            for (kind, most) in [1, 2, n / 3, n / 2, n - 1, n, n + 1]
                .into_iter()
                .filter(|&m| m > 0)
                .enumerate()
            {
                let score = |rng: &mut StdRng, i: usize| match kind % 4 {
                    0 => i as f32,
                    1 => -(i as f32),
                    // Few values, so many equals, and the same names again.
                    2 => rng.random_range(-2..3) as f32,
                    _ => rng.random::<f32>() - 0.5,
                };
                let all: Vec<Scored> = (0..n)
                    .map(|i| Scored::new(score(&mut rng, i), (i % 700) as u32))
                    .collect();
                let mut want = all.clone();
                want.sort_unstable();
                for (isa, more) in Isa::available()
                    .into_iter()
                    .flat_map(|isa| [0, 1, most / 2].map(|more| (isa, more)))
                {
                    let mut got = all.clone();
                    let bound = isa.keep_best(&mut got, (most, most + more), &mut spare);
                    got.sort_unstable();
                    let kept = got.len();
                    assert_eq!(got, want[..kept], "{isa:?} {most} of {n}");
                    assert_eq!(bound.is_some(), most + more < n);
                    if let Some(bound) = bound {
                        assert!(
                            (most..=most + more).contains(&kept),
                            "{isa:?} {kept}, {most} of {n}"
                        );
                        assert!(
                            want[kept - 1] <= bound && bound <= want[kept],
                            "{isa:?} {most} of {n}"
                        );
                    }
                }
            }
        }
    }
}
