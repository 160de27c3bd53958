//! The vote of labelled neighbours, found by the index or on a graph of all tracks.

use ndarray::Array2;
use rayon::prelude::*;

use super::evidence::Evidence;
use super::labels::LabelledTracks;
use crate::{Collection, Engine, EngineError, Seed};
use voisin_base::track::is_same_recording;
use voisin_explore::KnnGraph;
use voisin_index::{IndexError, Neighbor, SearchMode};
use voisin_learn::genre::{LabelCount, LabelledNeighbor, Priors, VoteOptions, Votes, vote};

/// Voters where nobody says how many.
const VOTERS: usize = 15;

/// How neighbours vote where no head helps them.
pub(super) fn vote_options(neighbours: Option<usize>) -> VoteOptions {
    VoteOptions { k: neighbours.unwrap_or(VOTERS), ..VoteOptions::default() }
}

impl Engine {
    /// Lets the labelled neighbours of each track vote for its genre.
    ///
    /// A track never votes for itself, nor does another copy of it. The index must have been opened.
    ///
    /// - `priors`: of the labels of `tracks`
    /// - `other_artists`: tracks of the same artist do not vote
    pub(super) fn vote(
        &self,
        seeds: &[Seed],
        tracks: &LabelledTracks,
        priors: &Priors,
        options: &VoteOptions,
        other_artists: bool,
        mode: SearchMode,
    ) -> Result<Vec<(Votes, Vec<Evidence>)>, EngineError> {
        let dimension = seeds.first().map_or(0, |seed| seed.vector.len());
        let vectors = seeds.iter().flat_map(|seed| self.space.centre(&seed.vector)).collect();
        let vectors = Array2::from_shape_vec((seeds.len(), dimension), vectors).map_err(|_| {
            IndexError::Dimension { expected: self.loaded_index().dimension(), actual: dimension }
        })?;
        let votes_here = |seed: &Seed, neighbor: &Neighbor| {
            let Some(row) = tracks.row(neighbor.track) else { return false };
            let own_group =
                seed.track.filter(|_| other_artists).and_then(|own| Some(tracks.groups[tracks.row(own)?]));
            let itself = seed.track == Some(neighbor.track) || is_same_recording(neighbor.similarity);
            !tracks.labels[row].is_empty() && !itself && Some(tracks.groups[row]) != own_group
        };
        let found = self.search_until_all(vectors.view(), options.k, mode, None, |at, mut found| {
            found.retain(|neighbor| votes_here(&seeds[at], neighbor));
            Ok(found)
        })?;
        let vote_of = |found: Vec<Neighbor>| {
            let neighbours: Vec<LabelledNeighbor> = found
                .iter()
                .filter_map(|neighbor| {
                    let genres = tracks.labels[tracks.row(neighbor.track)?].clone();
                    Some(LabelledNeighbor { track: neighbor.track, similarity: neighbor.similarity, genres })
                })
                .collect();
            let votes = vote(&neighbours, priors, options)?;
            let evidence = tracks.evidence(&votes.voters);
            Ok((votes, evidence))
        };
        found.into_iter().map(vote_of).collect()
    }
}

impl Collection {
    /// Sets each track's predicted genre: the vote of its labelled neighbours on the graph. A track never votes for
    /// itself, nor does another copy of it.
    ///
    /// - `graph`: of this collection; tracks without a labelled neighbour in it keep no prediction, and none has one where
    ///   too few tracks are labelled to tell genres by
    ///
    /// Returns how many are.
    pub fn predict_genres(&mut self, graph: &KnnGraph) -> Result<LabelCount, EngineError> {
        let genres = &self.genres;
        let labelled = LabelCount::of(genres);
        if !labelled.is_enough() {
            return Ok(labelled);
        }
        let priors = Priors::from_labels(genres.iter().map(Vec::as_slice));
        let options = vote_options(None);
        let votes: Vec<Votes> = (0..graph.len().min(genres.len()))
            .into_par_iter()
            .map(|row| {
                let others = graph.row(row).filter(|&(_, similarity)| !is_same_recording(similarity));
                let voters: Vec<LabelledNeighbor> = others
                    .map(|(other, similarity)| LabelledNeighbor {
                        track: self.ids[other],
                        similarity,
                        genres: genres[other].clone(),
                    })
                    .collect();
                vote(&voters, &priors, &options)
            })
            .collect::<Result<_, _>>()?;
        for (track, votes) in self.meta.iter_mut().zip(votes) {
            track.predicted_genre = votes.winner().map(|winner| winner.genre.to_string());
            track.predicted_probability = votes.winner().map(|winner| winner.share);
        }
        Ok(labelled)
    }
}
