//! The training loop.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::augment;
use super::cache::{Dataset, TARGETS};
use super::checkpoint::{Checkpoint, Run, flatten, unflatten};
use super::loss::{self, Batch, LossParts, LossWeights};
use super::optimiser::{self, AdamW, AdamWOptions};
use super::random::Random;
use super::validate::{self, Validation};
use super::{Head, TrainError, widen};
use crate::encoder::conv::{OpenL3Train, OpenL3Weights, WINDOW};

/// What a run begins with when its folder has no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// Seeded random weights.
    #[default]
    Seeded,
    /// The averaged weights of another run's checkpoint, widened to this run's width if that is larger.
    From(PathBuf),
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Folder of prepared music.
    pub cache: PathBuf,
    /// Folder of the run: `checkpoint.safetensors`, `loss.csv`, `validation.csv`. A run that has a checkpoint goes on.
    pub out: PathBuf,
    /// What a new run begins with.
    pub start: Start,
    /// Channels of the eight convolutions; see [`super::widths`].
    pub widths: [usize; 8],
    /// Windows per step.
    pub batch: usize,
    /// Windows in all; the schedule ends here.
    pub windows: u64,
    /// Seconds of training in all, over every session; the schedule ends here if this comes first. Runs with a limit
    /// depend on the machine's speed.
    pub time_limit: Option<Duration>,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of the run in which the rate rises.
    pub warm_up: f64,
    /// Weight decay of filters and of the head's matrix.
    pub weight_decay: f32,
    /// Longest gradient.
    pub clip: f64,
    /// Share of the average that is kept at each step.
    pub average: f32,
    /// Objectives.
    pub losses: LossWeights,
    /// Tilt and band limits on the spectrograms, besides the degraded variants.
    pub colour: bool,
    /// Share of tracks in held-out groups.
    pub holdout: f64,
    /// Groups to hold out, instead of those that a hash picks.
    pub holdout_groups: Vec<String>,
    /// Windows between validations.
    pub validate_every: u64,
    /// Held-out windows that are looked at.
    pub validation_windows: usize,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
}

impl TrainOptions {
    /// 200 000 windows at full width, in batches of 32.
    pub fn new(cache: PathBuf, out: PathBuf) -> Self {
        Self {
            cache,
            out,
            start: Start::Seeded,
            widths: crate::encoder::conv::OPENL3_WIDTHS,
            batch: 32,
            windows: 200_000,
            time_limit: None,
            learning_rate: 2e-3,
            warm_up: 0.02,
            weight_decay: 0.01,
            clip: 5.0,
            average: 0.999,
            losses: LossWeights::default(),
            colour: true,
            holdout: 0.12,
            holdout_groups: Vec::new(),
            validate_every: 10_000,
            validation_windows: 600,
            checkpoint_every: Duration::from_mins(3),
            seed: 1,
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        let wrong = |text: &str| Err(TrainError::Options(text.to_owned()));
        if self.batch < 2 || (self.losses.contrast > 0.0 && !self.batch.is_multiple_of(2)) {
            return wrong("the batch must be 2 or more, and even with a contrastive loss");
        }
        if !(self.learning_rate > 0.0 && self.clip > 0.0 && (0.0..1.0).contains(&self.average)) {
            return wrong("learning rate and clip must be above 0, and the average's share in 0..1");
        }
        if !(0.0..0.9).contains(&self.holdout) || !(0.0..1.0).contains(&self.warm_up) {
            return wrong("the held-out share must be in 0..0.9, and the warm-up in 0..1");
        }
        if self.widths.iter().any(|width| !width.is_multiple_of(16) || !(16..=4096).contains(width)) {
            return wrong("widths must be multiples of 16 from 16 to 4096");
        }
        Ok(())
    }
}

/// How far a run is; given after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    /// Windows seen, over all sessions.
    pub windows: u64,
    /// Windows in all.
    pub total: u64,
    /// Share of the schedule that is done, by windows or by time.
    pub share: f64,
    /// Losses of this step.
    pub losses: LossParts,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Windows per second in this session.
    pub rate: f64,
    /// A validation, if one was just made.
    pub validation: Option<Validation>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its state; also in the run's folder.
    pub checkpoint: Checkpoint,
    /// The last validation; none without held-out groups.
    pub validation: Option<Validation>,
    /// Whether the schedule is at its end.
    pub finished: bool,
}

/// Name of the checkpoint in a run's folder.
const CHECKPOINT: &str = "checkpoint.safetensors";
const LOSS_HEADER: &str =
    "step,windows,seconds,learning_rate,total,penultimate_mse,penultimate_cosine,tags_mse,tags_bce,contrast";
const VALIDATION_HEADER: &str =
    "step,windows,seconds,n,tracks,r2_penultimate,r2_tags,correlation,track_correlation,neighbours";
/// Steps per line of the loss file.
const LOG_EVERY: u64 = 10;

/// Trains until the schedule ends, or `progress` returns `false`; writes a checkpoint at the end either way.
///
/// The same options, music and instruction set give the same weights, however often the run was interrupted and
/// however many threads there are, unless there is a time limit. Runs on rayon's current pool.
pub fn train(
    options: &TrainOptions,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Trained, TrainError> {
    options.check()?;
    let data = Dataset::open(&options.cache)?;
    std::fs::create_dir_all(&options.out).map_err(TrainError::io(&options.out))?;
    let (held, crops) = validate::split(&data, options.holdout, &options.holdout_groups)?;
    if crops.is_empty() {
        return Err(TrainError::Options("every group is held out: nothing is left to train on".to_owned()));
    }
    let mut trainer = Trainer::new(options, &data, crops, &held)?;
    trainer.run(progress)
}

struct Trainer<'a> {
    options: &'a TrainOptions,
    data: &'a Dataset,
    crops: Vec<usize>,
    /// Crops of each track, for the contrast's partners.
    by_track: Vec<Vec<usize>>,
    held: Vec<usize>,
    run: Run,
    net: OpenL3Train,
    decay: Vec<f32>,
    head: Head,
    head_decay: Vec<f32>,
    average: (Vec<f32>, Vec<f32>),
    head_average: Head,
    adam: AdamW,
    head_adam: AdamW,
    target_mean: Vec<f32>,
    target_deviation: Vec<f32>,
    /// Epoch and its order.
    order: (u64, Vec<usize>),
    mels: Vec<f32>,
    targets: Vec<f32>,
    d_predictions: Vec<f32>,
    head_gradients: Vec<f32>,
}

impl<'a> Trainer<'a> {
    fn new(
        options: &'a TrainOptions,
        data: &'a Dataset,
        crops: Vec<usize>,
        held: &[usize],
    ) -> Result<Self, TrainError> {
        let outputs = data.outputs();
        let path = options.out.join(CHECKPOINT);
        let resumed = if path.exists() { Some(Checkpoint::load(&path)?) } else { None };
        let state = match resumed {
            Some(state) => {
                if state.run.widths != options.widths || state.run.seed != options.seed {
                    return Err(TrainError::checkpoint(
                        &path,
                        format!(
                            "is of a run with widths {:?} and seed {}, asked for are {:?} and {}: use another folder",
                            state.run.widths, state.run.seed, options.widths, options.seed
                        ),
                    ));
                }
                state
            }
            None => Self::begin(options, data, &crops)?,
        };
        if state.run.teachers != data.teachers() {
            return Err(TrainError::checkpoint(
                &path,
                format!("learnt from {:?}, the music was heard by {:?}", state.run.teachers, data.teachers()),
            ));
        }
        let mut by_track = vec![Vec::new(); data.tracks().len()];
        for &crop in &crops {
            by_track[data.track(crop)].push(crop);
        }
        let net = OpenL3Train::new(&state.network);
        let mut decay = vec![0.0; net.parameters().len()];
        for parameter in net.layout().iter().filter(|parameter| parameter.decays) {
            decay[parameter.range.clone()].fill(options.weight_decay);
        }
        let mut head_decay = vec![options.weight_decay; state.head.parameters.len()];
        head_decay[outputs * state.head.inputs..].fill(0.0);
        let steps = state.run.step;
        let adam = |(mean, square): (Vec<f32>, Vec<f32>)| {
            let mut adam = AdamW::new(mean.len(), AdamWOptions::default());
            (adam.mean, adam.square, adam.steps) = (mean, square, steps);
            adam
        };
        let [net_moments, head_moments] = state.adam;
        let mut run = state.run;
        data.digest().clone_into(&mut run.data);
        run.crops = crops.len();
        run.tracks = by_track.iter().filter(|crops| !crops.is_empty()).count();
        (run.batch, run.losses) = (options.batch, options.losses);
        Ok(Self {
            held: validate::thin(held, options.validation_windows),
            adam: adam(net_moments),
            head_adam: adam(head_moments),
            average: flatten(&state.average),
            head_average: state.head_average,
            target_mean: state.target_mean,
            target_deviation: state.target_deviation,
            order: (u64::MAX, Vec::new()),
            mels: vec![0.0; options.batch * WINDOW],
            targets: vec![0.0; options.batch * outputs],
            d_predictions: vec![0.0; options.batch * outputs],
            head_gradients: vec![0.0; state.head.parameters.len()],
            head: state.head,
            options,
            data,
            crops,
            by_track,
            run,
            net,
            decay,
            head_decay,
        })
    }

    /// The state before the first step.
    fn begin(options: &TrainOptions, data: &Dataset, crops: &[usize]) -> Result<Checkpoint, TrainError> {
        let outputs = data.outputs();
        let mut windows_before = 0;
        let (network, head, mean, deviation) = match &options.start {
            Start::Seeded => {
                let network = OpenL3Weights::seeded(options.seed, &options.widths);
                let head = Head::seeded(options.widths[7], outputs, options.seed);
                let (mean, deviation) = moments(data, crops);
                (network, head, mean, deviation)
            }
            Start::From(path) => {
                let from = Checkpoint::load(path)?;
                if from.run.teachers != data.teachers() {
                    return Err(TrainError::checkpoint(path, "learnt from other teachers"));
                }
                windows_before = from.run.windows + from.run.windows_before;
                let (network, head) =
                    widen(&from.average, &from.head_average, &options.widths, options.seed)?;
                (network, head, from.target_mean, from.target_deviation)
            }
        };
        let zeros = |n: usize| (vec![0.0; n], vec![0.0; n]);
        let adam = [zeros(flatten(&network).0.len()), zeros(head.parameters.len())];
        let run = Run {
            format: Checkpoint::format(),
            step: 0,
            windows: 0,
            windows_before,
            seconds: 0.0,
            widths: options.widths.to_vec(),
            batch: options.batch,
            seed: options.seed,
            losses: options.losses,
            teachers: data.teachers().to_vec(),
            data: String::new(),
            tracks: 0,
            crops: 0,
        };
        Ok(Checkpoint {
            run,
            average: network.clone(),
            network,
            head_average: head.clone(),
            head,
            target_mean: mean,
            target_deviation: deviation,
            adam,
        })
    }

    fn run(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) -> Result<Trained, TrainError> {
        let loss_file = self.options.out.join("loss.csv");
        let validation_file = self.options.out.join("validation.csv");
        keep_rows(&loss_file, LOSS_HEADER, self.run.step)?;
        keep_rows(&validation_file, VALIDATION_HEADER, self.run.step)?;
        let (clock, before) = (Instant::now(), self.run.seconds);
        let first = self.run.windows;
        let mut saved = Instant::now();
        let mut sums = (LossParts::default(), 0u64);
        let mut last = None;
        let mut next_validation = (self.run.windows / self.options.validate_every.max(1) + 1)
            .saturating_mul(self.options.validate_every);
        loop {
            let share = self.share();
            if share >= 1.0 {
                break;
            }
            let learning_rate = optimiser::cosine(self.options.learning_rate, share, self.options.warm_up);
            let losses = self.step(learning_rate)?;
            self.run.seconds = before + clock.elapsed().as_secs_f64();
            add(&mut sums.0, &losses);
            sums.1 += 1;
            if self.run.step.is_multiple_of(LOG_EVERY) {
                let mean = scaled(&sums.0, 1.0 / sums.1 as f32);
                self.log_loss(&loss_file, learning_rate, &mean)?;
                sums = (LossParts::default(), 0);
            }
            let mut validation = None;
            let finished = self.share() >= 1.0;
            if !self.held.is_empty() && (self.run.windows >= next_validation || finished) {
                next_validation += self.options.validate_every;
                validation = Some(self.validate()?);
                last = validation;
                self.run.seconds = before + clock.elapsed().as_secs_f64();
                self.log_validation(&validation_file, &last.unwrap_or_default())?;
            }
            let elapsed = clock.elapsed().as_secs_f64();
            let now = Progress {
                step: self.run.step,
                windows: self.run.windows,
                total: self.options.windows,
                share: self.share(),
                losses,
                learning_rate,
                rate: (self.run.windows - first) as f64 / elapsed.max(1e-9),
                validation,
            };
            if saved.elapsed() >= self.options.checkpoint_every {
                self.checkpoint()?.save(&self.options.out.join(CHECKPOINT))?;
                saved = Instant::now();
            }
            if !progress(&now) {
                break;
            }
        }
        let checkpoint = self.checkpoint()?;
        checkpoint.save(&self.options.out.join(CHECKPOINT))?;
        if last.is_none() && !self.held.is_empty() {
            last = Some(self.validate()?);
        }
        Ok(Trained { checkpoint, validation: last, finished: self.share() >= 1.0 })
    }

    fn share(&self) -> f64 {
        let by_windows = self.run.windows as f64 / self.options.windows.max(1) as f64;
        let by_time = self.options.time_limit.map_or(0.0, |t| self.run.seconds / t.as_secs_f64().max(1e-9));
        by_windows.max(by_time)
    }

    /// One step of the optimiser.
    fn step(&mut self, learning_rate: f64) -> Result<LossParts, TrainError> {
        let tracks = self.load();
        let embeddings = self.net.forward(&self.mels, self.options.batch);
        let predictions = self.head.forward(&embeddings);
        let batch = Batch {
            targets: &self.targets,
            scale: &self.target_deviation,
            shift: &self.target_mean,
            tracks: &tracks,
        };
        let losses = loss::evaluate(&self.options.losses, batch, &predictions, &mut self.d_predictions);
        if !losses.total.is_finite() {
            return Err(TrainError::Diverged { step: self.run.step, loss: losses.total });
        }
        let d = self.head.backward(&embeddings, &self.d_predictions, &mut self.head_gradients);
        self.net.backward(&d);
        let length = (optimiser::norm(self.net.gradients()) + optimiser::norm(&self.head_gradients)).sqrt();
        if !length.is_finite() {
            return Err(TrainError::Diverged { step: self.run.step, loss: losses.total });
        }
        let scale = (self.options.clip / length.max(1e-12)).min(1.0) as f32;
        let rate = learning_rate as f32;
        let (parameters, gradients) = self.net.parameters_and_gradients();
        self.adam.step(parameters, gradients, rate, scale, &self.decay);
        self.head_adam.step(&mut self.head.parameters, &self.head_gradients, rate, scale, &self.head_decay);
        let keep = optimiser::keep(self.options.average, self.run.step);
        let (parameters, statistics) = flatten(&self.net.weights());
        optimiser::average(&mut self.average.0, &parameters, keep);
        optimiser::average(&mut self.average.1, &statistics, keep);
        optimiser::average(&mut self.head_average.parameters, &self.head.parameters, keep);
        self.run.step += 1;
        self.run.windows += self.options.batch as u64;
        Ok(losses)
    }

    /// Fills `mels` and `targets` for the next step; returns the windows' tracks. What is drawn depends on seed and
    /// step alone.
    fn load(&mut self) -> Vec<usize> {
        let (batch, outputs) = (self.options.batch, self.data.outputs());
        let pairs = self.options.losses.contrast > 0.0;
        let fresh = if pairs { batch / 2 } else { batch };
        let mut random = Random::new(self.options.seed, 0x57e9 ^ (self.run.step << 16));
        let mut chosen = Vec::with_capacity(batch);
        for i in 0..fresh {
            let crop = self.draw(self.run.step * fresh as u64 + i as u64);
            chosen.push(crop);
            if pairs {
                let others = &self.by_track[self.data.track(crop)];
                chosen.push(others[random.below(others.len())]);
            }
        }
        let items: Vec<(usize, usize, u64)> = chosen
            .iter()
            .map(|&crop| (crop, random.below(self.data.variants(crop)), random.next()))
            .collect();
        let (data, colour) = (self.data, self.options.colour);
        self.mels.par_chunks_exact_mut(WINDOW).zip(&items).for_each(|(mel, &(crop, variant, seed))| {
            data.mel(crop, variant, mel);
            if colour {
                augment::colour(mel, &mut Random::new(seed, 0));
            }
        });
        for (row, &crop) in self.targets.chunks_exact_mut(outputs).zip(&chosen) {
            standardise(data.targets(crop), &self.target_mean, &self.target_deviation, row);
        }
        chosen.iter().map(|&crop| data.track(crop)).collect()
    }

    /// The crop at a position of the endless sequence of shuffled epochs.
    fn draw(&mut self, position: u64) -> usize {
        let n = self.crops.len() as u64;
        let (epoch, at) = (position / n, (position % n) as usize);
        if self.order.0 != epoch {
            let mut order = self.crops.clone();
            Random::new(self.options.seed, 0xe9 ^ (epoch << 8)).shuffle(&mut order);
            self.order = (epoch, order);
        }
        self.order.1[at]
    }

    fn averaged(&self) -> Result<OpenL3Weights, TrainError> {
        unflatten(&self.run.widths, &self.average.0, &self.average.1)
            .ok_or_else(|| TrainError::Options("the averaged weights do not fit the network".to_owned()))
    }

    fn validate(&self) -> Result<Validation, TrainError> {
        let predictions = validate::predict(self.data, &self.held, &self.averaged()?, &self.head_average);
        let outputs = self.data.outputs();
        let mut targets = vec![0.0; self.held.len() * outputs];
        for (row, &crop) in targets.chunks_exact_mut(outputs).zip(&self.held) {
            standardise(self.data.targets(crop), &self.target_mean, &self.target_deviation, row);
        }
        let tracks: Vec<usize> = self.held.iter().map(|&crop| self.data.track(crop)).collect();
        Ok(validate::compare(&predictions, &targets, &tracks, outputs))
    }

    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            run: self.run.clone(),
            network: self.net.weights(),
            average: self.averaged()?,
            head: self.head.clone(),
            head_average: self.head_average.clone(),
            target_mean: self.target_mean.clone(),
            target_deviation: self.target_deviation.clone(),
            adam: [
                (self.adam.mean.clone(), self.adam.square.clone()),
                (self.head_adam.mean.clone(), self.head_adam.square.clone()),
            ],
        })
    }

    fn log_loss(&self, path: &Path, rate: f64, l: &LossParts) -> Result<(), TrainError> {
        let run = &self.run;
        let row = format!(
            "{},{},{:.1},{rate:.3e},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6}",
            run.step,
            run.windows,
            run.seconds,
            l.total,
            l.penultimate_mse,
            l.penultimate_cosine,
            l.tags_mse,
            l.tags_bce,
            l.contrast
        );
        append(path, &row)
    }

    fn log_validation(&self, path: &Path, v: &Validation) -> Result<(), TrainError> {
        let run = &self.run;
        let row = format!(
            "{},{},{:.1},{},{},{:.5},{:.5},{:.5},{:.5},{:.5}",
            run.step,
            run.windows,
            run.seconds,
            v.windows,
            v.tracks,
            v.r2_penultimate,
            v.r2_tags,
            v.correlation,
            v.track_correlation,
            v.neighbours
        );
        append(path, &row)
    }
}

/// Mean and deviation of every target over `crops`.
fn moments(data: &Dataset, crops: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let outputs = data.outputs();
    let mut sums = vec![(0.0f64, 0.0f64); outputs];
    for &crop in crops {
        for (sum, &x) in sums.iter_mut().zip(data.targets(crop)) {
            sum.0 += f64::from(x);
            sum.1 += f64::from(x) * f64::from(x);
        }
    }
    let n = crops.len() as f64;
    sums.iter()
        .map(|(sum, square)| {
            let mean = sum / n;
            // A target that never moves is not blown up.
            (mean as f32, (square / n - mean * mean).max(0.0).sqrt().max(1e-3) as f32)
        })
        .unzip()
}

fn standardise(raw: &[f32], mean: &[f32], deviation: &[f32], out: &mut [f32]) {
    debug_assert_eq!(out.len() % TARGETS, 0);
    for (((y, x), mean), deviation) in out.iter_mut().zip(raw).zip(mean).zip(deviation) {
        *y = (x - mean) / deviation;
    }
}

fn add(sum: &mut LossParts, x: &LossParts) {
    sum.total += x.total;
    sum.penultimate_mse += x.penultimate_mse;
    sum.penultimate_cosine += x.penultimate_cosine;
    sum.tags_mse += x.tags_mse;
    sum.tags_bce += x.tags_bce;
    sum.contrast += x.contrast;
}

fn scaled(x: &LossParts, factor: f32) -> LossParts {
    LossParts {
        total: x.total * factor,
        penultimate_mse: x.penultimate_mse * factor,
        penultimate_cosine: x.penultimate_cosine * factor,
        tags_mse: x.tags_mse * factor,
        tags_bce: x.tags_bce * factor,
        contrast: x.contrast * factor,
    }
}

/// Begins a CSV file, or drops the rows that came after the checkpoint.
fn keep_rows(path: &Path, header: &str, step: u64) -> Result<(), TrainError> {
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(TrainError::io(path)(error)),
    };
    let mut text = format!("{header}\n");
    for line in old.lines().skip(1) {
        let at: Option<u64> = line.split(',').next().and_then(|field| field.parse().ok());
        if at.is_some_and(|at| at <= step) {
            text.push_str(line);
            text.push('\n');
        }
    }
    let part = path.with_extension("part");
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(TrainError::io(path))
}

fn append(path: &Path, row: &str) -> Result<(), TrainError> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(TrainError::io(path))?;
    writeln!(file, "{row}").map_err(TrainError::io(path))
}
