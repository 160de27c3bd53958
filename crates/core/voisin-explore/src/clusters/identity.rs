//! Ids of clusters that persist over rescans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use voisin_base::track::TrackId;

/// State with which the next clustering gives the same ids to the same groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Smallest unused id; ids of removed groups are not used again.
    pub next_id: u32,
    /// Cluster id of each track, without noise.
    pub members: Vec<(TrackId, u32)>,
    /// Leiden's resolution.
    #[serde(default)]
    pub resolution: Option<f64>,
    /// Hash of the tracks, their vectors and the options: with the same hash the result is unchanged.
    #[serde(default)]
    pub question: Option<u64>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            next_id: 1,
            members: Vec::new(),
            resolution: None,
            question: None,
        }
    }
}

impl Identity {
    /// The cluster of a track; `None` for noise and for later tracks.
    pub fn of(&self, track: TrackId) -> Option<u32> {
        self.members
            .iter()
            .find(|(member, _)| *member == track)
            .map(|(_, cluster)| *cluster)
    }

    /// The id of each of these tracks, `None` for new tracks and noise.
    pub(super) fn labels(&self, ids: &[TrackId]) -> Vec<Option<u32>> {
        let known: HashMap<TrackId, u32> = self.members.iter().copied().collect();
        ids.iter().map(|id| known.get(id).copied()).collect()
    }
}

/// A change of a cluster since the previous clustering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Change {
    /// A cluster without more than half of the tracks of any old one.
    New {
        /// The new id.
        id: u32,
    },
    /// A part of an old cluster: more than half of its old tracks were in that one.
    Split {
        /// The old cluster.
        from: u32,
        /// The part's new id.
        id: u32,
    },
    /// An old cluster of which more than half of the tracks are now in another.
    Merged {
        /// The old cluster.
        from: u32,
        /// The other cluster.
        into: u32,
    },
    /// An old cluster whose tracks were removed or scattered.
    Gone {
        /// The old cluster.
        id: u32,
    },
}

/// Assigns ids to groups: each old id goes to the group with which it shares most tracks, one to one, largest
/// overlap first, if that is more than a quarter of the smaller of the two (of tracks that are in both clusterings).
///
/// Returns the id per row (0 is noise), the changes by id, and the identity for the next clustering.
pub(super) fn carry_over(
    ids: &[TrackId],
    labels: &[Option<usize>],
    previous: Option<&Identity>,
) -> (Vec<u32>, Vec<Change>, Identity) {
    let groups = labels.iter().flatten().max().map_or(0, |&most| most + 1);
    let empty = Identity::default();
    let old = previous.unwrap_or(&empty).labels(ids);
    let mut overlap: BTreeMap<(u32, usize), usize> = BTreeMap::new();
    let mut old_size: BTreeMap<u32, usize> = BTreeMap::new();
    let mut new_size = vec![0_usize; groups];
    let mut group_size = vec![0_usize; groups];
    for (&label, &id) in labels.iter().zip(&old) {
        if let Some(label) = label {
            group_size[label] += 1;
        }
        if let Some(id) = id {
            *old_size.entry(id).or_default() += 1;
            if let Some(label) = label {
                new_size[label] += 1;
                *overlap.entry((id, label)).or_default() += 1;
            }
        }
    }
    let mut candidates: Vec<(usize, u32, usize)> =
        overlap.iter().map(|(&(id, g), &n)| (n, id, g)).collect();
    candidates.sort_unstable_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut id_of: Vec<Option<u32>> = vec![None; groups];
    let mut taken: HashSet<u32> = HashSet::new();
    for &(shared, id, group) in &candidates {
        // Of the smaller one, so that a group that grew or shrank a lot keeps its id.
        let enough = 4 * shared > old_size[&id].min(new_size[group]);
        if enough && id_of[group].is_none() && !taken.contains(&id) {
            id_of[group] = Some(id);
            taken.insert(id);
        }
    }
    let all_old: BTreeSet<u32> = previous
        .map(|p| p.members.iter().map(|m| m.1).collect())
        .unwrap_or_default();
    // The stored state may be of another version or edited: ids in use are never assigned again, and after
    // the largest number comes the smallest free one.
    let id_behind = |id: u32| {
        let mut ids = id.wrapping_add(1)..=u32::MAX;
        let free = ids.find(|id| *id > 0 && !all_old.contains(id));
        free.unwrap_or(1)
    };
    let last = all_old.last().copied().unwrap_or(0);
    // New ids, largest group first.
    let mut next_id = previous.map_or(1, |p| id_behind(last.max(p.next_id.saturating_sub(1))));
    let mut fresh: Vec<usize> = (0..groups).filter(|&g| id_of[g].is_none()).collect();
    fresh.sort_by_key(|&g| (std::cmp::Reverse(group_size[g]), g));
    let mut changes = Vec::new();
    for group in fresh {
        let id = next_id;
        next_id = id_behind(next_id);
        id_of[group] = Some(id);
        let parent = candidates
            .iter()
            // The largest overlap first; the old cluster may have kept its id elsewhere.
            .find(|c| c.2 == group && 2 * c.0 > group_size[group]);
        changes.push(
            parent.map_or(Change::New { id }, |&(_, from, _)| Change::Split {
                from,
                id,
            }),
        );
    }
    for id in all_old.into_iter().filter(|id| !taken.contains(id)) {
        let home = candidates
            .iter()
            .find(|c| c.1 == id && 2 * c.0 > old_size[&id]);
        changes.push(match home {
            Some(&(_, from, group)) => Change::Merged {
                from,
                into: id_of[group].expect("all groups have ids"),
            },
            None => Change::Gone { id },
        });
    }
    // Everything is new in the first run.
    if previous.is_none() {
        changes.clear();
    }
    let assignment: Vec<u32> = labels
        .iter()
        .map(|l| l.and_then(|g| id_of[g]).unwrap_or(0))
        .collect();
    let members = ids
        .iter()
        .copied()
        .zip(assignment.iter().copied())
        .filter(|m| m.1 != 0)
        .collect();
    (
        assignment,
        changes,
        Identity {
            next_id,
            members,
            resolution: None,
            question: None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks(range: std::ops::Range<i64>) -> Vec<TrackId> {
        range.map(TrackId).collect()
    }

    #[test]
    fn split_merge_new_and_gone_are_reported() {
        let ids = tracks(0..40);
        // Old: 1 = 0..10, 2 = 10..20, 3 = 20..25, 4 = tracks that no longer exist.
        let mut members: Vec<(TrackId, u32)> = ids[..25]
            .iter()
            .map(|&id| (id, [1, 1, 2, 2, 3][id.0 as usize / 5]))
            .collect();
        members.push((TrackId(900), 4));
        let previous = Identity {
            next_id: 6,
            members,
            resolution: None,
            question: None,
        };
        // Now: 0..6 | 6..10 | 10..25 | 25..40.
        let labels: Vec<Option<usize>> = (0..40)
            .map(|i| {
                Some(if i < 6 {
                    0
                } else if i < 10 {
                    1
                } else if i < 25 {
                    2
                } else {
                    3
                })
            })
            .collect();
        let (assignment, changes, identity) = carry_over(&ids, &labels, Some(&previous));
        assert_eq!(
            [assignment[0], assignment[7], assignment[12], assignment[30]],
            [1, 7, 2, 6]
        );
        assert_eq!(
            changes,
            [
                Change::New { id: 6 },
                Change::Split { from: 1, id: 7 },
                Change::Merged { from: 3, into: 2 },
                Change::Gone { id: 4 }
            ]
        );
        assert_eq!(identity.next_id, 8);
    }

    #[test]
    fn after_the_largest_id_comes_the_smallest_free_one() {
        let ids = tracks(0..4);
        let previous = Identity {
            next_id: u32::MAX,
            members: vec![(ids[0], u32::MAX), (ids[1], 1)],
            resolution: None,
            question: None,
        };
        let labels = [Some(0), Some(1), Some(2), Some(2)];
        let (assignment, _, identity) = carry_over(&ids, &labels, Some(&previous));
        assert_eq!(assignment, [u32::MAX, 1, 2, 2]);
        assert_eq!(identity.next_id, 3);
    }

    #[test]
    fn the_first_run_numbers_by_size_and_has_no_changes() {
        let ids = tracks(0..6);
        let labels = [Some(0), Some(1), Some(1), None, Some(1), Some(0)];
        let (assignment, changes, identity) = carry_over(&ids, &labels, None);
        assert_eq!(assignment, [2, 1, 1, 0, 1, 2]);
        assert!(changes.is_empty());
        assert_eq!((identity.next_id, identity.members.len()), (3, 5));
    }
}
