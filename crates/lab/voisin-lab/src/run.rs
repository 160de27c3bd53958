//! A run: algorithms are compared; the best one is fitted on training and validation rows together
//! and evaluated once on the test part.
//!
//! The result depends on the settings and the data alone, so it is bit-for-bit reproducible.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ndarray::{Array2, Axis};

pub use super::bench::TRIAL;
use super::bench::{Bench, FoldPredictions};
use super::config::{Combine, Config};
use super::leak::{self, Leak};
use super::matrix::{Matrix, artists, licences};
use super::model::Algorithm;
use super::report::{DataCard, Figures, Importance, Method, Report, thinned};
use super::{LabError, csv_bytes, pages, write};
use crate::dataset::{Dataset, Part};
use voisin_base::output::{OutputTarget, check_folder};
use voisin_genre::Fold;
use voisin_genre::metrics::argmax;

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

/// Folder of features and networks of an unfinished run, in the run's folder.
const WORK: &str = "work";
/// The table of a search's trials, in the folder of the chosen run.
pub const TRIALS: &str = "trials.csv";
/// Its columns.
pub const TRIALS_HEADER: &str = "trial,settings,accuracy,low,high,seconds";

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
}

/// The part of a report's sentence on how settings were chosen.
pub(super) fn among(settings: usize) -> String {
    match settings {
        0 => String::new(),
        TRIAL => "; a trial, evaluated without the test part".to_owned(),
        settings => format!("; settings chosen among {settings} trials (trials.csv)"),
    }
}

/// Starts a run in its folder, or again one with the same settings that was interrupted.
///
/// - returns: whether it is already finished
pub fn begin(run: &Path, config: &Config) -> Result<bool, LabError> {
    if run.join("config.toml").exists() && Config::of_run(run)? != *config {
        let problem = "this run was begun with other settings (config.toml): use another folder";
        return Err(LabError::run(run, problem));
    }
    // Before anything is written, so that a mistyped name puts no files into a folder of music.
    refuse_others(run)?;
    std::fs::create_dir_all(run).map_err(LabError::io(run))?;
    write(&run.join("config.toml"), config.text())?;
    Ok(run.join("report.json").exists())
}

/// Refuses a folder with other contents than a run's, and anything that is no folder.
pub fn refuse_others(run: &Path) -> Result<(), LabError> {
    check_folder(run)?;
    if run.join("config.toml").exists() {
        return Ok(());
    }
    // Unfinished files of a killed run have names that begin with a dot, and a search writes its
    // trials before the chosen run starts.
    let is_other = |name: std::ffi::OsString| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && ![TRIALS, "trials"].contains(&&*name)
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

/// Fits a run's algorithms, and writes its report.
pub fn train(
    run: &Path,
    given: RunInputs,
    progress: &mut dyn FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LabError> {
    let config = given.config;
    let bench = Bench::new(config, given.matrix)?;
    bench.write_data(run)?;
    let folds = bench.folds();
    let evaluated = bench.evaluate(&folds, progress, stop)?;
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
    let predictions = (!test.is_empty()).then(|| bench.predict(&model, &test));
    // The test part is first used here, after all choices.
    let figures = bench.conclude(run, (&folds, &answers), (&test, predictions), "folds")?;
    let importance = bench.importance(&folds[0], &model, &members, &test)?;
    let mut report = bench.report(
        given.set,
        methods,
        figures,
        importance,
        leak::find_overlaps(&bench.matrix.rows, &bench.split),
    );
    report.judged_by += &among(given.chosen_among);
    publish(run, &report)?;
    Ok(report)
}

/// Writes a finished run's report and removes its intermediate files.
pub(super) fn publish(run: &Path, report: &Report) -> Result<(), LabError> {
    OutputTarget::whole(&run.join("report.html"))?.write(pages::run(report).html())?;
    let json =
        serde_json::to_vec_pretty(report).map_err(|error| LabError::run(run, error.to_string()))?;
    // Last, since a folder with a report is a finished run.
    write(&run.join("report.json"), json)?;
    let _ = std::fs::remove_dir_all(run.join(WORK));
    Ok(())
}

impl Bench<'_> {
    /// Evaluates each algorithm on held-out rows.
    fn evaluate(
        &self,
        folds: &[Fold],
        progress: &mut dyn FnMut(&Progress),
        stop: &AtomicBool,
    ) -> Result<Vec<FoldPredictions>, LabError> {
        let names = &self.config.algorithms.names;
        // one more for the final fit
        let all = (names.len() * folds.len() + 1) as f64;
        let begun = Instant::now();
        let mut done = 0.0;
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
                    seconds_left: if done > 0.0 {
                        spent / done * (all - done)
                    } else {
                        0.0
                    },
                });
                let start = Instant::now();
                let model = self.fit(algorithm, &fold.train)?;
                one.p.push(self.predict(&model, &fold.test));
                one.note = model.note();
                one.seconds += start.elapsed().as_secs_f64();
                done += 1.0;
            }
            evaluated.push(one);
        }
        Ok(evaluated)
    }

    /// Writes the tracks with their parts, and those that could not be used.
    pub(super) fn write_data(&self, run: &Path) -> Result<(), LabError> {
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
        )
    }

    /// Computes figures of a run's predictions for the test part, else for the folds of the first
    /// repeat, and writes all predictions.
    ///
    /// - `test`: its rows and their predictions; `otherwise`: name of the evaluated rows without a test part
    pub(super) fn conclude(
        &self,
        run: &Path,
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
        // In proportion, rounded down, since the failed tracks are in no part.
        let failed = self.matrix.faults.len() * on.len() / self.matrix.rows.len().max(1);
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

    pub(super) fn report(
        &self,
        set: &Dataset,
        methods: Vec<Method>,
        figures: Figures,
        importance: Vec<Importance>,
        leak: Leak,
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
        let constant = super::classifiers::Preparation::fit(self.matrix.values.view())
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
            learning: None,
        }
    }
}
