//! Towards some tracks and away from others.

use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{ExploreError, Result, same_length};
use crate::track::TrackId;

/// A track found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Liked {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// Cosine similarity to the seeds' mean direction.
    pub towards: f32,
    /// Largest cosine similarity to a track to stay away from; −1 if there is none.
    pub away: f32,
    /// What the list is sorted by, descending.
    pub score: f32,
}

/// Tracks like `like` and unlike `unlike`, best first, the seeds themselves left out.
///
/// The score is the similarity to the seeds' mean direction less `weight` times what the nearest unwanted
/// track is nearer than an average one: being unlike in what all tracks share is no merit.
///
/// - `ids`, `vectors`: one per row, unit vectors
/// - `like`, `unlike`: row numbers
/// - `weight`: how strongly to stay away, 0 to 1
pub fn like_unlike(
    ids: &[TrackId],
    vectors: ArrayView2<'_, f32>,
    like: &[usize],
    unlike: &[usize],
    weight: f32,
    limit: usize,
) -> Result<Vec<Liked>> {
    same_length("ids", vectors.nrows(), ids.len())?;
    if let Some(&bad) = like.iter().chain(unlike).find(|&&row| row >= ids.len()) {
        return Err(ExploreError::Row { row: bad, rows: ids.len() });
    }
    if like.is_empty() {
        return Err(ExploreError::TooFew { what: "a search's seeds", needed: 1, found: 0 });
    }
    if !(0.0..=1.0).contains(&weight) {
        return Err(ExploreError::Parameter {
            name: "weight",
            found: weight.to_string(),
            expected: "0 to 1",
        });
    }
    let mut direction = Array1::<f32>::zeros(vectors.ncols());
    like.iter().for_each(|&row| direction += &vectors.row(row));
    let norm = direction.dot(&direction).sqrt();
    if norm < 1e-6 {
        return Err(ExploreError::Parameter {
            name: "seeds",
            found: "opposite tracks".into(),
            expected: "tracks with a common direction",
        });
    }
    direction /= norm;
    let towards = vectors.dot(&direction);
    let away: Vec<Array1<f32>> = unlike.iter().map(|&row| vectors.dot(&vectors.row(row))).collect();
    let usual: Vec<f32> = away.iter().map(|similarities| similarities.mean().unwrap_or(0.0)).collect();
    let mut found: Vec<Liked> = (0..ids.len())
        .filter(|row| !like.contains(row) && !unlike.contains(row))
        .map(|row| {
            let penalty =
                away.iter().zip(&usual).map(|(s, usual)| (s[row] - usual).max(0.0)).fold(0.0, f32::max);
            let nearest = away.iter().map(|s| s[row]).fold(-1.0, f32::max);
            Liked {
                track: ids[row],
                row,
                towards: towards[row],
                away: nearest,
                score: towards[row] - weight * penalty,
            }
        })
        .collect();
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.track.cmp(&b.track)));
    found.truncate(limit);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;

    #[test]
    fn unwanted_tracks_sink() {
        let (vectors, labels) = grouped(3, 40, 16, 0.8, 3);
        let ids: Vec<TrackId> = (0..120).map(TrackId).collect();
        // Seeds of two groups, then away from one of them.
        let both = like_unlike(&ids, vectors.view(), &[0, 1], &[], 0.5, 30).expect("rows exist");
        let one = like_unlike(&ids, vectors.view(), &[0, 1], &[4], 0.8, 30).expect("rows exist");
        assert_eq!(labels[4], 1);
        let of_group_1 = |found: &[Liked]| found.iter().filter(|l| labels[l.row] == 1).count();
        assert!(of_group_1(&both) > 8, "{}", of_group_1(&both));
        assert!(of_group_1(&one) < 3, "{}", of_group_1(&one));
        assert!(one.windows(2).all(|pair| pair[0].score >= pair[1].score));
        assert!(one.iter().all(|l| ![0, 1, 4].contains(&l.row)));
    }
}
