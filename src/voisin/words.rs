//! The model's tags of tracks in words: moods, instruments, voices.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2, Axis, concatenate};

use super::search::AnsweredTracks;
use super::sentences::{ReadingSide, Sentence};
use super::{Engine, EngineError, Lack, LibrarySpace};
use voisin_base::text::{count, did_you_mean, fold, spelt_alike};
use voisin_base::track::TrackId;
use voisin_encoder::{ModelManifest, models, models_dir};
use voisin_explore::words::{self, Phrase, Term, WordMeaning, WordTable};
use voisin_genre::{DefaultGenres, Genre, Taxonomy};
use voisin_library::{StoredModel, Track, TrackFilter, TrackSet, WordBound};

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
/// The same of an instrument, of which models are much less sure: drums in rock have 0.2.
const LIKELY_INSTRUMENT: f32 = 0.1;

/// The model's tags of all tracks of a library.
#[derive(Debug, Clone)]
pub struct PredictedTags {
    /// The tracks; ascending.
    pub ids: Vec<TrackId>,
    /// The model's tags, then genres that are guessed from them, then tempo, loudness and scales.
    names: Vec<String>,
    /// How many of the names are the model's tags.
    tags: usize,
    /// `[tracks, names]`: logits, logarithms of probabilities, and measurements.
    values: Array2<f32>,
    /// The same, each column of mean 0 and variance 1.
    standard: Array2<f32>,
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
    /// For each term that names a genre or an instrument, its greatest probability among the tracks that pass the filter.
    pub likeliest: Vec<Option<f32>>,
    /// Notes for the user: that nothing fits well.
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
        let ids: Vec<TrackId> = logits.iter().map(|(id, _)| *id).collect();
        let (genres, guessed) = guessed(&names, &logits)?;
        let (sounds, measured) = self.measured(&ids)?;
        let plain = logits.into_iter().flat_map(|(_, values)| values).collect();
        let plain = Array2::from_shape_vec((ids.len(), tags), plain).expect("of one length");
        names.extend(genres);
        names.extend(sounds.iter().map(|sound| format!("sound:{sound}")));
        let mut words = WordTable::new(&names);
        words.extend(SHIPPED);
        for sound in &sounds {
            words.extend(&format!("{}\tsound:{sound}", sound.replace('-', " ")));
        }
        let values = concatenate![Axis(1), plain, guessed, measured];
        Ok(PredictedTags {
            ids,
            names,
            tags,
            standard: words::standardised(values.clone()),
            values,
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
    /// A word of the phrase is not known.
    pub fn find(
        &self,
        tags: &PredictedTags,
        phrase: &str,
        filter: &TrackFilter,
        limit: usize,
    ) -> Result<PhraseAnswer, EngineError> {
        let (tags, read, sentences) = tags.understand(phrase)?;
        if read.terms.is_empty() {
            return Err(tags.not_understood(phrase));
        }
        // None is left out, since it may deny the others: "isn't slow", "drum-free".
        if !read.unknown.is_empty() {
            return Err(tags.not_understood(&read.unknown.join(" ")));
        }
        let allowed = self.matching(filter)?;
        let strength = |term: &Term| words::strength(tags.standard.view(), &term.meaning);
        let terms = read.terms.iter();
        let strengths: Vec<(Vec<f32>, bool)> =
            terms.map(|term| (strength(term), term.negated)).collect();
        let fits = words::fit(&strengths);
        let is_allowed = |id| allowed.as_ref().is_none_or(|set| set.contains(id));
        let mut rows: Vec<usize> = (0..tags.ids.len())
            .filter(|&row| is_allowed(tags.ids[row]))
            .collect();
        let terms = read.terms.iter();
        let likeliest: Vec<_> = terms.map(|term| tags.likeliest(term, &rows)).collect();
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
        let mut notes = absent(&read, &likeliest);
        notes.extend(sentence_notes(&read, &tracks));
        Ok(PhraseAnswer {
            tracks,
            phrase: read,
            likeliest: likeliest.iter().map(|one| Some((*one)?.0)).collect(),
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

    /// Tempo (in octaves), loudness and scales that any of these tracks has, by name, `[tracks, names]`. A track without a
    /// value gets the mean.
    fn measured(&self, ids: &[TrackId]) -> Result<(Vec<String>, Array2<f32>), EngineError> {
        let known = self.library().descriptors(ids)?;
        let mut columns: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
        let rows = ids.iter().enumerate();
        for (row, known) in rows.filter_map(|(row, id)| Some((row, known.get(id)?))) {
            let tempo = known.tempo.filter(|tempo| *tempo > 0.0).map(f64::log2);
            let scales = known.scales.iter();
            let scales = scales.map(|(name, scale)| (name.as_str(), Some(scale.value)));
            for (name, value) in scales.chain([("tempo", tempo), ("loudness", known.loudness)]) {
                if value.is_some() {
                    columns.entry(name).or_insert_with(|| vec![None; ids.len()])[row] = value;
                }
            }
        }
        let mut table = Array2::zeros((ids.len(), columns.len()));
        for (mut to, values) in table.columns_mut().into_iter().zip(columns.values()) {
            let there = values.iter().flatten();
            let mean = there.clone().sum::<f64>() / there.count() as f64;
            to.iter_mut()
                .zip(values)
                .for_each(|(to, value)| *to = value.unwrap_or(mean) as f32);
        }
        let names = columns.into_keys().map(str::to_owned).collect();
        Ok((names, table))
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
        let is_in = |id: &TrackId| fitting.as_ref().is_none_or(|set| set.contains(*id));
        let ids = tags.ids.into_iter().zip(fits).filter(|(_, fits)| *fits);
        Ok(Some(ids.map(|(id, _)| id).filter(is_in).collect()))
    }
}

impl PredictedTags {
    fn tags(&self) -> &[String] {
        &self.names[..self.tags]
    }

    /// The strongest tags of these tracks, strongest first, with their percentiles.
    ///
    /// - `most`: number per track at most
    pub fn strongest(&self, ids: &[TrackId], most: usize) -> StrongTags {
        /// Least percentile of a tag that is listed.
        const LEAST: f32 = 0.75;
        // Standardising does not change an order, so that percentiles are those of the logits.
        let mut all = Array2::zeros((self.ids.len(), self.tags));
        for (mut to, from) in all.columns_mut().into_iter().zip(self.standard.columns()) {
            to.assign(&Array1::from(words::percentiles(&from.to_vec())));
        }
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
        Some(logistic(self.values[[row, column]] / SUNG_TEMPERATURE))
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
        let likeness = sentence.cosines.insert_axis(Axis(1));
        with.standard
            .append(Axis(1), words::standardised(likeness).view())
            .expect("a sentence has a number for each track");
        (with, WordMeaning::of_column(sentence.text, column))
    }

    fn not_understood(&self, text: &str) -> EngineError {
        let known: Vec<&str> = self.words.known().map(|(word, _)| word).collect();
        let suggestions = spelt_alike(text, known.iter().copied());
        let suggestions: Vec<String> = suggestions.into_iter().map(str::to_owned).collect();
        let text = format!(
            "\"{text}\" is not understood: {}\"voisin find --words\" lists all {}; {HOW_TO_READ}",
            did_you_mean(&suggestions),
            count(known.len() as u64, "word")
        );
        EngineError::Lacks(Lack::Word, text)
    }

    /// The greatest probability among these rows of the genre or the instrument that a term names, if it names one, and from
    /// where on it is likely.
    fn likeliest(&self, term: &Term, rows: &[usize]) -> Option<(f32, f32)> {
        let most = |column: usize| {
            let values = rows.iter().map(|&row| self.values[[row, column]]);
            values.max_by(f32::total_cmp)
        };
        let place = |name: &str| {
            let mut names = self.names.iter();
            names.position(|known| known.eq_ignore_ascii_case(name))
        };
        let genre = Taxonomy::default().genre(&term.meaning.word);
        if let Some(column) = genre.and_then(|genre| place(&format!("genre:{genre}"))) {
            return Some((most(column)?.exp(), LIKELY));
        }
        let wanted = term.meaning.columns().filter(|(_, sign)| sign.is_empty());
        let heard = wanted.filter_map(|(column, _)| {
            let name = self.names[column].as_str();
            if name == SUNG {
                return Some((logistic(most(column)? / SUNG_TEMPERATURE), LIKELY));
            }
            let is_heard = name.starts_with("instrument ") || VOICES.contains(&name);
            // The guitar may be a tag twice, and the one among the instruments is surer.
            let column = place(&format!("instrument {name}")).or(is_heard.then_some(column))?;
            Some((logistic(most(column)?), LIKELY_INSTRUMENT))
        });
        heard.max_by(|a, b| a.0.total_cmp(&b.0))
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

fn logistic(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// That nothing is likely to be what a term names.
fn absent(phrase: &Phrase, likeliest: &[Option<(f32, f32)>]) -> Vec<String> {
    let terms = phrase.terms.iter().zip(likeliest);
    let wanted = terms.filter(|(term, _)| !term.negated);
    let absent = wanted.filter_map(|(term, likeliest)| {
        let (most, _) = likeliest.filter(|(most, likely)| most < likely)?;
        let word = &term.meaning.word;
        let percent = 100.0 * most;
        Some(format!(
            "nothing here is likely to be {word} ({percent:.0} % at most): these are only the most {word}-like"
        ))
    });
    absent.collect()
}

/// Notes on the sentences of a phrase: whether any result is similar to them, and that they are read as English.
fn sentence_notes(phrase: &Phrase, found: &[FittingTrack]) -> Vec<String> {
    /// Least likeness of a good match: nearer than to nine of ten captions. Chosen by hand.
    const LEAST: f32 = 0.9;
    let mut notes = Vec::new();
    for (at, term) in phrase.terms.iter().enumerate() {
        let likeness = found.iter().filter_map(|one| one.likeness[at]);
        let Some(most) = likeness.max_by(f32::total_cmp) else {
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
    let first = found.first();
    if first.is_some_and(|one| one.likeness.iter().any(Option::is_some)) {
        notes.push("sentences are understood in English".to_owned());
    }
    notes
}

/// The logarithm of the probability of each genre by the model's first guess, `[tracks, genres]`; no genres if the model lacks
/// its tags.
fn guessed(
    names: &[String],
    logits: &[(TrackId, Vec<f32>)],
) -> Result<(Vec<String>, Array2<f32>), EngineError> {
    let guess = DefaultGenres::shipped(&Taxonomy::default());
    let mut genres: Vec<Genre> = Vec::new();
    // The tags of the first guess come first.
    if names.starts_with(guess.tags()) {
        genres.extend(guess.genres().map(|(genre, _)| genre.clone()));
    }
    let mut table = Array2::zeros((logits.len(), genres.len()));
    for (mut row, (_, values)) in table.rows_mut().into_iter().zip(logits) {
        if genres.is_empty() {
            break;
        }
        for share in guess.guess(&values[..guess.tags().len()])?.shares {
            let column = genres.iter().position(|genre| *genre == share.genre);
            // The floor avoids the logarithm of zero.
            row[column.expect("a genre of the guess")] = share.probability.max(1e-9).ln();
        }
    }
    let names = genres.iter().map(|genre| format!("genre:{genre}"));
    Ok((names.collect(), table))
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
