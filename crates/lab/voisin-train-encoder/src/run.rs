//! Trains an encoder.

use rayon::prelude::*;

use super::augment;
use super::average;
use super::begin;
use super::cache::TrainingSet;
use super::checkpoint::{Checkpoint, Run, flatten, unflatten};
use super::layout::{Layout, standardise};
use super::log;
use super::loss::{self, Batch};
use super::options::{TrainOptions, Trained, TrainingProgress};
use super::validate::{self, Validation};
use super::{TeacherHead, TrainError};
use voisin_base::random::Random;
use voisin_encoder::Device;
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_train::session::{CHECKPOINT, Optimiser, Resumable, run_session};
use voisin_train::{AdamWOptions, LearningLayer, Student, cosine};

/// Trains until the schedule ends, or `progress` returns `false`; writes a checkpoint at the end either way.
///
/// The same options, music and instruction set give bit-for-bit the same weights, for any
/// interruptions and number of threads, except with a time limit or on a GPU, where the order of
/// sums may differ. Runs on rayon's current pool.
pub fn train(
    options: &TrainOptions,
    progress: &mut dyn FnMut(&TrainingProgress) -> bool,
) -> Result<Trained, TrainError> {
    options.check()?;
    let path = options.out.join(CHECKPOINT);
    let resumed = if path.exists() {
        Some(Checkpoint::load(&path)?)
    } else {
        None
    };
    if resumed.is_none() {
        log::refuse_others(&options.out)?;
    }
    // The teachers' names come from the origin, and the set is opened with these alone.
    let origin = begin::origin(options, resumed.is_none())?;
    let names = begin::teachers(options, resumed.as_ref(), &origin);
    let data = TrainingSet::open_with(&options.cache, names.as_deref())?;
    std::fs::create_dir_all(&options.out).map_err(TrainError::io(&options.out))?;
    let (held, crops) = validate::split(&data, options.holdout, &options.holdout_groups)?;
    if crops.is_empty() {
        return Err(TrainError::Options(
            "expected groups to train on, found every group held out".to_owned(),
        ));
    }
    let state = match resumed {
        Some(state) => begin::resume(options, &data, &path, state)?,
        None => begin::begin(options, &data, &crops, origin)?,
    };
    let device = options.device.resolve()?;
    let mut trainer = Trainer::new(options, &data, state, crops, &held, &device)?;
    // Rows after the checkpoint belong to steps that are repeated.
    log::keep_rows(&options.out, trainer.run.step)?;
    let finished = run_session(&mut trainer, options.checkpoint_every, progress)?;
    // A run that was already finished still reports a validation.
    if trainer.last.is_none() && trainer.validates() {
        trainer.last = Some(trainer.validate()?);
    }
    Ok(Trained {
        checkpoint: trainer.checkpoint()?,
        validation: trainer.last,
        finished,
    })
}

struct Trainer<'a> {
    options: &'a TrainOptions,
    data: &'a TrainingSet,
    crops: Vec<usize>,
    /// Crops of each track, for pairs in the contrastive loss.
    by_track: Vec<Vec<usize>>,
    /// Held-out music, and held-out grooves.
    held: Vec<usize>,
    held_grooves: Vec<usize>,
    layout: Layout,
    teacher_weights: Vec<f32>,
    run: Run,
    student: Student,
    head: LearningLayer,
    average: (Vec<f32>, Vec<f32>),
    head_average: TeacherHead,
    optimiser: Optimiser,
    target_mean: Vec<f32>,
    target_deviation: Vec<f32>,
    /// Epoch and its order.
    order: (u64, Vec<usize>),
    mels: Vec<f32>,
    targets: Vec<f32>,
    d_predictions: Vec<f32>,
    /// Windows and seconds before this session.
    begun: (u64, f64),
    next_validation: u64,
    /// Sums of losses, and steps, since the last line of the loss file.
    sums: ([f32; 7], u64),
    /// The last validation.
    last: Option<Validation>,
}

impl<'a> Trainer<'a> {
    fn new(
        options: &'a TrainOptions,
        data: &'a TrainingSet,
        state: Checkpoint,
        crops: Vec<usize>,
        held: &[usize],
        device: &Device,
    ) -> Result<Self, TrainError> {
        let layout = state.run.layout();
        let outputs = layout.outputs();
        let mut by_track = vec![Vec::new(); data.tracks().len()];
        for &crop in &crops {
            by_track[data.track(crop)].push(crop);
        }
        let mut student = Student::new(&state.network, device)?;
        let mut head = LearningLayer::new(state.head);
        let mut optimiser = Optimiser {
            decay: options.weight_decay,
            clip: options.clip,
            ..Optimiser::new(AdamWOptions::default(), &mut |visit| {
                student.show(visit);
                head.show(visit);
            })
        };
        for (adam, (mean, square)) in optimiser.adam.iter_mut().zip(state.adam) {
            (adam.mean, adam.square, adam.steps) = (mean, square, state.run.step);
        }
        let mut run = state.run;
        data.digest().clone_into(&mut run.data);
        run.crops = crops.len();
        run.tracks = by_track.iter().filter(|crops| !crops.is_empty()).count();
        // These may differ between sessions.
        (run.batch, run.losses) = (options.batch, options.losses);
        let (grooves, music): (Vec<usize>, Vec<usize>) =
            held.iter().partition(|&&crop| data.style(crop).is_some());
        Ok(Self {
            held: validate::thin(&music, options.validation_windows),
            held_grooves: validate::thin(&grooves, options.validation_windows / 2),
            teacher_weights: run.teacher_weights(),
            average: flatten(&state.average),
            head_average: state.head_average,
            target_mean: state.target_mean,
            target_deviation: state.target_deviation,
            // No epoch has this number, so the first `draw` shuffles.
            order: (u64::MAX, Vec::new()),
            mels: vec![0.0; options.batch * WINDOW],
            targets: vec![0.0; options.batch * layout.targets()],
            d_predictions: vec![0.0; options.batch * outputs],
            begun: (run.windows, run.seconds),
            next_validation: (run.windows / options.validate_every.max(1) + 1)
                .saturating_mul(options.validate_every),
            sums: Default::default(),
            last: None,
            options,
            data,
            crops,
            by_track,
            run,
            student,
            head,
            optimiser,
            layout,
        })
    }

    fn validates(&self) -> bool {
        !(self.held.is_empty() && self.held_grooves.is_empty())
    }

    fn share(&self) -> f64 {
        let by_windows = self.run.windows as f64 / self.options.windows.max(1) as f64;
        let by_time = self
            .options
            .time_limit
            .map_or(0.0, |t| self.run.seconds / t.as_secs_f64().max(1e-9));
        by_windows.max(by_time)
    }

    /// Seconds to the schedule's end at `rate` windows per second.
    fn seconds_left(&self, rate: f64) -> f64 {
        let windows = self.options.windows.saturating_sub(self.run.windows) as f64;
        let limit = self
            .options
            .time_limit
            .map_or(f64::INFINITY, |t| t.as_secs_f64() - self.run.seconds);
        (windows / rate.max(1e-9)).min(limit).max(0.0)
    }

    /// Fills `mels` and `targets` for the next step; returns the windows' tracks and styles. Random
    /// numbers depend on seed and step alone.
    fn load(&mut self) -> (Vec<usize>, Vec<Option<usize>>) {
        let batch = self.options.batch;
        let outputs = self.layout.targets();
        let pairs = self.options.losses.contrast > 0.0;
        // Half of the batch are partners, one of the same track for each window.
        let fresh = if pairs { batch / 2 } else { batch };
        let mut random = Random::stream(self.options.seed, 0x57e9 ^ (self.run.step << 16));
        let mut chosen = Vec::with_capacity(batch);
        for i in 0..fresh {
            let crop = self.draw(self.run.step * fresh as u64 + i as u64);
            chosen.push(crop);
            if pairs {
                let others = &self.by_track[self.data.track(crop)];
                // The same crop may be drawn as its own partner, in another variant.
                chosen.push(others[random.below(others.len())]);
            }
        }
        // All random numbers are drawn here, in order; the threads below get seeds.
        let items: Vec<(usize, usize, u64)> = chosen
            .iter()
            .map(|&crop| (crop, random.below(self.data.variants(crop)), random.u64()))
            .collect();
        let data = self.data;
        let colour = self.options.colour;
        self.mels.par_chunks_exact_mut(WINDOW).zip(&items).for_each(
            |(mel, &(crop, variant, seed))| {
                data.mel(crop, variant, mel);
                if colour {
                    augment::colour(mel, &mut Random::stream(seed, 0));
                }
            },
        );
        for (row, &crop) in self.targets.chunks_exact_mut(outputs).zip(&chosen) {
            standardise(
                data.targets(crop),
                &self.target_mean,
                &self.target_deviation,
                row,
            );
        }
        chosen
            .iter()
            .map(|&crop| (data.track(crop), data.style(crop)))
            .unzip()
    }

    /// The crop at a position of the endless sequence of shuffled epochs.
    fn draw(&mut self, position: u64) -> usize {
        let n = self.crops.len() as u64;
        let epoch = position / n;
        let at = (position % n) as usize;
        if self.order.0 != epoch {
            let mut order = self.crops.clone();
            Random::stream(self.options.seed, 0xe9 ^ (epoch << 8)).shuffle(&mut order);
            self.order = (epoch, order);
        }
        self.order.1[at]
    }

    fn averaged(&self) -> Result<OpenL3Weights, TrainError> {
        unflatten(&self.run.widths, &self.average.0, &self.average.1).ok_or_else(|| {
            TrainError::Options("the averaged weights do not fit the network".to_owned())
        })
    }

    fn validate(&self) -> Result<Validation, TrainError> {
        let weights = self.averaged()?;
        let predict =
            |crops: &[usize]| validate::predict(self.data, crops, &weights, &self.head_average);
        // With grooves alone, agreement with the teachers is measured on grooves.
        let held = if self.held.is_empty() {
            &self.held_grooves
        } else {
            &self.held
        };
        let outputs = self.layout.outputs();
        let width = self.layout.targets();
        let predictions: Vec<f32> = predict(held)?
            .chunks_exact(outputs)
            .flat_map(|row| &row[..width])
            .copied()
            .collect();
        let mut targets = vec![0.0; held.len() * width];
        for (row, &crop) in targets.chunks_exact_mut(width).zip(held) {
            standardise(
                self.data.targets(crop),
                &self.target_mean,
                &self.target_deviation,
                row,
            );
        }
        let tracks: Vec<usize> = held.iter().map(|&crop| self.data.track(crop)).collect();
        let mut validation = validate::compare(&predictions, &targets, &tracks, &self.layout);
        if self.layout.styles > 0 && !self.held_grooves.is_empty() {
            let styles: Vec<_> = self
                .held_grooves
                .iter()
                .map(|&crop| self.data.style(crop))
                .collect();
            validation.styles =
                validate::style_accuracy(&predict(&self.held_grooves)?, &styles, &self.layout);
        }
        Ok(validation)
    }

    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            run: self.run.clone(),
            network: self.student.state().weights(),
            average: self.averaged()?,
            head: self.head.linear.clone(),
            head_average: self.head_average.clone(),
            target_mean: self.target_mean.clone(),
            target_deviation: self.target_deviation.clone(),
            adam: [0, 1].map(|block| {
                let adam = &self.optimiser.adam[block];
                (adam.mean.clone(), adam.square.clone())
            }),
        })
    }
}

impl Resumable for Trainer<'_> {
    type Progress = TrainingProgress;

    fn is_finished(&self) -> bool {
        self.share() >= 1.0
    }

    fn step(&mut self, clock: &dyn Fn() -> f64) -> Result<TrainingProgress, TrainError> {
        let learning_rate = cosine(
            self.options.learning_rate,
            self.share(),
            self.options.warm_up,
        );
        let (tracks, styles) = self.load();
        let embeddings = self.student.forward(&self.mels, self.options.batch)?;
        let predictions = self.head.forward(embeddings);
        let batch = Batch {
            layout: &self.layout,
            teachers: &self.teacher_weights,
            targets: &self.targets,
            scale: &self.target_deviation,
            shift: &self.target_mean,
            tracks: &tracks,
            styles: &styles,
        };
        let losses = loss::evaluate(
            &self.options.losses,
            batch,
            &predictions,
            &mut self.d_predictions,
        );
        self.student
            .backward(&self.head.backward(&self.d_predictions))?;
        let at = (self.run.step, losses.total);
        self.optimiser
            .step(learning_rate as f32, at, &mut |visit| {
                self.student.show(visit);
                self.head.show(visit);
            })?;
        let keep = average::keep(self.options.average, self.run.step);
        // Running statistics are averaged too, since they belong to the averaged weights.
        let (parameters, statistics) = flatten(&self.student.state().weights());
        average::average(&mut self.average.0, &parameters, keep);
        average::average(&mut self.average.1, &statistics, keep);
        average::average(
            &mut self.head_average.parameters,
            &self.head.linear.parameters,
            keep,
        );
        self.run.step += 1;
        self.run.windows += self.options.batch as u64;
        self.run.seconds = self.begun.1 + clock();
        self.sums
            .0
            .iter_mut()
            .zip(losses.values())
            .for_each(|(sum, x)| *sum += x);
        self.sums.1 += 1;
        if self.run.step.is_multiple_of(log::LOG_EVERY) {
            let (sums, steps) = std::mem::take(&mut self.sums);
            let factor = 1.0 / steps as f32;
            log::loss(
                &self.options.out,
                &self.run,
                learning_rate,
                sums.map(|sum| sum * factor),
            )?;
        }
        let mut validation = None;
        if self.validates() && (self.run.windows >= self.next_validation || self.is_finished()) {
            let next = self.next_validation;
            self.next_validation = next.saturating_add(self.options.validate_every);
            let found = self.validate()?;
            (validation, self.last) = (Some(found), Some(found));
            // Including the time of validation, since the time limit is wall-clock time.
            self.run.seconds = self.begun.1 + clock();
            log::validation(&self.options.out, &self.run, &found)?;
        }
        let rate = (self.run.windows - self.begun.0) as f64 / clock().max(1e-9);
        Ok(TrainingProgress {
            step: self.run.step,
            windows: self.run.windows,
            total: self.options.windows,
            share: self.share(),
            losses,
            learning_rate,
            rate,
            seconds_left: self.seconds_left(rate),
            validation,
        })
    }

    fn save(&self) -> Result<(), TrainError> {
        self.checkpoint()?.save(&self.options.out.join(CHECKPOINT))
    }
}
