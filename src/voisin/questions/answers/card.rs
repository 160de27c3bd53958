//! A track's card: metadata, measurements, genre and neighbours.

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::last_clusters;
use super::list::TrackJson;
use super::lossy;
use crate::{
    ClassifyOptions, Engine, EngineError, GenreAnswer, GenreNews, Labelled, PredictedTags, Seed,
    SimilarOptions, SimilarTrack,
};
use voisin_base::track::TrackId;
use voisin_genre::{Genre, UnknownReason};
use voisin_library::{Descriptors, FileRecord, Track};

const NEAREST: usize = 5;

const WORDS: usize = 8;

#[derive(Debug)]
pub struct Card {
    pub track: Track,
    /// In the tags' spelling.
    pub tagged_genres: Vec<String>,
    pub measured: Option<Descriptors>,
    /// The genre predicted from the library's labels and the head, or a first guess.
    pub predicted: GenreAnswer,
    pub cluster: Option<u32>,
    pub words: Option<Vec<(String, f32)>>,
    pub sung: Option<f32>,
    pub nearest: Vec<SimilarTrack>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CardJson<'a> {
    #[serde(flatten)]
    track: TrackJson,
    track_number: Option<u32>,
    disc_number: Option<u32>,
    /// In the tags' spelling.
    licence_text: Option<&'a str>,
    /// In the tags' spelling.
    tagged_genres: &'a [String],
    tagged_bpm: Option<f64>,
    tagged_key: Option<&'a str>,
    /// BLAKE3 of the compressed packets.
    content: String,
    sample_rate: u32,
    channels: u16,
    container: &'a str,
    predicted: PredictedJson<'a>,
    /// Probability of a voice; null if the model does not predict it.
    sung: Option<f32>,
    /// Of the last `voisin clusters`; null for noise and later tracks.
    cluster: Option<u32>,
    nearest: Vec<NearJson>,
    places: Vec<PlaceJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PredictedJson<'a> {
    /// Null if the answer is unknown.
    genre: Option<&'a Genre>,
    probability: f32,
    labelled_tracks: usize,
    labelled_genres: usize,
    summary: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NearJson {
    id: TrackId,
    path: String,
    similarity: f32,
    artist: Option<String>,
    title: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlaceJson {
    path: String,
    bytes: u64,
    /// `there`, `changed`, `gone` or `unreadable`.
    state: &'static str,
}

/// The state of a file since it was added: `there`, `changed`, `gone` or `unreadable`.
pub fn state(known: &FileRecord) -> &'static str {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match FileRecord::read(&known.path) {
        // As in `add`, which reads changed files again.
        Ok(now) if now.size == known.size && now.mtime_ns == known.mtime_ns => "there",
        Ok(_) => "changed",
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => "gone",
        Err(_) => "unreadable",
    }
}

impl<'a> CardJson<'a> {
    pub fn new(card: &'a Card) -> Self {
        let Card {
            track,
            tagged_genres,
            measured,
            predicted,
            cluster,
            words,
            sung,
            nearest,
        } = card;
        Self {
            track: TrackJson::new(track, measured.as_ref(), words.as_deref()),
            track_number: track.tags.track_number,
            disc_number: track.tags.disc_number,
            licence_text: track.tags.licence.as_deref(),
            tagged_genres,
            tagged_bpm: track.tags.bpm,
            tagged_key: track.tags.musical_key.as_deref(),
            content: track.audio.content.to_string(),
            sample_rate: track.audio.sample_rate,
            channels: track.audio.channels,
            container: &track.audio.container,
            predicted: PredictedJson {
                genre: predicted.genre(),
                probability: predicted.probability,
                labelled_tracks: predicted.labelled.tracks,
                labelled_genres: predicted.labelled.genres,
                summary: predicted.summary(),
            },
            sung: *sung,
            cluster: *cluster,
            nearest: nearest
                .iter()
                .map(|found| NearJson {
                    id: found.track.id,
                    path: lossy(&found.track.path),
                    similarity: found.similarity,
                    artist: found.track.tags.artist.clone(),
                    title: found.track.tags.title.clone(),
                })
                .collect(),
            places: track
                .files
                .iter()
                .map(|file| PlaceJson {
                    path: lossy(&file.record.path),
                    bytes: file.record.size,
                    state: state(&file.record),
                })
                .collect(),
        }
    }
}

/// The words on cards: the model's tags that stand out.
pub fn nearest_options() -> SimilarOptions {
    SimilarOptions {
        limit: NEAREST,
        ..SimilarOptions::default()
    }
}

/// A card for each of these tracks.
///
/// - `nearest`: of each
/// - `tags`: the model's; without them its words and voice are left out
/// - `has_words`: whether its words were asked for
/// - `report`: called with the method that predicts genres
pub fn cards(
    engine: &mut Engine,
    seeds: Vec<Seed>,
    nearest: Vec<Vec<SimilarTrack>>,
    tags: Option<&PredictedTags>,
    has_words: bool,
    report: impl FnMut(GenreNews),
) -> Result<Vec<Card>, EngineError> {
    let mut ids = Vec::new();
    for seed in &seeds {
        // A file outside of the library has no card.
        ids.push(seed.track.ok_or_else(|| EngineError::NotInLibrary {
            path: seed.path.clone(),
        })?);
    }
    let mut tracks = Vec::new();
    for &id in &ids {
        tracks.push(engine.library().track(id)?);
    }
    // Before `label`, which replaces the tags' genres by those of the label source.
    let tagged: Vec<Vec<String>> = tracks
        .iter()
        .map(|track| track.tags.genres.clone())
        .collect();
    engine.label(&mut tracks)?;
    let measured = engine.library().descriptors(&ids)?;
    let clusters = last_clusters(engine)?;
    let mut strongest = tags
        .map(|tags| tags.strongest(&ids, WORDS))
        .unwrap_or_default();
    let predicted = predictions(engine, tags, seeds, report)?;
    let mut cards = Vec::new();
    for (((nearest, track), tagged_genres), predicted) in
        nearest.into_iter().zip(tracks).zip(tagged).zip(predicted)
    {
        let id = track.id;
        cards.push(Card {
            measured: measured.get(&id).cloned(),
            predicted,
            // Empty for a model without tags, and left out if words were not requested.
            words: has_words.then(|| strongest.remove(&id).unwrap_or_default()),
            sung: tags.and_then(|tags| tags.sung(id)),
            cluster: clusters
                .as_ref()
                .and_then(|clusters| clusters.get(&id).copied()),
            nearest,
            track,
            tagged_genres,
        });
    }
    Ok(cards)
}

/// Genres by the library's own labels, or a first guess from the model's tags if they are too few. No model is loaded: a
/// card shows stored data.
fn predictions(
    engine: &mut Engine,
    tags: Option<&PredictedTags>,
    seeds: Vec<Seed>,
    report: impl FnMut(GenreNews),
) -> Result<Vec<GenreAnswer>, EngineError> {
    // The inner error has the number of labels, which the answer shows.
    let too_few = match Labelled::open(engine, &ClassifyOptions::default(), report)? {
        Ok(labelled) => return labelled.classify(engine, seeds),
        Err(too_few) => too_few,
    };
    let guess = |track| tags.and_then(|tags| tags.first_guess(track?));
    let answer = |seed: Seed| {
        let is_steady = engine.is_steady(&seed)?;
        let mut answer = GenreAnswer::guessed(guess(seed.track), seed, too_few);
        // A tone or noise has no genre, whatever tags the model predicts.
        if is_steady {
            answer.reject(UnknownReason::Steady);
        }
        Ok(answer)
    };
    seeds.into_iter().map(answer).collect()
}
