//! A track's card: metadata, measurements, genre and neighbours.

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::last_clusters;
use super::list::TrackJson;
use super::lossy;
use super::track::TrackRef;
use crate::{
    ClassifyOptions, Engine, EngineError, GenreAnswer, GenreNews, Labelled, PredictedTags, Seed,
    SimilarOptions, SimilarTrack,
};
use voisin_genre::{DefaultGenres, Genre, Taxonomy};
use voisin_library::{Descriptors, FileRecord, StoredFile};

const NEAREST: usize = 5;

const WORDS: usize = 8;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Card {
    #[serde(flatten)]
    pub track: TrackJson,
    track_number: Option<u32>,
    disc_number: Option<u32>,
    /// In the tags' spelling.
    licence_text: Option<String>,
    /// In the tags' spelling.
    pub tagged_genres: Vec<String>,
    pub tagged_bpm: Option<f64>,
    pub tagged_key: Option<String>,
    /// BLAKE3 of the compressed packets.
    content: String,
    pub sample_rate: u32,
    pub channels: u16,
    container: String,
    pub predicted: PredictedJson,
    /// Probability of a voice; null if the model does not predict it.
    pub sung: Option<f32>,
    /// Of the last `voisin clusters`; null for noise and later tracks.
    pub cluster: Option<u32>,
    pub nearest: Vec<NearJson>,
    pub places: Vec<PlaceJson>,
    #[serde(skip)]
    pub measured: Descriptors,
}

/// The genre predicted from the library's labels and the head, or a first guess.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PredictedJson {
    /// Null if the answer is unknown.
    genre: Option<Genre>,
    probability: f32,
    labelled_tracks: usize,
    labelled_genres: usize,
    pub summary: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct NearJson {
    #[serde(flatten)]
    pub track: TrackRef,
    pub genres: Vec<String>,
    pub similarity: f32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct PlaceJson {
    pub path: String,
    bytes: u64,
    /// `there`, `changed`, `gone` or `unreadable`.
    pub state: &'static str,
}

/// The state of a file since it was added.
fn state(known: &FileRecord) -> &'static str {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match FileRecord::read(&known.path) {
        // As in `add`, which reads changed files again.
        Ok(now) if now.size == known.size && now.mtime_ns == known.mtime_ns => "there",
        Ok(_) => "changed",
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => "gone",
        Err(_) => "unreadable",
    }
}

impl PredictedJson {
    fn new(answer: &GenreAnswer) -> Self {
        Self {
            genre: answer.genre().cloned(),
            probability: answer.probability,
            labelled_tracks: answer.labelled.tracks,
            labelled_genres: answer.labelled.genres,
            summary: answer.summary(),
        }
    }
}

impl NearJson {
    fn new(found: SimilarTrack) -> Self {
        Self {
            track: TrackRef::of_track(&found.track),
            genres: found.track.tags.genres,
            similarity: found.similarity,
        }
    }
}

impl PlaceJson {
    fn new(file: &StoredFile) -> Self {
        Self {
            path: lossy(&file.record.path),
            bytes: file.record.size,
            state: state(&file.record),
        }
    }
}

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
    let mut tracks = engine.library().tracks_by_id(&ids)?;
    // Before `label`, which replaces the tags' genres by those of the label source.
    let tagged = tracks.iter().map(|track| track.tags.genres.clone());
    let tagged: Vec<Vec<String>> = tagged.collect();
    engine.label(&mut tracks)?;
    let measured = engine.library().descriptors(&ids)?;
    let clusters = last_clusters(engine)?;
    let mut strongest = tags
        .map(|tags| tags.strongest(&ids, WORDS))
        .unwrap_or_default();
    let predicted = predictions(engine, seeds, report)?;
    let mut cards = Vec::new();
    for (((nearest, track), tagged_genres), predicted) in
        nearest.into_iter().zip(tracks).zip(tagged).zip(predicted)
    {
        let id = track.id;
        let measured = measured.get(&id);
        // Empty for a model without tags, and left out if words were not requested.
        let words = has_words.then(|| strongest.remove(&id).unwrap_or_default());
        let clusters = clusters.as_ref();
        let places = track.files.iter().map(PlaceJson::new).collect();
        cards.push(Card {
            track: TrackJson::new(&track, measured, words.as_deref()),
            track_number: track.tags.track_number,
            disc_number: track.tags.disc_number,
            licence_text: track.tags.licence,
            tagged_genres,
            tagged_bpm: track.tags.bpm,
            tagged_key: track.tags.musical_key,
            content: track.audio.content.to_string(),
            sample_rate: track.audio.sample_rate,
            channels: track.audio.channels,
            container: track.audio.container,
            predicted: PredictedJson::new(&predicted),
            sung: tags.and_then(|tags| tags.sung(id)),
            cluster: clusters.and_then(|clusters| clusters.get(&id).copied()),
            nearest: nearest.into_iter().map(NearJson::new).collect(),
            places,
            measured: measured.cloned().unwrap_or_default(),
        });
    }
    Ok(cards)
}

/// Genres by the library's own labels, or a first guess from the model's tags if they are too few. No model is loaded: a
/// card shows stored data.
fn predictions(
    engine: &mut Engine,
    seeds: Vec<Seed>,
    report: impl FnMut(GenreNews),
) -> Result<Vec<GenreAnswer>, EngineError> {
    // The inner error has the number of labels, which the answer shows.
    let too_few = match Labelled::open(engine, &ClassifyOptions::default(), report)? {
        Ok(labelled) => return labelled.classify(engine, seeds),
        Err(too_few) => too_few,
    };
    let genres = DefaultGenres::shipped(&Taxonomy::default());
    let guess = |seed| engine.stored_guess(&genres, seed, too_few);
    seeds.into_iter().map(guess).collect()
}
