//! `voisin status`.

use std::path::Path;

use serde::Serialize;

use crate::base::text::with_causes;
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, StatusArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count, grouped};
use crate::engine::{Engine, EngineError, GroupBy, RETRAIN_SHARE};
use crate::index::{IndexError, IndexOptions, IndexSummary, SearchMode, VectorIndex};
use crate::library::{Library, Status};

/// The index beside the library, as its head describes it.
#[derive(Serialize)]
struct IndexJson {
    /// `current`, `behind`, `none` or `unusable`.
    state: &'static str,
    /// What the next search does about it; empty if nothing.
    note: String,
    generation: Option<u64>,
    tail: usize,
    tombstones: usize,
}

/// How `--search auto` finds neighbours.
#[derive(Serialize)]
struct SearchJson {
    mode: &'static str,
    why: String,
}

/// The documented JSON of `status`.
#[derive(Serialize)]
struct StatusJson {
    library: String,
    tracks: u64,
    files: u64,
    windows: u64,
    failed: u64,
    model: Option<String>,
    model_fingerprint: Option<String>,
    dimension: Option<usize>,
    index_generation: u64,
    index: IndexJson,
    search: SearchJson,
    database_bytes: u64,
    index_bytes: u64,
    index_resident_bytes: u64,
    schema: u32,
    labels: LabelsJson,
    genre_head: Option<HeadJson>,
}

/// Where the library's genres come from.
#[derive(Serialize)]
struct LabelsJson {
    source: String,
    /// Labels given by hand, which stand above the source.
    by_hand: usize,
}

/// The trained genre head, as `status` shows it.
#[derive(Serialize)]
struct HeadJson {
    /// Seconds since 1970 UTC.
    trained_at: u64,
    tracks: usize,
    genres: usize,
    /// Share of held-out tracks that it named rightly.
    accuracy: f64,
    labels: String,
    /// Share of labels that are new, gone or changed since; null where they cannot be read.
    changed_share: Option<f64>,
    /// Whether the next `classify` trains again.
    retrain: bool,
    /// Why it cannot be used, if it cannot.
    problem: Option<String>,
}

fn genre_head(engine: &Engine) -> Option<HeadJson> {
    match engine.genre_head() {
        Ok(head) => head.map(|head| {
            let tracks = engine.labelled_tracks(&head.source(), &GroupBy::Track, false);
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
        }),
    }
}

pub(crate) fn run(context: &Context, args: &StatusArgs) -> anyhow::Result<Ending> {
    let engine = Engine::from_library(Library::open_to_read(&context.library_dir())?);
    let status = engine.library().status()?;
    let index_bytes = std::fs::metadata(engine.index_path()).map_or(0, |metadata| metadata.len());
    let (index, search, index_resident_bytes) = index(&engine.index_path(), &status);
    let json = StatusJson {
        library: lossy(engine.library().dir()),
        tracks: status.tracks,
        files: status.files,
        windows: status.windows,
        failed: status.failures,
        model: status.model.as_ref().map(|model| model.name.clone()),
        model_fingerprint: status.model.as_ref().map(|model| model.fingerprint.clone()),
        dimension: status.model.as_ref().map(|model| model.dimension),
        index_generation: status.generation,
        index,
        search,
        database_bytes: status.bytes,
        index_bytes,
        index_resident_bytes,
        schema: status.schema,
        labels: LabelsJson {
            source: engine.label_source().to_string(),
            by_hand: engine.library().hand_labels()?.len(),
        },
        genre_head: if status.model.is_some() { genre_head(&engine) } else { None },
    };
    if args.format == ReportFormat::Json {
        render::print_json(&json)?;
        return Ok(Ending::Fine);
    }
    let mut lines = vec![
        ("library", json.library),
        ("tracks", format!("{} in {}", grouped(json.tracks), count(json.files, "file"))),
        ("windows", grouped(json.windows)),
        ("failed", grouped(json.failed)),
    ];
    if let Some(model) = &status.model {
        lines.push((
            "model",
            format!("{} ({} dimensions, {})", model.name, model.dimension, model.fingerprint),
        ));
    }
    let note = if json.index.note.is_empty() { String::new() } else { format!(": {}", json.index.note) };
    lines.push((
        "index",
        format!(
            "{}{note}; generation {}, {}{}",
            json.index.state,
            json.index_generation,
            megabytes(json.index_bytes),
            per_track(json.tracks, json.index_bytes, json.index_resident_bytes),
        ),
    ));
    lines.push(("search", format!("{}: {}", json.search.mode, json.search.why)));
    lines.push(("database", format!("schema {}, {}", json.schema, megabytes(json.database_bytes))));
    let by_hand = match json.labels.by_hand {
        0 => String::new(),
        n => format!(", {} by hand", count(n as u64, "label")),
    };
    lines.push(("labels", format!("from {}{by_hand}", json.labels.source)));
    let mut retrain = false;
    if let Some(head) = &json.genre_head {
        retrain = head.retrain;
        let mut text = match &head.problem {
            Some(problem) if head.tracks == 0 => problem.clone(),
            _ => format!(
                "trained {} on {} of {}, labels from {} ({:.1} % right on artists left out)",
                render::age(head.trained_at),
                count(head.tracks as u64, "track"),
                count(head.genres as u64, "genre"),
                head.labels,
                100.0 * head.accuracy
            ),
        };
        if let Some(share) = head.changed_share {
            text += &format!(", {:.0} % of labels changed since", 100.0 * share);
        }
        if head.problem.is_none() && head.labels != json.labels.source {
            text += "; \"voisin train genre\" trains one on the library's labels";
        }
        lines.push(("genres", text));
    }
    for (name, value) in lines {
        render::print_line(&format!("{name:<9} {}", render::terminal_safe(&value)))?;
    }
    if json.failed > 0 {
        context.console.note("see \"voisin failed\" for the reasons");
    }
    if retrain {
        context.console.note("the trained genre head is out of date: \"voisin classify\" trains it again, or run \"voisin train genre\"");
    }
    Ok(Ending::Fine)
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

/// Of the file, and of what searches keep in memory.
fn per_track(tracks: u64, file: u64, resident: u64) -> String {
    if resident == 0 || tracks == 0 {
        return String::new();
    }
    let [file, resident] = [file, resident].map(|bytes| bytes.div_ceil(tracks));
    format!(" ({} bytes a track, {} of them in memory during searches)", grouped(file), grouped(resident))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
