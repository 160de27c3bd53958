//! Groups of tracks that sound alike.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;
use crate::{Engine, EngineError};
use voisin_explore::clusters::{Clustering, NearCluster, Share};

/// The documented JSON of `clusters`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClustersJson<'a> {
    clusters: Vec<ClusterJson<'a>>,
    noise: &'a [TrackRef],
    modularity: f64,
    resolution: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ClusterJson<'a> {
    id: u32,
    name: &'a str,
    tracks: usize,
    cohesion: f32,
    medoid: Option<&'a TrackRef>,
    members: &'a [TrackRef],
    genres: &'a [Share],
    artists: &'a [Share],
    nearest: &'a [NearCluster],
}

/// The members of all clusters, one cluster after the other, then the tracks in none.
pub fn members(engine: &Engine, found: &Clustering) -> Result<Vec<TrackRef>, EngineError> {
    let mut named = HashMap::new();
    engine.library().for_each_track(|track| {
        named.insert(track.id, TrackRef::of_track(&track));
        Ok(())
    })?;
    let clustered = found.clusters.iter().flat_map(|cluster| &cluster.members);
    let all = clustered.chain(&found.noise);
    Ok(all.filter_map(|id| named.remove(id)).collect())
}

impl<'a> ClustersJson<'a> {
    /// - `members`: [`members`] of these clusters
    pub fn new(found: &'a Clustering, members: &'a [TrackRef]) -> Self {
        // `members` has one cluster behind the other: each begins after the lengths of those before.
        let mut end = 0;
        let clusters = found.clusters.iter().map(|cluster| {
            let all = end..end + cluster.members.len();
            end = all.end;
            let own_members = members.get(all).unwrap_or_default();
            ClusterJson {
                id: cluster.id,
                name: &cluster.name,
                tracks: cluster.members.len(),
                cohesion: cluster.cohesion,
                medoid: own_members.iter().find(|track| track.id == cluster.medoid),
                members: own_members,
                genres: &cluster.genres,
                artists: &cluster.artists,
                nearest: &cluster.nearest,
            }
        });
        Self {
            // Collected first, so that `end` is then the
            // beginning of the noise.
            clusters: clusters.collect(),
            noise: members.get(end..).unwrap_or_default(),
            modularity: found.modularity,
            resolution: found.resolution,
        }
    }
}
