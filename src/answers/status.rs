//! What a library holds, and the state of its index and its genre head.

use std::path::Path;

use serde::Serialize;

use super::lossy;
use crate::base::remedy::Remedy;
use crate::base::text::{count, grouped, with_causes};
use crate::engine::{Engine, EngineError, GroupBy, RETRAIN_SHARE};
use crate::index::{IndexError, IndexOptions, IndexSummary, SearchMode, VectorIndex};
use crate::library::Status;

/// The index beside the library, as its head describes it.
#[derive(Debug, Serialize)]
pub(crate) struct IndexJson {
    /// `current`, `behind`, `none` or `unusable`.
    pub(crate) state: &'static str,
    /// What the next search does about it; empty if nothing.
    pub(crate) note: String,
    pub(crate) generation: Option<u64>,
    pub(crate) tail: usize,
    pub(crate) tombstones: usize,
}

/// How `--search auto` finds neighbours.
#[derive(Debug, Serialize)]
pub(crate) struct SearchJson {
    pub(crate) mode: &'static str,
    pub(crate) why: String,
}

/// The documented JSON of `status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusJson {
    pub(crate) library: String,
    pub(crate) tracks: u64,
    pub(crate) files: u64,
    pub(crate) windows: u64,
    pub(crate) failed: u64,
    pub(crate) model: Option<String>,
    pub(crate) model_fingerprint: Option<String>,
    pub(crate) dimension: Option<usize>,
    pub(crate) upgrade: Option<UpgradeJson>,
    pub(crate) index_generation: u64,
    pub(crate) index: IndexJson,
    pub(crate) search: SearchJson,
    pub(crate) database_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) index_resident_bytes: u64,
    pub(crate) schema: u32,
    pub(crate) labels: LabelsJson,
    pub(crate) genre_head: Option<HeadJson>,
}

/// Another model that the library is on its way to.
#[derive(Debug, Serialize)]
pub(crate) struct UpgradeJson {
    pub(crate) model: String,
    pub(crate) model_fingerprint: String,
    /// Tracks that have its vectors.
    pub(crate) done: u64,
}

/// Where the library's genres come from.
#[derive(Debug, Serialize)]
pub(crate) struct LabelsJson {
    pub(crate) source: String,
    /// Labels given by hand, which stand above the source.
    pub(crate) by_hand: usize,
}

/// The trained genre head, as `status` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct HeadJson {
    /// Seconds since 1970 UTC.
    pub(crate) trained_at: u64,
    pub(crate) tracks: usize,
    pub(crate) genres: usize,
    /// Share of held-out tracks that it named rightly.
    pub(crate) accuracy: f64,
    pub(crate) labels: String,
    /// Share of labels that are new, gone or changed since; null where they cannot be read.
    pub(crate) changed_share: Option<f64>,
    /// Whether the next `classify` trains again.
    pub(crate) retrain: bool,
    /// Why it cannot be used, if it cannot.
    pub(crate) problem: Option<String>,
    /// What helps then.
    #[serde(skip)]
    pub(crate) remedy: Option<Remedy>,
}

fn genre_head(engine: &Engine) -> Option<HeadJson> {
    match engine.genre_head() {
        Ok(head) => head.map(|head| {
            let tracks = engine.labelled_tracks(&head.source(), &GroupBy::Track);
            let share = match &tracks {
                Ok(tracks) => Ok(head.provenance.changed_share(&tracks.ids, &tracks.labels)),
                // every label it knew is gone
                Err(EngineError::NoLabels) => Ok(1.0),
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
                remedy: None,
            }
        }),
        Err(error) => Some(HeadJson {
            trained_at: 0,
            tracks: 0,
            genres: 0,
            accuracy: 0.0,
            labels: String::new(),
            changed_share: None,
            // It holds no labels to train on: which ones is for its owner to say again.
            retrain: false,
            problem: Some(with_causes(&error)),
            remedy: error.remedy(),
        }),
    }
}

impl StatusJson {
    pub(crate) fn new(engine: &Engine, status: &Status) -> Self {
        let (index, search, index_resident_bytes) = index(&engine.index_path(), status);
        let model = status.model.as_ref();
        Self {
            library: lossy(engine.library().dir()),
            tracks: status.tracks,
            files: status.files,
            windows: status.windows,
            failed: status.failures,
            model: model.map(|model| model.name.clone()),
            model_fingerprint: model.map(|model| model.fingerprint.clone()),
            dimension: model.map(|model| model.dimension),
            upgrade: status.upgrade.as_ref().map(|upgrade| UpgradeJson {
                model: upgrade.model.name.clone(),
                model_fingerprint: upgrade.model.fingerprint.clone(),
                done: upgrade.done,
            }),
            index_generation: status.generation,
            index,
            search,
            database_bytes: status.bytes,
            index_bytes: std::fs::metadata(engine.index_path()).map_or(0, |metadata| metadata.len()),
            index_resident_bytes,
            schema: status.schema,
            labels: LabelsJson {
                source: engine.label_source().to_string(),
                by_hand: engine.library().hand_labels().map_or(0, |labels| labels.len()),
            },
            genre_head: model.and_then(|_| genre_head(engine)),
        }
    }
}

/// What the index file is, and how it is searched. Only its head is read: this must be quick.
fn index(path: &Path, status: &Status) -> (IndexJson, SearchJson, u64) {
    let found = VectorIndex::summary(path);
    let mut json =
        IndexJson { state: "current", note: String::new(), generation: None, tail: 0, tombstones: 0 };
    match &found {
        Ok(index) => {
            json.generation = Some(index.stamp.generation);
            json.tail = index.tail;
            json.tombstones = index.tombstones;
            let model = status.model.as_ref();
            if model.is_some_and(|model| model.fingerprint != index.stamp.model_fingerprint) {
                json.state = "unusable";
                json.note = String::from("of another model: the next search builds it anew");
            } else if index.stamp.generation > status.generation {
                json.state = "unusable";
                json.note = String::from("of a later state of the library: the next search builds it anew");
            } else if index.stamp.generation < status.generation {
                json.state = "behind";
                let changes = count(status.generation - index.stamp.generation, "change");
                json.note = format!("{changes} to be put in by the next search");
            }
        }
        Err(IndexError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            json.state = "none";
            json.note = String::from("the next search builds it");
        }
        Err(error) => {
            json.state = "unusable";
            json.note = with_causes(&error);
        }
    }
    let lists_from = IndexOptions::default().lists_from;
    let (tracks, threshold) = (count(status.vectors, "track"), grouped(lists_from as u64));
    let search = match found.as_ref().ok().filter(|_| matches!(json.state, "current" | "behind")) {
        Some(IndexSummary { mode: SearchMode::Hnsw, ef: Some(width), .. }) => SearchJson {
            mode: SearchMode::Hnsw.name(),
            why: format!(
                "{tracks}; a walk of the graph costs less than a search of the lists (width {}; filters that leave few tracks are scanned)",
                grouped(*width as u64)
            ),
        },
        Some(index @ IndexSummary { lists: Some(lists), .. }) => SearchJson {
            mode: index.mode.name(),
            why: format!(
                "{tracks}; from {threshold} on lists are faster than a scan (it looks at {} lists and compares the best {} tracks of them: recall@10 {:.4} ± {:.4} when it was built; filters that leave few tracks are scanned)",
                grouped(lists.lists as u64),
                grouped(lists.candidates as u64),
                lists.recall,
                lists.recall_error,
            ),
        },
        None if status.vectors as usize >= lists_from => SearchJson {
            mode: SearchMode::Lists.name(),
            why: format!("{tracks}; from {threshold} on the next search makes lists"),
        },
        Some(index) if status.vectors as usize >= lists_from => SearchJson {
            mode: index.mode.name(),
            why: format!("{tracks}; the next add makes lists, as from {threshold} on they are faster"),
        },
        _ => SearchJson {
            mode: SearchMode::Scan.name(),
            why: format!("{tracks}; up to {threshold} a scan is as fast as lists, and exact"),
        },
    };
    (json, search, found.map_or(0, |index| index.resident))
}
