//! Queries for the genres of tracks, the relations of genres, and labels that look wrong.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed};
use super::values::{at_most, share, some_share};
use crate::{
    Classifier, ClassifyOptions, Embedder, Engine, EngineError, GenreAnswer, GenreNews,
    LabelSource, Seed, TrackDisplay,
};
use voisin_base::track::TrackId;
use voisin_genre::{FitOptions, Kinship, Suspect, kinship, suspects};
use voisin_library::Library;

/// The source of labels; over a network its name alone.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// Source of genres for this command: tags, folder (the name of the folder a file lies in), or a CSV file with the columns
    /// path and genre [default: that of `voisin labels`]
    #[arg(long, value_name = "tags|folder|CSV", value_parser = label_source)]
    pub(crate) label_from: Option<LabelSource>,
}

impl LabelArgs {
    /// The source of labels: of the query, or of the library.
    pub fn source(&self, engine: &Engine) -> LabelSource {
        self.label_from
            .clone()
            .unwrap_or_else(|| engine.label_source())
    }
}

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

impl<'de> Deserialize<'de> for LabelArgs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // No paths: clients must not read files of the server.
        let label_from = match text.as_str() {
            "tags" => LabelSource::Tags,
            "folder" => LabelSource::Folder,
            _ => {
                return Err(D::Error::invalid_value(
                    Unexpected::Str(&text),
                    &"tags or folder",
                ));
            }
        };
        Ok(Self {
            label_from: Some(label_from),
        })
    }
}

impl JsonSchema for LabelArgs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LabelArgs".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["tags", "folder"]})
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
    /// Source of genres for this query
    #[command(flatten)]
    #[serde(default)]
    pub(crate) label_from: LabelArgs,
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
    /// The engine's options.
    pub fn options(&self) -> ClassifyOptions {
        ClassifyOptions {
            labels: self.label_from.label_from.clone(),
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
                .map(|track| guess.classify(&track.path))
                .collect(),
        }
    }
}

/// Distances between genres
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GenreRelations {
    /// Source of genres for this query
    #[command(flatten)]
    pub(crate) label_from: LabelArgs,
}

impl GenreRelations {
    /// The relations.
    pub fn run(&self, engine: &mut Engine) -> Result<Kinship, EngineError> {
        let source = self.label_from.source(engine);
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
    /// Source of genres for this query
    #[command(flatten)]
    pub(crate) label_from: LabelArgs,
}

/// Labels that look wrong, and how many were checked.
#[derive(Debug, Clone)]
pub struct FoundSuspects {
    /// Worst first.
    pub suspects: Vec<Suspect>,
    /// Labelled tracks that were checked.
    pub judged: usize,
}

impl Suspects {
    /// The labels that look wrong.
    pub fn run(&self, engine: &mut Engine) -> Result<FoundSuspects, EngineError> {
        let source = self.label_from.source(engine);
        let tracks = engine.labelled_tracks(&source)?;
        let mut suspects = suspects(&tracks.set(), &FitOptions::default())?;
        let judged = suspects.len();
        suspects.retain(|suspect| self.all || suspect.confident);
        Ok(FoundSuspects { suspects, judged })
    }

    /// Their tracks, for display.
    pub fn shown(
        engine: &Engine,
        suspects: &[Suspect],
    ) -> Result<HashMap<TrackId, TrackDisplay>, EngineError> {
        let ids: Vec<TrackId> = suspects.iter().map(|suspect| suspect.track).collect();
        let tracks = engine.library().tracks_by_id(&ids)?;
        Ok(tracks
            .iter()
            .map(|track| (track.id, TrackDisplay::of(track)))
            .collect())
    }
}
