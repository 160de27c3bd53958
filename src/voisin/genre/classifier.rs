//! Chooses the method of classification once per run, and classifies tracks with it.

use std::sync::Arc;

use super::RETRAIN_SHARE;
use super::answer::GenreAnswer;
use super::first_guess::FirstGuess;
use super::head::GenreHead;
use super::labels::{LabelSource, LabelledTracks, spell};
use super::voters::{MetLabels, Voted};
use crate::seed::stacked;
use crate::{Embedder, Engine, EngineError, Lack, Seed};
use voisin_audio::tags::read_tags;
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_genre::{
    Familiarity, GIVE_GENRES, Genre, GenreError, GenreModel, LabelCount, MEASURED, PredictOptions,
    Priors, Spellings, Taxonomy, UnknownReason, Votes, thinned,
};
use voisin_library::{Library, OpenMode};

/// How tracks are classified.
#[derive(Debug, Clone, Default)]
pub struct ClassifyOptions {
    /// The precision of answers; less certain ones become unknown. Needs a trained head.
    pub precision: Option<f32>,
    /// Without a head, take the precision as the least share of the votes instead of failing.
    pub or_share: bool,
    /// Compare with every track.
    pub exact: bool,
}

/// How the classifier answers, and why.
#[derive(Debug, Clone)]
pub struct GenreNews {
    pub text: String,
    /// Whether it is a problem that the user can fix.
    pub is_warning: bool,
}

fn note(text: String) -> GenreNews {
    let is_warning = false;
    GenreNews { text, is_warning }
}

fn warning(text: String) -> GenreNews {
    let is_warning = true;
    GenreNews { text, is_warning }
}

pub enum Classifier {
    /// By the model's tags, since too few tracks are labelled.
    FirstGuess(FirstGuess),
    Labelled(Labelled),
}

pub struct Labelled {
    taxonomy: Taxonomy,
    source: LabelSource,
    count: LabelCount,
    priors: Priors,
    exact: bool,
    method: GenreMethod,
}

enum GenreMethod {
    Vote {
        familiarity: Familiarity,
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
            Self::FirstGuess(guess) => guess.labelled,
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
                no_head()
            });
        }
        let (embedder, problem) = match embedder(engine.map(Engine::library)) {
            Ok(embedder) => {
                let needed = "it needs a model with the 50 tags of the Million Song Dataset";
                (Some(embedder), needed.to_owned())
            }
            // Without its model a library can still be used for other queries; without a library
            // there is only the guess.
            Err(error @ (EngineError::Model { .. } | EngineError::Encoder(_)))
                if engine.is_some() =>
            {
                (None, with_causes(&error))
            }
            Err(error) => return Err(error),
        };
        let guess = FirstGuess::new(embedder, labelled);
        let shortage = labelled.shortage();
        if guess.is_possible() {
            tell(note(format!(
                "a first guess from the model's tags, not your own genres: {shortage}; {GIVE_GENRES}"
            )));
        } else if engine.is_some() {
            tell(note(format!(
                "no genre can be predicted: {shortage}; no first guess: {problem}; {GIVE_GENRES}"
            )));
        } else {
            return Err(EngineError::no_labels());
        }
        Ok(Self::FirstGuess(guess))
    }
}

/// The error for a precision without a head.
fn no_head() -> EngineError {
    EngineError::Lacks(
        Lack::Head,
        format!("a precision needs a trained head: {TRAIN}"),
    )
}

const TRAIN: &str = "\"voisin train\" trains one";

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
        let head = usable_head(engine, &mut tell)?;
        let source = engine.label_source();
        let trained = head.as_ref().map(GenreHead::source);
        if let Some(head) = head.filter(|_| trained.as_ref() == Some(&source)) {
            return Self::with_head(engine, head, source, options, tell);
        }
        let (count, genres, familiarity) = summary(engine, &source)?;
        if !count.is_enough() {
            return Ok(Err(count));
        }
        let why = trained.map_or_else(
            || "no trained head yet".to_owned(),
            |trained| format!("the head was trained on labels from {trained}, not from {source}"),
        );
        tell(note(format!("{why}: the neighbours vote alone; {TRAIN}")));
        check_precision(options, tell)?;
        let genres = genres.into_iter();
        let genres = genres.map(|(name, key, tracks)| (Genre::from_parts(name, key), tracks));
        Ok(Ok(Self {
            taxonomy: engine.taxonomy()?,
            source,
            count,
            priors: Priors::from_counts(genres, count.tracks),
            exact: options.exact,
            method: GenreMethod::Vote {
                familiarity,
                least_share: options.precision.unwrap_or(0.0),
            },
        }))
    }

    fn with_head(
        engine: &Engine,
        head: GenreHead,
        source: LabelSource,
        options: &ClassifyOptions,
        tell: impl FnMut(GenreNews),
    ) -> Result<Result<Self, LabelCount>, EngineError> {
        let tracks = match engine.labelled_tracks(&source) {
            Err(EngineError::Lacks(Lack::Labels, _)) => return Ok(Err(LabelCount::default())),
            tracks => tracks?,
        };
        let count = tracks.label_count();
        if !count.is_enough() {
            return Ok(Err(count));
        }
        let model = Box::new(up_to_date(engine, head, &tracks, tell).model);
        Ok(Ok(Self {
            taxonomy: engine.taxonomy()?,
            source,
            count,
            priors: Priors::from_labels(tracks.labels.iter().map(Vec::as_slice)),
            exact: options.exact,
            method: GenreMethod::Head {
                model,
                options: PredictOptions {
                    precision: options.precision,
                    ..PredictOptions::default()
                },
            },
        }))
    }

    pub fn seeds(&self, engine: &Engine) -> Result<Vec<Seed>, EngineError> {
        let tracks = engine.labelled_tracks(&self.source)?;
        Ok((0..tracks.ids.len()).map(|row| tracks.seed(row)).collect())
    }

    /// Classifies seeds, in their order. Neither a track nor its copies vote for itself.
    ///
    /// A track that is unlike the labelled tracks or never changes is unknown.
    pub fn classify(
        &self,
        engine: &mut Engine,
        seeds: Vec<Seed>,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        engine.space()?;
        let mut met = MetLabels::new(engine, &self.taxonomy, &self.source, &self.priors)?;
        let voted = engine.vote(&seeds, &mut met, &self.priors, self.exact, false)?;
        // A labelled track is music, even if it never changes.
        let steady =
            |(seed, voted): (&Seed, &Voted)| Ok(voted.own.is_empty() && engine.is_steady(seed)?);
        let steady = seeds.iter().zip(&voted).map(steady);
        let steady: Vec<bool> = steady.collect::<Result<_, EngineError>>()?;
        let mut answers = self.answers(seeds, voted)?;
        for (answer, is_steady) in answers.iter_mut().zip(steady) {
            if is_steady {
                answer.reject(UnknownReason::Steady);
            }
            // A file outside the library has the genres of its tags.
            if answer.track.is_none() && answer.is_named_file {
                let tags = read_tags(&answer.path).unwrap_or_default();
                answer.labels = self.taxonomy.parse(&tags.genres);
            }
        }
        Ok(answers)
    }

    fn answers(
        &self,
        seeds: Vec<Seed>,
        voted: Vec<Voted>,
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        let count = self.count;
        match &self.method {
            GenreMethod::Vote {
                familiarity,
                least_share,
            } => {
                let answer = |(seed, voted): (Seed, Voted)| {
                    let familiar = familiarity.assess(voted.votes.nearness);
                    GenreAnswer::voted(seed, count, voted, familiar, *least_share)
                };
                Ok(seeds.into_iter().zip(voted).map(answer).collect())
            }
            GenreMethod::Head { model, options } => {
                let vectors = stacked(&seeds, model.dimension())?;
                let ids: Vec<Option<TrackId>> = voted.iter().map(|voted| voted.same).collect();
                let votes: Vec<Votes> = voted.iter().map(|voted| voted.votes.clone()).collect();
                let predicted = model.predict(vectors.view(), &ids, &votes, options)?;
                let all = seeds.into_iter().zip(predicted).zip(voted);
                let answer =
                    |((seed, found), voted)| GenreAnswer::predicted(seed, count, found, voted);
                Ok(all.map(answer).collect())
            }
        }
    }
}

/// Numbers of labelled tracks, names of genres with their keys and tracks, and how familiar labelled tracks are to those by
/// other artists.
type Summary = (LabelCount, Vec<(String, String, f64)>, Familiarity);

/// The sums over all labels, kept in the library, so that later the labels of tracks near the question are enough.
fn summary(engine: &mut Engine, source: &LabelSource) -> Result<Summary, EngineError> {
    engine.kept("label_summary", source, |engine| {
        let mut all = 0;
        let (mut ids, mut labels) = (Vec::new(), Vec::new());
        engine.for_each_labelled(source, |track, genres| {
            all += 1;
            if !genres.is_empty() {
                ids.push(track.id);
                labels.push(genres);
            }
            Ok(())
        })?;
        if all == 0 {
            return Err(EngineError::no_tracks(engine.library().dir()));
        }
        let spellings = Spellings::count(labels.iter().flatten()).genres();
        spell(&spellings, labels.iter_mut().flatten());
        let count = LabelCount::of(&labels);
        let priors = Priors::from_labels(labels.iter().map(Vec::as_slice));
        let genres = priors
            .counts()
            .map(|(genre, n)| (genre.name().to_owned(), genre.key().to_owned(), n));
        let genres: Vec<_> = genres.collect();
        if !count.is_enough() {
            return Ok((count, genres, Familiarity::default()));
        }
        let sample = thinned(ids.len(), MEASURED).into_iter();
        let seeds = sample.map(|at| engine.seed_of(ids[at]));
        let seeds: Vec<Seed> = seeds.collect::<Result<_, _>>()?;
        engine.space()?;
        let taxonomy = engine.taxonomy()?;
        let mut met = MetLabels::new(engine, &taxonomy, source, &priors)?;
        let voted = engine.vote(&seeds, &mut met, &priors, false, true)?;
        let nearness = voted.iter().map(|voted| voted.votes.nearness);
        Ok((count, genres, Familiarity::of(nearness)))
    })
}

/// Without a head, a precision is at most the least share of the votes.
fn check_precision(
    options: &ClassifyOptions,
    mut tell: impl FnMut(GenreNews),
) -> Result<(), EngineError> {
    let Some(share) = options.precision else {
        return Ok(());
    };
    if !options.or_share {
        return Err(no_head());
    }
    tell(note(format!(
        "without a trained head no precision can be guaranteed: genres with less than {:.0} % of the votes count as unknown",
        100.0 * share
    )));
    Ok(())
}

/// The trained head, if there is one that can be used.
fn usable_head(
    engine: &Engine,
    mut tell: impl FnMut(GenreNews),
) -> Result<Option<GenreHead>, EngineError> {
    match engine.genre_head() {
        // An empty library has no labels either. After any other error of the head the neighbours
        // vote.
        Err(error) if !matches!(error, EngineError::Lacks(Lack::Tracks, _)) => {
            tell(warning(format!(
                "{error}; until then the neighbours vote alone"
            )));
            Ok(None)
        }
        head => head,
    }
}

impl Engine {
    /// Whether a track never changes, as a tone or noise.
    pub fn is_steady(&self, seed: &Seed) -> Result<bool, EngineError> {
        match (seed.is_steady, seed.track) {
            (Some(is_steady), _) => Ok(is_steady),
            (None, Some(track)) => self.is_track_steady(track),
            (None, None) => Ok(false),
        }
    }

    pub fn is_track_steady(&self, track: TrackId) -> Result<bool, EngineError> {
        let measured = self.library.descriptors(&[track])?;
        Ok(measured.get(&track).is_some_and(|known| known.is_steady))
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
    let changed = format!(
        "{:.0} % of the labels changed since the head was trained",
        100.0 * share
    );
    if engine.library().mode() == OpenMode::ReadOnly {
        tell(note(format!(
            "{changed}: it is used unchanged, since the library is read-only"
        )));
        return head;
    }
    match engine.fit_genre(tracks, &head.source(), &head.provenance.recipe) {
        Ok(renewed) => {
            tell(note(format!("{changed}: it was trained again")));
            renewed
        }
        Err(error) => {
            tell(warning(format!(
                "{changed}, and it cannot be trained again ({error}): it is used unchanged"
            )));
            head
        }
    }
}
