//! The library's neighbour graph, and its clusters.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::{Collection, Engine, EngineError, GraphUse};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{Clustering, cluster};
use voisin_explore::layout::layout;
use voisin_explore::{ExploreError, KnnGraph};

/// The setting with the last clusters of the whole library.
const CLUSTERS: &str = "clusters";
/// Neighbours in the graphs that clusters and maps are made from.
pub(crate) const GRAPH_K: usize = 15;
const LEAST_ON_MAP: usize = 3;
/// Where the random numbers of clusters start.
const SEED: u64 = 1;

/// The cluster of each track by the last clusters of the whole library, if there were any; 0 is noise.
pub(crate) fn last_clusters(
    engine: &Engine,
) -> Result<Option<BTreeMap<TrackId, u32>>, EngineError> {
    let last: Option<Clustering> = engine.last_kept(CLUSTERS)?;
    Ok(last.map(|found| found.ids()))
}

/// The clusters of the whole library: the stored ones, if nothing changed since.
///
/// - `work`: makes new ones
pub(crate) fn clustered(
    engine: &mut Engine,
    work: impl FnOnce(&mut Engine) -> Result<Clustering, EngineError>,
) -> Result<Clustering, EngineError> {
    let source = engine.label_source();
    engine.kept(CLUSTERS, &source, work)
}

/// The whole library as a map shows it.
pub struct MappedLibrary {
    pub collection: Collection,
    pub graph: KnnGraph,
    /// The place of each track.
    pub places: Array2<f32>,
    pub clustering: Clustering,
}

impl MappedLibrary {
    pub fn of(engine: &mut Engine) -> Result<Self, EngineError> {
        let (mut collection, graph) = engine.collection_and_graph(GRAPH_K, GraphUse::Exploring)?;
        let found = collection.ids.len();
        // Fewer points have no layout.
        if found < LEAST_ON_MAP {
            let (what, needed) = ("a map", LEAST_ON_MAP);
            return Err(ExploreError::TooFew {
                what,
                needed,
                found,
            }
            .into());
        }
        engine.predict_genres(&mut collection, &graph)?;
        let new = || layout(collection.vectors.view(), &graph, 0);
        let source = engine.label_source();
        let stored: Array2<f32> = engine.kept("places", &source, |_| Ok(new()))?;
        // Another program may have changed the library after the collection was read.
        let is_of_these = stored.dim() == (found, 2);
        let places = if is_of_these { stored } else { new() };
        let clustering = clustered(engine, |_| clusters_of(&collection, &graph, None))?;
        Ok(Self {
            collection,
            graph,
            places,
            clustering,
        })
    }
}

/// The clusters of a collection with predicted genres.
///
/// - `rows`: only these rows; `None`: all
pub(crate) fn clusters_of(
    collection: &Collection,
    graph: &KnnGraph,
    rows: Option<&[usize]>,
) -> Result<Clustering, EngineError> {
    let vectors = collection.vectors.view();
    Ok(cluster(vectors, graph, &collection.meta, rows, SEED)?)
}
