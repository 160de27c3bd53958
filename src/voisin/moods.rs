//! Predefined moods: scales computed by fixed rules from the model's tags and from measurements.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use super::scales::scale;
use super::{Engine, EngineError};
use voisin_library::{Descriptors, MusicalKey, OpenMode, SCALES, ScaleName};

/// Of the [`SCALES`], the predefined moods. The rules were chosen on one half of the development set's artists and validated on
/// the other.
const MOODS: Range<usize> = 7..13;
/// Tracks per transaction.
const BATCH: usize = 1000;
/// Value for a track without a key: halfway between minor and major.
const NO_KEY: f64 = 50.0;
/// `data/mood_ranks.json`, made by `scripts/research/models/fit_moods.py`.
const RANKS: &str = include_str!("../../data/mood_ranks.json");

/// Distribution of each tag in music of ten genres: its logits at equal steps of the rank.
#[derive(Deserialize)]
struct MoodRanks {
    ranks: BTreeMap<String, Vec<f64>>,
}

/// One tag of the model and the logits at its ranks.
struct RankedTag {
    column: usize,
    knots: Vec<f64>,
}

impl RankedTag {
    /// The percentage of that music with less of the tag, linear between the knots.
    fn rank(&self, logits: &[f32]) -> f64 {
        let logit = f64::from(logits[self.column]);
        let above = self.knots.partition_point(|knot| *knot <= logit);
        let steps = (self.knots.len() - 1) as f64;
        // Beyond the outer knots the rank stays at 0 or 100. Between two knots the upper one is
        // greater than the logit, so that the divisor is not 0.
        let place = match above {
            0 => 0.0,
            above if above == self.knots.len() => steps,
            above => {
                let from = self.knots[above - 1];
                (above - 1) as f64 + (logit - from) / (self.knots[above] - from)
            }
        };
        100.0 * place / steps
    }
}

/// The tags that moods are computed from, in a model that predicts them.
struct MoodTags {
    beautiful: RankedTag,
    chill: RankedTag,
    happy: RankedTag,
    mellow: RankedTag,
    party: RankedTag,
    sad: RankedTag,
}

impl MoodTags {
    /// For a model with tags of these names; `None` if any is missing.
    fn of(names: &[String]) -> Option<Self> {
        let MoodRanks { mut ranks } = serde_json::from_str(RANKS).ok()?;
        let mut tag = |name: &str| {
            Some(RankedTag {
                column: names.iter().position(|known| known == name)?,
                knots: ranks.remove(name).filter(|knots| knots.len() > 1)?,
            })
        };
        Some(Self {
            beautiful: tag("beautiful")?,
            chill: tag("chill")?,
            happy: tag("happy")?,
            mellow: tag("Mellow")?,
            party: tag("party")?,
            sad: tag("sad")?,
        })
    }

    /// The values of a track, in the order of [`MOODS`].
    fn values(&self, logits: &[f32], energy: f64, is_minor: Option<bool>) -> [f64; 6] {
        let sad = self.sad.rank(logits);
        let minor = is_minor.map_or(NO_KEY, |is_minor| if is_minor { 100.0 } else { 0.0 });
        [
            f64::midpoint(self.chill.rank(logits), 100.0 - energy),
            (2.0 * sad + 2.0 * (100.0 - energy) + minor) / 5.0,
            (self.happy.rank(logits) + 2.0 * (100.0 - sad) + energy) / 4.0,
            (self.party.rank(logits) + 2.0 * energy) / 3.0,
            self.mellow.rank(logits),
            self.beautiful.rank(logits),
        ]
    }
}

impl Engine {
    /// Computes missing moods of all tracks with energy and tags; none if the model has no such tags.
    ///
    /// # Errors
    /// The library cannot be read or written.
    #[doc(hidden)]
    pub fn fill_moods(&mut self) -> Result<(), EngineError> {
        if self.library().mode() == OpenMode::ReadOnly {
            return Ok(());
        }
        let tag_names = self.tag_names()?.unwrap_or_default();
        let Some(tags) = MoodTags::of(&tag_names) else {
            return Ok(());
        };
        let moods = &SCALES[MOODS];
        let names = moods.iter().filter_map(|(name, _)| name.parse().ok());
        let names: Vec<ScaleName> = names.collect();
        for batch in self.library().tracks_lacking(&names)?.chunks(BATCH) {
            let known = self.library().descriptors(batch)?;
            let mut values = Vec::with_capacity(batch.len());
            for (id, logits) in self.tag_logits(&tag_names, Some(batch))? {
                // The track may have been removed between the two reads.
                let descriptors = known.get(&id);
                let energy = descriptors.and_then(|held| held.scales.get(&ScaleName::ENERGY));
                if let Some((descriptors, energy)) = descriptors.zip(energy) {
                    let of = tags.values(&logits, energy.value, minor(descriptors));
                    let of = moods.iter().zip(of.map(Some)).filter_map(scale);
                    values.push((id, of.collect()));
                }
            }
            // Not through `library_mut`: no vector changes, and the index stays as it is.
            self.library.set_scales(&values)?;
        }
        Ok(())
    }
}

fn minor(descriptors: &Descriptors) -> Option<bool> {
    descriptors.key.map(MusicalKey::is_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        [
            "sad",
            "rock",
            "Mellow",
            "chill",
            "party",
            "happy",
            "beautiful",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn a_rank_is_linear_between_knots_and_limited_by_them() {
        let tag = RankedTag {
            column: 1,
            knots: vec![-6.0, -4.0, -3.0],
        };
        let rank = |logit: f32| tag.rank(&[0.0, logit]);
        assert_eq!(
            [-9.0, -6.0, -5.0, -4.0, -3.5, -3.0, 2.0].map(rank),
            [0.0, 0.0, 25.0, 50.0, 75.0, 100.0, 100.0]
        );
    }

    #[test]
    fn moods_follow_their_definitions() {
        let tags = MoodTags::of(&names()).expect("all tags");
        // Medians of the reference, so that each rank is 50.
        let mut logits = [0.0f32; 7];
        for (column, tag) in [
            (0, &tags.sad),
            (2, &tags.mellow),
            (3, &tags.chill),
            (4, &tags.party),
            (5, &tags.happy),
            (6, &tags.beautiful),
        ] {
            logits[column] = tag.knots[tag.knots.len() / 2] as f32;
        }
        let rounded = |values: [f64; 6]| values.map(|value| (value * 10.0).round() / 10.0);
        assert_eq!(
            rounded(tags.values(&logits, 80.0, Some(true))),
            [35.0, 48.0, 57.5, 70.0, 50.0, 50.0]
        );
        assert_eq!(
            rounded(tags.values(&logits, 0.0, None)),
            [75.0, 70.0, 37.5, 16.7, 50.0, 50.0]
        );
    }
}
