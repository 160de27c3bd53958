//! Music by words.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::Hit;
use crate::{Engine, EngineError, PhraseAnswer, PredictedTags};
use voisin_explore::words::Term;

/// The documented JSON of `find`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundJson<'a> {
    understood: Vec<TermJson<'a>>,
    notes: &'a [String],
    /// Best first.
    pub tracks: Vec<Hit>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TermJson<'a> {
    word: &'a str,
    denied: bool,
    tags: Vec<String>,
    /// 0 to 1.
    likeliest: Option<f32>,
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
    pub fn new(
        engine: &Engine,
        answer: &'a PhraseAnswer,
        predicted: &PredictedTags,
    ) -> Result<Self, EngineError> {
        let ids = answer.tracks.iter().map(|found| found.track.id);
        let mut tracks = Hit::ranked(engine, ids)?;
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
        for (hit, found) in tracks.iter_mut().zip(&answer.tracks) {
            let strengths = found.terms.iter().copied();
            hit.terms = names.iter().cloned().zip(strengths).collect();
            let captions = names.iter().zip(&found.likeness);
            // Only sentences have a share.
            let captions = captions.filter_map(|(name, share)| Some((name.clone(), (*share)?)));
            hit.captions = captions.collect();
        }
        Ok(Self {
            understood: understood.collect(),
            notes: &answer.notes,
            tracks,
        })
    }
}
