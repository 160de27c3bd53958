//! The model's tags of tracks in words: moods, instruments, voices, from the stored windows.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::artist_limit::ArtistLimit;
use super::engine::held_model;
use super::error::HOW_TO_READ;
use super::parts::EngineWords;
use super::search::AnsweredTracks;
use super::sentences::{ReadingSide, Sentence};
use super::{Engine, EngineError, LibrarySpace, Seed};
use voisin_base::table::TableText;
use voisin_base::text::{fold, spelt_alike};
use voisin_base::track::TrackId;
use voisin_encoder::{EncoderError, ModelManifest, ModelRef, TagLayer, models, models_dir};
use voisin_explore::words::{self, Phrase, Term, WordMeaning, WordTable};
use voisin_genre::{DefaultGenres, Genre, Guess, Taxonomy};
use voisin_library::{
    Descriptors, Library, OpenMode, ScaleName, StoredModel, Track, TrackFilter, TrackSet, WordBound,
};

/// Name of a user's own words inside a library's folder.
pub const WORDS_FILE: &str = "words.tsv";

/// The logit of models that were taught to tell sung music from music without a voice.
const SUNG: &str = "sung";
/// The divisor of that logit: on music of artists that it was not fitted on it is twice as sure as it is right, see
/// `research/quality/voice_certainty.py`.
const SUNG_TEMPERATURE: f32 = 2.0;

/// Tags of voices: however high among a library's tracks, they are no mark of one without a voice.
const VOICES: [&str; 4] = [
    "female vocalists",
    "female vocalist",
    "male vocalists",
    "instrument voice",
];

const SHIPPED: &str = include_str!("words.tsv");

/// Probability of a genre from which a track is likely to be of it.
const LIKELY: f32 = 0.5;

/// Tracks that a phrase stands for as a seed, at most, and one in so many of a library: by choice, so that one which fits
/// badly counts for little, and all of them are still of the best.
const SOUND_SEEDS: usize = 5;
const SOUND_SHARE: usize = 10;

/// Tracks whose tags are kept at once.
const BATCH: usize = 1000;

/// The model's tags of all tracks of a library.
#[derive(Debug, Clone)]
pub struct PredictedTags {
    /// The tracks; ascending.
    pub ids: Vec<TrackId>,
    /// The model's tags, then genres that are guessed from them, then tempo and loudness.
    names: Vec<String>,
    /// Tags among the names.
    tags: usize,
    /// `[tracks, tags]`
    logits: Array2<f32>,
    /// `[tracks, names]`, each column of mean 0 and variance 1.
    standard: Array2<f32>,
    /// Genres that are guessed, where the model has the tags that they are guessed from.
    guessed: Vec<Genre>,
    /// Their probabilities, `[tracks, guessed]`.
    guesses: Array2<f32>,
    words: WordTable,
    /// Where the model reads sentences, too.
    reading: Option<Arc<ReadingSide>>,
}

/// The tags that stand out in each of some tracks, strongest first, with their percentiles.
pub type StrongTags = HashMap<TrackId, Vec<(String, f32)>>;

/// A track that fits a phrase.
#[derive(Debug, Clone)]
pub struct FittingTrack {
    /// The track.
    pub track: Track,
    /// How well it fits, 0 to 1: the geometric mean of the terms.
    pub fit: f32,
    /// The strength of each term, 0 to 1: a percentile of the library; of one that is denied, what is left to 1.
    pub terms: Vec<f32>,
    /// Of each term that is a sentence, the share of a thousand captions of all kinds of music that the track sounds less
    /// like, 0 to 1.
    pub likeness: Vec<Option<f32>>,
}

/// The answer to a phrase.
#[derive(Debug, Clone)]
pub struct PhraseAnswer {
    /// The phrase, its known and unknown words.
    pub phrase: Phrase,
    /// The tracks that fit, best first.
    pub tracks: Vec<FittingTrack>,
    /// Of each term that names a genre, the greatest probability that any track among those that may be answered is of it,
    /// by the model's first guess.
    pub likeliest: Vec<Option<f32>>,
    /// Notes that a list alone does not give: that nothing here fits well, and known words near to an unknown one.
    pub notes: Vec<String>,
}

impl<L: Deref<Target = Engine>> EngineWords<L> {
    /// The model's tags of each track, in words. Those not stored yet are computed from the windows.
    ///
    /// # Errors
    /// The model has no tags that stored vectors tell; a user's table of words cannot be read.
    #[doc(hidden)]
    pub fn predicted_tags(&self) -> Result<PredictedTags, EngineError> {
        self.predicted_tags_of(None)
    }

    /// As [`predicted_tags`](crate::EngineWords::predicted_tags); `None` for a model without tags, or one that is not
    /// on this machine: what
    /// is stored is told without it.
    #[doc(hidden)]
    pub fn predicted_tags_if_any(&self) -> Result<Option<PredictedTags>, EngineError> {
        if self.library().model()?.is_some() && self.reads()? {
            return Ok(None);
        }
        self.words_if_any()
    }

    /// As [`predicted_tags_if_any`](crate::EngineWords::predicted_tags_if_any); also for a model that reads sentences
    /// and has no tags.
    #[doc(hidden)]
    pub fn words_if_any(&self) -> Result<Option<PredictedTags>, EngineError> {
        if_tagged(self.predicted_tags())
    }

    /// The space of vectors that is asked about a phrase where none is named: one whose model reads sentences, where the
    /// words of this one's do not cover the phrase; `None`: this one.
    ///
    /// - `heard`: [`words_if_any`](crate::EngineWords::words_if_any)
    #[doc(hidden)]
    pub fn reading_space(
        &self,
        heard: Option<&PredictedTags>,
        phrase: &str,
    ) -> Result<Option<String>, EngineError> {
        let spaces = self.library().spaces();
        // A space that was named answers itself.
        if spaces.entered_space().is_some() || heard.is_some_and(|heard| heard.covers(phrase)) {
            return Ok(None);
        }
        let is_there = |model: &StoredModel| {
            held_model(self.library(), model).is_ok_and(|it| {
                it.manifest()
                    .is_ok_and(|card| card.fingerprint() == model.fingerprint)
            })
        };
        // The default space reads by itself and needs no detour; a space without vectors or whose
        // model is not here could not answer.
        let reading = spaces.all()?.into_iter().find(|space| {
            !space.is_default && space.vectors > 0 && reads(&space.model) && is_there(&space.model)
        });
        Ok(reading.map(|space| space.name))
    }

    /// The few tracks that a phrase stands for as a seed: those that [`find`](Self::find) puts first, in the space that
    /// [`reading_space`](Self::reading_space) names; their vectors are those of this one.
    ///
    /// - `is_whole`: whether all of its words must be understood
    ///
    /// # Errors
    /// Nothing of the phrase is understood, or not all of it.
    pub fn seeds(&self, phrase: &str, is_whole: bool) -> Result<Vec<Seed>, EngineError> {
        let mut heard = self.words_if_any()?;
        let mut notes = Vec::new();
        let mut elsewhere = None;
        if let Some(space) = self.reading_space(heard.as_ref(), phrase)? {
            let dir = self.library().dir();
            // Read-only and of its own: the query must not move this library into another space.
            let library = Library::open_in_space(dir, OpenMode::ReadOnly, Some(&space))?;
            let engine = Engine::from_library(library);
            heard = engine.words().words_if_any()?;
            notes.push(format!("asked in the space {space}"));
            elsewhere = Some(engine);
        }
        let heard = match heard {
            Some(heard) => heard,
            None => self.predicted_tags()?,
        };
        if is_whole && !heard.covers(phrase) {
            return Err(heard.not_understood(phrase));
        }
        let limit = (heard.ids.len() / SOUND_SHARE).clamp(1, SOUND_SEEDS);
        let words = elsewhere.as_ref().unwrap_or(&**self).words();
        let found = words.find(&heard, phrase, &TrackFilter::default(), limit, None)?;
        if found.tracks.is_empty() {
            let text = phrase.to_owned();
            let candidates = Vec::new();
            return Err(EngineError::NoSuchTrack { text, candidates });
        }
        if !found.phrase.unknown.is_empty() {
            let unknown = found.phrase.unknown.join(", ");
            notes.push(format!("not understood and left out: {unknown}"));
        }
        notes.extend(found.notes);
        let notes: Arc<[String]> = notes.into();
        let seed = |one: FittingTrack| {
            Ok::<_, EngineError>(Seed {
                found_by_sound: Some(Arc::clone(&notes)),
                ..self.seed_of(one.track.id)?
            })
        };
        found.tracks.into_iter().map(seed).collect()
    }

    /// The track that fits a phrase best, as a seed.
    pub fn seed(&self, phrase: &str) -> Result<Seed, EngineError> {
        let mut seeds = self.seeds(phrase, false)?;
        // The best comes first, and there is one.
        Ok(seeds.swap_remove(0))
    }

    /// As [`seeds`](Self::seeds), for a text that names no track: `None` where it is no phrase of several words that are
    /// all understood, or may be a file or a track that is misspelt.
    pub fn seeds_of_unknown(&self, text: &str) -> Result<Option<Vec<Seed>>, EngineError> {
        let is_phrase = text.split_whitespace().nth(1).is_some()
            && !text.contains(['/', '\\'])
            && !voisin_audio::is_audio_candidate(Path::new(text));
        // A name that is nearly a track's is a misspelt track, even where its words are understood.
        if !is_phrase || !self.library().lookup().spelt_alike(text, 1)?.is_empty() {
            return Ok(None);
        }
        match if_tagged(self.seeds(text, true)) {
            Err(EngineError::Words { .. }) => Ok(None),
            found => found,
        }
    }

    /// The tracks that best fit a phrase such as `calm guitar, no voice`.
    ///
    /// - `heard`: [`predicted_tags`](crate::EngineWords::predicted_tags)
    ///
    /// # Errors
    /// Nothing of the phrase is understood.
    pub fn find(
        &self,
        heard: &PredictedTags,
        phrase: &str,
        filter: &TrackFilter,
        limit: usize,
        max_per_artist: Option<usize>,
    ) -> Result<PhraseAnswer, EngineError> {
        let (heard, read, sentences) = heard.understand(phrase)?;
        if read.terms.is_empty() {
            return Err(heard.not_understood(phrase));
        }
        let allowed = self.matching(filter)?;
        let strengths: Vec<(Vec<f32>, bool)> = read
            .terms
            .iter()
            .map(|term| {
                (
                    words::strength(heard.standard.view(), &term.meaning),
                    term.negated,
                )
            })
            .collect();
        let fits = words::fit(&strengths);
        let mut rows: Vec<usize> = (0..heard.ids.len())
            .filter(|&row| {
                allowed
                    .as_ref()
                    .is_none_or(|set| set.contains(heard.ids[row]))
            })
            .collect();
        let likeliest: Vec<Option<f32>> = read
            .terms
            .iter()
            .map(|term| heard.likeliest(term, &rows))
            .collect();
        rows.sort_by(|&a, &b| fits[b].total_cmp(&fits[a]).then(a.cmp(&b)));
        let space = LibrarySpace::of_library(self.library())?;
        let mut answered = AnsweredTracks::beside(&[], self.library());
        // Lazily, since each row takes a read of its vector and the list is soon full.
        let new_rows = rows.into_iter().filter(|&row| {
            let id = heard.ids[row];
            let vector = self.library().vector(id).ok().flatten();
            answered.is_new(id, vector.map(|vector| space.centre(&vector)))
        });
        let rows =
            ArtistLimit::new(self.library(), max_per_artist)
                .first(new_rows, limit, |&row| heard.ids[row])?;
        let ids: Vec<TrackId> = rows.iter().map(|&row| heard.ids[row]).collect();
        let tracks = self.library().tracks_by_id(&ids)?.into_iter().zip(rows);
        let tracks = tracks.map(|(track, row)| FittingTrack {
            track,
            fit: fits[row],
            terms: strengths
                .iter()
                .map(|(share, not)| if *not { 1.0 - share[row] } else { share[row] })
                .collect(),
            likeness: sentences
                .iter()
                .map(|sentence| Some(sentence.as_ref()?.likeness(row)))
                .collect(),
        });
        let tracks: Vec<FittingTrack> = tracks.collect();
        let mut notes = heard.notes(&read, &likeliest);
        notes.extend(sentence_notes(&read, &tracks));
        notes.extend(self.unlabelled(&read, &likeliest, &tracks)?);
        Ok(PhraseAnswer {
            tracks,
            phrase: read,
            likeliest,
            notes,
        })
    }
}

/// Whether a model reads sentences.
#[doc(hidden)]
pub fn reads(model: &StoredModel) -> bool {
    ModelManifest::parse(&model.manifest_json, Path::new("its manifest"))
        .is_ok_and(|card| card.reads())
}

impl Engine {
    /// As [`predicted_tags`](Self::predicted_tags).
    ///
    /// - `among`: of these tracks alone, held against each other; `None`: of all
    pub(super) fn predicted_tags_of(
        &self,
        among: Option<&[TrackId]>,
    ) -> Result<PredictedTags, EngineError> {
        let library = self.library();
        let layer = match self.tag_layer() {
            Ok(layer) => Some(layer),
            Err(EngineError::NoTags { .. }) if self.reads()? => None,
            Err(error) => return Err(error),
        };
        // After the layer: reading weights takes long, and no snapshot should be held meanwhile.
        let _snapshot = library.snapshot()?;
        // A model that reads has no tags: its words are what is measured, and whole sentences.
        let (logits, reading) = if let Some(layer) = &layer {
            (self.tag_logits(layer, among)?, None)
        } else {
            let side = ReadingSide::of(self, among)?;
            let rows = side.ids.iter().map(|id| (*id, Vec::new()));
            (rows.collect(), Some(Arc::new(side)))
        };
        let mut names = layer.map_or_else(Vec::new, |layer| layer.names().to_vec());
        let tags = names.len();
        let guess = DefaultGenres::shipped(&Taxonomy::default())?;
        // Those that a guess is made of come first.
        let guessed = guess.tags().len();
        let guesses = names.starts_with(guess.tags());
        let genres: Vec<Genre> = if guesses {
            guess.genres().map(|(genre, _)| genre.clone()).collect()
        } else {
            Vec::new()
        };
        names.extend(genres.iter().map(|genre| format!("genre:{genre}")));
        let mut probabilities = Array2::zeros((logits.len(), genres.len()));
        let ids: Vec<TrackId> = logits.iter().map(|(id, _)| *id).collect();
        let sounds = self.sound_columns(&ids)?;
        let guessed_to = names.len();
        let width = names.len() + sounds.len();
        names.extend(sounds.iter().map(|(name, _)| name.clone()));
        let mut table = Array2::zeros((logits.len(), width));
        for (at, (_, values)) in sounds.iter().enumerate() {
            table.column_mut(guessed_to + at).assign(values);
        }
        let mut plain = Array2::zeros((logits.len(), tags));
        for (row, (_, values)) in logits.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                (table[[row, column]], plain[[row, column]]) = (*value, *value);
            }
            if guesses {
                let shares = guess.guess(&values[..guessed], &[])?.shares;
                for (column, genre) in genres.iter().enumerate() {
                    let share = shares.iter().find(|share| share.genre == *genre);
                    let probability = share.map_or(0.0, |share| share.probability);
                    probabilities[[row, column]] = probability;
                    // Probabilities become logarithms, so that they are spread like the logits
                    // beside them; the floor keeps zero out.
                    table[[row, tags + column]] = probability.max(1e-9).ln();
                }
            }
        }
        let mut words = WordTable::new(&names);
        let own_table = library.dir().join(WORDS_FILE);
        let shipped = words.extend(SHIPPED, false);
        shipped.map_err(|(line, problem)| EngineError::Table {
            path: "words.tsv, as voisin ships it".into(),
            line: line as u64,
            problem,
        })?;
        // Before the user's own words, which may give a scale's name another meaning.
        extend_by_scales(&mut words, &names[guessed_to..]);
        if own_table.is_file() {
            extend_from_file(&mut words, &own_table)?;
        }
        Ok(PredictedTags {
            ids,
            names,
            tags,
            logits: plain,
            standard: words::standardised(table),
            guessed: genres,
            guesses: probabilities,
            words,
            reading,
        })
    }

    /// Whether the library's model reads sentences.
    fn reads(&self) -> Result<bool, EngineError> {
        Ok(reads(&self.model()?))
    }

    /// The layer that tells the tags of stored vectors; `None` for a model without tags, or one that is not on this machine.
    pub(super) fn tag_layer_if_any(&self) -> Result<Option<TagLayer>, EngineError> {
        // Computing from the windows needs all of the layer.
        Ok(if_tagged(self.tag_layer())?.filter(TagLayer::computes))
    }

    /// The tags of the library's model. One that is not at hand, since its file was moved or damaged or voisin ships it no
    /// more, has those that are stored.
    fn tag_layer(&self) -> Result<TagLayer, EngineError> {
        let held = self.model()?;
        let found = match TagLayer::of(&self.model_ref()?) {
            Err(EncoderError::UnknownModel { .. } | EncoderError::BadManifest { .. }) => {
                self.stored_tags(&held)?
            }
            Err(error @ EncoderError::FormerModel { .. }) => match self.stored_tags(&held)? {
                None => return Err(error.into()),
                stored => stored,
            },
            // A model of the same name that is no longer the one that made the vectors has tags
            // that say nothing of them.
            found => found?.filter(|layer| layer.fingerprint() == held.fingerprint),
        };
        found.ok_or_else(|| {
            let others = models(models_dir().as_deref())
                .into_iter()
                .filter_map(Result::ok);
            let others = others.filter(|entry| {
                let model = ModelRef::Name(entry.manifest.name.clone());
                TagLayer::of(&model).is_ok_and(|layer| layer.is_some())
            });
            let others: Vec<String> = others.map(|entry| entry.manifest.name).collect();
            EngineError::NoTags {
                model: held.name.clone(),
                others: others.join(", "),
            }
        })
    }

    /// The names of the tags whose logits are stored, of a model that is not at hand.
    fn stored_tags(&self, held: &StoredModel) -> Result<Option<TagLayer>, EngineError> {
        let card = ModelManifest::parse(&held.manifest_json, Path::new("its manifest")).ok();
        let Some(layer) = card.as_ref().and_then(TagLayer::names_only) else {
            return Ok(None);
        };
        let stored = self.library().derived().logits(None)?;
        let is_stored = stored
            .iter()
            .any(|(_, values)| values.len() == layer.names().len());
        Ok(is_stored.then_some(layer))
    }

    /// Logits of tracks, ascending by id, those without windows left out. What is not stored yet is worked out.
    ///
    /// - `among`: of these alone; `None`: of all
    pub(super) fn tag_logits(
        &self,
        layer: &TagLayer,
        among: Option<&[TrackId]>,
    ) -> Result<Vec<(TrackId, Vec<f32>)>, EngineError> {
        let mut logits = self.library().derived().logits(among)?;
        // Logits of another set of tags, as of an older version of the model, are computed again.
        logits.retain(|(_, values)| values.len() == layer.names().len());
        let known: HashSet<TrackId> = logits.iter().map(|(id, _)| *id).collect();
        let all = among.map_or_else(|| self.library().track_ids(), |those| Ok(those.to_vec()))?;
        logits.extend(self.unheard(layer, &all, &known)?);
        logits.sort_by_key(|(id, _)| *id);
        Ok(logits)
    }

    /// Logits of those of `tracks` that are not in `known`, from the mean of their windows.
    fn unheard(
        &self,
        layer: &TagLayer,
        tracks: &[TrackId],
        known: &HashSet<TrackId>,
    ) -> Result<Vec<(TrackId, Vec<f32>)>, EngineError> {
        let mut found = Vec::new();
        if !layer.computes() {
            return Ok(found);
        }
        for &id in tracks {
            if known.contains(&id) {
                continue;
            }
            let Some(windows) = self.library().windows(id)? else {
                continue;
            };
            // The layer is linear: the logits of the mean are the mean of the logits.
            let Some(mean) = windows.vectors.mapv(f32::from).mean_axis(ndarray::Axis(0)) else {
                continue;
            };
            found.push((id, layer.logits(&mean.to_vec())));
        }
        Ok(found)
    }

    /// Columns of words about sound, each under its name: tempo, in octaves, loudness, and scales. A track without a value
    /// has the mean; a word that no track has a value for is left out.
    fn sound_columns(&self, ids: &[TrackId]) -> Result<Vec<(String, Array1<f32>)>, EngineError> {
        let known = self.library().derived().descriptors(ids)?;
        let tempo = |descriptors: &Descriptors| {
            descriptors
                .tempo
                .filter(|tempo| *tempo > 0.0)
                .map(f64::log2)
        };
        let loudness = |descriptors: &Descriptors| descriptors.loudness;
        let column = |read: &dyn Fn(&Descriptors) -> Option<f64>| {
            let values: Vec<Option<f64>> =
                ids.iter().map(|id| known.get(id).and_then(read)).collect();
            let there = values.iter().flatten().count();
            let mean = values.iter().flatten().sum::<f64>() / there.max(1) as f64;
            let filled = values
                .iter()
                .map(|value| value.unwrap_or(mean) as f32)
                .collect();
            (there > 0).then_some(filled)
        };
        let scales: BTreeSet<ScaleName> = known
            .values()
            .flat_map(|known| known.scales.keys().copied())
            .collect();
        let of_scale = |name: ScaleName| {
            column(&|known: &Descriptors| known.scales.get(&name).map(|value| value.value))
        };
        let columns = [("tempo", column(&tempo)), ("loudness", column(&loudness))];
        let columns = columns.map(|(name, values)| (name.to_owned(), values));
        let scales = scales
            .into_iter()
            .map(|name| (name.to_string(), of_scale(name)));
        Ok(columns
            .into_iter()
            .chain(scales)
            .filter_map(|(name, values)| Some((format!("sound:{name}"), values?)))
            .collect())
    }

    /// Those of `fitting` (`None`: of all tracks) for which all of these words hold.
    pub(super) fn matching_words(
        &self,
        bounds: &[WordBound],
        fitting: Option<TrackSet>,
    ) -> Result<Option<TrackSet>, EngineError> {
        if bounds.is_empty() {
            return Ok(fitting);
        }
        let heard = self.words().predicted_tags()?;
        let mut fits = vec![true; heard.ids.len()];
        for bound in bounds {
            let WordBound {
                word,
                percentile,
                not,
            } = bound;
            let known = heard.words.meaning(word).cloned();
            // A bound on a sentence holds for this word alone: its column is not kept for the next.
            let (heard, meaning) = match (known, &heard.reading) {
                (Some(meaning), _) => (Cow::Borrowed(&heard), meaning),
                (None, Some(side)) => {
                    let (with, meaning) = heard.with_sentence(side.read(word)?);
                    (Cow::Owned(with), meaning)
                }
                (None, None) => return Err(heard.not_understood(word)),
            };
            for (fits, share) in fits
                .iter_mut()
                .zip(words::strength(heard.standard.view(), &meaning))
            {
                *fits &= (share >= *percentile) != *not;
            }
        }
        let is_in = |id: TrackId| fitting.as_ref().is_none_or(|set| set.contains(id));
        let ids = heard
            .ids
            .iter()
            .zip(fits)
            .filter(|(id, fits)| *fits && is_in(**id));
        Ok(Some(ids.map(|(id, _)| *id).collect()))
    }
}

impl<L: DerefMut<Target = Engine>> EngineWords<L> {
    /// Works out the tags of tracks that have none stored yet, and keeps them. A model without tags has none to keep.
    pub fn keep_tags(&mut self) -> Result<(), EngineError> {
        if self.library().mode() == OpenMode::ReadOnly {
            return Ok(());
        }
        let Some(layer) = self.tag_layer().ok().filter(TagLayer::computes) else {
            return Ok(());
        };
        let known = self.library().derived().logits(None)?;
        let known = known
            .into_iter()
            .filter(|(_, values)| values.len() == layer.names().len());
        let known: HashSet<TrackId> = known.map(|(id, _)| id).collect();
        let missing = self.unheard(&layer, &self.library().track_ids()?, &known)?;
        for batch in missing.chunks(BATCH) {
            // Not through `library_mut`: no vector changes, and the index stays as it is.
            self.library.derived_mut().set_logits(batch)?;
        }
        Ok(())
    }
}

impl Engine {
    /// A note on terms that name a genre which none of the answer's labels has: the model takes a piano for jazz.
    ///
    /// - `likeliest`: of each term; where a genre is not likely to be here at all, that is said instead
    fn unlabelled(
        &self,
        phrase: &Phrase,
        likeliest: &[Option<f32>],
        found: &[FittingTrack],
    ) -> Result<Vec<String>, EngineError> {
        let tracks: Vec<Track> = found.iter().map(|one| one.track.clone()).collect();
        let labels: Vec<Vec<Genre>> = self.genres().genres_of(&tracks)?;
        let labelled: Vec<&Genre> = labels.iter().filter_map(|genres| genres.first()).collect();
        let Some(first) = labelled
            .first()
            .filter(|_| 2 * labelled.len() >= found.len())
        else {
            return Ok(Vec::new());
        };
        let terms = phrase.terms.iter().zip(likeliest);
        let genres =
            terms.filter(|(term, most)| !term.negated && most.is_some_and(|most| most >= LIKELY));
        // Whoever looks for rock is not told that Alternative Rock is none.
        let has = |word: &str, genre: &Genre| {
            let word = fold(word);
            let genre = fold(&genre.to_string());
            genre == word || genre.split(' ').any(|part| part == word)
        };
        let lacking = genres.filter(|(term, _)| {
            let genre = Taxonomy::default().genre(&term.meaning.word);
            let is_it = |one: &Genre| genre.as_ref() == Some(one) || has(&term.meaning.word, one);
            !labels.iter().flatten().any(is_it)
        });
        Ok(lacking
            .map(|(term, _)| {
                let word = &term.meaning.word;
                format!("none of these is labelled {word} (the first is {first}): they are only the most {word}-like")
            })
            .collect())
    }
}

impl PredictedTags {
    /// The model's tags.
    pub fn tags(&self) -> &[String] {
        &self.names[..self.tags]
    }

    /// Percentile of each tag among the library's tracks, `[tracks, tags]`, 0 to 1.
    pub fn percentiles(&self) -> Array2<f32> {
        let mut all = Array2::zeros((self.ids.len(), self.tags));
        // The first columns of `standard` are the tags; standardising does not change their order,
        // so that percentiles are those of the logits.
        for (mut to, from) in all.columns_mut().into_iter().zip(self.standard.columns()) {
            for (to, share) in to.iter_mut().zip(words::percentiles(&from.to_vec())) {
                *to = share;
            }
        }
        all
    }

    /// The tags that stand out most in these tracks, strongest first, with their percentiles.
    ///
    /// - `most`: so many a track
    pub fn strongest(&self, ids: &[TrackId], most: usize) -> StrongTags {
        /// Less is no mark of a track.
        const LEAST: f32 = 0.75;
        let all = self.percentiles();
        let strong_words = |id: &TrackId| {
            let row = self.ids.binary_search(id).ok()?;
            let shares = all.row(row);
            let is_plain = self.sung(*id).is_some_and(|sung| sung < 0.5);
            let is_mark = |tag: &usize| {
                let name = self.names[*tag].as_str();
                shares[*tag] >= LEAST && name != SUNG && !(is_plain && VOICES.contains(&name))
            };
            let mut tags: Vec<usize> = (0..self.tags).filter(is_mark).collect();
            tags.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]).then(a.cmp(&b)));
            let mut named: Vec<(String, f32)> = Vec::new();
            for tag in tags {
                let name = plain(&self.names[tag]);
                // Several tags may read alike once their kind is taken off, as "style metal" and
                // "metal" do.
                if named.len() < most && named.iter().all(|(other, _)| *other != name) {
                    named.push((name, shares[tag]));
                }
            }
            Some((*id, named))
        };
        ids.iter().filter_map(strong_words).collect()
    }

    /// The chance, 0 to 1, that a voice sings or speaks in a track; `None` where the model has no output for that.
    pub fn sung(&self, id: TrackId) -> Option<f32> {
        let column = self.tags().iter().position(|tag| tag == SUNG)?;
        let row = self.ids.binary_search(&id).ok()?;
        Some(1.0 / (1.0 + (-self.logits[[row, column]] / SUNG_TEMPERATURE).exp()))
    }

    /// A first guess of a track's genre from what was heard, where the model has the tags that it is made from.
    pub fn first_guess(&self, id: TrackId) -> Option<Guess> {
        let row = self.ids.binary_search(&id).ok()?;
        let genres = DefaultGenres::shipped(&Taxonomy::default()).ok()?;
        if !self.tags().starts_with(genres.tags()) {
            return None;
        }
        let logits = self.logits.row(row).to_vec();
        genres.guess(&logits[..genres.tags().len()], &[]).ok()
    }

    /// Every word that is understood, with the tags that it means.
    pub fn words(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.words
            .known()
            .map(|(word, meaning)| (word, self.names_of(meaning)))
    }

    /// The word by which answers name the meaning of another one: the first of its line in a table.
    pub fn first_word(&self, word: &str) -> Option<&str> {
        let first = self.words.meaning(word)?.word.as_str();
        (fold(first) != fold(word)).then_some(first)
    }

    /// The known terms of a phrase, with the percentile of each track, in the order of [`ids`](Self::ids).
    ///
    /// # Errors
    /// A word is not understood.
    pub(super) fn strengths(&self, phrase: &str) -> Result<Vec<(Term, Vec<f32>)>, EngineError> {
        let (heard, read, _) = self.understand(phrase)?;
        match read.unknown.first() {
            Some(word) => Err(self.not_understood(word)),
            None if read.terms.is_empty() => Err(self.not_understood(phrase)),
            None => {
                let strength = |term: &Term| words::strength(heard.standard.view(), &term.meaning);
                Ok(read
                    .terms
                    .into_iter()
                    .map(|term| {
                        let strength = strength(&term);
                        (term, strength)
                    })
                    .collect())
            }
        }
    }

    /// Whether the words cover a phrase, or the model reads it.
    fn covers(&self, phrase: &str) -> bool {
        self.reading.is_some() || self.words.read(phrase).unknown.is_empty()
    }

    /// Reads a phrase; where the model reads, a part of it that today's words do not cover whole is a sentence, which
    /// becomes a column of its own.
    ///
    /// - returns: itself with those columns, the terms, and which of them are sentences
    fn understand(&self, phrase: &str) -> Result<Understood<'_>, EngineError> {
        let mut heard = Cow::Borrowed(self);
        let Some(side) = &self.reading else {
            let read = self.words.read(phrase);
            let none = read.terms.iter().map(|_| None).collect();
            return Ok((heard, read, none));
        };
        let mut whole = Phrase::default();
        let mut sentences = Vec::new();
        // A sentence is read whole: only a comma, a semicolon or a new line ends it.
        for part in phrase.split([',', ';', '\n']) {
            let read = self.words.read(part);
            if read.unknown.is_empty() {
                sentences.extend(read.terms.iter().map(|_| None));
                whole.terms.extend(read.terms);
                continue;
            }
            let (negated, text) = words::split_negation(part);
            let sentence = side.read(text)?;
            let (with, meaning) = heard.with_sentence(sentence.clone());
            heard = Cow::Owned(with);
            sentences.push(Some(sentence));
            whole.terms.push(Term {
                text: text.to_owned(),
                meaning,
                negated,
            });
        }
        Ok((heard, whole, sentences))
    }

    /// Itself with a column of how like each track is to a sentence, and the word that means this column.
    fn with_sentence(&self, sentence: Sentence) -> (Self, WordMeaning) {
        // A copy, because a server shares the words between queries.
        let mut with = self.clone();
        let column = with.standard.ncols();
        with.names.push(format!("sentence:{}", sentence.text));
        let likeness = sentence.cosines.insert_axis(ndarray::Axis(1));
        with.standard
            .append(ndarray::Axis(1), words::standardised(likeness).view())
            .expect("a sentence has a number for each track");
        (with, WordMeaning::of_column(sentence.text, column))
    }

    fn not_understood(&self, text: &str) -> EngineError {
        let known: Vec<&str> = self.words.known().map(|(word, _)| word).collect();
        let unknown = self.words.read(text).unknown;
        let nearest = unknown.iter().filter_map(|word| self.words.nearest(word));
        let mut nearest: Vec<&str> = nearest.collect();
        nearest.dedup();
        let suggestions = if nearest.is_empty() {
            spelt_alike(text, known.iter().copied())
        } else {
            nearest
        };
        let suggestions = suggestions.into_iter().map(str::to_owned).collect();
        EngineError::Words {
            text: text.to_owned(),
            suggestions,
            known: known.len(),
            reads: self.reading.is_some(),
        }
    }

    /// The greatest probability that one of these tracks is of the genre that a term names, if it names one.
    fn likeliest(&self, term: &Term, rows: &[usize]) -> Option<f32> {
        let genre = Taxonomy::default().genre(&term.meaning.word)?;
        let column = self.guessed.iter().position(|guessed| *guessed == genre)?;
        rows.iter()
            .map(|&row| self.guesses[[row, column]])
            .max_by(f32::total_cmp)
    }

    fn notes(&self, phrase: &Phrase, likeliest: &[Option<f32>]) -> Vec<String> {
        let terms = phrase
            .terms
            .iter()
            .zip(likeliest)
            .filter(|(term, _)| !term.negated);
        let absent = terms.filter_map(|(term, &most)| {
            let word = &term.meaning.word;
            let percent = 100.0 * most.filter(|&most| most < LIKELY)?;
            Some(format!(
                "nothing here is likely to be {word} ({percent:.0} % at most): these are only the most {word}-like"
            ))
        });
        let near = phrase.unknown.iter().filter_map(|word| {
            let nearest = self.words.nearest(word)?;
            Some(format!(
                "\"{word}\" cannot be told; the nearest word that can is \"{nearest}\""
            ))
        });
        let mut notes: Vec<String> = absent.chain(near).collect();
        if self.reading.is_none() && !phrase.unknown.is_empty() {
            notes.push(HOW_TO_READ.to_owned());
        }
        notes
    }

    /// The names of the tags that a word means.
    pub fn names_of(&self, meaning: &WordMeaning) -> Vec<String> {
        meaning
            .columns()
            .map(|(column, sign)| {
                // A sentence's column was there only while its phrase was answered.
                let name = self.names.get(column).map_or("sentence", String::as_str);
                let name = name.to_lowercase();
                format!("{sign}{}", name.strip_prefix("sound:").unwrap_or(&name))
            })
            .collect()
    }
}

/// A phrase as far as it was understood: the tags with a column for each sentence, the terms, and which are sentences.
type Understood<'a> = (Cow<'a, PredictedTags>, Phrase, Vec<Option<Sentence>>);

/// Notes on the sentences of a phrase: whether anything sounds like them, and the language that they are read in.
fn sentence_notes(phrase: &Phrase, found: &[FittingTrack]) -> Vec<String> {
    /// A track is nearer to its own caption than to nine of ten others; by choice, not by measurement.
    const LEAST: f32 = 0.9;
    let mut notes = Vec::new();
    for (at, term) in phrase.terms.iter().enumerate() {
        let likeness = || found.iter().filter_map(|one| one.likeness[at]);
        let Some(most) = likeness().max_by(f32::total_cmp) else {
            continue;
        };
        if !term.negated && most < LEAST {
            notes.push(format!(
                "nothing here sounds like \"{}\": the most alike track is more so than {:.0} % of a thousand captions",
                term.text,
                100.0 * most
            ));
        }
    }
    if found
        .iter()
        .any(|one| one.likeness.iter().any(Option::is_some))
    {
        notes.push("sentences are understood in English".to_owned());
    }
    notes
}

/// A tag as people say it: "metal", not "style metal".
fn plain(tag: &str) -> String {
    let tag = tag.to_lowercase();
    let kinds = ["style ", "instrument ", "mood "];
    kinds
        .iter()
        .find_map(|kind| tag.strip_prefix(kind))
        .unwrap_or(&tag)
        .to_owned()
}

/// Each scale is a word by its name.
fn extend_by_scales(words: &mut WordTable, columns: &[String]) {
    for column in columns {
        let name = column.trim_start_matches("sound:").replace('-', " ");
        // A column that is there is no mistake.
        let _ = words.extend(&format!("{name}\t{column}"), false);
    }
}

fn extend_from_file(words: &mut WordTable, path: &Path) -> Result<(), EngineError> {
    let table = TableText::read(path).map_err(|source| EngineError::ReadTable {
        path: path.to_owned(),
        source,
    })?;
    words
        .extend(&table.text, true)
        .map_err(|(line, problem)| EngineError::Table {
            path: path.to_owned(),
            line: line as u64,
            problem,
        })
}
/// `None` for a model without tags, or one that is not on this machine.
fn if_tagged<T>(found: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(
            EngineError::NoTags { .. }
            | EngineError::Encoder(
                EncoderError::UnknownModel { .. }
                | EncoderError::BadManifest { .. }
                | EncoderError::FormerModel { .. },
            ),
        ) => Ok(None),
        Err(error) => Err(error),
    }
}
