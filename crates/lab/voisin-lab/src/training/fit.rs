//! Trains a classifying network, epoch by epoch.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::batch::{ClassBatch, class_weights};
use super::session::{
    BlockVisitor, CHECKPOINT, NamedTensor, Optimiser, read_state, read_tensors, write_state,
};
use super::softmax::{cross_entropy, softmax};
use super::{AdamWOptions, ClassTraining, TrainError};
use voisin_base::atomic_file;
use voisin_base::random::Random;
use voisin_encoder::{FinishedStack, StackTrain};
use voisin_genre::metrics::{argmax, confusion, macro_f1};

/// Key of the state in a checkpoint's header.
const KEY: &str = "standing";
/// Name of the weights that were best on the validation part.
const BEST: &str = "best.safetensors";
/// Layout of a checkpoint.
const FORMAT: u32 = 1;

/// Options of training a network.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassNetOptions {
    /// Folder of the training.
    pub folder: PathBuf,
    /// Settings of the training.
    pub training: ClassTraining,
    /// Bands and frames of an example that is a spectrogram.
    pub image: Option<[usize; 2]>,
    /// Seed of the order and of the augmentation.
    pub seed: u64,
    /// Time between checkpoints inside an epoch.
    pub checkpoint_every: Duration,
}

/// Reads an example into a buffer, by its track and its number there. In training it receives a
/// position from 0 to 1 at which to cut.
pub type LoadExample<'a> =
    dyn Fn(usize, usize, Option<f64>, &mut [f32]) -> Result<(), TrainError> + Sync + 'a;

/// Tracks with their spectrograms.
#[derive(Clone, Copy)]
pub struct TrackExamples<'a> {
    /// The class of each track.
    pub class_of: &'a [usize],
    /// The number of examples by which each track is evaluated, its first ones.
    pub windows: &'a [usize],
    /// Augmented copies of each example, used for training only.
    pub copies: usize,
    /// Tracks of the training set.
    pub training: &'a [usize],
    /// Tracks by which the best epoch is chosen.
    pub validation: &'a [usize],
    /// Reads one example of a track.
    pub load: &'a LoadExample<'a>,
}

/// Metrics of an epoch. Losses and accuracies of training are over single spectrograms during the
/// epoch, those of validation over whole tracks.
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
    /// Share of correct predictions.
    pub train_accuracy: f64,
    /// Mean loss.
    pub validation_loss: f64,
    /// Tracks predicted correctly.
    pub validation_right: usize,
    /// Tracks of the validation part.
    pub validation_tracks: usize,
    /// Mean F1 over classes.
    pub validation_f1: f64,
    /// Mean norm of the gradient.
    pub gradient_norm: f64,
}

impl EpochFigures {
    /// Share of validation tracks predicted correctly.
    pub fn validation_accuracy(&self) -> f64 {
        self.validation_right as f64 / self.validation_tracks.max(1) as f64
    }
}

/// Progress of a training, reported after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassNetProgress {
    /// The current epoch, from 1.
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
    /// Index in it of the epoch whose weights are kept: the first with the most correct validation
    /// tracks.
    pub best: usize,
}

/// State of a training in a checkpoint.
#[derive(Default, Serialize, Deserialize)]
struct NetworkCheckpoint {
    format: u32,
    /// Examples of an epoch.
    examples: usize,
    /// Epochs that are done.
    epoch: usize,
    /// Examples of the current epoch that are done.
    done: usize,
    step: u64,
    /// Sums over the current epoch: loss and gradients' norms, as bits, and correct predictions.
    sums: [u64; 2],
    right: usize,
    seconds: f64,
    history: Vec<EpochFigures>,
}

impl NetworkCheckpoint {
    fn best(&self) -> usize {
        // The first of equals: later epochs have to be better, not as good.
        argmax(self.history.iter().map(|epoch| epoch.validation_right))
    }

    fn add(&mut self, which: usize, value: f64) {
        // As bits, so that a resumed run adds to exactly the same sum.
        self.sums[which] = (f64::from_bits(self.sums[which]) + value).to_bits();
    }
}

/// Trains to the last epoch, or until none has been better for `patience` epochs.
///
/// The same options, examples and instruction set give bit-for-bit the same weights, for any
/// interruptions and number of threads. Runs on rayon's current pool.
///
/// - `progress`: `false` stops after a checkpoint
/// - returns: nothing if it was stopped
pub fn fit(
    net: &mut StackTrain,
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
            "expected tracks for training and for validation, found {} and {}",
            examples.training.len(),
            examples.validation.len()
        )));
    }
    let mut training = Loop::new(net, options, examples, all)?;
    let begun = Instant::now();
    let mut saved = Instant::now();
    while !training.is_finished() && progress(&training.step(&begun)?) {
        if saved.elapsed() >= options.checkpoint_every {
            training.save()?;
            saved = Instant::now();
        }
    }
    training.save()?;
    if !training.is_finished() {
        return Ok(None);
    }
    let standing = training.standing;
    let best = options.folder.join(BEST);
    let mut tensors = read_tensors(&best)?;
    // The network has the weights of the last epoch until here.
    net.restore(|name| tensors.remove(name))
        .map_err(|name| TrainError::checkpoint(&best, misfit(&name)))?;
    Ok(Some(Fitted {
        best: standing.best(),
        history: standing.history,
    }))
}

/// Predicts the probability of each class for each spectrogram of some tracks.
///
/// - returns: for each of `tracks`, a row for each spectrogram
pub fn predict(
    net: &FinishedStack,
    examples: TrackExamples<'_>,
    tracks: &[usize],
    batch: usize,
) -> Result<Vec<Vec<Vec<f32>>>, TrainError> {
    let mut rows = outputs(net, examples, tracks, batch)?;
    rows.iter_mut()
        .flatten()
        .for_each(|logits| *logits = softmax(logits));
    Ok(rows)
}

/// The outputs of a network for each spectrogram of some tracks: logits, or an inner layer's numbers.
///
/// - returns: for each of `tracks`, a row for each spectrogram
pub fn outputs(
    net: &FinishedStack,
    examples: TrackExamples<'_>,
    tracks: &[usize],
    batch: usize,
) -> Result<Vec<Vec<Vec<f32>>>, TrainError> {
    let mut rows = vec![Vec::new(); tracks.len()];
    let all: Vec<(usize, usize)> = (0..tracks.len())
        .flat_map(|row| (0..examples.windows[tracks[row]]).map(move |window| (row, window)))
        .collect();
    let cells = net.stack().input().cells();
    let mut x = Vec::new();
    // In batches across tracks, since a track may have a single window.
    for part in all.chunks(batch.max(1)) {
        let wanted: Vec<(usize, usize)> = part
            .iter()
            .map(|&(row, window)| (tracks[row], window))
            .collect();
        load(cells, examples, &wanted, None, &mut x)?;
        let found = net.evaluate(&x, part.len())?;
        for (&(row, _), output) in part.iter().zip(found.chunks_exact(net.stack().classes())) {
            rows[row].push(output.to_vec());
        }
    }
    Ok(rows)
}

/// Loads examples, concatenated.
///
/// - `drawn`: the source of random positions in training
fn load(
    cells: usize,
    examples: TrackExamples<'_>,
    wanted: &[(usize, usize)],
    drawn: Option<&mut Random>,
    x: &mut Vec<f32>,
) -> Result<(), TrainError> {
    x.resize(wanted.len() * cells, 0.0);
    let places: Vec<Option<f64>> = match drawn {
        // Drawn before the threads start, in the order of the batch, so that positions do not depend on threads.
        Some(random) => wanted.iter().map(|_| Some(random.f64())).collect(),
        None => vec![None; wanted.len()],
    };
    let rows = x.par_chunks_exact_mut(cells).zip(wanted).zip(places);
    rows.try_for_each(|((to, &(track, window)), place)| (examples.load)(track, window, place, to))
}

struct Loop<'a> {
    net: &'a mut StackTrain,
    options: &'a ClassNetOptions,
    examples: TrackExamples<'a>,
    /// Track and spectrogram.
    all: Vec<(usize, usize)>,
    /// The weight of each class.
    weights: Vec<f32>,
    optimiser: Optimiser,
    standing: NetworkCheckpoint,
    /// Steps and seconds before this session.
    begun: (u64, f64),
    /// The examples of the current epoch, in their order.
    order: Vec<usize>,
    x: Vec<f32>,
    gradient: Vec<f32>,
}

impl<'a> Loop<'a> {
    /// Starts from the beginning, or from the folder's checkpoint.
    fn new(
        net: &'a mut StackTrain,
        options: &'a ClassNetOptions,
        examples: TrackExamples<'a>,
        all: Vec<(usize, usize)>,
    ) -> Result<Self, TrainError> {
        let training = &options.training;
        let settings = AdamWOptions {
            epsilon: training.epsilon as f32,
            ..AdamWOptions::default()
        };
        let optimiser = Optimiser {
            decay: training.weight_decay as f32,
            l1: training.l1,
            l2: training.l2,
            clip: training.clip,
            ..Optimiser::new(settings, &mut |visit| each_block(net, visit))
        };
        let truth = all.iter().map(|(track, _)| examples.class_of[*track]);
        let weights = class_weights(training.class_weights, truth, net.stack().classes());
        let standing = NetworkCheckpoint {
            format: FORMAT,
            examples: all.len(),
            ..NetworkCheckpoint::default()
        };
        let mut session = Self {
            net,
            options,
            examples,
            all,
            weights,
            optimiser,
            standing,
            begun: (0, 0.0),
            order: Vec::new(),
            x: Vec::new(),
            gradient: Vec::new(),
        };
        let path = options.folder.join(CHECKPOINT);
        if path.exists() {
            session.resume(&path)?;
        }
        Ok(session)
    }

    fn resume(&mut self, path: &Path) -> Result<(), TrainError> {
        let bad = |reason: String| TrainError::checkpoint(path, reason);
        let (standing, mut tensors): (NetworkCheckpoint, _) =
            read_state(path, KEY, "a network's training")?;
        // The number of examples identifies the music: another corpus hardly has the same.
        let is_of_it = standing.format == FORMAT && standing.examples == self.all.len();
        if !is_of_it || standing.done > self.all.len() || standing.history.len() != standing.epoch {
            let found = standing.examples;
            let expected = self.all.len();
            return Err(bad(format!(
                "expected a training on {expected} spectrograms, found one on {found}"
            )));
        }
        for (number, adam) in self.optimiser.adam.iter_mut().enumerate() {
            for (name, to) in [("mean", &mut adam.mean), ("square", &mut adam.square)] {
                let name = format!("adam.{number}.{name}");
                match tensors.remove(&name) {
                    Some(values) if values.len() == to.len() => *to = values,
                    _ => return Err(bad(misfit(&name))),
                }
            }
            adam.steps = standing.step;
        }
        self.net
            .restore(|name| tensors.remove(&format!("net.{name}")))
            .map_err(|name| bad(misfit(&name)))?;
        (self.begun, self.standing) = ((standing.step, standing.seconds), standing);
        Ok(())
    }

    fn steps_of_epoch(&self) -> usize {
        self.all.len().div_ceil(self.options.training.batch)
    }

    fn share(&self) -> f64 {
        self.standing.step as f64
            / (self.options.training.epochs * self.steps_of_epoch()).max(1) as f64
    }

    /// Makes one step of the optimiser.
    fn learn(&mut self, rate: f32) -> Result<(), TrainError> {
        if self.order.is_empty() {
            self.order = (0..self.all.len()).collect();
            let epoch = self.standing.epoch as u64;
            // One stream for each epoch, and below one for each step, so that a resumed run draws the same numbers.
            Random::stream(self.options.seed, 0xe9_0c11 ^ (epoch << 24)).shuffle(&mut self.order);
        }
        let training = self.options.training;
        let classes = self.net.stack().classes();
        // The last batch of an epoch may be smaller.
        let end = (self.standing.done + training.batch).min(self.order.len());
        let batch: Vec<(usize, usize)> = self.order[self.standing.done..end]
            .iter()
            .map(|&at| self.all[at])
            .collect();
        let mut random = Random::stream(self.options.seed ^ 0x7a9_5e0d, self.standing.step);
        load(
            self.net.stack().input().cells(),
            self.examples,
            &batch,
            Some(&mut random),
            &mut self.x,
        )?;
        let truth: Vec<usize> = batch
            .iter()
            .map(|(track, _)| self.examples.class_of[*track])
            .collect();
        let mut class_batch =
            ClassBatch::new(&mut self.x, &truth, &self.weights, training.label_smoothing);
        class_batch.vary(&training, self.options.image, &mut random);
        let wanted = class_batch.wanted;
        let logits = self.net.forward(&self.x, batch.len(), self.standing.step)?;
        let (loss, right) = cross_entropy(&logits, &wanted, classes, &mut self.gradient);
        self.net.backward(&self.gradient)?;
        let at = (self.standing.step, (loss / batch.len() as f64) as f32);
        let length = self
            .optimiser
            .step(rate, at, &mut |visit| each_block(self.net, visit))?;
        self.standing.step += 1;
        self.standing.done = end;
        self.standing.right += right;
        self.standing.add(0, loss);
        self.standing.add(1, length);
        Ok(())
    }

    /// Evaluates the validation part, and writes the epoch's metrics.
    fn end_epoch(&mut self, rate: f64) -> Result<(), TrainError> {
        let validation = self.examples.validation;
        let training = &self.options.training;
        let net = self.net.finished()?;
        let windows = predict(&net, self.examples, validation, training.batch)?;
        let rows: Vec<Vec<f32>> = windows.iter().map(|windows| mean(windows)).collect();
        let truth: Vec<usize> = validation
            .iter()
            .map(|&track| self.examples.class_of[track])
            .collect();
        let answers: Vec<usize> = rows.iter().map(argmax).collect();
        let losses = rows
            .iter()
            .zip(&truth)
            .map(|(p, &truth)| -f64::from(p[truth].max(1e-15)).ln());
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
            validation_f1: macro_f1(&confusion(&truth, &answers, self.net.stack().classes())),
            gradient_norm: length / steps,
        });
        (standing.done, standing.right, standing.sums) = (0, 0, [0; 2]);
        self.order.clear();
        let standing = &self.standing;
        // The epoch that has just ended is the best so far.
        if standing.best() + 1 == standing.epoch {
            write_state(
                &self.options.folder.join(BEST),
                None::<(&str, &NetworkCheckpoint)>,
                tensors_of(self.net),
            )?;
        }
        let path = self.options.folder.join("metrics.csv");
        atomic_file::write(&path, table(&self.standing.history)).map_err(TrainError::io(&path))?;
        // Last, since a resumed run repeats all that follows the checkpoint.
        self.save()
    }

    fn is_finished(&self) -> bool {
        let training = &self.options.training;
        let standing = &self.standing;
        let waited = standing.epoch.saturating_sub(standing.best() + 1);
        standing.epoch >= training.epochs
            || (training.patience > 0 && standing.epoch > 0 && waited >= training.patience)
    }

    /// Makes one step, with validation and output that are due after it.
    fn step(&mut self, begun: &Instant) -> Result<ClassNetProgress, TrainError> {
        let losses = self
            .standing
            .history
            .iter()
            .map(|epoch| epoch.validation_loss);
        let rate = self.options.training.rate_at(self.share(), losses);
        // Not if it was interrupted between an epoch's last step and its end.
        if self.standing.done < self.all.len() {
            self.learn(rate as f32)?;
            self.standing.seconds = self.begun.1 + begun.elapsed().as_secs_f64();
        }
        let epoch = self.standing.epoch + 1;
        let done = self.standing.done;
        let loss = f64::from_bits(self.standing.sums[0]) / done as f64;
        if done == self.all.len() {
            self.end_epoch(rate)?;
        }
        let per_step =
            begun.elapsed().as_secs_f64() / (self.standing.step - self.begun.0).max(1) as f64;
        let all = (self.options.training.epochs * self.steps_of_epoch()) as f64;
        let seconds_left = per_step * (all - self.standing.step as f64).max(0.0);
        Ok(ClassNetProgress {
            epoch,
            share: self.share(),
            loss,
            seconds_left,
        })
    }

    fn save(&self) -> Result<(), TrainError> {
        let net = tensors_of(self.net)
            .into_iter()
            .map(|(name, shape, values)| (format!("net.{name}"), shape, values));
        let adam = self
            .optimiser
            .adam
            .iter()
            .enumerate()
            .flat_map(|(number, adam)| {
                [("mean", &adam.mean), ("square", &adam.square)].map(|(name, values)| {
                    (
                        format!("adam.{number}.{name}"),
                        vec![values.len()],
                        values.clone(),
                    )
                })
            });
        write_state(
            &self.options.folder.join(CHECKPOINT),
            Some((KEY, &self.standing)),
            net.chain(adam),
        )
    }
}

/// Shows every block of parameters with its gradients, always in the same order.
fn each_block(net: &mut StackTrain, visit: &mut BlockVisitor<'_>) {
    for (parameters, gradients, decays) in net.blocks() {
        visit(parameters, gradients, &vec![decays; gradients.len()]);
    }
}

fn tensors_of(net: &StackTrain) -> Vec<NamedTensor> {
    let tensors = net.tensors().iter();
    tensors
        .map(|one| (one.name.clone(), one.shape.clone(), one.values.clone()))
        .collect()
}

fn misfit(tensor: &str) -> String {
    format!("tensor \"{tensor}\" is missing or does not fit")
}

/// The mean of windows' numbers.
pub fn mean(windows: &[Vec<f32>]) -> Vec<f32> {
    let share = 1.0 / windows.len().max(1) as f32;
    let mut joined = vec![0.0; windows.first().map_or(0, Vec::len)];
    for window in windows {
        for (sum, p) in joined.iter_mut().zip(window) {
            *sum += share * p;
        }
    }
    joined
}

/// The table of epochs, one a line.
fn table(history: &[EpochFigures]) -> String {
    let header = "epoch,step,seconds,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,validation_f1,\
                  gradient_norm\n";
    let lines = history.iter().map(|one| {
        let losses = [
            one.train_loss,
            one.train_accuracy,
            one.validation_loss,
            one.validation_accuracy(),
        ];
        let shares: String = losses
            .iter()
            .chain([&one.validation_f1, &one.gradient_norm])
            .map(|x| format!(",{x:.6}"))
            .collect();
        format!(
            "{},{},{:.1},{:.3e}{shares}\n",
            one.epoch, one.step, one.seconds, one.rate
        )
    });
    lines.fold(header.to_owned(), |text, line| text + &line)
}

#[cfg(test)]
mod tests;
