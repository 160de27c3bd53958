//! The vote of labelled neighbours, found by the index or on a graph of all tracks.

use std::ops::Deref;

use ndarray::Array2;
use rayon::prelude::*;

use super::evidence::Evidence;
use super::kept_labels::{Ballot, MetTracks, NearLabels};
use super::labels::LabelledTracks;
use crate::parts::EngineGenres;
use crate::{Collection, Engine, EngineError, Seed};
use voisin_base::track::{TrackId, is_same_recording};
use voisin_explore::KnnGraph;
use voisin_genre::{LabelCount, LabelledNeighbor, Priors, VoteOptions, Voter, Votes, vote};
use voisin_index::{IndexError, Neighbor};

/// Default number of voters.
const VOTERS: usize = 15;

/// Options of a vote without a head.
pub(super) fn vote_options() -> VoteOptions {
    VoteOptions {
        k: VOTERS,
        ..VoteOptions::default()
    }
}

/// The tracks that may vote.
pub(super) enum Voters {
    /// All tracks, with labels in memory.
    All(LabelledTracks),
    /// Tracks near the query, whose labels are read on demand.
    Near(Box<NearLabels>),
}

/// The votes of tracks.
pub(super) enum Ballots<'a> {
    All(&'a LabelledTracks),
    Met(Box<MetTracks<'a>>),
}

impl Voters {
    pub(super) fn dimension(&self) -> usize {
        match self {
            Self::All(tracks) => tracks.vectors.ncols(),
            Self::Near(near) => near.dimension,
        }
    }

    pub(super) fn ballots(&self, engine: &Engine) -> Result<Ballots<'_>, EngineError> {
        Ok(match self {
            Self::All(tracks) => Ballots::All(tracks),
            Self::Near(near) => Ballots::Met(Box::new(MetTracks::new(engine, near)?)),
        })
    }
}

impl Ballots<'_> {
    /// Reads the votes of these tracks.
    pub(super) fn read(
        &mut self,
        engine: &Engine,
        tracks: impl Iterator<Item = TrackId>,
    ) -> Result<(), EngineError> {
        match self {
            Self::All(_) => Ok(()),
            Self::Met(met) => met.read(engine, tracks),
        }
    }

    /// The voters with their facts to show, in the same order.
    pub(super) fn evidence(
        &mut self,
        engine: &Engine,
        voters: &[Voter],
    ) -> Result<Vec<Evidence>, EngineError> {
        self.read(engine, voters.iter().map(|voter| voter.track))?;
        let shown = |voter: &Voter| Some(self.of(voter.track)?.display.evidence(voter));
        Ok(voters.iter().filter_map(shown).collect())
    }

    /// `None` for an unknown track.
    pub(super) fn of(&self, track: TrackId) -> Option<Ballot<'_>> {
        match self {
            Self::All(tracks) => {
                let row = tracks.row(track)?;
                let genres = tracks.labels[row].as_slice();
                let display = &tracks.facts[row];
                Some(Ballot {
                    genres,
                    group: tracks.groups[row],
                    display,
                })
            }
            Self::Met(met) => met.ballot(track),
        }
    }
}

impl Engine {
    /// The vote of each track's labelled neighbours for its genre.
    ///
    /// Neither a track nor its copies vote for itself. The index must have been opened.
    ///
    /// - `priors`: of the labels of all tracks
    pub(super) fn vote(
        &self,
        seeds: &[Seed],
        voters: &Voters,
        priors: &Priors,
        options: &VoteOptions,
        exact: bool,
    ) -> Result<Vec<(Votes, Vec<Evidence>)>, EngineError> {
        let dimension = seeds.first().map_or(0, |seed| seed.vector.len());
        let vectors = seeds
            .iter()
            .flat_map(|seed| self.space.centre(&seed.vector))
            .collect();
        let vectors = Array2::from_shape_vec((seeds.len(), dimension), vectors).map_err(|_| {
            IndexError::Dimension {
                expected: self.loaded_index().dimension(),
                actual: dimension,
            }
        })?;
        let mut ballots = voters.ballots(self)?;
        let votes_here = |ballots: &Ballots, seed: &Seed, neighbor: &Neighbor| {
            let Some(ballot) = ballots.of(neighbor.id) else {
                return false;
            };
            let itself = seed.track == Some(neighbor.id) || is_same_recording(neighbor.similarity);
            !ballot.genres.is_empty() && !itself
        };
        // The search continues until enough labelled neighbours are found.
        let found =
            self.search_until_all(vectors.view(), options.k, exact, None, |at, mut found| {
                ballots.read(self, found.iter().map(|neighbor| neighbor.id))?;
                found.retain(|neighbor| votes_here(&ballots, &seeds[at], neighbor));
                Ok(found)
            })?;
        let mut vote_of = |found: Vec<Neighbor>| {
            let neighbours: Vec<LabelledNeighbor> = found
                .iter()
                .filter_map(|neighbor| {
                    let genres = ballots.of(neighbor.id)?.genres.to_vec();
                    Some(LabelledNeighbor {
                        track: neighbor.id,
                        similarity: neighbor.similarity,
                        genres,
                    })
                })
                .collect();
            let votes = vote(&neighbours, priors, options)?;
            let evidence = ballots.evidence(self, &votes.voters)?;
            Ok((votes, evidence))
        };
        found.into_iter().map(&mut vote_of).collect()
    }
}

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// [`Collection::predict_genres`], without predictions for tones and noise that have no genre, which `classify` calls
    /// unknown as well.
    pub fn predict(
        &self,
        collection: &mut Collection,
        graph: &KnnGraph,
    ) -> Result<LabelCount, EngineError> {
        let labelled = collection.predict_genres(graph)?;
        for (row, track) in collection.meta.iter_mut().enumerate() {
            if collection.genres[row].is_empty()
                && track.predicted_genre.is_some()
                && self.is_track_steady(collection.ids[row])?
            {
                track.predicted_genre = None;
                track.predicted_probability = None;
            }
        }
        Ok(labelled)
    }
}

impl Collection {
    /// Sets each track's predicted genre by the vote of its labelled neighbours in the graph. Neither a track nor its copies
    /// vote for itself.
    ///
    /// - `graph`: of this collection; tracks without a labelled neighbour get no prediction, and no track gets one if too
    ///   few tracks are labelled
    ///
    /// Returns the number of labelled tracks.
    pub fn predict_genres(&mut self, graph: &KnnGraph) -> Result<LabelCount, EngineError> {
        let genres = &self.genres;
        let labelled = LabelCount::of(genres);
        if !labelled.is_enough() {
            return Ok(labelled);
        }
        let priors = Priors::from_labels(genres.iter().map(Vec::as_slice));
        let options = vote_options();
        let winners: Vec<Option<(String, f32)>> = (0..graph.len().min(genres.len()))
            .into_par_iter()
            .map(|row| {
                let others = graph
                    .row(row)
                    .filter(|&(_, similarity)| !is_same_recording(similarity));
                let voters: Vec<LabelledNeighbor> = others
                    .map(|(other, similarity)| LabelledNeighbor {
                        track: self.ids[other],
                        similarity,
                        genres: genres[other].clone(),
                    })
                    .collect();
                let votes = vote(&voters, &priors, &options)?;
                Ok(votes
                    .winner()
                    .map(|winner| (winner.genre.to_string(), winner.share)))
            })
            .collect::<Result<_, EngineError>>()?;
        for (track, winner) in self.meta.iter_mut().zip(winners) {
            (track.predicted_genre, track.predicted_probability) = winner.unzip();
        }
        Ok(labelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphUse;
    use voisin_library::Descriptors;
    use voisin_library::testing::{library, track};

    #[test]
    fn noise_without_a_genre_gets_no_prediction() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let mut put = |seed: u64, angle: f32, genre: Option<&str>, is_steady: bool| {
            let mut new = track(seed, vec![angle.cos(), angle.sin()]);
            new.descriptors = Some(Descriptors {
                version: 1,
                is_steady,
                ..Descriptors::default()
            });
            new.tags.genres = genre.into_iter().map(str::to_owned).collect();
            library.insert_track(&new).unwrap();
        };
        for i in 0..12_u8 {
            let angle = f32::from(i) * 0.03;
            put(i.into(), angle, Some("Rock"), false);
            put(u64::from(i) + 100, angle + 1.2, Some("Jazz"), false);
        }
        put(200, -0.04, None, false);
        put(201, -0.08, None, true);
        put(202, -0.12, Some("Rock"), true);
        let mut engine = Engine::from_library(library);
        let (mut collection, graph) = engine
            .collection_and_graph(20, GraphUse::Exploring)
            .unwrap();
        let labelled = engine.genres().predict(&mut collection, &graph).unwrap();
        assert_eq!((labelled.tracks, labelled.genres), (25, 2));
        let predicted = collection.meta[24..].iter();
        let predicted: Vec<Option<&str>> = predicted
            .map(|track| track.predicted_genre.as_deref())
            .collect();
        assert_eq!(predicted, [Some("Rock"), None, Some("Rock")]);
    }
}
