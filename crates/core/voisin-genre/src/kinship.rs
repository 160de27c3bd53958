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

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView1, Axis};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Genre, GenreError, LabelledVectors, Nesting, Space, Transform,
    data::{Examples, priors},
    nearest::with_products,
    space::unit_rows,
};
use voisin_base::random::Random;
use voisin_base::track::TrackId;

/// Settings of [`kinship`].
#[derive(Debug, Clone, PartialEq)]
pub struct KinshipOptions {
    /// Neighbours of other genres that vote.
    pub k: usize,
    /// Resamples for each interval.
    pub resamples: usize,
    /// Typical and borderline tracks listed per genre.
    pub tracks: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Most tracks to use; more are thinned evenly.
    pub max_tracks: usize,
}

impl Default for KinshipOptions {
    fn default() -> Self {
        Self {
            k: 20,
            resamples: 200,
            tracks: 5,
            seed: 1,
            max_tracks: 10_000,
        }
    }
}

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
    /// The genres that it is within, by labels: all or nearly all its tracks have them as well, and
    /// not the reverse; of nested ones the narrowest.
    pub within: Vec<Genre>,
    /// Mean cosine of its tracks to their mean direction, in [-1, 1]; `None` for a single
    /// track.
    pub cohesion: Option<f64>,
    /// All other genres, nearest first.
    pub nearest: Vec<Kin>,
    /// Tracks nearest to the genre's mean direction, nearest first.
    pub typical: Vec<TrackId>,
    /// Tracks nearer to another genre's tracks than to those of their own, largest margin first.
    pub borderline: Vec<Borderline>,
}

/// A relation between two genres.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Kin {
    /// The other genre.
    pub genre: Genre,
    /// Mean of the three measures, in [0, 1].
    pub distance: f64,
    /// 2.5 % point of the distance when this genre's artists are resampled.
    pub low: f64,
    /// 97.5 % point.
    pub high: f64,
    /// 1 - cosine of mean directions, unscaled, in [0, 2].
    pub centroid: f64,
    /// Mean 1 - cosine to the nearest tracks, unscaled, in [0, 2].
    pub neighbourhood: f64,
    /// The other genre's share in the votes for this one's tracks, in [0, 1].
    pub votes: f64,
}

/// A track between two genres.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Borderline {
    /// The track.
    pub track: TrackId,
    /// The other genre.
    pub towards: Genre,
    /// Cosine to that genre's tracks minus cosine to those of its own.
    pub margin: f64,
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
pub fn kinship(set: &LabelledVectors, options: &KinshipOptions) -> Result<Kinship, GenreError> {
    let examples = Examples::some(set, options.max_tracks)?;
    let k = examples.n_classes();
    let transform = Transform::of(examples.x.view());
    let space = Space::fit(examples.x.view(), examples.targets().view(), transform, 1.0);
    let unit = unit_rows(space.standardise(examples.x.view()));
    let tracks = measure_affinities(&examples, &unit, options.k);
    let all: Vec<usize> = (0..examples.len()).collect();
    let members: Vec<Vec<usize>> = (0..k)
        .map(|g| {
            all.iter()
                .copied()
                .filter(|&i| examples.classes[i].contains(&g))
                .collect()
        })
        .collect();
    let sums = sums(&unit, &members);
    let centroids = unit_rows(sums.clone());
    let nesting = Nesting::new(examples.genres.clone(), &examples.classes);

    // Directed measures, then their symmetric means and scales.
    let mut raw = [
        Array2::<f64>::zeros((k, k)),
        Array2::zeros((k, k)),
        Array2::zeros((k, k)),
    ];
    for g in 0..k {
        let affinities = AffinitySums::new(&members[g], &examples, &tracks);
        let rows = measures(g, &affinities, |h| centroids.row(h));
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
        .into_par_iter()
        .map(|g| {
            let context = KinshipContext {
                examples: &examples,
                unit: &unit,
                tracks: &tracks,
                sums: &sums,
                centroids: &centroids,
                nesting: &nesting,
            };
            let intervals = context.intervals(g, &members[g], &raw, &scales, options);
            let mut nearest: Vec<Kin> = (0..k)
                .filter(|&h| h != g)
                .map(|h| Kin {
                    genre: examples.genres[h].clone(),
                    distance: distance[g][h],
                    low: intervals[h].0,
                    high: intervals[h].1,
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
            context.genre(g, &members[g], nearest, options.tracks)
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

/// Sums of the affinities of some tracks (with repetitions) to each genre.
#[derive(Clone)]
struct AffinitySums {
    tracks: usize,
    near: Vec<f64>,
    votes: Vec<f64>,
}

impl AffinitySums {
    fn new(rows: &[usize], examples: &Examples, affinities: &TrackAffinities) -> Self {
        let k = examples.n_classes();
        let mut near = vec![0.0; k];
        let mut votes = vec![0.0; k];
        for &r in rows {
            let track_classes = &examples.classes[r];
            for h in 0..k {
                // A track with a genre has distance 0 from it and votes for it.
                let (far, share) = if track_classes.contains(&h) {
                    (0.0, 1.0)
                } else {
                    (affinities.near[[r, h]], affinities.votes[[r, h]])
                };
                near[h] += f64::from(far);
                votes[h] += f64::from(share);
            }
        }
        Self {
            tracks: rows.len(),
            near,
            votes,
        }
    }

    fn add(&mut self, other: &Self) {
        self.tracks += other.tracks;
        for (sums, more) in [
            (&mut self.near, &other.near),
            (&mut self.votes, &other.votes),
        ] {
            sums.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        }
    }
}

/// Distances of one genre, from the affinities of its tracks, to every genre.
fn measures<'a>(
    genre: usize,
    sums: &AffinitySums,
    centre: impl Fn(usize) -> ArrayView1<'a, f32>,
) -> [Vec<f64>; 3] {
    let k = sums.near.len();
    let n = sums.tracks.max(1) as f64;
    let mut out = [vec![0.0; k], vec![0.0; k], vec![0.0; k]];
    for h in (0..k).filter(|h| *h != genre) {
        // Rounding may give slightly negative values for the same tracks.
        out[0][h] = (1.0 - f64::from(centre(genre).dot(&centre(h)))).max(0.0);
        out[1][h] = sums.near[h] / n;
        out[2][h] = 1.0 - sums.votes[h] / n;
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

struct KinshipContext<'a> {
    examples: &'a Examples,
    unit: &'a Array2<f32>,
    tracks: &'a TrackAffinities,
    /// Sums of the tracks of each genre.
    sums: &'a Array2<f32>,
    centroids: &'a Array2<f32>,
    nesting: &'a Nesting,
}

impl KinshipContext<'_> {
    /// Bootstrap intervals (95 %) of the distance to each genre, resampling this genre's groups.
    fn intervals(
        &self,
        genre: usize,
        members: &[usize],
        raw: &[Array2<f64>; 3],
        scales: &[f64],
        options: &KinshipOptions,
    ) -> Vec<(f64, f64)> {
        let k = self.centroids.nrows();
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &m in members {
            groups.entry(self.examples.groups[m]).or_default().push(m);
        }
        let groups: Vec<Vec<usize>> = groups.into_values().collect();
        // Sums of each artist are computed once; a resample only adds them.
        let group_sums: Vec<AffinitySums> = groups
            .iter()
            .map(|rows| AffinitySums::new(rows, self.examples, self.tracks))
            .collect();
        let nothing = AffinitySums::new(&[], self.examples, self.tracks);
        let mut rng = Random::new(options.seed.wrapping_add(genre as u64));
        let mut draws: Vec<Vec<f64>> = vec![Vec::new(); k];
        let bears = |r: usize, h: usize| self.examples.classes[r].contains(&h);
        let is_shared = |h: &usize| members.iter().any(|&r| bears(r, *h));
        // Genres that some of these tracks have, with the sum of their other tracks.
        let shared: Vec<(usize, Array1<f32>)> = (0..k)
            .filter(is_shared)
            .map(|h| {
                let others = |sum: Array1<f32>, &r: &usize| {
                    if bears(r, h) {
                        sum - self.unit.row(r)
                    } else {
                        sum
                    }
                };
                let nothing = || Array1::zeros(self.unit.ncols());
                (
                    h,
                    if h == genre {
                        nothing()
                    } else {
                        members.iter().fold(self.sums.row(h).to_owned(), others)
                    },
                )
            })
            .collect();
        for _ in 0..options.resamples {
            // Whole artists are drawn, because tracks of one artist are similar and would narrow
            // the interval.
            let mut drawn: Vec<usize> = Vec::new();
            let mut sums = nothing.clone();
            for _ in 0..groups.len() {
                let group = rng.below(groups.len());
                drawn.extend(&groups[group]);
                sums.add(&group_sums[group]);
            }
            // Tracks that have other genres as well are drawn for these, too.
            let centres: BTreeMap<usize, Array2<f32>> = shared
                .iter()
                .map(|(h, others)| {
                    let mut sum = others.clone();
                    drawn
                        .iter()
                        .filter(|r| bears(**r, *h))
                        .for_each(|&r| sum += &self.unit.row(r));
                    (*h, unit_rows(sum.insert_axis(Axis(0))))
                })
                .collect();
            let centre = |h: usize| {
                centres
                    .get(&h)
                    .map_or_else(|| self.centroids.row(h), |centre| centre.row(0))
            };
            let rows = measures(genre, &sums, centre);
            for h in (0..k).filter(|h| *h != genre) {
                let distance = (0..3)
                    .map(|m| f64::midpoint(rows[m][h], raw[m][[h, genre]]) / scales[m])
                    .sum::<f64>();
                draws[h].push(distance / 3.0);
            }
        }
        draws
            .iter_mut()
            .map(|d| {
                d.sort_by(f64::total_cmp);
                let at = |q: f64| {
                    d.get(((d.len().saturating_sub(1)) as f64 * q).round() as usize)
                        .copied()
                };
                (at(0.025).unwrap_or(0.0), at(0.975).unwrap_or(0.0))
            })
            .collect()
    }

    fn genre(&self, g: usize, members: &[usize], nearest: Vec<Kin>, list: usize) -> GenreKinship {
        let to_centre = |i: usize| f64::from(self.unit.row(i).dot(&self.centroids.row(g)));
        let cohesion = (members.len() > 1)
            .then(|| members.iter().map(|&i| to_centre(i)).sum::<f64>() / members.len() as f64);
        let mut typical = members.to_vec();
        typical.sort_by(|&a, &b| to_centre(b).total_cmp(&to_centre(a)).then(a.cmp(&b)));
        let mut borderline: Vec<(f64, usize, usize)> = members
            .iter()
            .filter_map(|&i| {
                let other = (0..self.centroids.nrows())
                    .filter(|h| !self.examples.classes[i].contains(h))
                    .min_by(|&a, &b| {
                        self.tracks.near[[i, a]].total_cmp(&self.tracks.near[[i, b]])
                    })?;
                let margin = f64::from(self.tracks.near[[i, g]] - self.tracks.near[[i, other]]);
                (margin > 0.0).then_some((margin, i, other))
            })
            .collect();
        borderline.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        GenreKinship {
            genre: self.examples.genres[g].clone(),
            tracks: members.len(),
            within: self.nesting.wholes(&self.examples.genres[g]),
            cohesion,
            nearest,
            typical: typical
                .iter()
                .take(list)
                .map(|&i| self.examples.ids[i])
                .collect(),
            borderline: borderline
                .iter()
                .take(list)
                .map(|&(margin, i, other)| Borderline {
                    track: self.examples.ids[i],
                    towards: self.examples.genres[other].clone(),
                    margin,
                })
                .collect(),
        }
    }
}
