//! A run: algorithms are compared; the best one is fitted on training and validation rows together
//! and evaluated once on the test part.
//!
//! Every fit is stored in the run's folder when it ends, so an interrupted run resumes there. The
//! remaining work depends on the settings and the data alone, so the result is bit-for-bit
//! reproducible.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ndarray::{Array2, Axis};

pub use super::bench::TRIAL;
use super::bench::{Bench, FoldPredictions};
use super::config::{Combine, Config};
pub use super::cost::Clock;
use super::cost::{environment, write_cost};
use super::leak::{self, Leak};
use super::matrix::{Matrix, MatrixRow, artists, licences};
use super::model::Algorithm;
use super::report::{Cost, DataCard, Figures, Importance, Method, Report, thinned};
use super::{LabError, csv_bytes, pages, write};
use crate::dataset::{Dataset, Item, Part};
use voisin_base::output::{OutputTarget, check_folder};
use voisin_base::regular_file;
use voisin_learn::Fold;
use voisin_learn::Tensors;
use voisin_learn::metrics::argmax;

/// Failures that the report lists.
const FIRST_FAILURES: usize = 20;

/// Progress of a run.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Share of the fits that are done.
    pub share: f64,
    /// The current step, in a few words.
    pub doing: String,
    /// Seconds left, estimated from the fits so far.
    pub seconds_left: f64,
}

/// Folder of the finished fits of an unfinished run, in the run's folder.
const WORK: &str = "work";
/// The table of a search's trials, in the folder of the chosen run.
pub const TRIALS: &str = "trials.csv";
/// Its columns.
pub const TRIALS_HEADER: &str = "trial,settings,budget,accuracy,low,high,seconds";
/// Its largest size in bytes: a thousand trials with all settings have less.
const LARGEST_TRIALS: u64 = 64 << 20;

/// Key of a report's digest of the data as read, before decoding.
const READ: &str = "read";
const CHANGED: &str = "the data changed since this run was started: use another folder";

/// Inputs of a run.
#[derive(Debug)]
pub struct RunInputs<'a> {
    /// All settings.
    pub config: &'a Config,
    /// The data as read.
    pub set: &'a Dataset,
    /// Its features.
    pub matrix: Matrix,
    /// The number of settings from which these were chosen; [`TRIAL`] does not use the test part.
    pub chosen_among: usize,
    /// The command that repeats it.
    pub command: String,
    /// Costs of the phases before it: reading and decoding.
    pub cost: Vec<Cost>,
}

/// The part of a report's sentence on how settings were chosen.
pub(super) fn among(settings: usize) -> String {
    match settings {
        0 => String::new(),
        TRIAL => "; a trial, evaluated without the test part".to_owned(),
        settings => format!("; settings chosen among {settings} trials (trials.csv)"),
    }
}

/// Starts a run in its folder, or resumes one with the same settings.
///
/// - `set`: its data as read now; a run of other data is refused, finished or not
/// - returns: whether it is already finished
pub fn begin(run: &Path, config: &Config, set: &Dataset) -> Result<bool, LabError> {
    if run.join("config.toml").exists() {
        match Config::of_run(run)?.first_difference(config) {
            None => {
                let finished = run.join("report.json").exists();
                if finished {
                    let digests = Report::read(run)?.digests;
                    if digests
                        .get(READ)
                        .is_some_and(|known| *known != set.digest())
                    {
                        return Err(LabError::run(run, CHANGED));
                    }
                    // left by a run that was killed after writing its report
                    let _ = std::fs::remove_dir_all(run.join(WORK));
                }
                return Ok(finished);
            }
            Some((key, begun_with, wanted)) if run.join("data.csv").exists() => {
                let problem = format!(
                    "this run was begun with {key} = {begun_with}, and now {key} is {wanted}: use another folder, or keep the setting"
                );
                return Err(LabError::run(run, problem));
            }
            // No data.csv: the earlier attempt failed or was interrupted before the first fit.
            Some(_) => {}
        }
    }
    // Before anything is written, so that a mistyped name puts no files into a folder of music.
    refuse_others(run)?;
    std::fs::create_dir_all(run).map_err(LabError::io(run))?;
    write(&run.join("config.toml"), config.text())?;
    Ok(false)
}

/// Refuses a folder with other contents than a run's, and anything that is no folder.
pub fn refuse_others(run: &Path) -> Result<(), LabError> {
    check_folder(run)?;
    if run.join("config.toml").exists() {
        return Ok(());
    }
    // Unfinished files of a killed run have names that begin with a dot, and a search writes its
    // trials before the chosen run starts.
    let is_other = |name: std::ffi::OsString| match &*name.to_string_lossy() {
        TRIALS => !regular_file::read_text(&run.join(TRIALS), LARGEST_TRIALS)
            .is_ok_and(|text| text.starts_with(TRIALS_HEADER)),
        name => !name.starts_with('.') && name != "trials",
    };
    let mut entries = run.read_dir().into_iter().flatten();
    if entries.any(|entry| entry.is_ok_and(|entry| is_other(entry.file_name()))) {
        return Err(LabError::run(
            run,
            "expected an empty folder or one of this run, found other files: use another folder",
        ));
    }
    Ok(())
}

/// Runs or resumes the fits of a run, and writes its report.
pub fn train(
    run: &Path,
    given: RunInputs,
    progress: &mut dyn FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LabError> {
    let config = given.config;
    let mut cost = given.cost;
    let bench = Bench::new(config, given.matrix)?;
    let (work, digest) = bench.begin_work(run, given.set)?;

    let clock = Clock::start();
    let folds = bench.folds();
    let evaluated = bench.evaluate(&folds, &work, progress, stop)?;
    let mut methods: Vec<Method> = evaluated
        .iter()
        .map(|one| {
            bench.method(
                one.algorithm.name(),
                &folds,
                &one.p,
                one.seconds,
                one.note.clone(),
            )
        })
        .collect();
    // The first of equals, which is the cheapest, by the order of algorithms.
    let best = argmax(methods.iter().map(|method| method.accuracy.value));
    let mut members = vec![(evaluated[best].algorithm, 1.0)];
    let mut answers = evaluated[best].p.clone();
    let mut chosen = best;
    if config.algorithms.combine == Combine::Select && evaluated.len() > 1 {
        let (weights, p) = bench.select(&folds, &evaluated);
        let member = |(one, weight): (&FoldPredictions, &f64)| (one.algorithm, *weight);
        let joined: Vec<(Algorithm, f64)> = evaluated
            .iter()
            .zip(&weights)
            .map(member)
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        let words = joined
            .iter()
            .map(|(algorithm, weight)| format!("{} {weight:.2}", algorithm.name()));
        let note = words.collect::<Vec<_>>().join(", ");
        methods.push(bench.method("select", &folds, &p, 0.0, Some(note)));
        // An ensemble that is not better is not worth its cost.
        if methods[evaluated.len()].accuracy.value > methods[best].accuracy.value {
            (members, answers, chosen) = (joined, p, evaluated.len());
        }
    }
    methods[chosen].chosen = true;
    cost.push(clock.cost("evaluating the algorithms"));

    let clock = Clock::start();
    progress(&Progress {
        share: 0.95,
        doing: "final fit".to_owned(),
        seconds_left: 0.0,
    });
    let test = bench.test_rows(given.chosen_among);
    let learnt: Vec<usize> = (0..bench.class_of.len())
        .filter(|&row| bench.is_trained_on(row))
        .collect();
    // On training and validation rows together, since all choices are made.
    let model = bench.fit_all(&members, &learnt)?;
    let bytes = model
        .to_bytes(&config.settings)
        .map_err(|error| LabError::run(run, error))?;
    write(&run.join("model.safetensors"), &bytes)?;
    cost.push(clock.cost("final fit"));

    let clock = Clock::start();
    let predictions = (!test.is_empty()).then(|| bench.predict(&model, &test));
    // The test part is first used here, after all choices.
    let figures = bench.conclude(
        run,
        given.set,
        (&folds, &answers),
        (&test, predictions),
        "folds",
    )?;
    let importance = bench.importance(&folds[0], &model, &members, &test)?;
    cost.push(clock.cost("figures"));

    let digests = digests(config, given.set, digest, &bytes);
    let mut report = bench.report(
        given.set,
        methods,
        figures,
        importance,
        leak::find_overlaps(&bench.matrix.rows, &bench.split),
        cost,
        digests,
        given.command,
    );
    report.judged_by += &among(given.chosen_among);
    publish(run, &report, &work)?;
    Ok(report)
}

/// BLAKE3 of the data as read and as used, and of settings, data and weights together.
pub(super) fn digests(
    config: &Config,
    set: &Dataset,
    data: String,
    weights: &[u8],
) -> BTreeMap<String, String> {
    // equal digests mean equal settings, data and weights
    let run = blake3::hash(&[config.text().as_bytes(), data.as_bytes(), weights].concat());
    let run = run.to_hex().to_string();
    let all = [("data", data), (READ, set.digest()), ("run", run)];
    BTreeMap::from(all.map(|(name, digest)| (name.to_owned(), digest)))
}

/// Writes a finished run's report and removes its intermediate files.
pub(super) fn publish(run: &Path, report: &Report, work: &Path) -> Result<(), LabError> {
    write_cost(run, &report.cost)?;
    write(&run.join("environment.toml"), environment())?;
    OutputTarget::whole(&run.join("report.html"))?.write(pages::run(report).html())?;
    let json =
        serde_json::to_vec_pretty(report).map_err(|error| LabError::run(run, error.to_string()))?;
    // Last, since a folder with a report is a finished run.
    write(&run.join("report.json"), json)?;
    let _ = std::fs::remove_dir_all(work);
    Ok(())
}

impl Bench<'_> {
    /// Evaluates each algorithm on held-out rows; finished fits are read from `work`.
    fn evaluate(
        &self,
        folds: &[Fold],
        work: &Path,
        progress: &mut dyn FnMut(&Progress),
        stop: &AtomicBool,
    ) -> Result<Vec<FoldPredictions>, LabError> {
        let names = &self.config.algorithms.names;
        // one more for the final fit
        let all = (names.len() * folds.len() + 1) as f64;
        let begun = Instant::now();
        let mut done = 0.0;
        let mut fitted = 0.0;
        let mut evaluated = Vec::new();
        for &algorithm in names {
            let mut one = FoldPredictions {
                algorithm,
                p: Vec::new(),
                note: None,
                seconds: 0.0,
            };
            for fold in folds {
                if stop.load(Ordering::Relaxed) {
                    return Err(LabError::Interrupted);
                }
                let spent = begun.elapsed().as_secs_f64();
                let number = fold.number + 1;
                let repeat = fold.repeat + 1;
                progress(&Progress {
                    share: done / all,
                    doing: format!("{}, repeat {repeat}, fold {number}", algorithm.name()),
                    // fits that were read from disk do not count for the estimate
                    seconds_left: if fitted > 0.0 {
                        spent / fitted * (all - done)
                    } else {
                        0.0
                    },
                });
                let name = format!("{}-{repeat}-{number}.safetensors", algorithm.name());
                let path = work.join(name);
                // a fit whose file is incomplete is repeated
                let kept = read_unit(&path, fold.test.len(), self.classes.len());
                let (p, note, seconds) = if let Some(kept) = kept {
                    kept
                } else {
                    let start = Instant::now();
                    let model = self.fit(algorithm, &fold.train)?;
                    let p = self.predict(&model, &fold.test);
                    let note = model.note();
                    let seconds = start.elapsed().as_secs_f64();
                    write_unit(&path, &p, note.as_deref(), seconds)?;
                    fitted += 1.0;
                    (p, note, seconds)
                };
                one = FoldPredictions {
                    note,
                    seconds: one.seconds + seconds,
                    ..one
                };
                one.p.push(p);
                done += 1.0;
            }
            evaluated.push(one);
        }
        Ok(evaluated)
    }

    /// Creates a run's work folder, or resumes in it if the data are the same.
    ///
    /// - returns: that folder, and the digest of the data
    pub(super) fn begin_work(
        &self,
        run: &Path,
        set: &Dataset,
    ) -> Result<(PathBuf, String), LabError> {
        let work = run.join(WORK);
        std::fs::create_dir_all(&work).map_err(LabError::io(&work))?;
        let digest = self.digest();
        let digest_file = work.join("data.txt");
        // Fits in the folder are of these features and must not be mixed with others.
        let both = format!("{digest}\n{}\n", self.numbers_digest());
        match regular_file::read(&digest_file, 1000) {
            Ok(known) if known != both.as_bytes() => {
                return Err(LabError::run(run, CHANGED));
            }
            Ok(_) => {}
            Err(_) => write(&digest_file, &both)?,
        }
        // This also marks the run as started: from now on its settings are fixed.
        self.write_data(run, set)?;
        Ok((work, digest))
    }

    /// BLAKE3 over the sorted `CONTENT NUL LABEL NUL PART LF` of all tracks; without audio, the key instead of the content.
    fn digest(&self) -> String {
        let line = |(row, part): (&MatrixRow, &Option<Part>)| {
            let content = row
                .audio()
                .map_or_else(|| row.item.key.clone(), |content| content.to_string());
            let label = row.item.label.as_deref().unwrap_or_default();
            format!("{content}\0{label}\0{}\n", part.map_or("", Part::name))
        };
        let mut lines: Vec<String> = self
            .matrix
            .rows
            .iter()
            .zip(&self.split.parts)
            .map(line)
            .collect();
        // sorted, so that the order of files and rows does not matter
        lines.sort_unstable();
        blake3::hash(lines.concat().as_bytes()).to_hex().to_string()
    }

    /// BLAKE3 of the features, since a table may change between two commands.
    fn numbers_digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.matrix.values.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
        hasher.finalize().to_hex().to_string()
    }

    fn write_data(&self, run: &Path, set: &Dataset) -> Result<(), LabError> {
        let header = [
            "path", "content", "genre", "artist", "split", "group", "seconds", "status",
        ]
        .map(str::to_owned);
        let rows = self.matrix.rows.iter().enumerate().map(|(at, row)| {
            [
                row.item.key.clone(),
                row.audio()
                    .map_or_else(String::new, |content| content.to_string()),
                row.item.label.clone().unwrap_or_default(),
                row.item.artist.clone().unwrap_or_default(),
                self.split.parts[at].map_or("", Part::name).to_owned(),
                self.split.groups[at].to_string(),
                row.seconds
                    .map_or_else(String::new, |seconds| format!("{seconds:.3}")),
                "ok".to_owned(),
            ]
        });
        write(&run.join("data.csv"), csv_bytes(&header, b',', rows))?;
        let rows = self
            .matrix
            .faults
            .iter()
            .map(|fault| [fault.key.clone(), fault.reason.clone()]);
        write(
            &run.join("failed.csv"),
            csv_bytes(&["path", "reason"].map(str::to_owned), b',', rows),
        )?;
        let notes = set.notes.join("\n");
        if notes.is_empty() {
            Ok(())
        } else {
            write(&run.join("notes.txt"), notes + "\n")
        }
    }

    /// Computes figures of a run's predictions for the test part, else for the folds of the first
    /// repeat, and writes all predictions.
    ///
    /// - `test`: its rows and their predictions; `otherwise`: name of the evaluated rows without a test part
    pub(super) fn conclude(
        &self,
        run: &Path,
        set: &Dataset,
        (folds, answers): (&[Fold], &[Array2<f32>]),
        (test, predictions): (&[usize], Option<Array2<f32>>),
        otherwise: &str,
    ) -> Result<Figures, LabError> {
        // Each row is held out once in a repeat, so the first repeat has a prediction for each.
        let first: Vec<(&Fold, &Array2<f32>)> = folds
            .iter()
            .zip(answers)
            .filter(|(fold, _)| fold.repeat == 0)
            .collect();
        let held_out: Vec<usize> = first
            .iter()
            .flat_map(|(fold, _)| fold.test.clone())
            .collect();
        let parts: Vec<_> = first.iter().map(|(_, p)| p.view()).collect();
        let out_of_fold = ndarray::concatenate(Axis(0), &parts)
            .unwrap_or_else(|_| Array2::zeros((0, self.classes.len())));
        self.write_predictions(
            run,
            &first,
            predictions.as_ref().map(|predictions| (test, predictions)),
        )?;
        let (name, on, p) = match predictions {
            Some(predictions) => ("test", test, predictions),
            None => (otherwise, &held_out[..], out_of_fold),
        };
        let items: HashMap<&str, &Item> = set
            .items
            .iter()
            .map(|item| (item.key.as_str(), item))
            .collect();
        let failed: Vec<&Item> = self
            .matrix
            .faults
            .iter()
            .filter_map(|fault| items.get(fault.key.as_str()).copied())
            .collect();
        let failed = self.split.failures_among(&self.matrix.rows, on, &failed);
        Ok(Figures::of(name, &self.answers(on, p), failed))
    }

    fn write_predictions(
        &self,
        run: &Path,
        folds: &[(&Fold, &Array2<f32>)],
        test: Option<(&[usize], &Array2<f32>)>,
    ) -> Result<(), LabError> {
        let mut header: Vec<String> = ["path", "genre", "split", "fold", "predicted"]
            .map(str::to_owned)
            .into();
        header.extend(self.classes.iter().map(|class| format!("p_{class}")));
        let line = |row: usize, part: &str, fold: String, p: ndarray::ArrayView1<f32>| {
            let label = self.classes[self.class_of[row]].clone();
            let predicted = self.classes[argmax(p)].clone();
            let mut cells = vec![
                self.matrix.rows[row].item.key.clone(),
                label,
                part.to_owned(),
                fold,
                predicted,
            ];
            cells.extend(p.iter().map(|p| format!("{p:.6}")));
            cells
        };
        let mut rows = Vec::new();
        let part = if self.config.data.folds > 0 {
            "fold"
        } else {
            "validation"
        };
        for (fold, predictions) in folds {
            let held_out = fold.test.iter().zip(predictions.outer_iter());
            rows.extend(held_out.map(|(&row, p)| line(row, part, fold.number.to_string(), p)));
        }
        if let Some((test, predictions)) = test {
            rows.extend(
                test.iter()
                    .zip(predictions.outer_iter())
                    .map(|(&row, p)| line(row, "test", String::new(), p)),
            );
        }
        write(&run.join("predictions.csv"), csv_bytes(&header, b',', rows))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a report")]
    pub(super) fn report(
        &self,
        set: &Dataset,
        methods: Vec<Method>,
        figures: Figures,
        importance: Vec<Importance>,
        leak: Leak,
        cost: Vec<Cost>,
        digests: BTreeMap<String, String>,
        command: String,
    ) -> Report {
        let data = &self.config.data;
        let rows = &self.matrix.rows;
        let mut sizes = vec![0; self.classes.len()];
        self.class_of.iter().for_each(|&class| sizes[class] += 1);
        let mut notes = set.notes.clone();
        let mut groups = vec![BTreeSet::new(); self.classes.len()];
        self.class_of
            .iter()
            .zip(&self.split.groups)
            .for_each(|(&class, &group)| {
                groups[class].insert(group);
            });
        for ((class, size), groups) in self.classes.iter().zip(&sizes).zip(&groups) {
            let one = match (size, groups.len()) {
                (1, _) => "track",
                (_, 1) if data.folds > 0 => "group",
                // Classes of more than one track and group need no note.
                _ => continue,
            };
            notes.push(format!(
                "class {class} has one {one}, which cannot be in both training and evaluation"
            ));
        }
        let constant = voisin_learn::Preparation::fit(self.matrix.values.view())
            .0
            .constant();
        let judged_by = if data.folds > 0 {
            let repeated = match data.repeats {
                1 => String::new(),
                repeats => format!(", repeated {repeats} times"),
            };
            format!(
                "{}-fold cross-validation{repeated}, groups kept together",
                data.folds
            )
        } else {
            "Evaluated on the validation part".to_owned()
        };
        Report {
            format: 1,
            data: DataCard {
                source: data.source.clone(),
                key_name: set.key_name.clone(),
                label_name: set.label_name.clone(),
                tracks: rows.len(),
                artists: artists(rows),
                sizes,
                // an empty sum is -0; adding 0 makes it 0
                seconds: rows.iter().filter_map(|row| row.seconds).sum::<f64>() + 0.0,
                licences: licences(rows),
                failed: self.matrix.faults.len(),
                first_failures: self
                    .matrix
                    .faults
                    .iter()
                    .take(FIRST_FAILURES)
                    .map(|fault| (fault.key.clone(), fault.reason.clone()))
                    .collect(),
                notes,
            },
            split: self.split.summary.clone(),
            at_random: self.split.at_random,
            classes: self.classes.clone(),
            features: self.config.features.sets.clone(),
            columns: self.matrix.columns.len(),
            constant: constant
                .into_iter()
                .map(|column| self.matrix.columns[column].clone())
                .collect(),
            judged_by,
            methods,
            figures: Figures {
                risk_coverage: thinned(figures.risk_coverage),
                ..figures
            },
            importance,
            leak,
            cost,
            digests,
            command,
            learning: None,
        }
    }
}

/// A finished fit's predictions, its note, and its seconds; `None` if the file is incomplete.
fn read_unit(
    path: &Path,
    rows: usize,
    classes: usize,
) -> Option<(Array2<f32>, Option<String>, f64)> {
    let bytes = regular_file::read(path, 1 << 32).ok()?;
    let (tensors, header) = Tensors::from_bytes(&bytes).ok()?;
    // A file of other folds or classes counts as missing.
    let p = tensors.matrix("p").filter(|p| p.dim() == (rows, classes))?;
    Some((
        p,
        header.get("note").cloned(),
        header.get("seconds")?.parse().ok()?,
    ))
}

fn write_unit(
    path: &Path,
    p: &Array2<f32>,
    note: Option<&str>,
    seconds: f64,
) -> Result<(), LabError> {
    let mut tensors = Tensors::default();
    tensors.put_matrix("p", p);
    let note = note.map(|note| ("note".to_owned(), note.to_owned()));
    let header = note
        .into_iter()
        .chain([("seconds".to_owned(), seconds.to_string())])
        .collect();
    write(
        path,
        tensors
            .to_bytes(header)
            .map_err(|error| LabError::run(path, error))?,
    )
}
