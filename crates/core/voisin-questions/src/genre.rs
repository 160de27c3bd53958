//! Which genre tracks are, how genres are related, and which labels look wrong.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed};
use super::values::{Fraction, SearchArgs, WholeNumber, at_most};
use voisin_base::track::TrackId;
use voisin_engine::{
    Classifier, ClassifyOptions, Embedder, Engine, EngineError, FoundSuspects, GenreAnswer,
    GenreNews, LabelSource, Seed, TrackDisplay,
};
use voisin_genre::{FitOptions, Kinship, KinshipOptions, Suspect};

/// Where genres come from; over a network by the name alone.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// Where genres come from, this once: tags, folder (the name of the folder a file lies in), or a CSV file with the
    /// columns path and genre [default: as `voisin labels` says]
    #[arg(long, value_name = "tags|folder|CSV", value_parser = label_source)]
    pub(crate) label_from: Option<LabelSource>,
}

impl LabelArgs {
    /// Where its labels come from.
    pub fn source(&self, engine: &Engine) -> LabelSource {
        self.label_from
            .clone()
            .unwrap_or_else(|| engine.genres().label_source())
    }
}

/// A source of labels as the command line has it; a table must be there.
pub fn label_source(text: &str) -> Result<LabelSource, String> {
    // Irrefutable: whatever is neither tags nor folder is the path of a table.
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
        // A path would let a client of the server read files of its disk.
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

/// Which genre these tracks are
#[derive(Debug, Clone, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// The tracks
    #[arg(required_unless_present_any = ["all", "from_list"], conflicts_with_all = ["all", "from_list"], value_name = "TRACK", help = "Files, folders and playlists (every file of them), `id:NUMBER`, or words that match artist and title")]
    #[serde(deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(min = 1, max = MOST_SEEDS))]
    pub tracks: Vec<NamedSeed>,
    /// Let so many neighbours vote, without the trained head [default: 15, where there is no head]
    #[arg(long, short = 'k', value_name = "N")]
    pub(crate) neighbours: Option<WholeNumber<1, 10_000, 1000>>,
    /// Voters by other artists only
    #[arg(long)]
    #[serde(default)]
    pub(crate) other_artists: bool,
    /// Answer with one of these genres only
    #[arg(
        long,
        value_name = "GENRE",
        value_delimiter = ',',
        help = "Answer with one of these genres only; may be repeated"
    )]
    #[serde(default, deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) among: Vec<String>,
    /// Say "unknown" unless answers this sure are right this often; needs a trained head
    #[arg(long, value_name = "P", value_parser = precision, help = "Say \"unknown\" unless answers this sure are right this often (0.5 to 1; needs a trained head, or with --write-tags takes the share of the votes instead) [default: 0.9 with --write-tags, else none]")]
    pub(crate) precision: Option<Fraction>,
    /// Where genres come from, this once
    #[command(flatten)]
    #[serde(default)]
    pub(crate) label_from: LabelArgs,
    /// How the nearest neighbours are found
    #[command(flatten)]
    #[serde(default)]
    pub(crate) search: SearchArgs,
}

/// A share that is worth asking for.
pub fn precision(text: &str) -> Result<Fraction, Refused> {
    let read = text
        .parse()
        .ok()
        // An answer that is wrong more often than right is better left unsaid.
        .filter(|read: &Fraction| read.get() >= 0.5);
    read.ok_or_else(|| Refused::text("a share from 0.5 to 1", text))
}

impl Classify {
    /// The engine's options.
    pub fn options(&self) -> ClassifyOptions {
        ClassifyOptions {
            labels: self.label_from.label_from.clone(),
            neighbours: self.neighbours.map(WholeNumber::get),
            other_artists: self.other_artists,
            among: self.among.clone(),
            precision: self.precision.map(Fraction::get),
            // For `--write-tags` alone, which sets it itself.
            or_share: false,
            mode: self.search.mode(),
            all: false,
        }
    }

    /// One answer a track, in their order; a first guess listens to their files.
    ///
    /// - `embedder`: makes the library's model ready
    /// - `tell`: is told who answers
    pub fn run(
        &self,
        engine: &mut Engine,
        tracks: Vec<Seed>,
        embedder: impl FnOnce() -> Result<Arc<Embedder>, EngineError>,
        tell: impl FnMut(GenreNews),
    ) -> Result<Vec<GenreAnswer>, EngineError> {
        match Classifier::open(Some(engine), &self.options(), |_| embedder(), tell)? {
            Classifier::Labelled(labelled) => labelled.classify(engine, tracks),
            // Without labels nothing in the library helps: the model's tags of the file decide.
            Classifier::FirstGuess(guess) => tracks
                .iter()
                .map(|track| guess.listen(&track.path))
                .collect(),
        }
    }
}

/// How near the genres are to each other
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GenreRelations {
    /// Where genres come from, this once
    #[command(flatten)]
    pub(crate) label_from: LabelArgs,
}

impl GenreRelations {
    /// How near they are, as it is kept or worked out now.
    pub fn run(&self, engine: &mut Engine) -> Result<Kinship, EngineError> {
        let source = self.label_from.source(engine);
        let options = KinshipOptions::default();
        // Kept by its options and labels; the library's generation is checked by `kept` itself.
        engine.kept("genres", &format!("{options:?}"), &source, |engine| {
            engine.genres().kinship(&source, &options)
        })
    }
}

/// Labels that look wrong
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Suspects {
    /// Every labelled track in its rank, also those that are not contradicted
    #[arg(long)]
    pub all: bool,
    /// Where genres come from, this once
    #[command(flatten)]
    pub(crate) label_from: LabelArgs,
}

impl Suspects {
    /// The labels that look wrong, as they are kept or found now.
    pub fn run(&self, engine: &mut Engine) -> Result<FoundSuspects, EngineError> {
        let source = self.label_from.source(engine);
        let options = FitOptions::default();
        let mut found = engine.kept("suspects", &format!("{options:?}"), &source, |engine| {
            let suspects = engine.genres().suspects(&source, &options)?;
            Ok::<_, EngineError>(FoundSuspects {
                judged: suspects.len(),
                suspects,
            })
        })?;
        found
            .suspects
            // After the cache: one kept answer serves both forms of the question.
            .retain(|suspect| self.all || suspect.confident);
        Ok(found)
    }

    /// The facts of their tracks that are shown.
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
