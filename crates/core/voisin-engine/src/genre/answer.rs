//! The predicted genre of a track, whatever the method.

use std::path::PathBuf;

use super::evidence::Evidence;
use crate::Seed;
use voisin_base::track::TrackId;
use voisin_genre::{Familiar, Genre, GenrePrediction, Guess, LabelCount, UnknownReason, Votes};

/// The predicted genre of a track, with reasons.
#[derive(Debug, Clone)]
pub struct GenreAnswer {
    /// The track of the library, if it is one.
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path.
    pub path: PathBuf,
    /// Whether the user named `path`: then results show this file, not another copy in the library.
    pub is_named_file: bool,
    /// The number of labelled tracks, on which the prediction is based, or which is too small for one.
    pub labelled: LabelCount,
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub familiar: Option<f32>,
    /// The probability before it was lowered for a track unlike the labelled ones, if it was.
    pub before_doubt: Option<f32>,
    /// Why it is unknown regardless of the finding.
    pub rejected: Option<UnknownReason>,
    /// The result of the method.
    pub finding: Finding,
}

/// The result of a method.
#[derive(Debug, Clone)]
pub enum Finding {
    /// None: too few tracks are labelled, and the model has no tags for a guess.
    NoMethod,
    /// A first guess from the model's tags, because too few tracks are labelled.
    FirstGuess(Guess),
    /// The vote of labelled neighbours alone.
    Vote {
        /// Shares and voters.
        votes: Votes,
        /// The voters, nearest first.
        evidence: Vec<Evidence>,
        /// Share of the votes below which the genre is unknown.
        least_share: f32,
    },
    /// The trained head and labelled neighbours together.
    Head {
        /// The combined prediction.
        prediction: Box<GenrePrediction>,
        /// The voters.
        evidence: Vec<Evidence>,
    },
}

impl GenreAnswer {
    pub(super) fn new(seed: Seed, labelled: LabelCount, finding: Finding) -> Self {
        let Seed {
            track,
            path,
            is_named_file,
            ..
        } = seed;
        let familiar = None;
        let before_doubt = None;
        let rejected = None;
        Self {
            track,
            path,
            is_named_file,
            labelled,
            familiar,
            before_doubt,
            rejected,
            finding,
        }
    }

    /// A first guess, if any, for a library with too few labels.
    pub fn guessed(guess: Option<Guess>, seed: Seed, labelled: LabelCount) -> Self {
        Self::new(
            seed,
            labelled,
            guess.map_or(Finding::NoMethod, Finding::FirstGuess),
        )
    }

    /// The genre; `None` if it is unknown.
    pub fn genre(&self) -> Option<&Genre> {
        match &self.finding {
            // First, because a rejected track stays unknown whatever its shares.
            _ if self.rejected.is_some() => None,
            Finding::NoMethod => None,
            Finding::FirstGuess(guess) => guess.genre.as_ref(),
            Finding::Vote { least_share, .. } => {
                self.best().filter(|_| self.probability() >= *least_share)
            }
            Finding::Head { prediction, .. } => prediction.genre.as_ref(),
        }
    }

    /// The most likely genre, even if the result is unknown.
    pub fn best(&self) -> Option<&Genre> {
        match &self.finding {
            Finding::NoMethod => None,
            Finding::FirstGuess(guess) => guess.shares.first().map(|share| &share.genre),
            Finding::Vote { votes, .. } => votes.winner().map(|winner| &winner.genre),
            Finding::Head { prediction, .. } => Some(&prediction.best),
        }
    }

    /// Probability of [`best`](Self::best), or its share of the votes, in [0, 1].
    pub fn probability(&self) -> f32 {
        match &self.finding {
            Finding::NoMethod => 0.0,
            Finding::FirstGuess(guess) => guess.probability,
            Finding::Vote { votes, .. } => votes.winner().map_or(0.0, |winner| winner.share),
            Finding::Head { prediction, .. } => prediction.probability,
        }
    }

    /// Why the genre is unknown; `None` if it is known or no method was available.
    pub fn unknown(&self) -> Option<UnknownReason> {
        match &self.finding {
            Finding::NoMethod => None,
            _ if self.rejected.is_some() => self.rejected,
            Finding::FirstGuess(guess) => guess.genre.is_none().then_some(UnknownReason::Unsure),
            Finding::Vote { .. } => {
                // Without votes there is no uncertain genre.
                (self.best().is_some() && self.genre().is_none()).then_some(UnknownReason::Unsure)
            }
            Finding::Head { prediction, .. } => prediction.unknown,
        }
    }

    /// The nearest genres, if it is unknown.
    pub fn kin(&self) -> Vec<&Genre> {
        match &self.finding {
            _ if self.unknown().is_none() => Vec::new(),
            Finding::Head { prediction, .. } => prediction.kin(),
            _ => self.best().into_iter().collect(),
        }
    }

    /// Why it is unknown, as text.
    fn why_unknown(&self) -> Option<String> {
        let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
        self.unknown().map(|reason| reason.sentence(&kin))
    }

    /// Why its probability was lowered, as text.
    pub fn why_lowered(&self) -> Option<String> {
        let before = self.before_doubt?;
        Some(format!(
            "lowered from {:.0} %: it is less like the labelled tracks than {:.0} % of them are like each other",
            100.0 * before,
            100.0 * (1.0 - self.familiar?)
        ))
    }

    /// The result as text, without the track.
    pub fn summary(&self) -> String {
        let percent = format!("{:.0} %", 100.0 * self.probability());
        let why_unknown = self.why_unknown();
        let genre = match (self.genre(), &why_unknown) {
            (Some(genre), _) => genre.to_string(),
            (None, Some(why)) => why.clone(),
            (None, None) => "unknown".to_owned(),
        };
        match &self.finding {
            Finding::NoMethod => format!("{genre} ({})", self.labelled.shortage()),
            Finding::FirstGuess(_) => {
                format!("{genre} ({percent}, a first guess, with {})", self.labelled)
            }
            Finding::Vote { .. } => format!("{genre} ({percent} likely, from {})", self.labelled),
            Finding::Head { prediction, .. } => {
                let words = why_unknown
                    .map_or_else(|| prediction.summary(), |why| format!("{why} ({percent})"));
                format!("{words}; from {}", self.labelled)
            }
        }
    }

    /// Lowers the probability or makes the result unknown, by how familiar the track is among the labelled ones.
    ///
    /// - `threshold`: the least probability of a known genre, for a head
    pub(super) fn apply_familiarity(&mut self, familiar: Familiar, threshold: f32) {
        let before = self.probability();
        self.familiar = Some(familiar.share);
        // The prediction of a head handles its own threshold; shares of votes are lowered here.
        match &mut self.finding {
            Finding::Head { prediction, .. } => prediction.doubt(familiar, threshold),
            Finding::Vote { votes, .. } => {
                votes
                    .shares
                    .iter_mut()
                    .for_each(|genre| genre.share *= familiar.certainty());
                self.rejected = familiar.unknown();
            }
            _ => {}
        }
        self.before_doubt = (self.probability() < before).then_some(before);
    }

    /// Makes the result unknown.
    pub fn reject(&mut self, reason: UnknownReason) {
        self.rejected = Some(reason);
        if let Finding::Head { prediction, .. } = &mut self.finding {
            prediction.reject(Some(reason));
        }
    }

    /// The voters; empty for a first guess.
    pub fn evidence(&self) -> &[Evidence] {
        match &self.finding {
            Finding::NoMethod | Finding::FirstGuess(_) => &[],
            Finding::Vote { evidence, .. } | Finding::Head { evidence, .. } => evidence,
        }
    }
}
