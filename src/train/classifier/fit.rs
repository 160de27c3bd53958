//! The epochs of a network that tells classes apart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::softmax::{cross_entropy, softmax};
use super::{ClassJudge, Schedule, Trainable, read_tensors};
use crate::base::random::Random;
use crate::base::vector::squared_norm;
use crate::base::{atomic_file, regular_file};
use crate::metrics::{argmax, confusion, macro_f1};
use crate::train::encoder::{AdamW, AdamWOptions, TrainError, cosine, write_safetensors};

/// Name of the checkpoint in a run's folder: all that is needed to go on.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the weights that were best on the validation part.
const BEST: &str = "best.safetensors";
/// Layout of a checkpoint.
const FORMAT: u32 = 1;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassNetOptions {
    /// Folder of the run.
    pub folder: PathBuf,
    /// Times that every example is learnt from.
    pub epochs: usize,
    /// Examples of a step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// How it goes on.
    pub schedule: Schedule,
    /// Decoupled weight decay of matrices and kernels.
    pub weight_decay: f32,
    /// Longest gradient; 0: any.
    pub clip: f64,
    /// Epochs without a better one that end the training; 0: none.
    pub patience: usize,
    /// Seed of order.
    pub seed: u64,
    /// Time between checkpoints inside an epoch.
    pub checkpoint_every: Duration,
}

/// Reads a spectrogram, by its track and its number there, to where it is wanted.
pub type LoadExample<'a> = dyn Fn(usize, usize, &mut [f32]) -> Result<(), TrainError> + Sync + 'a;

/// Tracks with their spectrograms.
#[derive(Clone, Copy)]
pub struct TrackExamples<'a> {
    /// The class of each track.
    pub class_of: &'a [usize],
    /// How many spectrograms each track has.
    pub windows: &'a [usize],
    /// Tracks to learn from.
    pub training: &'a [usize],
    /// Tracks to choose the best epoch by.
    pub validation: &'a [usize],
    /// Reads one spectrogram of a track.
    pub load: &'a LoadExample<'a>,
}

/// What an epoch came to. Losses and accuracies of training are those of single spectrograms on the way, of validation
/// those of whole tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochFigures {
    /// Its number, from 1.
    pub epoch: usize,
    /// Steps so far.
    pub step: u64,
    /// Seconds so far, over all sessions.
    pub seconds: f64,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Mean loss.
    pub train_loss: f64,
    /// Share named rightly.
    pub train_accuracy: f64,
    /// Mean loss.
    pub validation_loss: f64,
    /// Tracks named rightly.
    pub validation_right: usize,
    /// Tracks asked about.
    pub validation_tracks: usize,
    /// Mean F1 over classes.
    pub validation_f1: f64,
    /// Mean length of the gradient.
    pub gradient_norm: f64,
}

impl EpochFigures {
    /// Share of the validation tracks that were named rightly.
    pub fn validation_accuracy(&self) -> f64 {
        self.validation_right as f64 / self.validation_tracks.max(1) as f64
    }
}

/// How far a training is; given after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassNetProgress {
    /// The epoch in hand, from 1.
    pub epoch: usize,
    /// Share of all steps that are done.
    pub share: f64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Seconds to the end at the speed of this session.
    pub seconds_left: f64,
}

/// A finished training. The best epoch's weights are in `best.safetensors`, and in the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Every epoch.
    pub history: Vec<EpochFigures>,
    /// Place of the best one in it: that with most validation tracks right, the first of equals.
    pub best: usize,
}

/// How far a training had got when it was last written down.
#[derive(Serialize, Deserialize)]
struct Standing {
    format: u32,
    /// Examples of an epoch.
    examples: usize,
    /// Epochs that are done.
    epoch: usize,
    /// Examples of the epoch in hand that are done.
    done: usize,
    step: u64,
    /// Sums over the epoch in hand: loss and gradients' lengths, as bits, and right answers.
    sums: [u64; 2],
    right: usize,
    seconds: f64,
    history: Vec<EpochFigures>,
}

impl Standing {
    fn best(&self) -> usize {
        argmax(self.history.iter().map(|epoch| epoch.validation_right))
    }

    fn add(&mut self, which: usize, value: f64) {
        self.sums[which] = (f64::from_bits(self.sums[which]) + value).to_bits();
    }
}

/// Trains until the last epoch, or until none has been better for a while.
///
/// The same options, examples and instruction set give the same weights, however often it was interrupted and however
/// many threads there are. Runs on rayon's current pool.
///
/// - `progress`: `false` stops after a checkpoint
/// - returns: nothing where it was stopped
pub fn fit(
    net: &mut dyn Trainable,
    options: &ClassNetOptions,
    examples: TrackExamples<'_>,
    progress: &mut dyn FnMut(&ClassNetProgress) -> bool,
) -> Result<Option<Fitted>, TrainError> {
    let all: Vec<(usize, usize)> = examples
        .training
        .iter()
        .flat_map(|&track| (0..examples.windows[track]).map(move |window| (track, window)))
        .collect();
    if all.is_empty() || examples.validation.is_empty() {
        return Err(TrainError::Options(format!(
            "a network needs tracks to learn from and tracks to choose the best epoch by, found {} and {}",
            examples.training.len(),
            examples.validation.len()
        )));
    }
    let mut training = Loop::new(net, options, examples, all)?;
    if !training.run(progress)? {
        return Ok(None);
    }
    let standing = training.standing;
    let best = options.folder.join(BEST);
    let mut tensors = read_tensors(&best)?;
    net.restore(&mut |name| tensors.remove(name)).map_err(|why| TrainError::checkpoint(&best, why))?;
    Ok(Some(Fitted { best: standing.best(), history: standing.history }))
}

/// Probability of each class for tracks: the mean of their spectrograms'.
///
/// - returns: a row for each of `tracks`
pub fn said(
    net: &dyn ClassJudge,
    examples: TrackExamples<'_>,
    tracks: &[usize],
    batch: usize,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let classes = net.classes();
    let mut rows = vec![vec![0.0; classes]; tracks.len()];
    let all: Vec<(usize, usize)> = (0..tracks.len())
        .flat_map(|row| (0..examples.windows[tracks[row]]).map(move |window| (row, window)))
        .collect();
    let mut x = Vec::new();
    for part in all.chunks(batch.max(1)) {
        let wanted: Vec<(usize, usize)> = part.iter().map(|&(row, window)| (tracks[row], window)).collect();
        load(net.cells(), examples, &wanted, &mut x)?;
        let logits = net.logits(&x, part.len())?;
        for (&(row, _), logits) in part.iter().zip(logits.chunks_exact(classes)) {
            let share = 1.0 / examples.windows[tracks[row]] as f32;
            rows[row].iter_mut().zip(softmax(logits)).for_each(|(sum, p)| *sum += share * p);
        }
    }
    Ok(rows)
}

/// Spectrograms, one behind the other.
fn load(
    cells: usize,
    examples: TrackExamples<'_>,
    wanted: &[(usize, usize)],
    x: &mut Vec<f32>,
) -> Result<(), TrainError> {
    x.resize(wanted.len() * cells, 0.0);
    let places = x.par_chunks_exact_mut(cells).zip(wanted);
    places.try_for_each(|(to, &(track, window))| (examples.load)(track, window, to))
}

struct Loop<'a> {
    net: &'a mut dyn Trainable,
    options: &'a ClassNetOptions,
    examples: TrackExamples<'a>,
    /// Track and spectrogram.
    all: Vec<(usize, usize)>,
    adam: Vec<AdamW>,
    standing: Standing,
    x: Vec<f32>,
    gradient: Vec<f32>,
}

impl<'a> Loop<'a> {
    /// From the beginning, or from what the folder's checkpoint says.
    fn new(
        net: &'a mut dyn Trainable,
        options: &'a ClassNetOptions,
        examples: TrackExamples<'a>,
        all: Vec<(usize, usize)>,
    ) -> Result<Self, TrainError> {
        let mut adam = Vec::new();
        net.each_block(&mut |parameters, _, _| {
            adam.push(AdamW::new(parameters.len(), AdamWOptions::default()));
        });
        let standing = Standing {
            format: FORMAT,
            examples: all.len(),
            epoch: 0,
            done: 0,
            step: 0,
            sums: [0; 2],
            right: 0,
            seconds: 0.0,
            history: Vec::new(),
        };
        let mut own =
            Self { net, options, examples, all, adam, standing, x: Vec::new(), gradient: Vec::new() };
        let path = options.folder.join(CHECKPOINT);
        if path.exists() {
            own.resume(&path)?;
        }
        Ok(own)
    }

    fn resume(&mut self, path: &Path) -> Result<(), TrainError> {
        let bad = |reason: String| TrainError::checkpoint(path, reason);
        let standing: Standing =
            serde_json::from_str(&header(path)?).map_err(|error| bad(format!("is damaged ({error})")))?;
        let is_of_it = standing.format == FORMAT && standing.examples == self.all.len();
        if !is_of_it || standing.done > self.all.len() || standing.history.len() != standing.epoch {
            let (found, expected) = (standing.examples, self.all.len());
            return Err(bad(format!("is of a training on {found} spectrograms, expected {expected}")));
        }
        let mut tensors = read_tensors(path)?;
        for (number, adam) in self.adam.iter_mut().enumerate() {
            for (name, to) in [("mean", &mut adam.mean), ("square", &mut adam.square)] {
                let name = format!("adam.{number}.{name}");
                match tensors.remove(&name) {
                    Some(values) if values.len() == to.len() => *to = values,
                    _ => return Err(bad(format!("tensor \"{name}\" is missing or does not fit"))),
                }
            }
            adam.steps = standing.step;
        }
        self.net.restore(&mut |name| tensors.remove(&format!("net.{name}"))).map_err(bad)?;
        self.standing = standing;
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        let path = self.options.folder.join(CHECKPOINT);
        let mut tensors: Vec<_> = self
            .net
            .tensors()
            .into_iter()
            .map(|(name, shape, values)| stored(format!("net.{name}"), shape, &values))
            .collect();
        for (number, adam) in self.adam.iter().enumerate() {
            for (name, values) in [("mean", &adam.mean), ("square", &adam.square)] {
                tensors.push(stored(format!("adam.{number}.{name}"), vec![values.len()], values));
            }
        }
        let standing =
            serde_json::to_string(&self.standing).map_err(|error| TrainError::checkpoint(&path, error))?;
        let header = HashMap::from([("standing".to_owned(), standing)]);
        write_safetensors(&path, &tensors, header).map_err(|error| TrainError::checkpoint(&path, error))
    }

    fn steps_of_epoch(&self) -> usize {
        self.all.len().div_ceil(self.options.batch)
    }

    fn share(&self) -> f64 {
        self.standing.step as f64 / (self.options.epochs * self.steps_of_epoch()).max(1) as f64
    }

    fn rate(&self) -> f64 {
        match self.options.schedule {
            Schedule::Constant => self.options.rate,
            Schedule::Cosine => {
                cosine(self.options.rate, self.share(), 1.0 / self.options.epochs.max(2) as f64)
            }
        }
    }

    /// Whether the epochs are done.
    fn is_finished(&self) -> bool {
        let (options, standing) = (self.options, &self.standing);
        let waited = standing.epoch.saturating_sub(standing.best() + 1);
        standing.epoch >= options.epochs
            || (options.patience > 0 && standing.epoch > 0 && waited >= options.patience)
    }

    /// - returns: whether it came to its end
    fn run(&mut self, progress: &mut dyn FnMut(&ClassNetProgress) -> bool) -> Result<bool, TrainError> {
        let (clock, before, first) = (Instant::now(), self.standing.seconds, self.standing.step);
        let mut saved = Instant::now();
        while !self.is_finished() {
            let mut order: Vec<usize> = (0..self.all.len()).collect();
            let epoch = self.standing.epoch as u64;
            Random::stream(self.options.seed, 0xe9_0c11 ^ (epoch << 24)).shuffle(&mut order);
            let mut rate = self.rate();
            while self.standing.done < order.len() {
                let end = (self.standing.done + self.options.batch).min(order.len());
                let batch: Vec<(usize, usize)> =
                    order[self.standing.done..end].iter().map(|&at| self.all[at]).collect();
                rate = self.rate();
                self.step(&batch, rate as f32)?;
                self.standing.done = end;
                self.standing.seconds = before + clock.elapsed().as_secs_f64();
                let per_step = clock.elapsed().as_secs_f64() / (self.standing.step - first).max(1) as f64;
                let all = (self.options.epochs * self.steps_of_epoch()) as f64;
                let now = ClassNetProgress {
                    epoch: self.standing.epoch + 1,
                    share: self.share(),
                    loss: f64::from_bits(self.standing.sums[0]) / end as f64,
                    seconds_left: per_step * (all - self.standing.step as f64).max(0.0),
                };
                let goes_on = progress(&now);
                if !goes_on || saved.elapsed() >= self.options.checkpoint_every {
                    self.save()?;
                    saved = Instant::now();
                }
                if !goes_on {
                    return Ok(false);
                }
            }
            self.end_epoch(rate)?;
            saved = Instant::now();
        }
        Ok(true)
    }

    /// One step of the optimiser.
    fn step(&mut self, batch: &[(usize, usize)], rate: f32) -> Result<(), TrainError> {
        load(self.net.cells(), self.examples, batch, &mut self.x)?;
        let logits = self.net.forward(&self.x, batch.len(), self.standing.step)?;
        let truth: Vec<usize> = batch.iter().map(|(track, _)| self.examples.class_of[*track]).collect();
        let (loss, right) = cross_entropy(&logits, &truth, self.net.classes(), &mut self.gradient);
        self.net.backward(&self.gradient)?;
        let mut square = 0.0;
        self.net.each_block(&mut |_, gradients, _| square += squared_norm(gradients));
        let length = square.sqrt();
        if !(loss + length).is_finite() {
            let mean = (loss / batch.len() as f64) as f32;
            return Err(TrainError::Diverged { step: self.standing.step, loss: mean });
        }
        let clip = self.options.clip;
        let scale = if clip > 0.0 { (clip / length.max(1e-12)).min(1.0) as f32 } else { 1.0 };
        let (mut number, decay, adam) = (0, self.options.weight_decay, &mut self.adam);
        self.net.each_block(&mut |parameters, gradients, decays| {
            let decay: Vec<f32> = decays.iter().map(|&decays| if decays { decay } else { 0.0 }).collect();
            adam[number].step(parameters, gradients, rate, scale, &decay);
            number += 1;
        });
        self.standing.step += 1;
        self.standing.right += right;
        self.standing.add(0, loss);
        self.standing.add(1, length);
        Ok(())
    }

    /// Asks about the validation part, and writes down what the epoch came to.
    fn end_epoch(&mut self, rate: f64) -> Result<(), TrainError> {
        let validation = self.examples.validation;
        let rows = said(&*self.net.finished()?, self.examples, validation, self.options.batch)?;
        let truth: Vec<usize> = validation.iter().map(|&track| self.examples.class_of[track]).collect();
        let answers: Vec<usize> = rows.iter().map(argmax).collect();
        let losses = rows.iter().zip(&truth).map(|(p, &truth)| -f64::from(p[truth].max(1e-15)).ln());
        let standing = &mut self.standing;
        let [loss, length] = standing.sums.map(f64::from_bits);
        let steps = self.all.len().div_ceil(self.options.batch) as f64;
        standing.epoch += 1;
        standing.history.push(EpochFigures {
            epoch: standing.epoch,
            step: standing.step,
            seconds: standing.seconds,
            rate,
            train_loss: loss / self.all.len() as f64,
            train_accuracy: standing.right as f64 / self.all.len() as f64,
            validation_loss: losses.sum::<f64>() / truth.len() as f64,
            validation_right: answers.iter().zip(&truth).filter(|(a, b)| a == b).count(),
            validation_tracks: truth.len(),
            validation_f1: macro_f1(&confusion(&truth, &answers, self.net.classes())),
            gradient_norm: length / steps,
        });
        (standing.done, standing.right, standing.sums) = (0, 0, [0; 2]);
        if standing.best() + 1 == standing.epoch {
            let path = self.options.folder.join(BEST);
            let tensors: Vec<_> =
                self.net.tensors().into_iter().map(|(name, shape, v)| stored(name, shape, &v)).collect();
            write_safetensors(&path, &tensors, HashMap::new())
                .map_err(|error| TrainError::checkpoint(&path, error))?;
        }
        let path = self.options.folder.join("metrics.csv");
        atomic_file::write(&path, table(&self.standing.history)).map_err(TrainError::io(&path))?;
        // Last: what is older than its checkpoint is done again.
        self.save()
    }
}

/// Every epoch as a line.
fn table(history: &[EpochFigures]) -> String {
    let header = "epoch,step,seconds,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,validation_f1,\
                  gradient_norm\n";
    let lines = history.iter().map(|one| {
        format!(
            "{},{},{:.1},{:.3e},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6}\n",
            one.epoch,
            one.step,
            one.seconds,
            one.rate,
            one.train_loss,
            one.train_accuracy,
            one.validation_loss,
            one.validation_accuracy(),
            one.validation_f1,
            one.gradient_norm
        )
    });
    lines.fold(header.to_owned(), |text, line| text + &line)
}

fn stored(name: String, shape: Vec<usize>, values: &[f32]) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    (name, Dtype::F32, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// What a checkpoint says of itself.
fn header(path: &Path) -> Result<String, TrainError> {
    let bytes = regular_file::read(path, 4 << 30).map_err(TrainError::io(path))?;
    let bad = |reason: String| TrainError::checkpoint(path, reason);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string()))?;
    let standing = header.metadata().as_ref().and_then(|words| words.get("standing")).cloned();
    standing.ok_or_else(|| bad("is no checkpoint of a network's training".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{DeviceChoice, Stack, StackShape};
    use crate::train::classifier::LayerNet;

    const CELLS: usize = 6;

    fn net(classes: usize) -> LayerNet {
        let layers = ["linear 16", "relu", "dropout 0.1", "linear classes"];
        let stack = Stack::new(&layers, StackShape::Vector(CELLS), classes).unwrap();
        LayerNet::new(stack, 3, DeviceChoice::Cpu.resolve().unwrap())
    }

    fn options(folder: &Path) -> ClassNetOptions {
        ClassNetOptions {
            folder: folder.to_owned(),
            epochs: 8,
            batch: 7,
            rate: 2e-2,
            schedule: Schedule::Cosine,
            weight_decay: 1e-3,
            clip: 5.0,
            patience: 0,
            seed: 4,
            checkpoint_every: Duration::from_hours(1),
        }
    }

    /// Three classes around centres of their own, 30 tracks of one to three examples.
    #[expect(clippy::unnecessary_wraps, reason = "what reads a file may fail")]
    fn example(track: usize, window: usize, to: &mut [f32]) -> Result<(), TrainError> {
        let mut random = Random::stream(track as u64, window as u64);
        for (place, x) in to.iter_mut().enumerate() {
            *x = (if place % 3 == track % 3 { 2.0 } else { 0.0 }) + 0.5 * random.normal() as f32;
        }
        Ok(())
    }

    /// - `stop_at`: steps of each session
    fn trained(folder: &Path, options: &ClassNetOptions, stop_at: usize) -> (usize, Fitted) {
        let class_of: Vec<usize> = (0..30).map(|track| track % 3).collect();
        let windows: Vec<usize> = (0..30).map(|track| 1 + track % 3).collect();
        let (training, validation): (Vec<usize>, Vec<usize>) = (0..30).partition(|track| track % 5 > 0);
        let examples = TrackExamples {
            class_of: &class_of,
            windows: &windows,
            training: &training,
            validation: &validation,
            load: &example,
        };
        let mut sessions = 0;
        loop {
            sessions += 1;
            let mut steps = 0;
            let mut net = net(3);
            let found = fit(&mut net, options, examples, &mut |_| {
                steps += 1;
                steps < stop_at
            });
            if let Some(fitted) = found.unwrap() {
                assert!(folder.join("metrics.csv").exists());
                let rows = said(&*net.finished().unwrap(), examples, &validation, 4).unwrap();
                let right = rows.iter().zip(&validation).filter(|(p, track)| argmax(*p) == class_of[**track]);
                assert_eq!(right.count(), fitted.history[fitted.best].validation_right);
                assert!(rows.iter().all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-5));
                return (sessions, fitted);
            }
        }
    }

    #[test]
    fn classes_that_lie_apart_are_learnt_and_however_often_it_stops_the_bits_are_the_same() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let bytes = |at: usize| std::fs::read(folders[at].path().join(BEST)).unwrap();
        let (sessions, whole) = trained(folders[0].path(), &options(folders[0].path()), usize::MAX);
        let last = whole.history.last().unwrap();
        assert!((sessions, last.epoch, last.validation_right) == (1, 8, 6), "{last:?}");
        assert!(last.train_loss < 0.5 * whole.history[0].train_loss, "{:?}", whole.history);
        let best = whole.history.iter().map(|epoch| epoch.validation_right).max().unwrap();
        let first = whole.history.iter().position(|epoch| epoch.validation_right == best);
        assert_eq!(first, Some(whole.best));
        let (sessions, cut) = trained(folders[1].path(), &options(folders[1].path()), 5);
        assert!(sessions > 10 && bytes(0) == bytes(1));
        let figures = |fitted: &Fitted| -> Vec<(u64, f64, usize)> {
            fitted.history.iter().map(|one| (one.step, one.train_accuracy, one.validation_right)).collect()
        };
        assert_eq!(figures(&whole), figures(&cut));
        let threads = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        threads.install(|| trained(folders[2].path(), &options(folders[2].path()), usize::MAX));
        assert_eq!(bytes(0), bytes(2));
    }

    #[test]
    fn it_stops_when_no_epoch_is_better_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let options = ClassNetOptions { epochs: 100, patience: 3, ..options(folder.path()) };
        let (_, fitted) = trained(folder.path(), &options, usize::MAX);
        assert_eq!(fitted.history.len(), fitted.best + 1 + 3);
        let text = std::fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
        assert_eq!(text.lines().count(), 1 + fitted.history.len());
        assert!(text.starts_with("epoch,step,seconds,rate,train_loss,train_accuracy,validation_loss,"));
    }

    #[test]
    fn checkpoints_of_other_data_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT);
        trained(folder.path(), &options(folder.path()), usize::MAX);
        let whole = std::fs::read(&path).unwrap();
        let refused = |windows: &[usize]| {
            let examples = TrackExamples {
                class_of: &[0, 1, 2],
                windows,
                training: &[0, 1],
                validation: &[2],
                load: &example,
            };
            fit(&mut net(3), &options(folder.path()), examples, &mut |_| true).unwrap_err().to_string()
        };
        assert!(refused(&[1, 1, 1]).contains("is of a training on 48 spectrograms, expected 2"));
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(refused(&[24, 24, 1]).contains("checkpoint.safetensors"));
    }
}
