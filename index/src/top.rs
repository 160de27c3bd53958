//! The best of a stream of results.

use voisin_base::track::Id;
use voisin_simd::dot::best::Scored;

use super::types::Neighbor;

/// Up to this many results are kept sorted, so that the worst is always known.
const SORTED: usize = 64;
/// With more, a fraction of 1 / `MORE` and one are added before the worst is selected again.
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
        Self {
            k,
            found: Vec::with_capacity((k + k / MORE + 1).min(1 << 16)),
            worst: f32::NEG_INFINITY,
        }
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Results below this similarity cannot be among the best.
    #[inline]
    pub(crate) fn worst(&self) -> f32 {
        self.worst
    }

    /// Adds sorted results, before any others.
    pub(crate) fn start(&mut self, nearest: impl Iterator<Item = Neighbor>) {
        debug_assert!(self.found.is_empty(), "the first");
        self.found.extend(nearest.take(self.k));
        if let Some(worst) = self.found.last().filter(|_| self.found.len() == self.k) {
            self.worst = worst.similarity;
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, similarity: f32, id: Id) {
        if self.k == 0 || similarity < self.worst {
            return;
        }
        let neighbor = Neighbor { id, similarity };
        // Above `SORTED`, inserting in order moves too much; results are collected and selected at
        // intervals.
        if self.k > SORTED {
            self.found.push(neighbor);
            // The worst is selected at the k-th result, and again after some more.
            if self.found.len() == self.k {
                let worst = self
                    .found
                    .iter()
                    .map(|neighbor| neighbor.similarity)
                    .min_by(f32::total_cmp);
                self.worst = worst.unwrap_or(self.worst);
            } else if self.found.len() > self.k + self.k / MORE {
                self.cut();
            }
            return;
        }
        let at = self
            .found
            .partition_point(|other| nearer(other, &neighbor).is_lt());
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
        if self.k > SORTED {
            self.found.sort_unstable_by(nearer);
            self.found.truncate(self.k);
        }
        self.found
    }
}

/// The order of results: nearest first, equals by id.
pub(crate) fn nearer(a: &Neighbor, b: &Neighbor) -> std::cmp::Ordering {
    let key = |neighbor: &Neighbor| {
        // Higher similarity and then lower id as one integer, for sorting without branches. The
        // sign bit orders negative ids first.
        u128::from(Scored::new(neighbor.similarity, 0).key()) << 64
            | u128::from(neighbor.id.0 as u64 ^ 1 << 63)
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_by_similarity_and_then_id() {
        let values = [
            f32::NEG_INFINITY,
            -1.,
            -1e-9,
            -0.,
            0.,
            1e-9,
            0.999_999,
            1.,
            f32::INFINITY,
            f32::NAN,
        ];
        for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
            let named = |similarity, id| Neighbor {
                id: Id(id),
                similarity,
            };
            for (i, j) in [(0, 0), (1, 2), (7, 1 << 31), (-5, 3), (i64::MIN, i64::MAX)] {
                let order = b.total_cmp(&a).then(i.cmp(&j));
                assert_eq!(nearer(&named(a, i), &named(b, j)), order, "{a} {b}");
            }
        }
    }
}
