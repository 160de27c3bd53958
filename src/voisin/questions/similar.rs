//! Queries for tracks that are similar to seeds, or to a part of one.

use std::ops::Deref;

use clap::Args;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Filters;
use super::answers::similar::SimilarJson;
use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed, at_least_one};
use super::spans::Seconds;
use super::values::{Limit, at_most, limit_of};
use crate::{Embedder, Engine, EngineError, Seed, SimilarOptions};

/// Numbers of the longest vector.
const LONGEST_VECTOR: usize = 65_536;

/// Tracks that sound like these, or like a part of one
#[derive(Debug, Clone, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Similar {
    /// Seeds; several are averaged
    #[arg(
        required = true,
        value_name = "TRACK",
        help = "Files, `id:NUMBER`, words that match artist and title, playlists, folders, `album:NAME`, `artist:NAME`; `-` reads them from standard input"
    )]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub seeds: Vec<NamedSeed>,
    /// A vector of the library's dimension, in place of seeds or beside them
    #[arg(skip)]
    #[serde(default, deserialize_with = "at_most::<LONGEST_VECTOR, _, _>")]
    pub(crate) vector: Vec<f32>,
    /// Number of neighbours
    #[arg(long, short, default_value_t = ten(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "ten")]
    pub limit: Limit,
    /// Filters of tracks
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
    /// At most this many tracks of one artist; 0: no limit
    #[arg(long, value_name = "N")]
    pub(crate) max_per_artist: Option<u32>,
    /// Avoid tracks that sound like this one (several: like each)
    #[arg(long, value_name = "TRACK")]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub unlike: Vec<NamedSeed>,
    /// Start of the part of the one seed to search for, in seconds
    #[arg(
        long,
        value_name = "TIME",
        requires = "to",
        help = "Search by the part of the one seed that begins here: 65, 1:05 or 1m5s (needs --to)"
    )]
    pub(crate) from: Option<Seconds>,
    /// End of the part
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<Seconds>,
    /// Compare with every track
    #[arg(long)]
    #[serde(default)]
    pub(crate) exact: bool,
}

fn ten() -> Limit {
    Limit::from(10)
}

impl Similar {
    pub fn validate(&self, seeds: usize) -> Result<(), Refused> {
        at_least_one("seeds", seeds)?;
        // Clap checks all of this on the command line, but not for a server's clients.
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
        if let Some((from, to)) = self.part().filter(|(from, to)| to <= from) {
            let expected = format!("a time after \"from\" ({from})");
            return Err(Refused::new("to", expected, to.to_string()));
        }
        if self.part().is_some() && seeds > 1 {
            return Err(Refused::new("from", "one seed", seeds.to_string()));
        }
        Ok(())
    }

    pub fn part(&self) -> Option<(f64, f64)> {
        Some((self.from?.0, self.to?.0))
    }

    pub fn options(
        &self,
        engine: &Engine,
        seeds: &[Seed],
        unlike: Vec<Seed>,
        tracks: usize,
    ) -> Result<SimilarOptions, EngineError> {
        Ok(SimilarOptions {
            limit: self.limit.of(tracks),
            filter: self.filters.filter(engine, seeds)?,
            max_per_artist: limit_of(self.max_per_artist),
            exact: self.exact,
            unlike,
        })
    }

    pub fn run(
        &self,
        engine: &mut Engine,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarJson, EngineError> {
        // Only tracks with a vector can be neighbours.
        let tracks = engine.library().status()?.vectors as usize;
        let options = self.options(engine, seeds, unlike, tracks)?;
        let found = engine.similar(seeds, &options)?;
        let standing = engine.standing(seeds)?;
        SimilarJson::new(engine, seeds, &found, standing)
    }

    /// The seeds, or the part of the one seed that the query names.
    ///
    /// - `embedder`: loads the model of the engine's vectors, for a part
    pub fn part_of<E>(
        &self,
        engine: &Engine,
        mut seeds: Vec<Seed>,
        embedder: impl FnOnce() -> Result<E, EngineError>,
    ) -> Result<Vec<Seed>, EngineError>
    where
        E: Deref<Target = Embedder>,
    {
        let Some((from, to)) = self.part() else {
            return Ok(seeds);
        };
        match (seeds.pop(), seeds.len()) {
            (Some(seed), 0) => Ok(vec![engine.part_of_seed(seed, from, to, &*embedder()?)?]),
            // A name may stand for a whole album.
            (_, others) => {
                let found = (others + 1).to_string();
                Err(Refused::new("from", "one track", found).into())
            }
        }
    }
}
