//! `voisin space add|list|remove|default`.

use std::sync::atomic::Ordering;

use super::model::upgrade::{EmbeddingRun, renew, warn_of};
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, SpaceCommand};
use crate::cli::context::{Context, parse_model};
use crate::cli::render::{self, Align, Table, count};
use voisin_encoder::{models, models_dir};
use voisin_engine::{
    Engine, INDEX_FILE, UpgradeProgress, embed_missing, held_model, reads, remember_model,
    space_index_file, stored_model,
};
use voisin_library::{Library, OpenMode, VectorSpace};
use voisin_questions::answers::space::{SpaceFilledJson, SpaceJson};

/// Bytes of a row of a vector or of windows besides the numbers, measured.
const ROW_BYTES: u64 = 60;

pub(crate) fn run(context: &Context, command: &SpaceCommand) -> anyhow::Result<Ending> {
    match command {
        SpaceCommand::Add {
            model,
            name,
            format,
        } => add(context, model, name.as_deref(), *format),
        SpaceCommand::List { format } => list(context, *format),
        SpaceCommand::Remove { name } => remove(context, name),
        SpaceCommand::Default { name, leave_out } => make_default(context, name, *leave_out),
    }
}

fn add(
    context: &Context,
    model: &str,
    name: Option<&str>,
    format: ReportFormat,
) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    engine.library_mut().upgrades_mut().forget_other_models()?;
    engine.model()?;
    let spaces = engine.library().spaces().all()?;
    // A space of this name takes precedence over a model, so that the same command resumes.
    let held = spaces
        .iter()
        .find(|space| name.is_none() && !space.is_default && space.name == model);
    let target = match held {
        Some(space) => held_model(engine.library(), &space.model)?,
        None => parse_model(model),
    };
    let embedder = context.embedder_of(&target)?;
    let manifest = embedder.encoder().manifest();
    let fingerprint = manifest.fingerprint();
    let name = match (name, held) {
        (Some(name), _) => name.to_owned(),
        (None, Some(space)) => space.name.clone(),
        (None, None) => manifest.name.clone(),
    };
    engine
        .library_mut()
        .spaces_mut()
        .begin_space(&name, &stored_model(&embedder)?)?;
    remember_model(engine.library_mut(), &target, &fingerprint)?;
    let mut missing = engine
        .library()
        .spaces()
        .tracks_without_vector(&fingerprint)?
        .len() as u64;
    announce(context, engine.library(), &name, missing)?;
    let stop = context.stop_on_ctrl_c()?;
    let windows = engine.windows_setting()?;
    let mut run = EmbeddingRun::new(context.console);
    // Includes tracks that are added meanwhile, until only those are left that fail.
    while missing > run.failed() && !stop.load(Ordering::Relaxed) {
        run.begin();
        let mut show = |progress: UpgradeProgress<'_>| run.show(&progress);
        embed_missing(
            engine.library_mut(),
            &embedder,
            windows,
            context.threads(),
            &mut show,
            &stop,
        )?;
        run.finish();
        missing = engine
            .library()
            .spaces()
            .tracks_without_vector(&fingerprint)?
            .len() as u64;
    }
    let is_stopped = stop.load(Ordering::Relaxed);
    let space = engine.library().spaces().space_named(&name)?;
    // This engine has the index of the default space; that of the new one needs an engine inside it.
    drop(engine);
    if !is_stopped && space.vectors > 0 {
        let mut inside = context.open_engine_in(OpenMode::ReadWrite, Some(&name))?;
        inside.maintain_index()?;
        inside.words_mut().keep_tags()?;
    }
    warn_of(context.console, run.reasons());
    if missing > 0 {
        context.console.note(&format!(
            "{} left: \"voisin space add {name}\" resumes",
            count(missing, "track")
        ));
    }
    let embedded = run.embedded();
    if format == ReportFormat::Json {
        render::print_json(&SpaceFilledJson {
            name,
            model: space.model.name,
            model_fingerprint: fingerprint,
            heard: embedded,
            tracks: space.vectors,
            missing,
        })?;
    } else {
        render::print_line(&render::terminal_safe(&format!(
            "space {name}: {} analysed, {} in it now; search with --space {name}",
            count(embedded, "track"),
            space.vectors
        )))?;
    }
    Ok(match (is_stopped && missing > 0, missing) {
        (true, _) => Ending::Interrupted,
        (false, 0) => Ending::Fine,
        (false, _) => Ending::Partial,
    })
}

/// Reports how many tracks are to be analysed, with estimates of the disk space, by the dimension and the windows per track of
/// the default space, and of the memory for the model's weights, if the model is built in or stored.
fn announce(context: &Context, library: &Library, name: &str, missing: u64) -> anyhow::Result<()> {
    if missing == 0 {
        return Ok(());
    }
    let model = library.spaces().space_named(name)?.model;
    let dimension = model.dimension as u64;
    let kept = models(models_dir().as_deref()).into_iter().flatten();
    let weights = kept
        .filter(|entry| entry.manifest.fingerprint() == model.fingerprint)
        .map(|entry| {
            format!(
                ", {:.0} MB of memory for its weights",
                megabytes(entry.bytes() as f64)
            )
        })
        .next()
        .unwrap_or_default();
    let status = library.status()?;
    // Windows per track: the average of the default space.
    let windows = status.windows as f64 / status.vectors.max(1) as f64;
    // 32 bits a number for tracks, 16 for windows, and 4 bytes for each window's start.
    let track = (4 * dimension + ROW_BYTES) as f64 + windows * (2 * dimension + 4) as f64;
    context.console.note(&format!(
        "space {name}: {} to analyse, some {:.0} MB on the disk{weights}",
        count(missing, "track"),
        megabytes(track * missing as f64)
    ));
    Ok(())
}

/// Megabytes, at least one.
fn megabytes(bytes: f64) -> f64 {
    (bytes / 1e6).max(1.0)
}

/// Estimated bytes of a space in the database.
fn bytes(space: &VectorSpace) -> u64 {
    let dimension = space.model.dimension as u64;
    space.vectors * (4 * dimension + 2 * ROW_BYTES) + space.windows * (2 * dimension + 4)
}

fn list(context: &Context, format: ReportFormat) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    let tracks = library.status()?.tracks;
    let mut found = Vec::new();
    for space in library.spaces().all()? {
        let there = held_model(&library, &space.model)?.manifest();
        found.push(SpaceJson {
            bytes: bytes(&space),
            reads: reads(&space.model),
            name: space.name,
            default: space.is_default,
            model_fingerprint: space.model.fingerprint.clone(),
            dimension: space.model.dimension,
            tracks: space.vectors,
            missing: tracks.saturating_sub(space.vectors),
            windows: space.windows,
            model_is_there: there.is_ok_and(|card| card.fingerprint() == space.model.fingerprint),
            model: space.model.name,
        });
    }
    if format == ReportFormat::Json {
        render::print_json(&found)?;
        return Ok(Ending::Fine);
    }
    let mut table = Table::new(&[
        ("space", Align::Left),
        ("model", Align::Left),
        ("dimensions", Align::Right),
        ("tracks", Align::Right),
        ("missing", Align::Right),
        ("MB", Align::Right),
        ("reads", Align::Left),
        ("", Align::Left),
    ]);
    for space in &found {
        let mut notes = Vec::new();
        if space.default {
            notes.push("default");
        }
        if !space.model_is_there {
            notes.push("its model's file is gone: it can be searched, but nothing can be added");
        }
        table.row([
            &space.name,
            &space.model,
            &space.dimension.to_string(),
            &space.tracks.to_string(),
            &space.missing.to_string(),
            &format!("{:.1}", space.bytes as f64 / 1e6),
            &(if space.reads { "sentences" } else { "" }).to_owned(),
            &notes.join("; "),
        ]);
    }
    table.print()?;
    Ok(Ending::Fine)
}

fn remove(context: &Context, name: &str) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let _lock = engine.library().lock_for_writing()?;
    let before = engine.library().status()?.bytes;
    let (vectors, shrunk) = engine.library_mut().spaces_mut().remove_space(name)?;
    forget_index(&engine, &space_index_file(name));
    let freed = before.saturating_sub(engine.library().status()?.bytes);
    render::print_line(&render::terminal_safe(&format!(
        "space {name}: {} of it deleted, {:.1} MB of the disk are free again",
        count(vectors, "track"),
        freed as f64 / 1e6
    )))?;
    if !shrunk {
        context.console.note(
            "the database could not be made smaller now (in use, or too little disk space): later data will use its free pages",
        );
    }
    Ok(Ending::Fine)
}

/// Removes an index, ignoring errors, since a cache that stays does no harm.
fn forget_index(engine: &Engine, file: &str) {
    // Older versions kept changes in a second file.
    for name in [file.to_owned(), format!("{file}.tail")] {
        let _ = std::fs::remove_file(engine.library().dir().join(name));
    }
}

fn make_default(context: &Context, name: &str, leave_out: bool) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let _lock = engine.library().lock_for_writing()?;
    let space = engine.library().spaces().space_named(name)?;
    if space.is_default {
        render::print_line(&render::terminal_safe(&format!(
            "space {name} is the default already"
        )))?;
        return Ok(Ending::Fine);
    }
    let former = engine.model()?;
    // Read before the switch: afterwards it is a head of other vectors, and refused.
    let head = engine.genres().genre_head().ok().flatten();
    // A space without vectors has no results.
    let leave_out = leave_out && space.vectors > 0;
    let missing = engine
        .library_mut()
        .spaces_mut()
        .set_default_space(name, leave_out)?;
    if missing > 0 && !leave_out {
        render::print_line(&render::terminal_safe(&format!(
            "space {name} is not the default: it lacks {}; \"voisin space add {name}\" analyses them, --leave-out makes it the default without them",
            count(missing, "track")
        )))?;
        return Ok(Ending::Partial);
    }
    // These indexes have generations of other counters.
    for space in engine.library().spaces().all()? {
        if space.is_default || space.model.fingerprint == former.fingerprint {
            forget_index(&engine, &space_index_file(&space.name));
        }
    }
    forget_index(&engine, INDEX_FILE);
    engine.maintain_index()?;
    engine.words_mut().keep_tags()?;
    engine.scales_mut().fill_moods()?;
    renew(context.console, &engine, head.as_ref());
    render::print_line(&render::terminal_safe(&format!(
        "space {name} is the default: this library's vectors are from model {} now, those of {} stay",
        space.model.name, former.name
    )))?;
    Ok(Ending::Fine)
}
