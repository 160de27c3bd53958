//! A run of a network: training, choice of the epoch on the validation part, one evaluation on the
//! test part, predictions.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clips::clip_config;
use super::examples::{RunExamples, WindowProbabilities, decisions, joined};
use super::forming::{WATCHED, WatchedTracks};
use super::occlusion::occlusion;
use super::{ClipReader, KeptSpectrograms, NetworkSettings};
use crate::LabError;
use crate::bench::Bench;
use crate::config::Config;
use crate::leak;
use crate::matrix::{FeatureSet, MatrixRow, SoundFile};
use crate::report::{Learning, Method, Report};
use crate::run::{Clock, Progress, RunInputs, TRIAL, among, digests, publish};
use voisin_base::random::Random;
use voisin_base::regular_file;
use voisin_base::text::count;
use voisin_encoder::{Device, DeviceChoice, ModelManifest, Stack, StackShape, keep_trained};
use voisin_learn::metrics::argmax;
use voisin_train::TrainError;
use voisin_train::classifier::{
    ClassNetOptions, ClassPredictor, ClassTraining, EpochFigures, Fitted, LayerNet, NetworkRecipe,
    RecipeInput, SpaceNet, SpaceStart, TrackExamples, Trainable, fit, places_file, read_tensors,
};

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
fn network(
    config: &Config,
    classes: usize,
    device: Device,
) -> Result<Box<dyn Trainable>, LabError> {
    let (recipe, settings) = named(config)?;
    // OpenL3's network, from a model or random weights; other recipes are stacks of layers.
    if recipe.input == RecipeInput::Windows {
        let model = settings.start();
        let start = SpaceStart::new(model.as_ref(), settings.width, config.seed)?;
        // random weights need no anchor
        let anchor = if model.is_some() {
            settings.training.anchor
        } else {
            0.0
        };
        let make = if settings.keeps_weights() {
            SpaceNet::layer
        } else {
            SpaceNet::whole
        };
        return Ok(Box::new(make(
            &start,
            classes,
            config.seed,
            device,
            anchor,
        )?));
    }
    let stack =
        Stack::new(&settings.layers, settings.input(&recipe), classes).map_err(TrainError::from)?;
    Ok(Box::new(LayerNet::new(
        stack,
        config.seed,
        settings.initialise,
        device,
    )))
}

/// The layers of a run's network, with their output and number of parameters.
pub fn layers(config: &Config, classes: usize) -> Result<Vec<(String, String, usize)>, LabError> {
    let (recipe, settings) = named(config)?;
    if recipe.input != RecipeInput::Windows {
        let stack = Stack::new(&settings.layers, settings.input(&recipe), classes);
        return Ok(stack.map_err(TrainError::from)?.summary());
    }
    let start = SpaceStart::new(settings.start().as_ref(), settings.width, config.seed)?;
    let mut found: Vec<(String, String, usize)> = Vec::new();
    // Weights are in the order of the layers, so the last shape gives the width of the next.
    let mut channels = 1;
    start.weights.for_each(|name, shape, values| {
        let (layer, part) = name.rsplit_once('.').unwrap_or((name, ""));
        // running statistics of batch norms are not parameters
        if part.starts_with("running_") {
            return;
        }
        channels = shape[0];
        let learnt = if settings.keeps_weights() {
            0
        } else {
            values.len()
        };
        match found.last_mut() {
            Some(last) if last.0 == layer => last.2 += learnt,
            _ => found.push((layer.to_owned(), format!("{channels} channels"), learnt)),
        }
    });
    if settings.keeps_weights() {
        let inputs = channels;
        channels = start.dimension();
        found.push((
            "projection".to_owned(),
            channels.to_string(),
            channels * (inputs + 1),
        ));
    }
    found.push((
        "head".to_owned(),
        classes.to_string(),
        classes * (channels + 1),
    ));
    Ok(found)
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
    let mut cost = given.cost;
    let bench = Bench::new(config, given.matrix)?;
    let (work, digest) = bench.begin_work(run, given.set)?;
    let rows = &bench.matrix.rows;
    // after the tracks of the split, those of the left-out class
    let everyone: Vec<&MatrixRow> = rows.iter().chain(&bench.left_out.0).collect();
    let counts = bench.matrix.values.column(0);
    let counts = counts.iter().chain(bench.left_out.1.column(0));
    let kept_of: Vec<usize> = counts.map(|count| *count as usize).collect();
    // The network's examples: several crops of each stored one.
    let windows: Vec<usize> = kept_of
        .iter()
        .map(|count| kept.reader().evaluated(*count))
        .collect();
    let load = |track: usize, window: usize, place: Option<f64>, to: &mut [f32]| match everyone
        [track]
        .content
    {
        Some(content) => kept.read(content, window, place, to),
        None => Err(TrainError::Options(format!(
            "expected audio for each track, found none for {}",
            everyone[track].item.key
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
    // a map of all tracks would be unreadable, and costly to record in every epoch
    let few = |mut tracks: Vec<usize>| {
        Random::stream(config.seed, 0x3a9).shuffle(&mut tracks);
        tracks.truncate(WATCHED);
        tracks
    };
    let (learnt, held_out) =
        fits.last()
            .map_or_else(Default::default, |(_, training, validation)| {
                (
                    few(training.clone()),
                    few([&validation[..], &test].concat()),
                )
            });
    // After the held-out tracks those of the left-out class, which has no number.
    let drawn = [held_out, few((rows.len()..everyone.len()).collect())].concat();
    let class_of = |track: &usize| bench.class_of.get(*track).copied();
    let watched = WatchedTracks {
        classes: &bench.classes,
        learnt: learnt.iter().filter_map(class_of).collect(),
        drawn: drawn.iter().map(class_of).collect(),
        left_out: &config.data.left_out,
        artists: bench.artists_by_class(learnt.iter().map(|&row| &rows[row])),
    };

    let clock = Clock::start();
    let decide = settings.training.decide;
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
            // only the last network, the run's, is mapped
            watched: if number + 1 < fits.len() || given.chosen_among == TRIAL {
                Vec::new()
            } else {
                [&learnt[..], &drawn].concat()
            },
        };
        let learning = TrackExamples {
            copies: settings.copies,
            ..examples.of(training, validation)
        };
        let fitted = fit(&mut *net, &options, learning, &mut |now| {
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
        let net = net.finished()?;
        if let Some(fold) = folds.get(number) {
            let predicted = examples.predict(&*net, &fold.test, settings.training.batch)?;
            answers.push(joined(&predicted, decide)?);
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
    cost.push(clock.cost("training the network"));

    let clock = Clock::start();
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
        windowed = examples.predict(&*net, &test, settings.training.batch)?;
        truth = test.iter().map(|&row| bench.class_of[row]).collect();
        predictions = Some(joined(&windowed, decide)?);
    }
    let otherwise = if config.data.folds > 0 {
        "folds"
    } else {
        "validation"
    };
    let figures = bench.conclude(
        run,
        given.set,
        (&folds, &answers),
        (&test, predictions),
        otherwise,
    )?;
    // on tracks that the network was not trained on
    let mut unseen = if test.is_empty() {
        fits.pop()
            .map_or_else(Vec::new, |(.., validation)| validation)
    } else {
        test
    };
    Random::stream(config.seed, 0x0cc1).shuffle(&mut unseen);
    let (importance, occlusion) = if given.chosen_among == TRIAL {
        (Vec::new(), None)
    } else {
        occlusion(&*net, examples, &unseen, kept.reader(), &settings.training)?
    };
    let forming = watched.forming(run, fitted.history.len(), fitted.best)?;
    cost.push(clock.cost("figures"));

    // The digest of the run covers the weights on disk.
    let best = run.join(BEST);
    let bytes = regular_file::read(&best, 4 << 30).map_err(LabError::io(&best))?;
    let method = Method {
        chosen: true,
        ..method
    };
    // Without decoding: near copies are found by features, which a network's run lacks.
    let mut leaks = leak::find_overlaps(rows, &bench.split);
    leaks.looked_for += " alone; `voisin dataset` decodes the nearest pairs to find more.";
    let digests = digests(config, given.set, digest, &bytes);
    let mut report = bench.report(
        given.set,
        vec![method],
        figures,
        importance,
        leaks,
        cost,
        digests,
        given.command,
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
            forming,
            occlusion,
            ..learning(&fitted, settings.training.within_error)
        }),
        ..report
    };
    publish(run, &report, &work)?;
    for epoch in 0..=fitted.history.len() {
        // positions of single epochs are only needed for the report
        let _ = std::fs::remove_file(places_file(run, epoch));
    }
    Ok(report)
}

/// The learning curves, with notes on them.
fn learning(fitted: &Fitted, within_error: bool) -> Learning {
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
        "The weights are those of epoch {} of {}, {}. The validation loss is smallest after epoch {}.",
        fitted.best + 1,
        history.len(),
        if within_error {
            "the earliest within one standard error of the best validation accuracy"
        } else {
            "which has the best validation accuracy"
        },
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

/// Exports the network of a finished run up to its inner layer as an embedding model, in which
/// tracks of genres that it confuses are near each other.
pub fn keep_model(run: &Path, name: &str, folder: &Path) -> Result<ModelManifest, LabError> {
    let config = Config::of_run(run)?;
    let report = Report::read(run)?;
    let unfit = |why: &str| {
        let recipe = &config.recipe;
        LabError::run(
            run,
            format!("its recipe is {recipe}: {why}; `classify --with RUN` takes any run"),
        )
    };
    let Some((recipe, settings)) = config.network() else {
        return Err(unfit(
            "expected a network, whose inner layer is a search vector",
        ));
    };
    // The encoder knows OpenL3's shape; a stack's layers are in the manifest.
    let network = match recipe.input {
        RecipeInput::Windows => None,
        RecipeInput::Clip(clip) => {
            let stack = Stack::new(
                &settings.layers,
                settings.input(&recipe),
                report.classes.len(),
            );
            let (layers, dimension) = stack.map_err(TrainError::from)?.inner();
            let seconds = if settings.crop > 0.0 {
                settings.crop
            } else {
                settings.seconds
            };
            Some((layers, clip_config(clip, seconds), dimension))
        }
        RecipeInput::Cepstrum => {
            return Err(unfit(
                "expected a network that takes spectrograms, not the mean of a whole track",
            ));
        }
    };
    let kept_layers = network
        .as_ref()
        .map_or(usize::MAX, |(layers, ..)| layers.len());
    let classes = report.classes.join(", ");
    let description = format!(
        "an embedding trained to predict {}: {classes}",
        report.data.label_name
    );
    let run_digest = report.digests.get("run").map_or("", String::as_str);
    // The licence of initial weights applies to the trained ones too.
    let start = settings.start().map(|model| match model.manifest() {
        Ok(card) => (format!("{}, {}", card.name, card.licence), card.licence),
        Err(_) => (model.to_string(), "unknown".to_owned()),
    });
    let begun = start
        .as_ref()
        .map_or_else(String::new, |(name, _)| format!("; started from {name}"));
    let provenance = format!(
        "trained by voisin on {} of {}{begun}; run {run_digest}",
        count(report.data.tracks as u64, "track"),
        report.data.source
    );
    let music: Vec<&str> = report.data.licences.keys().map(String::as_str).collect();
    let music = if music.is_empty() {
        "unknown".to_owned()
    } else {
        music.join(", ")
    };
    let licence = start.map_or_else(String::new, |(_, licence)| {
        format!("initial weights: {licence}; ")
    });
    let licence = format!("{licence}training music: {music}");
    let kept = keep_trained(
        &run.join(BEST),
        |tensor| match tensor
            .strip_prefix("layers.")
            .and_then(|rest| rest.split('.').next()?.parse().ok())
        {
            // the layers after the inner one, and the head, are not part of an embedding
            Some::<usize>(layer) => layer >= kept_layers,
            None => tensor.starts_with("head."),
        },
        network,
        name,
        [description, provenance, licence],
        folder,
    );
    Ok(kept.map_err(TrainError::from)?)
}

/// A run's network as a feature set, whose columns are the class probabilities.
pub struct NetworkProbabilities {
    reader: ClipReader,
    net: Box<dyn ClassPredictor>,
    classes: Vec<String>,
    crops: usize,
    training: ClassTraining,
}

impl NetworkProbabilities {
    /// Loads the network of a finished run.
    pub fn of_run(run: &Path, config: &Config, device: DeviceChoice) -> Result<Self, LabError> {
        let classes = Report::read(run)?.classes;
        let (recipe, settings) = named(config)?;
        let device = device.resolve().map_err(TrainError::from)?;
        let mut net = network(config, classes.len(), device)?;
        let path = run.join(BEST);
        let mut tensors = read_tensors(&path)?;
        net.restore(&mut |name| tensors.remove(name))
            .map_err(|problem| LabError::run(&path, problem))?;
        // augmented copies are used in training only
        let settings = NetworkSettings {
            copies: 0,
            ..settings.clone()
        };
        Ok(Self {
            reader: ClipReader::new(recipe, &settings)?,
            net: net.finished()?,
            classes,
            crops: settings.crops(),
            training: settings.training,
        })
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }
}

impl FeatureSet for NetworkProbabilities {
    fn name(&self) -> &'static str {
        "network"
    }

    fn columns(&self) -> Vec<String> {
        self.classes.clone()
    }

    fn compute(&self, file: &SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let decoded = self.reader.decode(file.path, file.info, stop)?;
        let cells = self.reader.example().cells();
        // The same crops and decision rule as in the run's evaluation.
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
        let found = examples.predict(&*self.net, &[0], self.training.batch);
        found
            .map(|windows| self.training.decide.join(&windows[0]))
            .map_err(|error| error.to_string())
    }
}
