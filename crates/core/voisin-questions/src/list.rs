//! Queries for lists of the library, and for music by words.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::spans::Playtime;
use super::values::{Limit, ListOrder, limit_of};
use super::{Filters, QuestionError};
use voisin_base::track::TrackId;
use voisin_engine::{Engine, PhraseAnswer, PredictedTags, TrackQuery};

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
    /// Include the model's strongest tags of each track
    #[arg(skip)]
    pub words: bool,
}

/// The words, which are one text over a network.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    // On the command line each is an argument; both
    // forms are joined with blanks.
    Ok(vec![String::deserialize(deserializer)?])
}

impl List {
    /// The engine's query.
    ///
    /// - `after`: the last track of the page before
    pub fn query(
        &self,
        engine: &Engine,
        limit: usize,
        after: Option<TrackId>,
    ) -> Result<TrackQuery, QuestionError> {
        Ok(TrackQuery {
            words: self.query.join(" "),
            // A list has no seeds, so no keys are compatible.
            filter: self.filters.filter(engine, &[])?,
            sort: self.sort.0,
            descending: self.reverse,
            limit: Some(limit),
            after,
        })
    }
}

/// A track
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Show {
    /// Include the model's strongest tags
    pub words: bool,
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
    /// Fill this much time, in seconds, instead of giving a count
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "limit",
        help = "Fill this much time instead of giving a count: 90m, 1h30m, 1:30:00 or 5400 (seconds)"
    )]
    length: Option<Playtime>,
    /// At most this many tracks of one artist; 0: no limit
    #[arg(long, value_name = "N")]
    max_per_artist: Option<u32>,
    /// Filters of tracks
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
}

impl Find {
    /// The tracks that fit best.
    ///
    /// - `tags`: the model's tags of all tracks
    pub fn run(
        &self,
        engine: &Engine,
        tags: &PredictedTags,
    ) -> Result<PhraseAnswer, QuestionError> {
        let filter = self.filters.filter(engine, &[])?;
        // The lengths, which decide how many fit, are known later.
        let limit = if self.length.is_some() {
            usize::MAX
        } else {
            self.limit.of(usize::MAX)
        };
        let most = limit_of(self.max_per_artist);
        let mut found = engine
            .words()
            .find(tags, &self.query.join(" "), &filter, limit, most)?;
        if let Some(Playtime(length)) = self.length {
            let mut filled = 0.0;
            let fits = found.tracks.iter().take_while(|one| {
                // The track that crosses the length is included:
                // a list is at least as long as its length.
                let has_room = filled < length;
                filled += one.track.audio.seconds;
                has_room
            });
            let count = fits.count();
            found.tracks.truncate(count);
        }
        Ok(found)
    }
}

fn twenty() -> Limit {
    Limit::from(20)
}
