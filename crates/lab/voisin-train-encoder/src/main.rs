//! The program `voisin-train-encoder`: options, progress and summaries of training.

mod args;
mod progress;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser as _;

use args::{
    EncoderCli, EncoderCommand, ExportEncoderArgs, MachineArgs, PrepareArgs, RunArgs, Weighted,
};
use progress::{ProgressLine, note, report};
use voisin_base::abandoned;
use voisin_base::output::{OutputTarget, check_folder};
use voisin_base::text::{clock, count, with_causes};
use voisin_encoder::{ModelRef, models_dir};
use voisin_lab::eval::plots::{Curve, chart};
use voisin_train::widths;
use voisin_train_encoder::{
    ExportOptions, LossWeights, PrepareOptions, Start, TrainOptions, TrainingProgress, export,
    prepare, train,
};

/// Exit code if some files were skipped.
const SOME_SKIPPED: u8 = 1;
/// Exit code of wrong arguments or a failure.
const FAULT: u8 = 2;
/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // A panic inside a decoder becomes the error of that file.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !voisin_audio::is_guarded() {
            loud(panic);
        }
    }));
    let cli = EncoderCli::parse();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&with_causes(error.as_ref()));
            ExitCode::from(FAULT)
        }
    }
}

fn run(cli: &EncoderCli) -> anyhow::Result<u8> {
    // An instruction set that the processor lacks is refused here, before any work.
    voisin_kernels::isa()?;
    if let Some(threads) = cli.machine.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(usize::from(threads))
            .build_global()
            .context("cannot start the threads of --threads")?;
    }
    match &cli.command {
        EncoderCommand::Prepare(args) => prepare_music(&cli.machine, args),
        EncoderCommand::Run(args) => run_training(&cli.machine, args),
        EncoderCommand::Export(args) => export_model(&cli.machine, args),
    }
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            // Destructors do not run when a process exits.
            abandoned::remove_unfinished();
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Writes a line to standard output.
fn print_line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

/// Reasons for skipped files that are printed at the end.
const FIRST_REASONS: usize = 5;

fn prepare_music(machine: &MachineArgs, args: &PrepareArgs) -> anyhow::Result<u8> {
    let mut options = PrepareOptions::new(args.music.clone(), args.cache.clone());
    options.grooves.clone_from(&args.grooves);
    // Mixed passes are numbered after the plain ones.
    options.passes = 0..args.passes + args.mixed;
    options.mixed_from = args.passes;
    options.overlays.clone_from(&args.overlay);
    options.crops = args.crops as usize;
    options.mixtures = args.mixtures as usize;
    options.degraded = args.degraded as usize;
    options.seed = args.random_seed;
    if !args.teacher.is_empty() {
        options.teachers = args
            .teacher
            .iter()
            .map(|name| {
                let Ok(model) = name.parse::<ModelRef>();
                model
            })
            .collect();
    }
    let stop = stop_on_ctrl_c()?;
    let clock_start = Instant::now();
    let meter = Mutex::new(ProgressLine::new(machine.quiet));
    let prepared = prepare(&options, &|p| {
        let left =
            clock_start.elapsed().as_secs_f64() * (p.total - p.done) as f64 / p.done.max(1) as f64;
        // A poisoned lock costs a line of progress, not the run.
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
        report(&format!("{}: {reason}", path.display()));
    }
    if prepared.skipped.len() > FIRST_REASONS {
        report(&format!(
            "… and {} more",
            prepared.skipped.len() - FIRST_REASONS
        ));
    }
    print_line(&format!(
        "prepared {} with {}; {} already prepared, teachers added to {} of them; {} skipped",
        count(prepared.tracks as u64, "track"),
        count(prepared.crops as u64, "crop"),
        prepared.present + prepared.added,
        prepared.added,
        prepared.skipped.len()
    ))?;
    Ok(if stop.load(Ordering::Relaxed) {
        note(machine.quiet, "interrupted: repeat the command to continue");
        INTERRUPTED
    } else if prepared.skipped.is_empty() {
        0
    } else {
        SOME_SKIPPED
    })
}

fn pairs(list: &[Weighted]) -> Vec<(String, f32)> {
    list.iter()
        .map(|Weighted(name, weight)| (name.clone(), *weight))
        .collect()
}

fn training_options(machine: &MachineArgs, args: &RunArgs) -> anyhow::Result<TrainOptions> {
    let mut options = TrainOptions::new(args.cache.clone(), args.run.clone());
    options.widths = match &args.widths {
        Some(list) => match list.as_slice().try_into() {
            Ok(widths) => widths,
            Err(_) => bail!("--widths: expected eight numbers, found {}", list.len()),
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
    options.device = machine.device;
    options.batch = args.batch;
    options.learning_rate = args.rate;
    options.seed = args.random_seed;
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

fn run_training(machine: &MachineArgs, args: &RunArgs) -> anyhow::Result<u8> {
    let options = training_options(machine, args)?;
    note(
        machine.quiet,
        &format!("training on {}", options.device.resolve()?.description()),
    );
    let stop = stop_on_ctrl_c()?;
    let mut meter = ProgressLine::new(machine.quiet);
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
    // Also after a stop, so that the curves show its progress.
    plot(&args.run)?;
    let run = &trained.checkpoint.run;
    print_line(&format!(
        "{} after {} and {} in {}: {}",
        if trained.finished {
            "finished"
        } else {
            "stopped"
        },
        count(run.step, "step"),
        count(run.windows, "window"),
        clock(run.seconds),
        args.run.join("checkpoint.safetensors").display()
    ))?;
    Ok(if stop.load(Ordering::Relaxed) {
        note(machine.quiet, "interrupted: repeat the command to continue");
        INTERRUPTED
    } else {
        0
    })
}

/// Columns of a CSV file over its column `windows`; columns of zeros are left out.
fn curves(path: &Path, wanted: &[&str]) -> anyhow::Result<Vec<Curve>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let headers = reader.headers()?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let windows =
        place("windows").with_context(|| format!("{}: no column \"windows\"", path.display()))?;
    // A column that an older version did not write has no curve.
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
        // A line needs two points.
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

fn export_model(machine: &MachineArgs, args: &ExportEncoderArgs) -> anyhow::Result<u8> {
    let out = match &args.output {
        Some(folder) => folder.clone(),
        None => {
            models_dir().context("no folder for models: set VOISIN_MODELS, or give --output")?
        }
    };
    let files = ["json", "safetensors"].map(|ending| format!("{}.{ending}", args.name));
    // An existing name is refused before the work.
    if let Err(error) = check_folder(&out, &files.each_ref().map(String::as_str), args.force) {
        match error.remedy() {
            Some(_) => bail!("{error}: replace it with --force, or use another name"),
            None => return Err(error.into()),
        }
    }
    let exported = export(&ExportOptions {
        checkpoint: args.checkpoint.clone(),
        out,
        name: args.name.clone(),
        licence: args.licence.clone(),
        provenance: args.provenance.clone(),
        full_width: args.full_width,
        tags_share: args.tags_share,
        frames: pairs(&args.frame),
        tag_teachers: args.tell.clone(),
        corpus: args.cache.clone(),
    })?;
    for figure in &exported.whitening {
        note(machine.quiet, &figure.to_string());
    }
    print_line(&format!(
        "{}: {} of weights, SHA-256 {}; use it with --model {}",
        exported.path.display(),
        count(exported.bytes, "byte"),
        exported.manifest.weights_sha256,
        if args.output.is_some() {
            exported.path.display().to_string()
        } else {
            args.name.clone()
        }
    ))?;
    Ok(0)
}
