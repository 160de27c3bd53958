//! voisin ("neighbour"): a vector-search engine for music.
//!
//! Audio files are converted to vectors; tracks with near vectors sound alike.
//!
//! ```text
//! file → mono samples → windows → mel spectrograms → window vectors → track vector → library → index
//!        probe, add               MelConfig          Encoder          Embedder       Library   VectorIndex
//! ```
//!
//! An [`Engine`] joins the parts: a [`Library`] (SQLite, the truth), a [`VectorIndex`] (a cache of it), and
//! queries. An [`Embedder`] converts files to vectors.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use voisin::{
//!     AddOptions, DeviceChoice, Embedder, Encoder, Engine, ModelRef, OpenMode, SimilarOptions, WindowPlan, add,
//!     is_audio_candidate, scan,
//! };
//!
//! let encoder = Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve()?)?;
//! let embedder = Embedder::new(encoder)?;
//! let folder = tempfile::tempdir()?;
//! let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
//!
//! let music = scan(&["../../data/demo/library/metal".into()], &is_audio_candidate);
//! let options = AddOptions { windows: WindowPlan::Spread(2), ..AddOptions::default() };
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
//! The index works alone, with any unit vectors:
//!
//! ```
//! use ndarray::array;
//! use voisin::{IndexOptions, SearchParams, TrackId, VectorIndex};
//!
//! let ids = [TrackId(1), TrackId(2), TrackId(3)];
//! let vectors = array![[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]];
//! let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
//!
//! let odd = index.subset_of(&[TrackId(1), TrackId(3)]);
//! let params = SearchParams { subset: Some(&odd), ..SearchParams::default() };
//! let nearest = index.search(&[1.0, 0.0], 2, &params)?;
//! assert_eq!(nearest.iter().map(|found| found.id.0).collect::<Vec<_>>(), [1, 3]);
//! # Ok::<(), voisin::IndexError>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | window | a piece of audio as long as a network's input (1 s or 3 s) |
//! | embedding | a window's or a track's vector; a track's is the mean of its windows', scaled to unit norm |
//! | similarity | the cosine of two embeddings relative to the library's mean, -1 to 1; higher is nearer |
//! | seed | the start of a search: tracks, files, or words that name them |
//! | model | a network's weights with a manifest; its fingerprint is stored with every vector |
//! | generation | a counter of the library's changes, so that a stale index is detected |
//! | head | a classifier trained on the vectors of labelled tracks |
//! | vote | the genres of the labelled neighbours, weighted by distance |
//! | kinship | how close two genres are |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `cuda` | the encoder on an NVIDIA GPU |

#![deny(unsafe_code)]

mod add;
mod add_run;
mod artist_limit;
mod collection;
mod descriptors;
mod embedder;
mod engine;
mod error;
mod export;
mod foreign;
mod foreign_vectors;
mod genre;
mod known_filters;
mod list;
mod missing_files;
mod moods;
mod named_seeds;
mod nearness;
mod part;
pub mod questions;
mod same_recording;
mod scales;
mod search;
mod seed;
mod sentences;
mod space;
mod stored;
mod tagging;
mod words;

pub use add::{AddEvent, AddOptions, AddSummary, Outcome, add};
pub use add::{audio_facts, manifest_as_stored, stored_model};
pub use add_run::{AddReport, AddRun, StoredFiles, pending_files};
pub use collection::meta;
pub use collection::{Collection, GraphUse};
pub use embedder::{Embedder, FileEmbedding, WindowPlan};
pub use engine::{Engine, IndexNews, IndexRefresh};
pub use engine::{INDEX_FILE, held_model, remember_model};
pub use error::EngineError;
pub use export::{EXPORT_FILES, ExportSummary, export, spreadsheet_safe, table_path};
pub use foreign::{check_model, external_model, foreign_audio, foreign_track, is_external};
pub use foreign_vectors::{VectorTrack, read_directions, read_vector_tracks};
pub use genre::{
    AnswerSource, Classifier, ClassifyOptions, Evidence, FirstGuess, GenreAnswer, GenreHead,
    GenreNews, LabelSource, Labelled, LabelledTracks, TrackDisplay,
};
pub use genre::{GENRE_MODEL_FILE, GroupBy, RETRAIN_SHARE, SYNONYMS_FILE};
pub use list::{TrackPage, TrackQuery};
pub use missing_files::MissingFiles;
pub use moods::{READY_MOODS, measured_scale};
pub use named_seeds::{NamedSeeds, SeedReader};
pub use nearness::{Closeness, Standing};
pub use same_recording::{AudioComparer, CompareEvent};
pub use scales::{MEASURED_SCALES, MeasuredScale};
pub use search::{SimilarOptions, SimilarTrack};
pub use seed::Seed;
pub use seed::{SeedName, track_number};
pub use space::LibrarySpace;
pub use stored::{analysed_files, open_named};
pub use tagging::{TagOutcome, TagResult, TagWish, write_tags};
pub use words::StrongTags;
pub use words::{FittingTrack, PhraseAnswer, PredictedTags};

// Shared by all crates.
pub use voisin_base::track::{ContentId, TrackId};

// Audio files.
pub use voisin_audio::{
    AudioError, AudioInfo, DecodePath, DecodeReport, Loudness, is_audio_candidate, probe,
};
pub use voisin_library::scan::{Scan, ScanProblem, scan};

// Models: from spectrograms to vectors.
pub use voisin_encoder::{
    Architecture, CpuPath, Device, DeviceChoice, Embedding, Encoder, EncoderError, ModelEntry,
    ModelLocation, ModelManifest, ModelNetwork, ModelOutput, ModelProjection, ModelRef,
    import_model, models,
};
pub use voisin_features::{Compression, FeaturesError, MelConfig, MelNorm, MelScale, Spectrum};
pub use voisin_simd::IsaError;

// The library: tracks, their files, their vectors.
pub use voisin_library::{
    AudioFacts, Descriptors, FileRecord, Library, LibraryError, MusicalKey, OpenMode, Removed,
    ScaleBound, ScaleName, SortBy, Status, StoredFile, StoredModel, Track, TrackFilter, TrackSet,
    TrackTags, Vectors, WordBound, default_dir,
};

// The index.
pub use voisin_index::{
    GraphBuilder, Id, IndexError, IndexOptions, IndexStamp, IndexStats, Neighbor, SearchParams,
    SelfCheck, Subset, VectorIndex,
};

// Genres.
pub use voisin_genre::{
    Basis, FitOptions, Genre, GenreError, GenreKinship, GenrePrediction, GenreShare, Guess,
    GuessShare, Kin, Kinship, LabelCount, LabelledRows, LabelledVectors, PredictOptions, Suspect,
    Taxonomy, UnknownReason, Voter, Votes,
};

// Exploring a collection.
pub use voisin_explore::artists::Makers;
pub use voisin_explore::clusters::{Cluster, Clustering, NearCluster, Share, cluster};
pub use voisin_explore::layout::layout;
pub use voisin_explore::path::{PathOptions, Walk, path};
pub use voisin_explore::words::{Phrase, Term, WordMeaning};
pub use voisin_explore::{ExploreError, KnnGraph, TrackMeta};
