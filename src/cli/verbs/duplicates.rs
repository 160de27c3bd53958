//! `voisin duplicates`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{DuplicatesArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::graph::duplicate_groups;
use crate::cli::render::track::{lossy, print_files};
use crate::cli::render::{self, count};
use crate::engine::{Collection, Engine, FileListener, ListenEvent};
use crate::explore::TrackMeta;
use crate::explore::duplicates::{DuplicateGroup, DuplicatePair, Listener};
use crate::library::StoredFile;
use crate::track::TrackId;

/// The documented JSON of `duplicates`: a list of these.
#[derive(Serialize)]
struct GroupJson {
    keep: FileJson,
    why: String,
    others: Vec<FileJson>,
    bytes_to_be_won: u64,
    pairs: Vec<PairJson>,
}

/// Two tracks that are the same recording.
#[derive(Serialize)]
struct PairJson {
    a: IdJson,
    b: IdJson,
    similarity: f32,
    distinctness: f32,
    correlation: Option<f32>,
    offset: f32,
    coverage: f32,
}

#[derive(Serialize)]
struct IdJson {
    id: TrackId,
}

impl From<DuplicatePair> for PairJson {
    fn from(pair: DuplicatePair) -> Self {
        let DuplicatePair { a, b, similarity, distinctness, correlation, offset, coverage } = pair;
        let (a, b) = (IdJson { id: a }, IdJson { id: b });
        Self { a, b, similarity, distinctness, correlation, offset, coverage }
    }
}

#[derive(Serialize)]
struct FileJson {
    id: TrackId,
    path: String,
    codec: String,
    kilobits_per_second: Option<f64>,
    seconds: f64,
    bytes: u64,
    /// The very same audio, bit for bit, as another file of the group.
    exact: bool,
    /// The path as the system has it.
    #[serde(skip)]
    file: PathBuf,
}

impl FileJson {
    fn meta(&self) -> TrackMeta {
        TrackMeta { seconds: self.seconds, ..TrackMeta::of_file(self.id, &self.file) }
    }

    fn describe(&self) -> String {
        let size = format!("{:.1} MB", self.bytes as f64 / 1e6);
        match self.kilobits_per_second {
            _ if self.exact => format!("the same audio, {size}"),
            Some(rate) => format!("{} at {rate:.0} kbit/s, {size}", self.codec),
            None => format!("{}, {size}", self.codec),
        }
    }
}

pub(crate) fn run(context: &Context, args: &DuplicatesArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let console = context.console;
    let bar = ProgressBar::hidden();
    let shown = bar.clone();
    let listener = FileListener::new(engine.library(), move |event| match event {
        ListenEvent::Begin { pairs, unheard } => {
            if console.shows_progress_bar() && pairs > 0 {
                shown.set_length(pairs as u64);
                shown.set_style(bar_style());
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.set_message("pairs in doubt, listened to");
            } else if pairs > 100 {
                // A few take no time.
                console.note(&format!("listening to {} in doubt", count(pairs as u64, "pair")));
            }
            if unheard > 0 {
                console.note(&format!(
                    "{} less like each other: stored vectors decide alone",
                    count(unheard as u64, "pair")
                ));
            }
        }
        ListenEvent::Heard => shown.inc(1),
    })?;
    let listener = (!args.rough).then_some(&listener as &dyn Listener);
    let similar = duplicate_groups(&mut engine, &collection, listener)?;
    bar.finish_and_clear();
    let mut groups = with_exact_copies(&engine, &collection, similar)?;
    groups.truncate(args.limit.of(groups.len()));
    match args.output.format {
        ListFormat::Json => render::print_json(&groups)?,
        ListFormat::Csv => render::print_csv(
            ["group", "keep", "path", "bytes", "exact", "why"],
            groups.iter().enumerate().flat_map(|(i, group)| {
                let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
                let row = move |keep: bool, file: &FileJson, why: &str| {
                    let bytes = file.bytes.to_string();
                    [
                        (i + 1).to_string(),
                        yes(keep),
                        file.path.clone(),
                        bytes,
                        yes(file.exact),
                        why.to_owned(),
                    ]
                };
                let others = group.others.iter().map(move |other| row(false, other, ""));
                std::iter::once(row(true, &group.keep, &group.why)).chain(others)
            }),
        )?,
        ListFormat::Table => {
            for group in &groups {
                let keep = format!("better: {} ({})", group.keep.path, group.why);
                render::print_line(&render::terminal_safe(&keep))?;
                for other in &group.others {
                    let line = format!("   also: {} ({})", other.path, other.describe());
                    render::print_line(&render::terminal_safe(&line))?;
                }
            }
            let bytes: u64 = groups.iter().map(|group| group.bytes_to_be_won).sum();
            let text = format!(
                "{}, {:.1} MB could be freed",
                count(groups.len() as u64, "group"),
                bytes as f64 / 1e6
            );
            render::print_line(&text)?;
        }
        // What could go: the copies without the file to keep.
        ListFormat::M3u8 | ListFormat::Xspf | ListFormat::Jspf | ListFormat::Rekordbox | ListFormat::Traktor | ListFormat::Paths => {
            let copies: Vec<TrackMeta> =
                groups.iter().flat_map(|group| &group.others).map(FileJson::meta).collect();
            print_files(&copies.iter().collect::<Vec<_>>(), "voisin duplicates", &args.output)?;
        }
    }
    Ok(Ending::Fine)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len}  {eta} left  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Adds the files that hold the very same audio, which the library keeps as one track; most bytes to be won first.
fn with_exact_copies(
    engine: &Engine,
    collection: &Collection,
    similar: Vec<DuplicateGroup>,
) -> anyhow::Result<Vec<GroupJson>> {
    let mut several: HashMap<TrackId, Vec<StoredFile>> = HashMap::new();
    engine.library().for_each_track(|track| {
        if track.files.len() > 1 {
            several.insert(track.id, track.files);
        }
        Ok(())
    })?;
    // A track's files: the first is what the rest of the library calls it by.
    let files = |id: TrackId| -> Vec<FileJson> {
        let Some(row) = collection.row(id) else { return Vec::new() };
        let track = &collection.meta[row];
        match several.get(&id) {
            None => vec![file(track, track.system_path(), track.bytes, false)],
            Some(files) => files
                .iter()
                .enumerate()
                .map(|(i, stored)| file(track, &stored.record.path, stored.record.size, i > 0))
                .collect(),
        }
    };
    let mut told: std::collections::HashSet<TrackId> = std::collections::HashSet::new();
    let mut groups = Vec::new();
    for group in similar {
        told.extend(group.others.iter().chain([&group.best]));
        let mut all = group.others.iter().fold(files(group.best), |mut all, &id| {
            all.extend(files(id));
            all
        });
        if all.len() > 1 {
            let keep = all.remove(0);
            let bytes_to_be_won = all.iter().map(|file| file.bytes).sum();
            groups.push(GroupJson {
                keep,
                why: group.reason,
                others: all,
                bytes_to_be_won,
                pairs: group.pairs.into_iter().map(PairJson::from).collect(),
            });
        }
    }
    let mut alone: Vec<TrackId> = several.keys().copied().filter(|id| !told.contains(id)).collect();
    alone.sort_unstable();
    for id in alone {
        let mut all = files(id);
        if all.len() > 1 {
            let keep = all.remove(0);
            let bytes_to_be_won = all.iter().map(|file| file.bytes).sum();
            let why = "the same audio in each: the file known longest".to_owned();
            groups.push(GroupJson { keep, why, others: all, bytes_to_be_won, pairs: Vec::new() });
        }
    }
    groups.sort_by(|a, b| b.bytes_to_be_won.cmp(&a.bytes_to_be_won).then(a.keep.id.cmp(&b.keep.id)));
    Ok(groups)
}

fn file(track: &TrackMeta, path: &Path, bytes: u64, exact: bool) -> FileJson {
    FileJson {
        id: track.id,
        path: lossy(path),
        file: path.to_owned(),
        codec: track.codec.clone(),
        kilobits_per_second: track.kilobits_per_second(),
        seconds: track.seconds,
        bytes,
        exact,
    }
}
