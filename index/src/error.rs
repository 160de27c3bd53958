//! Errors of an index, each with the next step.

use std::path::PathBuf;

use voisin_base::track::Id;

/// Why an index operation failed.
///
/// The index is a cache: after [`Damaged`](Self::Damaged), [`Changed`](Self::Changed),
/// [`Version`](Self::Version), [`Stale`](Self::Stale) or [`OtherModel`](Self::OtherModel) build it
/// again from the vectors.
#[derive(Debug)]
#[non_exhaustive]
pub enum IndexError {
    /// A vector has another length than the index.
    Dimension {
        /// Dimensions of the index.
        expected: usize,
        /// Dimensions of the vector.
        actual: usize,
    },
    /// A vector has a NaN or an infinite component.
    NotFinite {
        /// Its id, if it has one.
        id: Option<Id>,
        /// Position of the first such component.
        position: usize,
    },
    /// A vector of zeros, which has no direction.
    NoDirection {
        /// Its id, if it has one.
        id: Option<Id>,
    },
    /// A vector is much longer, or much farther from the others, than those that the index was
    /// built of.
    TooFar {
        /// Its id.
        id: Id,
        /// Its distance from the middle of the index.
        length: f64,
        /// The largest allowed one.
        limit: f64,
    },
    /// The number of ids and the number of vectors differ.
    Count {
        /// Number of ids.
        ids: usize,
        /// Number of vectors.
        vectors: usize,
    },
    /// An item is in the index already.
    Duplicate(Id),
    /// An item is not in the index.
    Unknown(Id),
    /// The requested instruction set is not available.
    Isa(voisin_kernels::IsaError),
    /// An option is outside its range.
    Option {
        /// The option's name.
        name: &'static str,
        /// Its range.
        expected: String,
        /// The value that was given.
        actual: f64,
    },
    /// A graph search was requested of an index without a graph.
    NoGraph {
        /// Items in the index.
        items: usize,
        /// Number of items from which on a graph is built.
        graph_from: usize,
    },
    /// A search of the lists was requested of an index without lists.
    NoLists {
        /// Items in the index.
        items: usize,
        /// Number of items from which on lists are made.
        lists_from: usize,
    },
    /// A prepared subset belongs to another state of the index.
    SubsetOutdated,
    /// The index holds no vectors, and no reader was set.
    NoVectors,
    /// The vectors, which the index does not hold, could not be read.
    Reading {
        /// The reader's reason.
        source: std::io::Error,
    },
    /// More vectors than the file format can number.
    TooMany {
        /// The limit.
        limit: usize,
        /// The value that was given.
        actual: usize,
    },
    /// A query of a batch is invalid.
    Query {
        /// Its row.
        number: usize,
        /// The reason.
        error: Box<IndexError>,
    },
    /// The file is damaged, truncated or too long.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damaged part.
        what: String,
    },
    /// The mapped file was overwritten after it was opened; it may only be replaced by renaming.
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file has another format version.
    Version {
        /// The file.
        path: PathBuf,
        /// The version this build reads.
        expected: u32,
        /// The file's version.
        actual: u32,
    },
    /// The file is of another generation than expected.
    Stale {
        /// The file.
        path: PathBuf,
        /// The generation that is expected.
        expected: u64,
        /// The file's generation.
        actual: u64,
    },
    /// The file holds vectors of another origin.
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The origin that is expected.
        expected: String,
        /// The file's.
        actual: String,
    },
    /// The file holds other vectors than expected.
    OtherVectors {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The action that failed.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dimension { expected, actual } => write!(
                f,
                "vector has {actual} dimensions, expected {expected} as the index has"
            ),
            Self::NotFinite { id, position } => write!(
                f,
                "vector{} has a component that is not finite (position {position}): leave it out",
                label(*id)
            ),
            Self::NoDirection { id } => {
                write!(f, "vector{} has length 0, and so no direction: leave it out", label(*id))
            }
            Self::Query { number, error } => write!(f, "query {number} of the batch: {error}"),
            Self::TooFar { id, length, limit } => write!(
                f,
                "vector of id {id} is {length:.1e} from the middle of the others, expected at most {limit:.1e}: \
                 leave it out, or build the index again with it and others as far"
            ),
            Self::Count { ids, vectors } => {
                write!(f, "{ids} ids came with {vectors} vectors, expected one id per vector")
            }
            Self::Duplicate(id) => write!(f, "id {id} is there twice, or in the index already: remove it first, or use `upsert`"),
            Self::Unknown(id) => {
                write!(f, "id {id} is not in the index")
            }
            Self::Isa(error) => error.fmt(f),
            Self::Option { name, expected, actual } => {
                write!(f, "index option {name} is {actual}, expected {expected}")
            }
            Self::NoGraph { items, graph_from } => write!(
                f,
                "this index has no HNSW graph ({items} items, built from {graph_from} on): use another way of \
                 searching, or build with `graph_from: 0`"
            ),
            Self::NoLists { items, lists_from } => write!(
                f,
                "this index has no lists ({items} items, made from {lists_from} on): use the scan, or build with \
                 `lists_from: 0`"
            ),
            Self::SubsetOutdated => f.write_str(
                "the prepared subset is older than the index: prepare it again after inserting or removing",
            ),
            Self::NoVectors => {
                f.write_str("this index holds no vectors: say where they are with `read_vectors_with`")
            }
            Self::Reading { .. } => f.write_str("the vectors of an index that holds none could not be read"),
            Self::TooMany { limit, actual } => {
                write!(f, "an index holds at most {limit} vectors, not {actual}")
            }
            Self::Damaged { path, what } => {
                write!(f, "index file {} is damaged ({what}): rebuild it", path.display())
            }
            Self::Changed { path } => write!(
                f,
                "index file {} was written into while it was open: open it again, or rebuild it",
                path.display()
            ),
            Self::Version { path, expected, actual } => write!(
                f,
                "index file {} has format {actual}, this voisin reads {expected}: rebuild it",
                path.display()
            ),
            Self::Stale { path, expected, actual } => write!(
                f,
                "index file {} is of generation {actual}, expected {expected}: bring it up to date",
                path.display()
            ),
            Self::OtherModel { path, expected, actual } => write!(
                f,
                "index file {} holds vectors of {actual}, expected those of {expected}: rebuild it",
                path.display()
            ),
            Self::OtherVectors { path } => write!(
                f,
                "index file {} was made of other vectors than expected: rebuild it",
                path.display()
            ),
            Self::Io { path, doing, .. } => write!(f, "{doing} index file {} failed", path.display()),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Reading { source } => Some(source),
            _ => None,
        }
    }
}

impl From<voisin_kernels::IsaError> for IndexError {
    fn from(error: voisin_kernels::IsaError) -> Self {
        Self::Isa(error)
    }
}

fn label(id: Option<Id>) -> String {
    id.map_or_else(String::new, |id| format!(" of id {id}"))
}
