//! All that is known of a track, as a card.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::remembered_clusters;
use super::list::TrackJson;
use super::lossy;
use crate::{LibrarySource, QuestionError, Sampled};
use voisin_base::track::TrackId;
use voisin_engine::{
    ClassifyOptions, Engine, EngineError, GenreAnswer, GenreNews, Labelled, PredictedTags, Seed,
    SimilarOptions, SimilarTrack,
};
use voisin_explore::clusters::Detail;
use voisin_genre::{Genre, UnknownReason};
use voisin_library::{Descriptors, FileRecord, Track, TrackFilter};
use voisin_music::cue::Place;

/// Neighbours on a card.
const NEAREST: usize = 5;

/// Words on a card.
const WORDS: usize = 8;

/// All that is known of one track.
#[derive(Debug)]
pub struct Card {
    /// Its genres are those of the library's label source.
    pub track: Track,
    /// As its tags spell them.
    pub tagged_genres: Vec<String>,
    /// Tempo, key and loudness.
    pub measured: Option<Descriptors>,
    /// The genre by the library's labels and the head, or a first guess.
    pub predicted: GenreAnswer,
    /// As of the last time that the library was divided.
    pub cluster: Option<u32>,
    /// Tags that stand out, with their percentiles.
    pub words: Option<Vec<(String, f32)>>,
    /// The chance that it has a voice, where the model says so.
    pub sung: Option<f32>,
    /// Tracks that sound most like it.
    pub nearest: Vec<SimilarTrack>,
    /// Windows that were heard.
    pub windows: usize,
    /// How many tags of each file could not be read, in the order of the files.
    pub unread_tags: Vec<u32>,
}

/// The documented JSON of `show`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CardJson<'a> {
    #[serde(flatten)]
    track: TrackJson,
    /// As the tags have it.
    track_number: Option<u32>,
    /// As the tags have it.
    disc_number: Option<u32>,
    /// As the tags spell it.
    licence_text: Option<&'a str>,
    /// As the tags spell them.
    tagged_genres: &'a [String],
    /// As the tags have it.
    tagged_bpm: Option<f64>,
    /// As the tags have it.
    tagged_key: Option<&'a str>,
    /// BLAKE3 of the compressed packets.
    content: String,
    sample_rate: u32,
    channels: u16,
    container: &'a str,
    /// As `classify` answers.
    predicted: PredictedJson<'a>,
    /// Chance that it has a voice; null where the model has no output for that.
    sung: Option<f32>,
    /// As of the last `voisin clusters`; null for noise and later tracks.
    cluster: Option<u32>,
    /// Windows that were heard.
    windows: usize,
    /// Tracks that sound most like it.
    nearest: Vec<NearJson>,
    /// Its files.
    places: Vec<PlaceJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PredictedJson<'a> {
    /// Null where the answer is unknown.
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
    /// Tags of it that could not be read, or not whole.
    unread_tags: u32,
    /// `there`, `changed`, `gone` or `unreadable`.
    state: &'static str,
    /// Of a track that is part of a longer file.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartJson>,
}

/// Which part of which file a track is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PartJson {
    /// The whole file.
    pub file: String,
    /// In seconds.
    pub from: f64,
    /// Null: to the file's end.
    pub to: Option<f64>,
}

impl PartJson {
    /// Of a track's path; none of a whole file.
    pub fn of(path: &Path) -> Option<Self> {
        let part = Place::part(path)?;
        let (from, to) = part.seconds();
        Some(Self {
            file: lossy(&part.audio),
            from,
            to,
        })
    }
}

/// Whether a file is as it was when it was added: `there`, `changed`, `gone` or `unreadable`.
pub fn state(known: &FileRecord) -> &'static str {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match FileRecord::read(&known.path) {
        // As `add` compares them: what is "changed" here is read again there.
        Ok(now) if now.size == known.size && now.mtime_ns == known.mtime_ns => "there",
        Ok(_) => "changed",
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => "gone",
        Err(_) => "unreadable",
    }
}

impl<'a> CardJson<'a> {
    /// As programs read it.
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
            windows,
            unread_tags,
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
                probability: predicted.probability(),
                labelled_tracks: predicted.labelled.tracks,
                labelled_genres: predicted.labelled.genres,
                summary: predicted.summary(),
            },
            sung: *sung,
            cluster: *cluster,
            windows: *windows,
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
                // One for each file, in their order.
                .zip(unread_tags)
                .map(|(file, &unread_tags)| PlaceJson {
                    path: lossy(&file.record.path),
                    bytes: file.record.size,
                    unread_tags,
                    state: state(&file.record),
                    part: PartJson::of(&file.record.path),
                })
                .collect(),
        }
    }
}

/// The words on cards: the model's tags that stand out.
#[derive(Debug, Clone, Copy)]
pub enum CardWords<'a> {
    /// None.
    LeftOut,
    /// From these tags of the library, as far as its model has any.
    Known(Option<&'a PredictedTags>),
    /// From the library's windows.
    Computed,
}

impl LibrarySource {
    /// A card for each of these tracks of the library.
    ///
    /// - `report`: is called with who predicts genres
    pub fn cards(
        &mut self,
        seeds: Vec<Seed>,
        words: CardWords<'_>,
        report: impl FnMut(GenreNews),
    ) -> Result<Sampled<Vec<Card>>, QuestionError> {
        let options = SimilarOptions {
            limit: NEAREST,
            ..SimilarOptions::default()
        };
        let mut ids = Vec::new();
        let mut nearest = Vec::new();
        // Before the others are fetched: a temporary library knows only these.
        for seed in &seeds {
            // A card is of a track of the library; a file alone has none of this.
            ids.push(seed.track.ok_or_else(|| EngineError::NotInLibrary {
                path: seed.path.clone(),
            })?);
            nearest.push(self.find_similar(std::slice::from_ref(seed), &options)?);
        }
        let sample = self.fetch_around(&seeds, &TrackFilter::default())?;
        let engine = self.engine();
        let mut tracks = Vec::new();
        for &id in &ids {
            tracks.push(engine.library().track(id)?);
        }
        // Before `label`, which puts the label source's genres in the place of the tags'.
        let tagged: Vec<Vec<String>> = tracks
            .iter()
            .map(|track| track.tags.genres.clone())
            .collect();
        engine.label(&mut tracks)?;
        let measured = engine.library().derived().descriptors(&ids)?;
        let clusters = remembered_clusters(engine, Detail::default())?;
        // Declared before `tags`, which may borrow it.
        let computed;
        let tags = match words {
            CardWords::LeftOut => None,
            CardWords::Known(tags) => tags,
            CardWords::Computed => {
                computed = engine.words().predicted_tags_if_any()?;
                computed.as_ref()
            }
        };
        let mut strongest = tags
            .map(|tags| tags.strongest(&ids, WORDS))
            .unwrap_or_default();
        let is_worded = !matches!(words, CardWords::LeftOut);
        let predicted = predictions(engine, tags, seeds, report)?;
        let mut cards = Vec::new();
        for (((nearest, track), tagged_genres), predicted) in
            nearest.into_iter().zip(tracks).zip(tagged).zip(predicted)
        {
            let id = track.id;
            let files = track.files.iter();
            let unread_tags =
                files.map(|file| engine.library().tags().unread_tags_of(&file.record.path));
            cards.push(Card {
                unread_tags: unread_tags.collect::<Result<_, _>>()?,
                measured: measured.get(&id).cloned(),
                predicted,
                // Empty for a model without tags, and left out where words were not asked for.
                words: is_worded.then(|| strongest.remove(&id).unwrap_or_default()),
                sung: tags.and_then(|tags| tags.sung(id)),
                cluster: clusters.as_ref().and_then(|clusters| clusters.of(id)),
                nearest,
                windows: engine
                    .library()
                    .windows(id)?
                    .map_or(0, |windows| windows.starts.len()),
                track,
                tagged_genres,
            });
        }
        let answer = cards;
        Ok(Sampled { answer, sample })
    }
}

/// Genres by the library's own labels, or a first guess from the model's tags where they are too few. No model is loaded for
/// that: a card shows what is known.
fn predictions(
    engine: &mut Engine,
    tags: Option<&PredictedTags>,
    seeds: Vec<Seed>,
    report: impl FnMut(GenreNews),
) -> Result<Vec<GenreAnswer>, EngineError> {
    // The inner error is no fault: it says how few labels there are, which the answer shows.
    let too_few = match Labelled::open(engine, &ClassifyOptions::default(), report)? {
        Ok(labelled) => return labelled.classify(engine, seeds),
        Err(too_few) => too_few,
    };
    let guess = |track| tags.and_then(|tags| tags.first_guess(track?));
    let answer = |seed: Seed| {
        let is_steady = engine.genres().is_steady(&seed)?;
        let mut answer = GenreAnswer::guessed(guess(seed.track), seed, too_few);
        // A tone or noise has no genre, whatever tags the model finds for it.
        if is_steady {
            answer.reject(UnknownReason::Steady);
        }
        Ok(answer)
    };
    seeds.into_iter().map(answer).collect()
}
