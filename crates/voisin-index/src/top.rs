//! The best of a stream of results.

use voisin_base::track::TrackId;

use super::types::Neighbor;

/// Up to this many are kept sorted, so that the worst is always known.
const SORTED: usize = 64;
/// Above, one more than so manieth of them are put in before the worst is looked for again.
const MORE: usize = 8;

/// Keeps the `k` nearest of what is pushed: highest similarity first, then lowest id.
#[derive(Debug, Clone)]
pub(crate) struct Top {
    k: usize,
    found: Vec<Neighbor>,
    worst: f32,
}

impl Top {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, found: Vec::with_capacity((k + k / MORE + 1).min(1 << 16)), worst: f32::NEG_INFINITY }
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// What is below this similarity cannot be among the best.
    #[inline]
    pub(crate) fn worst(&self) -> f32 {
        self.worst
    }

    #[inline]
    pub(crate) fn push(&mut self, similarity: f32, track: TrackId) {
        if self.k == 0 || similarity < self.worst {
            return;
        }
        let neighbor = Neighbor { track, similarity };
        if self.k > SORTED {
            self.found.push(neighbor);
            // The worst is known from the k-th on, and after some more anew.
            if self.found.len() == self.k {
                let worst = self.found.iter().map(|one| one.similarity).min_by(f32::total_cmp);
                self.worst = worst.unwrap_or(self.worst);
            } else if self.found.len() > self.k + self.k / MORE {
                self.cut();
            }
            return;
        }
        let at = self.found.partition_point(|other| nearer(other, &neighbor).is_lt());
        self.found.insert(at, neighbor);
        self.found.truncate(self.k);
        if self.found.len() == self.k {
            self.worst = self.found[self.k - 1].similarity;
        }
    }

    fn cut(&mut self) {
        self.found.select_nth_unstable_by(self.k - 1, nearer);
        self.found.truncate(self.k);
        self.worst = self.found[self.k - 1].similarity;
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Neighbor> {
        self.found.sort_unstable_by(nearer);
        self.found.truncate(self.k);
        self.found
    }
}

/// A slot and its similarity to the query at 8 bits.
pub(crate) type Candidate = (f32, u32);

/// The order of candidates: nearest first, equals by slot.
#[inline]
pub(crate) fn better(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    key(*a).cmp(&key(*b))
}

/// A candidate as one number: nearer ones are smaller, equals go by slot.
#[inline]
fn key((similarity, slot): Candidate) -> u64 {
    u64::from(descending(similarity)) << 32 | u64::from(slot)
}

/// Keeps the `most` best of `found`, in no order; `keys` is memory to work in.
pub(crate) fn keep_best(found: &mut Vec<Candidate>, most: usize, keys: &mut Vec<u64>) {
    if found.len() > most {
        keys.clear();
        keys.extend(found.iter().copied().map(key));
        keys.select_nth_unstable(most - 1);
        found.clear();
        found.extend(keys[..most].iter().map(|&key| (similarity((key >> 32) as u32), key as u32)));
    }
}

/// The similarity that [`descending`] made a number of.
#[inline]
pub(crate) fn similarity(descending: u32) -> f32 {
    let ascending = !descending;
    f32::from_bits(ascending ^ (!(ascending as i32 >> 31) as u32 | 1 << 31))
}

/// A number that is smaller for larger similarities, in the order of [`f32::total_cmp`]: whole numbers are sorted without
/// branches.
#[inline]
pub(crate) fn descending(similarity: f32) -> u32 {
    let bits = similarity.to_bits();
    // Of positive numbers larger bits are larger, of negative ones smaller.
    !(bits ^ ((bits as i32 >> 31) as u32 | 1 << 31))
}

/// The order of results: nearest first, equals by id.
pub(crate) fn nearer(a: &Neighbor, b: &Neighbor) -> std::cmp::Ordering {
    let key = |one: &Neighbor| {
        u128::from(descending(one.similarity)) << 64 | u128::from(one.track.0 as u64 ^ 1 << 63)
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn orders_are_those_of_similarity_and_then_name() {
        let values =
            [f32::NEG_INFINITY, -1., -1e-9, -0., 0., 1e-9, 0.3, 0.999_999, 1., f32::INFINITY, f32::NAN];
        for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
            let by_value = b.total_cmp(&a);
            for (i, j) in [(0_u32, 0), (1, 2), (7, 1 << 31)] {
                assert_eq!(better(&(a, i), &(b, j)), by_value.then(i.cmp(&j)), "{a} {b}");
                let named = |similarity, id| Neighbor { track: TrackId(id), similarity };
                for (i, j) in [(i64::from(i), i64::from(j)), (-5, 3), (i64::MIN, i64::MAX)] {
                    assert_eq!(nearer(&named(a, i), &named(b, j)), by_value.then(i.cmp(&j)), "{a} {b}");
                }
            }
        }
        assert_eq!(better(&(0.5, 3), &(0.5, 3)), Ordering::Equal);
        assert!(values.iter().all(|&x| similarity(descending(x)).to_bits() == x.to_bits()));
        let mut found: Vec<Candidate> =
            (0..50).flat_map(|slot| values[..10].iter().map(move |&x| (x, slot))).collect();
        let mut best = found.clone();
        best.sort_by(better);
        best.truncate(77);
        keep_best(&mut found, 77, &mut Vec::new());
        found.sort_by(better);
        assert_eq!(found, best);
    }
}
