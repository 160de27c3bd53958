//! `voisin lab train`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::Ending;
use crate::cli::args::TrainClassifierArgs;
use crate::cli::context::Context;
use crate::cli::lab::{
    OWN, compute_features, feature_sets, interrupted, open, report_faults, show_page, usual_sets,
    with_meter,
};
use crate::cli::meter::Meter;
use crate::cli::render::{self, Align, Table, clock, count};
use voisin_base::atomic_file;
use voisin_base::random::Random;
use voisin_lab::config::Config;
use voisin_lab::dataset::{Dataset, Fault};
use voisin_lab::matrix::each_track;
use voisin_lab::networks::{self, ClipReader, KeptSpectrograms};
use voisin_lab::pages;
use voisin_lab::report::{Interval, Method, Report};
use voisin_lab::run::{
    Progress, RunInputs, TRIAL, TRIALS, TRIALS_HEADER, begin, refuse_others, train,
};

/// Most combinations of settings to try, and to draw from.
const MOST_TRIALS: usize = 1000;
const MOST_DRAWN: usize = 100_000;

pub(super) fn run(context: &Context, args: &TrainClassifierArgs) -> anyhow::Result<Ending> {
    let label = args.label.clone().unwrap_or_else(|| "genre".to_owned());
    let source = if label == "genre" {
        args.data.clone()
    } else {
        args.data.clone().with_label(&label)
    };
    let set = open(context, &source)?;
    let config = config(args, &set, &source.to_string(), &[])?;
    if args.dry_run {
        return plan(context, &config, &set);
    }
    let searches = !args.tries.is_empty();
    // A search begins its runs itself, with their settings.
    if !searches && begin(&args.run, &config)? {
        context
            .console
            .note("this run is finished; its figures are shown again");
        let report = Report::read(&args.run)?;
        return show(args, &report);
    }
    let stop = context.stop_on_ctrl_c()?;
    let job = TrainingJob {
        context,
        args,
        set: &set,
        stop: &stop,
    };
    let report = if searches {
        job.search(&source.to_string())
    } else {
        job.train(&args.run, &config, 0)
    };
    let report = match report {
        // After Ctrl-C any error is that of the interruption.
        Err(_) if stop.load(Ordering::Relaxed) => return Ok(interrupted(context)),
        other => other?,
    };
    let text = format!("the report is {}", args.run.join("report.html").display());
    context.console.note(&text);
    show(args, &report)
}

/// State that all runs of one command share.
struct TrainingJob<'a> {
    context: &'a Context,
    args: &'a TrainClassifierArgs,
    set: &'a Dataset,
    stop: &'a AtomicBool,
}

impl TrainingJob<'_> {
    /// One run, of algorithms or of a network.
    fn train(&self, run: &Path, config: &Config, chosen_among: usize) -> anyhow::Result<Report> {
        let Self {
            context,
            args,
            set,
            stop,
        } = *self;
        // In the run's folder, so that an aborted analysis can be resumed.
        let subfolder = if chosen_among == 0 {
            "work/features"
        } else {
            "trials/features"
        };
        let cache = args.run.join(subfolder);
        let report_faults = |faults: &[Fault]| {
            // Trials analyse the same files, whose faults are reported once, by the run itself.
            if chosen_among != TRIAL {
                report_faults(context, faults);
            }
        };
        let inputs = RunInputs {
            config,
            set,
            chosen_among,
        };
        if let Some((recipe, settings)) = config.network() {
            let kept = KeptSpectrograms::new(ClipReader::new(recipe, settings)?, &cache);
            let found = with_meter(context, set.items.len(), "analysed", |progress| {
                each_track(set, |file| kept.keep(file, stop), progress, stop)
            })?;
            report_faults(&found.faults);
            let device = context.device;
            let report = metered(context, |progress| {
                networks::train(run, inputs, (&kept, found), device, progress, stop)
            });
            return Ok(report?);
        }
        let matrix = compute_features(context, set, &config.features.sets, Some(cache), stop)?;
        report_faults(&matrix.faults);
        Ok(metered(context, |progress| {
            train(run, inputs, matrix, progress, stop)
        })?)
    }

    /// Tries every combination of values, each as a separate run without the test part. Then trains with the best settings,
    /// the first of equals.
    fn search(&self, source: &str) -> anyhow::Result<Report> {
        refuse_others(&self.args.run)?;
        let folder = self.args.run.join("trials");
        let all = combinations(self.args)?;
        // All are checked before the first is begun.
        let configs = all
            .iter()
            .map(|pairs| config(self.args, self.set, source, pairs));
        let configs = configs.collect::<anyhow::Result<Vec<_>>>()?;
        // Trials after the test part was used would be selected by it.
        let is_finished = self.args.run.join("report.json").exists();
        let mut table = format!("{TRIALS_HEADER}\n");
        let mut best: Option<(f64, &Config)> = None;
        for (at, (pairs, config)) in all.iter().zip(&configs).enumerate() {
            let settings = pairs.iter().map(|(key, value)| format!("{key}={value}"));
            let settings = settings.collect::<Vec<_>>().join(" ");
            let number = at + 1;
            let run = folder.join(format!("{number:03}"));
            let text = format!("trial {number} of {}: {settings}", all.len());
            self.context.console.note(&text);
            if is_finished && !run.join("report.json").exists() {
                let run = self.args.run.display();
                anyhow::bail!(
                    "{run}: this search is finished without a trial of {settings}: name another folder"
                );
            }
            let method = self.trial(&run, config)?;
            let Interval { value, low, high } = method.accuracy;
            let seconds = method.seconds;
            table += &format!("{number},{settings},{value:.4},{low:.4},{high:.4},{seconds:.1}\n");
            // After each trial, so that a search that is stopped has its table.
            atomic_file::write(&self.args.run.join(TRIALS), &table)?;
            if best.is_none_or(|(most, _)| value > most) {
                best = Some((value, config));
            }
        }
        let Some((_, config)) = best else {
            anyhow::bail!("--try: expected values, found none");
        };
        if begin(&self.args.run, config)? {
            return Ok(Report::read(&self.args.run)?);
        }
        let report = self.train(&self.args.run, config, configs.len())?;
        // Errors are ignored, as it is only a cache.
        let _ = std::fs::remove_dir_all(folder.join("features"));
        Ok(report)
    }

    /// Evaluates settings without the test part.
    fn trial(&self, run: &Path, config: &Config) -> anyhow::Result<Method> {
        let is_finished = begin(run, config)?;
        let report = if is_finished {
            Report::read(run)?
        } else {
            self.train(run, config, TRIAL)?
        };
        let chosen = report.methods.into_iter().find(|method| method.chosen);
        chosen.ok_or_else(|| anyhow::anyhow!("{}: its report has no chosen method", run.display()))
    }
}

/// The combinations of the values to try: all, or some at random.
fn combinations(args: &TrainClassifierArgs) -> anyhow::Result<Vec<Vec<(String, String)>>> {
    let mut all: Vec<Vec<(String, String)>> = vec![Vec::new()];
    let is_drawn = args.trials.is_some();
    let most = if is_drawn { MOST_DRAWN } else { MOST_TRIALS };
    // The product of all values, grown by one setting at a time; bounded at each step, not at the end.
    for (key, values) in &args.tries {
        let longer = |begun: Vec<(String, String)>| {
            let one = move |value: &str| {
                [begun.clone(), vec![(key.clone(), value.trim().to_owned())]].concat()
            };
            values.split(',').map(one).collect::<Vec<_>>()
        };
        all = all.into_iter().flat_map(longer).collect();
        if all.len() > most {
            anyhow::bail!(
                "--try: expected at most {most} combinations; --trials N draws some of them"
            );
        }
    }
    if let Some(trials) = args.trials {
        // By the run's seed, so that the same command draws the same combinations, and resumes.
        Random::new(args.random_seed.unwrap_or(1)).shuffle(&mut all);
        all.truncate(trials as usize);
    }
    Ok(all)
}

/// Runs work that reports its progress.
fn metered<T>(context: &Context, work: impl FnOnce(&mut dyn FnMut(&Progress)) -> T) -> T {
    let mut meter = Meter::new(context);
    let done = work(&mut |progress| {
        meter.show(progress.share, || {
            let left = clock(progress.seconds_left);
            match &progress.doing {
                doing if progress.seconds_left > 0.0 => format!("{doing}, {left} left"),
                doing => doing.clone(),
            }
        });
    });
    meter.finish();
    done
}

fn show(args: &TrainClassifierArgs, report: &Report) -> anyhow::Result<Ending> {
    show_page(&pages::run(report), report, args.format, None)?;
    Ok(Ending::partial_if(report.data.failed > 0))
}

/// The options as settings of `config.toml`.
fn settings(args: &TrainClassifierArgs, source: &str) -> Vec<(String, String)> {
    // Text is quoted as in TOML, so that no value is taken for a number.
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |names: Vec<&str>| {
        let names: Vec<String> = names.into_iter().map(text).collect();
        format!("[{}]", names.join(", "))
    };
    let names = args.algorithm.iter().map(|algorithm| algorithm.name());
    let names: Vec<&str> = names.collect();
    let sets = args.features.as_deref();
    let sets = sets.map(|sets| sets.split('+').map(str::trim).collect());
    let pairs = [
        ("data.source", Some(text(source))),
        ("recipe", args.recipe.as_deref().map(text)),
        ("data.label", args.label.as_deref().map(text)),
        ("data.split", args.split.as_deref().map(text)),
        ("data.folds", args.folds.map(|folds| folds.to_string())),
        ("data.repeats", args.repeats.map(|count| count.to_string())),
        ("seed", args.random_seed.map(|seed| seed.to_string())),
        (
            "algorithms.names",
            Some(names).filter(|names| !names.is_empty()).map(list),
        ),
        ("features.sets", sets.map(list)),
    ];
    let given = pairs.into_iter();
    given
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// The configuration of the options.
///
/// - `tried`: settings that override all others
fn config(
    args: &TrainClassifierArgs,
    set: &Dataset,
    source: &str,
    tried: &[(String, String)],
) -> anyhow::Result<Config> {
    // Later pairs take precedence: --set over the options, a trial's values over both.
    let mut pairs = settings(args, source);
    pairs.extend(args.set.iter().chain(tried).cloned());
    let mut config = Config::changed(&pairs)?;
    if let Some((recipe, _)) = config.network() {
        let given = [
            ("--features", args.features.is_some()),
            ("--algorithm", !args.algorithm.is_empty()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            anyhow::bail!(
                "{} is a network on spectrograms: expected no {option}",
                recipe.name
            );
        }
        return Ok(config);
    }
    if config.features.sets.is_empty() {
        config.features.sets = usual_sets(set);
    }
    let mut seen = std::collections::HashSet::new();
    config
        .algorithms
        .names
        .retain(|algorithm| seen.insert(*algorithm));
    Ok(config)
}

fn plan(context: &Context, config: &Config, set: &Dataset) -> anyhow::Result<Ending> {
    report_faults(context, &set.faults);
    if let Some((recipe, settings)) = config.network() {
        let example = ClipReader::new(recipe, settings)?.example();
        let text = format!(
            "{} of {}, a spectrogram of {example} each; {} of {}; about {:.1} MB of spectrograms would be kept; nothing is written",
            count(set.items.len() as u64, "track"),
            config.data.source,
            count(settings.training.epochs as u64, "epoch"),
            recipe.name,
            (set.items.len() * (1 + settings.copies) * example.cells() * 2) as f64 / 1e6
        );
        render::print_line(&render::terminal_safe(&text))?;
        let right = |name| (name, Align::Right);
        let [layer, out, learnt] = pages::LAYERS;
        let mut table = Table::new(&[(layer, Align::Left), right(out), right(learnt)]);
        let layers = networks::layers(config, set.classes().len())?;
        pages::layer_table(&layers)
            .into_iter()
            .for_each(|row| table.row(row));
        table.print()?;
        render::print(render::terminal_safe(&config.shown()).as_bytes())?;
        return Ok(Ending::Fine);
    }
    let own = set.columns.as_ref().map(|columns| columns.names.len());
    let columns: usize = match own.filter(|_| config.features.sets == [OWN]) {
        Some(columns) => columns,
        None => feature_sets(context, &config.features.sets)?
            .iter()
            .map(|set| set.columns().len())
            .sum(),
    };
    // A fit for each fold of each repeat, or one for the validation part, and the last one on all.
    let evaluations = config.data.folds.max(1)
        * if config.data.folds > 0 {
            config.data.repeats
        } else {
            1
        };
    let fits = config.algorithms.names.len() * evaluations + 1;
    let names: Vec<&str> = config
        .algorithms
        .names
        .iter()
        .map(|algorithm| algorithm.name())
        .collect();
    let text = format!(
        "{} of {}, {} from {}; {} ({}); nothing is written",
        count(set.items.len() as u64, "track"),
        config.data.source,
        count(columns as u64, "column"),
        config.features.sets.join(" + "),
        count(fits as u64, "fit"),
        names.join(", ")
    );
    render::print_line(&render::terminal_safe(&text))?;
    render::print(render::terminal_safe(&config.shown()).as_bytes())?;
    Ok(Ending::Fine)
}
