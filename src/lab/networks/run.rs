//! A run of a network: training, choice of the epoch on the validation part, one evaluation on the
//! test part, predictions.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use super::windows::{WindowProbabilities, decisions, joined};
use super::{ClipReader, KeptSpectrograms, NetworkSettings};
use crate::LabError;
use crate::bench::Bench;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::matrix::{Matrix, PerTrack, SoundFile, each_track};
use crate::report::{Figures, Learning, Method, Report};
use crate::run::{Progress, RunInputs, among, publish};
use crate::training::session::read_tensors;
use crate::training::{
    self, BEST, ClassNetOptions, EpochFigures, Fitted, NetworkRecipe, TrackExamples, mean, outputs,
    predict,
};
use voisin_base::track::ContentId;
use voisin_encoder::{Device, DeviceChoice, FinishedStack, Stack, StackShape, StackTrain};
use voisin_genre::Fold;
use voisin_genre::metrics::argmax;

impl Config {
    /// The network of a run and its settings; `None` for a run of algorithms.
    pub fn network(&self) -> Option<(NetworkRecipe, &NetworkSettings)> {
        NetworkRecipe::named(&self.recipe).zip(self.network.as_ref())
    }
}

fn named(config: &Config) -> Result<(NetworkRecipe, &NetworkSettings), LabError> {
    let found = &config.recipe;
    let problem = || LabError::Options(format!("expected a network's recipe, found {found}"));
    config.network().ok_or_else(problem)
}

fn network(config: &Config, classes: usize, device: Device) -> Result<StackTrain, LabError> {
    let (recipe, settings) = named(config)?;
    let stack = stack(&recipe, settings, classes)?;
    Ok(StackTrain::new(stack, config.seed, device))
}

fn stack(
    recipe: &NetworkRecipe,
    settings: &NetworkSettings,
    classes: usize,
) -> Result<Stack, LabError> {
    let stack = Stack::new(&recipe.layers(), settings.input(recipe), classes);
    Ok(stack?)
}

/// The layers of a run's network, with their output and number of parameters.
pub fn layers(config: &Config, classes: usize) -> Result<Vec<(String, String, usize)>, LabError> {
    let (recipe, settings) = named(config)?;
    Ok(stack(&recipe, settings, classes)?.summary())
}

/// Spectrograms that are kept, and their number for each track.
pub type CountedSpectrograms<'a> = (&'a KeptSpectrograms, PerTrack<usize>);

/// Trains a run's network, or continues, and writes the report.
pub fn train(
    run: &Path,
    inputs: RunInputs,
    (kept, found): CountedSpectrograms<'_>,
    device: DeviceChoice,
    progress: &mut dyn FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LabError> {
    let config = inputs.config;
    let (_, settings) = named(config)?;
    let matrix = Matrix {
        values: Array2::zeros((found.rows.len(), 0)),
        rows: found.rows,
        columns: Vec::new(),
        faults: found.faults,
    };
    let bench = Bench::new(config, matrix)?;
    bench.write_data(run)?;
    let rows = &bench.matrix.rows;
    let load = |track: usize, window: usize, place: Option<f64>, to: &mut [f32]| {
        // Every row was opened, and has the digest of its audio.
        let content = rows[track].content.unwrap_or(ContentId([0; 32]));
        kept.read(content, window, place, to)
    };
    // The network's examples: several crops of each stored one.
    let evaluated = |count: &usize| kept.reader().evaluated(*count);
    let windows: Vec<usize> = found.values.iter().map(evaluated).collect();
    let trainer = Trainer {
        bench: &bench,
        settings,
        examples: TrackExamples {
            class_of: &bench.class_of,
            windows: &windows,
            copies: settings.copies,
            load: &load,
        },
        input: kept.reader().input(),
        device: device.resolve()?,
        stop,
    };
    let folds = bench.folds();
    let (net, fitted, predicted) = trainer.fit_all(run, &folds, progress)?;
    let test = bench.test_rows(inputs.chosen_among);
    let (method, figures, decisions) =
        trainer.conclude(run, (&net, &fitted), (&folds, predicted), &test)?;
    let report = bench.report(inputs.set, vec![method], figures, Vec::new());
    let spectrograms: usize = found.values.iter().sum();
    let example = kept.reader().example();
    let report = Report {
        features: vec![format!("{spectrograms} spectrograms of {example}")],
        columns: kept.reader().input().cells(),
        judged_by: report.judged_by + &among(inputs.chosen_among),
        learning: Some(Learning {
            layers: layers(config, bench.classes.len())?,
            decisions,
            ..learning(&fitted)
        }),
        ..report
    };
    publish(run, &report)?;
    Ok(report)
}

struct Trainer<'a> {
    bench: &'a Bench<'a>,
    settings: &'a NetworkSettings,
    examples: TrackExamples<'a>,
    input: StackShape,
    device: Device,
    stop: &'a AtomicBool,
}

/// How a network did, its figures, and its accuracies by name.
type Conclusion = (Method, Figures, Vec<(String, f64)>);

impl Trainer<'_> {
    /// Every fold's network chooses its epoch on a fifth of its training rows, since held-out rows must not influence what
    /// they evaluate. The last network is the run's.
    fn fits(&self, run: &Path, folds: &[Fold]) -> Vec<ClassNetOptions> {
        let bench = self.bench;
        let fit = |folder: &Path, tracks| ClassNetOptions {
            folder: folder.to_owned(),
            training: self.settings.training,
            tracks,
            image: match self.input {
                StackShape::Image(1, bands, frames) => Some([bands, frames]),
                _ => None,
            },
            seed: bench.config.seed,
        };
        if bench.config.data.folds == 0 {
            let only = &folds[0];
            return vec![fit(run, [only.train.clone(), only.test.clone()])];
        }
        let of_fold = |fold: &Fold| {
            let name = format!("work/network-{}-{}", fold.repeat, fold.number);
            fit(&run.join(name), bench.without_fifth(&fold.train))
        };
        let mut fits: Vec<ClassNetOptions> = folds.iter().map(of_fold).collect();
        // The run's network is trained on all rows outside of a given test part.
        fits.push(fit(run, bench.without_fifth(&bench.learnt_rows())));
        fits
    }

    /// Trains all networks; the run's own, and the predictions of the others for their held-out rows.
    fn fit_all(
        &self,
        run: &Path,
        folds: &[Fold],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(FinishedStack, Fitted, Vec<WindowProbabilities>), LabError> {
        let fits = self.fits(run, folds);
        let all = fits.len();
        let mut predicted = Vec::new();
        let mut last = None;
        for (number, fit) in fits.iter().enumerate() {
            std::fs::create_dir_all(&fit.folder).map_err(LabError::io(&fit.folder))?;
            let classes = self.bench.classes.len();
            let mut net = network(self.bench.config, classes, self.device.clone())?;
            let fitted = training::fit(&mut net, fit, self.examples, &mut |now| {
                let place = format!("network {} of {all}, ", number + 1);
                progress(&Progress {
                    share: (number as f64 + now.share) / all as f64,
                    doing: if all > 1 { place } else { String::new() } + &now.doing,
                    seconds_left: now.seconds_left,
                });
                !self.stop.load(Ordering::Relaxed)
            })?;
            let fitted = fitted.ok_or(LabError::Interrupted)?;
            let net = net.finished()?;
            if let Some(fold) = folds.get(number) {
                predicted.push(self.predict(&net, &fold.test)?);
            }
            last = Some((net, fitted));
        }
        let nothing = || LabError::Options("expected training tracks, found none".to_owned());
        let (net, fitted) = last.ok_or_else(nothing)?;
        Ok((net, fitted, predicted))
    }

    fn predict(
        &self,
        net: &FinishedStack,
        rows: &[usize],
    ) -> Result<WindowProbabilities, LabError> {
        predict(net, self.examples, rows, self.settings.training.batch)
    }

    /// Figures of the finished networks, as for other runs, and accuracies by window and by track: of the test part, else
    /// over all folds.
    fn conclude(
        &self,
        run: &Path,
        (net, fitted): (&FinishedStack, &Fitted),
        (folds, predicted): (&[Fold], Vec<WindowProbabilities>),
        test: &[usize],
    ) -> Result<Conclusion, LabError> {
        let bench = self.bench;
        let answers = predicted.iter().map(joined);
        let answers = answers.collect::<Result<Vec<_>, _>>()?;
        let seconds = fitted.history.last().map_or(0.0, |last| last.seconds);
        let note = format!("epoch {} of {}", fitted.best + 1, fitted.history.len());
        let name = &bench.config.recipe;
        let mut method = bench.method(name, folds, &answers, (seconds, Some(note)));
        method.chosen = true;
        let (windows, rows, predictions) = if test.is_empty() {
            let rows = folds.iter().flat_map(|fold| fold.test.clone());
            (predicted.concat(), rows.collect(), None)
        } else {
            let windows = self.predict(net, test)?;
            let predictions = joined(&windows)?;
            (windows, test.to_vec(), Some(predictions))
        };
        let truth: Vec<usize> = rows.iter().map(|&row| bench.class_of[row]).collect();
        let otherwise = if bench.config.data.folds > 0 {
            "folds"
        } else {
            "validation"
        };
        let figures = bench.conclude(run, (folds, &answers), (test, predictions), otherwise)?;
        Ok((method, figures, decisions(&windows, &truth)))
    }
}

fn learning(fitted: &Fitted) -> Learning {
    let history = &fitted.history;
    let curves = |values: [fn(&EpochFigures) -> f64; 2]| {
        values.map(|value| history.iter().map(value).collect::<Vec<f64>>())
    };
    // The epoch of smallest validation loss, which may differ from that of the chosen weights.
    let least = argmax(history.iter().map(|epoch| -epoch.validation_loss));
    let note = format!(
        "The weights are those of epoch {} of {}, which has the best validation accuracy. The validation loss is smallest \
         after epoch {}.",
        fitted.best + 1,
        history.len(),
        least + 1
    );
    Learning {
        notes: vec![note],
        loss: curves([|epoch| epoch.train_loss, |epoch| epoch.validation_loss]),
        accuracy: curves([
            |epoch| epoch.train_accuracy,
            |epoch| epoch.validation_accuracy,
        ]),
        ..Learning::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkOutput {
    Probabilities,
    /// The numbers of its inner layer, in which tracks of genres that it confuses are near each other.
    InnerLayer,
}

pub struct RunNetwork {
    reader: ClipReader,
    net: FinishedStack,
    output: NetworkOutput,
    columns: Vec<String>,
    crops: usize,
    batch: usize,
}

impl RunNetwork {
    pub fn of_run(
        run: &Path,
        config: &Config,
        device: DeviceChoice,
        output: NetworkOutput,
    ) -> Result<Self, LabError> {
        let classes = Report::read(run)?.classes;
        let (recipe, settings) = named(config)?;
        let device = device.resolve()?;
        let mut net = network(config, classes.len(), device)?;
        let path = run.join(BEST);
        let mut tensors = read_tensors(&path)?;
        net.restore(|name| tensors.remove(name))
            .map_err(|name| LabError::run(&path, format!("tensor \"{name}\" does not fit")))?;
        // augmented copies are used in training only
        let settings = NetworkSettings {
            copies: 0,
            ..settings.clone()
        };
        let (net, columns) = match output {
            NetworkOutput::Probabilities => (net.finished()?, classes),
            NetworkOutput::InnerLayer => {
                let net = net.inner()?;
                let numbers = 0..net.stack().classes();
                (net, numbers.map(|i| format!("inner_{i:03}")).collect())
            }
        };
        Ok(Self {
            reader: ClipReader::new(recipe, &settings)?,
            columns,
            net,
            output,
            crops: settings.crops(),
            batch: settings.training.batch,
        })
    }

    pub fn apply(
        &self,
        set: &Dataset,
        progress: &(dyn Fn(usize) + Sync),
        stop: &AtomicBool,
    ) -> Result<Matrix, LabError> {
        let work = |file: SoundFile<'_>| Ok(self.compute(file, stop));
        Matrix::of(each_track(set, work, progress, stop)?, self.columns.clone())
    }

    fn compute(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let decoded = self.reader.decode(file, stop)?;
        let cells = self.reader.example().cells();
        // The same crops as in the run's evaluation.
        let windows = [self.reader.evaluated(decoded.len() / cells)];
        let crops = self.crops;
        let load = |_: usize, window: usize, place: Option<f64>, to: &mut [f32]| {
            let at = window / crops * cells;
            self.reader.cut(&decoded[at..at + cells], window, place, to);
            Ok(())
        };
        let examples = TrackExamples {
            class_of: &[],
            windows: &windows,
            copies: 0,
            load: &load,
        };
        let found = match self.output {
            NetworkOutput::Probabilities => predict(&self.net, examples, &[0], self.batch),
            NetworkOutput::InnerLayer => outputs(&self.net, examples, &[0], self.batch),
        };
        found
            .map(|windows| mean(&windows[0]))
            .map_err(|error| error.to_string())
    }
}
