//! Errors of an index, each with the next step.

use std::path::PathBuf;

use voisin_base::track::Id;

/// Why an index operation failed.
///
/// The index is a cache: after [`Damaged`](Self::Damaged), [`Version`](Self::Version),
/// [`Stale`](Self::Stale) or [`OtherModel`](Self::OtherModel) build it
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
    Isa(voisin_simd::IsaError),
    /// An option is outside its range.
    Option {
        /// The option's name.
        name: &'static str,
        /// Its range.
        expected: String,
        /// The value that was given.
        actual: f64,
    },
    /// A prepared subset belongs to another state of the index.
    SubsetOutdated,
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
            Self::Count { ids, vectors } => {
                write!(f, "{ids} ids came with {vectors} vectors, expected one id per vector")
            }
            Self::Duplicate(id) => write!(f, "id {id} is there twice, or in the index already: remove it first"),
            Self::Unknown(id) => {
                write!(f, "id {id} is not in the index")
            }
            Self::Isa(error) => error.fmt(f),
            Self::Option { name, expected, actual } => {
                write!(f, "index option {name} is {actual}, expected {expected}")
            }
            Self::SubsetOutdated => f.write_str(
                "the prepared subset is older than the index: prepare it again after inserting or removing",
            ),
            Self::TooMany { limit, actual } => {
                write!(f, "an index holds at most {limit} vectors, not {actual}")
            }
            Self::Damaged { path, what } => {
                write!(f, "index file {} is damaged ({what}): rebuild it", path.display())
            }
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
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<voisin_simd::IsaError> for IndexError {
    fn from(error: voisin_simd::IsaError) -> Self {
        Self::Isa(error)
    }
}

fn label(id: Option<Id>) -> String {
    id.map_or_else(String::new, |id| format!(" of id {id}"))
}
