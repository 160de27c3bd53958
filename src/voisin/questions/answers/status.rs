//! The contents of a library, and the state of its index and its genre head.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use crate::{Engine, EngineError, Lack, RETRAIN_SHARE};
use voisin_base::text::{count, grouped, with_causes};
use voisin_index::{IndexError, IndexOptions, VectorIndex};
use voisin_library::Status;

/// The library's index, from its header.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IndexJson {
    /// `current`, `behind`, `none` or `unusable`.
    pub state: &'static str,
    /// The next search's action on it; empty if none.
    pub note: String,
    /// The index's generation; null without an index.
    pub generation: Option<u64>,
    pub(crate) tail: usize,
    pub(crate) tombstones: usize,
}

/// How neighbours are found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SearchJson {
    /// `graph`, or `exact` in a library that is too small for one.
    pub mode: &'static str,
    /// The reason, in words.
    pub why: String,
}

/// The documented JSON of `status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusJson {
    /// Where the library is.
    pub library: String,
    pub tracks: u64,
    pub files: u64,
    /// Number of files that could not be added.
    pub failed: u64,
    /// The model's name.
    pub model: Option<String>,
    pub(crate) model_fingerprint: Option<String>,
    /// Numbers in a track's vector.
    pub dimension: Option<usize>,
    /// The library's generation.
    pub index_generation: u64,
    /// The state of the index.
    pub index: IndexJson,
    /// The search method, and the reason.
    pub search: SearchJson,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Size of the index's file in bytes.
    pub index_bytes: u64,
    /// The index's bytes in memory.
    pub index_resident_bytes: u64,
    /// Version of the database's tables.
    pub schema: u32,
    /// The source of labels.
    pub labels: LabelsJson,
    /// The trained head, if there is one.
    pub genre_head: Option<HeadJson>,
}

/// The library's labels.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelsJson {
    /// The source of labels.
    pub source: String,
    /// Labels given by hand, which take precedence.
    pub by_hand: usize,
}

/// The trained genre head.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeadJson {
    /// Seconds since 1970 UTC.
    pub trained_at: u64,
    /// Number of training tracks.
    pub tracks: usize,
    pub genres: usize,
    /// Accuracy on held-out tracks.
    pub accuracy: f64,
    /// The source of its labels.
    pub labels: String,
    /// Share of labels that are new, gone or changed since; null if they cannot be read.
    pub changed_share: Option<f64>,
    /// Whether the next `classify` trains again.
    pub retrain: bool,
    /// Why it is unusable, if it is.
    pub problem: Option<String>,
}

fn genre_head(engine: &Engine) -> Option<HeadJson> {
    match engine.genre_head() {
        Ok(head) => head.map(|head| {
            let tracks = engine
                // Current labels from the source that it was
                // trained with, not the library's.
                .labelled_tracks(&head.source());
            let share = match &tracks {
                Ok(tracks) => Ok(head.provenance.changed_share(&tracks.ids, &tracks.labels)),
                // All of its labels are gone.
                Err(EngineError::Lacks(Lack::Labels, _)) => Ok(1.0),
                Err(error) => Err(with_causes(&error)),
            };
            HeadJson {
                trained_at: head.provenance.trained_at,
                tracks: head.model.tracks(),
                genres: head.model.genres().len(),
                accuracy: head.model.quality().accuracy,
                labels: head.provenance.labels.clone(),
                retrain: share.as_ref().is_ok_and(|share| *share >= RETRAIN_SHARE),
                changed_share: share.as_ref().ok().copied(),
                problem: share.err(),
            }
        }),
        // An unreadable head is shown with its error, not
        // as missing.
        Err(error) => Some(HeadJson {
            trained_at: 0,
            tracks: 0,
            genres: 0,
            accuracy: 0.0,
            labels: String::new(),
            changed_share: None,
            // It has no source of labels to train on again.
            retrain: false,
            problem: Some(with_causes(&error)),
        }),
    }
}

impl StatusJson {
    pub fn new(engine: &Engine, status: &Status) -> Self {
        let (index, search, index_resident_bytes) = index(engine, status);
        let model = status.model.as_ref();
        Self {
            library: lossy(engine.library().dir()),
            tracks: status.tracks,
            files: status.files,
            failed: status.failures,
            model: model.map(|model| model.name.clone()),
            model_fingerprint: model.map(|model| model.fingerprint.clone()),
            dimension: model.map(|model| model.dimension),
            index_generation: status.generation,
            index,
            search,
            database_bytes: status.bytes,
            index_bytes: std::fs::metadata(engine.index_path())
                .map_or(0, |metadata| metadata.len()),
            index_resident_bytes,
            schema: status.schema,
            labels: LabelsJson {
                source: engine.label_source().to_string(),
                by_hand: engine
                    .library()
                    .tracks_labelled_by_hand()
                    .map_or(0, |labels| labels as usize),
            },
            genre_head: model.and_then(|_| genre_head(engine)),
        }
    }
}

/// The state of the index file and the search method. Reads only its header, to be fast.
fn index(engine: &Engine, status: &Status) -> (IndexJson, SearchJson, u64) {
    let path = &engine.index_path();
    let found = VectorIndex::summary(path);
    let mut json = IndexJson {
        state: "current",
        note: String::new(),
        generation: None,
        tail: 0,
        tombstones: 0,
    };
    match &found {
        Ok(index) => {
            json.generation = Some(index.stamp.generation);
            json.tail = index.tail;
            json.tombstones = index.tombstones;
            let model = status.model.as_ref();
            // The stamp has the model before the first blank.
            let mut made_of = index.stamp.model_fingerprint.split(' ');
            // The gravest fault first, since only one is shown.
            if model.is_some_and(|model| Some(&*model.fingerprint) != made_of.next()) {
                json.state = "unusable";
                json.note = String::from("of another model: the next search rebuilds it");
            } else if !engine.is_in_space(&index.stamp) {
                json.state = "unusable";
                json.note = String::from("relative to another mean: the next search rebuilds it");
            } else if index.stamp.generation > status.generation {
                json.state = "unusable";
                json.note =
                    String::from("of a later state of the library: the next search rebuilds it");
            } else if index.stamp.generation < status.generation {
                json.state = "behind";
                let changes = count(status.generation - index.stamp.generation, "change");
                json.note = format!("{changes}, which the next search adds");
            }
        }
        // A new library has no index yet.
        Err(IndexError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            json.state = "none";
            json.note = String::from("the next search builds it");
        }
        Err(error) => {
            json.state = "unusable";
            json.note = with_causes(&error);
        }
    }
    // An index that will be rebuilt does not count.
    let usable = found
        .as_ref()
        .ok()
        .filter(|_| matches!(json.state, "current" | "behind"));
    let measured = usable.and_then(|index| index.ef.zip(index.recall));
    let search = searched(status.vectors as usize, measured);
    (json, search, found.map_or(0, |index| index.resident))
}

/// - `measured`: width and recall of the index's graph, if it has one
fn searched(tracks: usize, measured: Option<(usize, f64)>) -> SearchJson {
    let from = IndexOptions::default().graph_from;
    let threshold = grouped(from as u64);
    let why = match measured {
        Some((width, recall)) => format!(
            "from {threshold} tracks on single queries walk an HNSW graph and many go through lists (width {}: recall@10 {recall:.4} when it was built); with a filter all that pass it are compared",
            grouped(width as u64)
        ),
        None if tracks >= from => format!("from {threshold} tracks on a graph is built"),
        None => format!("below {threshold} tracks all are compared"),
    };
    let mode = if measured.is_some() { "graph" } else { "exact" };
    SearchJson { mode, why }
}
