//! The genre of a track.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use crate::{AnswerSource, Evidence, GenreAnswer};
use voisin_base::track::TrackId;
use voisin_genre::{Basis, Genre, GenreShare, Quality, UnknownReason};

/// The documented JSON of `classify`: a list of these. Fields that a method does not have are null or empty.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswerJson<'a> {
    /// Null if it is not in the library.
    id: Option<TrackId>,
    path: String,
    source: AnswerSource,
    /// Null if the answer is unknown.
    genre: Option<&'a Genre>,
    /// The likeliest genre, also if the answer is unknown.
    best: Option<&'a Genre>,
    probability: f32,
    /// `novel`, `unsure`, `steady` or null.
    unknown: Option<UnknownReason>,
    /// The likeliest genres if the answer is unknown.
    kin: Vec<&'a Genre>,
    /// Share of the labelled tracks that are more familiar.
    novelty: Option<f32>,
    /// Its own labels.
    labels: &'a [Genre],
    /// The weight of the collection's genres in the votes, beside those of `evidence`; null without votes.
    collection_weight: Option<f32>,
    /// Whether the head was trained on it: then a head trained without its artist answers.
    held_out: bool,
    summary: String,
    probabilities: Option<BTreeMap<&'a str, f32>>,
    /// Of a first guess: the basis of each genre.
    basis: Option<BTreeMap<&'a str, Basis>>,
    head: Option<BTreeMap<&'a str, f32>>,
    votes: BTreeMap<&'a str, f32>,
    /// Number of labelled tracks.
    labelled_tracks: usize,
    labelled_genres: usize,
    /// Number of labelled tracks that voted.
    voters: usize,
    evidence: Vec<EvidenceJson>,
}

/// Answers with notes on their method.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswersJson<'a> {
    /// An answer a track.
    pub items: Vec<AnswerJson<'a>>,
    /// Notes on the classifier.
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EvidenceJson {
    id: TrackId,
    path: String,
    genre: String,
    similarity: f32,
    weight: f32,
    artist: Option<String>,
    /// Artist and title, or the file's name.
    name: String,
}

impl<'a> AnswerJson<'a> {
    pub fn new(answer: &'a GenreAnswer) -> Self {
        fn map(list: &[GenreShare]) -> BTreeMap<&str, f32> {
            list.iter()
                .map(|share| (share.genre.name(), share.share))
                .collect()
        }
        let is_voted = matches!(answer.source, AnswerSource::Neighbours | AnswerSource::Head);
        let guess = answer.guess.as_ref();
        Self {
            id: answer.track,
            path: lossy(&answer.path),
            source: answer.source,
            genre: answer.genre(),
            best: answer.best.as_ref(),
            probability: answer.probability,
            unknown: answer.unknown,
            kin: answer.kin(),
            // The share of less familiar tracks converted to that of more familiar ones.
            novelty: answer.familiar.map(|share| 1.0 - share),
            labels: &answer.labels,
            collection_weight: is_voted.then_some(answer.votes.collection),
            held_out: answer.held_out,
            summary: answer.summary(),
            probabilities: match (answer.source, guess) {
                (AnswerSource::Head, _) => Some(map(&answer.probabilities)),
                (_, guess) => guess.map(|g| {
                    g.shares
                        .iter()
                        .map(|s| (s.genre.name(), s.probability))
                        .collect()
                }),
            },
            basis: guess.map(|guess| {
                guess
                    .shares
                    .iter()
                    .map(|s| (s.genre.name(), s.basis))
                    .collect()
            }),
            head: (!answer.head.is_empty()).then(|| map(&answer.head)),
            votes: map(&answer.votes.shares),
            labelled_tracks: answer.labelled.tracks,
            labelled_genres: answer.labelled.genres,
            voters: answer.votes.voters.len(),
            evidence: answer.evidence.iter().map(EvidenceJson::new).collect(),
        }
    }
}

impl EvidenceJson {
    fn new(Evidence { voter, facts }: &Evidence) -> Self {
        let genres: Vec<&str> = voter.genres.iter().map(Genre::name).collect();
        Self {
            id: voter.track,
            path: lossy(&facts.path),
            genre: genres.join("; "),
            similarity: voter.similarity,
            weight: voter.weight,
            artist: facts.artist.clone(),
            name: facts.display.clone(),
        }
    }
}

/// The documented JSON of `train`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrainedJson<'a> {
    /// The head's file.
    pub path: String,
    /// Fingerprint of the model of its vectors.
    pub model_fingerprint: &'a str,
    /// A digest of the labels and settings.
    pub training_digest: &'a str,
    /// Where the labels came from.
    pub labels: &'a str,
    /// Labelled tracks.
    pub tracks: usize,
    /// Its genres.
    pub genres: &'a [Genre],
    /// Genres that only the neighbours' vote has, with their numbers of tracks.
    pub without_head: Vec<SmallGenre>,
    /// Figures on held-out tracks.
    pub quality: &'a Quality,
    /// The penalty of its weights, which cross-validation chose.
    pub penalty: f64,
    /// Duration in seconds.
    pub seconds: f64,
}

/// A genre of few tracks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SmallGenre {
    /// Its name.
    pub genre: String,
    /// Its tracks.
    pub tracks: usize,
}
