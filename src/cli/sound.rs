//! What several verbs do with tempo, key and loudness.

use anyhow::bail;

use super::args::{SortKey, SoundFilterArgs};
use crate::engine::{Engine, Seed};
use crate::library::{SortBy, TrackFilter};

/// The filter with the keys that mix with those of the seeds, if they were asked for.
pub(crate) fn with_compatible_keys(
    engine: &Engine,
    mut filter: TrackFilter,
    args: &SoundFilterArgs,
    seeds: &[Seed],
) -> anyhow::Result<TrackFilter> {
    if args.wants_compatible_keys() {
        let keys = engine.compatible_keys(seeds)?;
        if keys.is_empty() {
            bail!(
                "no key is known of the seed: --key compatible needs a track of the library, measured with \"voisin add --update-descriptors\""
            );
        }
        filter.keys.extend(keys);
    }
    Ok(filter)
}

impl SortKey {
    /// What the list is sorted by; `None` where it is in order as it comes.
    pub(crate) fn by(self) -> Option<SortBy> {
        match self {
            Self::Similarity => None,
            Self::Bpm => Some(SortBy::Bpm),
            Self::Key => Some(SortBy::Key),
            Self::Loudness => Some(SortBy::Loudness),
        }
    }
}
