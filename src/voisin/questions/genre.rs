//! Queries for the genres of tracks, the relations of genres, and labels that look wrong.

use std::sync::Arc;

use clap::Args;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::suspects::SuspectJson;
use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed};
use super::values::{at_most, share, some_share};
use crate::{
    Classifier, ClassifyOptions, Embedder, Engine, EngineError, GenreAnswer, GenreNews,
    LabelSource, Seed,
};
use voisin_genre::{FitOptions, Kinship, kinship, suspects};
use voisin_library::Library;

/// Parses a source of labels of the command line; a table must exist.
pub fn label_source(text: &str) -> Result<LabelSource, String> {
    // Irrefutable: any other text is the path of a table.
    let Ok(source) = text.parse();
    match &source {
        LabelSource::File(path) if !path.is_file() => Err(format!(
            "expected tags, folder or the path of a CSV file; there is no file {}",
            path.display()
        )),
        _ => Ok(source),
    }
}

/// Predicts the genre of tracks
#[derive(Debug, Clone, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// The tracks
    #[arg(
        value_name = "TRACK",
        help = "Files, folders and playlists (every file of them), `id:NUMBER`, or words that match artist and title"
    )]
    #[serde(deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(min = 1, max = MOST_SEEDS))]
    pub tracks: Vec<NamedSeed>,
    /// Share of right answers that is required, else the answer is "unknown"; needs a trained head
    #[arg(long, value_name = "P", value_parser = precision, help = "Share of right answers that is required, else the answer is \"unknown\" (0.5 to 1; needs a trained head)")]
    #[serde(default, deserialize_with = "some_share")]
    #[schemars(range(min = 0, max = 1))]
    pub(crate) precision: Option<f32>,
    /// Compare with every track
    #[arg(long)]
    #[serde(default)]
    pub(crate) exact: bool,
}

/// Parses a precision, 0.5 to 1.
pub fn precision(text: &str) -> Result<f32, Refused> {
    // Answers that are mostly wrong are useless.
    let read = share(text).ok().filter(|read| *read >= 0.5);
    read.ok_or_else(|| Refused::text("a share from 0.5 to 1", text))
}

impl Classify {
    pub fn options(&self) -> ClassifyOptions {
        ClassifyOptions {
            precision: self.precision,
            // `tag` sets it.
            or_share: false,
            exact: self.exact,
        }
    }

    /// One answer a track, in their order; a first guess analyses their files.
    ///
    /// - `embedder`: loads the library's model
    /// - `report`: called with the method that answers
    pub fn run(
        &self,
        engine: &mut Engine,
        tracks: Vec<Seed>,
        embedder: &dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError>,
        report: impl FnMut(GenreNews),
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        let load =
            |library: Option<&Library>| embedder(library.ok_or_else(EngineError::no_labels)?);
        match Classifier::open(Some(engine), &self.options(), load, report)? {
            Classifier::Labelled(labelled) => labelled.classify(engine, tracks),
            // Without labels the model's tags of the file decide.
            Classifier::FirstGuess(guess) => tracks
                .iter()
                .map(|track| guess.classify(Some(&*engine), &track.path))
                .collect(),
        }
    }
}

/// Distances between genres
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GenreRelations {}

impl GenreRelations {
    pub fn run(engine: &mut Engine) -> Result<Kinship, EngineError> {
        let source = engine.label_source();
        Ok(kinship(&engine.labelled_tracks(&source)?.set())?)
    }
}

/// Labels that look wrong
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Suspects {
    /// Rank all labelled tracks, also those that are not contradicted
    #[arg(long)]
    pub all: bool,
}

impl Suspects {
    /// The labels that look wrong, worst first, and how many were checked.
    pub fn run(&self, engine: &mut Engine) -> Result<(Vec<SuspectJson>, usize), EngineError> {
        let source = engine.label_source();
        let tracks = engine.labelled_tracks(&source)?;
        let mut found = suspects(&tracks.set(), &FitOptions::default())?;
        let judged = found.len();
        found.retain(|suspect| self.all || suspect.confident);
        let json = (1..).zip(found).map(|(rank, suspect)| {
            let shown = tracks.facts[suspect.row].clone();
            SuspectJson::new(rank, suspect, shown)
        });
        Ok((json.collect(), judged))
    }
}
