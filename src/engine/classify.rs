//! Which genre is this? The labelled tracks that sound like it vote.

use std::collections::{BTreeSet, HashMap};

use super::labels::{LabelSource, Labeller};
use super::{Engine, EngineError, Seed};
use crate::genre::{Genre, GenreError, LabelledNeighbor, Priors, VoteOptions, Votes, vote};
use crate::index::SearchMode;
use crate::library::{Track, fold};
use crate::track::TrackId;

/// Similarity from which on a neighbour is the very same recording and may not vote for itself.
pub(super) const SAME_RECORDING: f32 = 0.999_9;

/// How tracks are classified.
#[derive(Debug, Clone)]
pub struct ClassifyOptions {
    /// How the neighbours vote.
    pub vote: VoteOptions,
    /// Only neighbours by other artists vote.
    pub other_artists: bool,
    /// How neighbours are found.
    pub mode: SearchMode,
}

impl Default for ClassifyOptions {
    fn default() -> Self {
        Self {
            vote: VoteOptions { k: 15, ..VoteOptions::default() },
            other_artists: false,
            mode: SearchMode::Auto,
        }
    }
}

/// What is known of the labelled tracks of a library.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    tracks: HashMap<TrackId, LabelledTrack>,
    priors: Priors,
}

#[derive(Debug, Clone)]
struct LabelledTrack {
    genres: Vec<Genre>,
    artist: Option<String>,
    display: String,
    path: std::path::PathBuf,
}

impl Labels {
    /// How many tracks have a genre.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether no track has a genre.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// The genres of a track, none if it has no label.
    pub fn genres(&self, track: TrackId) -> &[Genre] {
        self.tracks.get(&track).map_or(&[], |labelled| &labelled.genres)
    }

    /// Every genre that a track has, in order.
    pub fn known(&self) -> BTreeSet<Genre> {
        self.tracks.values().flat_map(|labelled| labelled.genres.iter().cloned()).collect()
    }

    /// Forgets every label but these genres.
    ///
    /// # Errors
    /// No track has one of them.
    pub fn keep_among(&mut self, among: &[Genre]) -> Result<(), EngineError> {
        let known = self.known();
        if !known.iter().any(|genre| among.contains(genre)) {
            return Err(GenreError::among(among, known.iter()).into());
        }
        self.tracks.retain(|_, labelled| {
            labelled.genres.retain(|genre| among.contains(genre));
            !labelled.genres.is_empty()
        });
        self.priors = Priors::from_labels(self.tracks.values().map(|labelled| labelled.genres.as_slice()));
        Ok(())
    }
}

/// A voter, with what a person wants to know of it.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The track that voted.
    pub track: TrackId,
    /// Its path.
    pub path: std::path::PathBuf,
    /// Artist and title, or the file's name.
    pub display: String,
    /// Its artist.
    pub artist: Option<String>,
    /// What it voted for.
    pub genres: Vec<Genre>,
    /// Cosine similarity to the track in question.
    pub similarity: f32,
    /// Its part of all voting weight.
    pub weight: f32,
}

/// The genre of one track, with reasons.
#[derive(Debug, Clone)]
pub struct Classification {
    /// The track in question.
    pub seed: Seed,
    /// The genre with the largest share; `None` when nobody could vote.
    pub genre: Option<Genre>,
    /// Its share of the votes, 0 to 1.
    pub probability: f32,
    /// All shares and voters.
    pub votes: Votes,
    /// Who voted, nearest first.
    pub evidence: Vec<Evidence>,
}

impl Engine {
    /// Reads the labels of the library's tracks.
    pub fn labels(&self, source: &LabelSource) -> Result<Labels, EngineError> {
        let taxonomy = self.taxonomy()?;
        let mut labeller = Labeller::new(&taxonomy, source)?;
        let mut labels = Labels::default();
        self.library.for_each_track(|track: Track| {
            let genres = labeller.genres(&track);
            if !genres.is_empty() {
                let display = track.display_name();
                let artist = track.tags.artist.or(track.tags.album_artist);
                let labelled = LabelledTrack { genres, artist, display, path: track.path };
                labels.tracks.insert(track.id, labelled);
            }
            Ok(())
        })?;
        labeller.finish()?;
        labels.priors =
            Priors::from_labels(labels.tracks.values().map(|labelled| labelled.genres.as_slice()));
        Ok(labels)
    }

    /// Names the genre of a track by the vote of its labelled neighbours.
    ///
    /// A track never votes for itself, nor does another copy of it.
    pub fn classify(
        &mut self,
        seed: Seed,
        labels: &Labels,
        options: &ClassifyOptions,
    ) -> Result<Classification, EngineError> {
        if labels.is_empty() {
            return Err(EngineError::NoLabels);
        }
        self.index()?;
        let own_artist = match seed.track {
            Some(track) => labels.tracks.get(&track).and_then(|labelled| labelled.artist.as_deref()),
            None => None,
        };
        let own_artist = own_artist.filter(|_| options.other_artists).map(fold);
        // Voters that the vote itself drops for being too many of one artist are replaced by others.
        let wanted = if options.vote.max_per_artist.is_some() { options.vote.k * 4 } else { options.vote.k };
        let found = self.search_until(&seed.vector, wanted, options.mode, None, |neighbor| {
            let Some(labelled) = labels.tracks.get(&neighbor.track) else { return false };
            let itself = seed.track == Some(neighbor.track) || neighbor.similarity >= SAME_RECORDING;
            let same_artist = own_artist.is_some() && labelled.artist.as_deref().map(fold) == own_artist;
            !itself && !same_artist
        })?;
        let neighbours: Vec<LabelledNeighbor> = found
            .iter()
            .filter_map(|neighbor| {
                let labelled = labels.tracks.get(&neighbor.track)?;
                Some(LabelledNeighbor {
                    track: neighbor.track,
                    similarity: neighbor.similarity,
                    genres: labelled.genres.clone(),
                    artist: labelled.artist.clone(),
                })
            })
            .collect();
        let votes = vote(&neighbours, &labels.priors, &options.vote)?;
        let evidence = votes
            .voters
            .iter()
            .filter_map(|voter| {
                let labelled = labels.tracks.get(&voter.track)?;
                Some(Evidence {
                    track: voter.track,
                    path: labelled.path.clone(),
                    display: labelled.display.clone(),
                    artist: labelled.artist.clone(),
                    genres: voter.genres.clone(),
                    similarity: voter.similarity,
                    weight: voter.weight,
                })
            })
            .collect();
        let winner = votes.winner();
        Ok(Classification {
            genre: winner.map(|winner| winner.genre.clone()),
            probability: winner.map_or(0.0, |winner| winner.share),
            seed,
            evidence,
            votes,
        })
    }
}
