//! Search towards some tracks and away from others.

use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{ExploreError, Result, same_length};
use voisin_base::track::TrackId;

/// A track that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Liked {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// Cosine similarity to the seeds' mean direction.
    pub towards: f32,
    /// Largest cosine similarity to an unwanted track; −1 without any.
    pub away: f32,
    /// The score by which results are sorted, descending.
    pub score: f32,
}

/// Tracks like `like` and unlike `unlike`, best first.
///
/// The score is the similarity to the seeds' mean direction, minus `weight` times the similarity to the nearest
/// unwanted track above the average, so that properties common to all tracks do not count.
///
/// - `ids`, `vectors`: one per row, unit vectors
/// - `like`, `unlike`: `[seeds, dim]` unit vectors
/// - `weight`: of the distance from unwanted tracks, 0 to 1
/// - `admits`: whether a row may be in the list
pub fn like_unlike(
    ids: &[TrackId],
    vectors: ArrayView2<'_, f32>,
    like: ArrayView2<'_, f32>,
    unlike: ArrayView2<'_, f32>,
    weight: f32,
    admits: &dyn Fn(usize) -> bool,
) -> Result<Vec<Liked>> {
    same_length("ids", vectors.nrows(), ids.len())?;
    for seeds in [like, unlike].iter().filter(|seeds| seeds.nrows() > 0) {
        same_length("numbers of a seed's vector", vectors.ncols(), seeds.ncols())?;
    }
    if like.nrows() == 0 {
        return Err(ExploreError::TooFew {
            what: "a search's seeds",
            needed: 1,
            found: 0,
        });
    }
    if !(0.0..=1.0).contains(&weight) {
        return Err(ExploreError::Parameter {
            name: "weight",
            found: weight.to_string(),
            expected: "0 to 1",
        });
    }
    let mut direction = Array1::<f32>::zeros(vectors.ncols());
    like.rows().into_iter().for_each(|seed| direction += &seed);
    // If opposite seeds cancel, only rounding errors are left.
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
    let away: Vec<Array1<f32>> = unlike
        .rows()
        .into_iter()
        .map(|seed| vectors.dot(&seed))
        .collect();
    // Only similarity above the library's average counts, or in a library of one style every track
    // would be penalised.
    let usual: Vec<f32> = away
        .iter()
        .map(|similarities| similarities.mean().unwrap_or(0.0))
        .collect();
    let mut found: Vec<Liked> = (0..ids.len())
        .filter(|&row| admits(row))
        .map(|row| {
            let penalty = away
                .iter()
                .zip(&usual)
                .map(|(s, usual)| (s[row] - usual).max(0.0))
                .fold(0.0, f32::max);
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
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;
    use ndarray::Axis;

    #[test]
    fn tracks_near_unwanted_ones_rank_lower() {
        let (vectors, labels) = grouped(3, 40, 16, 0.8, 3);
        let ids: Vec<TrackId> = (0..120).map(TrackId).collect();
        // Seeds of two groups, then away from one of them.
        let like_but = |unlike: &[usize], weight: f32| {
            let like = vectors.select(Axis(0), &[0, 1]);
            let away = vectors.select(Axis(0), unlike);
            let admits = |row: usize| ![0, 1, 4].contains(&row);
            let mut found = like_unlike(
                &ids,
                vectors.view(),
                like.view(),
                away.view(),
                weight,
                &admits,
            )
            .expect("same widths");
            assert_eq!(found.len(), 117);
            found.truncate(30);
            found
        };
        let both = like_but(&[], 0.5);
        let one = like_but(&[4], 0.8);
        assert_eq!(labels[4], 1);
        let of_group_1 = |found: &[Liked]| found.iter().filter(|l| labels[l.row] == 1).count();
        assert!(of_group_1(&both) > 8, "{}", of_group_1(&both));
        assert!(of_group_1(&one) < 3, "{}", of_group_1(&one));
        assert!(one.windows(2).all(|pair| pair[0].score >= pair[1].score));
        assert!(one.iter().all(|l| ![0, 1, 4].contains(&l.row)));
    }
}
