//! How close genres are to one another, measured on their tracks' vectors.
//!
//! Three measures, each scaled so that the farthest pair has distance 1, and their mean:
//! - centroid: 1 - cosine of the genres' mean directions;
//! - neighbourhood: mean of 1 - cosine from each track to its five nearest of the other genre;
//! - votes: 1 - the other genre's share in the vote of the nearest tracks of other genres for a
//!   genre's tracks.
//!
//! A track with both genres has distance 0 from either, so that genres of the same tracks have
//! distance 0.

use ndarray::{Array1, Array2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Genre, GenreError, LabelledVectors, Space, Transform,
    data::{Examples, priors},
    nearest::with_products,
    space::unit_rows,
};
use voisin_base::track::TrackId;

/// Neighbours of other genres that vote.
const VOTING: usize = 20;
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
    /// The genre.
    pub genre: Genre,
    /// Number of its tracks.
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
    /// Mean of the three measures, in [0, 1].
    pub distance: f64,
    /// 1 - cosine of mean directions, unscaled, in [0, 2].
    pub centroid: f64,
    /// Mean 1 - cosine to the nearest tracks, unscaled, in [0, 2].
    pub neighbourhood: f64,
    /// The other genre's share in the votes for this one's tracks, in [0, 1].
    pub votes: f64,
}

impl Kinship {
    /// The relations of one genre.
    pub fn of(&self, genre: &Genre) -> Result<&GenreKinship, GenreError> {
        self.genres
            .iter()
            .find(|g| g.genre == *genre)
            .ok_or_else(|| GenreError::unknown_genre(genre, self.genres.iter().map(|g| &g.genre)))
    }
}

/// Affinities of every track: `[tracks, genres]` each.
struct TrackAffinities {
    /// Mean 1 - cosine to the five nearest of each genre (other artists).
    near: Array2<f32>,
    /// Shares of votes among other genres.
    votes: Array2<f32>,
}

/// Measures the kinship of all labelled genres.
///
/// Tracks of the same group (artist) do not count as each other's neighbours. Vectors are
/// standardised but not whitened by genre, which would favour genres with many labels.
pub fn kinship(set: &LabelledVectors) -> Result<Kinship, GenreError> {
    let examples = Examples::some(set, MOST_TRACKS)?;
    let k = examples.n_classes();
    let transform = Transform::of(examples.x.view());
    let space = Space::fit(examples.x.view(), examples.targets().view(), transform, 1.0);
    let unit = unit_rows(space.standardise(examples.x.view()));
    let tracks = measure_affinities(&examples, &unit, VOTING);
    let all: Vec<usize> = (0..examples.len()).collect();
    let members: Vec<Vec<usize>> = (0..k)
        .map(|g| {
            all.iter()
                .copied()
                .filter(|&i| examples.classes[i].contains(&g))
                .collect()
        })
        .collect();
    let centroids = unit_rows(sums(&unit, &members));

    // Directed measures, then their symmetric means and scales.
    let mut raw = [
        Array2::<f64>::zeros((k, k)),
        Array2::zeros((k, k)),
        Array2::zeros((k, k)),
    ];
    for g in 0..k {
        let rows = measures(g, &members[g], &examples, &tracks, &centroids);
        for (matrix, row) in raw.iter_mut().zip(rows) {
            matrix.row_mut(g).assign(&Array1::from(row));
        }
    }
    let scales: Vec<f64> = raw
        .iter()
        .map(|m| {
            // Each measure is divided by its largest distance, or the one with the widest range would
            // decide alone.
            let far = (0..k)
                .flat_map(|a| (0..k).map(move |b| (a, b)))
                .filter(|(a, b)| a != b);
            far.map(|(a, b)| f64::midpoint(m[[a, b]], m[[b, a]]))
                .fold(1e-9, f64::max)
        })
        .collect();
    let mut distance = vec![vec![0.0; k]; k];
    for a in 0..k {
        for b in 0..k {
            if a != b {
                distance[a][b] = raw
                    .iter()
                    .zip(&scales)
                    .map(|(m, s)| f64::midpoint(m[[a, b]], m[[b, a]]) / s)
                    .sum::<f64>()
                    / 3.0;
            }
        }
    }
    let genres = (0..k)
        .map(|g| {
            let mut nearest: Vec<Kin> = (0..k)
                .filter(|&h| h != g)
                .map(|h| Kin {
                    genre: examples.genres[h].clone(),
                    distance: distance[g][h],
                    centroid: raw[0][[g, h]],
                    neighbourhood: f64::midpoint(raw[1][[g, h]], raw[1][[h, g]]),
                    votes: 1.0 - raw[2][[g, h]],
                })
                .collect();
            nearest.sort_by(|a, b| {
                a.distance
                    .total_cmp(&b.distance)
                    .then(a.genre.cmp(&b.genre))
            });
            let to_centre = |i: usize| f64::from(unit.row(i).dot(&centroids.row(g)));
            let mut typical = members[g].clone();
            typical.sort_by(|&a, &b| to_centre(b).total_cmp(&to_centre(a)).then(a.cmp(&b)));
            let sum: f64 = typical.iter().map(|&i| to_centre(i)).sum();
            GenreKinship {
                genre: examples.genres[g].clone(),
                tracks: typical.len(),
                cohesion: (typical.len() > 1).then(|| sum / typical.len() as f64),
                nearest,
                typical: typical
                    .iter()
                    .take(TYPICAL)
                    .map(|&i| examples.ids[i])
                    .collect(),
            }
        })
        .collect();
    Ok(Kinship { genres, distance })
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

/// Distances of one genre, from the affinities of its tracks, to every genre.
fn measures(
    genre: usize,
    members: &[usize],
    examples: &Examples,
    affinities: &TrackAffinities,
    centroids: &Array2<f32>,
) -> [Vec<f64>; 3] {
    let k = examples.n_classes();
    let n = members.len().max(1) as f64;
    let mut out = [vec![0.0; k], vec![0.0; k], vec![0.0; k]];
    for h in (0..k).filter(|h| *h != genre) {
        let mut near = 0.0;
        let mut votes = 0.0;
        for &row in members {
            // A track with a genre has distance 0 from it and votes for it.
            let (far, share) = if examples.classes[row].contains(&h) {
                (0.0, 1.0)
            } else {
                (affinities.near[[row, h]], affinities.votes[[row, h]])
            };
            near += f64::from(far);
            votes += f64::from(share);
        }
        // Rounding may give slightly negative values for the same tracks.
        out[0][h] = (1.0 - f64::from(centroids.row(genre).dot(&centroids.row(h)))).max(0.0);
        out[1][h] = near / n;
        out[2][h] = 1.0 - votes / n;
    }
    out
}

/// Neighbours of a track among the rows so far.
struct SeenOthers {
    me: usize,
    /// The highest similarities of each genre; a value must exceed the last of a full list to be
    /// added.
    nearest: Vec<Vec<f32>>,
    least: Vec<f32>,
    /// The nearest tracks of other genres with their similarities.
    voters: Vec<(f32, usize)>,
    floor: f32,
}

/// For each track, the distance to each genre, and the votes of neighbours of other genres.
fn measure_affinities(examples: &Examples, unit: &Array2<f32>, k: usize) -> TrackAffinities {
    const NEAR: usize = 5;
    const TEMPERATURE: f32 = 0.05;
    let n = examples.len();
    let genres = examples.n_classes();
    let priors = priors(&examples.classes, genres);
    // In one array, since they are read for each pair of tracks.
    let ends: Vec<usize> = std::iter::once(0)
        .chain(examples.classes.iter().scan(0, |end, track_classes| {
            *end += track_classes.len();
            Some(*end)
        }))
        .collect();
    let classes = examples.classes.concat();
    let classes = |track: usize| &classes[ends[track]..ends[track + 1]];
    let rows: Vec<(Vec<f32>, Vec<f32>)> = with_products(
        unit.view(),
        unit.view(),
        |me| SeenOthers {
            me,
            nearest: vec![Vec::with_capacity(NEAR + 1); genres],
            least: vec![f32::NEG_INFINITY; genres],
            voters: Vec::new(),
            floor: f32::NEG_INFINITY,
        },
        |seen, first, products| {
            for (other, &s) in (first..).zip(products) {
                // Most pairs end here: neither among the nearest of a genre nor among the voters.
                let may_vote = s > seen.floor;
                if !may_vote && classes(other).iter().all(|&g| s <= seen.least[g])
                    || other == seen.me
                    || examples.groups[other] == examples.groups[seen.me]
                {
                    continue;
                }
                for &g in classes(other) {
                    if s > seen.least[g] {
                        let list = &mut seen.nearest[g];
                        list.insert(list.partition_point(|v| *v >= s), s);
                        list.truncate(NEAR);
                        if list.len() == NEAR {
                            seen.least[g] = list[NEAR - 1];
                        }
                    }
                }
                // A track with a common genre is not from another genre, so it does not vote.
                let is_shared = || classes(other).iter().any(|g| classes(seen.me).contains(g));
                if may_vote && !is_shared() {
                    seen.voters.push((s, other));
                    // Collects twice as many before the best are selected, so that selections are
                    // rare.
                    if seen.voters.len() > 2 * k {
                        seen.voters
                            .select_nth_unstable_by(k, |a, b| b.0.total_cmp(&a.0));
                        seen.voters.truncate(k);
                        seen.floor = seen
                            .voters
                            .iter()
                            .map(|v| v.0)
                            .fold(f32::INFINITY, f32::min);
                    }
                }
            }
        },
        |SeenOthers {
             nearest,
             mut voters,
             ..
         }| {
            voters.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            voters.truncate(k);
            let mut votes = vec![0.0; genres];
            let mut divided = vec![0.0; genres];
            for &(s, other) in &voters {
                let weight = ((s - voters[0].0) / TEMPERATURE).exp();
                // A voter with several genres votes for each with its whole weight; shares are
                // relative to divided votes.
                let voter_classes = classes(other);
                let whole = weight / voter_classes.iter().map(|&g| priors[g]).fold(0.0, f32::max);
                for &g in voter_classes {
                    votes[g] += whole;
                    divided[g] += whole / voter_classes.len() as f32;
                }
            }
            let total: f32 = divided.iter().sum();
            if total > 0.0 {
                votes.iter_mut().for_each(|v| *v /= total);
            }
            let near = |l: &Vec<f32>| {
                // A genre without tracks by other artists has the largest possible distance: the
                // cosine is at least -1.
                if l.is_empty() {
                    2.0
                } else {
                    1.0 - l.iter().sum::<f32>() / l.len() as f32
                }
            };
            (nearest.iter().map(near).collect(), votes)
        },
    );
    let mut tracks = TrackAffinities {
        near: Array2::zeros((n, genres)),
        votes: Array2::zeros((n, genres)),
    };
    for (i, (near, votes)) in rows.into_iter().enumerate() {
        tracks.near.row_mut(i).assign(&Array1::from(near));
        tracks.votes.row_mut(i).assign(&Array1::from(votes));
    }
    tracks
}
