//! Code that the laboratory's verbs share: data sets, features, progress, and a run's predictions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;

use super::Ending;
use super::args::{PredictArgs, ReportFormat, TableFormat};
use super::context::Context;
use super::meter::Meter;
use super::outputs::{output_file, second_file, whole_file};
use super::render::track::{Column, print_csv, print_table};
use super::render::{self, Align, Table, clock, count};
use super::seeds::expand_names;
use voisin_audio::is_audio_candidate;
use voisin_base::output::{self, OutputTarget};
use voisin_encoder::ModelRef;
use voisin_features::DescriptorSet;
use voisin_lab::LabError;
use voisin_lab::answer::{RunPredictions, predict, write_submission, write_vectors};
use voisin_lab::config::Config;
use voisin_lab::dataset::{self, Dataset, Fault, Item, Source};
use voisin_lab::document::{Document, DocumentPart};
use voisin_lab::matrix::{self, FeatureSet, Matrix};
use voisin_lab::model::Model;
use voisin_lab::networks::{NetworkOutput, RunNetwork};
use voisin_library::scan::scan;

/// Number of faults that are reported one by one.
const FIRST_FAULTS: usize = 5;

/// Reads a data set for training, with artists from its files' tags.
pub(crate) fn open(context: &Context, source: &Source) -> anyhow::Result<Dataset> {
    report_guess(context, source);
    let mut set = dataset::read(source)?;
    set.read_tags();
    report_notes(context, &set);
    Ok(set)
}

fn report_guess(context: &Context, source: &Source) {
    if source.guessed {
        context.console.note(&format!("read as {source}"));
    }
}

fn report_notes(context: &Context, set: &Dataset) {
    for note in &set.notes {
        context.console.note(note);
    }
}

/// Reports the items that could not be used.
pub(crate) fn report_faults(context: &Context, faults: &[Fault]) {
    faults
        .iter()
        .take(FIRST_FAULTS)
        .for_each(|fault| report_fault(context, fault));
    if faults.len() > FIRST_FAULTS {
        context
            .console
            .note(&format!("… and {} more", faults.len() - FIRST_FAULTS));
    }
}

/// Reports the fault of a file, in one line.
pub(crate) fn report_fault(context: &Context, fault: &Fault) {
    // Reasons of other crates often begin with the path, which must not be printed twice.
    let reason = fault
        .reason
        .strip_prefix(&fault.key)
        .unwrap_or(&fault.reason);
    context.console.warn(&format!(
        "{}: {}",
        fault.key,
        reason.trim_start_matches(": ")
    ));
}

/// The sets that names stand for.
pub(crate) fn feature_sets(context: &Context, names: &[String]) -> anyhow::Result<Vec<FeatureSet>> {
    let set = |name: &String| {
        if name == OWN {
            bail!("{OWN}: the numbers of a table cannot be joined with features of audio");
        }
        if let Some(model) = name.strip_prefix("model:") {
            let embedder = context.named_embedder(model)?;
            return Ok(FeatureSet::Model(name.clone(), embedder));
        }
        let set: Result<DescriptorSet, _> = name.parse();
        Ok(FeatureSet::Descriptors(set.map_err(anyhow::Error::msg)?))
    };
    names.iter().map(set).collect()
}

/// The name of the numbers of a data set itself.
pub(crate) const OWN: &str = "own";

/// The default sets.
pub(crate) fn usual_sets(set: &Dataset) -> Vec<String> {
    if set.columns.is_some() {
        return vec![OWN.to_owned()];
    }
    let model = format!("model:{}", ModelRef::default());
    ["fma", &model].map(str::to_owned).into()
}

/// Computes the features of a data set, with a bar and the remaining time.
///
/// - `cache`: the folder that features are kept in, if any
pub(crate) fn compute_features(
    context: &Context,
    set: &Dataset,
    names: &[String],
    cache: Option<PathBuf>,
    stop: &AtomicBool,
) -> anyhow::Result<Matrix> {
    if names == [OWN] {
        let Some(matrix) = Matrix::own(set) else {
            bail!(
                "{}: expected a data set with numbers for the features \"{OWN}\", found none; use --features model:NAME",
                set.source
            );
        };
        return Ok(matrix);
    }
    let sets = feature_sets(context, names)?;
    let found = with_meter(context, set.items.len(), "analysed", |progress| {
        matrix::compute(set, &sets, cache.as_deref(), progress, stop)
    })?;
    Ok(found)
}

/// Runs work that reports how many of `all` are done.
pub(crate) fn with_meter<T>(
    context: &Context,
    all: usize,
    word: &str,
    work: impl FnOnce(&(dyn Fn(usize) + Sync)) -> T,
) -> T {
    let meter = Mutex::new((Meter::new(context), 0));
    let begun = Instant::now();
    let done = work(&|done| {
        let Ok(mut meter) = meter.lock() else { return };
        // Threads report in any order, and the bar must not go back.
        if done <= meter.1 {
            return;
        }
        meter.1 = done;
        // `done` is above 0 here, since it is above the last value.
        let left = begun.elapsed().as_secs_f64() / done as f64 * (all - done.min(all)) as f64;
        meter.0.show(done as f64 / all.max(1) as f64, || {
            format!(
                "{word} {done} of {}, {} left",
                count(all as u64, "track"),
                clock(left)
            )
        });
    });
    if let Ok(meter) = meter.lock() {
        meter.0.finish();
    }
    done
}

/// The end of a run that Ctrl-C stopped.
pub(crate) fn interrupted(context: &Context) -> Ending {
    context
        .console
        .note("interrupted: the same command starts it again");
    Ending::Interrupted
}

/// `voisin lab predict RUN`.
pub(crate) fn predict_with(context: &Context, args: &PredictArgs) -> anyhow::Result<Ending> {
    let run = &args.run;
    let config = Config::of_run(run)?;
    if let Some(vectors) = &args.vectors {
        return inner_vectors(context, run, &config, args, vectors);
    }
    let submission = args.submission.as_ref();
    // The analysis may take hours: the file to write is checked first.
    let submission = submission
        .map(|path| output_file(context, path))
        .transpose()?;
    let Some((answered, keys)) = answer(context, run, &config, args)? else {
        return Ok(interrupted(context));
    };
    report_faults(context, &answered.faults);
    if let Some(output) = &submission {
        let failed = write_submission(output, run, &answered, &keys, args.like.as_deref())?;
        for title in failed.iter().take(FIRST_FAULTS) {
            context.console.warn(&format!(
                "{title}: not analysed, the commonest class is predicted"
            ));
        }
        let text = format!(
            "{}: every requested title has a row",
            output.path().display()
        );
        render::print_place(context.console, output, &text)?;
        return Ok(Ending::partial_if(!failed.is_empty()));
    }
    print(&answered, args.format)?;
    Ok(Ending::partial_if(!answered.faults.is_empty()))
}

/// `voisin lab predict RUN --vectors OUT.npy`: the inner layer of a run's network.
fn inner_vectors(
    context: &Context,
    run: &Path,
    config: &Config,
    args: &PredictArgs,
    path: &Path,
) -> anyhow::Result<Ending> {
    if config.network().is_none() {
        bail!(
            "{}: expected a run of a network, whose inner layer gives vectors, found one of features",
            run.display()
        );
    }
    if output::ending(path, "npy") != "npy" || output::is_standard(path) {
        bail!("--vectors {}: expected FILE.npy", path.display());
    }
    // Both are checked before the analysis, which may take hours.
    let vectors = whole_file(context, path)?;
    let table = second_file(context, &path.with_extension("csv"))?;
    let device = context.device;
    let network = RunNetwork::of_run(run, config, device, NetworkOutput::InnerLayer)?;
    let mut set = requested_set(context, &expand_names(&args.tracks)?, false)?;
    set.read_tags();
    let stop = context.stop_on_ctrl_c()?;
    let found = with_meter(context, set.items.len(), "analysed", |progress| {
        network.apply(&set, progress, &stop)
    });
    if stop.load(Ordering::Relaxed) {
        return Ok(interrupted(context));
    }
    let matrix = found?;
    report_faults(context, &matrix.faults);
    write_vectors(&vectors, &table, &matrix)?;
    let tracks = count(matrix.rows.len() as u64, "track");
    line(&format!(
        "{tracks} in {}; \"voisin add --vectors {} --tracks {} --model NAME\" makes a library of them",
        path.display(),
        path.display(),
        table.path().display()
    ))?;
    Ok(Ending::partial_if(!matrix.faults.is_empty()))
}

/// A run's predictions for tracks; `None` if interrupted.
fn answer(
    context: &Context,
    run: &Path,
    config: &Config,
    args: &PredictArgs,
) -> anyhow::Result<Option<(RunPredictions, Vec<String>)>> {
    // A folder that is no finished run is refused before any audio is analysed.
    let network = config.network().map(|_| {
        let device = context.device;
        RunNetwork::of_run(run, config, device, NetworkOutput::Probabilities)
    });
    let network = network.transpose()?;
    if network.is_none() {
        // Read only to check that it is complete; it is loaded again after the features are computed.
        drop(Model::read(&run.join("model.safetensors"))?);
    }
    let set = requested_set(context, &expand_names(&args.tracks)?, false)?;
    if network.is_none() && set.columns.is_none() && config.features.sets == [OWN] {
        bail!(
            "{}: this run was trained on a table of numbers and cannot analyse audio; one trained with --features fma can",
            run.display()
        );
    }
    let stop = context.stop_on_ctrl_c()?;
    let matrix = match network {
        Some(network) => {
            let found = with_meter(context, set.items.len(), "analysed", |progress| {
                network.apply(&set, progress, &stop)
            });
            found
                .map(|matrix| RunPredictions::of(&matrix))
                .map_err(anyhow::Error::from)
        }
        None => compute_features(context, &set, &config.features.sets, None, &stop)
            .and_then(|matrix| Ok(predict(run, &matrix)?)),
    };
    match matrix {
        // After Ctrl-C, an error of the laboratory is the interruption itself.
        Err(error) if stop.load(Ordering::Relaxed) && error.is::<LabError>() => Ok(None),
        other => Ok(Some((other?, set.keys))),
    }
}

/// The tracks named by arguments: one data set, or files and folders.
///
/// - `folders`: whether a bare folder is a data set if it can be read as one
pub(crate) fn requested_set(
    context: &Context,
    named: &[OsString],
    folders: bool,
) -> anyhow::Result<Dataset> {
    if let [only] = named
        && let Some(text) = only.to_str()
        && let Ok(source) = text.parse::<Source>()
    {
        // A folder of songs cannot be told from one with a folder for each genre, so the command
        // decides.
        let is_set = !(source.guessed && Path::new(text).is_dir());
        if is_set || folders {
            let set = dataset::read(&source);
            if is_set || set.is_ok() {
                report_guess(context, &source);
                let set = set?;
                report_notes(context, &set);
                return Ok(set);
            }
        }
    }
    let paths: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
    let found = scan(&paths, &is_audio_candidate);
    let fault = |problem: &voisin_library::scan::ScanProblem| Fault {
        key: problem.path.display().to_string(),
        reason: problem.reason.clone(),
    };
    let faults: Vec<Fault> = found.problems.iter().map(fault).collect();
    if found.files.is_empty() {
        report_faults(context, &faults);
        bail!("expected audio files, found none");
    }
    let items: Vec<Item> = found
        .files
        .into_iter()
        .map(|file| {
            let key = file.path.to_string_lossy().into_owned();
            Item {
                key,
                path: Some(file.path),
                ..Item::default()
            }
        })
        .collect();
    Ok(Dataset {
        source: "files".to_owned(),
        keys: items.iter().map(|item| item.key.clone()).collect(),
        items,
        faults,
        notes: Vec::new(),
        key_name: "path".to_owned(),
        label_name: "genre".to_owned(),
        columns: None,
    })
}

fn print(answered: &RunPredictions, format: TableFormat) -> anyhow::Result<()> {
    let rows = 0..answered.keys.len();
    if format == TableFormat::Json {
        let row = |row: usize| {
            let (genre, p) = answered.best(row);
            let shares = answered.classes.iter().zip(answered.probabilities.row(row));
            let shares: std::collections::BTreeMap<&String, &f32> = shares.collect();
            serde_json::json!({
                "path": answered.keys[row], "genre": genre, "probability": p, "probabilities": shares,
            })
        };
        return render::print_json(&rows.map(row).collect::<Vec<_>>());
    }
    let path = |row: usize| answered.keys[row].clone();
    let genre = |row: usize| answered.best(row).0.to_owned();
    let probability = |row: usize| {
        let (_, p) = answered.best(row);
        (format!("{:.1} %", 100.0 * p), format!("{p:.4}"))
    };
    let name = "probability";
    let mut columns = vec![
        Column::plain("path", "path", Align::Left, rows.clone(), path),
        Column::plain("genre", "genre", Align::Left, rows.clone(), genre),
        Column::new(name, name, Align::Right, rows.clone(), probability),
    ];
    for (class, name) in answered.classes.iter().enumerate() {
        let share = |row: usize| format!("{:.4}", answered.probabilities[[row, class]]);
        let field = format!("p_{name}");
        let column = Column::plain("", &field, Align::Right, rows.clone(), share);
        columns.push(column.for_programs());
    }
    match format {
        TableFormat::Csv => print_csv(&columns),
        _ => print_table(&columns),
    }
}

/// A line of results with names in it.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    render::print_line(&render::terminal_safe(text))
}

/// Prints a report on the terminal: texts and brief tables, without explanations.
fn print_page(page: &Document) -> anyhow::Result<()> {
    for part in &page.parts {
        match part {
            DocumentPart::Text(text) => render::print_wrapped("", text)?,
            DocumentPart::Table {
                header,
                rows,
                is_brief: true,
                ..
            } => {
                // Words are aligned left, numbers right.
                let is_word = |column: usize| {
                    column == 0
                        || rows
                            .iter()
                            .any(|row| row[column].starts_with(char::is_alphabetic))
                };
                let align = |column| {
                    if is_word(column) {
                        Align::Left
                    } else {
                        Align::Right
                    }
                };
                let columns: Vec<(&str, Align)> = header
                    .iter()
                    .enumerate()
                    .map(|(at, name)| (name.as_str(), align(at)))
                    .collect();
                let mut table = Table::new(&columns);
                rows.iter().for_each(|row| table.row(row));
                table.print()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The file that a report is written to, checked before anything is computed.
pub(crate) fn page_place(
    context: &Context,
    path: Option<&Path>,
) -> anyhow::Result<Option<OutputTarget>> {
    path.map(|path| output_file(context, path)).transpose()
}

/// Shows a report as the options require.
///
/// - `place`: a file to write it to as well; with standard output nothing else is printed
pub(crate) fn show_page<T: serde::Serialize>(
    page: &Document,
    json: &T,
    format: ReportFormat,
    place: Option<&OutputTarget>,
) -> anyhow::Result<()> {
    if let Some(place) = place {
        render::write(place, page.html())?;
    }
    match format {
        _ if place.is_some_and(OutputTarget::is_standard) => Ok(()),
        ReportFormat::Json => render::print_json(json),
        ReportFormat::Table => print_page(page),
    }
}
