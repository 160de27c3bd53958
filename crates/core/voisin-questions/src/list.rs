//! Lists of the library, and music by words.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::spans::Playtime;
use super::values::{Limit, ListOrder, check_order, limit_of};
use super::{Filters, QuestionError};
use voisin_base::track::TrackId;
use voisin_engine::{Engine, EngineError, PhraseAnswer, PredictedTags, TrackQuery};

/// The tracks of the library
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Words that artist, title, album or file name have
    #[arg(
        value_name = "WORD",
        help = "Words that artist, title, album or file name have [default: all tracks]"
    )]
    #[serde(deserialize_with = "words", serialize_with = "one_text")]
    #[schemars(with = "String")]
    pub(crate) query: Vec<String>,
    /// Which tracks
    #[command(flatten)]
    pub filters: Filters,
    /// The order: id, artist, album, title, genre, year, time, added, path, size, codec, licence, bpm, key,
    /// loudness, or a scale such as energy; what a track lacks puts it last
    #[arg(long, short, default_value_t, value_name = "WHAT")]
    pub(crate) sort: ListOrder,
    /// The other way round
    #[arg(long, short)]
    pub(crate) reverse: bool,
    /// Say what the model hears in each track
    #[arg(skip)]
    // Not a part of a list that is kept: it changes what is shown, not which tracks.
    #[serde(skip_serializing)]
    pub words: bool,
}

/// Words, which are one text over a network.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    // The command line has a word an argument; both
    // forms are joined with blanks when they are read.
    Ok(vec![String::deserialize(deserializer)?])
}

fn one_text<S: Serializer>(words: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&words.join(" "))
}

impl List {
    /// The engine's question.
    ///
    /// - `after`: the last track of the page before
    pub fn query(
        &self,
        engine: &Engine,
        limit: usize,
        after: Option<TrackId>,
    ) -> Result<TrackQuery, QuestionError> {
        check_order(engine, Some(self.sort.0))?;
        Ok(TrackQuery {
            words: self.query.join(" "),
            // A list starts from no track, so no key is compatible with it.
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
    /// Say what the model hears in it
    pub words: bool,
}

/// Music by what it sounds like, in words
#[derive(Debug, Clone, Args, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// What to look for
    #[arg(value_name = "WORD", required = true, allow_hyphen_values = false)]
    #[serde(deserialize_with = "words", serialize_with = "one_text")]
    #[schemars(with = "String")]
    pub(crate) query: Vec<String>,
    /// How many
    #[arg(long, short, default_value_t = twenty(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "twenty")]
    pub limit: Limit,
    /// As many as fill this time, in seconds, in place of a number
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "limit",
        help = "As many as fill this time, in place of a number: 90m, 1h30m, 1:30:00 or 5400 (seconds)"
    )]
    length: Option<Playtime>,
    /// At most this many tracks of one artist; 0: as many as there are
    #[arg(long, value_name = "N")]
    max_per_artist: Option<u32>,
    /// Answer from this space of vectors, see `voisin space list`
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// Which tracks
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
}

impl Find {
    /// The space of vectors to ask in the place of the engine's own: the one that is named, or one whose model reads what
    /// this one's words do not cover.
    pub fn space(
        &self,
        engine: &Engine,
        heard: Option<&PredictedTags>,
    ) -> Result<Option<String>, EngineError> {
        match &self.space {
            Some(space) => Ok(Some(space.clone())),
            None => engine.words().reading_space(heard, &self.query.join(" ")),
        }
    }

    /// The tracks that fit best.
    ///
    /// - `heard`: what the model hears in all tracks
    pub fn run(
        &self,
        engine: &Engine,
        heard: &PredictedTags,
    ) -> Result<PhraseAnswer, QuestionError> {
        let filter = self.filters.filter(engine, &[])?;
        // How many fill the time is known only when their lengths are.
        let limit = if self.length.is_some() {
            usize::MAX
        } else {
            self.limit.of(usize::MAX)
        };
        let most = limit_of(self.max_per_artist);
        let mut found = engine
            .words()
            .find(heard, &self.query.join(" "), &filter, limit, most)?;
        if let Some(space) = engine.library().spaces().entered_space()
            && self.space.is_none()
        {
            // The user named no space, so the choice has to be seen.
            found.notes.insert(0, format!("asked in the space {space}"));
        }
        if let Some(Playtime(length)) = self.length {
            let mut filled = 0.0;
            let fits = found.tracks.iter().take_while(|one| {
                // The track that crosses the length is still
                // taken: a list is rather a bit longer than short.
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
