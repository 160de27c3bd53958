//! voisin ("neighbour"): a vector-search engine for music.
//!
//! Audio files become vectors; vectors that lie near each other are tracks that sound alike.
//!
//! ```text
//! file → mono samples → windows → mel spectrograms → window vectors → track vector → library → index
//!        probe, add               MelConfig          Encoder          Embedder       Library   VectorIndex
//! ```
//!
//! An [`Engine`] joins the parts: a [`Library`] (SQLite, the truth), a [`VectorIndex`] (a cache of it), and the roads to
//! answers. An [`Embedder`] listens to files.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use voisin::{
//!     AddOptions, DescriptorDepth, DeviceChoice, Embedder, Encoder, Engine, ModelRef, OpenMode, SimilarOptions,
//!     WindowPlan, add, is_audio_candidate, scan,
//! };
//!
//! let encoder = Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve()?)?;
//! let embedder = Embedder::new(encoder)?;
//! let folder = tempfile::tempdir()?;
//! let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
//!
//! let music = scan(&["data/demo/library/metal".into()], &is_audio_candidate);
//! let options = AddOptions {
//!     windows: WindowPlan::Spread(2),
//!     force: false,
//!     retry: false,
//!     dry_run: false,
//!     descriptors: DescriptorDepth::Fast,
//!     update_descriptors: false,
//!     threads: 2,
//! };
//! let stop = AtomicBool::new(false);
//! let summary = add(engine.library_mut(), &embedder, &music.files, &options, &mut |_| {}, &stop)?;
//! assert_eq!(summary.added as usize, music.files.len());
//!
//! let seed = engine.seed("chaos god".as_ref(), || Ok(&embedder))?;
//! let found = engine.similar(&[seed], &SimilarOptions { limit: 2, ..SimilarOptions::default() })?;
//! assert!(found.len() == 2 && found[0].similarity >= found[1].similarity);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The index needs none of the rest; any unit vectors will do:
//!
//! ```
//! use ndarray::array;
//! use voisin::{IndexOptions, SearchParams, TrackId, VectorIndex};
//!
//! let ids = [TrackId(1), TrackId(2), TrackId(3)];
//! let vectors = array![[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//!
//! let odd = |track: TrackId| track.0 % 2 == 1;
//! let params = SearchParams { filter: Some(&odd), ..SearchParams::default() };
//! let nearest = index.search(&[1.0, 0.0], 2, &params)?;
//! assert_eq!(nearest.iter().map(|found| found.track.0).collect::<Vec<_>>(), [1, 3]);
//! # Ok::<(), voisin::IndexError>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | window | a stretch of audio of the length that a network takes at once (1 s or 3 s) |
//! | embedding | a window's or a track's vector; a track's is the mean of its windows', scaled to unit norm |
//! | similarity | the cosine of two embeddings relative to the library's mean, -1 to 1; higher is nearer |
//! | seed | what a search starts from: tracks, files, or words that name them |
//! | model | a network's weights with a manifest; its fingerprint is stored with every vector |
//! | generation | a number that the library raises with each change, so that an index knows whether it lags |
//! | head | a classifier trained on the vectors of labelled tracks |
//! | vote | the genres of the labelled neighbours, weighted by distance |
//! | kinship | how close two genres are to one another |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `parquet` | tracks as Parquet files |
//! | `postgres` | libraries in PostgreSQL with pgvector |
//! | `trace` | a span for each layer of a network, and `--trace` |
//! | `cuda` | the encoder on an NVIDIA GPU |

// The floors below, under the names that the modules here know them by.
pub(crate) use voisin_audio as audio;
pub(crate) use voisin_base as base;
pub(crate) use voisin_base::track;
pub(crate) use voisin_encoder as encoder;
pub(crate) use voisin_engine as engine;
pub(crate) use voisin_explore as explore;
pub(crate) use voisin_features as features;
pub(crate) use voisin_index as index;
pub(crate) use voisin_kernels as kernels;
pub(crate) use voisin_lab as lab;
pub(crate) use voisin_lab::dataset;
pub(crate) use voisin_lab::eval;
pub(crate) use voisin_learn as learn;
pub(crate) use voisin_learn::genre;
pub(crate) use voisin_learn::metrics;
pub(crate) use voisin_library as library;
#[cfg(feature = "postgres")]
pub(crate) use voisin_postgres as backend;
pub(crate) use voisin_questions as questions;
pub(crate) use voisin_questions::answers;
pub(crate) use voisin_serve as serve;
pub(crate) use voisin_train as train;

#[doc(hidden)]
pub mod cli;

// What every part shares.
pub use base::remedy::Remedy;
pub use track::{ContentId, TrackId};

// Files of audio.
pub use audio::{AudioError, AudioInfo, is_audio_candidate, probe};
pub use library::scan::{Scan, scan};

// Models: from spectrograms to vectors.
pub use encoder::{
    Architecture, CpuPath, Device, DeviceChoice, Embedding, Encoder, EncoderError, EncoderOptions,
    ImportError, ModelEntry, ModelManifest, ModelRef, Precision, import_model, models,
};
pub use features::{FeaturesError, MelConfig, OpenL3Variant};

// The library: tracks, their files, their vectors.
pub use library::{
    Descriptors, FileRecord, Library, LibraryError, MusicalKey, OpenMode, Status, StoredFile, Track,
    TrackFilter, TrackTags, default_dir,
};

// The index.
pub use index::{
    GraphBuilder, IndexError, IndexOptions, IndexStamp, IndexStats, Neighbor, SearchMode, SearchParams,
    SelfCheck, Subset, VectorIndex,
};

// The parts joined: add, search.
pub use engine::{
    AddEvent, AddOptions, AddSummary, DescriptorDepth, Embedder, Engine, EngineError, FileEmbedding,
    IndexRefresh, Outcome, Passage, Seed, SimilarOptions, SimilarPassage, SimilarTrack, WindowPlan, add,
};

// Genres.
pub use engine::{Classifier, ClassifyOptions, Evidence, Finding, GenreAnswer, GenreHead, LabelSource};
pub use genre::{
    FitOptions, Genre, GenreError, GenrePrediction, GenreShare, Kinship, KinshipOptions, LabelCount,
    PredictOptions, Suspect, Taxonomy, VoteOptions,
};

// Exploring a collection.
pub use engine::Collection;
pub use explore::clusters::{Cluster, ClusterOptions, Clustering, Detail, cluster};
pub use explore::layout::{LayoutOptions, layout};
pub use explore::path::{PathOptions, Walk, path};
pub use explore::{ExploreError, KnnGraph, TrackMeta};

/// The rooms behind the door, for voisin's own tests, benches and fuzz targets: no promise holds here.
#[doc(hidden)]
#[allow(missing_docs, reason = "each room says at its own top what it is for")]
pub mod internals {
    macro_rules! rooms {
        ($($(#[$when:meta])? $room:ident)*) => {
            $($(#[$when])? pub mod $room { pub use crate::$room::*; })*
        };
    }
    rooms! {
        audio encoder engine explore features genre index kernels learn library metrics track
        dataset
        eval
        lab
        #[cfg(feature = "postgres")] backend
        train
    }
}
