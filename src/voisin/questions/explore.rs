//! Queries for clusters, artists and albums, copies and paths.

use clap::Args;
use ndarray::ArrayView1;
use schemars::JsonSchema;
use serde::Deserialize;

use super::read::Refused;
use super::seed::{MOST_SEEDS, NamedSeed};
use super::values::{at_most, limit_of};
use crate::questions::answers::duplicates::{GroupJson, with_exact_copies};
use crate::questions::answers::graph::{GRAPH_K, clustered, clusters_of};
use crate::questions::answers::walk::WalkJson;
use crate::{AudioComparer, Collection, CompareEvent, Engine, EngineError, GraphUse, Seed};
use voisin_explore::TrackMeta;
use voisin_explore::artists::{ArtistSummary, Makers, artists, near_artists};
use voisin_explore::clusters::Clustering;
use voisin_explore::duplicates::{NEIGHBOURS, duplicates};
use voisin_explore::path::{PathOptions, Walk, between_ends, path};
use voisin_library::TrackSet;

/// From this many tracks on, a path is searched among near ones: reading all would take long.
const NEAR_FROM: u64 = 20_000;
/// Points between two stops of a path around which tracks are searched in a large library, and tracks around each.
const PLACES: usize = 16;
const NEAR_EACH: usize = 200;
const MOST_STEPS: u32 = 999;

/// Groups of tracks that sound alike
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clusters {}

impl Clusters {
    pub fn all(engine: &mut Engine) -> Result<Clustering, EngineError> {
        clustered(engine, |engine| {
            let (mut collection, graph) =
                engine.collection_and_graph(GRAPH_K, GraphUse::Exploring)?;
            engine.predict_genres(&mut collection, &graph)?;
            clusters_of(&collection, &graph, None)
        })
    }

    /// The groups among some tracks.
    pub fn among(engine: &mut Engine, tracks: &TrackSet) -> Result<Clustering, EngineError> {
        let (mut collection, graph) = engine.collection_and_graph(GRAPH_K, GraphUse::Exploring)?;
        let rows = collection.rows_of(tracks);
        if rows.is_empty() {
            let text = "no track passes the filters: loosen the filters";
            return Err(EngineError::NotFound(text.to_owned()));
        }
        engine.predict_genres(&mut collection, &graph)?;
        clusters_of(&collection, &graph, Some(&rows))
    }
}

/// All artists, or albums, most tracks first; or those near to the named one, nearest first.
///
/// - `limit`: most results
///
/// # Errors
/// None, or several, have this name.
pub fn near_makers(
    engine: &Engine,
    makers: Makers,
    name: Option<&str>,
    limit: usize,
) -> Result<Vec<ArtistSummary>, EngineError> {
    let collection = engine.collection()?;
    let vectors = collection.vectors.view();
    let meta = &collection.meta;
    Ok(match name {
        None => artists(vectors, meta, makers, limit),
        Some(name) => near_artists(vectors, meta, makers, name, limit)?,
    })
}

/// Recordings that the library has several times
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Duplicates {}

impl Duplicates {
    /// The groups of files, most bytes to be won first.
    ///
    /// - `report`: called for the pairs that are compared by their audio
    pub fn run(
        engine: &mut Engine,
        report: impl Fn(CompareEvent) + Sync,
    ) -> Result<Vec<GroupJson>, EngineError> {
        let (collection, graph) = engine.collection_and_graph(NEIGHBOURS, GraphUse::Copies)?;
        let comparer = AudioComparer::new(engine.library(), report)?;
        let begin = |pairs| comparer.begin(pairs);
        let is_same = |a: &TrackMeta, b: &TrackMeta| comparer.is_same(a, b);
        let similar = duplicates(&graph, &collection.meta, begin, is_same);
        with_exact_copies(engine, &collection, similar)
    }
}

/// A path from one track to another
#[derive(Debug, Clone, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathBetween {
    /// The first track
    #[arg(
        value_name = "A",
        help = "The first track: a file of the library, `id:NUMBER`, or words"
    )]
    pub(crate) from: NamedSeed,
    /// The last track
    #[arg(value_name = "B")]
    pub(crate) to: NamedSeed,
    /// A track to pass (several: in this order)
    #[arg(long, value_name = "TRACK")]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub(crate) via: Vec<NamedSeed>,
    /// Number of steps [default: nine from one stop to the next]
    #[arg(long, value_name = "N")]
    #[schemars(range(min = 1, max = MOST_STEPS))]
    pub(crate) steps: Option<u32>,
    /// At most this many tracks of one artist; 0: no limit
    #[arg(long, value_name = "N")]
    pub(crate) max_per_artist: Option<u32>,
}

impl PathBetween {
    /// The named tracks: both ends, then those to pass.
    pub fn stops(&self) -> Vec<NamedSeed> {
        [&self.from, &self.to]
            .into_iter()
            .chain(&self.via)
            .cloned()
            .collect()
    }

    fn walk(&self, collection: &Collection, stops: &[Seed]) -> Result<Walk, EngineError> {
        let mut rows = stops
            .iter()
            .map(|seed| collection.row_of(seed))
            .collect::<Result<Vec<_>, _>>()?;
        // `stops` begins with both ends.
        let via = rows.split_off(2);
        let options = PathOptions {
            via,
            // A path has one step fewer than tracks.
            tracks: self.steps.map(|steps| steps as usize + 1),
            max_per_artist: limit_of(self.max_per_artist),
        };
        let vectors = collection.vectors.view();
        let meta = &collection.meta;
        Ok(path(vectors, meta, rows[0], rows[1], &options)?)
    }

    /// The path.
    ///
    /// - `stops`: the named tracks, in the order of [`Self::stops`]
    pub fn run(&self, engine: &mut Engine, stops: &[Seed]) -> Result<WalkJson, EngineError> {
        if let Some(steps) = self.steps.filter(|steps| !(1..=MOST_STEPS).contains(steps)) {
            return Err(
                Refused::new("steps", format!("1 to {MOST_STEPS}"), steps.to_string()).into(),
            );
        }
        let collection = if engine.library().status()?.vectors > NEAR_FROM {
            engine.collection_near(&around(stops), NEAR_EACH, None)?
        } else {
            engine.collection()?
        };
        WalkJson::new(engine, &self.walk(&collection, stops)?)
    }
}

/// The stops of a path, and points between them.
///
/// - `stops`: both ends, then the tracks to pass
fn around(stops: &[Seed]) -> Vec<Seed> {
    let mut seeds = stops.to_vec();
    if let [from, to, via @ ..] = stops {
        let way: Vec<&Seed> = [from].into_iter().chain(via).chain([to]).collect();
        for pair in way.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|end| ArrayView1::from(&end.vector));
            for place in 1..=PLACES {
                let share = place as f32 / (PLACES + 1) as f32;
                seeds.push(Seed::of_vector(between_ends(a, b, share).to_vec()));
            }
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;
    use voisin_base::vector::make_unit;
    use voisin_library::testing::{library, track};

    #[test]
    fn a_path_among_near_tracks_equals_that_among_all() {
        let dir = std::env::temp_dir().join(format!("voisin-way-{}", std::process::id()));
        let mut library = library(&dir, 3);
        for i in 0..40_u8 {
            let angle = 0.07 * f32::from(i);
            let height = if i % 3 == 0 { 0.1 } else { 0.0 };
            let mut vector = vec![angle.cos(), angle.sin(), height];
            make_unit(&mut vector);
            library.insert_track(&track(i.into(), vector)).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let question: PathBetween =
            serde_json::from_str(r#"{"from": {"id": 1}, "to": {"id": 40}, "via": [{"id": 9}]}"#)
                .unwrap();
        let stops = [1, 40, 9].map(|id| engine.seed_of(TrackId(id)).unwrap());
        let whole = question.run(&mut engine, &stops).unwrap();
        let near = engine.collection_near(&around(&stops), 5, None).unwrap();
        let walk = question.walk(&near, &stops).unwrap();
        let ids = whole.tracks.iter().filter_map(|hit| hit.track.id);
        assert_eq!(walk.tracks, ids.collect::<Vec<_>>());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
