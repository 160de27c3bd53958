//! Names of tracks in queries.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _, ValueParser, ValueParserFactory};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::{Value, json};

use super::read::{Refused, typed};
use crate::{Engine, EngineError, Seed};
use voisin_base::track::TrackId;

/// Most seeds of a query over a network.
pub const MOST_SEEDS: usize = 500;

/// A track: by its id, by its path in the library, or by words that match it only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedSeed {
    Id(i64),
    /// By the path of its file, and no words.
    Path(String),
    /// In the command line's grammar (docs/guide.md); of a client a path in the library, or words.
    Written(OsString),
}

/// The fields of a seed in JSON, of which one is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedFields {
    #[serde(default, deserialize_with = "whole")]
    id: Option<i64>,
    path: Option<String>,
    words: Option<String>,
}

/// A whole number, also as 2.0 and "2".
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value = typed(
        &json!({"type": "integer"}),
        Value::deserialize(deserializer)?,
    );
    let found = value.as_i64();
    found
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("invalid value: {value}, expected a whole number")))
}

struct SeedVisitor;

impl<'de> Visitor<'de> for SeedVisitor {
    type Value = NamedSeed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a track: `id:NUMBER`, a path, words, or one of the fields id, path, words")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NamedSeed, E> {
        let id = text.strip_prefix("id:").and_then(|id| id.parse().ok());
        Ok(id.map_or_else(|| NamedSeed::Written(text.into()), NamedSeed::Id))
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<NamedSeed, E> {
        Ok(NamedSeed::Id(id))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<NamedSeed, E> {
        i64::try_from(id)
            .map(NamedSeed::Id)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NamedSeed, A::Error> {
        let fields = SeedFields::deserialize(MapAccessDeserializer::new(map))?;
        match (fields.id, fields.path, fields.words) {
            (Some(id), None, None) => Ok(NamedSeed::Id(id)),
            (None, Some(path), None) => Ok(NamedSeed::Path(path)),
            (None, None, Some(words)) => Ok(NamedSeed::Written(words.into())),
            _ => Err(A::Error::invalid_value(Unexpected::Map, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for NamedSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeedVisitor)
    }
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
        json_schema!({
            "description": "Its number, id:NUMBER, a path in the library, or words that match one track",
            "type": ["integer", "string"],
        })
    }
}

impl NamedSeed {
    pub fn written(&self) -> OsString {
        match self {
            Self::Written(text) => text.clone(),
            Self::Path(path) => path.into(),
            Self::Id(id) => format!("id:{id}").into(),
        }
    }

    /// The track of the library. Does not access the disk.
    pub fn seed(&self, engine: &Engine) -> Result<Seed, EngineError> {
        match self {
            Self::Id(id) => engine.seed_of(TrackId(*id)),
            Self::Path(path) => {
                let path = PathBuf::from(path);
                of_stored_path(engine, &path)?.ok_or(EngineError::NotInLibrary { path })
            }
            Self::Written(text) => match of_stored_path(engine, Path::new(text))? {
                Some(seed) => Ok(seed),
                None => engine.seed_of_words(&text.to_string_lossy(), false),
            },
        }
    }
}

fn of_stored_path(engine: &Engine, path: &Path) -> Result<Option<Seed>, EngineError> {
    let Some(track) = engine.library().find_by_stored_path(path)? else {
        return Ok(None);
    };
    Ok(Some(Seed {
        path: path.to_owned(),
        // So that the seed is shown, and left out of the answer, by this path.
        is_named_file: true,
        ..engine.seed_of(track)?
    }))
}

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

pub fn seeds(named: &[NamedSeed], engine: &Engine) -> Result<Vec<Seed>, EngineError> {
    named.iter().map(|named| named.seed(engine)).collect()
}
