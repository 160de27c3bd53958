//! Clusters of tracks, from vectors alone.
//!
//! The k-NN graph is divided by Leiden (Traag, Waltman, van Eck, "From Louvain to Leiden: guaranteeing
//! well-connected communities", 2019), which chooses the number of groups; a resolution sets the level of
//! detail, by default the most stable one. Edges have weight 2 between mutual neighbours, else 1.
//! Deterministic for a seed, regardless of the number of threads.
//!
//! In collections of more than 200 000 tracks a random sample is divided, and the others join their neighbours.
//!
//! Ids persist over rescans: the next division starts from the previous one and is matched with it by
//! overlap ([`Identity`], [`Change`]).
//!
//! Not for: genres, which are only used to name clusters.

mod compare;
mod describe;
mod divide;
mod identity;
mod leiden;
mod stability;

pub use compare::{adjusted_rand_index, normalised_mutual_information};
pub use identity::{Change, Identity};

use ndarray::{ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExploreError, KnnGraph, Result, TrackMeta, same_length, strays};
use voisin_base::track::TrackId;

/// Neighbours per track that clustering uses; more blur small groups (measured on GTZAN: 10, 15,
/// 20, 30).
pub const NEIGHBOURS: usize = 15;

/// Largest part of a collection for which an exact neighbour graph is computed.
const EXACT_SUBSET: usize = 20_000;

/// Tracks up to which divisions vary with the random numbers, so that more runs are made.
const SMALL: usize = 5000;

/// Resolution of [`Detail::Coarse`].
const COARSE: f64 = 0.35;

/// Level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Few, broad groups.
    Coarse,
    /// The most stable level: the resolution whose groups are found again without a fifth of the
    /// tracks.
    #[default]
    Default,
    /// Many small groups, which together have at least half of the tracks.
    Fine,
}

impl Detail {
    /// Its name, as parsed by [`FromStr`](std::str::FromStr); part of the key of stored cluster ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Default => "default",
            Self::Fine => "fine",
        }
    }

    /// Leiden's resolution for this level, reduced in collections that it would split too far; `None`: the most stable
    /// one.
    pub fn resolution(self) -> Option<f64> {
        match self {
            Self::Coarse => Some(COARSE),
            Self::Default => None,
            Self::Fine => Some(4.0),
        }
    }
}

impl std::str::FromStr for Detail {
    type Err = ExploreError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "coarse" => Ok(Self::Coarse),
            "default" => Ok(Self::Default),
            "fine" => Ok(Self::Fine),
            other => Err(ExploreError::Parameter {
                name: "level of detail",
                found: other.to_owned(),
                expected: "coarse, default or fine",
            }),
        }
    }
}

/// Settings of a clustering.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClusterOptions {
    /// Level of detail; ignored if `count` is set.
    pub detail: Detail,
    /// Exactly this many clusters.
    pub count: Option<usize>,
    /// Seed of the random numbers: the same seed gives the same clusters.
    pub seed: u64,
    /// Smaller groups become noise; `None`: a fifth of the root of the number of tracks, from 3 to 20.
    pub min_size: Option<usize>,
}

/// A group of tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Persistent id, see [`Identity`]; from 1.
    pub id: u32,
    /// Unique name from its most distinctive genres, tags and artists.
    pub name: String,
    /// Member tracks, nearest to the centre first.
    pub members: Vec<TrackId>,
    /// The track with the largest mean similarity to the others.
    pub medoid: TrackId,
    /// Mean cosine similarity of its tracks to its centre, 0 to 1; higher is tighter.
    pub cohesion: f32,
    /// Genres of its tracks (without a tag, predicted with at least half of the votes), largest share first.
    pub genres: Vec<Share>,
    /// Tags of its tracks, most distinctive first.
    pub tags: Vec<Share>,
    /// Artists of its tracks, most distinctive first.
    pub artists: Vec<Share>,
    /// Other clusters by similarity of centres, nearest first; at most five.
    pub nearest: Vec<NearCluster>,
}

/// Frequency of a label in a cluster, and relative to the whole collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_field_names, reason = "a share is what it is called")]
pub struct Share {
    /// Genre, tag or artist.
    pub label: String,
    /// Tracks of the cluster with the label.
    pub tracks: usize,
    /// Those of them whose genre is predicted, as their tags have none; 0 for tags and artists.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// Clusters, largest first.
    pub clusters: Vec<Cluster>,
    /// Tracks in no cluster.
    pub noise: Vec<TrackId>,
    /// Cluster id per input row; 0 for noise and for rows that were not clustered.
    pub assignment: Vec<u32>,
    /// Modularity of the division (at resolution 1, without noise), −0.5 to 1; higher is better separated.
    pub modularity: f64,
    /// Leiden's resolution.
    pub resolution: f64,
    /// Changes since the previous clustering; empty on the first run.
    pub changes: Vec<Change>,
    /// To be passed to the next run, which keeps the ids.
    pub identity: Identity,
}

/// Finds clusters, names them and keeps ids of `previous`.
///
/// - `vectors`: `[n, dim]` unit vectors; `graph` and `meta` have the same rows. The first [`NEIGHBOURS`] of the
///   graph's neighbours are used.
/// - `rows`: clusters only these rows, such as those of one genre, ascending; `None` for all. The result's
///   `assignment` still has one entry per input row.
/// - `previous`: from a clustering of the same scope (same `rows` condition and level of detail)
pub fn cluster(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    rows: Option<&[usize]>,
    options: &ClusterOptions,
    previous: Option<&Identity>,
) -> Result<Clustering> {
    same_length("metadata", vectors.nrows(), meta.len())?;
    same_length("neighbour graph", vectors.nrows(), graph.len())?;
    let Some(rows) = rows else {
        return cluster_rows(
            vectors,
            graph,
            &meta.iter().collect::<Vec<_>>(),
            options,
            previous,
        );
    };
    if let Some(&bad) = rows.iter().find(|&&row| row >= meta.len()) {
        return Err(ExploreError::Row {
            row: bad,
            rows: meta.len(),
        });
    }
    let part = vectors.select(Axis(0), rows);
    let part_graph = if rows.len() <= EXACT_SUBSET {
        // Most neighbours in the whole graph are outside the part.
        KnnGraph::exact(part.view(), NEIGHBOURS)?
    } else {
        graph.induced(rows)
    };
    let part_meta: Vec<&TrackMeta> = rows.iter().map(|&row| &meta[row]).collect();
    let mut clustering = cluster_rows(part.view(), &part_graph, &part_meta, options, previous)?;
    let mut assignment = vec![0; meta.len()];
    for (&row, &id) in rows.iter().zip(&clustering.assignment) {
        assignment[row] = id;
    }
    clustering.assignment = assignment;
    Ok(clustering)
}

/// As [`cluster`], on all rows.
fn cluster_rows(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[&TrackMeta],
    options: &ClusterOptions,
    previous: Option<&Identity>,
) -> Result<Clustering> {
    let n = meta.len();
    let min_size = options
        .min_size
        // 3 up to some 300 tracks, 20 from some 9 500 on.
        .unwrap_or(((n as f64).sqrt() / 5.0).round().clamp(3.0, 20.0) as usize);
    if n < min_size.max(2) {
        return Err(ExploreError::TooFew {
            what: "clustering",
            needed: min_size.max(2),
            found: n,
        });
    }
    let ids: Vec<TrackId> = meta.iter().map(|track| track.id).collect();
    // Left out before dividing, since a stray would join the nearest group in any case.
    let noise = strays::strays(graph);
    let start = previous.map(|p| p.labels(&ids));
    let resolution = previous.and_then(|p| p.resolution);
    let question = question(vectors, &ids, min_size, options);
    let division = match (resolution, &start) {
        (Some(resolution), Some(groups))
            if previous.is_some_and(|p| p.question == Some(question)) =>
        {
            // The same tracks and options keep their division, even if there is a better one.
            divide::unchanged(graph, &noise, groups, resolution)
        }
        _ => divide::divide(divide::DivisionInput {
            vectors,
            graph,
            noise: &noise,
            min_size,
            options,
            start,
            resolution,
        })?,
    };
    let (assignment, changes, mut identity) =
        identity::carry_over(&ids, &division.labels, previous);
    // Stored for the next run.
    identity.resolution = Some(division.resolution);
    identity.question = Some(question);
    let clusters = describe::describe(vectors, meta, &assignment);
    Ok(Clustering {
        clusters,
        noise: ids
            .iter()
            .zip(&assignment)
            .filter(|&(_, &id)| id == 0)
            .map(|(&track, _)| track)
            .collect(),
        assignment,
        modularity: division.modularity,
        resolution: division.resolution,
        changes,
        identity,
    })
}

/// Fingerprint of everything that a division depends on. It is stored, so that its form (BLAKE3) must
/// not change.
fn question(
    vectors: ArrayView2<'_, f32>,
    ids: &[TrackId],
    min_size: usize,
    options: &ClusterOptions,
) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let number = |hasher: &mut blake3::Hasher, n: u64| {
        hasher.update(&n.to_le_bytes());
    };
    hasher.update(b"voisin clusters 1\0");
    hasher.update(options.detail.name().as_bytes());
    if options.detail == Detail::Fine {
        // Earlier releases left most of a small collection out of fine groups.
        hasher.update(b" 2");
    }
    for n in [
        options.count.map_or(u64::MAX, |n| n as u64),
        min_size as u64,
        options.seed,
        ids.len() as u64,
    ] {
        number(&mut hasher, n);
    }
    ids.iter().for_each(|id| number(&mut hasher, id.0 as u64));
    // Many rows at a time, because BLAKE3 is five times as fast for long pieces.
    let mut bytes = Vec::new();
    for rows in vectors.axis_chunks_iter(Axis(0), 128) {
        bytes.clear();
        bytes.extend(rows.iter().flat_map(|x| x.to_le_bytes()));
        hasher.update(&bytes);
    }
    let digest = hasher.finalize();
    u64::from_le_bytes(
        *digest
            .as_bytes()
            .first_chunk()
            .expect("a digest has 32 bytes"),
    )
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
        let found = cluster(
            vectors.view(),
            &graph,
            &meta,
            None,
            &ClusterOptions::default(),
            None,
        )
        .expect("240 tracks");
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
        assert_eq!(found.identity.members.len() + found.noise.len(), 240);
    }

    #[test]
    fn same_seed_same_clusters_and_fixed_counts() {
        let (vectors, labels) = grouped(5, 60, 24, 0.8, 9);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let meta = metas(&labels);
        for count in [2, 3, 7, 12] {
            let options = ClusterOptions {
                count: Some(count),
                seed: 4,
                ..ClusterOptions::default()
            };
            let a =
                cluster(vectors.view(), &graph, &meta, None, &options, None).expect("300 tracks");
            assert_eq!(a.clusters.len(), count);
            let b =
                cluster(vectors.view(), &graph, &meta, None, &options, None).expect("300 tracks");
            assert_eq!(a, b);
        }
    }

    #[test]
    fn coarse_is_coarser_than_fine() {
        // Two pairs of near groups.
        let (mut vectors, labels) = grouped(6, 100, 16, 1.6, 2);
        for (i, mut row) in vectors.rows_mut().into_iter().enumerate() {
            row[labels[i] / 2] += 0.5;
            let norm = row.dot(&row).sqrt();
            row /= norm;
        }
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let meta = metas(&labels);
        let count = |detail| {
            let options = ClusterOptions {
                detail,
                ..ClusterOptions::default()
            };
            cluster(vectors.view(), &graph, &meta, None, &options, None)
                .expect("600 tracks")
                .clusters
                .len()
        };
        let counts = [
            count(Detail::Coarse),
            count(Detail::Default),
            count(Detail::Fine),
        ];
        assert!(
            counts[0] <= counts[1] && counts[1] < counts[2] && counts[0] + 3 < counts[2],
            "{counts:?}"
        );
    }

    #[test]
    fn ids_survive_new_tracks() {
        let (vectors, labels) = grouped(6, 100, 16, 0.9, 11);
        let meta = metas(&labels);
        let old = 570;
        let part = vectors.slice(ndarray::s![..old, ..]);
        let graph = KnnGraph::exact(part, NEIGHBOURS).expect("unit vectors");
        let first = cluster(
            part,
            &graph,
            &meta[..old],
            None,
            &ClusterOptions::default(),
            None,
        )
        .expect("tracks");
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let options = ClusterOptions {
            seed: 99,
            ..ClusterOptions::default()
        };
        let second = cluster(
            vectors.view(),
            &graph,
            &meta,
            None,
            &options,
            Some(&first.identity),
        )
        .expect("tracks");
        let kept = first
            .assignment
            .iter()
            .zip(&second.assignment)
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            kept as f64 >= 0.95 * old as f64,
            "{kept} of {old} kept their id"
        );
    }

    #[test]
    fn a_part_of_the_collection() {
        let (vectors, labels) = grouped(4, 50, 16, 0.5, 1);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let meta = metas(&labels);
        let rows: Vec<usize> = (0..200).filter(|&i| labels[i] < 2).collect();
        let found = cluster(
            vectors.view(),
            &graph,
            &meta,
            Some(&rows),
            &ClusterOptions::default(),
            None,
        )
        .expect("100");
        assert_eq!(found.clusters.len(), 2);
        assert!(
            found
                .assignment
                .iter()
                .zip(&labels)
                .all(|(&id, &label)| (id == 0) == (label >= 2))
        );
    }

    /// Stored in libraries: a change would divide every library again once.
    const QUESTION: u64 = 14_011_290_312_320_270_748;

    #[test]
    fn the_stored_fingerprint_does_not_change() {
        let vectors = ndarray::array![[1.0_f32, 0.0], [0.6, 0.8]];
        let ids = [TrackId(3), TrackId(9)];
        let question_of = |options: &ClusterOptions| question(vectors.view(), &ids, 3, options);
        let plain = ClusterOptions {
            seed: 7,
            ..ClusterOptions::default()
        };
        assert_eq!(question_of(&plain), QUESTION);
        for other in [
            ClusterOptions {
                detail: Detail::Fine,
                ..plain.clone()
            },
            ClusterOptions {
                count: Some(4),
                ..plain.clone()
            },
            ClusterOptions {
                seed: 8,
                ..plain.clone()
            },
        ] {
            assert_ne!(question_of(&other), QUESTION);
        }
        assert_ne!(question(vectors.view(), &ids, 4, &plain), QUESTION);
        assert_ne!(
            question(vectors.view(), &[TrackId(3), TrackId(8)], 3, &plain),
            QUESTION
        );
    }

    #[test]
    fn too_few_tracks_is_an_error() {
        let (vectors, labels) = grouped(1, 2, 4, 0.1, 1);
        let graph = KnnGraph::exact(vectors.view(), 1).expect("unit vectors");
        let error = cluster(
            vectors.view(),
            &graph,
            &metas(&labels),
            None,
            &ClusterOptions::default(),
            None,
        );
        assert_eq!(
            error.expect_err("two tracks").to_string(),
            "clustering needs at least 3 tracks, found 2: add more music"
        );
    }
}
