//! Arguments and results of searches.

use voisin_base::track::Id;

use super::subset::Subset;

/// An item near the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Its id.
    pub id: Id,
    /// Cosine similarity to the query, in [-1, 1]; higher is nearer. Within 1e-4 of 64-bit
    /// arithmetic; some 3e-6 at 512 dimensions.
    pub similarity: f32,
}

/// Settings of one search.
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchParams<'a> {
    /// Compare with every vector at full precision: the reference.
    pub exact: bool,
    /// Width of the search: candidates of a walk for a single query, lists that are read for each
    /// of a batch; `None`: what the build found. Higher is slower and more complete.
    pub width: Option<usize>,
    /// Only items of this prepared subset are returned.
    pub subset: Option<&'a Subset>,
}

/// How an index is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IndexOptions {
    /// Half the links of a point, which are rounded up to a multiple of 16. 4 to 32.
    pub m: usize,
    /// Nearest vectors from which a point's links are chosen. 16 to 2 000.
    pub ef_construction: usize,
    /// Lists and a graph over them are built from this many items on; below, all are compared.
    /// [`usize::MAX`]: never.
    pub graph_from: usize,
    /// Recall@10 against the exact search for which the widths are chosen. 0 to 1.
    ///
    /// Measured with vectors of the index whose near copies are hidden; [`IndexStats::recall`] has
    /// the result. 0.995 leaves room above 0.99.
    pub target_recall: f64,
    /// How the graph is built.
    pub builder: GraphBuilder,
    /// Order of insertion of `hnsw_rs`. With one thread the same seed gives the same index.
    pub seed: u64,
}

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphBuilder {
    /// From the lists: faster, and the same graph on any number of threads.
    #[default]
    Lists,
    /// By `hnsw_rs` (Malkov and Yashunin 2018), whose lowest layer is the graph; with the feature of
    /// that name.
    #[cfg(feature = "hnsw_rs")]
    HnswRs,
}

impl GraphBuilder {
    /// All builders of this build.
    pub(crate) const ALL: &[Self] = &[
        Self::Lists,
        #[cfg(feature = "hnsw_rs")]
        Self::HnswRs,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lists => "voisin",
            #[cfg(feature = "hnsw_rs")]
            Self::HnswRs => "hnsw_rs",
        }
    }
}

impl std::str::FromStr for GraphBuilder {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.iter().map(|builder| builder.name());
        let found = Self::ALL.iter().find(|builder| builder.name() == s);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = names.collect();
            format!("unknown builder \"{s}\": expected {}", names.join(" or "))
        })
    }
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            m: 16,
            ef_construction: 200,
            graph_from: 5000,
            target_recall: 0.995,
            builder: GraphBuilder::default(),
            seed: 1,
        }
    }
}

impl IndexOptions {
    /// Whether an index of this many items has lists and a graph.
    pub(crate) fn wants_graph(&self, items: usize) -> bool {
        items >= self.graph_from.max(2)
    }
}

/// Identifies the vectors of an index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStamp {
    /// A number that grows with each change of vectors.
    pub generation: u64,
    /// The origin of the vectors: the model, and anything else they depend on.
    pub model_fingerprint: String,
    /// Dimensions of the vectors.
    pub dimension: usize,
}

/// Statistics of an index, or of an index file.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexStats {
    /// Items that a search can return.
    pub items: usize,
    /// Candidates of a walk for ten neighbours; `None` if a single query reads lists, as a batch
    /// does, or all vectors are compared.
    pub ef: Option<usize>,
    /// Lists that are read for ten neighbours of a query of a batch; `None` if all vectors are
    /// compared.
    pub lists: Option<usize>,
    /// Number of lists.
    pub list_count: usize,
    /// Recall@10 measured at the build, the lower of walk and lists, limited to what the number of
    /// trials supports; `None` if all vectors are compared.
    pub recall: Option<f64>,
    /// Items added since the last build: compared by every search.
    pub tail: usize,
    /// Items removed since the last build, which still take up memory.
    pub tombstones: usize,
    /// Bytes of its file that searches keep in memory; the rest, the second half of the vectors and
    /// the links, is read as it is needed.
    pub resident: usize,
}

/// Result of [`VectorIndex::self_check`](super::VectorIndex::self_check).
#[derive(Debug, Clone, PartialEq)]
pub struct SelfCheck {
    /// Items searched by their own vector.
    pub items: usize,
    /// Items that did not find themselves among their nearest (an equal similarity counts as
    /// found).
    pub lost: Vec<Id>,
    /// Items whose neighbours were compared with the exact search.
    pub sample: usize,
    /// Mean share of the ten exact neighbours that the default search returns.
    pub recall_at_10: f64,
}
