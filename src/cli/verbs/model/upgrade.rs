//! `voisin model upgrade`.

use crate::cli::Ending;
use crate::cli::args::ReportFormat;
use crate::cli::context::{Context, parse_model};
use crate::cli::render::{self, Console, count};
use indicatif::{ProgressBar, ProgressStyle};
use voisin_base::text::with_causes;
use voisin_encoder::ModelRef;
use voisin_engine::{Engine, GenreHead, UpgradeProgress, held_model, remember_model, upgrade};
use voisin_library::{LibraryError, OpenMode, Upgrade};
use voisin_questions::answers::model::UpgradeSummaryJson;

/// Number of reasons that are repeated at the end.
const FIRST_REASONS: usize = 5;

pub(super) fn run(
    context: &Context,
    name: Option<&str>,
    leave_out: bool,
    give_up: bool,
    format: ReportFormat,
) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let before = engine.model()?;
    let under_way = engine.library().upgrades().upgrade()?;
    if give_up {
        let _lock = engine.library().lock_for_writing()?;
        return end(context.console, &mut engine, under_way);
    }
    let target = match (name.or(context.model_option()), under_way) {
        (Some(name), _) => parse_model(name),
        (None, Some(under_way)) => held_model(engine.library(), &under_way.model)?,
        (None, None) => ModelRef::default(),
    };
    // Also clears the rest of an earlier upgrade that was killed after the switch.
    if target.manifest()?.fingerprint() == before.fingerprint {
        engine.library_mut().upgrades_mut().forget_other_models()?;
        if format == ReportFormat::Json {
            let model = before.name;
            let fingerprint = before.fingerprint;
            let json = UpgradeSummaryJson {
                model,
                fingerprint,
                switched: false,
                heard: 0,
                missing: 0,
            };
            render::print_json(&json)?;
        } else {
            let text = LibraryError::SameModel { name: before.name }.to_string();
            render::print_line(&render::terminal_safe(&text))?;
        }
        return Ok(Ending::Fine);
    }
    let embedder = context.embedder_of(&target)?;
    let fingerprint = embedder.encoder().manifest().fingerprint();
    // The model's file may lie anywhere, and the next run has to find it.
    remember_model(engine.library_mut(), &target, &fingerprint)?;
    let stop = context.stop_on_ctrl_c()?;
    let windows = engine.windows_setting()?;
    let mut run = EmbeddingRun::new(context.console);
    let embed = |run: &mut EmbeddingRun, engine: &mut Engine| {
        run.begin();
        let mut show = |progress: UpgradeProgress<'_>| run.show(&progress);
        upgrade(
            engine.library_mut(),
            &embedder,
            windows,
            context.threads(),
            &mut show,
            &stop,
        )?;
        run.finish();
        anyhow::Ok(
            engine
                .library()
                .spaces()
                .tracks_without_vector(&fingerprint)?
                .len() as u64,
        )
    };
    // Without the lock, so that other commands can add and search for the hours that this takes.
    let mut missing = embed(&mut run, &mut engine)?;
    let is_stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let mut switched = false;
    if !is_stopped() {
        // From here on no other process may add vectors of the old model.
        let _lock = engine.library().lock_for_writing()?;
        // More are missing than failed, so tracks were added meanwhile.
        if missing > run.failed() {
            missing = embed(&mut run, &mut engine)?;
        }
        // Read before the switch: afterwards it is a head of other vectors, and refused.
        let head = engine.genres().genre_head().ok().flatten();
        // If no track can be analysed, the disk is more likely not mounted than gone.
        let leave_out = leave_out && missing < engine.library().status()?.tracks;
        if !is_stopped() {
            missing = engine
                .library_mut()
                .upgrades_mut()
                .finish_upgrade(leave_out)?;
            switched = missing == 0 || leave_out;
        }
        if switched {
            // The lock is still held: an `add` must find index and vectors of one model.
            engine.rebuild_index("the library has another model")?;
            engine.maintain_index()?;
            engine.words_mut().keep_tags()?;
            engine.scales_mut().fill_moods()?;
            renew(context.console, &engine, head.as_ref());
            // Last, so that a run that is killed before has lost no vectors in use.
            engine.library_mut().upgrades_mut().forget_other_models()?;
        }
    }
    let EmbeddingRun {
        embedded, reasons, ..
    } = run;
    report_missing(context.console, &reasons, missing, switched);
    let now = engine.model()?;
    if format == ReportFormat::Json {
        let model = now.name;
        let fingerprint = now.fingerprint;
        render::print_json(&UpgradeSummaryJson {
            model,
            fingerprint,
            switched,
            heard: embedded,
            missing,
        })?;
    } else {
        let since = if switched {
            format!("now, not from {}", before.name)
        } else {
            "still".to_owned()
        };
        render::print_line(&render::terminal_safe(&format!(
            "{} analysed; this library's vectors are from model {} {since}",
            count(embedded, "track"),
            now.name
        )))?;
    }
    Ok(match (is_stopped() && !switched, missing) {
        // After the switch Ctrl-C interrupts nothing.
        (true, _) => Ending::Interrupted,
        (false, 0) => Ending::Fine,
        (false, _) => Ending::Partial,
    })
}

fn end(
    console: Console,
    engine: &mut Engine,
    under_way: Option<Upgrade>,
) -> anyhow::Result<Ending> {
    engine.library_mut().upgrades_mut().abandon_upgrade()?;
    let Some(upgrade) = under_way else {
        console.note("no unfinished upgrade: nothing to abandon");
        return Ok(Ending::Partial);
    };
    render::print_line(&render::terminal_safe(&format!(
        "the upgrade to {} is abandoned: {} of it deleted",
        upgrade.model.name,
        count(upgrade.done, "track")
    )))?;
    Ok(Ending::Fine)
}

/// Trains the head again, since it was trained on vectors of the old model.
pub(in crate::cli::verbs) fn renew(console: Console, engine: &Engine, head: Option<&GenreHead>) {
    match head.map(|head| engine.genres().renew_genre_head(head)) {
        None => {}
        Some(Ok(_)) => console.note("the genre head was trained again, on the new vectors"),
        Some(Err(error)) => console.warn(&format!(
            "the genre head cannot be trained again: {}; \"voisin train genre\" makes one",
            with_causes(&error)
        )),
    }
}

fn report_missing(console: Console, reasons: &[String], missing: u64, switched: bool) {
    if missing == 0 {
        return;
    }
    warn_of(console, reasons);
    let tracks = count(missing, "track");
    console.note(&if switched {
        format!("{tracks} left out: no search finds them until \"voisin add\" has analysed their files")
    } else {
        format!(
            "{tracks} left: the old vectors are used until then; the same command resumes, with --leave-out it switches without them"
        )
    });
}

/// Repeats why tracks could not be analysed.
pub(in crate::cli::verbs) fn warn_of(console: Console, reasons: &[String]) {
    for reason in reasons.iter().take(FIRST_REASONS) {
        console.warn(reason);
    }
    if reasons.len() > FIRST_REASONS {
        console.note(&format!("… and {} more", reasons.len() - FIRST_REASONS));
    }
}

/// Progress so far: a bar on a terminal, else a line per hundred tracks.
pub(in crate::cli::verbs) struct EmbeddingRun {
    console: Console,
    embedded: u64,
    reasons: Vec<String>,
    bar: Option<ProgressBar>,
}

impl EmbeddingRun {
    pub(in crate::cli::verbs) fn new(console: Console) -> Self {
        Self {
            console,
            embedded: 0,
            reasons: Vec::new(),
            bar: None,
        }
    }

    /// Clears the failures of earlier passes.
    pub(in crate::cli::verbs) fn begin(&mut self) {
        self.reasons.clear();
    }

    /// Number of tracks that were analysed.
    pub(in crate::cli::verbs) fn embedded(&self) -> u64 {
        self.embedded
    }

    /// Number of tracks that failed in this pass.
    pub(in crate::cli::verbs) fn failed(&self) -> u64 {
        self.reasons.len() as u64
    }

    /// The reasons of these failures.
    pub(in crate::cli::verbs) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    pub(in crate::cli::verbs) fn show(&mut self, progress: &UpgradeProgress<'_>) {
        let UpgradeProgress {
            done,
            total,
            track,
            error,
        } = progress;
        match error {
            None => self.embedded += 1,
            Some(error) => self.reasons.push(with_causes(error)),
        }
        if self.console.shows_progress_bar() {
            let bar = self.bar.get_or_insert_with(|| {
                let style =
                    ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {wide_msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_bar());
                ProgressBar::new(*total as u64).with_style(style)
            });
            bar.set_position(*done as u64);
            bar.set_message(render::one_line(&track.display_name()));
        } else if done.is_multiple_of(100) {
            self.console
                .note(&format!("{done}/{total}  {}", track.path.display()));
        }
    }

    pub(in crate::cli::verbs) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
