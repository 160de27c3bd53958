//! Predefined moods: scales computed by fixed rules from the model's tags and from measurements.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scales::{MEASURED_SCALES, MeasuredScale};
use super::{Engine, EngineError};
use voisin_base::track::{ContentId, TrackId};
use voisin_library::{Descriptors, MusicalKey, OpenMode, ScaleName, ScaleValue};

/// All predefined moods. The rules were chosen on one half of the development set's artists and validated on the other.
pub(crate) const READY_MOODS: [MeasuredScale; 6] = [
    MeasuredScale::new("calm", 4.1),
    MeasuredScale::new("sad", 4.3),
    MeasuredScale::new("happy", 2.9),
    MeasuredScale::new("party", 3.9),
    MeasuredScale::new("mellow", 5.8),
    MeasuredScale::new("beautiful", 4.8),
];

/// The measured scale or predefined mood of this name.
pub(crate) fn measured_scale(name: &str) -> Option<&'static MeasuredScale> {
    let mut all = MEASURED_SCALES.iter().chain(&READY_MOODS);
    all.find(|scale| scale.name == name)
}

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

    /// The values of a track, in the order of [`READY_MOODS`].
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
    /// Computes missing moods of all tracks with energy and tags. Returns the number of stored values, 0 if the model has no such tags.
    ///
    /// # Errors
    /// The library cannot be read or written.
    #[doc(hidden)]
    pub fn fill_moods(&mut self) -> Result<u64, EngineError> {
        if self.library().mode() == OpenMode::ReadOnly {
            return Ok(0);
        }
        let tag_names = self.tag_names()?.unwrap_or_default();
        let Some(tags) = MoodTags::of(&tag_names) else {
            return Ok(0);
        };
        let names = READY_MOODS.map(|mood| mood.name.parse::<ScaleName>().ok());
        let Some(energy) = "energy".parse::<ScaleName>().ok() else {
            return Ok(0);
        };
        let wanted: Vec<ScaleName> = names.iter().flatten().copied().collect();
        let lacking = self.library().tracks_lacking(&wanted, energy)?;
        let mut stored = 0;
        for batch in lacking.chunks(BATCH) {
            let known = self.library().descriptors(batch)?;
            let tracks = self.library().tracks_by_id(batch)?;
            let contents: BTreeMap<TrackId, ContentId> = tracks
                .iter()
                .map(|track| (track.id, track.audio.content))
                .collect();
            let mut values: [Vec<(ContentId, ScaleValue)>; 6] = Default::default();
            for (id, logits) in self.tag_logits(&tag_names, Some(batch))? {
                // The track was removed between the two reads.
                let Some((content, descriptors)) = contents.get(&id).zip(known.get(&id)) else {
                    continue;
                };
                let Some(energy) = descriptors.scales.get(&energy) else {
                    continue;
                };
                let is_minor = minor(descriptors);
                for (at, value) in tags
                    .values(&logits, energy.value, is_minor)
                    .into_iter()
                    .enumerate()
                {
                    let error = Some(READY_MOODS[at].error);
                    let value = ScaleValue::new(value, error);
                    values[at].extend(value.map(|value| (*content, value)));
                }
            }
            for (name, values) in names.iter().zip(&values) {
                if let Some(name) = name {
                    // Not through `library_mut`: no vector changes, and the index stays as it is.
                    stored += self.library.set_scale(*name, values)?;
                }
            }
        }
        Ok(stored)
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
