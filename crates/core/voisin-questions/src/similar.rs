//! Tracks that sound like these, or like a passage of one.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::Refused;
use super::remote::LocalOnly;
use super::seed::{MOST_SEEDS, NamedSeed, at_least_one};
use super::spans::Seconds;
use super::values::{
    Cosine, Fraction, Limit, NeighbourOrder, SearchArgs, WholeNumber, at_most, check_order,
    limit_of,
};
use super::{Filters, QuestionError, SimilarAnswer};
use voisin_engine::{
    Embedder, Engine, EngineError, Passage, Seed, SimilarOptions, SimilarPassage, SimilarTrack,
    Steering,
};
use voisin_library::SortBy;

/// What sounds like these tracks, or like a passage of one
#[derive(Debug, Clone, Args, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Similar {
    /// What to start from; several are averaged
    #[arg(
        required = true,
        value_name = "TRACK",
        help = "Files, `id:NUMBER`, words that match artist and title, playlists, folders, `album:NAME`, `artist:NAME`, `composer:NAME`, `sounds:WORDS` as `find` reads them; `-` reads seeds from standard input"
    )]
    #[serde(deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(min = 1, max = MOST_SEEDS))]
    pub seeds: Vec<NamedSeed>,
    /// How many neighbours
    #[arg(long, short, default_value_t = ten(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "ten")]
    pub limit: Limit,
    /// Which tracks may be among them
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
    /// Answer from this space of vectors, see `voisin space list`
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// At most this many tracks of one artist; 0: as many as there are
    #[arg(long, value_name = "N")]
    pub(crate) max_per_artist: Option<u32>,
    /// Only neighbours at least this similar (cosine, -1 to 1)
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub(crate) min_similarity: Option<Cosine>,
    /// The neighbours' order: similarity, bpm, key, loudness, or a scale such as energy; those of which it is
    /// not known come last
    #[arg(long, default_value_t, conflicts_with = "from")]
    #[serde(default)]
    pub(crate) sort: NeighbourOrder,
    /// Keep the seeds and their duplicates in the answer
    #[arg(long)]
    #[serde(default)]
    pub(crate) include_seed: bool,
    /// Stay away from this track (several: from each)
    #[arg(long, value_name = "TRACK")]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub unlike: Vec<NamedSeed>,
    /// How strongly to stay away, 0 to 1
    #[arg(long, default_value_t = half(), value_name = "0..1", requires = "unlike", allow_negative_numbers = true)]
    #[serde(default = "half")]
    pub(crate) unlike_weight: Fraction,
    /// From 0, alike in sound, to 1, alike in feel: tracks of the seeds' energy, and of the scales that you taught, come
    /// before nearer ones
    #[arg(long, default_value_t, value_name = "0..1", conflicts_with_all = ["from", "unlike"], allow_negative_numbers = true)]
    #[serde(default)]
    pub(crate) feel: Fraction,
    /// More of one thing and less of another than in what is nearest
    #[command(flatten)]
    #[serde(default)]
    pub steer: Steer,
    /// Look for the passage of the one seed that begins here, in seconds
    #[arg(
        long,
        value_name = "TIME",
        requires = "to",
        conflicts_with = "unlike",
        help = "Look for the passage that begins here: 65, 1:05 or 1m5s (needs --to and one seed)"
    )]
    pub(crate) from: Option<Seconds>,
    /// Where the passage ends
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<Seconds>,
    /// Of a passage: answer from the stored windows alone, without listening to the best tracks again
    #[arg(long, requires = "from")]
    #[serde(default)]
    pub rough: bool,
    /// Of a passage: places of each track at most, none of which overlap [default: 1]
    #[arg(long, value_name = "N", requires = "from")]
    pub(crate) places: Option<WholeNumber<1, 100, 100>>,
    /// How the nearest neighbours are found
    #[command(flatten)]
    #[serde(default)]
    pub(crate) search: SearchArgs,
}

/// Words in one direction, over a network.
const MOST_WORDS: usize = 20;

/// More of one thing and less of another than in what is nearest
#[derive(Debug, Clone, Args, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "More and less")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Steer {
    /// More of what these words say, as `find` knows them
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["from", "unlike"])]
    #[serde(deserialize_with = "at_most::<MOST_WORDS, _, _>")]
    #[schemars(length(max = MOST_WORDS))]
    more: Vec<String>,
    /// Less of it
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["from", "unlike"])]
    #[serde(deserialize_with = "at_most::<MOST_WORDS, _, _>")]
    #[schemars(length(max = MOST_WORDS))]
    less: Vec<String>,
    /// Higher tempos
    #[arg(long, conflicts_with_all = ["slower", "from", "unlike"])]
    faster: bool,
    /// Lower tempos
    #[arg(long, conflicts_with_all = ["from", "unlike"])]
    slower: bool,
    /// Louder recordings
    #[arg(long, conflicts_with_all = ["quieter", "from", "unlike"])]
    louder: bool,
    /// Softer recordings
    #[arg(long, conflicts_with_all = ["from", "unlike"])]
    quieter: bool,
    /// Share of the unmoved answer's mean similarity that is kept at least: 1 moves nothing, 0 goes farthest
    #[arg(long, default_value_t = four_fifths(), value_name = "0..1", allow_negative_numbers = true)]
    keep: Fraction,
}

impl Default for Steer {
    fn default() -> Self {
        Self {
            more: Vec::new(),
            less: Vec::new(),
            faster: false,
            slower: false,
            louder: false,
            quieter: false,
            keep: four_fifths(),
        }
    }
}

impl Steer {
    /// For the engine; `None` where the nearest are what is wanted.
    fn steering(&self) -> Option<Steering> {
        let wishes = [
            // As words among the others: the engine knows what each stands for.
            (self.faster, "faster"),
            (self.slower, "slower"),
            (self.louder, "louder"),
            (self.quieter, "quieter"),
        ];
        let wishes = wishes
            .iter()
            .filter(|(is_said, _)| *is_said)
            .map(|(_, word)| (*word).to_owned());
        let more: Vec<String> = self.more.iter().cloned().chain(wishes).collect();
        let steering = Steering {
            more,
            less: self.less.clone(),
            keep: self.keep.get(),
        };
        // `keep` alone moves nothing.
        (!steering.more.is_empty() || !steering.less.is_empty()).then_some(steering)
    }
}

fn four_fifths() -> Fraction {
    Fraction::new(0.8)
}

fn ten() -> Limit {
    Limit::from(10)
}

fn half() -> Fraction {
    Fraction::new(0.5)
}

impl Similar {
    /// Refuses what makes no sense together.
    ///
    /// - `seeds`: how many there are
    pub fn validate(&self, seeds: usize) -> Result<(), Refused> {
        at_least_one("seeds", seeds)?;
        // Clap sees to all of this on the command line; a server's clients get here without it.
        if self.from.is_some() != self.to.is_some() {
            let (given, missing) = if self.from.is_some() {
                ("from", "to")
            } else {
                ("to", "from")
            };
            return Err(Refused::new(
                missing,
                format!("a time, with \"{given}\""),
                "none",
            ));
        }
        let steers = self.steer.steering().is_some();
        for (one, other, name) in [
            // Both at once would cancel out.
            (self.steer.faster, self.steer.slower, "faster"),
            (self.steer.louder, self.steer.quieter, "louder"),
            (steers, !self.unlike.is_empty(), "unlike"),
            (self.feel.get() > 0.0, !self.unlike.is_empty(), "feel"),
        ] {
            if one && other {
                let expected = "it alone: with what is said beside it, it cannot be done";
                return Err(Refused::new(name, expected, "both"));
            }
        }
        if self.from.is_none() {
            let of_passages = [("rough", self.rough), ("places", self.places.is_some())];
            return match of_passages.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => Err(Refused::new(
                    "from",
                    format!("a time, with \"{name}\""),
                    "none",
                )),
                None => Ok(()),
            };
        }
        let wrong = |expected: &str, found: String| {
            Err(Refused::new(
                "from",
                format!("for a passage {expected}"),
                found,
            ))
        };
        if seeds > 1 {
            return wrong("one seed", seeds.to_string());
        }
        if steers {
            return wrong("neither more nor less of anything", "some".to_owned());
        }
        if !self.unlike.is_empty() {
            return wrong("nothing to stay away from", self.unlike.len().to_string());
        }
        if self.feel.get() > 0.0 {
            return wrong("no \"feel\"", self.feel.get().to_string());
        }
        if self.sort.0.is_some() {
            return wrong("no order but by similarity", format!("\"{}\"", self.sort));
        }
        if self.filters.wants_compatible_keys() {
            // A passage has no measured key of its own.
            return wrong("keys by their names", "\"compatible\"".to_owned());
        }
        Ok(())
    }

    /// Where the passage that is looked for begins and ends.
    pub fn passage(&self) -> Option<(f64, f64)> {
        Some((self.from?.0, self.to?.0))
    }

    /// The engine's options.
    ///
    /// - `tracks`: how many there are
    pub fn options(
        &self,
        engine: &Engine,
        seeds: &[Seed],
        unlike: Vec<Seed>,
        tracks: usize,
    ) -> Result<SimilarOptions, QuestionError> {
        check_order(engine, self.sort.0)?;
        Ok(SimilarOptions {
            limit: self.limit.of(tracks),
            filter: self.filters.filter(engine, seeds)?,
            among: None,
            max_per_artist: limit_of(self.max_per_artist),
            min_similarity: self.min_similarity.map(Cosine::get),
            include_seed: self.include_seed,
            mode: self.search.mode(),
            unlike,
            unlike_weight: self.unlike_weight.get(),
        })
    }

    /// Brings an answer into the order that is asked for.
    pub fn sort(&self, engine: &Engine, found: &mut [SimilarTrack]) -> Result<(), EngineError> {
        self.sort
            .0
            .map_or(Ok(()), |by| engine.sort_by_sound(found, by))
    }

    /// Why a database does not answer it, where that is so.
    pub fn local_only(&self) -> Option<LocalOnly> {
        if self.passage().is_some() {
            return Some(LocalOnly::Passage);
        }
        if self.space.is_some() {
            return Some(LocalOnly::Space);
        }
        // Both look at all tracks, of which a database fetches a part.
        let is_steered = self.steer.steering().is_some() || self.feel.get() > 0.0;
        is_steered.then_some(LocalOnly::Steering)
    }

    /// Facts of tracks that the query names, as [`Filters::fields`] does.
    pub fn fields(&self) -> Vec<String> {
        let mut fields = self.filters.fields();
        // An answer that is sorted by something has to show it.
        fields.extend(match self.sort.0 {
            Some(SortBy::Bpm) => Some("tempo".to_owned()),
            Some(SortBy::Key) => Some("key".to_owned()),
            Some(SortBy::Loudness) => Some("loudness".to_owned()),
            Some(SortBy::Scale(scale)) => Some(scale.to_string()),
            _ => None,
        });
        fields
    }

    /// The answer of a library on this disk.
    pub fn run(
        &self,
        engine: &mut Engine,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarAnswer, QuestionError> {
        // Tracks without a vector are nobody's neighbours.
        let tracks = engine.library().status()?.vectors as usize;
        let options = engine.resolved(self.options(engine, seeds, unlike, tracks)?)?;
        let feel = self.feel.get();
        let (mut found, steered) = match self.steer.steering() {
            Some(_) if feel > 0.0 => {
                return Err(Refused::new("feel", "it without more and less", "both").into());
            }
            None if feel > 0.0 => (engine.similar_in_feel(seeds, &options, feel)?, None),
            Some(steering) => {
                let (found, steered) = engine.steered(seeds, &options, &steering)?;
                (found, Some(steered))
            }
            None => (engine.similar(seeds, &options)?, None),
        };
        // After the limit: the nearest are put into order, not the whole library.
        self.sort(engine, &mut found)?;
        let standing = engine.standing(seeds, &options)?;
        Ok(SimilarAnswer::new(engine, found, standing, steered)?)
    }

    /// The answer where a passage is looked for.
    pub fn run_passage(
        &self,
        engine: &Engine,
        seed: Seed,
        embedder: &Embedder,
    ) -> Result<(Passage, Vec<SimilarPassage>), QuestionError> {
        // Only asked where there is one.
        let (from, to) = self.passage().unwrap_or_default();
        let passage = engine.passages().passage_of(seed, from, to, embedder)?;
        let options = self.options(
            engine,
            &[],
            Vec::new(),
            engine.library().status()?.vectors as usize,
        )?;
        let places = self.places.map_or(1, WholeNumber::get);
        let found = engine.passages().similar_passages(
            &passage,
            // Without it nothing is analysed again, and stored windows decide.
            (!self.rough).then_some(embedder),
            &options,
            places,
        )?;
        Ok((passage, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn json_conflicts_as_the_command_line_does() {
        let field_of = |rest: Value| {
            let mut question = json!({"seeds": [{"id": 1}]});
            let rest = rest.as_object().unwrap().clone();
            question.as_object_mut().unwrap().extend(rest);
            let question: Similar = serde_json::from_value(question).unwrap();
            question.validate(1).err().map(|refused| refused.field)
        };
        for (rest, field) in [
            (json!({"feel": 0.5, "unlike": [{"id": 2}]}), Some("feel")),
            (json!({"feel": 0.5, "from": 1, "to": 9}), Some("from")),
            (json!({"rough": true}), Some("from")),
            (json!({"places": 2}), Some("from")),
            (
                json!({"rough": true, "places": 2, "from": 1, "to": 9}),
                None,
            ),
            (json!({"feel": 0, "unlike": [{"id": 2}]}), None),
        ] {
            assert_eq!(field_of(rest.clone()).as_deref(), field, "{rest}");
        }
    }
}
