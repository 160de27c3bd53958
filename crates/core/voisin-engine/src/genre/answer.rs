//! The answer to "which genre is this?", whoever gives it.

use std::path::PathBuf;

use super::evidence::Evidence;
use crate::Seed;
use voisin_base::track::TrackId;
use voisin_genre::{
    Familiar, Genre, GenrePrediction, GenreShare, Guess, LabelCount, UnknownReason, Votes,
};

/// The genre of one track, with reasons.
#[derive(Debug, Clone)]
pub struct GenreAnswer {
    /// The track of the library, if it is one.
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path.
    pub path: PathBuf,
    /// Whether `path` is what was named: then it alone stands for the track.
    pub is_named_file: bool,
    /// Whether only some genres were allowed.
    pub is_limited: bool,
    /// How much of the library is labelled (with the genres that were allowed): what the answer rests on, or why it is
    /// none of the library's own.
    pub labelled: LabelCount,
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub familiar: Option<f32>,
    /// The genre that it sounds like, by the first guess, where the labels have it neither by name nor by kin, and how
    /// likely that is.
    pub sounds_like: Option<GenreShare>,
    /// Its probability before it was lowered for being unlike the labelled tracks, where it was.
    pub before_doubt: Option<f32>,
    /// Why it is unknown whatever the voices say.
    pub rejected: Option<UnknownReason>,
    /// The finding.
    pub finding: Finding,
}

/// A finding, by its source.
#[derive(Debug, Clone)]
pub enum Finding {
    /// Too few tracks of the library are labelled, and the model has no tags to guess from.
    Nobody,
    /// A first guess from the model's tags: too few tracks of the library are labelled.
    FirstGuess(Guess),
    /// The vote of labelled neighbours alone.
    Vote {
        /// Shares and voters.
        votes: Votes,
        /// The winner, then the genres that a track most likely has along with it.
        genres: Vec<Genre>,
        /// These in words.
        words: String,
        /// The voters, nearest first.
        evidence: Vec<Evidence>,
        /// Share of the votes below which the answer is unknown.
        least_share: f32,
    },
    /// The trained head and labelled neighbours together.
    Head {
        /// The joined answer.
        prediction: Box<GenrePrediction>,
        /// The voters.
        evidence: Vec<Evidence>,
    },
}

impl GenreAnswer {
    pub(super) fn new(
        seed: Seed,
        is_limited: bool,
        labelled: LabelCount,
        finding: Finding,
    ) -> Self {
        let Seed {
            track,
            path,
            is_named_file,
            ..
        } = seed;
        let familiar = None;
        let sounds_like = None;
        let before_doubt = None;
        let rejected = None;
        Self {
            track,
            path,
            is_named_file,
            is_limited,
            labelled,
            familiar,
            sounds_like,
            before_doubt,
            rejected,
            finding,
        }
    }

    /// A first guess, or none, where too little is labelled.
    pub fn guessed(guess: Option<Guess>, seed: Seed, labelled: LabelCount) -> Self {
        Self::new(
            seed,
            false,
            labelled,
            guess.map_or(Finding::Nobody, Finding::FirstGuess),
        )
    }

    /// The answer; `None` where it is unknown, or nobody could vote.
    pub fn genre(&self) -> Option<&Genre> {
        match &self.finding {
            // Before all findings: what was rejected stays unknown, whatever its shares.
            _ if self.rejected.is_some() => None,
            Finding::Nobody => None,
            Finding::FirstGuess(guess) => guess.genre.as_ref(),
            Finding::Vote { least_share, .. } => {
                self.best().filter(|_| self.probability() >= *least_share)
            }
            Finding::Head { prediction, .. } => prediction.genre.as_ref(),
        }
    }

    /// The answer, then the genres that the track most likely has along with it; empty where it is unknown.
    pub fn genres(&self) -> Vec<&Genre> {
        match &self.finding {
            Finding::Vote { genres, .. } if self.genre().is_some() => genres.iter().collect(),
            Finding::Head { prediction, .. } => prediction.genres.iter().collect(),
            _ => self.genre().into_iter().collect(),
        }
    }

    /// The likeliest genre, also where the answer is unknown.
    pub fn best(&self) -> Option<&Genre> {
        match &self.finding {
            Finding::Nobody => None,
            Finding::FirstGuess(guess) => guess.shares.first().map(|share| &share.genre),
            Finding::Vote { votes, .. } => votes.winner().map(|winner| &winner.genre),
            Finding::Head { prediction, .. } => Some(&prediction.best),
        }
    }

    /// Probability of [`best`](Self::best), or its share of the votes, in [0, 1].
    pub fn probability(&self) -> f32 {
        match &self.finding {
            Finding::Nobody => 0.0,
            Finding::FirstGuess(guess) => guess.probability,
            Finding::Vote { votes, .. } => votes.winner().map_or(0.0, |winner| winner.share),
            Finding::Head { prediction, .. } => prediction.probability,
        }
    }

    /// Why the answer is unknown, where somebody could have answered.
    pub fn unknown(&self) -> Option<UnknownReason> {
        match &self.finding {
            Finding::Nobody => None,
            _ if self.rejected.is_some() => self.rejected,
            Finding::FirstGuess(guess) => guess.genre.is_none().then_some(UnknownReason::Unsure),
            Finding::Vote { .. } => {
                // Where nobody voted there is nothing to be unsure of.
                (self.best().is_some() && self.genre().is_none()).then_some(UnknownReason::Unsure)
            }
            Finding::Head { prediction, .. } => prediction.unknown,
        }
    }

    /// The genres that it is nearest to, where the answer is unknown.
    pub fn kin(&self) -> Vec<&Genre> {
        match &self.finding {
            _ if self.unknown().is_none() => Vec::new(),
            Finding::Head { prediction, .. } => prediction.kin(),
            _ => self.best().into_iter().collect(),
        }
    }

    /// Why it is unknown, in words.
    fn why_unknown(&self) -> Option<String> {
        let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
        let sounds_like = self.sounds_like.as_ref().map(|share| &share.genre);
        self.unknown()
            .map(|reason| reason.sentence(&kin, sounds_like))
    }

    /// Why its probability is lower than the voices' own, in words.
    pub fn why_lowered(&self) -> Option<String> {
        let before = self.before_doubt?;
        Some(format!(
            "lowered from {:.0} %: it is less like the labelled tracks than {:.0} % of them are like each other",
            100.0 * before,
            100.0 * (1.0 - self.familiar?)
        ))
    }

    /// The answer in words, without the track.
    pub fn summary(&self) -> String {
        let percent = format!("{:.0} %", 100.0 * self.probability());
        let limit = if self.is_limited {
            "of the genres allowed, "
        } else {
            ""
        };
        let why_unknown = self.why_unknown();
        let genre = match (self.genre(), &why_unknown) {
            (Some(genre), _) => genre.to_string(),
            (None, Some(why)) => why.clone(),
            (None, None) => "unknown".to_owned(),
        };
        match &self.finding {
            Finding::Nobody => format!("{genre} ({})", self.labelled.shortage()),
            Finding::FirstGuess(_) => {
                format!(
                    "{limit}{genre} ({percent}, a first guess, with {})",
                    self.labelled
                )
            }
            Finding::Vote { words, .. } => {
                let genre = if self.genre().is_some() {
                    words
                } else {
                    &genre
                };
                format!("{limit}{genre} ({percent} likely, from {})", self.labelled)
            }
            Finding::Head { prediction, .. } => {
                let words = why_unknown
                    .map_or_else(|| prediction.summary(), |why| format!("{why} ({percent})"));
                format!("{limit}{words}; from {}", self.labelled)
            }
        }
    }

    /// Calls it unknown, or lowers its probability, by how familiar it is among the labelled tracks.
    ///
    /// - `sounds_like`: the genre that it sounds like and that the labels lack
    /// - `threshold`: the least probability of a head that is an answer
    pub(super) fn judge(
        &mut self,
        familiar: Familiar,
        sounds_like: Option<GenreShare>,
        threshold: f32,
    ) {
        let before = self.probability();
        self.familiar = Some(familiar.share);
        self.sounds_like = sounds_like;
        // The prediction of a head lowers itself by its own threshold; shares of votes are lowered
        // here.
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
        // Only an answer is rejected for this: an unknown that is also lacking keeps its own
        // reason.
        if self.sounds_like.is_some() && self.genre().is_some() {
            self.reject(UnknownReason::Lacking);
        }
    }

    /// Calls it unknown, whatever the voices say.
    pub fn reject(&mut self, reason: UnknownReason) {
        self.rejected = Some(reason);
        if let Finding::Head { prediction, .. } = &mut self.finding {
            prediction.reject(Some(reason));
        }
    }

    /// Leaves out all voters but the first few.
    pub fn keep_voters(&mut self, most: usize) {
        match &mut self.finding {
            Finding::Nobody | Finding::FirstGuess(_) => {}
            Finding::Vote { evidence, .. } | Finding::Head { evidence, .. } => {
                evidence.truncate(most);
            }
        }
    }

    /// Who voted; empty for a first guess.
    pub fn evidence(&self) -> &[Evidence] {
        match &self.finding {
            Finding::Nobody | Finding::FirstGuess(_) => &[],
            Finding::Vote { evidence, .. } | Finding::Head { evidence, .. } => evidence,
        }
    }
}
