//! Parts of several answers that come from the library's neighbour graph: the graph itself, clusters.

use std::collections::{BTreeMap, HashMap};

use crate::{Collection, Engine, EngineError, GraphUse};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{self, Clustering};
use voisin_explore::{ExploreError, KnnGraph};
use voisin_library::OpenMode;

/// The setting with the last clusters of the whole library.
const CLUSTERS: &str = "clusters";
/// Neighbours in the graphs that clusters and maps are made from.
const GRAPH_K: usize = 15;

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

/// The whole library and its graph, for callers that need no index afterwards: see [`Engine::collection_and_graph`].
pub fn collection_and_graph(engine: &mut Engine) -> Result<(Collection, KnnGraph), EngineError> {
    engine.collection_and_graph(GRAPH_K, GraphUse::Exploring)
}

/// The cluster of each track by the last clusters of the whole library, if there were any.
pub fn stored_clusters(engine: &Engine) -> Result<Option<HashMap<TrackId, u32>>, EngineError> {
    let text = engine.library().setting(CLUSTERS)?;
    // With an unreadable setting, clusters are computed again.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Clusters a library; those of the whole collection are stored, so that others can name their numbers.
pub fn clustered(
    engine: &mut Engine,
    collection: &Collection,
    graph: &KnnGraph,
    rows: Option<&[usize]>,
    seed: u64,
) -> Result<Clustering, EngineError> {
    let found = clusters::cluster(
        collection.vectors.view(),
        graph,
        &collection.meta,
        rows,
        seed,
    )?;
    if rows.is_none() && engine.library().mode() != OpenMode::ReadOnly {
        let ids = collection.ids.iter().zip(&found.assignment);
        let stored: BTreeMap<&TrackId, &u32> = ids.filter(|(_, id)| **id > 0).collect();
        let text = serde_json::to_string(&stored).map_err(ExploreError::from)?;
        // Written only if it changed.
        if engine.library().setting(CLUSTERS)?.as_deref() != Some(&text) {
            engine.library_mut().set_setting(CLUSTERS, Some(&text))?;
        }
    }
    Ok(found)
}
