//! A set of tracks with a membership test of about a nanosecond.

use voisin_base::track::TrackId;

/// A set of tracks: a bit per id, as ids of a library are dense, or a list if they are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSet {
    len: usize,
    form: SetForm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SetForm {
    Bits(Vec<u64>),
    Sorted(Vec<TrackId>),
}

impl TrackSet {
    /// Whether `track` is in the set.
    pub fn contains(&self, track: TrackId) -> bool {
        match &self.form {
            // Ids below 1 are of files that are not in the library.
            SetForm::Bits(bits) => usize::try_from(track.0).is_ok_and(|id| {
                bits.get(id / 64)
                    .is_some_and(|word| word >> (id % 64) & 1 == 1)
            }),
            SetForm::Sorted(ids) => ids.binary_search(&track).is_ok(),
        }
    }

    /// How many tracks are in the set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no track is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tracks, ascending.
    pub fn to_vec(&self) -> Vec<TrackId> {
        match &self.form {
            SetForm::Bits(bits) => {
                let mut tracks = Vec::with_capacity(self.len);
                for (at, &word) in bits.iter().enumerate() {
                    let mut left = word;
                    while left != 0 {
                        tracks.push(TrackId(at as i64 * 64 + i64::from(left.trailing_zeros())));
                        // Clears the lowest bit that is set.
                        left &= left - 1;
                    }
                }
                tracks
            }
            SetForm::Sorted(ids) => ids.clone(),
        }
    }
}

impl FromIterator<TrackId> for TrackSet {
    fn from_iter<I: IntoIterator<Item = TrackId>>(tracks: I) -> Self {
        let mut ids: Vec<TrackId> = tracks.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let len = ids.len();
        let dense = match (ids.first(), ids.last()) {
            (Some(first), Some(last)) => {
                // At most 64 bytes per track of the set, or 128 KiB in all: a list takes 8 bytes
                // per track, but a search per look-up.
                first.0 >= 0 && last.0 as u64 <= (len as u64 * 512).max(1 << 20)
            }
            _ => true,
        };
        let form = if dense {
            // The ids are sorted, so the last one bounds every index below.
            let mut bits = vec![0; ids.last().map_or(0, |last| last.0 as usize / 64 + 1)];
            for id in ids {
                bits[id.0 as usize / 64] |= 1 << (id.0 % 64);
            }
            SetForm::Bits(bits)
        } else {
            SetForm::Sorted(ids)
        };
        Self { len, form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(ids in prop::collection::vec(prop_oneof![0..300i64, any::<i64>()], 0..60), probe in any::<i64>()) {
            let plain: BTreeSet<TrackId> = ids.iter().copied().map(TrackId).collect();
            let set: TrackSet = ids.iter().copied().map(TrackId).collect();
            prop_assert_eq!(set.len(), plain.len());
            prop_assert_eq!(set.is_empty(), plain.is_empty());
            prop_assert_eq!(set.to_vec(), plain.iter().copied().collect::<Vec<_>>());
            for id in ids.iter().copied().chain([probe, -1, 0, i64::MAX]).chain(0..300) {
                prop_assert_eq!(set.contains(TrackId(id)), plain.contains(&TrackId(id)));
            }
        }
    }
}
