//! `voisin train classifier`.

#[cfg(feature = "train")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, TrainClassifierArgs};
use crate::cli::context::Context;
use crate::cli::lab::{
    feature_sets, interrupted, listen, open, print_report, tell_faults, usual_sets, with_meter,
};
use crate::cli::meter::Meter;
use crate::cli::render::{self, clock, count};
use crate::dataset::Dataset;
use crate::lab::LabError;
use crate::lab::config::Config;
use crate::lab::matrix::{FeatureSet, compute};
#[cfg(feature = "train")]
use crate::lab::networks::{self, ClipReader, KeptSpectrograms};
use crate::lab::report::{Cost, Report};
use crate::lab::run::{Clock, Given, Progress, begin, train};

pub(super) fn run(context: &Context, args: &TrainClassifierArgs) -> anyhow::Result<Ending> {
    let label = args.label.clone().unwrap_or_else(|| "genre".to_owned());
    let source = if label == "genre" { args.data.clone() } else { args.data.clone().with_label(&label) };
    let reading = Clock::start();
    let set = open(context, &source)?;
    let config = config(args, &set, &source.to_string())?;
    if args.dry_run {
        return plan(context, &config, &set);
    }
    if begin(&args.run, &config)? {
        context.console.note("this run is finished; here are its figures again");
        let report = Report::read(&args.run)?;
        return show(args, &report);
    }
    let mut cost = vec![reading.cost("reading the data set")];
    let stop = context.stop_on_ctrl_c()?;
    #[cfg(feature = "train")]
    if config.network().is_some() {
        return network(context, args, &config, &set, cost, &stop);
    }
    let listening = Clock::start();
    // A run that is cut off while it listens goes on from what its own folder has.
    let cache = args.cache.clone().unwrap_or_else(|| args.run.join("work/features"));
    let matrix = match listen(context, &set, &config.features.sets, Some(cache), &stop) {
        Err(error) if stop.load(Ordering::Relaxed) && error.is::<LabError>() => {
            return Ok(interrupted(context));
        }
        other => other?,
    };
    cost.push(listening.cost("listening"));
    tell_faults(context, &matrix.faults);
    let command = command(args, &config);
    let given = Given { config: &config, set: &set, matrix, random_folds: args.leak, command, cost };
    let report = metered(context, |progress| train(&args.run, given, progress, &stop));
    finish(context, args, report)
}

/// Trains a network on spectrograms.
#[cfg(feature = "train")]
fn network(
    context: &Context,
    args: &TrainClassifierArgs,
    config: &Config,
    set: &Dataset,
    mut cost: Vec<Cost>,
    stop: &AtomicBool,
) -> anyhow::Result<Ending> {
    let Some((recipe, settings)) = config.network() else { return Ok(Ending::Fine) };
    let listening = Clock::start();
    let folder = args.cache.clone().unwrap_or_else(|| args.run.join("work/features"));
    let kept = Arc::new(KeptSpectrograms::new(ClipReader::new(recipe, settings)?, folder));
    let sets: [Box<dyn FeatureSet>; 1] = [Box::new(Arc::clone(&kept))];
    let matrix = with_meter(context, set.items.len(), "listened to", |progress| {
        compute(set, false, &sets, None, progress, stop)
    });
    let matrix = match matrix {
        Err(LabError::Interrupted) => return Ok(interrupted(context)),
        other => other?,
    };
    cost.push(listening.cost("listening"));
    tell_faults(context, &matrix.faults);
    let command = command(args, config);
    let given = Given { config, set, matrix, random_folds: false, command, cost };
    let device = context.device_option();
    let report =
        metered(context, |progress| networks::train(&args.run, given, &kept, device, progress, stop));
    finish(context, args, report)
}

/// Does something that tells how far it is.
fn metered<T>(context: &Context, work: impl FnOnce(&mut dyn FnMut(&Progress)) -> T) -> T {
    let mut meter = Meter::new(context);
    let done = work(&mut |progress| {
        meter.show(progress.share, || {
            let left = clock(progress.seconds_left);
            format!(
                "{}{}",
                progress.doing,
                if progress.seconds_left > 0.0 { format!(", {left} left") } else { String::new() }
            )
        });
    });
    meter.finish();
    done
}

fn finish(
    context: &Context,
    args: &TrainClassifierArgs,
    report: Result<Report, LabError>,
) -> anyhow::Result<Ending> {
    let report = match report {
        Err(LabError::Interrupted) => return Ok(interrupted(context)),
        other => other?,
    };
    let text = format!("the report is {}", args.run.join("report.html").display());
    context.console.note(&text);
    show(args, &report)
}

fn show(args: &TrainClassifierArgs, report: &Report) -> anyhow::Result<Ending> {
    match args.format {
        ReportFormat::Json => render::print_json(report)?,
        ReportFormat::Table => print_report(report)?,
    }
    Ok(if report.data.failed > 0 { Ending::Partial } else { Ending::Fine })
}

/// The configuration that the options ask for.
fn config(args: &TrainClassifierArgs, set: &Dataset, source: &str) -> anyhow::Result<Config> {
    // Text is quoted as TOML quotes it, so that no value is taken for a number.
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut pairs = vec![("data.source".to_owned(), text(source))];
    let mut put = |key: &str, value: String| pairs.push((key.to_owned(), value));
    let optional = [
        ("recipe", args.recipe.as_deref()),
        ("data.label", args.label.as_deref()),
        ("data.split", args.split.as_deref()),
        ("algorithms.combine", args.combine.as_deref()),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            put(key, text(value));
        }
    }
    let numbers = [
        ("data.folds", args.folds.map(u64::from)),
        ("data.repeats", args.repeats.map(u64::from)),
        ("seed", args.random_seed),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            put(key, value.to_string());
        }
    }
    if let Some(minutes) = args.minutes {
        put("algorithms.minutes", minutes.to_string());
    }
    if !args.algorithm.is_empty() {
        let names: Vec<String> = args.algorithm.iter().map(|algorithm| text(algorithm.name())).collect();
        put("algorithms.names", format!("[{}]", names.join(", ")));
    }
    if let Some(sets) = &args.features {
        let names: Vec<String> = sets.split('+').map(|name| text(name.trim())).collect();
        put("features.sets", format!("[{}]", names.join(", ")));
    }
    pairs.extend(args.set.clone());
    let mut config = Config::changed(args.config.as_deref(), &pairs)?;
    #[cfg(feature = "train")]
    if let Some((recipe, _)) = config.network() {
        let given = [
            ("--features", args.features.is_some()),
            ("--algorithm", !args.algorithm.is_empty()),
            ("--combine", args.combine.is_some()),
            ("--minutes", args.minutes.is_some()),
            ("--leak", args.leak),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            anyhow::bail!("{} is a network on spectrograms: expected no {option}", recipe.name);
        }
        return Ok(config);
    }
    if config.features.sets.is_empty() {
        config.features.sets = usual_sets(set);
    }
    let mut seen = std::collections::HashSet::new();
    config.algorithms.names.retain(|algorithm| seen.insert(*algorithm));
    Ok(config)
}

/// The command that repeats a run.
fn command(args: &TrainClassifierArgs, config: &Config) -> String {
    format!(
        "voisin train classifier '{}' NEW-RUN --config '{}'",
        config.data.source,
        args.run.join("config.toml").display()
    )
}

fn plan(context: &Context, config: &Config, set: &Dataset) -> anyhow::Result<Ending> {
    tell_faults(context, &set.faults);
    #[cfg(feature = "train")]
    if let Some((recipe, settings)) = config.network() {
        let example = ClipReader::new(recipe, settings)?.example();
        let text = format!(
            "{} of {}, {} of {example} each; {} of {}; about {:.1} MB of spectrograms would be kept; nothing is written",
            count(set.items.len() as u64, "track"),
            config.data.source,
            count(settings.windows as u64, "spectrogram"),
            count(settings.epochs as u64, "epoch"),
            recipe.name,
            (set.items.len() * settings.windows * example.cells() * 2) as f64 / 1e6
        );
        render::print_line(&render::terminal_safe(&text))?;
        render::print(render::terminal_safe(&config.text()).as_bytes())?;
        return Ok(Ending::Fine);
    }
    let (own, sets) = feature_sets(context, &config.features.sets)?;
    let own = if own { set.columns.as_ref().map_or(0, |columns| columns.names.len()) } else { 0 };
    let columns: usize = own + sets.iter().map(|set| set.columns().len()).sum::<usize>();
    let judgings = config.data.folds.max(1) * if config.data.folds > 0 { config.data.repeats } else { 1 };
    let fits = config.algorithms.names.len() * judgings + 1;
    let names: Vec<&str> = config.algorithms.names.iter().map(|algorithm| algorithm.name()).collect();
    let kept = if sets.is_empty() { 0 } else { set.items.len() * (32 + 4 * (columns - own)) };
    let text = format!(
        "{} of {}, {} from {}; {} ({}); {:.1} MB of features would be kept; nothing is written",
        count(set.items.len() as u64, "track"),
        config.data.source,
        count(columns as u64, "column"),
        config.features.sets.join(" + "),
        count(fits as u64, "fit"),
        names.join(", "),
        kept as f64 / 1e6
    );
    render::print_line(&render::terminal_safe(&text))?;
    render::print(render::terminal_safe(&config.text()).as_bytes())?;
    Ok(Ending::Fine)
}
