//! The contents of a library, and the state of its index and its genre head.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use crate::{Engine, EngineError, Lack, RETRAIN_SHARE};
use voisin_base::text::{count, grouped, with_causes};
use voisin_index::{IndexError, IndexOptions, IndexStamp, VectorIndex};
use voisin_library::Status;

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

#[derive(Debug, Serialize, JsonSchema)]
pub struct SearchJson {
    /// Of single queries: `graph`, `lists` where these are shorter, or `exact` in a small library.
    pub mode: &'static str,
    pub why: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusJson {
    pub library: String,
    pub tracks: u64,
    pub files: u64,
    /// Number of files that could not be added.
    pub failed: u64,
    pub model: Option<String>,
    pub(crate) model_fingerprint: Option<String>,
    pub dimension: Option<usize>,
    pub index_generation: u64,
    pub index: IndexJson,
    pub search: SearchJson,
    pub database_bytes: u64,
    pub index_bytes: u64,
    /// The index's bytes in memory.
    pub index_resident_bytes: u64,
    pub schema: u32,
    pub labels: LabelsJson,
    pub genre_head: Option<HeadJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelsJson {
    pub source: String,
    /// Labels given by hand, which take precedence.
    pub by_hand: usize,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct HeadJson {
    /// Seconds since 1970 UTC.
    pub trained_at: u64,
    pub tracks: usize,
    pub genres: usize,
    /// Accuracy on held-out tracks.
    pub accuracy: f64,
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
        // An unreadable head is shown with its error, not as missing.
        Err(error) => Some(HeadJson {
            problem: Some(with_causes(&error)),
            ..HeadJson::default()
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
    let (state, note) = match &found {
        Ok((stamp, _)) => state(engine, status, stamp),
        // A new library has no index yet.
        Err(IndexError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            ("none", "the next search builds it".to_owned())
        }
        Err(error) => ("unusable", with_causes(error)),
    };
    let known = found.as_ref().ok();
    let json = IndexJson {
        state,
        note,
        generation: known.map(|(stamp, _)| stamp.generation),
        tail: known.map_or(0, |(_, stats)| stats.tail),
        tombstones: known.map_or(0, |(_, stats)| stats.tombstones),
    };
    // An index that will be rebuilt does not count.
    let usable = known.filter(|_| matches!(json.state, "current" | "behind"));
    let measured = usable.and_then(|(_, stats)| stats.recall.map(|recall| (stats.ef, recall)));
    let search = searched(status.vectors as usize, measured);
    let resident = known.map_or(0, |(_, stats)| stats.resident as u64);
    (json, search, resident)
}

/// The state of an index with this stamp, and the next search's action on it.
fn state(engine: &Engine, status: &Status, stamp: &IndexStamp) -> (&'static str, String) {
    let model = status.model.as_ref();
    // The stamp has the model before the first blank.
    let made_of = stamp.model_fingerprint.split(' ').next();
    let unusable = |what| ("unusable", format!("{what}: the next search rebuilds it"));
    // The gravest fault first, since only one is shown.
    if model.is_some_and(|model| Some(&*model.fingerprint) != made_of) {
        return unusable("of another model");
    }
    if !engine.is_in_space(stamp) {
        return unusable("relative to another mean");
    }
    match status.generation.checked_sub(stamp.generation) {
        None => unusable("of a later state of the library"),
        Some(0) => ("current", String::new()),
        Some(changes) => {
            let changes = count(changes, "change");
            ("behind", format!("{changes}, which the next search adds"))
        }
    }
}

/// - `measured`: width of a walk, if single queries walk, and recall of the index, if it has a graph
fn searched(tracks: usize, measured: Option<(Option<usize>, f64)>) -> SearchJson {
    let from = IndexOptions::default().graph_from;
    let threshold = grouped(from as u64);
    let why = match measured {
        Some((width, recall)) => {
            let width = width.map(|width| grouped(width as u64));
            let way = width.map_or("and".to_owned(), |width| {
                format!("walk an HNSW graph (width {width}),")
            });
            format!(
                "from {threshold} tracks on single queries {way} many go through lists (recall@10 {recall:.4} when it was built); with a filter all that pass it are compared"
            )
        }
        None if tracks >= from => format!("from {threshold} tracks on a graph is built"),
        None => format!("below {threshold} tracks all are compared"),
    };
    let mode = match measured {
        Some((Some(_), _)) => "graph",
        Some((None, _)) => "lists",
        None => "exact",
    };
    SearchJson { mode, why }
}
