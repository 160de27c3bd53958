//! The vote of labelled neighbours.
//!
//! A voter's weight is `exp((similarity - best) / temperature)`, divided by the share of its most
//! common genre in the collection to the power `prior_correction`, so that a genre with many tracks
//! does not win by numbers alone. A voter with several genres votes for each with its whole weight:
//! a genre's share is that of all voters that have it.
//!
//! The collection itself votes, too, with the weight of the nearest neighbour, for each genre by its
//! share, since one near track is little evidence and ten that agree are more. Genres with fewer
//! than [`LEAST_TRACKS`] tracks are corrected as if they had that many, because their frequency is
//! uncertain.

use std::collections::BTreeMap;

use ndarray::Array2;
use schemars::JsonSchema;
use serde::Serialize;

use super::label_count::LEAST_TRACKS;
use super::{Genre, GenreError, Near, VoteSettings};
use voisin_base::track::TrackId;

/// Share of a vote that is spread over all genres before taking logarithms.
const VOTE_FLOOR: f32 = 0.05;

/// Weight of the collection's vote, relative to the nearest neighbour. With it the accuracy is at
/// least the share; without it, predictions with a share of
/// 0.97 are right in nine of ten cases.
const COLLECTION: f64 = 1.0;

/// A neighbour with its labels.
#[derive(Debug, Clone)]
pub struct LabelledNeighbor {
    /// The neighbour.
    pub track: TrackId,
    /// Cosine similarity to the query, higher is nearer.
    pub similarity: f32,
    /// Its genres; a neighbour without any does not vote.
    pub genres: Vec<Genre>,
}

/// How neighbours are weighted.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteOptions {
    /// Most labelled neighbours that vote.
    pub k: usize,
    /// Decrease of similarity over which a weight falls by a factor e; smaller values favour the
    /// nearest. Infinite: equal votes.
    pub temperature: f32,
    /// 0: raw votes; 1: votes divided by the genre's share of the collection.
    pub prior_correction: f32,
}

impl Default for VoteOptions {
    fn default() -> Self {
        Self {
            k: 20,
            temperature: 0.1,
            prior_correction: 0.5,
        }
    }
}

impl VoteOptions {
    /// Checks the ranges of the settings.
    pub fn check(&self) -> Result<(), GenreError> {
        if self.k == 0 {
            return Err(GenreError::Setting {
                name: "k",
                value: 0.0,
                expected: "1 or more",
            });
        }
        if self.temperature.is_nan() || self.temperature <= 0.0 {
            return Err(GenreError::Setting {
                name: "temperature",
                value: f64::from(self.temperature),
                expected: "above 0",
            });
        }
        if !(0.0..=1.0).contains(&self.prior_correction) {
            return Err(GenreError::Setting {
                name: "prior correction",
                value: f64::from(self.prior_correction),
                expected: "0 to 1",
            });
        }
        Ok(())
    }
}

/// The share of each genre in the labelled collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Priors {
    weights: BTreeMap<Genre, f64>,
    total: f64,
}

impl Priors {
    /// Counts labels; a track with several genres counts for each.
    pub fn from_labels<'a>(tracks: impl IntoIterator<Item = &'a [Genre]>) -> Self {
        Self::of_sets(tracks.into_iter().map(|genres| (genres, 1)))
    }

    /// The same from sets of genres, each with the number of tracks that have exactly this set.
    pub fn of_sets<'a>(
        sets: impl IntoIterator<Item = (impl IntoIterator<Item = &'a Genre>, usize)>,
    ) -> Self {
        let mut priors = Self::default();
        for (genres, count) in sets {
            let mut is_labelled = false;
            for genre in genres {
                *priors.weights.entry(genre.clone()).or_default() += count as f64;
                is_labelled = true;
            }
            priors.total += if is_labelled { count as f64 } else { 0.0 };
        }
        priors
    }

    /// The genre's share of the collection, in (0, 1]. A genre without tracks has the share of half a
    /// track.
    pub fn share(&self, genre: &Genre) -> f64 {
        self.weights.get(genre).copied().unwrap_or(0.5).max(1e-9) / self.total.max(1.0)
    }

    /// Factor of a vote for these genres, which is larger if the most common of them is rarer.
    fn correction(&self, genres: &[Genre], power: f32) -> f64 {
        let largest = genres
            .iter()
            .map(|genre| self.share(genre))
            .fold(0.0, f64::max);
        correction(largest, self.total, power)
    }

    /// The collection's vote for a genre.
    fn vote(&self, genre: &Genre, power: f32) -> f64 {
        COLLECTION * self.share(genre) * correction(self.share(genre), self.total, power)
    }

    /// Mean number of genres per track.
    fn genres_per_track(&self) -> f64 {
        self.weights.values().sum::<f64>() / self.total
    }
}

/// - `share`: of a genre, `tracks`: in the collection
fn correction(share: f64, tracks: f64, power: f32) -> f64 {
    share
        .max(LEAST_TRACKS as f64 / tracks)
        .min(1.0)
        .powf(-f64::from(power))
}

/// A genre and its share; tracks with several genres count for each.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GenreShare {
    /// The genre.
    pub genre: Genre,
    /// Its share, in [0, 1].
    pub share: f32,
}

/// One voter, as evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Voter {
    /// The track.
    pub track: TrackId,
    /// The genres that it voted for.
    pub genres: Vec<Genre>,
    /// Cosine similarity to the query.
    pub similarity: f32,
    /// Its share of all votes, corrected for the frequency of its genres. With the collection's vote they sum to 1, and a
    /// genre's share is the sum of its voters' weights and of the collection's vote for it.
    pub weight: f32,
}

/// The result of a vote.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Votes {
    /// Every genre that a neighbour voted for, largest share first, then the more common genre, then
    /// by key. They sum to 1 minus the collection's votes for other genres, or to more if voters
    /// have several genres.
    pub shares: Vec<GenreShare>,
    /// The voters, nearest first; in a trained model's vote only those with the greatest weights.
    pub voters: Vec<Voter>,
    /// Number of voters.
    pub count: usize,
    /// The collection's share of all votes, divided among genres by their frequency.
    pub collection: f32,
}

impl Votes {
    /// The genre with the largest share; `None` without voters.
    pub fn winner(&self) -> Option<&GenreShare> {
        self.shares.first()
    }

    /// The share of a genre, 0 without votes.
    pub fn share(&self, genre: &Genre) -> f32 {
        self.shares
            .iter()
            .find(|s| s.genre == *genre)
            .map_or(0.0, |s| s.share)
    }
}

/// The vote of labelled neighbours.
///
/// - `neighbours`: in any order, without the query itself; those with NaN similarity or without
///   labels do not vote
/// - returns: the shares of genres and the voters; empty without voters
///
/// Distance-weighted k-NN (Dudani, "The Distance-Weighted k-Nearest-Neighbor Rule", 1976) with a
/// softmax weight.
pub fn vote(
    neighbours: &[LabelledNeighbor],
    priors: &Priors,
    options: &VoteOptions,
) -> Result<Votes, GenreError> {
    options.check()?;
    let mut order: Vec<&LabelledNeighbor> = neighbours
        .iter()
        .filter(|n| !n.genres.is_empty() && n.similarity.is_finite())
        .collect();
    order.sort_by(|a, b| {
        b.similarity
            .total_cmp(&a.similarity)
            .then(a.track.cmp(&b.track))
    });
    order.truncate(options.k);
    let Some(best) = order.first().map(|n| f64::from(n.similarity)) else {
        return Ok(Votes::default());
    };

    let weights: Vec<f64> = order
        .iter()
        .map(|n| ((f64::from(n.similarity) - best) / f64::from(options.temperature)).exp())
        .collect();
    // For each genre, the sum of votes, and the sum in which a voter's vote is divided among its
    // genres.
    let mut sums: BTreeMap<&Genre, (f64, f64)> = BTreeMap::new();
    let mut corrected = Vec::with_capacity(order.len());
    for (n, w) in order.iter().zip(&weights) {
        let whole = w * priors.correction(&n.genres, options.prior_correction);
        corrected.push(whole);
        for genre in &n.genres {
            let sum = sums.entry(genre).or_default();
            // Shares are whole votes relative to the sum of divided ones.
            *sum = (sum.0 + whole, sum.1 + whole / n.genres.len() as f64);
        }
    }
    let mut all: f64 = sums.values().map(|(_, part)| part).sum();
    let of_voters = all;
    for genre in priors.weights.keys() {
        let whole = priors.vote(genre, options.prior_correction);
        all += whole / priors.genres_per_track();
        if let Some(sum) = sums.get_mut(genre) {
            sum.0 += whole;
        }
    }
    // Genres without a voter are left out, though the collection's votes for them count in the
    // total.
    let mut shares: Vec<GenreShare> = sums
        .into_iter()
        .map(|(genre, (whole, _))| GenreShare {
            genre: genre.clone(),
            share: ((whole / all) as f32).min(1.0),
        })
        .collect();
    shares.sort_by(|a, b| {
        let commoner = || priors.share(&b.genre).total_cmp(&priors.share(&a.genre));
        b.share
            .total_cmp(&a.share)
            .then_with(commoner)
            .then_with(|| a.genre.cmp(&b.genre))
    });
    let voters = order
        .iter()
        .zip(&corrected)
        .map(|(n, whole)| Voter {
            track: n.track,
            genres: n.genres.clone(),
            similarity: n.similarity,
            weight: (whole / all) as f32,
        })
        .collect();
    Ok(Votes {
        shares,
        count: order.len(),
        collection: (1.0 - of_voters / all) as f32,
        voters,
    })
}

/// How a voter's vote counts for its classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VotePart {
    /// Whole for each class.
    Whole,
    /// Divided equally among its classes, so that rows sum to 1.
    Divided,
}

/// Shares of the classes among voters, `[m, classes]`: as [`vote`] over rows, without the
/// collection's vote, with which wrong labels are found less well (average precision 0.63 instead of
/// 0.73 on taggrams).
///
/// - `priors`: the share of tracks with each class
///
/// A query without voters gets the priors.
pub(super) fn vote_shares(
    neighbours: &[Vec<Near>],
    classes: &[Vec<usize>],
    priors: &[f32],
    vote: &VoteSettings,
    part: VotePart,
) -> Array2<f32> {
    let correction: Vec<f32> = priors
        .iter()
        .map(|p| p.powf(-vote.prior_correction))
        .collect();
    let mut shares = Array2::zeros((neighbours.len(), priors.len()));
    for (mut out, list) in shares.outer_iter_mut().zip(neighbours) {
        let Some(best) = list.first().map(|n| n.similarity) else {
            let total: f32 = priors.iter().sum();
            out.iter_mut().zip(priors).for_each(|(o, p)| *o = p / total);
            continue;
        };
        let mut whole = vec![0.0; priors.len()];
        for near in list.iter().take(vote.k) {
            let weight = ((near.similarity - best) / vote.temperature).exp();
            let row_classes = &classes[near.row];
            // The most common of its classes decides, so that a rare second genre does not raise
            // the weight.
            let corrected = weight
                * row_classes
                    .iter()
                    .map(|&class| correction[class])
                    .fold(f32::INFINITY, f32::min);
            for &class in row_classes {
                out[class] += corrected / row_classes.len() as f32;
                whole[class] += corrected;
            }
        }
        let total = out.sum();
        if part == VotePart::Whole {
            out.iter_mut().zip(whole).for_each(|(o, w)| *o = w);
        }
        out /= total;
    }
    shares
}

/// Logarithms of shares with a floor, so that no genre is impossible.
pub(super) fn floored_log(shares: &Array2<f32>) -> Array2<f32> {
    let even = VOTE_FLOOR / shares.ncols() as f32;
    shares.mapv(|s| (s * (1.0 - VOTE_FLOOR) + even).ln())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn neighbour(track: i64, similarity: f32, genres: &[&str]) -> LabelledNeighbor {
        LabelledNeighbor {
            track: TrackId(track),
            similarity,
            genres: genres.iter().map(|g| Genre::plain(g)).collect(),
        }
    }

    #[test]
    fn weights_and_shares_follow_their_definition() {
        let neighbours = [
            neighbour(1, 0.9, &["Rock"]),
            neighbour(2, 0.8, &["Pop", "Rock"]),
            neighbour(3, 0.7, &[]),
        ];
        let options = VoteOptions {
            k: 5,
            temperature: 0.1,
            prior_correction: 0.0,
        };
        let votes = vote(&neighbours, &Priors::default(), &options).unwrap();
        // Weights 1 and 1/e; both voters are rock, the second is also pop.
        let e = std::f32::consts::E;
        assert!((votes.share(&Genre::plain("rock")) - 1.0).abs() < 1e-6);
        assert!((votes.share(&Genre::plain("pop")) - 1.0 / e / (1.0 + 1.0 / e)).abs() < 1e-6);
        assert!((votes.voters[0].weight - 1.0 / (1.0 + 1.0 / e)).abs() < 1e-6);
        assert_eq!(votes.voters.len(), 2);
        assert_eq!(votes.winner().unwrap().genre.name(), "Rock");
    }

    #[test]
    fn weights_and_the_collection_add_up_to_the_shares() {
        let labels: Vec<Vec<Genre>> = [&["Pop"][..], &["Rock"], &["Rock", "Folk"], &["Rock"]]
            .iter()
            .map(|names| names.iter().map(|name| Genre::plain(name)).collect())
            .collect();
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let voters = [
            neighbour(1, 0.9, &["Pop"]),
            neighbour(2, 0.85, &["Rock"]),
            neighbour(3, 0.8, &["Rock", "Folk"]),
        ];
        let options = VoteOptions::default();
        let votes = vote(&voters, &priors, &options).unwrap();
        let all: f32 = votes.voters.iter().map(|voter| voter.weight).sum();
        assert!((all + votes.collection - 1.0).abs() < 1e-5, "{votes:?}");
        assert!(votes.collection > 0.01, "{votes:?}");
        for share in &votes.shares {
            let given: f32 = votes
                .voters
                .iter()
                .filter(|voter| voter.genres.contains(&share.genre))
                .map(|voter| voter.weight)
                .sum();
            // The rest is from the collection, whose votes are divided among all genres.
            let rest = share.share - given;
            assert!(
                (0.0..votes.collection).contains(&rest),
                "{rest} of {votes:?}"
            );
        }
    }

    #[test]
    fn ten_agreeing_tracks_give_a_high_share_and_one_does_not() {
        let labels: Vec<Vec<Genre>> = (0..10)
            .map(|i| vec![Genre::plain(if i == 0 { "Blues" } else { "Rock" })])
            .collect();
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let share = |similarities: [f32; 10], name: &str| {
            let voters: Vec<LabelledNeighbor> = (0..10)
                .map(|i| neighbour(i as i64, similarities[i], &[labels[i][0].name()]))
                .collect();
            vote(&voters, &priors, &VoteOptions::default())
                .unwrap()
                .share(&Genre::plain(name))
        };
        // The only track of a genre is much nearer than all others: on labelled music six of ten
        // such predictions are right if the genre is as rare as its labels.
        let lone = [0.8, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2];
        // Weights 1 and 9 e^-6; a genre of one in ten is corrected as one of four; the collection
        // votes 0.1 and 0.9.
        let lift = 0.4f64.powf(-0.5);
        let rock = 0.9f64.powf(-0.5);
        let others = 9.0 * (-6.0f64).exp() * rock;
        let expected = 1.1 * lift / (1.1 * lift + others + 0.9 * rock);
        assert!(
            (f64::from(share(lone, "Blues")) - expected).abs() < 1e-6,
            "{expected}"
        );
        assert!((0.5..0.7).contains(&expected), "{expected}");
        let near = [0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8];
        assert!(share(near, "Rock") > 0.95, "{}", share(near, "Rock"));
    }

    #[test]
    fn a_large_genre_does_not_win_by_numbers_alone() {
        let neighbours = [
            neighbour(1, 0.9, &["Big"]),
            neighbour(2, 0.9, &["Big"]),
            neighbour(3, 0.9, &["Small"]),
        ];
        let labels: Vec<Vec<Genre>> = (0..40)
            .map(|i| vec![Genre::plain(if i < 36 { "Big" } else { "Small" })])
            .collect();
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let vote_with = |prior_correction| {
            let options = VoteOptions {
                prior_correction,
                ..VoteOptions::default()
            };
            vote(&neighbours, &priors, &options)
                .unwrap()
                .winner()
                .unwrap()
                .genre
                .name()
                .to_owned()
        };
        assert_eq!(vote_with(0.0), "Big");
        assert_eq!(vote_with(1.0), "Small");
    }

    #[test]
    fn voters_of_several_genres_vote_for_each_with_whole_weight() {
        let neighbours = [
            neighbour(1, 0.9, &["Jazz", "Bebop"]),
            neighbour(2, 0.9, &["Jazz", "Bebop"]),
            neighbour(3, 0.9, &["Jazz"]),
            neighbour(4, 0.9, &["Rock"]),
        ];
        let labels: Vec<Vec<Genre>> = neighbours.iter().map(|n| n.genres.clone()).collect();
        let options = VoteOptions {
            prior_correction: 0.0,
            ..VoteOptions::default()
        };
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let votes = vote(&neighbours, &priors, &options).unwrap();
        let share_of = |name: &str| votes.share(&Genre::plain(name));
        assert_eq!(
            (share_of("Jazz"), share_of("Bebop"), share_of("Rock")),
            (0.75, 0.5, 0.25)
        );
        // Of two genres with the same voters the more common is first; the collection adds three
        // quarters of a vote to Jazz and half of one to Bebop.
        let votes = vote(&neighbours[..2], &priors, &options).unwrap();
        let found: Vec<(&str, f32)> = votes
            .shares
            .iter()
            .map(|s| (s.genre.name(), s.share))
            .collect();
        assert_eq!(found, [("Jazz", 2.75 / 3.0), ("Bebop", 2.5 / 3.0)]);
        // A rare second genre does not raise the weight of a vote.
        let rare = [
            neighbour(1, 0.9, &["Rock", "Zeuhl"]),
            neighbour(2, 0.9, &["Jazz"]),
        ];
        let labels: Vec<Vec<Genre>> = (0..100)
            .map(|i| rare[usize::from(i >= 50)].genres[..if i == 0 { 2 } else { 1 }].to_vec())
            .collect();
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let votes = vote(&rare, &priors, &VoteOptions::default()).unwrap();
        let share_of = |name: &str| votes.share(&Genre::plain(name));
        assert!(
            (share_of("Rock") - share_of("Jazz")).abs() < 1e-6
                && (share_of("Rock") - 0.5).abs() < 0.01,
            "{votes:?}"
        );
    }

    #[test]
    fn settings_outside_their_ranges_are_refused() {
        for options in [
            VoteOptions {
                k: 0,
                ..VoteOptions::default()
            },
            VoteOptions {
                temperature: f32::NAN,
                ..VoteOptions::default()
            },
            VoteOptions {
                temperature: 0.0,
                ..VoteOptions::default()
            },
            VoteOptions {
                prior_correction: 1.5,
                ..VoteOptions::default()
            },
        ] {
            assert!(vote(&[], &Priors::default(), &options).is_err());
        }
    }

    proptest! {
        #[test]
        fn shares_add_up(list in prop::collection::vec((-1.0f32..1.0, 0usize..4, 0usize..4), 1..30), k in 1usize..40) {
            let neighbours: Vec<_> = list.iter().enumerate().map(|(i, &(s, a, b))| {
                let names = ["Rock", "Pop", "Jazz", "Soul"];
                let mut genres = vec![Genre::plain(names[a])];
                if a != b { genres.push(Genre::plain(names[b])); }
                LabelledNeighbor { track: TrackId(i as i64), similarity: s, genres }
            }).collect();
            let priors = Priors::from_labels(neighbours.iter().map(|n| n.genres.as_slice()));
            let votes = vote(&neighbours, &priors, &VoteOptions { k, ..VoteOptions::default() }).unwrap();
            // The mean number of genres per voter, minus the collection's votes for other
            // genres.
            let sum = votes.shares.iter().map(|s| s.share).sum::<f32>();
            prop_assert!((0.3..2.00001).contains(&sum));
            let is_single = neighbours.iter().all(|n| n.genres.len() == 1);
            prop_assert!(!is_single || k < list.len() || (sum - 1.0).abs() < 1e-5);
            prop_assert!(votes.shares.iter().all(|s| s.share <= 1.0));
            let given: f32 = votes.voters.iter().map(|v| v.weight).sum();
            prop_assert!((given + votes.collection - 1.0).abs() < 1e-5, "{votes:?}");
            prop_assert!(votes.shares.is_sorted_by(|a, b| a.share >= b.share));
            prop_assert!(votes.voters.is_sorted_by(|a, b| a.similarity >= b.similarity));
            prop_assert_eq!(votes.voters.len(), k.min(list.len()));
        }
    }
}
