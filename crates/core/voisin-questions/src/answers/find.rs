//! Music by words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::{PhraseAnswer, PredictedTags};
use voisin_explore::words::Term;

/// The documented JSON of `find`.
#[derive(Debug, Serialize)]
pub struct FoundJson<'a> {
    understood: Vec<TermJson<'a>>,
    unknown: &'a [String],
    notes: &'a [String],
    tracks: Vec<FittingJson>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TermJson<'a> {
    word: &'a str,
    denied: bool,
    tags: Vec<String>,
    /// 0 to 1.
    likeliest: Option<f32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FittingJson {
    rank: usize,
    id: TrackId,
    path: String,
    /// 0 to 1.
    fit: f32,
    /// Strength of each term, 0 to 1.
    terms: BTreeMap<String, f32>,
    artist: Option<String>,
    title: Option<String>,
    genres: Vec<String>,
}

/// How a term of a phrase is called in answers.
pub fn name(term: &Term) -> String {
    if term.negated {
        format!("no {}", term.text)
    } else {
        term.text.clone()
    }
}

/// The same with what is meant, where another word stands for it: `opera (classical)`.
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
    pub fn new(answer: &'a PhraseAnswer, heard: &PredictedTags) -> Self {
        let terms = &answer.phrase.terms;
        let names: Vec<String> = terms.iter().map(name).collect();
        let understood = terms
            .iter()
            .zip(&answer.likeliest)
            .map(|(term, &likeliest)| TermJson {
                word: &term.text,
                denied: term.negated,
                tags: heard.names_of(&term.meaning),
                likeliest,
            });
        let tracks = answer
            .tracks
            .iter()
            .enumerate()
            .map(|(i, found)| FittingJson {
                rank: i + 1,
                id: found.track.id,
                path: lossy(&found.track.path),
                fit: found.fit,
                terms: names
                    .iter()
                    .cloned()
                    .zip(found.terms.iter().copied())
                    .collect(),
                artist: found.track.tags.artist.clone(),
                title: found.track.tags.title.clone(),
                genres: found.track.tags.genres.clone(),
            });
        Self {
            understood: understood.collect(),
            unknown: &answer.phrase.unknown,
            notes: &answer.notes,
            tracks: tracks.collect(),
        }
    }
}
