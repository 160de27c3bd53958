//! Options, progress and results of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::loss::{LossParts, LossWeights};
use super::validate::Validation;
use super::{Checkpoint, TrainError};
use voisin_encoder::{DeviceChoice, ModelRef};

/// The start of a run whose folder has no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// Seeded random weights.
    #[default]
    Seeded,
    /// The averaged weights of another run's checkpoint, widened to this run's width if that is larger.
    From(PathBuf),
    /// A finished model of OpenL3's shape, widened likewise; its head is fitted by least squares.
    Model(ModelRef),
}

impl Start {
    /// A checkpoint if `text` is the path of one, else a model by name or path.
    pub fn of(text: &str) -> Self {
        let path = Path::new(text);
        // A checkpoint takes precedence over a model of that name.
        if Checkpoint::is_one(path) {
            return Self::From(path.to_owned());
        }
        match text.parse() {
            Ok(model) => Self::Model(model),
            Err(never) => match never {},
        }
    }
}

/// Options of training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Folder of prepared music.
    pub cache: PathBuf,
    /// Folder of the run: `checkpoint.safetensors`, `loss.csv`, `validation.csv`. A run with a checkpoint is resumed.
    pub out: PathBuf,
    /// The network that a new run starts from.
    pub start: Start,
    /// Channels of the eight convolutions; see [`voisin_train::widths`].
    pub widths: [usize; 8],
    /// Device of the steps: a CPU with voisin's kernels, or a GPU with Candle.
    pub device: DeviceChoice,
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
    /// Maximum norm of the gradient.
    pub clip: f64,
    /// Share of the average that is kept at each step.
    pub average: f32,
    /// Objectives.
    pub losses: LossWeights,
    /// Teachers to learn from, with weights. None: those of the resumed run or of its origin, else
    /// all that every prepared file has, with weight 1.
    pub teachers: Vec<(String, f32)>,
    /// Tilt and band limits on the spectrograms, besides the degraded variants.
    pub colour: bool,
    /// Share of tracks in held-out groups.
    pub holdout: f64,
    /// Groups to hold out, instead of those that a hash picks.
    pub holdout_groups: Vec<String>,
    /// Windows between validations.
    pub validate_every: u64,
    /// Held-out windows that are evaluated.
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
            widths: voisin_encoder::openl3::OPENL3_WIDTHS,
            device: DeviceChoice::Cpu,
            batch: 32,
            windows: 200_000,
            time_limit: None,
            learning_rate: 2e-3,
            warm_up: 0.02,
            weight_decay: 0.01,
            clip: 5.0,
            average: 0.999,
            losses: LossWeights::default(),
            teachers: Vec::new(),
            colour: true,
            holdout: 0.12,
            holdout_groups: Vec::new(),
            validate_every: 10_000,
            validation_windows: 600,
            checkpoint_every: Duration::from_mins(3),
            seed: 1,
        }
    }

    pub(super) fn check(&self) -> Result<(), TrainError> {
        let wrong = |text: &str| Err(TrainError::Options(text.to_owned()));
        // Batch statistics need two windows, and the contrastive loss needs pairs.
        if self.batch < 2 || (self.losses.contrast > 0.0 && !self.batch.is_multiple_of(2)) {
            return wrong("the batch must be 2 or more, and even with a contrastive loss");
        }
        if !(self.learning_rate > 0.0 && self.clip > 0.0 && (0.0..1.0).contains(&self.average)) {
            return wrong(
                "learning rate and clip must be above 0, and the average's share in 0..1",
            );
        }
        if !(0.0..0.9).contains(&self.holdout) || !(0.0..1.0).contains(&self.warm_up) {
            return wrong("the held-out share must be in 0..0.9, and the warm-up in 0..1");
        }
        if self
            .widths
            .iter()
            .any(|width| !width.is_multiple_of(16) || !(16..=4096).contains(width))
        {
            return wrong("widths must be multiples of 16 from 16 to 4096");
        }
        if self
            .teachers
            .iter()
            .any(|(_, weight)| !(*weight >= 0.0 && weight.is_finite()))
            || (!self.teachers.is_empty() && self.teachers.iter().all(|(_, weight)| *weight == 0.0))
        {
            return wrong("a teacher's weight must be 0 or more, and one of them above 0");
        }
        let losses = &self.losses;
        let weights = [
            losses.penultimate_mse,
            losses.penultimate_cosine,
            losses.tags_mse,
            losses.tags_bce,
            losses.contrast,
            losses.style,
        ];
        if weights
            .iter()
            .any(|weight| !(*weight >= 0.0 && weight.is_finite()))
            || weights.iter().sum::<f32>() <= 0.0
        {
            return wrong(
                "the weights of the objectives must be 0 or more, and one of them above 0",
            );
        }
        Ok(())
    }
}

/// Progress of a run, reported after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingProgress {
    /// Optimiser steps done.
    pub step: u64,
    /// Windows trained on, over all sessions.
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
    /// Seconds to the end of the schedule at this rate, or by the time limit if that comes first.
    pub seconds_left: f64,
    /// A validation, if one was just made.
    pub validation: Option<Validation>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its final state, also in the run's folder.
    pub checkpoint: Checkpoint,
    /// The last validation; none without held-out groups.
    pub validation: Option<Validation>,
    /// Whether the schedule is at its end.
    pub finished: bool,
}
