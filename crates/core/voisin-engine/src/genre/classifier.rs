//! Who answers: chosen once, then asked about every track of a run.

use std::ops::Deref;
use std::sync::Arc;

use super::RETRAIN_SHARE;
use super::answer::{Finding, GenreAnswer};
use super::evidence::Evidence;
use super::first_guess::FirstGuess;
use super::head::GenreHead;
use super::kept_labels::NearLabels;
use super::labels::{GroupBy, LabelSource, LabelledTracks};
use super::lacking::Lacking;
use super::vote::{Voters, vote_options};
use crate::parts::EngineGenres;
use crate::seed::stacked;
use crate::{Embedder, Engine, EngineError, Seed};
use voisin_base::remedy::Remedy;
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_genre::{
    Familiarity, GenreError, GenreModel, LabelCount, Nesting, PredictOptions, Priors, Taxonomy,
    UnknownReason, VoteOptions, Votes, is_steady,
};
use voisin_index::SearchMode;
use voisin_library::{Library, OpenMode};

/// How tracks are classified.
#[derive(Debug, Clone, Default)]
pub struct ClassifyOptions {
    /// Where labels come from; `None`: as [`EngineGenres::label_source`](crate::EngineGenres::label_source) says.
    pub labels: Option<LabelSource>,
    /// Let so many neighbours vote, without the trained head. `None`: the head answers where there is one.
    pub neighbours: Option<usize>,
    /// Only neighbours by other artists vote.
    pub other_artists: bool,
    /// Genres that an answer may be, in any spelling; none: all.
    pub among: Vec<String>,
    /// Answers less sure than this precision asks for are unknown; only a trained head can promise one.
    pub precision: Option<f32>,
    /// Where no head can promise the precision, take it as the least share of the votes instead of refusing.
    pub or_share: bool,
    /// How neighbours are found where no head helps them.
    pub mode: SearchMode,
    /// Every track will be asked about: labels are then read all at once.
    pub all: bool,
}

impl ClassifyOptions {
    /// Whether neighbours are to vote as they do where nobody says otherwise.
    fn is_usual_vote(&self, source: &LabelSource) -> bool {
        let Self {
            neighbours,
            other_artists,
            among,
            precision,
            mode,
            ..
        } = self;
        // The summary that is kept is of tags, of all genres and of the default vote. Any other
        // wish needs the labels themselves.
        *source == LabelSource::Tags
            && neighbours.is_none()
            && !other_artists
            && among.is_empty()
            && precision.is_none()
            && *mode == SearchMode::default()
    }
}

/// News about the classifier.
#[derive(Debug)]
pub enum GenreNews {
    /// Neighbours alone were asked for.
    NeighboursAskedFor,
    /// There is no trained head. The labels are those that were asked for, where they need not be the library's own.
    NoHead(Option<LabelSource>),
    /// No head can promise this precision: it is the least share of the votes.
    ShareForPrecision(f32),
    /// There is one that cannot be used.
    UnusableHead(EngineError),
    /// There is one that was trained on other labels than asked for.
    OtherLabels {
        /// Whose labels were asked for.
        asked: LabelSource,
        /// Whose labels the head knows.
        trained: LabelSource,
    },
    /// Labels changed since the head was trained.
    LabelsChanged {
        /// Share of the labels.
        share: f64,
        /// Its outcome.
        outcome: Retraining,
    },
    /// Too little is labelled: a first guess is all there is.
    FirstGuess(LabelCount),
    /// Too little is labelled, and nobody makes a first guess.
    Nobody {
        /// How much is labelled.
        labelled: LabelCount,
        /// Why the model cannot be asked; `None`: it has not the tags for it.
        problem: Option<EngineError>,
    },
}

/// The outcome for a head whose labels changed.
#[derive(Debug)]
pub enum Retraining {
    /// It was trained again.
    Done,
    /// It was not, since the library cannot be written.
    ReadOnly,
    /// It could not be.
    Failed(EngineError),
}

impl GenreNews {
    /// The next step.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NoHead(labels) => Some(train_on(labels.as_ref())),
            Self::OtherLabels {
                asked: requested, ..
            } => Some(train_on(Some(requested))),
            Self::UnusableHead(error) => error.remedy(),
            Self::FirstGuess(_) | Self::Nobody { .. } => Some(Remedy::GiveGenres),
            _ => None,
        }
    }

    /// Whether something is wrong that the user can mend.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::UnusableHead(_)
                | Self::LabelsChanged {
                    outcome: Retraining::Failed(_),
                    ..
                }
        )
    }
}

impl std::fmt::Display for GenreNews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeighboursAskedFor => f.write_str("the neighbours vote alone, as was asked for"),
            Self::NoHead(_) => f.write_str("no trained head yet: the neighbours vote alone"),
            Self::ShareForPrecision(share) => write!(
                f,
                "without a trained head no precision can be promised: genres with less than {:.0} % of the votes count as unknown",
                100.0 * share
            ),
            Self::UnusableHead(error) => write!(f, "{error}; until then the neighbours vote alone"),
            Self::OtherLabels {
                asked: requested,
                trained,
            } => write!(
                f,
                "the trained head knows labels from {trained}, not from {requested}: the neighbours vote alone"
            ),
            Self::LabelsChanged { share, outcome } => {
                write!(
                    f,
                    "{:.0} % of the labels changed since the head was trained",
                    100.0 * share
                )?;
                match outcome {
                    Retraining::Done => f.write_str(": it was trained again"),
                    Retraining::ReadOnly => {
                        f.write_str(": it answers as it is, since the library is read-only")
                    }
                    Retraining::Failed(error) => {
                        write!(
                            f,
                            ", and it cannot be trained again ({error}): it answers as it is"
                        )
                    }
                }
            }
            Self::FirstGuess(labelled) => {
                write!(
                    f,
                    "a first guess from the model's tags, not your own genres: {}",
                    labelled.shortage()
                )
            }
            Self::Nobody { labelled, problem } => {
                let problem = problem.as_ref().map_or_else(
                    || "it takes a model with the 50 tags of the Million Song Dataset".to_owned(),
                    |error| with_causes(error),
                );
                write!(
                    f,
                    "nobody can answer: {}; no first guess: {problem}",
                    labelled.shortage()
                )
            }
        }
    }
}

/// Who answers.
pub enum Classifier {
    /// Too little is labelled: the model's tags.
    FirstGuess(FirstGuess),
    /// The labelled tracks of the library.
    Labelled(Labelled),
}

/// Labelled tracks, and how they are asked.
pub struct Labelled {
    voters: Voters,
    /// Those with genres that are allowed.
    count: LabelCount,
    voice: Voice,
    /// `None` where only some genres are allowed.
    familiarity: Option<Box<Familiarity>>,
    lacking: Option<Box<Lacking>>,
    other_artists: bool,
}

enum Voice {
    Vote {
        priors: Priors,
        nesting: Nesting,
        options: VoteOptions,
        mode: SearchMode,
        least_share: f32,
        is_limited: bool,
    },
    Head {
        model: Box<GenreModel>,
        options: PredictOptions,
    },
}

impl Classifier {
    /// Reads head and labels, once, and decides who answers.
    ///
    /// - `engine`: `None` where there is no library yet
    /// - `embedder`: makes the model of a library (or the default one) ready, for a first guess
    /// - `tell`: is told what is worth knowing
    ///
    /// # Errors
    /// No answer can be among the genres asked for; a precision or neighbours are asked for that too few labels cannot
    /// give; labels cannot be read; there is neither a library nor a model with tags.
    pub fn open(
        engine: Option<&mut Engine>,
        options: &ClassifyOptions,
        embedder: impl FnOnce(Option<&Library>) -> Result<Arc<Embedder>, EngineError>,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Self, EngineError> {
        let Some(engine) = engine else {
            return Self::first_guess(None, LabelCount::default(), options, embedder, tell);
        };
        match Labelled::open(engine, options, &mut tell)? {
            Ok(labelled) => Ok(Self::Labelled(labelled)),
            Err(too_few) => Self::first_guess(Some(engine), too_few, options, embedder, tell),
        }
    }

    /// Refuses to have answers written into files that too few labels are behind, however sure they are.
    pub fn check_for_writing(&self) -> Result<(), GenreError> {
        GenreError::check_enough_to_write(match self {
            Self::FirstGuess(guess) => guess.labelled(),
            Self::Labelled(labelled) => labelled.count,
        })
    }

    fn first_guess(
        engine: Option<&Engine>,
        labelled: LabelCount,
        options: &ClassifyOptions,
        embedder: impl FnOnce(Option<&Library>) -> Result<Arc<Embedder>, EngineError>,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Self, EngineError> {
        let needs_labels =
            options.neighbours.is_some() || options.precision.is_some() && !options.or_share;
        if needs_labels && labelled.tracks > 0 {
            return Err(GenreError::TooFew(labelled).into());
        }
        if options.neighbours.is_some() {
            return Err(EngineError::NoLabels);
        }
        if needs_labels {
            return Err(no_head(options));
        }
        let among = Taxonomy::default().named(&options.among);
        let mut problem = None;
        let embedder = match embedder(engine.map(Engine::library)) {
            Ok(embedder) => Some(embedder),
            // Without its model a library still answers all other queries; without a library the
            // guess is all there is.
            Err(error @ (EngineError::Model { .. } | EngineError::Encoder(_)))
                if engine.is_some() =>
            {
                problem = Some(error);
                None
            }
            Err(error) => return Err(error),
        };
        let guess = FirstGuess::new(engine, embedder, &among, labelled)?;
        if !guess.is_mute() {
            tell(GenreNews::FirstGuess(labelled));
        } else if engine.is_some() {
            tell(GenreNews::Nobody { labelled, problem });
        } else {
            return Err(EngineError::NoLabels);
        }
        Ok(Self::FirstGuess(guess))
    }
}

/// A precision was asked for, and neighbours alone can promise none.
fn no_head(options: &ClassifyOptions) -> EngineError {
    let next = match options.neighbours {
        Some(_) => Remedy::LeaveOutNeighbours,
        None => train_on(options.labels.as_ref()),
    };
    EngineError::NoHead {
        what: "a precision",
        next,
    }
}

/// - `labels`: those that were asked for, where they need not be the library's own
fn train_on(labels: Option<&LabelSource>) -> Remedy {
    labels.map_or(Remedy::TrainGenres, |labels| {
        Remedy::TrainGenresOn(labels.to_string())
    })
}

impl Labelled {
    /// Reads head and labels, once, and decides who answers; an inner error is how little is labelled, where that is too
    /// little to tell genres by.
    ///
    /// - `tell`: is told what is worth knowing
    ///
    /// # Errors
    /// No answer can be among the genres asked for; a precision is asked for that nobody can promise; labels cannot be
    /// read.
    pub fn open(
        engine: &mut Engine,
        options: &ClassifyOptions,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Result<Self, LabelCount>, EngineError> {
        let head = match engine.genres().genre_head() {
            Ok(head) => head,
            // An empty library has no labels either. Any other fault of the head leaves the vote.
            Err(error @ EngineError::EmptyLibrary { .. }) => return Err(error),
            Err(error) => {
                tell(GenreNews::UnusableHead(error));
                None
            }
        };
        let trained = head.as_ref().map(GenreHead::source);
        let source = options
            .labels
            .clone()
            .unwrap_or_else(|| engine.genres().label_source());
        if head.is_none()
            && !options.all
            && options.is_usual_vote(&source)
            && let Some(near) = engine.near_labels()?
        {
            tell(GenreNews::NoHead(options.labels.clone()));
            return Ok(Ok(Self::near(near, options)));
        }
        let tracks = match engine.genres().labelled_tracks(&source, &GroupBy::Artist) {
            Err(EngineError::NoLabels) => return Ok(Err(LabelCount::default())),
            tracks => tracks?,
        };
        let labelled = tracks.label_count(&[]);
        if !labelled.is_enough() {
            return Ok(Err(labelled));
        }
        let head = match (head, trained) {
            (Some(_), _) if options.neighbours.is_some() => {
                tell(GenreNews::NeighboursAskedFor);
                None
            }
            (Some(_), Some(trained)) if !same_source(&source, &trained) => {
                tell(GenreNews::OtherLabels {
                    asked: source.clone(),
                    trained,
                });
                None
            }
            (Some(head), _) => Some(head),
            (None, _) => {
                tell(GenreNews::NoHead(options.labels.clone()));
                None
            }
        };
        let is_kept = head.is_none() && options.is_usual_vote(&source);
        let labelled = Self::new(engine, head, tracks, options, tell)?;
        if is_kept
            && let (Voters::All(tracks), Some(familiarity)) =
                (&labelled.voters, &labelled.familiarity)
        {
            engine.keep_labels(
                tracks,
                labelled.count,
                familiarity,
                labelled.lacking.as_deref(),
            )?;
        }
        Ok(Ok(labelled))
    }

    /// By what is kept of the labels.
    fn near(mut near: NearLabels, options: &ClassifyOptions) -> Self {
        let familiarity = near.familiarity.take();
        let lacking = near.lacking.take().map(Box::new);
        let voice = Voice::Vote {
            priors: std::mem::take(&mut near.priors),
            nesting: near.nesting.clone(),
            options: vote_options(options.neighbours),
            mode: options.mode,
            least_share: 0.0,
            is_limited: false,
        };
        let count = near.count;
        Self {
            voters: Voters::Near(Box::new(near)),
            count,
            voice,
            familiarity,
            lacking,
            other_artists: false,
        }
    }

    fn new(
        engine: &mut Engine,
        head: Option<GenreHead>,
        mut tracks: LabelledTracks,
        options: &ClassifyOptions,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Self, EngineError> {
        let among = engine.genres().taxonomy()?.named(&options.among);
        let count = tracks.label_count(&among);
        let is_limited = !among.is_empty();
        // Whoever allows some genres only wants the likeliest of these, however unlike the track
        // is.
        let lacking = if is_limited {
            None
        } else {
            Lacking::of(engine, &tracks)?.map(Box::new)
        };
        let voice = if let Some(head) = head {
            let model = up_to_date(engine, head, &tracks, tell)
                .model
                // The head may be some changes of labels behind; the voters beside it are today's.
                .with_voters(&tracks.set())?;
            GenreError::check_among(&among, model.genres().iter())?;
            let options = PredictOptions {
                precision: options.precision,
                among,
                ..PredictOptions::default()
            };
            Voice::Head {
                model: Box::new(model),
                options,
            }
        } else {
            if let Some(precision) = options.precision {
                if !options.or_share {
                    return Err(no_head(options));
                }
                tell(GenreNews::ShareForPrecision(precision));
            }
            // Tracks of other genres then have no label and do not vote, so that the nearest of
            // those allowed do.
            if is_limited {
                tracks.keep_among(&among)?;
            }
            let priors = Priors::from_labels(tracks.labels.iter().map(Vec::as_slice));
            Voice::Vote {
                priors,
                nesting: Nesting::of(&tracks.labels),
                options: vote_options(options.neighbours),
                mode: options.mode,
                least_share: options.precision.unwrap_or(0.0),
                is_limited,
            }
        };
        let other_artists = options.other_artists;
        let voters = Voters::All(tracks);
        let mut labelled = Self {
            voters,
            count,
            voice,
            familiarity: None,
            lacking,
            other_artists,
        };
        // Last, because it asks the finished classifier about labelled tracks.
        if let (false, Voters::All(tracks)) = (is_limited, &labelled.voters) {
            let probabilities = |rows: &[usize]| -> Result<Vec<f32>, EngineError> {
                let seeds = rows.iter().map(|&row| tracks.seed(row)).collect();
                Ok(labelled
                    .ask(engine, seeds)?
                    .iter()
                    .map(GenreAnswer::probability)
                    .collect())
            };
            let familiarity = Familiarity::of(&tracks.set(), probabilities)?;
            labelled.familiarity = Some(Box::new(familiarity));
        }
        Ok(labelled)
    }

    #[cfg(test)]
    pub(super) fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Every track of the library as a seed.
    pub fn seeds(&self, engine: &Engine) -> Result<Vec<Seed>, EngineError> {
        match &self.voters {
            Voters::All(tracks) => Ok(tracks.seeds()),
            Voters::Near(_) => Ok(engine
                .genres()
                .labelled_tracks(&LabelSource::Tags, &GroupBy::Track)?
                .seeds()),
        }
    }

    /// One answer a seed, in their order. A track never votes for itself, nor does another copy of it.
    ///
    /// A track that is unlike the labelled tracks, or never changes, is unknown, unless only some genres are allowed.
    pub fn classify(
        &self,
        engine: &mut Engine,
        seeds: Vec<Seed>,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        let mut ballots = self.voters.ballots(engine)?;
        ballots.read(engine, seeds.iter().filter_map(|seed| seed.track))?;
        let group = |seed: &Seed| {
            // A labelled track is compared without those of its own artist, as it was when
            // familiarity was measured.
            let ballot = ballots.of(seed.track?)?;
            (!ballot.genres.is_empty()).then_some(ballot.group)
        };
        let groups: Vec<Option<usize>> = seeds.iter().map(group).collect();
        // Before `ask`, which takes the seeds.
        let vectors = stacked(&seeds, self.voters.dimension())?;
        // a label is its owner's word that it is music
        let steady = |(seed, group): (&Seed, &Option<usize>)| {
            Ok(group.is_none() && engine.genres().is_steady(seed)?)
        };
        let steady: Vec<bool> = seeds
            .iter()
            .zip(&groups)
            .map(steady)
            .collect::<Result<_, EngineError>>()?;
        let threshold = match &self.voice {
            Voice::Head { model, options } => options.precision.map_or(0.0, |p| model.threshold(p)),
            Voice::Vote { .. } => 0.0,
        };
        let sounds_like = match &self.lacking {
            Some(lacking) => lacking.of_seeds(engine, &seeds)?,
            None => vec![None; seeds.len()],
        };
        let mut answers = self.ask(engine, seeds)?;
        if let Some(familiarity) = &self.familiarity {
            let probabilities: Vec<f32> = answers.iter().map(GenreAnswer::probability).collect();
            let familiar = familiarity.judge(vectors.view(), &groups, &probabilities);
            let judged = answers
                .iter_mut()
                .zip(familiar)
                .zip(sounds_like)
                .zip(steady);
            for (((answer, familiar), sounds_like), is_steady) in judged {
                answer.judge(familiar, sounds_like, threshold);
                if is_steady {
                    answer.reject(UnknownReason::Steady);
                }
            }
        }
        Ok(answers)
    }

    fn ask(&self, engine: &mut Engine, seeds: Vec<Seed>) -> Result<Vec<GenreAnswer>, EngineError> {
        match &self.voice {
            Voice::Head { model, options } => engine.ask_head(
                model,
                &self.voters,
                self.count,
                seeds,
                options,
                self.other_artists,
            ),
            Voice::Vote {
                priors,
                nesting,
                options,
                mode,
                least_share,
                is_limited,
            } => {
                let votes = engine.with_index(|engine| {
                    engine.vote(
                        &seeds,
                        &self.voters,
                        priors,
                        options,
                        self.other_artists,
                        *mode,
                    )
                })?;
                let answer = |(seed, (votes, evidence)): (Seed, (Votes, Vec<Evidence>))| {
                    let genres = nesting.together(&votes.shares);
                    let words = nesting.words(&genres);
                    let finding = Finding::Vote {
                        votes,
                        genres,
                        words,
                        evidence,
                        least_share: *least_share,
                    };
                    GenreAnswer::new(seed, *is_limited, self.count, finding)
                };
                Ok(seeds.into_iter().zip(votes).map(answer).collect())
            }
        }
    }
}

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// Whether a track never changes, as a tone or noise: by its sound, or by the windows that the library has.
    pub fn is_steady(&self, seed: &Seed) -> Result<bool, EngineError> {
        match (seed.is_steady, seed.track) {
            (Some(is_steady), _) => Ok(is_steady),
            (None, Some(track)) => self.is_track_steady(track),
            (None, None) => Ok(false),
        }
    }

    /// Whether a track of the library never changes.
    pub fn is_track_steady(&self, track: TrackId) -> Result<bool, EngineError> {
        Ok(self
            .library
            .windows(track)?
            .is_some_and(|windows| is_steady(windows.vectors.mapv(f32::from).view())))
    }
}

fn same_source(a: &LabelSource, b: &LabelSource) -> bool {
    match (a, b) {
        (LabelSource::File(a), LabelSource::File(b)) => {
            std::path::absolute(a).ok() == std::path::absolute(b).ok()
        }
        _ => a == b,
    }
}

/// The head, trained again if [`RETRAIN_SHARE`] of the labels changed since.
fn up_to_date(
    engine: &Engine,
    head: GenreHead,
    tracks: &LabelledTracks,
    mut tell: impl FnMut(GenreNews),
) -> GenreHead {
    let share = head.provenance.changed_share(&tracks.ids, &tracks.labels);
    if share < RETRAIN_SHARE {
        return head;
    }
    let (head, outcome) = if engine.library().mode() == OpenMode::ReadOnly {
        (head, Retraining::ReadOnly)
    } else {
        match engine.retrain_genre(&head, tracks) {
            Ok(renewed) => (renewed, Retraining::Done),
            Err(error) => (head, Retraining::Failed(error)),
        }
    };
    tell(GenreNews::LabelsChanged { share, outcome });
    head
}
