//! The contents of a library, and the state of its index and its genre head.

use schemars::JsonSchema;
use serde::Serialize;

use super::add::LeftOutFolder;
use super::lossy;
use voisin_base::remedy::Remedy;
use voisin_base::text::{count, grouped, with_causes};
use voisin_engine::{Engine, EngineError, GroupBy, RETRAIN_SHARE};
use voisin_index::{
    GraphAndLists, IndexError, IndexOptions, IndexSummary, SearchMode, VectorIndex, WaySpeeds,
};
use voisin_library::Status;

/// The index beside the library, as its head describes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IndexJson {
    /// `current`, `behind`, `none` or `unusable`.
    pub state: &'static str,
    /// The next search's remedy; empty if it needs none.
    pub note: String,
    /// The index's generation; none where there is no index.
    pub generation: Option<u64>,
    pub(crate) tail: usize,
    pub(crate) tombstones: usize,
}

/// How `--search auto` finds neighbours.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SearchJson {
    /// How neighbours of one track are searched.
    pub mode: &'static str,
    /// How those of many at once are.
    pub batch_mode: &'static str,
    /// Both were chosen by these when the index was built, where it has a graph.
    pub speeds: Option<SpeedsJson>,
    /// The reason, in words.
    pub why: String,
}

/// Queries a second on one thread.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpeedsJson {
    /// Of one query alone.
    pub alone: WaysJson,
    /// Of one with a filter that half of the tracks pass.
    pub filtered: WaysJson,
    /// Of many at once.
    pub batches: WaysJson,
}

/// By the HNSW graph and by the lists.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WaysJson {
    /// By the graph.
    pub hnsw: u64,
    /// By the lists.
    pub lists: u64,
}

impl From<WaySpeeds> for SpeedsJson {
    fn from(speeds: WaySpeeds) -> Self {
        let ways = |ways: GraphAndLists| WaysJson {
            hnsw: ways.graph as u64,
            lists: ways.lists as u64,
        };
        Self {
            alone: ways(speeds.alone),
            filtered: ways(speeds.filtered),
            batches: ways(speeds.batches),
        }
    }
}

/// The documented JSON of `status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusJson {
    /// Where the library is.
    pub library: String,
    /// How many tracks there are.
    pub tracks: u64,
    /// How many files there are.
    pub files: u64,
    /// How many window vectors are kept.
    pub windows: u64,
    /// How many files could not be added.
    pub failed: u64,
    /// How many files have tags that could not be read, or not whole.
    pub unread_tags: u64,
    /// Bins, snapshots and systems' own folders that the last runs left out.
    pub left_out: Vec<LeftOutFolder>,
    /// The model's name.
    pub model: Option<String>,
    pub(crate) model_fingerprint: Option<String>,
    /// Numbers in a track's vector.
    pub dimension: Option<usize>,
    /// The default model, where the library has an older one.
    pub newer_default: Option<&'static str>,
    /// A change of model that is under way.
    pub upgrade: Option<UpgradeJson>,
    /// The library's generation.
    pub index_generation: u64,
    /// The state of the index.
    pub index: IndexJson,
    /// How neighbours are searched, and why.
    pub search: SearchJson,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Size of the index's file in bytes.
    pub index_bytes: u64,
    /// The index's bytes in memory.
    pub index_resident_bytes: u64,
    /// Version of the database's tables.
    pub schema: u32,
    /// Where genres come from.
    pub labels: LabelsJson,
    /// The trained head, where there is one.
    pub genre_head: Option<HeadJson>,
}

/// Another model that the library is on its way to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpgradeJson {
    /// The model that the library changes to.
    pub model: String,
    pub(crate) model_fingerprint: String,
    /// Tracks that have its vectors.
    pub done: u64,
}

/// Where the library's genres come from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelsJson {
    /// Where genres come from.
    pub source: String,
    /// Labels given by hand, which stand above the source.
    pub by_hand: usize,
}

/// The trained genre head, as `status` shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeadJson {
    /// Seconds since 1970 UTC.
    pub trained_at: u64,
    /// How many tracks there are.
    pub tracks: usize,
    /// How many genres they have.
    pub genres: usize,
    /// Share of held-out tracks that it named rightly.
    pub accuracy: f64,
    /// Where its labels came from.
    pub labels: String,
    /// Share of labels that are new, gone or changed since; null where they cannot be read.
    pub changed_share: Option<f64>,
    /// Whether the next `classify` trains again.
    pub retrain: bool,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
    /// The step that helps then.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

fn genre_head(engine: &Engine) -> Option<HeadJson> {
    match engine.genres().genre_head() {
        Ok(head) => head.map(|head| {
            let tracks = engine
                .genres()
                // The labels that it was trained on, as they are
                // now: from its own source, not the library's.
                .labelled_tracks(&head.source(), &GroupBy::Track);
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
        // A head that cannot be read is shown with its
        // fault: it must not look as if there were none.
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
    /// As programs read it.
    pub fn new(engine: &Engine, status: &Status) -> Self {
        let (index, search, index_resident_bytes) = index(engine, status);
        let model = status.model.as_ref();
        Self {
            library: lossy(engine.library().dir()),
            tracks: status.tracks,
            files: status.files,
            windows: status.windows,
            failed: status.failures,
            unread_tags: engine
                .library()
                .tags()
                .files_with_unread_tags()
                .unwrap_or_default(),
            left_out: engine
                .library()
                .files()
                .left_out()
                .unwrap_or_default()
                .iter()
                .map(LeftOutFolder::from)
                .collect(),
            model: model.map(|model| model.name.clone()),
            model_fingerprint: model.map(|model| model.fingerprint.clone()),
            dimension: model.map(|model| model.dimension),
            newer_default: engine.newer_default().ok().flatten(),
            upgrade: status.upgrade.as_ref().map(|upgrade| UpgradeJson {
                model: upgrade.model.name.clone(),
                model_fingerprint: upgrade.model.fingerprint.clone(),
                done: upgrade.done,
            }),
            index_generation: status.generation,
            index,
            search,
            database_bytes: status.bytes,
            index_bytes: std::fs::metadata(engine.index_path())
                .map_or(0, |metadata| metadata.len()),
            index_resident_bytes,
            schema: status.schema,
            labels: LabelsJson {
                source: engine.genres().label_source().to_string(),
                by_hand: engine
                    .library()
                    .labels()
                    .tracks_labelled_by_hand()
                    .map_or(0, |labels| labels as usize),
            },
            genre_head: model.and_then(|_| genre_head(engine)),
        }
    }
}

/// The index file's kind, and how it is searched. Only its head is read: this must be quick.
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
            // The stamp may name more than the model behind a blank.
            let mut made_of = index.stamp.model_fingerprint.split(' ');
            // From the gravest fault to the least, since only one is shown.
            if model.is_some_and(|model| Some(&*model.fingerprint) != made_of.next()) {
                json.state = "unusable";
                json.note = String::from("of another model: the next search builds it anew");
            } else if !engine.is_in_space(&index.stamp) {
                json.state = "unusable";
                json.note =
                    String::from("relative to another mean: the next search builds it anew");
            } else if index.stamp.generation > status.generation {
                json.state = "unusable";
                json.note =
                    String::from("of a later state of the library: the next search builds it anew");
            } else if index.stamp.generation < status.generation {
                json.state = "behind";
                let changes = count(status.generation - index.stamp.generation, "change");
                json.note = format!("{changes} to be put in by the next search");
            }
        }
        // No index is the state of a new library, and no fault.
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
    let tracks = count(status.vectors, "track");
    let threshold = grouped(lists_from as u64);
    let batch_mode = found
        .as_ref()
        .map_or(SearchMode::Scan, |index| index.batch_mode);
    let speeds = found.as_ref().ok().and_then(|index| index.speeds);
    let measured = speeds.map_or_else(String::new, |WaySpeeds { alone, batches, .. }| {
        format!(
            "; queries a second when it was built: graph {} alone and {} in batches, lists {} and {}",
            grouped(alone.graph as u64),
            grouped(batches.graph as u64),
            grouped(alone.lists as u64),
            grouped(batches.lists as u64),
        )
    });
    let search = match found
        .as_ref()
        .ok()
        // One that is about to be built anew says nothing of how searches will be.
        .filter(|_| matches!(json.state, "current" | "behind"))
    {
        Some(IndexSummary {
            mode: SearchMode::Hnsw,
            ef: Some(width),
            recall: Some(recall),
            ..
        }) => SearchJson {
            mode: SearchMode::Hnsw.name(),
            batch_mode: batch_mode.name(),
            speeds: speeds.map(Into::into),
            why: format!(
                "{tracks}; from {threshold} on there is an HNSW graph (width {}: recall@10 {recall:.4} when it was built; filters that leave few tracks are scanned){measured}",
                grouped(*width as u64)
            ),
        },
        Some(
            index @ IndexSummary {
                lists: Some(lists), ..
            },
        ) => SearchJson {
            mode: index.mode.name(),
            batch_mode: batch_mode.name(),
            speeds: speeds.map(Into::into),
            why: format!(
                "{tracks}; from {threshold} on lists are faster than a scan (it looks at {} lists and compares the best {} tracks of them{}: recall@10 {:.4} ± {:.4} when it was built; filters that leave few tracks are scanned){measured}",
                grouped(lists.lists as u64),
                grouped(lists.candidates as u64),
                lists.read.map_or_else(String::new, |read| format!(
                    ", reading the vectors of {}",
                    grouped(read as u64)
                )),
                lists.recall,
                lists.recall_error,
            ),
        },
        None if status.vectors as usize >= lists_from => SearchJson {
            mode: SearchMode::Hnsw.name(),
            batch_mode: SearchMode::Lists.name(),
            speeds: None,
            why: format!(
                "{tracks}; from {threshold} on the next search makes lists and an HNSW graph"
            ),
        },
        Some(index) if status.vectors as usize >= lists_from => SearchJson {
            mode: index.mode.name(),
            batch_mode: batch_mode.name(),
            speeds: None,
            why: format!(
                "{tracks}; the next add makes lists and an HNSW graph, as from {threshold} on they are faster"
            ),
        },
        _ => SearchJson {
            mode: SearchMode::Scan.name(),
            batch_mode: SearchMode::Scan.name(),
            speeds: None,
            why: format!("{tracks}; up to {threshold} a scan is as fast as lists, and exact"),
        },
    };
    (json, search, found.map_or(0, |index| index.resident))
}
