//! Chooses the method of classification once per run, and classifies tracks with it.

use std::ops::Deref;
use std::sync::Arc;

use super::RETRAIN_SHARE;
use super::answer::{Finding, GenreAnswer};
use super::evidence::Evidence;
use super::first_guess::FirstGuess;
use super::head::GenreHead;
use super::kept_labels::NearLabels;
use super::labels::{GroupBy, LabelSource, LabelledTracks};
use super::vote::{Voters, vote_options};
use crate::parts::EngineGenres;
use crate::seed::stacked;
use crate::{Embedder, Engine, EngineError, Seed};
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_genre::{
    Familiarity, GIVE_GENRES, GenreError, GenreModel, LabelCount, PredictOptions, Priors,
    UnknownReason, VoteOptions, Votes,
};
use voisin_library::{Library, OpenMode};

/// How tracks are classified.
#[derive(Debug, Clone, Default)]
pub struct ClassifyOptions {
    /// Where labels come from; `None`: [`EngineGenres::label_source`](crate::EngineGenres::label_source).
    pub labels: Option<LabelSource>,
    /// The precision of answers; less certain ones become unknown. Needs a trained head.
    pub precision: Option<f32>,
    /// Without a head, take the precision as the least share of the votes instead of failing.
    pub or_share: bool,
    /// Without a head, compare with every track.
    pub exact: bool,
    /// All tracks will be classified, so that all labels are read at once.
    pub all: bool,
}

impl ClassifyOptions {
    /// Whether the vote has default settings.
    fn is_usual_vote(&self, source: &LabelSource) -> bool {
        // The stored summary is for tags and the default vote. Other settings need the labels
        // themselves.
        *source == LabelSource::Tags && self.precision.is_none() && !self.exact
    }
}

/// Events of the classifier.
#[derive(Debug)]
pub enum GenreNews {
    /// There is no trained head. With the requested source of labels, if any.
    NoHead(Option<LabelSource>),
    /// There is no head for this precision, which is taken as the least share of the votes.
    ShareForPrecision(f32),
    /// The trained head cannot be used.
    UnusableHead(EngineError),
    /// The head was trained on other labels than requested.
    OtherLabels {
        /// The requested labels.
        requested: LabelSource,
        /// The labels that the head was trained on.
        trained: LabelSource,
    },
    /// Labels changed since the head was trained.
    LabelsChanged {
        /// Share of the labels that changed.
        share: f64,
        /// Whether the head was trained again.
        outcome: Retraining,
    },
    /// Too few tracks are labelled, so that only a first guess is made.
    FirstGuess(LabelCount),
    /// Too few tracks are labelled, and no first guess can be made.
    NoMethod {
        /// The number of labelled tracks.
        labelled: LabelCount,
        /// Why the model cannot be used; `None`: it lacks the tags.
        problem: Option<EngineError>,
    },
}

/// The result for a head whose labels changed.
#[derive(Debug)]
pub enum Retraining {
    /// It was trained again.
    Done,
    /// It was not trained again, because the library is read-only.
    ReadOnly,
    /// Training failed.
    Failed(EngineError),
}

impl GenreNews {
    /// Whether it is a problem that the user can fix.
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
            Self::NoHead(labels) => write!(
                f,
                "no trained head yet: the neighbours vote alone; {}",
                train_on(labels.as_ref())
            ),
            Self::ShareForPrecision(share) => write!(
                f,
                "without a trained head no precision can be guaranteed: genres with less than {:.0} % of the votes count as unknown",
                100.0 * share
            ),
            Self::UnusableHead(error) => write!(f, "{error}; until then the neighbours vote alone"),
            Self::OtherLabels { requested, trained } => write!(
                f,
                "the head was trained on labels from {trained}, not from {requested}: the neighbours vote alone; {}",
                train_on(Some(requested))
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
                        f.write_str(": it is used unchanged, since the library is read-only")
                    }
                    Retraining::Failed(error) => {
                        write!(
                            f,
                            ", and it cannot be trained again ({error}): it is used unchanged"
                        )
                    }
                }
            }
            Self::FirstGuess(labelled) => {
                write!(
                    f,
                    "a first guess from the model's tags, not your own genres: {}; {GIVE_GENRES}",
                    labelled.shortage()
                )
            }
            Self::NoMethod { labelled, problem } => {
                let problem = problem.as_ref().map_or_else(
                    || "it needs a model with the 50 tags of the Million Song Dataset".to_owned(),
                    |error| with_causes(error),
                );
                write!(
                    f,
                    "no genre can be predicted: {}; no first guess: {problem}; {GIVE_GENRES}",
                    labelled.shortage()
                )
            }
        }
    }
}

/// A method of classification.
pub enum Classifier {
    /// By the model's tags, since too few tracks are labelled.
    FirstGuess(FirstGuess),
    /// By the labelled tracks of the library.
    Labelled(Labelled),
}

/// A classifier based on labelled tracks.
pub struct Labelled {
    voters: Voters,
    count: LabelCount,
    method: GenreMethod,
    /// `None` until it is measured.
    familiarity: Option<Box<Familiarity>>,
}

enum GenreMethod {
    Vote {
        priors: Priors,
        options: VoteOptions,
        exact: bool,
        least_share: f32,
    },
    Head {
        model: Box<GenreModel>,
        options: PredictOptions,
    },
}

impl Classifier {
    /// Reads head and labels, and chooses the method.
    ///
    /// - `engine`: `None` if there is no library yet
    /// - `embedder`: loads the model of a library (or the default one), for a first guess
    /// - `tell`: called with events
    ///
    /// # Errors
    /// There are too few labels for the requested precision; labels cannot be read; there is neither a library nor a
    /// model with tags.
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

    /// Checks that there are enough labels for results to be written into files.
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
        if options.precision.is_some() && !options.or_share {
            return Err(if labelled.tracks > 0 {
                GenreError::TooFew(labelled).into()
            } else {
                no_head(options)
            });
        }
        let mut problem = None;
        let embedder = match embedder(engine.map(Engine::library)) {
            Ok(embedder) => Some(embedder),
            // Without its model a library can still be used for other queries; without a library
            // there is only the guess.
            Err(error @ (EngineError::Model { .. } | EngineError::Encoder(_)))
                if engine.is_some() =>
            {
                problem = Some(error);
                None
            }
            Err(error) => return Err(error),
        };
        let guess = FirstGuess::new(engine, embedder, labelled)?;
        if guess.is_possible() {
            tell(GenreNews::FirstGuess(labelled));
        } else if engine.is_some() {
            tell(GenreNews::NoMethod { labelled, problem });
        } else {
            return Err(EngineError::NoLabels);
        }
        Ok(Self::FirstGuess(guess))
    }
}

/// The error for a precision without a head.
fn no_head(options: &ClassifyOptions) -> EngineError {
    EngineError::NoHead {
        what: "a precision",
        next: train_on(options.labels.as_ref()),
    }
}

/// - `labels`: the requested source, if any
fn train_on(labels: Option<&LabelSource>) -> String {
    let from = labels.map_or(String::new(), |labels| format!(" --label-from {labels}"));
    format!("\"voisin train{from}\" trains one")
}

impl Labelled {
    /// Reads head and labels, and chooses the method. The inner error is the number of labels if there are too few.
    ///
    /// - `tell`: called with events
    ///
    /// # Errors
    /// A precision is requested without a head; labels cannot be read.
    pub fn open(
        engine: &mut Engine,
        options: &ClassifyOptions,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Result<Self, LabelCount>, EngineError> {
        let head = match engine.genres().genre_head() {
            Ok(head) => head,
            // An empty library has no labels either. After any other error of the head the neighbours
            // vote.
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
        let tracks = match engine.genres().labelled_tracks(&source, GroupBy::Artist) {
            Err(EngineError::NoLabels) => return Ok(Err(LabelCount::default())),
            tracks => tracks?,
        };
        let labelled = tracks.label_count();
        if !labelled.is_enough() {
            return Ok(Err(labelled));
        }
        let head = match (head, trained) {
            (Some(_), Some(trained)) if !same_source(&source, &trained) => {
                tell(GenreNews::OtherLabels {
                    requested: source.clone(),
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
            engine.keep_labels(tracks, labelled.count, familiarity)?;
        }
        Ok(Ok(labelled))
    }

    /// A vote based on the stored summary of the labels.
    fn near(mut near: NearLabels, options: &ClassifyOptions) -> Self {
        let familiarity = near.familiarity.take();
        let method = GenreMethod::Vote {
            priors: std::mem::take(&mut near.priors),
            options: vote_options(),
            exact: options.exact,
            least_share: 0.0,
        };
        let count = near.count;
        Self {
            voters: Voters::Near(Box::new(near)),
            count,
            method,
            familiarity,
        }
    }

    fn new(
        engine: &mut Engine,
        head: Option<GenreHead>,
        tracks: LabelledTracks,
        options: &ClassifyOptions,
        mut tell: impl FnMut(GenreNews),
    ) -> Result<Self, EngineError> {
        let count = tracks.label_count();
        let method = if let Some(head) = head {
            let model = up_to_date(engine, head, &tracks, tell)
                .model
                // The head may be older than some labels; the voters are current.
                .with_voters(&tracks.set())?;
            let options = PredictOptions {
                precision: options.precision,
                ..PredictOptions::default()
            };
            GenreMethod::Head {
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
            let priors = Priors::from_labels(tracks.labels.iter().map(Vec::as_slice));
            GenreMethod::Vote {
                priors,
                options: vote_options(),
                exact: options.exact,
                least_share: options.precision.unwrap_or(0.0),
            }
        };
        let voters = Voters::All(tracks);
        let mut labelled = Self {
            voters,
            count,
            method,
            familiarity: None,
        };
        // Last, because the finished classifier predicts labelled tracks.
        if let Voters::All(tracks) = &labelled.voters {
            let probabilities = |rows: &[usize]| -> Result<Vec<f32>, EngineError> {
                let seeds = rows.iter().map(|&row| tracks.seed(row)).collect();
                Ok(labelled
                    .predict(engine, seeds)?
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
                .labelled_tracks(&LabelSource::Tags, GroupBy::Track)?
                .seeds()),
        }
    }

    /// Classifies seeds, in their order. Neither a track nor its copies vote for itself.
    ///
    /// A track that is unlike the labelled tracks or never changes is unknown.
    pub fn classify(
        &self,
        engine: &mut Engine,
        seeds: Vec<Seed>,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        let mut ballots = self.voters.ballots(engine)?;
        ballots.read(engine, seeds.iter().filter_map(|seed| seed.track))?;
        let group = |seed: &Seed| {
            // A labelled track is compared without those by the same artist, as in the measurement of
            // familiarity.
            let ballot = ballots.of(seed.track?)?;
            (!ballot.genres.is_empty()).then_some(ballot.group)
        };
        let groups: Vec<Option<usize>> = seeds.iter().map(group).collect();
        // Before `predict`, which consumes the seeds.
        let vectors = stacked(&seeds, self.voters.dimension())?;
        // A labelled track is music, even if it never changes.
        let steady = |(seed, group): (&Seed, &Option<usize>)| {
            Ok(group.is_none() && engine.genres().is_steady(seed)?)
        };
        let steady: Vec<bool> = seeds
            .iter()
            .zip(&groups)
            .map(steady)
            .collect::<Result<_, EngineError>>()?;
        let threshold = match &self.method {
            GenreMethod::Head { model, options } => {
                options.precision.map_or(0.0, |p| model.threshold(p))
            }
            GenreMethod::Vote { .. } => 0.0,
        };
        let mut answers = self.predict(engine, seeds)?;
        if let Some(familiarity) = &self.familiarity {
            let probabilities: Vec<f32> = answers.iter().map(GenreAnswer::probability).collect();
            let familiar = familiarity.assess(vectors.view(), &groups, &probabilities);
            for ((answer, familiar), is_steady) in answers.iter_mut().zip(familiar).zip(steady) {
                answer.apply_familiarity(familiar, threshold);
                if is_steady {
                    answer.reject(UnknownReason::Steady);
                }
            }
        }
        Ok(answers)
    }

    fn predict(
        &self,
        engine: &mut Engine,
        seeds: Vec<Seed>,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        match &self.method {
            GenreMethod::Head { model, options } => {
                engine.predict_by_head(model, &self.voters, self.count, seeds, options)
            }
            GenreMethod::Vote {
                priors,
                options,
                exact,
                least_share,
            } => {
                engine.space()?;
                let votes = engine.vote(&seeds, &self.voters, priors, options, *exact)?;
                let answer = |(seed, (votes, evidence)): (Seed, (Votes, Vec<Evidence>))| {
                    let finding = Finding::Vote {
                        votes,
                        evidence,
                        least_share: *least_share,
                    };
                    GenreAnswer::new(seed, self.count, finding)
                };
                Ok(seeds.into_iter().zip(votes).map(answer).collect())
            }
        }
    }
}

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// Whether a track never changes, as a tone or noise.
    pub fn is_steady(&self, seed: &Seed) -> Result<bool, EngineError> {
        match (seed.is_steady, seed.track) {
            (Some(is_steady), _) => Ok(is_steady),
            (None, Some(track)) => self.is_track_steady(track),
            (None, None) => Ok(false),
        }
    }

    /// Whether a track of the library never changes.
    pub fn is_track_steady(&self, track: TrackId) -> Result<bool, EngineError> {
        let measured = self.library.descriptors(&[track])?;
        Ok(measured.get(&track).is_some_and(|known| known.is_steady))
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
