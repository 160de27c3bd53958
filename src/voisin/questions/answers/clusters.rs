//! Groups of tracks that sound alike.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{Clustering, NearCluster, Share};

/// The documented JSON of `clusters`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClustersJson {
    clusters: Vec<ClusterJson>,
    noise: Vec<TrackRef>,
    modularity: f64,
    resolution: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ClusterJson {
    id: u32,
    name: String,
    tracks: usize,
    cohesion: f32,
    medoid: Option<TrackRef>,
    members: Vec<TrackRef>,
    genres: Vec<Share>,
    artists: Vec<Share>,
    nearest: Vec<NearCluster>,
}

impl ClustersJson {
    pub fn new(engine: &Engine, found: &Clustering) -> Result<Self, EngineError> {
        let mut named = HashMap::new();
        engine.library().for_each_track(|track| {
            named.insert(track.id, TrackRef::of_track(&track));
            Ok(())
        })?;
        let mut take = |ids: &[TrackId]| -> Vec<TrackRef> {
            ids.iter().filter_map(|id| named.remove(id)).collect()
        };
        let clusters = found.clusters.iter().map(|cluster| {
            let members = take(&cluster.members);
            let mut medoids = members.iter().filter(|track| track.id == cluster.medoid);
            ClusterJson {
                id: cluster.id,
                name: cluster.name.clone(),
                tracks: cluster.members.len(),
                cohesion: cluster.cohesion,
                medoid: medoids.next().cloned(),
                members,
                genres: cluster.genres.clone(),
                artists: cluster.artists.clone(),
                nearest: cluster.nearest.clone(),
            }
        });
        Ok(Self {
            clusters: clusters.collect(),
            noise: take(&found.noise),
            modularity: found.modularity,
            resolution: found.resolution,
        })
    }
}
