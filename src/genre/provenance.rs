//! The origin of a saved genre model, and the share of labels that changed since.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{FitOptions, Genre};
use voisin_base::track::TrackId;

/// Origin of a saved model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Fingerprint of the encoder whose vectors it was trained on.
    pub fingerprint: String,
    /// The source of labels, as named by the caller.
    pub labels: String,
    /// When it was trained, in seconds since 1970 UTC.
    pub trained_at: u64,
    /// The options it was fitted with.
    pub recipe: FitOptions,
    /// The labelled tracks then, each with a digest of its labels.
    labelled: Vec<(TrackId, u64)>,
}

impl Provenance {
    /// - `ids`, `labels`: of all tracks, labelled or not
    pub fn new(
        fingerprint: &str,
        source: &str,
        recipe: &FitOptions,
        ids: &[TrackId],
        labels: &[Vec<Genre>],
    ) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        Self {
            fingerprint: fingerprint.to_owned(),
            labels: source.to_owned(),
            // A clock before 1970 gives 0.
            trained_at: now,
            recipe: recipe.clone(),
            labelled: digests(ids, labels).collect(),
        }
    }

    /// Share of the tracks labelled then or now whose labels are new, gone or changed; 0 to 1.
    pub fn changed_share(&self, ids: &[TrackId], labels: &[Vec<Genre>]) -> f64 {
        let mut then: HashMap<TrackId, u64> = self.labelled.iter().copied().collect();
        let mut changed = 0usize;
        let mut all = 0usize;
        for (id, digest) in digests(ids, labels) {
            all += 1;
            changed += usize::from(then.remove(&id) != Some(digest));
        }
        // The remaining ones are no longer labelled.
        let gone = then.len();
        (changed + gone) as f64 / (all + gone).max(1) as f64
    }
}

/// Labelled tracks with a digest of their genres that does not depend on the order.
fn digests<'a>(
    ids: &'a [TrackId],
    labels: &'a [Vec<Genre>],
) -> impl Iterator<Item = (TrackId, u64)> + 'a {
    ids.iter()
        .zip(labels)
        .filter(|(_, genres)| !genres.is_empty())
        .map(|(&id, genres)| {
            let mut keys: Vec<&str> = genres.iter().map(Genre::key).collect();
            // Neither the order of labels nor a repeated label is a change.
            keys.sort_unstable();
            keys.dedup();
            let hash = blake3::hash(keys.join("\0").as_bytes());
            let first = hash
                .as_bytes()
                .first_chunk::<8>()
                .copied()
                .unwrap_or_default();
            (id, u64::from_le_bytes(first))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changed_share_counts_old_and_new_labels() {
        let ids: Vec<TrackId> = (0..10).map(TrackId).collect();
        let genres = |names: &[&str]| names.iter().map(|n| Genre::plain(n)).collect::<Vec<_>>();
        let mut labels: Vec<Vec<Genre>> = (0..10)
            .map(|i| genres(if i < 8 { &["Rock", "Pop"] } else { &[] }))
            .collect();
        let then = Provenance::new("abc", "tags", &FitOptions::default(), &ids, &labels);
        assert_eq!(then.changed_share(&ids, &labels), 0.0);
        labels[0] = genres(&["pop", "ROCK"]);
        assert_eq!(
            then.changed_share(&ids, &labels),
            0.0,
            "order and case are no change"
        );
        labels[0] = genres(&["Pop"]);
        labels[1].clear();
        labels[8] = genres(&["Jazz"]);
        // One changed, one gone, one new, of nine that are or were labelled.
        assert!((then.changed_share(&ids, &labels) - 3.0 / 9.0).abs() < 1e-12);
        assert_eq!(then.changed_share(&[], &[]), 1.0);
    }
}
