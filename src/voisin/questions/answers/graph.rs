//! The library's neighbour graph, and its clusters.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::{Collection, Engine, EngineError, GraphUse};
use voisin_base::track::TrackId;
use voisin_explore::KnnGraph;
use voisin_explore::clusters::{Clustering, cluster};
use voisin_explore::layout::layout;

/// The setting with the last clusters of the whole library.
const CLUSTERS: &str = "clusters";
/// Neighbours in the graphs that clusters and maps are made from.
const GRAPH_K: usize = 15;
/// Where the random numbers of clusters start.
const SEED: u64 = 1;

/// The library's tracks and their neighbour graph.
pub fn neighbour_graph(
    engine: &mut Engine,
    collection: &Collection,
) -> Result<KnnGraph, EngineError> {
    engine.knn_graph(
        collection,
        GRAPH_K.min(collection.ids.len().saturating_sub(1)),
        GraphUse::Exploring,
    )
}

/// The whole library and its graph.
pub fn collection_and_graph(engine: &mut Engine) -> Result<(Collection, KnnGraph), EngineError> {
    engine.collection_and_graph(GRAPH_K, GraphUse::Exploring)
}

/// The cluster of each track by the last clusters of the whole library, if there were any; 0 is noise.
pub fn last_clusters(engine: &Engine) -> Result<Option<BTreeMap<TrackId, u32>>, EngineError> {
    let last: Option<Clustering> = engine.last_kept(CLUSTERS)?;
    Ok(last.map(|found| found.ids()))
}

/// The clusters of the whole library: the stored ones, if nothing changed since.
///
/// - `work`: makes new ones
pub fn clustered(
    engine: &mut Engine,
    work: impl FnOnce(&mut Engine) -> Result<Clustering, EngineError>,
) -> Result<Clustering, EngineError> {
    let source = engine.label_source();
    engine.kept(CLUSTERS, &source, work)
}

/// The place of each track of the whole library on the map: the stored ones, if nothing changed since.
pub fn places(
    engine: &mut Engine,
    collection: &Collection,
    graph: &KnnGraph,
) -> Result<Array2<f32>, EngineError> {
    let new = || layout(collection.vectors.view(), graph, 0);
    let source = engine.label_source();
    let stored: Array2<f32> = engine.kept("places", &source, |_| Ok(new()))?;
    // Another program may have changed the library after the collection was read.
    let is_of_these = stored.dim() == (collection.ids.len(), 2);
    Ok(if is_of_these { stored } else { new() })
}

/// The clusters of a collection with predicted genres.
///
/// - `rows`: only these rows; `None`: all
pub fn clusters_of(
    collection: &Collection,
    graph: &KnnGraph,
    rows: Option<&[usize]>,
) -> Result<Clustering, EngineError> {
    let vectors = collection.vectors.view();
    Ok(cluster(vectors, graph, &collection.meta, rows, SEED)?)
}
