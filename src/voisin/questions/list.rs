//! Queries for lists of the library, and for music by words.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::Filters;
use super::values::{Limit, ListOrder};
use crate::{Engine, EngineError, PhraseAnswer, PredictedTags, TrackQuery};
use voisin_base::track::TrackId;

/// The tracks of the library
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Words in artist, title, album or file name
    #[arg(
        value_name = "WORD",
        help = "Words in artist, title, album or file name [default: all tracks]"
    )]
    #[serde(deserialize_with = "words")]
    #[schemars(with = "String")]
    pub(crate) query: Vec<String>,
    /// Filters of tracks
    #[command(flatten)]
    pub filters: Filters,
    /// The order: id, artist, album, title, genre, year, time, added, path, size, codec, licence, bpm, key,
    /// loudness, or a scale such as energy; tracks without a value come last
    #[arg(long, short, default_value_t, value_name = "FIELD")]
    pub(crate) sort: ListOrder,
    /// Reverse the order
    #[arg(long, short)]
    pub(crate) reverse: bool,
    /// Number of tracks at most
    #[arg(
        long,
        short,
        default_value_t,
        value_name = "N|all",
        allow_negative_numbers = true
    )]
    #[serde(default = "a_hundred")]
    pub limit: Limit,
    /// The previous page's `next`
    #[arg(skip)]
    #[schemars(with = "Option<i64>")]
    pub(crate) after: Option<TrackId>,
    /// Include the model's strongest tags of each track
    #[arg(skip)]
    pub words: bool,
}

fn a_hundred() -> Limit {
    Limit::from(100)
}

/// The words, which are one text over a network.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    // On the command line each is an argument; both
    // forms are joined with blanks.
    Ok(vec![String::deserialize(deserializer)?])
}

impl List {
    pub fn query(&self, engine: &Engine) -> Result<TrackQuery, EngineError> {
        Ok(TrackQuery {
            words: self.query.join(" "),
            // A list has no seeds, so no keys are compatible.
            filter: self.filters.filter(engine, &[])?,
            sort: self.sort.0,
            descending: self.reverse,
            limit: Some(self.limit.of(usize::MAX)),
            after: self.after,
        })
    }
}

/// Music by its sound, in words
#[derive(Debug, Clone, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// Words for the sound to look for
    #[arg(value_name = "WORD", required = true, allow_hyphen_values = false)]
    #[serde(deserialize_with = "words")]
    #[schemars(with = "String")]
    pub(crate) query: Vec<String>,
    /// Number of tracks
    #[arg(long, short, default_value_t = twenty(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "twenty")]
    pub limit: Limit,
    /// Filters of tracks
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
}

impl Find {
    pub fn run(&self, engine: &Engine, tags: &PredictedTags) -> Result<PhraseAnswer, EngineError> {
        let filter = self.filters.filter(engine, &[])?;
        let limit = self.limit.of(usize::MAX);
        let words = self.query.join(" ");
        engine.find(tags, &words, &filter, limit)
    }
}

fn twenty() -> Limit {
    Limit::from(20)
}
