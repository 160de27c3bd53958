//! The vote of labelled neighbours, found by the index or on a graph of all tracks.

use std::collections::HashMap;

use ndarray::Array1;
use rayon::prelude::*;

use super::answer::Evidence;
use super::labels::{LabelSource, Labeller, TrackDisplay, artist_group, spell};
use crate::seed::stacked;
use crate::{Collection, Engine, EngineError, Seed};
use voisin_base::track::{TrackId, is_same_recording};
use voisin_explore::KnnGraph;
use voisin_genre::{
    Genre, LabelCount, LabelledNeighbor, Priors, Taxonomy, VOTERS, Voter, Votes, vote,
};
use voisin_index::Neighbor;

/// Labels of the tracks that were met so far, which are read only for tracks that may vote.
pub(super) struct MetLabels<'a> {
    labeller: Labeller<'a>,
    /// One spelling for each genre, ascending.
    spellings: Vec<Genre>,
    met: HashMap<TrackId, Met>,
}

pub(super) struct Met {
    pub(super) genres: Vec<Genre>,
    group: String,
    display: TrackDisplay,
}

pub(super) struct Voted {
    pub(super) votes: Votes,
    pub(super) evidence: Vec<Evidence>,
    /// The track itself, or another that is the same recording.
    pub(super) same: Option<TrackId>,
    /// The track's own labels.
    pub(super) own: Vec<Genre>,
}

impl<'a> MetLabels<'a> {
    pub(super) fn new(
        engine: &Engine,
        taxonomy: &'a Taxonomy,
        source: &'a LabelSource,
        priors: &Priors,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            labeller: Labeller::new(taxonomy, source, engine.library())?,
            spellings: priors.counts().map(|(genre, _)| genre.clone()).collect(),
            met: HashMap::new(),
        })
    }

    pub(super) fn read(
        &mut self,
        engine: &Engine,
        tracks: impl Iterator<Item = TrackId>,
    ) -> Result<(), EngineError> {
        let new: Vec<TrackId> = tracks
            .filter(|track| !self.met.contains_key(track))
            .collect();
        for track in engine.library().tracks_by_id(&new)? {
            let mut genres = self.labeller.genres(&track);
            spell(&self.spellings, genres.iter_mut());
            let met = Met {
                genres,
                group: artist_group(&track),
                display: TrackDisplay::of(&track),
            };
            self.met.insert(track.id, met);
        }
        Ok(())
    }

    /// `None` for a track that was not read.
    pub(super) fn of(&self, track: TrackId) -> Option<&Met> {
        self.met.get(&track)
    }
}

impl Engine {
    /// The vote of each track's labelled neighbours for its genre.
    ///
    /// Neither a track nor its copies vote for itself. The index must have been opened.
    ///
    /// - `priors`: of the labels of all tracks
    /// - `by_others`: without tracks by its own artist
    pub(super) fn vote(
        &self,
        seeds: &[Seed],
        labels: &mut MetLabels,
        priors: &Priors,
        exact: bool,
        by_others: bool,
    ) -> Result<Vec<Voted>, EngineError> {
        let mut vectors = stacked(seeds, self.loaded_index().dimension())?;
        for (mut row, seed) in vectors.rows_mut().into_iter().zip(seeds) {
            row.assign(&Array1::from(self.opened().space.centre(&seed.vector)));
        }
        labels.read(self, seeds.iter().filter_map(|seed| seed.track))?;
        let mut same: Vec<Option<TrackId>> = seeds.iter().map(|seed| seed.track).collect();
        // The search continues until enough labelled neighbours are found.
        let found =
            self.search_until_all(vectors.view(), VOTERS, exact, None, |at, mut found| {
                labels.read(self, found.iter().map(|neighbor| neighbor.id))?;
                let own = seeds[at].track.and_then(|track| labels.of(track));
                found.retain(|neighbor| {
                    let Some(met) = labels.of(neighbor.id) else {
                        return false;
                    };
                    let is_itself = seeds[at].track == Some(neighbor.id)
                        || is_same_recording(neighbor.similarity);
                    if is_itself {
                        same[at] = same[at].or(Some(neighbor.id));
                    }
                    let is_own = by_others && own.is_some_and(|own| own.group == met.group);
                    !met.genres.is_empty() && !is_itself && !is_own
                });
                Ok(found)
            })?;
        let voted = |(at, found): (usize, Vec<Neighbor>)| {
            let neighbour = |neighbor: &Neighbor| {
                Some(LabelledNeighbor {
                    track: neighbor.id,
                    similarity: neighbor.similarity,
                    genres: labels.of(neighbor.id)?.genres.clone(),
                })
            };
            let neighbours: Vec<LabelledNeighbor> = found.iter().filter_map(neighbour).collect();
            let votes = vote(&neighbours, priors);
            let own = seeds[at].track.and_then(|track| labels.of(track));
            let evidence = |voter: &Voter| {
                Some(Evidence {
                    voter: voter.clone(),
                    facts: labels.of(voter.track)?.display.clone(),
                })
            };
            Voted {
                evidence: votes.voters.iter().filter_map(evidence).collect(),
                votes,
                same: same[at],
                own: own.map_or_else(Vec::new, |own| own.genres.clone()),
            }
        };
        Ok(found.into_iter().enumerate().map(voted).collect())
    }

    /// Sets each track's predicted genre by the vote of its labelled neighbours in the graph. Neither a track nor its copies
    /// vote for itself; tones and noise without a genre get none, as `classify` calls them unknown.
    ///
    /// - `graph`: of this collection; tracks without a labelled neighbour get no prediction, and no track gets one if too
    ///   few tracks are labelled
    pub fn predict_genres(
        &self,
        collection: &mut Collection,
        graph: &KnnGraph,
    ) -> Result<(), EngineError> {
        let genres = &collection.genres;
        if !LabelCount::of(genres).is_enough() {
            return Ok(());
        }
        let priors = Priors::from_labels(genres.iter().map(Vec::as_slice));
        let winner = |row: usize| {
            let others = graph.row(row);
            let others = others.filter(|&(_, similarity)| !is_same_recording(similarity));
            let neighbour = |(other, similarity): (usize, f32)| LabelledNeighbor {
                track: collection.ids[other],
                similarity,
                genres: genres[other].clone(),
            };
            let neighbours: Vec<LabelledNeighbor> = others.map(neighbour).collect();
            let votes = vote(&neighbours, &priors);
            votes
                .winner()
                .map(|winner| (winner.genre.to_string(), winner.share))
        };
        let rows = 0..graph.len().min(genres.len());
        let winners: Vec<Option<(String, f32)>> = rows.into_par_iter().map(winner).collect();
        for (track, winner) in collection.meta.iter_mut().zip(winners) {
            (track.predicted_genre, track.predicted_probability) = winner.unzip();
        }
        for (row, track) in collection.meta.iter_mut().enumerate() {
            if collection.genres[row].is_empty()
                && track.predicted_genre.is_some()
                && self.is_track_steady(collection.ids[row])?
            {
                track.predicted_genre = None;
                track.predicted_probability = None;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphUse;
    use voisin_library::Descriptors;
    use voisin_library::testing::{library, track};

    #[test]
    fn a_track_never_votes_for_itself_nor_its_artist_when_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for i in 0..40_u8 {
            // Two recordings twice each, by the same artist; three more by each artist.
            let angle = f32::from(i / 2) * 0.05;
            let mut new = track(i.into(), vec![angle.cos(), angle.sin()]);
            new.tags.genres = vec![if i < 20 { "Rock" } else { "Jazz" }.to_owned()];
            new.tags.artist = Some(format!("artist {}", i / 5));
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let seeds: Vec<Seed> = engine
            .library()
            .track_ids()
            .unwrap()
            .into_iter()
            .map(|id| engine.seed_of(id).unwrap())
            .collect();
        engine.space().unwrap();
        let taxonomy = Taxonomy::default();
        let priors = Priors::default();
        for by_others in [false, true] {
            let mut labels =
                MetLabels::new(&engine, &taxonomy, &LabelSource::Tags, &priors).unwrap();
            let voted = engine
                .vote(&seeds, &mut labels, &priors, false, by_others)
                .unwrap();
            for (at, voted) in voted.iter().enumerate() {
                assert_eq!(voted.votes.voters.len(), VOTERS);
                for (voter, evidence) in voted.votes.voters.iter().zip(&voted.evidence) {
                    assert_ne!(Some(voter.track), seeds[at].track);
                    assert!(!is_same_recording(voter.similarity), "a copy");
                    let artist = format!("artist {}", at / 5);
                    assert!(!by_others || evidence.facts.artist != Some(artist));
                }
                // The same similarity as `similar` shows.
                let nearest = engine
                    .similar(&seeds[at..=at], &crate::SimilarOptions::default())
                    .unwrap();
                let shown = nearest
                    .iter()
                    .find(|near| near.track.id == voted.votes.voters[0].track);
                let similarity = voted.votes.voters[0].similarity;
                assert!(
                    shown.is_none_or(|near| (near.similarity - similarity).abs() < 1e-6),
                    "{at}"
                );
            }
        }
    }

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
        engine.predict_genres(&mut collection, &graph).unwrap();
        let predicted = collection.meta[24..].iter();
        let predicted: Vec<Option<&str>> = predicted
            .map(|track| track.predicted_genre.as_deref())
            .collect();
        assert_eq!(predicted, [Some("Rock"), None, Some("Rock")]);
    }
}
