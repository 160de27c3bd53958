//! A run of a network: training, choice of the epoch on the validation part, one evaluation on the
//! test part, predictions.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::examples::{RunExamples, WindowProbabilities, decisions, joined};
use super::{ClipReader, KeptSpectrograms, NetworkSettings};
use crate::LabError;
use crate::bench::Bench;
use crate::config::Config;
use crate::leak;
use crate::matrix::{FeatureSet, SoundFile};
use crate::report::{Learning, Method, Report};
use crate::run::{Progress, RunInputs, among, publish};
use crate::training::session::read_tensors;
use crate::training::{
    ClassNetOptions, EpochFigures, Fitted, NetworkRecipe, TrackExamples, TrainError, fit, mean,
};
use voisin_encoder::{Device, DeviceChoice, FinishedStack, Stack, StackShape, StackTrain};
use voisin_genre::metrics::argmax;

/// Name of the best epoch's weights in a run's folder.
const BEST: &str = "best.safetensors";
/// Time between checkpoints inside an epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);
/// A final validation loss this many times the smallest is reported as overfitting.
const OVERFITTED: f64 = 1.05;

impl Config {
    /// The network of a run and its settings; `None` for a run of algorithms.
    pub fn network(&self) -> Option<(NetworkRecipe, &NetworkSettings)> {
        NetworkRecipe::named(&self.recipe).zip(self.network.as_ref())
    }
}

fn named(config: &Config) -> Result<(NetworkRecipe, &NetworkSettings), LabError> {
    config.network().ok_or_else(|| {
        LabError::Options(format!(
            "expected a network's recipe, found {}",
            config.recipe
        ))
    })
}

/// The network before its first step.
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
    Ok(stack.map_err(TrainError::from)?)
}

/// The layers of a run's network, with their output and number of parameters.
pub fn layers(config: &Config, classes: usize) -> Result<Vec<(String, String, usize)>, LabError> {
    let (recipe, settings) = named(config)?;
    Ok(stack(&recipe, settings, classes)?.summary())
}

/// Trains a run's network, or continues, and writes the report.
///
/// - `given`: its matrix counts the spectrograms of each track, as `kept` does
pub fn train(
    run: &Path,
    given: RunInputs,
    kept: &KeptSpectrograms,
    device: DeviceChoice,
    progress: &mut dyn FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LabError> {
    let config = given.config;
    let (recipe, settings) = named(config)?;
    let bench = Bench::new(config, given.matrix)?;
    bench.write_data(run)?;
    let rows = &bench.matrix.rows;
    let counts = bench.matrix.values.column(0);
    let kept_of: Vec<usize> = counts.iter().map(|count| *count as usize).collect();
    // The network's examples: several crops of each stored one.
    let windows: Vec<usize> = kept_of
        .iter()
        .map(|count| kept.reader().evaluated(*count))
        .collect();
    let load = |track: usize, window: usize, place: Option<f64>, to: &mut [f32]| match rows[track]
        .content
    {
        Some(content) => kept.read(content, window, place, to),
        None => Err(TrainError::Options(format!(
            "expected audio for each track, found none for {}",
            rows[track].item.key
        ))),
    };
    let device = device.resolve().map_err(TrainError::from)?;
    let classes = bench.classes.len();
    let examples = RunExamples {
        class_of: &bench.class_of,
        windows: &windows,
        load: &load,
    };

    // Every fold's network chooses its epoch on a fifth of its training rows, since held-out rows
    // must not influence what they evaluate. The last network is the run's.
    let folds = bench.folds();
    let mut fits: Vec<(PathBuf, Vec<usize>, Vec<usize>)> = Vec::new();
    let inside = |rows: &[usize]| -> (Vec<usize>, Vec<usize>) {
        let is_validation = bench.validation_fifth(rows);
        let part = |chosen: bool| {
            rows.iter()
                .zip(&is_validation)
                .filter(|(_, is_validation)| **is_validation == chosen)
                .map(|(row, _)| *row)
                .collect()
        };
        (part(false), part(true))
    };
    if config.data.folds > 0 {
        for fold in &folds {
            let (training, validation) = inside(&fold.train);
            let folder = run.join(format!("work/network-{}-{}", fold.repeat, fold.number));
            fits.push((folder, bench.subsample(&training), validation));
        }
        // The run's network is trained on all rows outside of a given test part.
        let learnt: Vec<usize> = (0..rows.len())
            .filter(|&row| bench.is_trained_on(row))
            .collect();
        let (training, validation) = inside(&learnt);
        fits.push((run.to_owned(), bench.subsample(&training), validation));
    } else {
        fits.push((
            run.to_owned(),
            bench.subsample(&folds[0].train),
            folds[0].test.clone(),
        ));
    }

    let test = bench.test_rows(given.chosen_among);
    let count = fits.len();
    let mut answers = Vec::new();
    let mut last = None;
    let mut windowed: WindowProbabilities = Vec::new();
    let mut truth: Vec<usize> = Vec::new();
    for (number, (folder, training, validation)) in fits.iter().enumerate() {
        std::fs::create_dir_all(folder).map_err(LabError::io(folder))?;
        let mut net = network(config, classes, device.clone())?;
        let options = ClassNetOptions {
            folder: folder.clone(),
            training: settings.training,
            image: match kept.reader().input() {
                StackShape::Image(1, bands, frames) => Some([bands, frames]),
                _ => None,
            },
            seed: config.seed,
            checkpoint_every: CHECKPOINT_EVERY,
        };
        let learning = TrackExamples {
            copies: settings.copies,
            ..examples.of(training, validation)
        };
        let fitted = fit(&mut net, &options, learning, &mut |now| {
            let epochs = options.training.epochs;
            let prefix = if count > 1 {
                format!("network {} of {count}, ", number + 1)
            } else {
                String::new()
            };
            progress(&Progress {
                share: (number as f64 + now.share) / count as f64,
                doing: format!(
                    "{prefix}epoch {} of {epochs}, loss {:.3}",
                    now.epoch, now.loss
                ),
                seconds_left: now.seconds_left,
            });
            // `false` makes the training write a checkpoint and end.
            !stop.load(Ordering::Relaxed)
        })?;
        let Some(fitted) = fitted else {
            return Err(LabError::Interrupted);
        };
        let net = net.finished().map_err(TrainError::from)?;
        if let Some(fold) = folds.get(number) {
            let predicted = examples.predict(&net, &fold.test, settings.training.batch)?;
            answers.push(joined(&predicted)?);
            // Figures of windows are over all folds, unless there is a test part below.
            windowed.extend(predicted);
            truth.extend(fold.test.iter().map(|&row| bench.class_of[row]));
        }
        last = Some((net, fitted));
    }
    let Some((net, fitted)) = last else {
        return Err(LabError::Options(
            "expected training tracks, found none".into(),
        ));
    };
    progress(&Progress {
        share: 1.0,
        doing: "figures".to_owned(),
        seconds_left: 0.0,
    });
    // Figures of the finished networks, as for other runs.
    let seconds = fitted.history.last().map_or(0.0, |last| last.seconds);
    let note = format!("epoch {} of {}", fitted.best + 1, fitted.history.len());
    let method = bench.method(recipe.name, &folds, &answers, seconds, Some(note));
    let mut predictions = None;
    if !test.is_empty() {
        windowed = examples.predict(&net, &test, settings.training.batch)?;
        truth = test.iter().map(|&row| bench.class_of[row]).collect();
        predictions = Some(joined(&windowed)?);
    }
    let otherwise = if config.data.folds > 0 {
        "folds"
    } else {
        "validation"
    };
    let figures = bench.conclude(run, (&folds, &answers), (&test, predictions), otherwise)?;
    let method = Method {
        chosen: true,
        ..method
    };
    let mut report = bench.report(
        given.set,
        vec![method],
        figures,
        Vec::new(),
        leak::find_overlaps(rows, &bench.split),
    );
    report.judged_by += &among(given.chosen_among);
    let spectrograms: usize = kept_of.iter().sum();
    let report = Report {
        features: vec![format!(
            "{spectrograms} spectrograms of {}",
            kept.reader().example()
        )],
        columns: kept.reader().input().cells(),
        constant: Vec::new(),
        learning: Some(Learning {
            layers: layers(config, classes)?,
            decisions: decisions(&windowed, &truth),
            ..learning(&fitted)
        }),
        ..report
    };
    publish(run, &report)?;
    Ok(report)
}

/// The learning curves, with notes on them.
fn learning(fitted: &Fitted) -> Learning {
    let history = &fitted.history;
    let curve =
        |value: &dyn Fn(&EpochFigures) -> f64| -> Vec<f64> { history.iter().map(value).collect() };
    let loss = [
        curve(&|epoch| epoch.train_loss),
        curve(&|epoch| epoch.validation_loss),
    ];
    let accuracy = [
        curve(&|epoch| epoch.train_accuracy),
        curve(&EpochFigures::validation_accuracy),
    ];
    // The epoch of smallest validation loss, which may differ from that of the chosen weights.
    let least = argmax(loss[1].iter().map(|loss| -loss));
    let mut notes = vec![format!(
        "The weights are those of epoch {} of {}, which has the best validation accuracy. The validation loss is smallest \
         after epoch {}.",
        fitted.best + 1,
        history.len(),
        least + 1
    )];
    if let (Some(last), Some(first)) = (history.last(), history.get(least)) {
        let gap = 100.0 * (last.train_accuracy - last.validation_accuracy());
        notes.push(format!(
            "At the end the accuracies of training and validation differ by {gap:.1} points."
        ));
        if last.validation_loss > OVERFITTED * first.validation_loss
            // If both losses rise, it is not overfitting.
            && last.train_loss < first.train_loss
        {
            notes.push(format!(
                "It overfits from epoch {} on: only the training loss still falls.",
                least + 2
            ));
        }
    }
    Learning {
        notes,
        loss,
        accuracy,
        ..Learning::default()
    }
}

/// The outputs of a run's network for a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkOutput {
    /// The probability of each class.
    Probabilities,
    /// The numbers of its inner layer, in which tracks of genres that it confuses are near each other.
    InnerLayer,
}

/// A run's network as a feature set.
pub struct RunNetwork {
    reader: ClipReader,
    net: FinishedStack,
    output: NetworkOutput,
    columns: Vec<String>,
    crops: usize,
    batch: usize,
}

impl RunNetwork {
    /// Loads the network of a finished run.
    pub fn of_run(
        run: &Path,
        config: &Config,
        device: DeviceChoice,
        output: NetworkOutput,
    ) -> Result<Self, LabError> {
        let classes = Report::read(run)?.classes;
        let (recipe, settings) = named(config)?;
        let device = device.resolve().map_err(TrainError::from)?;
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
        let net = match output {
            NetworkOutput::Probabilities => net.finished(),
            NetworkOutput::InnerLayer => net.inner(),
        };
        let net = net.map_err(TrainError::from)?;
        Ok(Self {
            reader: ClipReader::new(recipe, &settings)?,
            columns: match output {
                NetworkOutput::Probabilities => classes,
                NetworkOutput::InnerLayer => (0..net.stack().classes())
                    .map(|i| format!("inner_{i:03}"))
                    .collect(),
            },
            net,
            output,
            crops: settings.crops(),
            batch: settings.training.batch,
        })
    }
}

impl FeatureSet for RunNetwork {
    fn name(&self) -> &'static str {
        "network"
    }

    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn compute(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let decoded = self.reader.decode(file.path, file.info, stop)?;
        let cells = self.reader.example().cells();
        // The same crops as in the run's evaluation.
        let windows = [self.reader.evaluated(decoded.len() / cells)];
        let crops = self.crops;
        let load = |_: usize, window: usize, place: Option<f64>, to: &mut [f32]| {
            let at = window / crops * cells;
            self.reader.cut(&decoded[at..at + cells], window, place, to);
            Ok(())
        };
        let examples = RunExamples {
            class_of: &[],
            windows: &windows,
            load: &load,
        };
        let found = match self.output {
            NetworkOutput::Probabilities => examples.predict(&self.net, &[0], self.batch),
            NetworkOutput::InnerLayer => examples.inner(&self.net, &[0], self.batch),
        };
        found
            .map(|windows| mean(&windows[0]))
            .map_err(|error| error.to_string())
    }
}
