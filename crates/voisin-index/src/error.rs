//! What can go wrong with an index, and what to do about it.

use std::path::PathBuf;

use voisin_base::track::TrackId;

/// Why an index operation failed.
///
/// The index is a cache: after [`Damaged`](Self::Damaged), [`Version`](Self::Version),
/// [`Stale`](Self::Stale) or [`OtherModel`](Self::OtherModel) build it again from the vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A vector has another length than the index.
    #[error(
        "vector has {actual} dimensions, the index holds {expected}: embed it with the model of this index"
    )]
    Dimension {
        /// Dimensions of the index.
        expected: usize,
        /// Dimensions of the vector.
        actual: usize,
    },
    /// A vector has a NaN or an infinite component.
    #[error("vector{} has a component that is not finite (position {position}): leave this track out", label(*.track))]
    NotFinite {
        /// The track, if it has an id.
        track: Option<TrackId>,
        /// Position of the first such component.
        position: usize,
    },
    /// A vector is not of unit norm.
    #[error("vector{} has norm {norm}, expected 1 within {tolerance}: normalise it first", label(*.track))]
    Norm {
        /// The track, if it has an id.
        track: Option<TrackId>,
        /// Its Euclidean norm.
        norm: f64,
        /// How far from 1 is accepted.
        tolerance: f64,
    },
    /// The number of ids and the number of vectors differ.
    #[error("{ids} ids came with {vectors} vectors, expected one id per vector")]
    Count {
        /// Number of ids.
        ids: usize,
        /// Number of vectors.
        vectors: usize,
    },
    /// A track is in the index already.
    #[error("track {0} is in the index already: remove it first")]
    Duplicate(TrackId),
    /// A track is not in the index.
    #[error("track {0} is not in the index: bring the index up to date with the library")]
    Unknown(TrackId),
    /// The instruction set asked for cannot be had.
    #[error(transparent)]
    Isa(#[from] voisin_kernels::IsaError),
    /// An option is outside its range.
    #[error("index option {name} is {actual}, expected {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// What was given.
        actual: f64,
    },
    /// A graph search was asked of an index without a graph.
    #[error(
        "this index has no HNSW graph ({tracks} tracks, built from {graph_from} on): use another way of searching, or build with `graph_from: 0`"
    )]
    NoGraph {
        /// Tracks in the index.
        tracks: usize,
        /// From how many tracks on a graph is built.
        graph_from: usize,
    },
    /// A search of the lists was asked of an index without lists.
    #[error(
        "this index has no lists ({tracks} tracks, made from {lists_from} on): use the scan, or build with `lists_from: 0`"
    )]
    NoLists {
        /// Tracks in the index.
        tracks: usize,
        /// From how many tracks on lists are made.
        lists_from: usize,
    },
    /// A prepared subset belongs to another state of the index.
    #[error("the prepared subset is older than the index: prepare it again after inserting or removing")]
    SubsetOutdated,
    /// More vectors than the file format can number.
    #[error("an index holds at most {limit} vectors, not {actual}")]
    TooMany {
        /// The limit.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// The file is shorter, longer or different from what was written.
    #[error("index file {} is damaged ({what}): rebuild it", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The file has another format version.
    #[error("index file {} has format {actual}, this voisin reads {expected}: rebuild it", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version this build reads.
        expected: u32,
        /// The file's version.
        actual: u32,
    },
    /// The file belongs to another generation of the library.
    #[error("index file {} is of generation {actual}, the library is at {expected}: bring it up to date", .path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// The library's generation.
        expected: u64,
        /// The file's generation.
        actual: u64,
    },
    /// The file holds another model's vectors.
    #[error("index file {} was built by model {actual}, this library's vectors are from {expected}: rebuild it", .path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The library's model fingerprint.
        expected: String,
        /// The file's.
        actual: String,
    },
    /// The file holds other vectors than the library.
    #[error("index file {} was made of other vectors than this library holds: rebuild it", .path.display())]
    OtherVectors {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{doing} index file {} failed", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}

fn label(track: Option<TrackId>) -> String {
    track.map_or_else(String::new, |track| format!(" of track {track}"))
}
