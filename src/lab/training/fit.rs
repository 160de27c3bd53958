//! Trains a classifying network, epoch by epoch.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::batch::ClassBatch;
use super::session::{CHECKPOINT, NamedTensor, read_state, read_tensors, write_state};
use super::softmax::{cross_entropy, softmax};
use super::{ClassTraining, Optimiser};
use crate::LabError;
use crate::run::Progress;
use voisin_base::atomic_file;
use voisin_base::random::Random;
use voisin_encoder::{FinishedStack, StackTrain};
use voisin_genre::metrics::argmax;

/// Key of the state in a checkpoint's header.
const KEY: &str = "standing";
/// Name of the weights that were best on the validation part.
pub(crate) const BEST: &str = "best.safetensors";

#[derive(Debug, Clone, PartialEq)]
pub struct ClassNetOptions {
    pub folder: PathBuf,
    pub training: ClassTraining,
    /// Tracks to train on, and tracks by which the best epoch is chosen.
    pub tracks: [Vec<usize>; 2],
    /// Bands and frames of an example that is a spectrogram.
    pub image: Option<[usize; 2]>,
    /// Seed of the order and of the augmentation.
    pub seed: u64,
}

/// Reads an example into a buffer, by its track and its number there. In training it receives a
/// position from 0 to 1 at which to cut.
pub type LoadExample<'a> =
    dyn Fn(usize, usize, Option<f64>, &mut [f32]) -> Result<(), LabError> + Sync + 'a;

#[derive(Clone, Copy)]
pub struct TrackExamples<'a> {
    pub class_of: &'a [usize],
    /// The number of examples by which each track is evaluated, its first ones.
    pub windows: &'a [usize],
    /// Augmented copies of each example, used for training only.
    pub copies: usize,
    pub load: &'a LoadExample<'a>,
}

/// Metrics of an epoch. Those of training are over single spectrograms during the epoch, those of
/// validation over whole tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochFigures {
    /// Seconds so far, over all sessions.
    pub seconds: f64,
    /// Mean loss and share of correct predictions.
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub validation_loss: f64,
    pub validation_accuracy: f64,
}

/// A finished training. The best epoch's weights are in `best.safetensors`, and in the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub history: Vec<EpochFigures>,
    /// Index in it of the epoch whose weights are kept.
    pub best: usize,
}

/// State of a training in a checkpoint, after its last epoch.
#[derive(Serialize, Deserialize)]
struct Standing {
    examples: usize,
    history: Vec<EpochFigures>,
}

impl Standing {
    /// The first of equally good epochs: later ones have to be better, not as good.
    fn best(&self) -> usize {
        argmax(self.history.iter().map(|epoch| epoch.validation_accuracy))
    }
}

/// Trains to the last epoch, or until none has been better for `patience` epochs.
///
/// The same options, examples and instruction set give bit-for-bit the same weights, for any
/// interruptions and number of threads: it goes on from the last epoch. Runs on rayon's current pool.
///
/// - `progress`: `false` stops it
/// - returns: nothing if it was stopped
pub fn fit(
    net: &mut StackTrain,
    options: &ClassNetOptions,
    examples: TrackExamples<'_>,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Option<Fitted>, LabError> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    let [training, validation] = &options.tracks;
    for &track in training {
        let count = examples.windows[track] * (1 + examples.copies);
        all.extend((0..count).map(|window| (track, window)));
    }
    if all.is_empty() || validation.is_empty() {
        return Err(LabError::Options(format!(
            "expected tracks for training and for validation, found {} and {}",
            training.len(),
            validation.len()
        )));
    }
    let mut training = Loop::new(net, options, examples, all)?;
    while !training.is_finished() {
        if !training.epoch(progress)? {
            return Ok(None);
        }
    }
    let standing = training.standing;
    let best = options.folder.join(BEST);
    let mut tensors = read_tensors(&best)?;
    // The network has the weights of the last epoch until here.
    net.restore(|name| tensors.remove(name))
        .map_err(|name| LabError::run(&best, misfit(&name)))?;
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
) -> Result<Vec<Vec<Vec<f32>>>, LabError> {
    let mut rows = outputs(net, examples, tracks, batch)?;
    let all = rows.iter_mut().flatten();
    all.for_each(|logits| *logits = softmax(logits));
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
) -> Result<Vec<Vec<Vec<f32>>>, LabError> {
    let mut rows = vec![Vec::new(); tracks.len()];
    let windows = |row: usize| (0..examples.windows[tracks[row]]).map(move |window| (row, window));
    let all: Vec<(usize, usize)> = (0..tracks.len()).flat_map(windows).collect();
    let cells = net.stack().input().cells();
    let mut x = Vec::new();
    // In batches across tracks, since a track may have a single window.
    for part in all.chunks(batch.max(1)) {
        let wanted = part.iter().map(|&(row, window)| (tracks[row], window));
        load(cells, examples, &wanted.collect::<Vec<_>>(), None, &mut x)?;
        let found = net.evaluate(&x, part.len())?;
        for (&(row, _), output) in part.iter().zip(found.chunks_exact(net.stack().classes())) {
            rows[row].push(output.to_vec());
        }
    }
    Ok(rows)
}

/// - `drawn`: the source of random positions in training
fn load(
    cells: usize,
    examples: TrackExamples<'_>,
    wanted: &[(usize, usize)],
    drawn: Option<&mut Random>,
    x: &mut Vec<f32>,
) -> Result<(), LabError> {
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
    all: Vec<(usize, usize)>,
    optimiser: Optimiser,
    standing: Standing,
    /// Epochs and seconds before this session, and its start.
    before: (usize, f64),
    begun: Instant,
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
    ) -> Result<Self, LabError> {
        let training = &options.training;
        let optimiser = Optimiser {
            epsilon: training.epsilon as f32,
            decay: training.weight_decay as f32,
            l1: training.l1,
            l2: training.l2,
            ..Optimiser::new(net.blocks())
        };
        let mut session = Self {
            net,
            options,
            examples,
            optimiser,
            standing: Standing {
                examples: all.len(),
                history: Vec::new(),
            },
            all,
            before: (0, 0.0),
            begun: Instant::now(),
            x: Vec::new(),
            gradient: Vec::new(),
        };
        let path = options.folder.join(CHECKPOINT);
        if path.exists() {
            session.resume(&path)?;
        }
        Ok(session)
    }

    fn resume(&mut self, path: &Path) -> Result<(), LabError> {
        let bad = |reason: String| LabError::run(path, reason);
        let (standing, mut tensors): (Standing, _) = read_state(path, KEY, "a network's training")?;
        // The number of examples identifies the music: another corpus hardly has the same.
        let [found, expected] = [standing.examples, self.all.len()];
        if found != expected {
            return Err(bad(format!(
                "expected a training on {expected} spectrograms, found one on {found}"
            )));
        }
        self.optimiser.steps = (standing.history.len() * self.steps_of_epoch()) as u64;
        for (number, block) in self.optimiser.moments.iter_mut().enumerate() {
            for (name, to) in [("mean", &mut block.mean), ("square", &mut block.square)] {
                let name = format!("adam.{number}.{name}");
                match tensors.remove(&name) {
                    Some(values) if values.len() == to.len() => *to = values,
                    _ => return Err(bad(misfit(&name))),
                }
            }
        }
        self.net
            .restore(|name| tensors.remove(&format!("net.{name}")))
            .map_err(|name| bad(misfit(&name)))?;
        let seconds = standing.history.last().map_or(0.0, |last| last.seconds);
        self.before = (standing.history.len(), seconds);
        self.standing = standing;
        Ok(())
    }

    fn steps_of_epoch(&self) -> usize {
        self.all.len().div_ceil(self.options.training.batch)
    }

    /// Trains on all examples once, and evaluates the validation part; `false` if it was stopped before.
    fn epoch(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) -> Result<bool, LabError> {
        let training = self.options.training;
        let epoch = self.standing.history.len();
        // One stream for each epoch, and below one for each step, so that a resumed run draws the same numbers.
        let mut order = self.all.clone();
        Random::stream(self.options.seed, 0xe9_0c11 ^ ((epoch as u64) << 24)).shuffle(&mut order);
        let (steps, mut loss, mut right, mut done) = (self.steps_of_epoch(), 0.0, 0, 0);
        let all = (training.epochs * steps) as f64;
        for (number, batch) in order.chunks(training.batch).enumerate() {
            let step = epoch * steps + number;
            let losses = self.standing.history.iter();
            let losses = losses.map(|epoch| epoch.validation_loss);
            let rate = training.rate_at(step as f64 / all, losses);
            let (sum, correct) = self.learn(batch, step as u64, rate as f32)?;
            loss += sum;
            right += correct;
            done += batch.len();
            let here = (step + 1 - self.before.0 * steps) as f64;
            let per_step = self.begun.elapsed().as_secs_f64() / here;
            let left = all - step as f64 - 1.0;
            let loss_so_far = loss / done as f64;
            if !progress(&Progress {
                share: 1.0 - left / all,
                doing: format!("epoch {}, loss {loss_so_far:.3}", epoch + 1),
                seconds_left: per_step * left,
            }) {
                return Ok(false);
            }
        }
        let n = self.all.len() as f64;
        self.end_epoch(loss / n, right as f64 / n)?;
        Ok(true)
    }

    /// Makes one step of the optimiser; returns the sum of losses, and the number of correct predictions.
    fn learn(
        &mut self,
        batch: &[(usize, usize)],
        step: u64,
        rate: f32,
    ) -> Result<(f64, usize), LabError> {
        let training = self.options.training;
        let classes = self.net.stack().classes();
        let cells = self.net.stack().input().cells();
        let mut random = Random::stream(self.options.seed ^ 0x7a9_5e0d, step);
        load(cells, self.examples, batch, Some(&mut random), &mut self.x)?;
        let class_of = self.examples.class_of;
        let truth: Vec<usize> = batch.iter().map(|(track, _)| class_of[*track]).collect();
        let mut varied = ClassBatch::new(&mut self.x, &truth, classes, training.label_smoothing);
        varied.vary(&training, self.options.image, &mut random);
        let wanted = varied.wanted;
        let logits = self.net.forward(&self.x, batch.len(), step)?;
        let (loss, right) = cross_entropy(&logits, &wanted, classes, &mut self.gradient);
        self.net.backward(&self.gradient)?;
        let mean = (loss / batch.len() as f64) as f32;
        let mut blocks: Vec<_> = self.net.blocks().collect();
        self.optimiser.step(rate, mean, &mut blocks)?;
        Ok((loss, right))
    }

    /// Evaluates the validation part, and writes the epoch's metrics, weights and checkpoint.
    fn end_epoch(&mut self, train_loss: f64, train_accuracy: f64) -> Result<(), LabError> {
        let [_, tracks] = &self.options.tracks;
        let net = self.net.finished()?;
        let windows = predict(&net, self.examples, tracks, self.options.training.batch)?;
        let (mut loss, mut right) = (0.0, 0.0);
        for (windows, &track) in windows.iter().zip(tracks) {
            let p = mean(windows);
            let truth = self.examples.class_of[track];
            loss -= f64::from(p[truth].max(1e-15)).ln();
            right += f64::from(u8::from(argmax(&p) == truth));
        }
        let n = tracks.len() as f64;
        self.standing.history.push(EpochFigures {
            seconds: self.before.1 + self.begun.elapsed().as_secs_f64(),
            train_loss,
            train_accuracy,
            validation_loss: loss / n,
            validation_accuracy: right / n,
        });
        let folder = &self.options.folder;
        // The epoch that has just ended is the best so far.
        if self.standing.best() + 1 == self.standing.history.len() {
            let none = None::<(&str, &Standing)>;
            write_state(&folder.join(BEST), none, tensors_of(self.net))?;
        }
        let path = folder.join("metrics.csv");
        let table = table(&self.standing.history);
        atomic_file::write(&path, table).map_err(LabError::io(&path))?;
        // Last, since a resumed run repeats all that follows the checkpoint.
        self.save(&folder.join(CHECKPOINT))
    }

    fn is_finished(&self) -> bool {
        let training = &self.options.training;
        let epochs = self.standing.history.len();
        let waited = epochs.saturating_sub(self.standing.best() + 1);
        epochs >= training.epochs
            || (training.patience > 0 && epochs > 0 && waited >= training.patience)
    }

    fn save(&self, path: &Path) -> Result<(), LabError> {
        let mut tensors: Vec<NamedTensor> = Vec::new();
        for (name, shape, values) in tensors_of(self.net) {
            tensors.push((format!("net.{name}"), shape, values));
        }
        for (number, block) in self.optimiser.moments.iter().enumerate() {
            for (name, values) in [("mean", &block.mean), ("square", &block.square)] {
                let name = format!("adam.{number}.{name}");
                tensors.push((name, vec![values.len()], values.clone()));
            }
        }
        write_state(path, Some((KEY, &self.standing)), tensors)
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

pub fn mean(windows: &[Vec<f32>]) -> Vec<f32> {
    let share = 1.0 / windows.len().max(1) as f32;
    let mut joined = vec![0.0; windows.first().map_or(0, Vec::len)];
    for window in windows {
        let pairs = joined.iter_mut().zip(window);
        pairs.for_each(|(sum, p)| *sum += share * p);
    }
    joined
}

fn table(history: &[EpochFigures]) -> String {
    let mut text =
        "epoch,seconds,train_loss,train_accuracy,validation_loss,validation_accuracy\n".to_owned();
    for (epoch, one) in (1..).zip(history) {
        text += &format!("{epoch},{:.1}", one.seconds);
        let training = [one.train_loss, one.train_accuracy];
        let validation = [one.validation_loss, one.validation_accuracy];
        for figure in training.into_iter().chain(validation) {
            text += &format!(",{figure:.6}");
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests;
