//! Groups of tracks that sound alike.

use serde::Serialize;

use super::track::TrackRef;
use crate::engine::Collection;
use crate::explore::clusters::{Change, Clustering, NearCluster, Share};
use crate::track::TrackId;

/// The documented JSON of `clusters`.
#[derive(Debug, Serialize)]
pub(crate) struct ClustersJson<'a> {
    clusters: Vec<ClusterJson<'a>>,
    noise: Vec<TrackRef>,
    modularity: f64,
    resolution: f64,
    changes: &'a [Change],
}

#[derive(Debug, Serialize)]
pub(crate) struct ClusterJson<'a> {
    id: u32,
    name: &'a str,
    tracks: usize,
    cohesion: f32,
    medoid: Option<TrackRef>,
    members: Vec<TrackRef>,
    genres: &'a [Share],
    tags: &'a [Share],
    artists: &'a [Share],
    nearest: &'a [NearCluster],
}

impl<'a> ClustersJson<'a> {
    pub(crate) fn new(collection: &Collection, found: &'a Clustering) -> Self {
        let tracks =
            |ids: &[TrackId]| ids.iter().filter_map(|&id| TrackRef::of(collection, id)).collect::<Vec<_>>();
        let clusters = found.clusters.iter().map(|cluster| ClusterJson {
            id: cluster.id,
            name: &cluster.name,
            tracks: cluster.members.len(),
            cohesion: cluster.cohesion,
            medoid: TrackRef::of(collection, cluster.medoid),
            members: tracks(&cluster.members),
            genres: &cluster.genres,
            tags: &cluster.tags,
            artists: &cluster.artists,
            nearest: &cluster.nearest,
        });
        Self {
            clusters: clusters.collect(),
            noise: tracks(&found.noise),
            modularity: found.modularity,
            resolution: found.resolution,
            changes: &found.changes,
        }
    }
}
