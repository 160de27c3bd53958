//! A run that adds files: progress, the index kept up to date, and what is said at the end.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::audio::probe_as;
use crate::base::cue::Place;
use crate::base::text::with_causes;
use crate::cli::Ending;
use crate::cli::args::ReportFormat;
use crate::cli::columnar;
use crate::cli::context::{Context, parse_model};
use crate::cli::crash_suspects::CrashSuspects;
use crate::cli::missing_files::MissingFiles;
use crate::cli::render::{self, Console, clock, count};
use crate::engine::{
    AddEvent, AddOptions, AddSummary, DescriptorDepth, Engine, IndexKeeper, Outcome, Successor,
    add, remember_model,
};
use crate::library::scan::SystemFolder;
use crate::library::{FileRecord, FileState, Library, scan};
use crate::track::ContentKind;

/// How many reasons the end of a run repeats.
const FIRST_REASONS: usize = 5;

/// How a run goes about it.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct RunOptions {
    pub(crate) force: bool,
    /// Look again at files that failed before.
    pub(crate) retry: bool,
    pub(crate) dry_run: bool,
    pub(crate) descriptors: DescriptorDepth,
    pub(crate) update_descriptors: bool,
    pub(crate) format: ReportFormat,
}

/// Folders that a run goes over as a whole, so that it can tell what has gone from them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Folders<'a> {
    pub(crate) named: &'a [PathBuf],
    /// Take what has gone out of the library.
    pub(crate) remove_missing: bool,
    /// Let tracks whose files are gone go on with the audio of later files of the same recordings.
    pub(crate) take_over: bool,
    /// Files that are added as their parts: where the library has one as a track, the parts take its place.
    pub(crate) in_parts: &'a [PathBuf],
    /// Bins, snapshots and systems' own folders that were left out.
    pub(crate) of_system: &'a [SystemFolder],
}

/// The documented JSON of `add`.
#[derive(Serialize)]
struct SummaryJson<'a> {
    #[serde(flatten)]
    summary: &'a AddSummary,
    /// Files that are no longer below the folders named.
    gone: usize,
    /// Files of which it cannot be told: their folder looks like that of a disk that is not mounted.
    out_of_reach: usize,
    /// Tracks whose files are gone and that go on with a later file of the same recording.
    taken_over: u64,
    /// Those that could, with `--take-over`.
    replaced: usize,
    /// Bins, snapshots and systems' own folders that were left out.
    left_out: Vec<LeftOutJson>,
}

#[derive(Serialize)]
struct LeftOutJson {
    folder: String,
    /// Files of audio in it.
    files: u64,
    /// Whether there may be more.
    more: bool,
}

impl RunOptions {
    /// What most runs want.
    pub(crate) fn new(format: ReportFormat) -> Self {
        Self {
            force: false,
            retry: false,
            dry_run: false,
            descriptors: DescriptorDepth::Fast,
            update_descriptors: false,
            format,
        }
    }
}

/// Adds files, shows progress, brings the index up to date, and says what was done.
pub(crate) fn add_files(
    context: &Context,
    engine: &mut Engine,
    files: &[FileRecord],
    run: RunOptions,
) -> anyhow::Result<Ending> {
    add_folders(context, engine, files, Folders::default(), run)
}

/// As [`add_files`], and says what has gone from the folders that the files were found in.
pub(crate) fn add_folders(
    context: &Context,
    engine: &mut Engine,
    files: &[FileRecord],
    folders: Folders<'_>,
    run: RunOptions,
) -> anyhow::Result<Ending> {
    let console = context.console;
    let _lock = if run.dry_run {
        None
    } else {
        Some(engine.library().lock_for_writing()?)
    };
    let stop = context.stop_on_ctrl_c()?;
    let mut progress = AddProgress::new(console, run.dry_run);
    let windows = engine.windows_setting()?;
    let mut set_aside = HashSet::new();
    if !run.dry_run {
        let suspects = CrashSuspects {
            console,
            windows,
            stop: &stop,
            again: run.force || run.retry,
        };
        (set_aside, progress.reasons) = suspects.set_aside(engine.library_mut())?;
    }
    let files: Vec<FileRecord> = files
        .iter()
        .filter(|file| !set_aside.contains(&file.path))
        .cloned()
        .collect();
    if engine.library().content_kind()? == ContentKind::Quick {
        console.note("recordings are known by size, ends and samples (--identity quick)");
    }
    let embedder = context.announced_embedder(Some(engine.library()))?;
    if let Some(name) = context.model_option().filter(|_| !run.dry_run) {
        let fingerprint = embedder.encoder().manifest().fingerprint();
        remember_model(engine.library_mut(), &parse_model(name), &fingerprint)?;
    }
    let options = AddOptions {
        windows,
        force: run.force,
        retry: run.retry,
        dry_run: run.dry_run,
        descriptors: run.descriptors,
        update_descriptors: run.update_descriptors,
        threads: context.threads(),
        fetch: columnar::FETCH,
    };
    let mut keeper = IndexKeeper::new(engine.library().dir(), engine.library().status()?.tracks);
    let mut added = Vec::new();
    let mut on_event = |event: AddEvent<'_>| {
        if let AddEvent::Done {
            outcome: Outcome::Added(track),
            ..
        } = &event
        {
            keeper.added();
            added.push(*track);
        }
        progress.show(&event);
    };
    let mut summary = add(
        engine.library_mut(),
        &embedder,
        &files,
        &options,
        &mut on_event,
        &stop,
    )?;
    summary.failed += set_aside.len() as u64;
    progress.finish();
    let mut gone = MissingFiles::default();
    let mut taken_over = 0;
    let mut replaced = Vec::new();
    if !summary.interrupted {
        summary.removed +=
            put_parts_in_place(console, engine.library_mut(), folders.in_parts, &files, run)?;
        if !run.dry_run {
            let missing = if folders.take_over {
                let all = MissingFiles::anywhere(engine.library())?;
                all.files
                    .iter()
                    .chain(&all.out_of_reach)
                    .map(|missing| missing.file.track)
                    .collect()
            } else {
                Vec::new()
            };
            replaced = engine.successors(&added, &missing)?;
            if folders.take_over {
                taken_over = engine.take_over(&replaced)?;
                replaced
                    .iter()
                    .for_each(|replaced| tell_of(console, replaced));
                replaced.clear();
            }
        }
        gone = MissingFiles::below(
            engine.library(),
            folders.named.iter().filter(|named| !named.is_file()),
        )?;
        if folders.remove_missing && !run.dry_run {
            // Whoever listened and labelled would lose it: what could go on is kept until that is decided.
            gone.files.retain(|missing| {
                !replaced
                    .iter()
                    .any(|replaced| replaced.gone == missing.file.track)
            });
            summary.removed += engine.library_mut().remove_missing(&gone.files)?.tracks;
        }
    }
    let changed = summary.added + summary.updated + summary.moved + summary.removed > 0;
    if !run.dry_run
        && (changed || !engine.index_path().exists())
        && engine.library().status()?.vectors > 0
    {
        if summary.interrupted {
            // Who presses Ctrl-C does not want to wait for a build.
            engine.refresh_index()?;
        } else {
            keeper.finish();
            engine.maintain_index()?;
        }
    }
    if !run.dry_run && changed && !summary.interrupted {
        engine.keep_tags()?;
    }
    match run.format {
        ReportFormat::Json => render::print_json(&SummaryJson {
            summary: &summary,
            gone: gone.files.len(),
            out_of_reach: gone.out_of_reach.len(),
            taken_over,
            replaced: replaced.len(),
            left_out: folders.of_system.iter().map(left_out).collect(),
        })?,
        ReportFormat::Table => report_summary(console, &summary, &progress.reasons, run.dry_run)?,
    }
    if taken_over > 0 {
        let tracks = count(taken_over, "track");
        console.note(&format!(
            "{tracks} of files that are gone: went on with a later file of the same recording"
        ));
    }
    if let Some(first) = replaced.first() {
        console.note(&format!(
            "{} of files that are gone: the same recording was added again (\"{}\" sounds like \"{}\"); --take-over lets it keep the former's id, label and links",
            count(replaced.len() as u64, "track"),
            first.path.display(),
            first.was.display()
        ));
    }
    report_missing(console, &gone, folders.remove_missing, run.dry_run);
    tell_of_system_folders(
        console,
        engine.library_mut(),
        folders.of_system,
        run.dry_run,
    )?;
    Ok(if summary.interrupted {
        Ending::Interrupted
    } else if summary.failed > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

fn left_out(one: &SystemFolder) -> LeftOutJson {
    let folder = one.folder.to_string_lossy().into_owned();
    LeftOutJson {
        folder,
        files: one.files,
        more: one.is_more,
    }
}

/// Says which bins, snapshots and systems' own folders were left out, and once of each of which the library has files from
/// before that these stay.
fn tell_of_system_folders(
    console: Console,
    library: &mut Library,
    left_out: &[SystemFolder],
    dry_run: bool,
) -> anyhow::Result<()> {
    /// Folders of which it was said that their files stay, one a line.
    const STAY: &str = "system_folders_that_stay";
    let Some(first) = left_out.first() else {
        return Ok(());
    };
    let mut by_name: BTreeMap<String, (u64, bool)> = BTreeMap::new();
    for one in left_out {
        let name = one
            .folder
            .file_name()
            .unwrap_or(one.folder.as_os_str())
            .to_string_lossy()
            .into_owned();
        let (files, is_more) = by_name.entry(name).or_default();
        *files += one.files;
        *is_more |= one.is_more;
    }
    let names = by_name.iter().map(|(name, (files, is_more))| {
        let more = if *is_more { "at least " } else { "" };
        format!("{name} {more}{}", count(*files, "file"))
    });
    console.note(&format!(
        "left out: {} (bins, snapshots and systems' own folders; to take one in, name it itself: voisin add '{}')",
        names.collect::<Vec<_>>().join(", "),
        first.folder.display()
    ));
    let mut noted = library.setting(STAY)?.unwrap_or_default();
    let mut is_new = false;
    for one in left_out {
        let folder = one.folder.to_string_lossy();
        let files = library.files_below(&one.folder)?;
        if files == 0 || noted.lines().any(|line| line == folder) {
            continue;
        }
        let (are, them) = if files == 1 {
            ("is", "it")
        } else {
            ("are", "them")
        };
        console.note(&format!(
            "{} of {folder} {are} in the library from before and {}: voisin remove '{folder}' takes {them} out",
            count(files, "file"),
            if files == 1 { "stays" } else { "stay" }
        ));
        noted.push_str(&folder.replace('\n', "\u{fffd}"));
        noted.push('\n');
        is_new = true;
    }
    if is_new && !dry_run {
        library.set_setting(STAY, Some(&noted))?;
    }
    Ok(())
}

/// Takes files out of the library that came into it before a CUE sheet said what their parts are, once parts of them are
/// there; the parts keep the label that the whole was given by hand, where they have none. Returns how many tracks went.
fn put_parts_in_place(
    console: Console,
    library: &mut Library,
    in_parts: &[PathBuf],
    files: &[FileRecord],
    run: RunOptions,
) -> anyhow::Result<u64> {
    let mut removed = 0;
    for path in in_parts {
        let Some(whole) = library.find_by_path(path)? else {
            continue;
        };
        let of_it =
            |file: &&FileRecord| Place::part(&file.path).is_some_and(|part| part.audio == *path);
        let parts: Vec<&FileRecord> = files.iter().filter(of_it).collect();
        let shown = path.display();
        let number = count(parts.len() as u64, "part");
        if run.dry_run {
            console.note(&format!("{shown} would make way for its {number}"));
            continue;
        }
        let mut contents = Vec::new();
        for part in &parts {
            if let Some(track) = library.find_by_path(&part.path)? {
                contents.push(library.track(track)?.audio.content);
            }
        }
        if contents.is_empty() {
            continue;
        }
        let labels = library.hand_labels()?;
        let label = labels.get(&library.track(whole)?.audio.content);
        contents.retain(|content| !labels.contains_key(content));
        let mut text = format!(
            "{shown} was added as one track before its CUE sheet: its {number} took its place"
        );
        if let Some(label) = label.filter(|_| !contents.is_empty()) {
            library.set_labels(&contents, Some(label))?;
            text.push_str(&format!(" and keep its label, {label}"));
        }
        removed += library.remove_file(path)?.tracks;
        console.note(&text);
    }
    Ok(removed)
}

/// Says how many files of audio a scan passed over, because their names do not tell that they are.
pub(crate) fn tell_of_unnamed(console: Console, found: &scan::Scan) {
    let is_audio = |path: &&PathBuf| probe_as(path, ContentKind::Quick).is_ok();
    let passed_over: Vec<&PathBuf> = found.unnamed.iter().filter(is_audio).collect();
    if let [first, ..] = passed_over[..] {
        console.note(&format!(
            "{} of audio passed over, for want of an ending such as .mp3: give it one, or name the file itself ({})",
            count(passed_over.len() as u64, "file"),
            first.display()
        ));
    }
}

/// Whether the library has a file as it is.
pub(crate) fn is_unchanged(library: &Library, file: &FileRecord) -> bool {
    library
        .file_state(file)
        .is_ok_and(|state| matches!(state, FileState::Unchanged(_)))
}

fn report_summary(
    console: Console,
    summary: &AddSummary,
    reasons: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    if dry_run {
        return render::print_line(&format!(
            "would look at {}; {} unchanged, {} failed before",
            count(summary.added, "file"),
            summary.unchanged,
            summary.skipped
        ));
    }
    if !console.is_quiet() {
        for reason in reasons {
            console.warn(reason);
        }
        if summary.failed as usize > reasons.len() {
            console.note(&format!(
                "… and {} more",
                summary.failed as usize - reasons.len()
            ));
        }
        if summary.failed as usize > reasons.len() {
            console.note("\"voisin failed\" lists all of them");
        }
        if summary.interrupted {
            console
                .note("interrupted: everything above is kept; the same command goes on from here");
        }
    }
    if console.is_quiet() {
        return Ok(());
    }
    let mut text = format!(
        "added {}, updated {}, moved {}, unchanged {}, failed {}",
        summary.added, summary.updated, summary.moved, summary.unchanged, summary.failed
    );
    if summary.removed > 0 {
        text.push_str(&format!(", removed {}", summary.removed));
    }
    if summary.skipped > 0 {
        text.push_str(&format!(" ({} failed before and skipped)", summary.skipped));
    }
    render::print_line(&format!(
        "{text} in {} on {}",
        seconds(summary.seconds),
        summary.device
    ))
}

fn tell_of(console: Console, replaced: &Successor) {
    let Successor {
        gone, was, path, ..
    } = replaced;
    console.detail(&format!(
        "track {gone}: {} goes on as {}",
        was.display(),
        path.display()
    ));
}

/// What has gone, and what can be done about it.
fn report_missing(console: Console, gone: &MissingFiles, remove: bool, dry_run: bool) {
    if !gone.files.is_empty() {
        let files = count(gone.files.len() as u64, "file");
        console.note(&match (remove, dry_run) {
            (true, false) => format!("{files} gone since: taken out of the library"),
            (true, true) => format!("{files} gone since: would be taken out of the library"),
            (false, _) => {
                format!("{files} gone since: --remove-missing takes them out of the library")
            }
        });
    }
    if let Some(reason) = gone.why_some_stay() {
        console.warn(&reason);
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        clock(seconds)
    }
}

/// A bar for eyes, lines for pipes.
struct AddProgress {
    console: Console,
    dry_run: bool,
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    reasons: Vec<String>,
}

impl AddProgress {
    fn new(console: Console, dry_run: bool) -> Self {
        Self {
            console,
            dry_run,
            bar: None,
            total: 0,
            done: 0,
            reasons: Vec::new(),
        }
    }

    fn show(&mut self, event: &AddEvent<'_>) {
        match event {
            AddEvent::Planned {
                jobs,
                unchanged,
                skipped,
            } => {
                self.total = *jobs;
                let mut text = format!("{} to look at", count(*jobs as u64, "file"));
                if *unchanged > 0 {
                    text.push_str(&format!(", {unchanged} unchanged"));
                }
                if *skipped > 0 {
                    text.push_str(&format!(", {skipped} failed before"));
                }
                self.console.note(&text);
                if self.console.shows_progress_bar() && *jobs > 0 && !self.dry_run {
                    let style = ProgressStyle::with_template(
                        "{bar:30} {pos}/{len}, {eta} left  {wide_msg}",
                    )
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                    let bar = ProgressBar::new(*jobs as u64).with_style(style);
                    bar.enable_steady_tick(Duration::from_millis(200));
                    self.bar = Some(bar);
                }
            }
            AddEvent::Done { path, outcome } => self.done(path, outcome),
        }
    }

    fn done(&mut self, path: &Path, outcome: &Outcome) {
        self.done += 1;
        let what = match outcome {
            Outcome::Added(_) => "added".to_owned(),
            Outcome::Replaced(_) => "listened to again".to_owned(),
            Outcome::Measured(_) => "tempo, key and loudness measured".to_owned(),
            Outcome::Retagged(_) => "tags updated".to_owned(),
            Outcome::Moved { from, .. } => format!("moved from {}", from.display()),
            Outcome::Duplicate(track) => format!("the same audio as track {track}"),
            Outcome::WouldAdd => "would be looked at".to_owned(),
            Outcome::Failed(error) => {
                let reason = with_causes(error);
                if self.reasons.len() < FIRST_REASONS {
                    self.reasons.push(reason.clone());
                }
                format!("failed: {reason}")
            }
        };
        let line = || format!("{}/{}  {}  {what}", self.done, self.total, path.display());
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(render::one_line(
                    &path.file_name().unwrap_or_default().to_string_lossy(),
                ));
            }
            // A log that grows by a line per file helps nobody; a line per hundred tells that it lives.
            None if self.dry_run || self.done.is_multiple_of(100) => {
                self.console.note(&line());
            }
            None => self.console.detail(&line()),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
