//! voisin ("neighbour"): a vector-search engine for music.
//!
//! Audio files are converted to vectors; tracks with near vectors sound alike.
//!
//! ```text
//! file → mono samples → windows → mel spectrograms → window vectors → track vector → library → index
//!        probe, add               MelConfig          Encoder          Embedder       Library   VectorIndex
//! ```
//!
//! An [`Engine`] joins the parts: a [`Library`] (SQLite, the truth), a [`VectorIndex`](voisin_index::VectorIndex) (a cache of it), and
//! queries. An [`Embedder`] converts files to vectors. `examples/similar.rs` is a program.

#![deny(unsafe_code)]

mod add;
mod add_run;
mod collection;
mod descriptors;
mod embedder;
mod engine;
mod error;
mod export;
mod foreign;
mod foreign_vectors;
mod genre;
mod kept;
mod list;
mod missing_files;
mod moods;
mod named_seeds;
mod nearness;
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

pub use add::manifest_as_stored;
pub use add::{AddEvent, AddOptions, AddSummary, Outcome, add};
pub use add_run::{AddReport, AddRun, pending_files};
pub use collection::meta;
pub use collection::{Collection, GraphUse};
pub use embedder::{Embedder, FileEmbedding, WindowPlan};
pub use engine::{Engine, IndexRefresh};
pub use engine::{INDEX_FILE, held_model, remember_model};
pub use error::{EngineError, Lack};
pub use export::{EXPORT_FILES, ExportSummary, export, spreadsheet_safe, table_path};
pub use foreign::{check_model, external_model, foreign_track, is_external};
pub use foreign_vectors::{VectorTrack, read_directions, read_vector_tracks};
pub use genre::{
    AnswerSource, Classifier, ClassifyOptions, Evidence, FirstGuess, GenreAnswer, GenreHead,
    GenreNews, LabelSource, Labelled, LabelledTracks, TrackDisplay,
};
pub use genre::{GENRE_MODEL_FILE, RETRAIN_SHARE, SYNONYMS_FILE};
pub use list::{TrackPage, TrackQuery};
pub use missing_files::MissingFiles;
pub use named_seeds::{NamedSeeds, SeedReader};
pub use nearness::{Closeness, Standing};
pub use same_recording::{AudioComparer, CompareEvent};
pub use search::{SimilarOptions, SimilarTrack};
pub use seed::Seed;
pub use seed::{SeedName, track_number};
pub use space::LibrarySpace;
pub use stored::{analysed_files, open_named};
pub use tagging::{TagOutcome, TagResult, TagWish, write_tags};
pub use words::StrongTags;
pub use words::{FittingTrack, PhraseAnswer, PredictedTags};

// Besides, the names that a program needs for a library of its own.
pub use voisin_audio::{is_audio_candidate, probe};
pub use voisin_base::track::{ContentId, TrackId};
pub use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
pub use voisin_library::scan::scan;
pub use voisin_library::{Library, LibraryError, OpenMode};
