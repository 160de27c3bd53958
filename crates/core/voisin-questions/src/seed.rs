//! Names of tracks in queries.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _, ValueParser, ValueParserFactory};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::read::Refused;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, EngineError, Seed};

/// Most seeds of a query over a network.
pub const MOST_SEEDS: usize = 500;

/// A track: by its id, by its path in the library, or by words that match it only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedSeed {
    /// By its number.
    Id(i64),
    /// By the path of its file.
    Path(String),
    /// By words that name it.
    Words(String),
    /// In the command line's grammar (docs/grammar.md).
    // That may name files of the disk, so no client may use it.
    #[serde(skip)]
    Written(OsString),
}

impl ValueParserFactory for NamedSeed {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        OsStringValueParser::new().map(Self::Written).into()
    }
}

impl JsonSchema for NamedSeed {
    fn schema_name() -> Cow<'static, str> {
        "Named".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // By hand: schemars would describe each alternative as an object of its own.
        json_schema!({
            "description": "A track: by its id, by its path in the library, or by words that match it only",
            "type": "object",
            "properties": {
                "id": {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
                "path": {"type": "string"},
                "words": {"type": "string"},
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

impl NamedSeed {
    pub fn written(&self) -> OsString {
        match self {
            Self::Written(text) => text.clone(),
            Self::Id(id) => format!("id:{id}").into(),
            Self::Path(text) | Self::Words(text) => text.into(),
        }
    }

    /// The track of the library. Does not access the disk.
    pub fn seed(&self, engine: &Engine) -> Result<Seed, EngineError> {
        let library = engine.library();
        match self {
            Self::Id(id) => engine.seed_of(TrackId(*id)),
            Self::Path(path) => {
                let path = PathBuf::from(path);
                let track = library.find_by_stored_path(&path)?;
                let track = track.ok_or(EngineError::NotInLibrary { path: path.clone() })?;
                Ok(Seed {
                    path,
                    // So that the seed is shown, and left out of the answer, by this path.
                    is_named_file: true,
                    ..engine.seed_of(track)?
                })
            }
            Self::Words(_) | Self::Written(_) => {
                engine.seed_of_words(&self.written().to_string_lossy(), false)
            }
        }
    }
}

/// Refuses a query without seeds.
///
/// - `count`: number of seeds
pub fn at_least_one(field: &str, count: usize) -> Result<(), Refused> {
    if count > 0 {
        Ok(())
    } else {
        Err(Refused::new(
            field,
            format!("1 to {MOST_SEEDS} tracks"),
            "0",
        ))
    }
}

/// The tracks of the library that these name.
pub fn seeds(named: &[NamedSeed], engine: &Engine) -> Result<Vec<Seed>, EngineError> {
    named.iter().map(|named| named.seed(engine)).collect()
}
