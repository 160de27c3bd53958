//! The epochs of a network that tells classes apart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::batch::{ClassBatch, class_weights};
use super::softmax::{cross_entropy, softmax};
use super::{ClassJudge, ClassTraining, Trainable, read_tensors};
use crate::base::random::Random;
use crate::base::vector::squared_norm;
use crate::base::{atomic_file, regular_file};
use crate::metrics::{argmax, confusion, macro_f1};
use crate::train::encoder::{AdamW, AdamWOptions, TrainError, write_safetensors};

/// Name of the checkpoint in a run's folder: all that is needed to go on.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the weights that were best on the validation part.
const BEST: &str = "best.safetensors";
/// Layout of a checkpoint.
const FORMAT: u32 = 1;

/// Where and how a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassNetOptions {
    /// Folder of the training.
    pub folder: PathBuf,
    /// How it is trained.
    pub training: ClassTraining,
    /// Bands and frames of an example, where it has some.
    pub image: Option<[usize; 2]>,
    /// Seed of order and of what is done to examples.
    pub seed: u64,
    /// Time between checkpoints inside an epoch.
    pub checkpoint_every: Duration,
}

/// Reads an example, by its track and its number there, to where it is wanted. In training it is told a place from 0 to 1
/// where something is to be cut out.
pub type LoadExample<'a> =
    dyn Fn(usize, usize, Option<f64>, &mut [f32]) -> Result<(), TrainError> + Sync + 'a;

/// Tracks with their spectrograms.
#[derive(Clone, Copy)]
pub struct TrackExamples<'a> {
    /// The class of each track.
    pub class_of: &'a [usize],
    /// How many examples each track is judged by: its first ones.
    pub windows: &'a [usize],
    /// How often it has as many more to learn from, which are changed copies of those.
    pub copies: usize,
    /// Tracks to learn from.
    pub training: &'a [usize],
    /// Tracks to choose the best epoch by.
    pub validation: &'a [usize],
    /// Reads one example of a track.
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
        .flat_map(|&track| {
            let count = examples.windows[track] * (1 + examples.copies);
            (0..count).map(move |window| (track, window))
        })
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
        load(net.cells(), examples, &wanted, None, &mut x)?;
        let logits = net.logits(&x, part.len())?;
        for (&(row, _), logits) in part.iter().zip(logits.chunks_exact(classes)) {
            let share = 1.0 / examples.windows[tracks[row]] as f32;
            rows[row].iter_mut().zip(softmax(logits)).for_each(|(sum, p)| *sum += share * p);
        }
    }
    Ok(rows)
}

/// Examples, one behind the other.
///
/// - `drawn`: where places are drawn from in training
fn load(
    cells: usize,
    examples: TrackExamples<'_>,
    wanted: &[(usize, usize)],
    drawn: Option<&mut Random>,
    x: &mut Vec<f32>,
) -> Result<(), TrainError> {
    x.resize(wanted.len() * cells, 0.0);
    let places: Vec<Option<f64>> = match drawn {
        Some(random) => wanted.iter().map(|_| Some(random.f64())).collect(),
        None => vec![None; wanted.len()],
    };
    let rows = x.par_chunks_exact_mut(cells).zip(wanted).zip(places);
    rows.try_for_each(|((to, &(track, window)), place)| (examples.load)(track, window, place, to))
}

struct Loop<'a> {
    net: &'a mut dyn Trainable,
    options: &'a ClassNetOptions,
    examples: TrackExamples<'a>,
    /// Track and spectrogram.
    all: Vec<(usize, usize)>,
    /// How much each class counts.
    weights: Vec<f32>,
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
        let training = &options.training;
        let settings = AdamWOptions { epsilon: training.epsilon as f32, ..AdamWOptions::default() };
        let mut adam = Vec::new();
        net.each_block(&mut |parameters, _, _| adam.push(AdamW::new(parameters.len(), settings)));
        let truth = all.iter().map(|(track, _)| examples.class_of[*track]);
        let weights = class_weights(training.class_weights, truth, net.classes());
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
        let mut own = Self {
            net,
            options,
            examples,
            all,
            weights,
            adam,
            standing,
            x: Vec::new(),
            gradient: Vec::new(),
        };
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
        self.all.len().div_ceil(self.options.training.batch)
    }

    fn share(&self) -> f64 {
        self.standing.step as f64 / (self.options.training.epochs * self.steps_of_epoch()).max(1) as f64
    }

    fn rate(&self) -> f64 {
        let losses = self.standing.history.iter().map(|epoch| epoch.validation_loss);
        self.options.training.rate_at(self.share(), losses)
    }

    /// Whether the epochs are done.
    fn is_finished(&self) -> bool {
        let (training, standing) = (&self.options.training, &self.standing);
        let waited = standing.epoch.saturating_sub(standing.best() + 1);
        standing.epoch >= training.epochs
            || (training.patience > 0 && standing.epoch > 0 && waited >= training.patience)
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
                let end = (self.standing.done + self.options.training.batch).min(order.len());
                let batch: Vec<(usize, usize)> =
                    order[self.standing.done..end].iter().map(|&at| self.all[at]).collect();
                rate = self.rate();
                self.step(&batch, rate as f32)?;
                self.standing.done = end;
                self.standing.seconds = before + clock.elapsed().as_secs_f64();
                let per_step = clock.elapsed().as_secs_f64() / (self.standing.step - first).max(1) as f64;
                let all = (self.options.training.epochs * self.steps_of_epoch()) as f64;
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
        let (training, classes) = (self.options.training, self.net.classes());
        let mut random = Random::stream(self.options.seed ^ 0x7a9_5e0d, self.standing.step);
        load(self.net.cells(), self.examples, batch, Some(&mut random), &mut self.x)?;
        let truth: Vec<usize> = batch.iter().map(|(track, _)| self.examples.class_of[*track]).collect();
        let mut asked = ClassBatch::new(&mut self.x, &truth, &self.weights, training.label_smoothing);
        asked.vary(&training, self.options.image, &mut random);
        let wanted = asked.wanted;
        let logits = self.net.forward(&self.x, batch.len(), self.standing.step)?;
        let (loss, right) = cross_entropy(&logits, &wanted, classes, &mut self.gradient);
        self.net.backward(&self.gradient)?;
        let l2 = training.l2;
        let mut square = 0.0;
        self.net.each_block(&mut |parameters, gradients, decays| {
            square += squared_norm(&pulled(parameters, gradients, decays, l2));
        });
        let length = square.sqrt();
        if !(loss + length).is_finite() {
            let mean = (loss / batch.len() as f64) as f32;
            return Err(TrainError::Diverged { step: self.standing.step, loss: mean });
        }
        let clip = training.clip;
        let scale = if clip > 0.0 { (clip / length.max(1e-12)).min(1.0) as f32 } else { 1.0 };
        let (mut number, decay, adam) = (0, training.weight_decay as f32, &mut self.adam);
        self.net.each_block(&mut |parameters, gradients, decays| {
            let decay: Vec<f32> = decays.iter().map(|&decays| if decays { decay } else { 0.0 }).collect();
            let gradients = pulled(parameters, gradients, decays, l2);
            adam[number].step(parameters, &gradients, rate, scale, &decay);
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
        let rows = said(&*self.net.finished()?, self.examples, validation, self.options.training.batch)?;
        let truth: Vec<usize> = validation.iter().map(|&track| self.examples.class_of[track]).collect();
        let answers: Vec<usize> = rows.iter().map(argmax).collect();
        let losses = rows.iter().zip(&truth).map(|(p, &truth)| -f64::from(p[truth].max(1e-15)).ln());
        let standing = &mut self.standing;
        let [loss, length] = standing.sums.map(f64::from_bits);
        let steps = self.all.len().div_ceil(self.options.training.batch) as f64;
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

/// Gradients with those of `l2` times the sum of squares of what decays.
fn pulled<'a>(parameters: &[f32], gradients: &'a [f32], decays: &[bool], l2: f64) -> Cow<'a, [f32]> {
    if l2 == 0.0 {
        return Cow::Borrowed(gradients);
    }
    let pull = |p: &f32, decays: bool| if decays { 2.0 * l2 as f32 * p } else { 0.0 };
    parameters.iter().zip(gradients).zip(decays).map(|((p, g), decays)| g + pull(p, *decays)).collect()
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
mod tests;
