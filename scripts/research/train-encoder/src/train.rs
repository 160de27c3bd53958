//! Trains an encoder.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rayon::prelude::*;
use voisin_base::random::Random;
use voisin_encoder::openl3::{OPENL3_WIDTHS, WINDOW};
use voisin_encoder::{DeviceChoice, StackTrain};
use voisin_lab::training::session::CHECKPOINT;
use voisin_lab::training::{Optimiser, cosine};

use crate::RunArgs;
use crate::augment;
use crate::cache::TrainingSet;
use crate::checkpoint::{Checkpoint, Run, flatten, layers, unflatten};
use crate::head::TeacherHead;
use crate::layout::{outputs, standardise};
use crate::loss::{self, Losses};

/// Share of the run in which the rate rises.
const WARM_UP: f64 = 0.02;
/// Weight decay of filters and of the head's matrix.
const DECAY: f32 = 0.01;
/// Maximum norm of the gradient.
const CLIP: f64 = 5.0;
/// Steps per line of `loss.csv`.
const LOG_EVERY: u64 = 10;
/// Share of the moving average of the weights that each step keeps.
const AVERAGE: f32 = 0.999;
/// Time between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(3);

/// Channels of the eight convolutions: a quarter of OpenL3's, but for the embedding's 512 dimensions.
fn widths() -> [usize; 8] {
    let mut widths = OPENL3_WIDTHS.map(|width| width / 4);
    widths[7] = OPENL3_WIDTHS[7];
    widths
}

/// Trains until the schedule ends, or `progress` returns `false`; writes a checkpoint at the end either way.
///
/// The same options, music and instruction set give bit-for-bit the same weights, for any
/// interruptions and number of threads, except on a GPU, where the order of sums may differ.
///
/// - returns: mean losses since each tenth step
pub fn train(
    device: DeviceChoice,
    args: &RunArgs,
    progress: &mut dyn FnMut(&Run, Losses) -> bool,
) -> anyhow::Result<Vec<Losses>> {
    ensure!(args.batch >= 2, "--batch: expected 2 or more");
    let path = args.run.join(CHECKPOINT);
    let resumed = path.exists().then(|| Checkpoint::load(&path)).transpose()?;
    let data = TrainingSet::open(&args.cache)?;
    std::fs::create_dir_all(&args.run)?;
    let state = match resumed {
        Some(state) => state,
        None => begin(args, &data)?,
    };
    ensure!(
        state.run.teachers == data.teachers && state.run.seed == args.random_seed,
        "{}: of other teachers or another seed: use another folder",
        path.display()
    );
    let layers = layers(&state.run.widths)?;
    let mut student = StackTrain::new(layers, args.random_seed, device.resolve()?);
    let mut weights = state.network.iter().map(|one| one.values.clone());
    student
        .restore(|_| weights.next())
        .map_err(anyhow::Error::msg)?;
    let mut trainer = Trainer::new(args, &data, state, student);
    let mut saved = Instant::now();
    while trainer.run.windows < args.windows {
        let losses = trainer.step()?;
        if !progress(&trainer.run, losses) {
            break;
        }
        if saved.elapsed() >= CHECKPOINT_EVERY {
            trainer.checkpoint()?.save(&path)?;
            saved = Instant::now();
        }
    }
    trainer.checkpoint()?.save(&path)?;
    Ok(trainer.logged)
}

/// The state before the first step: random weights, or those of another run.
fn begin(args: &RunArgs, data: &TrainingSet) -> anyhow::Result<Checkpoint> {
    let from = args.from.as_deref().map(Checkpoint::load).transpose()?;
    let widths = match &from {
        Some(from) => from.run.widths,
        None => widths(),
    };
    let (network, head, mean, deviation) = match &from {
        // With their target statistics: with other means and deviations the head's predictions would change.
        Some(from) => {
            ensure!(from.run.teachers == data.teachers, "--from: other teachers");
            let head = from.head_average.clone();
            let mean = from.mean.clone();
            let deviation = from.deviation.clone();
            (from.average.clone(), head, mean, deviation)
        }
        None => {
            let (mean, deviation) = moments(data);
            let head = TeacherHead::seeded(widths[7], mean.len(), args.random_seed);
            let network = layers(&widths)?.tensors(args.random_seed);
            (network, head, mean, deviation)
        }
    };
    // Adam starts anew in any case.
    let all = flatten(&network).0.len() + head.parameters.len();
    Ok(Checkpoint {
        run: Run {
            step: 0,
            windows: 0,
            windows_before: from.map_or(0, |from| from.run.windows + from.run.windows_before),
            widths,
            seed: args.random_seed,
            teachers: data.teachers.clone(),
            tracks: data.tracks.len(),
        },
        adam: (vec![0.0; all], vec![0.0; all]),
        average: network.clone(),
        network,
        head_average: head.clone(),
        head,
        mean,
        deviation,
    })
}

/// Mean and deviation of every target.
fn moments(data: &TrainingSet) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![(0.0f64, 0.0f64); outputs(&data.teachers)];
    for crop in 0..data.len() {
        for (sum, &x) in sums.iter_mut().zip(data.targets(crop)) {
            sum.0 += f64::from(x);
            sum.1 += f64::from(x) * f64::from(x);
        }
    }
    let n = data.len() as f64;
    sums.iter()
        .map(|(sum, square)| {
            let mean = sum / n;
            // Rounding may bring the variance below 0; a constant target is not scaled up.
            let deviation = (square / n - mean * mean).max(0.0).sqrt().max(1e-3);
            (mean as f32, deviation as f32)
        })
        .unzip()
}

struct Trainer<'a> {
    args: &'a RunArgs,
    data: &'a TrainingSet,
    run: Run,
    student: StackTrain,
    head: TeacherHead,
    head_gradients: Vec<f32>,
    average: (Vec<f32>, Vec<f32>),
    head_average: TeacherHead,
    optimiser: Optimiser,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    /// Epoch and its order.
    order: (u64, Vec<usize>),
    mels: Vec<f32>,
    targets: Vec<f32>,
    gradient: Vec<f32>,
    /// Sums since the last line of the loss file.
    sums: Losses,
    logged: Vec<Losses>,
}

impl<'a> Trainer<'a> {
    fn new(
        args: &'a RunArgs,
        data: &'a TrainingSet,
        state: Checkpoint,
        mut student: StackTrain,
    ) -> Self {
        let mut head = state.head;
        let head_gradients = vec![0.0; head.parameters.len()];
        let blocks = student.blocks().chain(head.blocks(&head_gradients));
        let mut optimiser = Optimiser {
            decay: DECAY,
            clip: CLIP,
            ..Optimiser::new(blocks)
        };
        optimiser.steps = state.run.step;
        let (mut mean, mut square) = state.adam;
        for block in &mut optimiser.moments {
            let n = block.mean.len();
            block.mean = mean.drain(..n).collect();
            block.square = square.drain(..n).collect();
        }
        let values = args.batch * state.mean.len();
        Self {
            args,
            data,
            student,
            head,
            head_gradients,
            average: flatten(&state.average),
            head_average: state.head_average,
            optimiser,
            // No epoch has this number, so the first `draw` shuffles.
            order: (u64::MAX, Vec::new()),
            mels: vec![0.0; args.batch * WINDOW],
            targets: vec![0.0; values],
            gradient: vec![0.0; values],
            mean: state.mean,
            deviation: state.deviation,
            run: state.run,
            sums: Losses::default(),
            logged: Vec::new(),
        }
    }

    /// Fills `mels` and `targets` for the next step. Random numbers depend on seed and step alone.
    fn load(&mut self) {
        let batch = self.args.batch as u64;
        let mut random = Random::stream(self.run.seed, 0x57e9 ^ (self.run.step << 16));
        let chosen: Vec<usize> = (0..batch)
            .map(|i| self.draw(self.run.step * batch + i))
            .collect();
        // All random numbers are drawn here, in order; the threads below get seeds.
        let items: Vec<(usize, usize, u64)> = chosen
            .iter()
            .map(|&crop| (crop, random.below(self.data.variants(crop)), random.u64()))
            .collect();
        let data = self.data;
        self.mels.par_chunks_exact_mut(WINDOW).zip(&items).for_each(
            |(mel, &(crop, variant, seed))| {
                data.mel(crop, variant, mel);
                augment::colour(mel, &mut Random::stream(seed, 0));
            },
        );
        let width = self.mean.len();
        for (row, &crop) in self.targets.chunks_exact_mut(width).zip(&chosen) {
            standardise(data.targets(crop), &self.mean, &self.deviation, row);
        }
    }

    /// The crop at a position of the endless sequence of shuffled epochs.
    fn draw(&mut self, position: u64) -> usize {
        let n = self.data.len() as u64;
        let epoch = position / n;
        if self.order.0 != epoch {
            let mut order: Vec<usize> = (0..self.data.len()).collect();
            Random::stream(self.run.seed, 0xe9 ^ (epoch << 8)).shuffle(&mut order);
            self.order = (epoch, order);
        }
        self.order.1[(position % n) as usize]
    }

    fn step(&mut self) -> anyhow::Result<Losses> {
        let share = self.run.windows as f64 / self.args.windows.max(1) as f64;
        let rate = cosine(self.args.rate, share, WARM_UP);
        self.load();
        let embeddings = self
            .student
            .forward(&self.mels, self.args.batch, self.run.step)?;
        let predictions = self.head.forward(&embeddings);
        let losses = loss::evaluate(
            &self.run.teachers,
            &self.targets,
            &predictions,
            &mut self.gradient,
        );
        let gradients = &mut self.head_gradients;
        let gradient = self.head.backward(&embeddings, &self.gradient, gradients);
        self.student.backward(&gradient)?;
        let head = self.head.blocks(&self.head_gradients);
        let mut blocks: Vec<_> = self.student.blocks().chain(head).collect();
        self.optimiser
            .step(rate as f32, losses.total(), &mut blocks)?;
        self.move_averages();
        self.run.step += 1;
        self.run.windows += self.args.batch as u64;
        self.sums.penultimate += losses.penultimate;
        self.sums.tags += losses.tags;
        if self.run.step.is_multiple_of(LOG_EVERY) {
            let mean = Losses {
                penultimate: self.sums.penultimate / LOG_EVERY as f32,
                tags: self.sums.tags / LOG_EVERY as f32,
            };
            self.sums = Losses::default();
            self.logged.push(mean);
            let Run { step, windows, .. } = self.run;
            let Losses { penultimate, tags } = mean;
            let line = format!("{step},{windows},{rate:.3e},{penultimate},{tags}");
            append(&self.args.run.join("loss.csv"), &line)?;
        }
        Ok(losses)
    }

    /// Moves the averages towards the weights: faster at the start, when these are still random. Running statistics are
    /// averaged too, since they belong to the averaged weights.
    fn move_averages(&mut self) {
        let step = self.run.step as f32;
        let keep = AVERAGE.min((1.0 + step) / (10.0 + step));
        let (parameters, statistics) = flatten(self.student.tensors());
        for (average, values) in [
            (&mut self.average.0, &parameters),
            (&mut self.average.1, &statistics),
            (&mut self.head_average.parameters, &self.head.parameters),
        ] {
            average
                .par_iter_mut()
                .zip(values)
                .for_each(|(a, v)| *a += (1.0 - keep) * (v - *a));
        }
    }

    fn checkpoint(&self) -> anyhow::Result<Checkpoint> {
        let moments = || self.optimiser.moments.iter();
        Ok(Checkpoint {
            run: self.run.clone(),
            network: self.student.tensors().to_vec(),
            average: unflatten(&self.run.widths, &self.average.0, &self.average.1)?,
            head: self.head.clone(),
            head_average: self.head_average.clone(),
            mean: self.mean.clone(),
            deviation: self.deviation.clone(),
            adam: (
                moments().flat_map(|block| block.mean.clone()).collect(),
                moments().flat_map(|block| block.square.clone()).collect(),
            ),
        })
    }
}

/// Adds a line to the table of losses, whose header is written with the first.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let is_new = !path.exists();
    let file = OpenOptions::new().append(true).create(true).open(path);
    let mut file = file.with_context(|| path.display().to_string())?;
    if is_new {
        writeln!(file, "step,windows,rate,penultimate,tags")?;
    }
    writeln!(file, "{line}").with_context(|| path.display().to_string())
}
