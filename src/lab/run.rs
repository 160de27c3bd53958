//! A run: algorithms are compared; the best one is fitted on training and validation rows together
//! and evaluated once on the test part.
//!
//! The result depends on the settings and the data alone, so it is bit-for-bit reproducible.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ndarray::{Array2, ArrayView1, Axis};

pub use super::bench::TRIAL;
use super::bench::{Bench, FoldPredictions};
use super::config::{Combine, Config, Data};
use super::matrix::{FACTS, Matrix, artists};
use super::model::{Algorithm, Model};
use super::report::{DataCard, Figures, Importance, Method, Report};
use super::{LabError, csv_bytes, pages, write};
use crate::dataset::Dataset;
use voisin_base::output::{OutputTarget, check_folder};
use voisin_genre::Fold;
use voisin_genre::metrics::argmax;

const FIRST_FAILURES: usize = 20;

#[derive(Debug, Clone)]
pub struct Progress {
    pub share: f64,
    pub doing: String,
    /// Seconds left, estimated from the fits so far.
    pub seconds_left: f64,
}

/// Folder of features and networks of an unfinished run, in the run's folder.
const WORK: &str = "work";
/// The table of a search's trials, in the folder of the chosen run.
pub const TRIALS: &str = "trials.csv";
pub const TRIALS_HEADER: &str = "trial,settings,accuracy,low,high,seconds";

#[derive(Debug, Clone, Copy)]
pub struct RunInputs<'a> {
    pub config: &'a Config,
    pub set: &'a Dataset,
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

pub fn train(
    run: &Path,
    inputs: RunInputs,
    matrix: Matrix,
    progress: &mut dyn FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LabError> {
    let bench = Bench::new(inputs.config, matrix)?;
    bench.write_data(run)?;
    let folds = bench.folds();
    let choice = bench.choose(&folds, bench.evaluate(&folds, progress, stop)?);
    progress(&Progress {
        share: 0.95,
        doing: "final fit".to_owned(),
        seconds_left: 0.0,
    });
    let test = bench.test_rows(inputs.chosen_among);
    // On training and validation rows together, since all choices are made.
    let model = bench.fit_all(&choice.members, &bench.learnt_rows())?;
    let bytes = model.to_bytes(&inputs.config.settings);
    let bytes = bytes.map_err(|error| LabError::run(run, error))?;
    write(&run.join("model.safetensors"), &bytes)?;
    // The test part is first used here, after all choices.
    let predictions = (!test.is_empty()).then(|| bench.predict(&model, &test));
    let figures = bench.conclude(run, (&folds, &choice.p), (&test, predictions), "folds")?;
    let importance = bench.importance(&folds[0], &model, &choice.members, &test)?;
    let mut report = bench.report(inputs.set, choice.methods, figures, importance);
    report.judged_by += &among(inputs.chosen_among);
    publish(run, &report)?;
    Ok(report)
}

struct Choice {
    members: Vec<(Algorithm, f64)>,
    /// Their predictions for the rows of each fold.
    p: Vec<Array2<f32>>,
    /// All algorithms compared, and an ensemble of them.
    methods: Vec<Method>,
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
    fn evaluate(
        &self,
        folds: &[Fold],
        progress: &mut dyn FnMut(&Progress),
        stop: &AtomicBool,
    ) -> Result<Vec<FoldPredictions>, LabError> {
        let names = &self.config.algorithms.names;
        let all = (names.len() * folds.len() + 1) as f64;
        let begun = Instant::now();
        let mut done = 0.0;
        let mut evaluated = Vec::new();
        for &algorithm in names {
            let start = Instant::now();
            let mut p = Vec::new();
            for fold in folds {
                if stop.load(Ordering::Relaxed) {
                    return Err(LabError::Interrupted);
                }
                let per_fit = begun.elapsed().as_secs_f64() / f64::max(done, 1.0);
                let repeat = fold.repeat + 1;
                let number = fold.number + 1;
                progress(&Progress {
                    share: done / all,
                    doing: format!("{}, repeat {repeat}, fold {number}", algorithm.name()),
                    seconds_left: per_fit * (all - done),
                });
                let model: Model = self.fit(algorithm, &fold.train)?;
                p.push(self.predict(&model, &fold.test));
                done += 1.0;
            }
            evaluated.push(FoldPredictions {
                algorithm,
                p,
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        Ok(evaluated)
    }

    /// The best algorithm, the first of equals, which is the cheapest; or an ensemble that is better.
    fn choose(&self, folds: &[Fold], mut evaluated: Vec<FoldPredictions>) -> Choice {
        let method = |one: &FoldPredictions| {
            self.method(one.algorithm.name(), folds, &one.p, (one.seconds, None))
        };
        let mut methods: Vec<Method> = evaluated.iter().map(method).collect();
        let best = argmax(methods.iter().map(|method| method.accuracy.value));
        if self.config.algorithms.combine == Combine::Select && evaluated.len() > 1 {
            let (weights, p) = self.select(folds, &evaluated);
            let members = evaluated.iter().map(|one| one.algorithm).zip(weights);
            let members: Vec<_> = members.filter(|(_, weight)| *weight > 0.0).collect();
            let words = members.iter();
            let words = words.map(|(one, weight)| format!("{} {weight:.2}", one.name()));
            let note = words.collect::<Vec<_>>().join(", ");
            let mut joined = self.method("select", folds, &p, (0.0, Some(note)));
            // An ensemble that is not better is not worth its cost.
            joined.chosen = joined.accuracy.value > methods[best].accuracy.value;
            let is_chosen = joined.chosen;
            methods.push(joined);
            if is_chosen {
                return Choice {
                    members,
                    p,
                    methods,
                };
            }
        }
        methods[best].chosen = true;
        let chosen = evaluated.swap_remove(best);
        Choice {
            members: vec![(chosen.algorithm, 1.0)],
            p: chosen.p,
            methods,
        }
    }

    /// Writes the tracks with their parts, and those that could not be used.
    pub(super) fn write_data(&self, run: &Path) -> Result<(), LabError> {
        let header = [&["path", "group"][..], &FACTS].concat();
        let rows = self.matrix.rows.iter().enumerate().map(|(at, row)| {
            let facts = row.facts(self.split.parts[at]);
            let group = self.split.groups[at].to_string();
            [&[row.item.key.clone(), group][..], &facts].concat()
        });
        write(&run.join("data.csv"), csv_bytes(&header, b',', rows))?;
        let faults = self.matrix.faults.iter();
        let rows = faults.map(|fault| [fault.key.clone(), fault.reason.clone()]);
        let failed = csv_bytes(&["path", "reason"], b',', rows);
        write(&run.join("failed.csv"), failed)
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
        let first = folds.iter().zip(answers);
        let first: Vec<_> = first.filter(|(fold, _)| fold.repeat == 0).collect();
        let held_out = first.iter().flat_map(|(fold, _)| fold.test.clone());
        let held_out: Vec<usize> = held_out.collect();
        let parts: Vec<_> = first.iter().map(|(_, p)| p.view()).collect();
        let out_of_fold = ndarray::concatenate(Axis(0), &parts)
            .unwrap_or_else(|_| Array2::zeros((0, self.classes.len())));
        let tested = predictions.as_ref().map(|predictions| (test, predictions));
        self.write_predictions(run, &first, tested)?;
        let (name, on, p) = match predictions {
            Some(predictions) => ("test", test, predictions),
            None => (otherwise, &held_out[..], out_of_fold),
        };
        Ok(Figures::of(name, &self.answers(on, p), |_| true))
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
        let line = |row: usize, part: &str, fold: String, p: ArrayView1<f32>| {
            let key = self.matrix.rows[row].item.key.clone();
            let label = self.classes[self.class_of[row]].clone();
            let predicted = self.classes[argmax(p)].clone();
            let mut cells = vec![key, label, part.to_owned(), fold, predicted];
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
            let tested = test.iter().zip(predictions.outer_iter());
            rows.extend(tested.map(|(&row, p)| line(row, "test", String::new(), p)));
        }
        write(&run.join("predictions.csv"), csv_bytes(&header, b',', rows))
    }

    pub(super) fn report(
        &self,
        set: &Dataset,
        methods: Vec<Method>,
        figures: Figures,
        importance: Vec<Importance>,
    ) -> Report {
        let Data { folds, repeats, .. } = self.config.data;
        let judged_by = match (folds, repeats) {
            (0, _) => "Evaluated on the validation part".to_owned(),
            (folds, 1) => format!("{folds}-fold cross-validation, groups kept together"),
            _ => format!(
                "{folds}-fold cross-validation, repeated {repeats} times, groups kept together"
            ),
        };
        Report {
            data: self.data_card(set),
            split: self.split.summary.clone(),
            classes: self.classes.clone(),
            features: self.config.features.sets.clone(),
            columns: self.matrix.columns.len(),
            judged_by,
            methods,
            figures,
            importance,
            learning: None,
        }
    }

    fn data_card(&self, set: &Dataset) -> DataCard {
        let rows = &self.matrix.rows;
        let mut sizes = vec![0; self.classes.len()];
        self.class_of.iter().for_each(|&class| sizes[class] += 1);
        let faults = &self.matrix.faults;
        let first = faults.iter().take(FIRST_FAILURES);
        DataCard {
            source: self.config.data.source.clone(),
            key_name: set.key_name.clone(),
            label_name: set.label_name.clone(),
            tracks: rows.len(),
            artists: artists(rows),
            sizes,
            // an empty sum is -0; adding 0 makes it 0
            seconds: rows.iter().filter_map(|row| row.seconds).sum::<f64>() + 0.0,
            failed: faults.len(),
            first_failures: first
                .map(|fault| (fault.key.clone(), fault.reason.clone()))
                .collect(),
            notes: set.notes.clone(),
        }
    }
}
