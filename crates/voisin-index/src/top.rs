//! The best of a stream of results.

use voisin_base::track::TrackId;

use super::types::Neighbor;

/// Up to this many are kept sorted, so that the worst is always known.
const SORTED: usize = 64;

/// Keeps the `k` nearest of what is pushed: highest similarity first, then lowest id.
#[derive(Debug, Clone)]
pub(crate) struct Top {
    k: usize,
    found: Vec<Neighbor>,
    worst: f32,
}

impl Top {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, found: Vec::with_capacity(2 * k.min(1 << 16)), worst: f32::NEG_INFINITY }
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
            if self.found.len() >= 2 * self.k {
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
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The order of results: nearest first, equals by id.
pub(crate) fn nearer(a: &Neighbor, b: &Neighbor) -> std::cmp::Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.track.cmp(&b.track))
}
