//! The vote of labelled neighbours.
//!
//! A voter's weight is `exp((similarity - best) / temperature)`, divided by the square root of the
//! share of its most common genre in the collection, so that a genre with many tracks does not win
//! by numbers alone. A voter with several genres votes for each with its whole weight:
//! a genre's share is that of all voters that have it.
//!
//! The collection itself votes, too, with the weight of the nearest neighbour, for each genre by its
//! share, since one near track is little evidence and ten that agree are more. Genres with fewer
//! than [`LEAST_TRACKS`] tracks are corrected as if they had that many, because their frequency is
//! uncertain.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Genre;
use super::label_count::LEAST_TRACKS;
use voisin_base::track::TrackId;

/// Most labelled neighbours that vote.
pub const VOTERS: usize = 20;

/// Voters at the end of the list by which a track is familiar.
const LAST: usize = 8;

/// Decrease of similarity over which a weight falls by a factor e.
const TEMPERATURE: f64 = 0.05;

/// Exponent of the correction for the sizes of genres: 0 counts raw votes, 1 divides them by the
/// genre's share of the collection.
const RARITY: f64 = 0.5;

/// Share of a vote that is spread over all genres before taking logarithms.
const VOTE_FLOOR: f32 = 0.05;

/// Weight of the collection's vote, relative to the nearest neighbour. With it the accuracy is at
/// least the share; without it, predictions with a share of
/// 0.97 are right in nine of ten cases.
const COLLECTION: f64 = 1.0;

/// A neighbour with its labels.
#[derive(Debug, Clone)]
pub struct LabelledNeighbor {
    pub track: TrackId,
    /// Cosine similarity to the query, higher is nearer.
    pub similarity: f32,
    /// Its genres; a neighbour without any does not vote.
    pub genres: Vec<Genre>,
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
        let mut priors = Self::default();
        for genres in tracks {
            for genre in genres {
                *priors.weights.entry(genre.clone()).or_default() += 1.0;
            }
            priors.total += f64::from(u8::from(!genres.is_empty()));
        }
        priors
    }

    /// The genre's share of the collection, in (0, 1]. A genre without tracks has the share of half a
    /// track.
    pub fn share(&self, genre: &Genre) -> f64 {
        self.weights.get(genre).copied().unwrap_or(0.5).max(1e-9) / self.total.max(1.0)
    }

    /// Its genres, ascending, with their numbers of tracks.
    pub fn counts(&self) -> impl Iterator<Item = (&Genre, f64)> {
        self.weights.iter().map(|(genre, count)| (genre, *count))
    }

    /// Priors from [`counts`](Self::counts).
    ///
    /// - `tracks`: labelled tracks
    pub fn from_counts(counts: impl IntoIterator<Item = (Genre, f64)>, tracks: usize) -> Self {
        Self {
            weights: counts.into_iter().collect(),
            total: tracks as f64,
        }
    }

    /// Factor of a vote for these genres, which is larger if the most common of them is rarer.
    fn correction(&self, genres: &[Genre]) -> f64 {
        let largest = genres
            .iter()
            .map(|genre| self.share(genre))
            .fold(0.0, f64::max);
        correction(largest, self.total)
    }

    /// The collection's vote for a genre.
    fn vote(&self, genre: &Genre) -> f64 {
        COLLECTION * self.share(genre) * correction(self.share(genre), self.total)
    }

    /// Mean number of genres per track.
    fn genres_per_track(&self) -> f64 {
        self.weights.values().sum::<f64>() / self.total
    }
}

/// - `share`: of a genre, `tracks`: in the collection
fn correction(share: f64, tracks: f64) -> f64 {
    share
        .max(LEAST_TRACKS as f64 / tracks)
        .min(1.0)
        .powf(-RARITY)
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
    pub track: TrackId,
    /// The genres that it voted for.
    pub genres: Vec<Genre>,
    /// Cosine similarity to the query.
    pub similarity: f32,
    /// Its share of all votes, corrected for the frequency of its genres. With the collection's vote they sum to 1, and a
    /// genre's share is the sum of its voters' weights and of the collection's vote for it.
    pub weight: f32,
}

/// How near the voters are, as cosine similarity to the query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Nearness {
    /// Of the nearest voter.
    pub first: f32,
    /// The mean of the last eight.
    pub last: f32,
}

/// The result of a vote.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Votes {
    /// Every genre that a neighbour voted for, largest share first, then the more common genre, then
    /// by key. They sum to 1 minus the collection's votes for other genres, or to more if voters
    /// have several genres.
    pub shares: Vec<GenreShare>,
    pub voters: Vec<Voter>,
    pub nearness: Nearness,
    /// The collection's share of all votes, divided among genres by their frequency.
    pub collection: f32,
}

impl Votes {
    /// The genre with the largest share; `None` without voters.
    pub fn winner(&self) -> Option<&GenreShare> {
        self.shares.first()
    }

    pub fn share(&self, genre: &Genre) -> f32 {
        self.shares
            .iter()
            .find(|s| s.genre == *genre)
            .map_or(0.0, |s| s.share)
    }

    /// The share of each of these genres, ascending; all sum to 1, and none is 0.
    pub(super) fn spread(&self, genres: &[Genre]) -> Vec<f32> {
        let mut row = vec![0.0; genres.len()];
        for share in &self.shares {
            if let Ok(class) = genres.binary_search(&share.genre) {
                row[class] = share.share;
            }
        }
        let total = row.iter().sum::<f32>();
        let even = VOTE_FLOOR / genres.len() as f32;
        row.iter_mut()
            .for_each(|share| *share = *share / total.max(1e-6) * (1.0 - VOTE_FLOOR) + even);
        row
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
#[expect(clippy::too_many_lines, reason = "one sequence of steps")]
pub fn vote(neighbours: &[LabelledNeighbor], priors: &Priors) -> Votes {
    let mut order: Vec<&LabelledNeighbor> = neighbours
        .iter()
        .filter(|n| !n.genres.is_empty() && n.similarity.is_finite())
        .collect();
    order.sort_by(|a, b| {
        b.similarity
            .total_cmp(&a.similarity)
            .then(a.track.cmp(&b.track))
    });
    order.truncate(VOTERS);
    let Some(best) = order.first().map(|n| f64::from(n.similarity)) else {
        return Votes::default();
    };
    let weights: Vec<f64> = order
        .iter()
        .map(|n| ((f64::from(n.similarity) - best) / TEMPERATURE).exp())
        .collect();
    // For each genre, the sum of votes, and the sum in which a voter's vote is divided among its
    // genres.
    let mut sums: BTreeMap<&Genre, (f64, f64)> = BTreeMap::new();
    let mut corrected = Vec::with_capacity(order.len());
    for (n, w) in order.iter().zip(&weights) {
        let whole = w * priors.correction(&n.genres);
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
        let whole = priors.vote(genre);
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
    let last = &order[order.len().saturating_sub(LAST)..];
    Votes {
        shares,
        nearness: Nearness {
            first: order[0].similarity,
            last: last.iter().map(|n| n.similarity).sum::<f32>() / last.len() as f32,
        },
        collection: (1.0 - of_voters / all) as f32,
        voters,
    }
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

    fn priors_of<'a>(labels: impl IntoIterator<Item = &'a [&'a str]>) -> Priors {
        let labels: Vec<Vec<Genre>> = labels
            .into_iter()
            .map(|names| names.iter().map(|name| Genre::plain(name)).collect())
            .collect();
        Priors::from_labels(labels.iter().map(Vec::as_slice))
    }

    #[test]
    fn weights_and_shares_follow_their_definition() {
        let neighbours = [
            neighbour(1, 0.9, &["Rock"]),
            neighbour(2, 0.85, &["Pop", "Rock"]),
            neighbour(3, 0.7, &[]),
        ];
        let votes = vote(&neighbours, &Priors::default());
        // Weights 1 and 1/e; both voters are rock, the second is also pop.
        let e = std::f32::consts::E;
        assert!((votes.share(&Genre::plain("rock")) - 1.0).abs() < 1e-6);
        assert!((votes.share(&Genre::plain("pop")) - 1.0 / e / (1.0 + 1.0 / e)).abs() < 1e-6);
        assert!((votes.voters[0].weight - 1.0 / (1.0 + 1.0 / e)).abs() < 1e-6);
        assert_eq!(votes.voters.len(), 2);
        assert_eq!(votes.winner().unwrap().genre.name(), "Rock");
        assert!((votes.nearness.last - 0.875).abs() < 1e-6 && votes.nearness.first == 0.9);
        let spread = votes.spread(&["Jazz", "Pop", "Rock"].map(Genre::plain));
        assert!((spread.iter().sum::<f32>() - 1.0).abs() < 1e-6 && spread[0] > 0.0);
        assert!(spread.is_sorted());
    }

    #[test]
    fn weights_and_the_collection_add_up_to_the_shares() {
        let priors = priors_of([&["Pop"][..], &["Rock"], &["Rock", "Folk"], &["Rock"]]);
        let voters = [
            neighbour(1, 0.9, &["Pop"]),
            neighbour(2, 0.85, &["Rock"]),
            neighbour(3, 0.8, &["Rock", "Folk"]),
        ];
        let votes = vote(&voters, &priors);
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
        let genre = |i: usize| if i == 0 { &["Blues"][..] } else { &["Rock"] };
        let priors = priors_of((0..10).map(genre));
        let share = |similarities: [f32; 10], name: &str| {
            let voters: Vec<LabelledNeighbor> = (0..10)
                .map(|i| neighbour(i as i64, similarities[i], genre(i)))
                .collect();
            vote(&voters, &priors).share(&Genre::plain(name))
        };
        // The only track of a genre is much nearer than all others: on labelled music six of ten
        // such predictions are right if the genre is as rare as its labels.
        let lone = [0.8, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2];
        // Weights 1 and 9 e^-12; a genre of one in ten is corrected as one of four; the collection
        // votes 0.1 and 0.9.
        let lift = 0.4f64.powf(-0.5);
        let rock = 0.9f64.powf(-0.5);
        let others = 9.0 * (-12.0f64).exp() * rock;
        let expected = 1.1 * lift / (1.1 * lift + others + 0.9 * rock);
        let found = f64::from(share(lone, "Blues"));
        assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
        assert!((0.5..0.7).contains(&expected), "{expected}");
        let near = [0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8];
        assert!(share(near, "Rock") > 0.95, "{}", share(near, "Rock"));
    }

    #[test]
    fn voters_of_several_genres_vote_for_each_with_whole_weight() {
        let neighbours = [
            neighbour(1, 0.9, &["Jazz", "Bebop"]),
            neighbour(2, 0.9, &["Jazz", "Bebop"]),
            neighbour(3, 0.9, &["Jazz"]),
            neighbour(4, 0.9, &["Rock"]),
        ];
        let votes = vote(&neighbours, &Priors::default());
        let found: Vec<(&str, f32)> = votes
            .shares
            .iter()
            .map(|s| (s.genre.name(), s.share))
            .collect();
        assert_eq!(found, [("Jazz", 0.75), ("Bebop", 0.5), ("Rock", 0.25)]);
        // A rare second genre does not raise the weight of a vote.
        let rare = [
            neighbour(1, 0.9, &["Rock", "Zeuhl"]),
            neighbour(2, 0.9, &["Jazz"]),
        ];
        let labels = (0..100).map(|i| match i {
            0 => &["Rock", "Zeuhl"][..],
            1..50 => &["Rock"],
            _ => &["Jazz"],
        });
        let votes = vote(&rare, &priors_of(labels));
        let share_of = |name: &str| votes.share(&Genre::plain(name));
        assert!(
            (share_of("Rock") - share_of("Jazz")).abs() < 1e-6
                && (share_of("Rock") - 0.5).abs() < 0.01,
            "{votes:?}"
        );
    }

    proptest! {
        #[test]
        fn shares_add_up(list in prop::collection::vec((-1.0f32..1.0, 0usize..4, 0usize..4), 1..30)) {
            let neighbours: Vec<_> = list.iter().enumerate().map(|(i, &(s, a, b))| {
                let names = ["Rock", "Pop", "Jazz", "Soul"];
                let both = if a == b { vec![names[a]] } else { vec![names[a], names[b]] };
                neighbour(i as i64, s, &both)
            }).collect();
            let priors = Priors::from_labels(neighbours.iter().map(|n| n.genres.as_slice()));
            let votes = vote(&neighbours, &priors);
            // The mean number of genres per voter, minus the collection's votes for other
            // genres.
            let sum = votes.shares.iter().map(|s| s.share).sum::<f32>();
            prop_assert!((0.3..2.00001).contains(&sum));
            prop_assert!(votes.shares.iter().all(|s| s.share <= 1.0));
            let given: f32 = votes.voters.iter().map(|v| v.weight).sum();
            prop_assert!((given + votes.collection - 1.0).abs() < 1e-5, "{votes:?}");
            prop_assert!(votes.shares.is_sorted_by(|a, b| a.share >= b.share));
            prop_assert!(votes.voters.is_sorted_by(|a, b| a.similarity >= b.similarity));
            prop_assert_eq!(votes.voters.len(), VOTERS.min(list.len()));
        }
    }
}
