//! Arguments and results of searches.

use voisin_base::track::Id;

use super::metric::IndexMetric;
use super::subset::Subset;

/// An item near the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Its id.
    pub id: Id,
    /// Cosine similarity to the query, in [-1, 1]; higher is nearer. Within 5e-5 of 64-bit
    /// arithmetic; some 3e-6 at 512 dimensions. With [`IndexMetric::InnerProduct`] the product;
    /// with [`IndexMetric::Euclidean`] the negative distance, from 64-bit differences.
    pub similarity: f32,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SearchMode {
    /// The graph or the lists, whichever was faster at the build ([`WaySpeeds`]) for a single
    /// query, one with a filter or a batch; the scan if a filter leaves few items, and for small
    /// indexes.
    #[default]
    Auto,
    /// Every vector at full precision: the reference.
    Exact,
    /// Every vector at 1 bit per dimension, the best of them at 8 bits, the best of those at full
    /// precision.
    Scan,
    /// The lists nearest to the query at 64 bytes a vector, the best of them at 8 bits, the best of
    /// those at full precision.
    Lists,
    /// The HNSW graph at 64 bytes a vector, the best of it at 8 bits, the best of those at full
    /// precision.
    Hnsw,
}

impl SearchMode {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Exact => "exact",
            Self::Scan => "scan",
            Self::Lists => "lists",
            Self::Hnsw => "hnsw",
        }
    }
}

impl std::fmt::Display for SearchMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for SearchMode {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::Exact, Self::Scan, Self::Lists, Self::Hnsw]
            .into_iter()
            .find(|mode| mode.name() == s)
            .ok_or_else(|| {
                format!("unknown search mode \"{s}\": expected auto, exact, scan, lists or hnsw")
            })
    }
}

/// Settings of one search.
#[derive(Clone, Copy, Default)]
pub struct SearchParams<'a> {
    /// How to search.
    pub mode: SearchMode,
    /// Width of the search: candidates of the graph, or the approximate mean number of compared lists,
    /// which is higher for harder queries, and at least those that hold the candidates; `None`: the
    /// width measured by the build. Higher is slower and more complete.
    pub ef: Option<usize>,
    /// Vectors of the lists that are compared by more than their short codes; `None`: as many as
    /// the target recall needs, for any `ef`. Some tens suffice for a recall of 0.95.
    pub candidates: Option<usize>,
    /// Only items for which this is true are returned. Called up to once per item and search.
    pub filter: Option<&'a (dyn Fn(Id) -> bool + Sync)>,
    /// Only items of this prepared subset are returned: cheaper than `filter` when many searches
    /// share it.
    pub subset: Option<&'a Subset>,
    /// Only items of at least this [similarity](Neighbor::similarity) are returned, at most `k`;
    /// for Euclidean distances a negative radius.
    pub least: Option<f32>,
}

impl std::fmt::Debug for SearchParams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchParams")
            .field("mode", &self.mode)
            .field("ef", &self.ef)
            .field("candidates", &self.candidates)
            .field("filter", &self.filter.map(|_| "fn"))
            .field("subset", &self.subset.is_some())
            .field("least", &self.least)
            .finish()
    }
}

/// How an index is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IndexOptions {
    /// The measure of nearness.
    pub metric: IndexMetric,
    /// Half the links of a point, which are rounded up to a multiple of 16. 4 to 32.
    pub m: usize,
    /// Nearest vectors from which a point's links are chosen. 16 to 2 000.
    pub ef_construction: usize,
    /// A graph is built from this many items on, over lists; [`usize::MAX`]: none. It is used
    /// unless the lists were faster at the build, and takes 136 bytes per item in the file, and 2.4
    /// kilobytes more in the memory of a process that walks it often.
    pub graph_from: usize,
    /// A graph is built up to this many items: with the default, walks hold 3.6 gigabytes in
    /// memory, and the build takes more.
    pub graph_to: usize,
    /// Lists are made from this many items on; below, the scan is as fast and exact.
    pub lists_from: usize,
    /// Recall@10 against the exact search for which the default width is chosen. 0 to 1.
    ///
    /// Measured with three kinds of queries: vectors of the index with their neighbours in the
    /// order of ids hidden (up to 256 on either side, or eight times as many), vectors with their
    /// near copies hidden, and midpoints of two vectors. The worst of the three has to meet it;
    /// [`IndexStats::recall`] has the result. 0.995 leaves room above 0.99.
    pub target_recall: f64,
    /// How a graph is built.
    pub builder: GraphBuilder,
    /// With 0, 1, 2 or 4, an index with lists holds no vectors: only the lists' short codes, and
    /// this many bits for each component of their residuals. Candidates are compared with the
    /// vectors that [`read_vectors_with`](super::VectorIndex::read_vectors_with) reads. There is no
    /// graph then, whatever `graph_from` is.
    pub residual_bits: Option<usize>,
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
            metric: IndexMetric::Cosine,
            m: 16,
            ef_construction: 200,
            graph_from: 5000,
            graph_to: 1_500_000,
            lists_from: 5000,
            target_recall: 0.995,
            builder: GraphBuilder::default(),
            residual_bits: None,
            seed: 1,
        }
    }
}

impl IndexOptions {
    /// Whether an index of this many items has a graph.
    pub(crate) fn wants_graph(&self, items: usize) -> bool {
        // A graph needs vectors in the index.
        self.residual_bits.is_none() && (self.graph_from.max(2)..=self.graph_to).contains(&items)
    }
}

/// Speeds of graph and lists measured at the build, at the width that each needs for the recall:
/// medians of alternating repeats on one thread, in queries a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WaySpeeds {
    /// Single queries.
    pub alone: GraphAndLists,
    /// Single queries with a filter that half of the items pass.
    pub filtered: GraphAndLists,
    /// Queries in batches.
    pub batches: GraphAndLists,
}

/// Queries a second by either method.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GraphAndLists {
    /// By a walk of the graph.
    pub graph: f64,
    /// By a search of the lists.
    pub lists: f64,
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

/// Statistics of an index file, from [`VectorIndex::summary`](super::VectorIndex::summary).
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSummary {
    /// The vectors that it belongs to.
    pub stamp: IndexStamp,
    /// Items that a search can return.
    pub items: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Those that searches keep in memory; the rest, the second half of the vectors, is read as it
    /// is needed.
    pub resident: u64,
    /// How [`SearchMode::Auto`] searches it for a query alone: [`SearchMode::Scan`],
    /// [`SearchMode::Lists`] or [`SearchMode::Hnsw`].
    pub mode: SearchMode,
    /// The same for queries in batches.
    pub batch_mode: SearchMode,
    /// The speeds by which both modes were chosen; `None` if not measured.
    pub speeds: Option<WaySpeeds>,
    /// From how many items on a build makes a graph.
    pub graph_from: usize,
    /// From how many items on a build makes lists.
    pub lists_from: usize,
    /// Default width of a graph search for ten neighbours; `None` without a graph.
    pub ef: Option<usize>,
    /// Recall@10 of that mode measured at the build; `None` if all vectors are scanned.
    pub recall: Option<f64>,
    /// Reach of a search of the lists for ten neighbours; `None` without lists.
    pub lists: Option<ListStats>,
    /// Bits per component of residuals, if it holds no vectors.
    pub residual_bits: Option<usize>,
    /// Items added since the last build.
    pub tail: usize,
    /// Items removed since the last build.
    pub tombstones: usize,
}

/// Reach of a search of the lists for ten neighbours, measured at the build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListStats {
    /// Lists, on average.
    pub lists: usize,
    /// Vectors of them that are compared at 8 bits, or by residuals in an index without vectors.
    pub candidates: usize,
    /// Those of them that are compared in full.
    pub read: Option<usize>,
    /// Recall@10 against the exact search, for the worst kind of
    /// [trials](IndexOptions::target_recall).
    pub recall: f64,
    /// Standard error of this recall.
    pub recall_error: f64,
}

/// Statistics of an index, for `status`.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexStats {
    /// Items that a search can return.
    pub items: usize,
    /// Dimensions.
    pub dimension: usize,
    /// How [`SearchMode::Auto`] searches now for a query alone: [`SearchMode::Scan`],
    /// [`SearchMode::Lists`] or [`SearchMode::Hnsw`].
    pub mode: SearchMode,
    /// The same for queries in batches.
    pub batch_mode: SearchMode,
    /// The speeds by which both modes were chosen; `None` if not measured.
    pub speeds: Option<WaySpeeds>,
    /// Default width of a graph search for ten neighbours.
    pub ef: usize,
    /// Recall@10 of [`SearchMode::Auto`] measured at the build; with near copies limited to what
    /// their number of groups supports; `None` if all vectors are scanned.
    pub recall: Option<f64>,
    /// Reach of a search of the lists for ten neighbours; `None` without lists.
    pub lists: Option<ListStats>,
    /// Number of lists.
    pub list_count: usize,
    /// Items added since the last build: scanned beside the lists or the graph.
    pub tail: usize,
    /// Removed items that still take up memory.
    pub tombstones: usize,
    /// Links in the graph.
    pub links: usize,
    /// Bytes of the index in memory or mapped from its file.
    pub bytes: usize,
    /// Those that searches keep in memory; of a mapped file the rest, the second half of the
    /// vectors, is read as it is needed.
    pub resident: usize,
    /// Instruction set of the kernels: "AVX-512", "AVX2", "NEON" or "portable".
    pub isa: &'static str,
    /// Whether the vectors are mapped from a file.
    pub mapped: bool,
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
