//! The model's tags of tracks in words: moods, instruments, voices.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::search::AnsweredTracks;
use super::sentences::{ReadingSide, Sentence};
use super::{Engine, EngineError, Lack, LibrarySpace};
use crate::questions::read::Refused;
use voisin_base::text::{count, did_you_mean, fold, spelt_alike};
use voisin_base::track::TrackId;
use voisin_encoder::{ModelManifest, models, models_dir};
use voisin_explore::words::{self, Phrase, Term, WordMeaning, WordTable};
use voisin_genre::{DefaultGenres, Genre, Guess, Taxonomy};
use voisin_library::{
    Descriptors, ScaleName, StoredModel, Track, TrackFilter, TrackSet, WordBound,
};

/// A hint on how to search by sentences.
const HOW_TO_READ: &str = "whole sentences need a library made with a CLAP model: voisin model import, voisin add --model";

/// The logit of models that were trained to separate sung from instrumental music.
const SUNG: &str = "sung";
/// The temperature of that logit, which is overconfident by this factor on artists outside the training set.
const SUNG_TEMPERATURE: f32 = 2.0;

/// Tags of voices, which are not listed for tracks without a voice.
const VOICES: [&str; 4] = [
    "female vocalists",
    "female vocalist",
    "male vocalists",
    "instrument voice",
];

const SHIPPED: &str = include_str!("words.tsv");

/// Probability from which a track is likely to be of a genre.
const LIKELY: f32 = 0.5;

/// The model's tags of all tracks of a library.
#[derive(Debug, Clone)]
pub struct PredictedTags {
    /// The tracks; ascending.
    pub ids: Vec<TrackId>,
    /// The model's tags, then genres that are guessed from them, then tempo, loudness and scales.
    names: Vec<String>,
    /// How many of the names are the model's tags.
    tags: usize,
    /// `[tracks, tags]`
    logits: Array2<f32>,
    /// `[tracks, names]`, each column of mean 0 and variance 1.
    standard: Array2<f32>,
    /// Guessed genres; empty if the model lacks the tags for the first guess.
    guessed: Vec<Genre>,
    /// Their probabilities, `[tracks, guessed]`.
    guesses: Array2<f32>,
    words: WordTable,
    /// The sentence encoder, if the model has one.
    reading: Option<Arc<ReadingSide>>,
}

/// The strongest tags of each track, strongest first, with their percentiles.
pub type StrongTags = HashMap<TrackId, Vec<(String, f32)>>;

#[derive(Debug, Clone)]
pub struct FittingTrack {
    pub track: Track,
    /// The strength of each term, 0 to 1: its percentile in the library; of a negated term 1 minus the percentile.
    pub terms: Vec<f32>,
    /// For each term that is a sentence, the share of a thousand captions of varied music that the track is less similar
    /// to, 0 to 1.
    pub likeness: Vec<Option<f32>>,
}

#[derive(Debug, Clone)]
pub struct PhraseAnswer {
    pub phrase: Phrase,
    pub tracks: Vec<FittingTrack>,
    /// For each term that names a genre, the greatest probability of it among the tracks that pass the filter, by the model's
    /// first guess.
    pub likeliest: Vec<Option<f32>>,
    /// Notes for the user: that nothing fits well, and known words near an unknown one.
    pub notes: Vec<String>,
}

impl Engine {
    /// The model's tags of each track.
    ///
    /// # Errors
    /// The model has no tags.
    #[doc(hidden)]
    pub fn predicted_tags(&self) -> Result<PredictedTags, EngineError> {
        let library = self.library();
        let _snapshot = library.snapshot()?;
        let tag_names = self.tag_names()?;
        // A model that reads sentences has no tags; its words are the measured scales.
        let (logits, reading) = if let Some(names) = &tag_names {
            (self.tag_logits(names, None)?, None)
        } else if !self.reads()? {
            return Err(self.no_tags()?);
        } else {
            let side = ReadingSide::of(self)?;
            let rows = side.ids.iter().map(|id| (*id, Vec::new()));
            (rows.collect(), Some(Arc::new(side)))
        };
        let mut names = tag_names.unwrap_or_default();
        let tags = names.len();
        let guess = DefaultGenres::shipped(&Taxonomy::default());
        // The tags of the first guess come first.
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
                let shares = guess.guess(&values[..guessed])?.shares;
                for (column, genre) in genres.iter().enumerate() {
                    let share = shares.iter().find(|share| share.genre == *genre);
                    let probability = share.map_or(0.0, |share| share.probability);
                    probabilities[[row, column]] = probability;
                    // Logarithms of probabilities are on a scale like that of logits; the floor
                    // avoids the logarithm of zero.
                    table[[row, tags + column]] = probability.max(1e-9).ln();
                }
            }
        }
        let mut words = WordTable::new(&names);
        words.extend(SHIPPED);
        extend_by_scales(&mut words, &names[guessed_to..]);
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

    /// As [`predicted_tags`](crate::Engine::predicted_tags); `None` for a model without tags.
    #[doc(hidden)]
    pub fn predicted_tags_if_any(&self) -> Result<Option<PredictedTags>, EngineError> {
        if self.library().model()?.is_some() && self.reads()? {
            return Ok(None);
        }
        self.words_if_any()
    }

    /// As [`predicted_tags_if_any`](crate::Engine::predicted_tags_if_any); also for a model that reads sentences
    /// and has no tags.
    #[doc(hidden)]
    pub fn words_if_any(&self) -> Result<Option<PredictedTags>, EngineError> {
        match self.predicted_tags() {
            Err(EngineError::Lacks(Lack::Tags, _)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The tracks that best fit a phrase such as `calm guitar, no voice`.
    ///
    /// - `tags`: [`predicted_tags`](crate::Engine::predicted_tags)
    ///
    /// # Errors
    /// No word of the phrase is known.
    pub fn find(
        &self,
        tags: &PredictedTags,
        phrase: &str,
        filter: &TrackFilter,
        limit: usize,
    ) -> Result<PhraseAnswer, EngineError> {
        let (tags, read, sentences) = tags.understand(phrase)?;
        if let Some(word) = &read.unclear {
            let expected = "\"no WORD\", \"without WORD\" or \"-WORD\"";
            let found = format!("\"{word}\", which may deny the words beside it");
            return Err(Refused::new("query", expected, found).into());
        }
        if read.terms.is_empty() {
            return Err(tags.not_understood(phrase));
        }
        let allowed = self.matching(filter)?;
        let strengths: Vec<(Vec<f32>, bool)> = read
            .terms
            .iter()
            .map(|term| {
                (
                    words::strength(tags.standard.view(), &term.meaning),
                    term.negated,
                )
            })
            .collect();
        let fits = words::fit(&strengths);
        let mut rows: Vec<usize> = (0..tags.ids.len())
            .filter(|&row| {
                allowed
                    .as_ref()
                    .is_none_or(|set| set.contains(tags.ids[row]))
            })
            .collect();
        let likeliest: Vec<Option<f32>> = read
            .terms
            .iter()
            .map(|term| tags.likeliest(term, &rows))
            .collect();
        rows.sort_by(|&a, &b| fits[b].total_cmp(&fits[a]).then(a.cmp(&b)));
        let space = LibrarySpace::of_library(self.library())?;
        let mut answered = AnsweredTracks::beside(&[], self.library());
        // Lazily, because each row needs a read of its vector and the list is soon full.
        let new_rows = rows.into_iter().filter(|&row| {
            let id = tags.ids[row];
            let vector = self.library().vector(id).ok().flatten();
            answered.is_new(id, vector.map(|vector| space.centre(&vector)))
        });
        let rows: Vec<usize> = new_rows.take(limit).collect();
        let ids: Vec<TrackId> = rows.iter().map(|&row| tags.ids[row]).collect();
        let tracks = self.library().tracks_by_id(&ids)?.into_iter().zip(rows);
        let tracks = tracks.map(|(track, row)| FittingTrack {
            track,
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
        let mut notes = tags.notes(&read, &likeliest);
        notes.extend(sentence_notes(&read, &tracks));
        Ok(PhraseAnswer {
            tracks,
            phrase: read,
            likeliest,
            notes,
        })
    }
}

pub(super) fn reads(model: &StoredModel) -> bool {
    ModelManifest::parse(&model.manifest_json, Path::new("its manifest"))
        .is_ok_and(|card| card.reads())
}

impl Engine {
    fn reads(&self) -> Result<bool, EngineError> {
        Ok(reads(&self.model()?))
    }

    /// The names of the model's tags and further outputs, in the order of the stored logits; `None` for a model without
    /// tags.
    pub(super) fn tag_names(&self) -> Result<Option<Vec<String>>, EngineError> {
        let held = self.model()?;
        let card = ModelManifest::parse(&held.manifest_json, Path::new("its manifest")).ok();
        Ok(card.and_then(|card| {
            let mut names = card.tags?;
            names.extend(card.outputs.into_iter().flat_map(|output| output.labels));
            Some(names)
        }))
    }

    fn no_tags(&self) -> Result<EngineError, EngineError> {
        let others = models(models_dir().as_deref())
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.manifest.tags.is_some());
        let others: Vec<String> = others.map(|entry| entry.manifest.name).collect();
        Ok(EngineError::Lacks(
            Lack::Tags,
            format!(
                "the model {} has no tags that words could mean; models with tags: {}: add your music to another --library with one of them",
                self.model()?.name,
                others.join(", ")
            ),
        ))
    }

    /// Logits of the tracks that have them, ascending by id.
    ///
    /// - `names`: [`tag_names`](Self::tag_names)
    /// - `among`: only these tracks; `None`: all
    pub(super) fn tag_logits(
        &self,
        names: &[String],
        among: Option<&[TrackId]>,
    ) -> Result<Vec<(TrackId, Vec<f32>)>, EngineError> {
        let mut logits = self.library().logits(among)?;
        // Another program may have stored others.
        logits.retain(|(_, values)| values.len() == names.len());
        Ok(logits)
    }

    /// Columns for tempo (in octaves), loudness and scales, by name. A track without a value gets the mean; a column without
    /// any value is left out.
    fn sound_columns(&self, ids: &[TrackId]) -> Result<Vec<(String, Array1<f32>)>, EngineError> {
        let known = self.library().descriptors(ids)?;
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

    /// The tracks of `fitting` (`None`: of the library) that are within all bounds.
    pub(super) fn matching_words(
        &self,
        bounds: &[WordBound],
        fitting: Option<TrackSet>,
    ) -> Result<Option<TrackSet>, EngineError> {
        if bounds.is_empty() {
            return Ok(fitting);
        }
        let tags = self.predicted_tags()?;
        let mut fits = vec![true; tags.ids.len()];
        for bound in bounds {
            let WordBound {
                word,
                percentile,
                not,
            } = bound;
            let known = tags.words.meaning(word).cloned();
            // A sentence adds a column for this bound only.
            let (tags, meaning) = match (known, &tags.reading) {
                (Some(meaning), _) => (Cow::Borrowed(&tags), meaning),
                (None, Some(side)) => {
                    let (with, meaning) = tags.with_sentence(side.read(word)?);
                    (Cow::Owned(with), meaning)
                }
                (None, None) => return Err(tags.not_understood(word)),
            };
            for (fits, share) in fits
                .iter_mut()
                .zip(words::strength(tags.standard.view(), &meaning))
            {
                *fits &= (share >= *percentile) != *not;
            }
        }
        let is_in = |id: TrackId| fitting.as_ref().is_none_or(|set| set.contains(id));
        let ids = tags
            .ids
            .iter()
            .zip(fits)
            .filter(|(id, fits)| *fits && is_in(**id));
        Ok(Some(ids.map(|(id, _)| *id).collect()))
    }
}

impl PredictedTags {
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

    /// The strongest tags of these tracks, strongest first, with their percentiles.
    ///
    /// - `most`: number per track at most
    pub fn strongest(&self, ids: &[TrackId], most: usize) -> StrongTags {
        /// Least percentile of a tag that is listed.
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
                // Tags may become equal without their kind, as "style metal" and "metal".
                if named.len() < most && named.iter().all(|(other, _)| *other != name) {
                    named.push((name, shares[tag]));
                }
            }
            Some((*id, named))
        };
        ids.iter().filter_map(strong_words).collect()
    }

    /// The probability that a track has a voice, sung or spoken; `None` if the model has no output for it.
    pub fn sung(&self, id: TrackId) -> Option<f32> {
        let column = self.tags().iter().position(|tag| tag == SUNG)?;
        let row = self.ids.binary_search(&id).ok()?;
        Some(1.0 / (1.0 + (-self.logits[[row, column]] / SUNG_TEMPERATURE).exp()))
    }

    /// A first guess of a track's genre from its tags; `None` if the model lacks the tags for it.
    pub fn first_guess(&self, id: TrackId) -> Option<Guess> {
        let row = self.ids.binary_search(&id).ok()?;
        let genres = DefaultGenres::shipped(&Taxonomy::default());
        if !self.tags().starts_with(genres.tags()) {
            return None;
        }
        let logits = self.logits.row(row).to_vec();
        genres.guess(&logits[..genres.tags().len()]).ok()
    }

    /// Every known word, with the tags that it means.
    pub fn words(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.words
            .known()
            .map(|(word, meaning)| (word, self.names_of(meaning)))
    }

    /// The main word for a synonym: the first word of its line in a table; `None` for the main word itself.
    pub fn first_word(&self, word: &str) -> Option<&str> {
        let first = self.words.meaning(word)?.word.as_str();
        (fold(first) != fold(word)).then_some(first)
    }

    /// Parses a phrase. If the model reads sentences, each part that the known words do not cover becomes a sentence with a
    /// column of its own.
    ///
    /// - returns: a copy with those columns, the terms, and which of them are sentences
    fn understand(&self, phrase: &str) -> Result<Understood<'_>, EngineError> {
        let mut tags = Cow::Borrowed(self);
        let Some(side) = &self.reading else {
            let read = self.words.read(phrase);
            let none = read.terms.iter().map(|_| None).collect();
            return Ok((tags, read, none));
        };
        let mut whole = Phrase::default();
        let mut sentences = Vec::new();
        // A sentence ends only at a comma, a semicolon or a new line.
        for part in phrase.split([',', ';', '\n']) {
            let read = self.words.read(part);
            if read.unknown.is_empty() {
                sentences.extend(read.terms.iter().map(|_| None));
                whole.terms.extend(read.terms);
                continue;
            }
            let (negated, text) = words::split_negation(part);
            let sentence = side.read(text)?;
            let (with, meaning) = tags.with_sentence(sentence.clone());
            tags = Cow::Owned(with);
            sentences.push(Some(sentence));
            whole.terms.push(Term {
                text: text.to_owned(),
                meaning,
                negated,
            });
        }
        Ok((tags, whole, sentences))
    }

    /// A copy with a column of each track's likeness to a sentence, and the word that means this column.
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
        let suggestions = spelt_alike(text, known.iter().copied());
        let suggestions: Vec<String> = suggestions.into_iter().map(str::to_owned).collect();
        let text = format!(
            "nothing of \"{text}\" is understood: {}\"voisin find --words\" lists all {}; {HOW_TO_READ}",
            did_you_mean(&suggestions),
            count(known.len() as u64, "word")
        );
        EngineError::Lacks(Lack::Word, text)
    }

    /// The greatest probability among these rows of the genre that a term names, if it names one.
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
        let mut notes: Vec<String> = absent.collect();
        if self.reading.is_none() && !phrase.unknown.is_empty() {
            notes.push(HOW_TO_READ.to_owned());
        }
        notes
    }

    pub fn names_of(&self, meaning: &WordMeaning) -> Vec<String> {
        meaning
            .columns()
            .map(|(column, sign)| {
                // A sentence's column exists only in the copy made for its phrase.
                let name = self.names.get(column).map_or("sentence", String::as_str);
                let name = name.to_lowercase();
                format!("{sign}{}", name.strip_prefix("sound:").unwrap_or(&name))
            })
            .collect()
    }
}

/// A parsed phrase: the tags with a column for each sentence, the terms, and which are sentences.
type Understood<'a> = (Cow<'a, PredictedTags>, Phrase, Vec<Option<Sentence>>);

/// Notes on the sentences of a phrase: whether any result is similar to them, and that they are read as English.
fn sentence_notes(phrase: &Phrase, found: &[FittingTrack]) -> Vec<String> {
    /// Least likeness of a good match: nearer than to nine of ten captions. Chosen by hand.
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

/// A tag without its kind: "metal", not "style metal".
fn plain(tag: &str) -> String {
    let tag = tag.to_lowercase();
    let kinds = ["style ", "instrument ", "mood "];
    kinds
        .iter()
        .find_map(|kind| tag.strip_prefix(kind))
        .unwrap_or(&tag)
        .to_owned()
}

/// Adds each scale as a word by its name.
fn extend_by_scales(words: &mut WordTable, columns: &[String]) {
    for column in columns {
        let name = column.trim_start_matches("sound:").replace('-', " ");
        words.extend(&format!("{name}\t{column}"));
    }
}
