//! `voisin train encoder prepare|run|export`.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::base::output::OutputTarget;
use crate::cli::Ending;
use crate::cli::args::{EncoderCommand, ExportEncoderArgs, PrepareArgs, RunArgs, Weighted};
use crate::cli::context::{Context, check_model_place, parse_model};
use crate::cli::meter::Meter;
use crate::cli::render::{self, clock, count};
use crate::encoder::{ModelRef, models_dir};
use crate::eval::plots::{Curve, chart};
use crate::train::encoder::{
    ExportOptions, LossWeights, PrepareOptions, Start, TrainOptions, TrainingProgress, export,
    prepare, train, widths,
};

/// Reasons that the end of a preparation repeats.
const FIRST_REASONS: usize = 5;

pub(super) fn run(context: &Context, command: &EncoderCommand) -> anyhow::Result<Ending> {
    match command {
        EncoderCommand::Prepare(args) => prepare_music(context, args),
        EncoderCommand::Run(args) => run_training(context, args),
        EncoderCommand::Export(args) => export_model(context, args),
    }
}

fn prepare_music(context: &Context, args: &PrepareArgs) -> anyhow::Result<Ending> {
    let mut options = PrepareOptions::new(args.music.clone(), args.cache.clone());
    options.grooves.clone_from(&args.grooves);
    options.passes = 0..args.passes + args.mixed;
    options.mixed_from = args.passes;
    options.overlays.clone_from(&args.overlay);
    options.crops = args.crops as usize;
    options.mixtures = args.mixtures as usize;
    options.degraded = args.degraded as usize;
    options.seed = args.random.random_seed;
    if !args.teacher.is_empty() {
        options.teachers = args
            .teacher
            .iter()
            .map(|name| parse_model(name))
            .collect::<Vec<ModelRef>>();
    }
    let stop = context.stop_on_ctrl_c()?;
    let clock_start = Instant::now();
    let meter = Mutex::new(Meter::new(context));
    let prepared = prepare(&options, &|p| {
        let left =
            clock_start.elapsed().as_secs_f64() * (p.total - p.done) as f64 / p.done.max(1) as f64;
        if let Ok(mut meter) = meter.lock() {
            meter.show(p.done as f64 / p.total.max(1) as f64, || {
                format!(
                    "{}/{} tracks, {} crops, {} left",
                    p.done,
                    p.total,
                    p.crops,
                    clock(left)
                )
            });
        }
        !stop.load(Ordering::Relaxed)
    })?;
    if let Ok(meter) = meter.lock() {
        meter.finish();
    }
    for (path, reason) in prepared.skipped.iter().take(FIRST_REASONS) {
        context
            .console
            .warn(&format!("{}: {reason}", path.display()));
    }
    if prepared.skipped.len() > FIRST_REASONS {
        context.console.note(&format!(
            "… and {} more",
            prepared.skipped.len() - FIRST_REASONS
        ));
    }
    render::print_line(&format!(
        "prepared {} with {}; {} were there, {} of them got more teachers; {} skipped",
        count(prepared.tracks as u64, "track"),
        count(prepared.crops as u64, "crop"),
        prepared.present + prepared.added,
        prepared.added,
        prepared.skipped.len()
    ))?;
    Ok(if stop.load(Ordering::Relaxed) {
        context
            .console
            .note("interrupted: the same command goes on from here");
        Ending::Interrupted
    } else if prepared.skipped.is_empty() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

fn pairs(list: &[Weighted]) -> Vec<(String, f32)> {
    list.iter()
        .map(|Weighted(name, weight)| (name.clone(), *weight))
        .collect()
}

fn training_options(context: &Context, args: &RunArgs) -> anyhow::Result<TrainOptions> {
    let mut options = TrainOptions::new(args.cache.clone(), args.run.clone());
    options.widths = match &args.widths {
        Some(list) => match list.as_slice().try_into() {
            Ok(widths) => widths,
            Err(_) => bail!("--widths takes eight numbers, found {}", list.len()),
        },
        None => widths(args.width)?,
    };
    if let Some(from) = &args.from {
        options.start = Start::of(from);
    }
    options.windows = args.windows;
    options.time_limit = args
        .minutes
        .map(|minutes| Duration::try_from_secs_f64(minutes * 60.0))
        .transpose()
        .context("--minutes expects a number above 0")?;
    (options.device, options.precision) = (context.device_option(), context.precision_option());
    options.batch = args.batch;
    options.learning_rate = args.rate;
    options.seed = args.random.random_seed;
    options.teachers = pairs(&args.teacher);
    options.losses = LossWeights {
        penultimate_mse: args.penultimate,
        penultimate_cosine: args.cosine,
        tags_mse: args.tags,
        tags_bce: args.bce,
        contrast: args.contrast,
        temperature: args.temperature,
        style: args.style,
    };
    options.colour = !args.no_colour;
    options.average = args.average;
    options.holdout = args.holdout;
    options.holdout_groups.clone_from(&args.holdout_group);
    options.validate_every = args.validate_every;
    options.checkpoint_every = Duration::from_secs(args.checkpoint_every);
    Ok(options)
}

fn run_training(context: &Context, args: &RunArgs) -> anyhow::Result<Ending> {
    let options = training_options(context, args)?;
    let half = if options.precision == crate::encoder::Precision::Bf16 {
        ", bf16"
    } else {
        ""
    };
    context.console.note(&format!(
        "training on {}{half}",
        options.device.resolve()?.description()
    ));
    let stop = context.stop_on_ctrl_c()?;
    let mut meter = Meter::new(context);
    let trained = train(&options, &mut |p: &TrainingProgress| {
        meter.show(p.share, || {
            format!(
                "step {}, {} windows, loss {:.4}, rate {:.1e}, {:.1} windows/s, {} left",
                p.step,
                p.windows,
                p.losses.total,
                p.learning_rate,
                p.rate,
                clock(p.seconds_left)
            )
        });
        if let Some(v) = p.validation {
            meter.line(&format!(
                "{} windows: R2 {:.3} (tags {:.3}), correlation {:.3} (tracks {:.3}), shared neighbours {:.3}{}",
                p.windows,
                v.r2_penultimate,
                v.r2_tags,
                v.correlation,
                v.track_correlation,
                v.neighbours,
                if v.styles > 0.0 { format!(", groove styles {:.3}", v.styles) } else { String::new() }
            ));
        }
        !stop.load(Ordering::Relaxed) && args.stop_after.is_none_or(|last| p.step < last)
    })?;
    meter.finish();
    plot(&args.run)?;
    let run = &trained.checkpoint.run;
    render::print_line(&format!(
        "{} after {} and {} in {}: {}",
        if trained.finished {
            "finished"
        } else {
            "stopped"
        },
        count(run.step, "step"),
        count(run.windows, "window"),
        clock(run.seconds),
        render::terminal_safe(
            &args
                .run
                .join("checkpoint.safetensors")
                .display()
                .to_string()
        )
    ))?;
    Ok(if stop.load(Ordering::Relaxed) {
        context
            .console
            .note("interrupted: the same command goes on from here");
        Ending::Interrupted
    } else {
        Ending::Fine
    })
}

/// Columns of a CSV file over its column `windows`; those that are always 0 are left out.
fn curves(path: &Path, wanted: &[&str]) -> anyhow::Result<Vec<Curve>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let headers = reader.headers()?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let windows =
        place("windows").with_context(|| format!("{}: no column \"windows\"", path.display()))?;
    let columns: Vec<(&str, usize)> = wanted
        .iter()
        .filter_map(|name| place(name).map(|at| (*name, at)))
        .collect();
    let mut curves: Vec<Curve> = columns
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Vec::new()))
        .collect();
    for row in reader.records() {
        let row = row?;
        let value = |at: usize| {
            row.get(at)
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(f64::NAN)
        };
        for ((_, at), (_, points)) in columns.iter().zip(&mut curves) {
            points.push((value(windows), value(*at)));
        }
    }
    curves.retain(|(_, points)| points.iter().any(|(_, y)| *y != 0.0));
    Ok(curves)
}

/// Draws the losses and the validations.
fn plot(run: &Path) -> anyhow::Result<()> {
    let losses = [
        "total",
        "penultimate_mse",
        "penultimate_cosine",
        "tags_mse",
        "tags_bce",
        "contrast",
        "style",
    ];
    let agreement = [
        "r2_penultimate",
        "r2_tags",
        "correlation",
        "track_correlation",
        "neighbours",
        "styles",
    ];
    for (name, title, axis, wanted) in [
        ("loss", "Loss on training music", "loss", losses.as_slice()),
        (
            "validation",
            "Agreement with the teachers on held-out music",
            "",
            agreement.as_slice(),
        ),
    ] {
        let curves = curves(&run.join(format!("{name}.csv")), wanted)?;
        if curves.iter().all(|(_, points)| points.len() < 2) {
            continue;
        }
        let scene = chart(title, "windows seen", axis, &curves);
        let write = |ending: &str, bytes: &[u8]| {
            let path = run.join(format!("{name}.{ending}"));
            OutputTarget::page(&path, true).and_then(|place| place.write(bytes))
        };
        write("svg", scene.svg().as_bytes())?;
        write("png", &scene.png(2)?)?;
    }
    Ok(())
}

fn export_model(context: &Context, args: &ExportEncoderArgs) -> anyhow::Result<Ending> {
    let out = match &args.output {
        Some(folder) => folder.clone(),
        None => {
            models_dir().context("no folder for models: set VOISIN_MODELS, or give --output")?
        }
    };
    check_model_place(&out, &args.name, args.force)?;
    let exported = export(&ExportOptions {
        checkpoint: args.checkpoint.clone(),
        out,
        name: args.name.clone(),
        licence: args.licence.clone(),
        provenance: args.provenance.clone(),
        full_width: args.full_width,
        tags_share: args.tags_share,
        frames: pairs(&args.frame),
        told: args.tell.clone(),
        corpus: args.cache.clone(),
    })?;
    for figure in &exported.whitening {
        context.console.note(&figure.to_string());
    }
    render::print_line(&render::terminal_safe(&format!(
        "{}: {} of weights, SHA-256 {}; use it with --model {}",
        exported.path.display(),
        count(exported.bytes, "byte"),
        exported.manifest.weights_sha256,
        if args.output.is_some() {
            exported.path.display().to_string()
        } else {
            args.name.clone()
        }
    )))?;
    Ok(Ending::Fine)
}
