//! Which genre a track is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::{Finding, GenreAnswer};
use voisin_genre::{
    Agreement, Basis, Confidence, FusionPart, Genre, GenreShare, Quality, Settings, UnknownReason,
};

/// The documented JSON of `classify`: a list of these. What a voice cannot say is null, or empty.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswerJson<'a> {
    /// Null where it is not in the library.
    id: Option<TrackId>,
    path: String,
    /// `first_guess`, `neighbours`, `head` or `nobody`.
    source: &'static str,
    /// Null where the answer is unknown.
    genre: Option<&'a Genre>,
    /// The answer, then the genres that the track most likely has along with it; empty where it is unknown.
    genres: Vec<&'a Genre>,
    /// The likeliest genre, also where the answer is unknown.
    best: Option<&'a Genre>,
    probability: f32,
    /// `novel`, `unsure`, `steady`, `lacking` or null.
    unknown: Option<UnknownReason>,
    /// The likeliest genres where the answer is unknown.
    kin: Vec<&'a Genre>,
    /// The genre that it sounds like, by the first guess, and that the labels have neither by name nor by kin.
    sounds_like: Option<&'a GenreShare>,
    /// Share of the labelled tracks that are more familiar.
    novelty: Option<f32>,
    /// The probability before it was lowered for being unlike the labelled tracks; null where it was not.
    probability_before_doubt: Option<f32>,
    /// The collection's own part of the votes, beside those of `evidence`; null where nobody voted.
    collection_weight: Option<f32>,
    /// `vote`, `head` or `fused`: what of a trained head answers.
    answers_by: Option<FusionPart>,
    /// Whether it trained the head: then what was learnt without its artist answers.
    held_out: bool,
    confidence: Option<Confidence>,
    agreement: Option<Agreement>,
    summary: String,
    probabilities: Option<BTreeMap<&'a str, f32>>,
    /// Of a first guess: what each genre rests on.
    basis: Option<BTreeMap<&'a str, Basis>>,
    head: Option<BTreeMap<&'a str, f32>>,
    votes: BTreeMap<&'a str, f32>,
    /// How much of the library is labelled, with genres that were allowed.
    labelled_tracks: usize,
    labelled_genres: usize,
    /// How many labelled tracks voted; `evidence` holds the weightiest.
    voters: usize,
    evidence: Vec<EvidenceJson>,
}

/// Answers with what is worth knowing about who gave them.
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
    /// As programs read it.
    pub fn new(answer: &'a GenreAnswer) -> Self {
        fn map(list: &[GenreShare]) -> BTreeMap<&str, f32> {
            list.iter()
                .map(|share| (share.genre.name(), share.share))
                .collect()
        }
        // Who answers decides which fields can be filled; the others stay null or empty.
        let mut source = "neighbours";
        let mut prediction = None;
        let mut guess = None;
        let mut votes = None;
        match &answer.finding {
            Finding::Nobody => source = "nobody",
            Finding::FirstGuess(finding) => (source, guess) = ("first_guess", Some(finding)),
            Finding::Vote { votes: finding, .. } => votes = Some(finding),
            Finding::Head {
                prediction: finding,
                ..
            } => {
                // A head is fused with a vote, whose shares are shown as well.
                (source, prediction, votes) = ("head", Some(finding), Some(&finding.votes));
            }
        }
        Self {
            id: answer.track,
            path: lossy(&answer.path),
            source,
            genre: answer.genre(),
            genres: answer.genres(),
            best: answer.best(),
            probability: answer.probability(),
            unknown: answer.unknown(),
            kin: answer.kin(),
            sounds_like: answer.sounds_like.as_ref(),
            novelty: prediction
                .map(|p| p.novelty)
                // The share that is less familiar turned into the share that is more.
                .or(answer.familiar.map(|share| 1.0 - share)),
            probability_before_doubt: answer.before_doubt,
            collection_weight: votes.map(|votes| votes.collection),
            answers_by: prediction.map(|p| p.answers_by),
            held_out: prediction.is_some_and(|p| p.held_out),
            confidence: prediction.map(|p| p.confidence),
            agreement: prediction.map(|p| p.agreement),
            summary: answer.summary(),
            probabilities: match (prediction, guess) {
                (Some(prediction), _) => Some(map(&prediction.probabilities)),
                (None, guess) => guess.map(|g| {
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
            head: prediction.map(|p| map(&p.head)),
            votes: votes.map(|votes| map(&votes.shares)).unwrap_or_default(),
            labelled_tracks: answer.labelled.tracks,
            labelled_genres: answer.labelled.genres,
            voters: votes.map_or(0, |votes| votes.count),
            evidence: answer
                .evidence()
                .iter()
                .map(|voter| EvidenceJson {
                    id: voter.track,
                    path: lossy(&voter.path),
                    genre: voter
                        .genres
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; "),
                    similarity: voter.similarity,
                    weight: voter.weight,
                    artist: voter.artist.clone(),
                    name: voter.display.clone(),
                })
                .collect(),
        }
    }
}

/// The documented JSON of `train genre`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrainedJson<'a> {
    /// The file that holds it.
    pub path: String,
    /// The model whose vectors it takes.
    pub model_fingerprint: &'a str,
    /// A digest of the labels and settings.
    pub training_digest: &'a str,
    /// Where the labels came from.
    pub labels: &'a str,
    /// Labelled tracks.
    pub tracks: usize,
    /// Genres that it knows.
    pub genres: &'a [Genre],
    /// Genres that only neighbours speak for, with their tracks.
    pub without_head: Vec<SmallGenre>,
    /// Figures on held-out tracks.
    pub quality: &'a Quality,
    /// The settings that cross-validation chose.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub settings: &'a Settings,
    /// The part of it that answers.
    pub answers_by: FusionPart,
    /// Seconds that it took.
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
