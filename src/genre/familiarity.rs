//! Familiarity: how much a track is like the labelled ones, so that music of genres that the
//! library lacks is called unknown.
//!
//! One number: the mean similarity of a track's nearest voters. It is compared with the same number
//! of labelled tracks that are answered without their artist. The number and its bounds were chosen
//! on music left out with its kin, and on speech (BENCHMARKS.md).

use serde::{Deserialize, Serialize};

use super::examples::thinned;

/// Most labelled tracks whose familiarity is kept.
pub const MEASURED: usize = 1000;
/// A track is unknown if fewer than this share of the labelled tracks are as foreign.
const UNKNOWN_BELOW: f32 = 0.07;

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
    /// Whether it is unlike anything labelled: the head has seen nothing like it, and the neighbours
    /// name its kin (metal, left out, is near rock).
    pub fn is_unknown(self) -> bool {
        self.share < UNKNOWN_BELOW
    }
}

impl Familiarity {
    /// - `tracks`: [nearness](super::vote::Votes::nearness) of labelled tracks that are answered
    ///   without their artist
    pub fn of(tracks: impl IntoIterator<Item = f32>) -> Self {
        let all: Vec<f32> = tracks.into_iter().collect();
        let mut some: Vec<f32> = thinned(all.len(), MEASURED)
            .into_iter()
            .map(|at| all[at])
            .collect();
        some.sort_by(f32::total_cmp);
        Self(some)
    }

    /// How familiar a track of this [nearness](super::vote::Votes::nearness) is.
    pub fn assess(&self, nearness: f32) -> Familiar {
        let no_greater = self.0.partition_point(|other| *other <= nearness);
        // The value itself counts, so that no share is 0, and of a few tracks none is unknown.
        Familiar {
            share: (1 + no_greater) as f32 / (1 + self.0.len()) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_more_foreign_than_most_is_unknown() {
        let known = Familiarity::of((1..=100).map(|i| i as f32 / 100.0));
        assert!(known.assess(0.055).is_unknown() && !known.assess(0.085).is_unknown());
        assert!(known.assess(-1.0).share > 0.0);
        // Four tracks are too few to call a track foreign.
        let few = Familiarity::of([0.5; 4]);
        assert!(!few.assess(-1.0).is_unknown());
        assert!(!Familiarity::default().assess(0.0).is_unknown());
        assert_eq!(Familiarity::of(vec![0.5; 5000]).0.len(), MEASURED);
    }
}
