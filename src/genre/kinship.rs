//! How close genres are to one another, measured on their tracks' vectors.
//!
//! Two measures, each scaled so that the farthest pair has distance 1, and their mean:
//! - centroid: 1 - cosine of the genres' mean directions;
//! - votes: 1 - the other genre's share in the vote of the nearest tracks of other genres for a
//!   genre's tracks.
//!
//! A track with both genres has distance 0 from either, so that genres of the same tracks have
//! distance 0.

use ndarray::{Array2, ArrayView1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Standardiser;
use super::{
    Genre, GenreError, LabelledNeighbor, LabelledVectors, Near, Priors,
    examples::{Examples, unit_rows},
    nearest::nearest,
    vote::{VOTERS, vote},
};
use voisin_base::track::TrackId;

/// Typical tracks listed per genre.
const TYPICAL: usize = 5;
/// Most tracks to use; more are thinned evenly.
const MOST_TRACKS: usize = 10_000;

/// All genres and their distances.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kinship {
    /// Ordered by key.
    pub genres: Vec<GenreKinship>,
    /// Distance between genres, `[genre][genre]`, symmetric, 0 on the diagonal, at most 1; larger
    /// is farther.
    pub distance: Vec<Vec<f64>>,
}

/// One genre among the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenreKinship {
    pub genre: Genre,
    pub tracks: usize,
    /// Mean cosine of its tracks to their mean direction, in [-1, 1]; `None` for a single
    /// track.
    pub cohesion: Option<f64>,
    /// All other genres, nearest first.
    pub nearest: Vec<Kin>,
    /// Tracks nearest to the genre's mean direction, nearest first.
    pub typical: Vec<TrackId>,
}

/// A relation between two genres.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Kin {
    /// The other genre.
    pub genre: Genre,
    /// Mean of the two measures, in [0, 1].
    pub distance: f64,
    /// 1 - cosine of mean directions, unscaled, in [0, 2].
    pub centroid: f64,
    /// The other genre's share in the votes for this one's tracks, in [0, 1].
    pub votes: f64,
}

impl Kinship {
    pub fn of(&self, genre: &Genre) -> Result<&GenreKinship, GenreError> {
        self.genres
            .iter()
            .find(|g| g.genre == *genre)
            .ok_or_else(|| GenreError::unknown_genre(genre, self.genres.iter().map(|g| &g.genre)))
    }
}

/// Measures the kinship of all labelled genres.
///
/// Tracks of the same group (artist) do not count as each other's neighbours. Vectors are
/// standardised.
pub fn kinship(set: &LabelledVectors) -> Result<Kinship, GenreError> {
    let examples = Examples::some(set, MOST_TRACKS)?;
    let k = examples.n_classes();
    let (_, rows) = Standardiser::fit(examples.x.view());
    let unit = unit_rows(rows);
    let members: Vec<Vec<usize>> = (0..k)
        .map(|genre| {
            (0..examples.len())
                .filter(|&row| examples.classes[row].contains(&genre))
                .collect()
        })
        .collect();
    let centroids = unit_rows(sums(&unit, &members));
    let centroid = Array2::from_shape_fn((k, k), |(a, b)| {
        // Rounding may give slightly negative values for the same tracks.
        (1.0 - f64::from(centroids.row(a).dot(&centroids.row(b)))).max(0.0)
    });
    let votes = shares_of_votes(&examples, &unit, &members);
    let apart = votes.mapv(|share| 1.0 - share);
    let scaled = [&centroid, &apart].map(scaled);
    let distance: Vec<Vec<f64>> = (0..k)
        .map(|a| {
            let between = |b: usize| f64::midpoint(scaled[0][[a, b]], scaled[1][[a, b]]);
            (0..k).map(between).collect()
        })
        .collect();
    let genres = (0..k)
        .map(|g| {
            let mut nearest: Vec<Kin> = (0..k)
                .filter(|&h| h != g)
                .map(|h| Kin {
                    genre: examples.genres[h].clone(),
                    distance: distance[g][h],
                    centroid: centroid[[g, h]],
                    votes: votes[[g, h]],
                })
                .collect();
            nearest.sort_by(|a, b| {
                a.distance
                    .total_cmp(&b.distance)
                    .then(a.genre.cmp(&b.genre))
            });
            of_genre(&examples, g, nearest, &members[g], &unit, centroids.row(g))
        })
        .collect();
    Ok(Kinship { genres, distance })
}

fn of_genre(
    examples: &Examples,
    genre: usize,
    nearest: Vec<Kin>,
    members: &[usize],
    unit: &Array2<f32>,
    centroid: ArrayView1<f32>,
) -> GenreKinship {
    let to_centre = |i: usize| f64::from(unit.row(i).dot(&centroid));
    let mut typical = members.to_vec();
    typical.sort_by(|&a, &b| to_centre(b).total_cmp(&to_centre(a)).then(a.cmp(&b)));
    let sum: f64 = typical.iter().map(|&i| to_centre(i)).sum();
    GenreKinship {
        genre: examples.genres[genre].clone(),
        tracks: typical.len(),
        cohesion: (typical.len() > 1).then(|| sum / typical.len() as f64),
        nearest,
        typical: typical
            .iter()
            .take(TYPICAL)
            .map(|&i| examples.ids[i])
            .collect(),
    }
}

/// The mean of both directions, divided by the largest, or the measure with the widest range would
/// decide alone; 0 on the diagonal.
fn scaled(measure: &Array2<f64>) -> Array2<f64> {
    let both = Array2::from_shape_fn(measure.dim(), |(a, b)| {
        if a == b {
            0.0
        } else {
            f64::midpoint(measure[[a, b]], measure[[b, a]])
        }
    });
    let far = both.iter().copied().fold(1e-9, f64::max);
    both / far
}

fn sums(unit: &Array2<f32>, members: &[Vec<usize>]) -> Array2<f32> {
    let mut out = Array2::zeros((members.len(), unit.ncols()));
    for (mut row, members) in out.outer_iter_mut().zip(members) {
        for &m in members {
            row += &unit.row(m);
        }
    }
    out
}

/// For each genre, the mean share of each other in the vote for its tracks, in which tracks of the
/// same genre or artist have no vote.
fn shares_of_votes(examples: &Examples, unit: &Array2<f32>, members: &[Vec<usize>]) -> Array2<f64> {
    let k = examples.n_classes();
    let is_other = |row: usize, other: usize| {
        let mut shared = examples.classes[row].iter();
        examples.groups[row] != examples.groups[other]
            && !shared.any(|class| examples.classes[other].contains(class))
    };
    let near = nearest(unit.view(), unit.view(), VOTERS, is_other);
    let genres: Vec<Vec<Genre>> = (0..examples.len())
        .map(|row| examples.genres_of(row))
        .collect();
    let priors = Priors::from_labels(genres.iter().map(Vec::as_slice));
    let mut votes = Array2::zeros((k, k));
    for (row, near) in near.iter().enumerate() {
        let voter = |near: &Near| LabelledNeighbor {
            track: examples.ids[near.row],
            similarity: near.similarity,
            genres: genres[near.row].clone(),
        };
        let voters = vote(&near.iter().map(voter).collect::<Vec<_>>(), &priors).voters;
        // Without the collection's part, which is the same for all.
        let all: f32 = voters.iter().map(|voter| voter.weight).sum();
        for &genre in &examples.classes[row] {
            let mut sum = votes.row_mut(genre);
            for voter in &voters {
                for other in &voter.genres {
                    if let Ok(other) = examples.genres.binary_search(other) {
                        sum[other] += f64::from(voter.weight / all);
                    }
                }
            }
            // A track with both genres votes for either.
            for &other in &examples.classes[row] {
                sum[other] += 1.0;
            }
        }
    }
    for (mut sum, members) in votes.outer_iter_mut().zip(members) {
        sum /= members.len().max(1) as f64;
    }
    votes
}
