//! Familiarity: how much a track is like the labelled ones, so that music of genres that the
//! library lacks is called unknown.
//!
//! One number: the mean similarity of a track's voters times the square root of the probability of
//! its genre. It is compared with the same number of labelled tracks that are answered without their
//! artist. The number and its bounds were chosen on music left out with its kin (BENCHMARKS.md).

use serde::{Deserialize, Serialize};

use super::examples::thinned;

/// Most labelled tracks whose familiarity is kept.
pub const MEASURED: usize = 1000;
/// A track is unknown if fewer than this share of the labelled tracks are as foreign.
const UNKNOWN_BELOW: f32 = 0.05;
/// Below this share the neighbours alone answer: the head has seen nothing like it, and they lead to
/// the genre's kin (metal, left out, to rock).
const VOTED_BELOW: f32 = 0.1;

/// The familiarity of labelled tracks among each other, ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Familiarity(Vec<f32>);

/// How familiar a track is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiar {
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub share: f32,
}

impl Familiar {
    /// Whether it is unlike anything labelled.
    pub fn is_unknown(self) -> bool {
        self.share < UNKNOWN_BELOW
    }

    /// Whether the neighbours alone answer.
    pub fn is_voted(self) -> bool {
        self.share < VOTED_BELOW
    }
}

impl Familiarity {
    /// - `tracks`: mean similarity of the voters, and probability of the genre, of labelled tracks
    ///   that are answered without their artist
    pub fn of(tracks: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let all: Vec<f32> = tracks.into_iter().map(product).collect();
        let mut some: Vec<f32> = thinned(all.len(), MEASURED)
            .into_iter()
            .map(|at| all[at])
            .collect();
        some.sort_by(f32::total_cmp);
        Self(some)
    }

    /// How familiar a track is.
    ///
    /// - `nearness`: mean similarity of its voters; `probability`: of its genre
    pub fn assess(&self, nearness: f32, probability: f32) -> Familiar {
        let value = product((nearness, probability));
        let no_greater = self.0.partition_point(|other| *other <= value);
        // The value itself counts, so that no share is 0, and of a few tracks none is unknown.
        Familiar {
            share: (1 + no_greater) as f32 / (1 + self.0.len()) as f32,
        }
    }
}

fn product((nearness, probability): (f32, f32)) -> f32 {
    nearness.max(0.0) * probability.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_few_labelled_tracks_are_as_foreign_as_is_unknown() {
        let known = Familiarity::of((1..=100).map(|i| (i as f32 / 100.0, 1.0)));
        assert!(known.assess(0.03, 1.0).is_unknown() && known.assess(0.9, 0.001).is_unknown());
        assert!(!known.assess(0.06, 1.0).is_unknown() && known.assess(0.08, 1.0).is_voted());
        assert!(!known.assess(0.9, 0.9).is_voted());
        assert!(known.assess(-1.0, 1.0).share > 0.0);
        // Four tracks are too few to call a track foreign.
        let few = Familiarity::of((0..4).map(|_| (0.5, 0.5)));
        assert!(!few.assess(-1.0, 0.1).is_unknown());
        assert!(!Familiarity::default().assess(0.0, 0.0).is_voted());
        assert_eq!(
            Familiarity::of((0..5000).map(|_| (0.5, 0.5))).0.len(),
            MEASURED
        );
    }
}
