//! Clusters of tracks, from vectors alone.
//!
//! The k-NN graph is divided by Leiden (Traag, Waltman, van Eck, "From Louvain to Leiden: guaranteeing
//! well-connected communities", 2019), which chooses the number of groups, at the most stable resolution. Edges have weight 2 between mutual neighbours, else 1.
//! Deterministic for a seed, regardless of the number of threads.
//!
//! Not for: genres, which are only used to name clusters.

mod describe;
mod divide;
mod leiden;
mod stability;

pub use stability::adjusted_rand_index;

use std::collections::BTreeMap;

use ndarray::{ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExploreError, KnnGraph, Result, TrackMeta, strays};
use voisin_base::track::TrackId;

/// Neighbours per track that clustering uses; more blur small groups (measured on GTZAN: 10, 15,
/// 20, 30).
pub const NEIGHBOURS: usize = 15;

/// Largest part of a collection for which an exact neighbour graph is computed.
const EXACT_SUBSET: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// From 1, largest first.
    pub id: u32,
    /// Unique name from its most distinctive genres and artists.
    pub name: String,
    /// Member tracks, nearest to the centre first.
    pub members: Vec<TrackId>,
    /// The track with the largest mean similarity to the others.
    pub medoid: TrackId,
    /// Mean cosine similarity of its tracks to its centre, 0 to 1; higher is tighter.
    pub cohesion: f32,
    /// Genres of its tracks (without a tag, predicted with at least half of the votes), largest share first.
    pub genres: Vec<Share>,
    /// Artists of its tracks, most distinctive first.
    pub artists: Vec<Share>,
    /// Other clusters by similarity of centres, nearest first; at most five.
    pub nearest: Vec<NearCluster>,
}

/// Frequency of a label in a cluster, and relative to the whole collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_field_names, reason = "a share is what it is called")]
pub struct Share {
    /// Genre or artist.
    pub label: String,
    /// Tracks of the cluster with the label.
    pub tracks: usize,
    /// Those of them whose genre is predicted, as their tags have none; 0 for artists.
    pub predicted: usize,
    /// Their share of the cluster, 0 to 1. Shares of genres may sum to more than 1, since a track may have several.
    pub share: f32,
    /// Share in the cluster divided by share in the collection.
    pub lift: f32,
}

/// A neighbouring cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NearCluster {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Cosine similarity of the two centres.
    pub similarity: f32,
}

/// A division of a collection into clusters and noise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    pub clusters: Vec<Cluster>,
    pub noise: Vec<TrackId>,
    /// Modularity of the division (at resolution 1, without noise), −0.5 to 1; higher is better separated.
    pub modularity: f64,
    pub resolution: f64,
}

impl Clustering {
    /// The cluster of each track that was clustered; 0 is noise.
    pub fn ids(&self) -> BTreeMap<TrackId, u32> {
        let clusters = self.clusters.iter();
        let members = clusters.flat_map(|c| c.members.iter().map(|&track| (track, c.id)));
        let noise = self.noise.iter().map(|&track| (track, 0));
        members.chain(noise).collect()
    }
}

/// Finds clusters and names them.
///
/// - `vectors`: `[n, dim]` unit vectors; `graph` and `meta` have the same rows. The first [`NEIGHBOURS`] of the
///   graph's neighbours are used.
/// - `rows`: clusters only these rows, such as those of one genre, ascending; `None` for all
/// - `seed`: of the random numbers: the same seed gives the same clusters
pub fn cluster(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    rows: Option<&[usize]>,
    seed: u64,
) -> Result<Clustering> {
    let Some(rows) = rows else {
        return cluster_rows(vectors, graph, &meta.iter().collect::<Vec<_>>(), seed);
    };
    let part = vectors.select(Axis(0), rows);
    let part_graph = if rows.len() <= EXACT_SUBSET {
        // Most neighbours in the whole graph are outside the part.
        KnnGraph::exact(part.view(), NEIGHBOURS)?
    } else {
        graph.induced(rows)
    };
    let part_meta: Vec<&TrackMeta> = rows.iter().map(|&row| &meta[row]).collect();
    cluster_rows(part.view(), &part_graph, &part_meta, seed)
}

fn cluster_rows(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[&TrackMeta],
    seed: u64,
) -> Result<Clustering> {
    let n = meta.len();
    // Smaller groups are noise: below 3 up to some 300 tracks, below 20 from some 9 500 on.
    let min_size = ((n as f64).sqrt() / 5.0).round().clamp(3.0, 20.0) as usize;
    if n < min_size {
        return Err(ExploreError::TooFew {
            what: "clustering",
            needed: min_size,
            found: n,
        });
    }
    let noise = strays::strays(graph);
    let division = divide::divide(graph, &noise, min_size, seed);
    let assignment = numbered(&division.labels);
    let clusters = describe::describe(vectors, meta, &assignment);
    Ok(Clustering {
        clusters,
        noise: meta
            .iter()
            .zip(&assignment)
            .filter(|&(_, &id)| id == 0)
            .map(|(track, _)| track.id)
            .collect(),
        modularity: division.modularity,
        resolution: division.resolution,
    })
}

/// The id of each row: groups are numbered from 1, largest first; 0 is noise.
///
/// - `labels`: from 0, without gaps
fn numbered(labels: &[Option<usize>]) -> Vec<u32> {
    let groups = labels.iter().flatten().max().map_or(0, |&most| most + 1);
    let mut sizes = vec![0_usize; groups];
    labels.iter().flatten().for_each(|&label| sizes[label] += 1);
    let mut order: Vec<usize> = (0..groups).collect();
    order.sort_by_key(|&group| (std::cmp::Reverse(sizes[group]), group));
    let mut ids = vec![0; groups];
    for (&group, id) in order.iter().zip(1..) {
        ids[group] = id;
    }
    labels
        .iter()
        .map(|label| label.map_or(0, |label| ids[label]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::grouped;
    use super::*;

    fn metas(labels: &[usize]) -> Vec<TrackMeta> {
        labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let mut track = TrackMeta::new(TrackId(i as i64 + 100), format!("{i}.mp3"));
                track.genres =
                    vec![["rock", "jazz", "folk", "techno", "dub", "opera"][*label].to_owned()];
                track.artist = Some(format!("artist {}", i % 30));
                track
            })
            .collect()
    }

    #[test]
    fn finds_planted_groups_and_names_them() {
        let (vectors, labels) = grouped(6, 40, 32, 0.4, 5);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let meta = metas(&labels);
        let found = cluster(vectors.view(), &graph, &meta, None, 0).expect("240 tracks");
        assert_eq!(found.clusters.len(), 6);
        // Every cluster is pure; a few tracks at the border may be noise.
        for cluster in &found.clusters {
            assert_eq!(cluster.genres.len(), 1);
        }
        assert!(found.noise.len() <= 6, "{}", found.noise.len());
        let mut names: Vec<&str> = found
            .clusters
            .iter()
            .map(|c| c.name.split(' ').next().expect("a word"))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["dub", "folk", "jazz", "opera", "rock", "techno"]);
        let first = &found.clusters[0];
        assert!((38..=40).contains(&first.members.len()));
        assert!(
            (first.genres[0].share - 1.0).abs() < 1e-6 && (first.genres[0].lift - 6.0).abs() < 1e-4
        );
        assert_eq!(first.nearest.len(), 5);
    }

    #[test]
    fn a_part_of_the_collection() {
        let (vectors, labels) = grouped(4, 50, 16, 0.5, 1);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let meta = metas(&labels);
        let rows: Vec<usize> = (0..200).filter(|&i| labels[i] < 2).collect();
        let found = cluster(vectors.view(), &graph, &meta, Some(&rows), 0).expect("100");
        assert_eq!(found.clusters.len(), 2);
        let ids = found.ids();
        assert_eq!(ids.len(), 100);
        assert!(rows.iter().all(|&row| ids.contains_key(&meta[row].id)));
    }

    #[test]
    fn too_few_tracks_is_an_error() {
        let (vectors, labels) = grouped(1, 2, 4, 0.1, 1);
        let graph = KnnGraph::exact(vectors.view(), 1).expect("unit vectors");
        let error = cluster(vectors.view(), &graph, &metas(&labels), None, 0);
        assert_eq!(
            error.expect_err("two tracks").to_string(),
            "clustering needs at least 3 tracks, found 2: add more music"
        );
    }
}
