//! What several verbs do with tempo, key and loudness.

use anyhow::bail;

use super::args::{SortKey, SoundFilterArgs};
use crate::engine::{Engine, Seed, SimilarTrack};
use crate::library::{Library, MusicalKey, TrackFilter};
use crate::track::TrackId;

/// The filter with the keys that mix with those of the seeds, if they were asked for.
pub(crate) fn with_compatible_keys(
    engine: &Engine,
    mut filter: TrackFilter,
    args: &SoundFilterArgs,
    seeds: &[Seed],
) -> anyhow::Result<TrackFilter> {
    if args.wants_compatible_keys() {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = engine.library().descriptors(&tracks)?;
        let keys: Vec<MusicalKey> = known.values().filter_map(|known| known.key).collect();
        if keys.is_empty() {
            bail!(
                "no key is known of the seed: --key compatible needs a track of the library, measured with \"voisin add --update-descriptors\""
            );
        }
        filter.keys.extend(keys.into_iter().flat_map(MusicalKey::compatible));
    }
    Ok(filter)
}

/// Sorts an answer; tracks of which it is not known come last, and equal ones stay in their order.
pub(crate) fn sort(library: &Library, found: &mut [SimilarTrack], by: SortKey) -> anyhow::Result<()> {
    if by == SortKey::Similarity {
        return Ok(());
    }
    let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
    let known = library.descriptors(&ids)?;
    let value = |found: &SimilarTrack| -> f64 {
        let of = known.get(&found.track.id);
        let value = match by {
            SortKey::Similarity => None,
            SortKey::Bpm => of.and_then(|of| of.tempo),
            SortKey::Key => {
                of.and_then(|of| of.key).map(|key| f64::from(key.hour() * 2 + u8::from(!key.is_minor())))
            }
            SortKey::Loudness => of.and_then(|of| of.loudness),
        };
        value.unwrap_or(f64::INFINITY)
    };
    found.sort_by(|a, b| value(a).total_cmp(&value(b)));
    Ok(())
}
