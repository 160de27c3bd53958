//! Queries for playlists around seeds.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use clap::Args;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Filters;
use super::explore::Clusters;
use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed};
use super::spans::Seconds;
use super::values::{Limit, at_most, limit_of, share, some_share};
use crate::questions::answers::graph::last_clusters;
use crate::questions::answers::playlist::{PlaylistConstraints, PlaylistJson, listed};
use crate::questions::answers::similar::FarJson;
use crate::questions::answers::track::Hit;
use crate::{Collection, Engine, EngineError, Seed};
use voisin_base::track::TrackId;
use voisin_explore::playlist::{Length, PlaylistOptions, SeedUse};
use voisin_library::{TrackFilter, TrackSet};

/// Longest track of a list in seconds, unless a seed is longer: no mixes of an hour.
const LONGEST: f64 = 900.0;
/// Variety, and most tracks of an artist or an album, of a list for players.
const VARIETY: f32 = 0.5;
const OF_ARTIST: u32 = 3;
/// Default number of tracks.
const TRACKS: usize = 20;
/// Most seeds for which only near tracks are read; for more all tracks are.
// Thirty tracks around one of a million took 0.3 s this way, and 9 s with all tracks read.
pub const MOST_NEAR_SEEDS: usize = 8;
/// Tracks around each seed: this many times the length of a list, and at least so many.
const NEAR_ROOM: usize = 20;
const LEAST_NEAR: usize = 2000;

/// A playlist around tracks, a genre or a cluster
#[derive(Debug, Clone, Default, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Playlist {
    /// Seeds; several are covered evenly. Without seeds and a cluster, all tracks that pass the filters are seeds
    #[arg(
        value_name = "TRACK",
        help = "Seeds: files, `id:NUMBER`, words, playlists, folders, `album:NAME`, `artist:NAME`; several are covered evenly; `-` reads them from standard input"
    )]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub seeds: Vec<NamedSeed>,
    /// Use all tracks of this cluster as seeds
    #[arg(long, value_name = "ID")]
    pub cluster: Option<u32>,
    /// Filters of tracks besides the seeds
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
    /// Length of the list in seconds, instead of a number of tracks
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "limit",
        help = "Length of the list, instead of a number of tracks: 90m, 1h30m, 1:30:00 or 5400 (seconds)"
    )]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 864_000))]
    pub(crate) length: Option<Seconds>,
    /// Number of tracks [default: 20]
    #[arg(long, short, value_name = "N|all", allow_negative_numbers = true)]
    pub limit: Option<Limit>,
    /// At most this many tracks of one artist; 0: as many as fit
    #[arg(long, default_value_t = two(), value_name = "N")]
    #[serde(default = "two")]
    pub(crate) max_per_artist: u32,
    /// At most this many tracks of one album; 0: as many as fit
    #[arg(long, default_value_t, value_name = "N")]
    #[serde(default)]
    pub(crate) max_per_album: u32,
    /// Draw each track from the nearest 1 + 40 × this that fit: 0 always takes the best, so that the list is the same each
    /// time
    #[arg(
        long,
        default_value_t,
        value_name = "0..1",
        value_parser = share,
        allow_negative_numbers = true
    )]
    #[serde(default, deserialize_with = "some_share")]
    #[schemars(range(min = 0, max = 1))]
    pub(crate) variety: f32,
    /// Where random numbers of variety start: the same number gives the same list [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) random_seed: Option<u64>,
    /// Tracks that are not in the list, such as those played before; a seed among them does not open it
    #[arg(long, value_name = "TRACK")]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub exclude: Vec<NamedSeed>,
    /// Only these tracks, besides the filters; `None`: all
    #[arg(skip)]
    #[serde(skip)]
    pub among: Option<TrackSet>,
    /// Leave copies of the same recording, and tracks with one artist and title, in the list
    #[arg(long)]
    #[serde(default)]
    pub(crate) keep_duplicates: bool,
}

fn two() -> u32 {
    2
}

/// How the seeds are used: those named one by one open the list, unless all of them are excluded.
fn opening(named: &[Seed], excluded: &HashSet<TrackId>) -> SeedUse {
    let is_out = |seed: &Seed| seed.track.is_some_and(|track| excluded.contains(&track));
    if !named.is_empty() && named.iter().all(is_out) {
        SeedUse::Leave
    } else {
        SeedUse::Open(named.len())
    }
}

/// The tracks of a cluster of the last clusters, or of new ones if there are none.
fn rows_of_cluster(
    engine: &mut Engine,
    collection: &Collection,
    cluster: u32,
) -> Result<Vec<usize>, EngineError> {
    let clusters = match last_clusters(engine)? {
        Some(clusters) => clusters,
        None => Clusters::all(engine)?.ids(),
    };
    let is_in = |row: &usize| clusters.get(&collection.ids[*row]) == Some(&cluster);
    let rows: Vec<usize> = (0..collection.ids.len()).filter(is_in).collect();
    if cluster == 0 || rows.is_empty() {
        return Err(EngineError::NotFound(format!(
            "there is no cluster {cluster}: \"voisin clusters\" lists all clusters"
        )));
    }
    Ok(rows)
}

impl Playlist {
    /// A list for players: tracks that go on after these, another choice each time.
    ///
    /// - `among`: the tracks that may be in it
    pub fn after(seeds: &[Seed], limit: usize, among: TrackSet) -> Self {
        let ids = seeds.iter().filter_map(|seed| seed.track);
        Self {
            limit: Some(Limit::from(limit)),
            max_per_artist: OF_ARTIST,
            max_per_album: OF_ARTIST,
            variety: VARIETY,
            exclude: ids.map(|id| NamedSeed::Id(id.0)).collect(),
            among: Some(among),
            ..Self::default()
        }
    }

    pub fn validate(&self) -> Result<(), Refused> {
        // As clap's `conflicts_with`, for other callers than the command line.
        if self.length.is_some() && self.limit.is_some() {
            return Err(Refused::new("length", "no \"limit\" beside it", "both"));
        }
        // Ten days bound the work of one request.
        match self.length {
            Some(Seconds(seconds)) if seconds <= 0.0 || seconds > 864_000.0 => {
                let expected = "more than 0 and up to 864000 seconds";
                Err(Refused::new("length", expected, seconds.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// The list.
    ///
    /// - `named`: seeds named one by one
    /// - `of_lists`: seeds from lists
    pub fn run(
        &self,
        engine: &mut Engine,
        named: &[Seed],
        of_lists: &[Seed],
    ) -> Result<PlaylistJson, EngineError> {
        let seeds = [named, of_lists].concat();
        let filter = self.filters.filter(engine, named)?;
        let allowed = self.allowed(engine, &filter)?;
        let collection = self.collection(engine, &seeds, allowed.as_ref())?;
        let rows = self.seed_rows(engine, &collection, &seeds, allowed.as_ref())?;
        let standing = engine.standing(&seeds)?;
        let excluded = self.excluded(engine)?;
        let options = self.list_options(collection.total, opening(named, &excluded));
        let wanted = PlaylistConstraints {
            keeps_copies: self.keep_duplicates,
            allowed: allowed.as_ref(),
            longest: self.longest(&seeds),
            excluded: &excluded,
            standing: standing.as_ref(),
        };
        let list = listed(&collection, &rows, named.len(), &wanted, &options);
        let ids = list.rows.iter().map(|&row| collection.ids[row]);
        let ids = ids.filter(|id| !excluded.contains(id));
        Ok(PlaylistJson {
            items: Hit::ranked(engine, ids)?,
            // Without named seeds there is nothing that the library is far from.
            far: FarJson::new(list.standing.as_ref().filter(|_| !seeds.is_empty())),
            ends: list.ends,
        })
    }

    /// The tracks that a list may be made of: those near the seeds, or all.
    fn collection(
        &self,
        engine: &mut Engine,
        seeds: &[Seed],
        allowed: Option<&TrackSet>,
    ) -> Result<Collection, EngineError> {
        let total = engine.library().status()?.vectors as usize;
        let length = self.list_options(total, SeedUse::Leave).length;
        let most = length
            .search_count()
            .saturating_mul(NEAR_ROOM)
            .max(LEAST_NEAR);
        // A cluster may be anywhere, and many seeds are near all tracks.
        let is_near =
            self.cluster.is_none() && (1..=MOST_NEAR_SEEDS).contains(&seeds.len()) && most < total;
        if is_near {
            engine.collection_near(seeds, most, allowed)
        } else {
            engine.collection()
        }
    }

    /// The rows of the seeds; without seeds and a cluster, all tracks that pass the filters are seeds.
    fn seed_rows(
        &self,
        engine: &mut Engine,
        collection: &Collection,
        seeds: &[Seed],
        allowed: Option<&TrackSet>,
    ) -> Result<Vec<usize>, EngineError> {
        let rows = seeds.iter().map(|seed| collection.row_of(seed));
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        if let Some(cluster) = self.cluster {
            rows.extend(rows_of_cluster(engine, collection, cluster)?);
        }
        if !rows.is_empty() {
            return Ok(rows);
        }
        let Some(allowed) = allowed else {
            let expected = "a seed: tracks, a cluster, or filters";
            return Err(Refused::new("seeds", expected, "none").into());
        };
        let rows = collection.rows_of(allowed);
        if rows.is_empty() {
            let text = "no track passes the filters: loosen the filters";
            return Err(EngineError::NotFound(text.to_owned()));
        }
        Ok(rows)
    }

    /// Longest track in seconds: a quarter of an hour, or twice the longest seed; `None` if the query filters by length.
    fn longest<'a>(&self, seeds: impl IntoIterator<Item = &'a Seed>) -> Option<f64> {
        if self.filters.duration.is_some() {
            return None;
        }
        let seconds = seeds.into_iter().filter_map(|seed| seed.seconds);
        Some(seconds.map(|seconds| 2.0 * seconds).fold(LONGEST, f64::max))
    }

    /// The tracks that may be in the list; `None`: all.
    fn allowed(
        &self,
        engine: &mut Engine,
        filter: &TrackFilter,
    ) -> Result<Option<TrackSet>, EngineError> {
        let matching = engine.matching(filter)?;
        let Some(among) = &self.among else {
            return Ok(matching);
        };
        let fits = |track: &TrackId| matching.as_ref().is_none_or(|set| set.contains(*track));
        Ok(Some(among.to_vec().into_iter().filter(fits).collect()))
    }

    /// The tracks that are not in the list.
    fn excluded(&self, engine: &Engine) -> Result<HashSet<TrackId>, EngineError> {
        let mut excluded = HashSet::new();
        for named in &self.exclude {
            excluded.extend(match named {
                // It may have been removed from the library since it was played.
                NamedSeed::Id(id) => Some(TrackId(*id)),
                _ => named.seed(engine)?.track,
            });
        }
        Ok(excluded)
    }

    /// - `total`: number of tracks, for a limit of all
    fn list_options(&self, total: usize, seeds: SeedUse) -> PlaylistOptions {
        let random = self
            .random_seed
            // The standard library's only source of randomness: the keys of a hasher differ each time.
            .unwrap_or_else(|| RandomState::new().hash_one(0));
        PlaylistOptions {
            length: match self.length {
                Some(Seconds(length)) => Length::Seconds(length),
                None => Length::Tracks(self.limit.unwrap_or(TRACKS.into()).of(total)),
            },
            max_per_artist: limit_of(Some(self.max_per_artist)),
            max_per_album: limit_of(Some(self.max_per_album)),
            variety: self.variety,
            random,
            seeds,
        }
    }
}
