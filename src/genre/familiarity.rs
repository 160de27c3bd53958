//! Familiarity: how much a track is like the labelled ones, so that music of genres that the
//! library lacks is called unknown.
//!
//! Both the nearest voter and the last ones must be as near as those of labelled tracks that are
//! answered without their artist. The rule and its bound were chosen on music left out with its
//! kin, and on speech (BENCHMARKS.md).

use serde::{Deserialize, Serialize};

use super::examples::thinned;
use super::vote::Nearness;

/// Most labelled tracks whose familiarity is kept.
pub const MEASURED: usize = 1000;
/// A track is unknown if fewer than this share of the labelled tracks are as foreign.
const UNKNOWN_BELOW: f32 = 0.03;

/// The nearness of labelled tracks to each other, each part ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Familiarity {
    first: Vec<f32>,
    last: Vec<f32>,
}

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
    /// - `tracks`: labelled tracks that are answered without their artist
    pub fn of(tracks: impl IntoIterator<Item = Nearness>) -> Self {
        let all: Vec<Nearness> = tracks.into_iter().collect();
        let kept = thinned(all.len(), MEASURED);
        let ascending = |part: fn(&Nearness) -> f32| {
            let mut values: Vec<f32> = kept.iter().map(|&at| part(&all[at])).collect();
            values.sort_by(f32::total_cmp);
            values
        };
        Self {
            first: ascending(|near| near.first),
            last: ascending(|near| near.last),
        }
    }

    pub fn assess(&self, track: Nearness) -> Familiar {
        // The track itself counts half, so that no share is 0, and of a few tracks none is unknown.
        let share = |ascending: &[f32], value| {
            let no_greater = ascending.partition_point(|other| *other <= value);
            (0.5 + no_greater as f32) / (1 + ascending.len()) as f32
        };
        Familiar {
            share: share(&self.first, track.first).min(share(&self.last, track.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(first: f32, last: f32) -> Nearness {
        Nearness { first, last }
    }

    #[test]
    fn a_track_more_foreign_than_most_is_unknown() {
        let even = |i: u16| near(f32::from(i) / 100.0, f32::from(i) / 200.0);
        let known = Familiarity::of((1..=100).map(even));
        let is_unknown = |first, last| known.assess(near(first, last)).is_unknown();
        assert!(is_unknown(0.025, 0.4) && is_unknown(0.8, 0.0125) && is_unknown(-1.0, -1.0));
        assert!(!is_unknown(0.035, 0.4) && !is_unknown(0.8, 0.0175));
        assert!(known.assess(near(-1.0, -1.0)).share > 0.0);
        // Four tracks are too few to call a track foreign.
        let few = Familiarity::of([near(0.5, 0.4); 4]);
        assert!(!few.assess(near(-1.0, -1.0)).is_unknown());
        assert!(!Familiarity::default().assess(near(0.0, 0.0)).is_unknown());
        assert_eq!(
            Familiarity::of(vec![near(0.5, 0.4); 5000]).last.len(),
            MEASURED
        );
    }
}
