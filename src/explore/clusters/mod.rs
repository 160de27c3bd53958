//! Groups found from the vectors alone.
//!
//! The k-NN graph is weighted by shared neighbours and divided by Leiden (Traag, Waltman, van Eck,
//! "From Louvain to Leiden: guaranteeing well-connected communities", 2019), which chooses the number of
//! groups; a resolution sets the level of detail. Deterministic for a seed, whatever the number of threads.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result, TrackMeta};
use crate::track::TrackId;

/// How finely to divide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Few, broad groups.
    Coarse,
    /// What the graph suggests.
    #[default]
    Default,
    /// Many small groups.
    Fine,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterOptions {
    /// Level of detail; ignored where `count` is set.
    pub detail: Detail,
    /// Exactly this many clusters, where the graph allows it.
    pub count: Option<usize>,
    /// Same seed, same clusters.
    pub seed: u64,
    /// Smaller groups become noise; 0 chooses by the number of tracks.
    pub min_size: usize,
}

/// A group of tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Stable across rescans, see [`Identity`]. Starts at 1.
    pub id: u32,
    /// Readable name from its most distinctive genres, tags and artists.
    pub name: String,
    /// Member tracks, nearest to the centre first.
    pub members: Vec<TrackId>,
    /// The track with the largest mean similarity to the others.
    pub medoid: TrackId,
    /// Mean cosine similarity of its tracks to its centre, 0 to 1; higher is tighter.
    pub cohesion: f32,
    /// Genres of its tracks, largest share first.
    pub genres: Vec<Share>,
    /// Tags of its tracks, most distinctive first.
    pub tags: Vec<Share>,
    /// Artists with most tracks in it.
    pub artists: Vec<Share>,
    /// Other clusters by similarity of centres, nearest first.
    pub nearest: Vec<NearCluster>,
}

/// How often a label occurs in a cluster, and how much more often than in the whole collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Genre, tag or artist.
    pub label: String,
    /// Tracks of the cluster that bear it.
    pub tracks: usize,
    /// Their share of the cluster, 0 to 1. Shares of genres may sum to more than 1: a track may have several.
    pub share: f32,
    /// Share here divided by share in the collection: 1 is what chance gives.
    pub lift: f32,
}

/// A neighbouring cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearCluster {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Cosine similarity of the two centres.
    pub similarity: f32,
}

/// A division of a collection into clusters and noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// Clusters, largest first.
    pub clusters: Vec<Cluster>,
    /// Tracks that belong to none.
    pub noise: Vec<TrackId>,
    /// Cluster id per input row; 0 is noise.
    pub assignment: Vec<u32>,
    /// Modularity of the division on the weighted graph, −0.5 to 1; higher is better separated.
    pub modularity: f64,
    /// Resolution used.
    pub resolution: f64,
    /// What became of the previous clustering's clusters; empty on the first run.
    pub changes: Vec<Change>,
    /// Keep this and pass it to the next run: ids survive by it.
    pub identity: Identity,
}

/// What the next clustering needs to give the same ids to the same groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Smallest id never used.
    pub next_id: u32,
    /// Cluster id of each track then; noise is left out.
    pub members: Vec<(TrackId, u32)>,
}

/// What happened to a cluster since the previous clustering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Change {
    /// No old cluster has a third of its old tracks, or none of its tracks was there.
    New {
        /// The new id.
        id: u32,
    },
    /// A part of an old cluster that went its own way.
    Split {
        /// The old cluster.
        from: u32,
        /// The part's new id.
        id: u32,
    },
    /// An old cluster whose tracks went into another.
    Merged {
        /// The old cluster.
        from: u32,
        /// The cluster that took it in.
        into: u32,
    },
    /// An old cluster whose tracks were removed or scattered.
    Gone {
        /// The old cluster.
        id: u32,
    },
}

/// Finds clusters, names them and carries ids over from `previous`.
///
/// - `vectors`: `[n, dim]` unit vectors; `graph` and `meta` have the same rows
/// - `rows`: cluster only these rows (those of one genre, say); `None` for all. The result's `assignment`
///   still has one entry per input row.
pub fn cluster(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    rows: Option<&[usize]>,
    options: &ClusterOptions,
    previous: Option<&Identity>,
) -> Result<Clustering> {
    let _ = (vectors, graph, meta, rows, options, previous);
    todo!()
}
