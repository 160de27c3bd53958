//! Music by words.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::list::{KnownTracks, TrackJson};
use crate::{Engine, EngineError, PhraseAnswer, PredictedTags};
use voisin_explore::words::Term;

/// The documented JSON of `find`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundJson<'a> {
    understood: Vec<TermJson<'a>>,
    notes: &'a [String],
    /// Best first.
    pub tracks: Vec<FittingJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TermJson<'a> {
    word: &'a str,
    denied: bool,
    tags: Vec<String>,
    /// 0 to 1.
    likeliest: Option<f32>,
}

/// All known words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WordsJson<'a> {
    pub words: Vec<KnownWordJson<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct KnownWordJson<'a> {
    pub word: &'a str,
    /// The model's tags that it means.
    pub tags: Vec<String>,
}

/// A track that fits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FittingJson {
    /// Its place, from 1.
    pub rank: usize,
    #[serde(flatten)]
    pub track: TrackJson,
    /// Strength of each term, 0 to 1.
    pub terms: BTreeMap<String, f32>,
    /// Of each sentence, the share of a thousand captions that the track sounds less like, 0 to 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub captions: BTreeMap<String, f32>,
}

/// The name of a term in answers.
pub fn name(term: &Term) -> String {
    if term.negated {
        format!("no {}", term.text)
    } else {
        term.text.clone()
    }
}

/// The name with its meaning, if another word means it: `opera (classical)`.
pub fn name_and_meaning(term: &Term) -> String {
    let meant = &term.meaning.word;
    if *meant == term.text {
        name(term)
    } else {
        format!("{} ({meant})", name(term))
    }
}

impl<'a> FoundJson<'a> {
    /// As programs read it.
    pub fn new(
        engine: &Engine,
        answer: &'a PhraseAnswer,
        predicted: &PredictedTags,
    ) -> Result<Self, EngineError> {
        let ids = || answer.tracks.iter().map(|found| found.track.id);
        let known = KnownTracks::read(engine, ids())?;
        let terms = &answer.phrase.terms;
        let names: Vec<String> = terms.iter().map(name).collect();
        let understood = terms
            .iter()
            .zip(&answer.likeliest)
            .map(|(term, &likeliest)| TermJson {
                word: &term.text,
                denied: term.negated,
                tags: predicted.names_of(&term.meaning),
                likeliest,
            });
        let tracks = answer
            .tracks
            .iter()
            .enumerate()
            .map(|(i, found)| FittingJson {
                rank: i + 1,
                track: known.get(found.track.id),
                terms: names
                    .iter()
                    .cloned()
                    .zip(found.terms.iter().copied())
                    .collect(),
                captions: names
                    .iter()
                    .zip(&found.likeness)
                    // Only sentences have a share.
                    .filter_map(|(name, share)| Some((name.clone(), (*share)?)))
                    .collect(),
            });
        Ok(Self {
            understood: understood.collect(),
            notes: &answer.notes,
            tracks: tracks.collect(),
        })
    }
}
