//! The state that a run begins with: from random weights, another run, a finished model, or its own checkpoint.

use std::path::Path;

use super::cache::TrainingSet;
use super::checkpoint::{Checkpoint, Run, flatten};
use super::layout::Layout;
use super::options::{Start, TrainOptions};
use super::{TeacherHead, TrainError, probe, widen};
use voisin_encoder::openl3::OpenL3Weights;
use voisin_train::model_weights;

/// The network that a new run starts from.
pub(super) enum Origin {
    /// Nothing: random weights.
    Seeded,
    /// Another run, with its head and the statistics of its targets.
    Run(Box<Checkpoint>),
    /// A finished model's network; its head is fitted anew.
    Model(OpenL3Weights),
}

/// Reads what a new run is grown from; a run that goes on needs nothing.
pub(super) fn origin(options: &TrainOptions, is_new: bool) -> Result<Origin, TrainError> {
    Ok(match &options.start {
        Start::From(path) if is_new => Origin::Run(Box::new(Checkpoint::load(path)?)),
        Start::Model(model) if is_new => Origin::Model(model_weights(model)?),
        _ => Origin::Seeded,
    })
}

/// Names of the teachers to learn from; `None` for all that there are.
pub(super) fn teachers(
    options: &TrainOptions,
    resumed: Option<&Checkpoint>,
    origin: &Origin,
) -> Option<Vec<String>> {
    if options.teachers.is_empty() {
        // The order of the head's outputs is that of these names: a run that is resumed has to keep
        // it.
        let before = match origin {
            Origin::Run(state) => Some(&**state),
            _ => resumed,
        };
        before.map(|state| state.run.teachers.clone())
    } else {
        Some(
            options
                .teachers
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        )
    }
}

/// Checks that a run's own checkpoint fits what is asked for now, and brings its description up to date.
pub(super) fn resume(
    options: &TrainOptions,
    data: &TrainingSet,
    path: &Path,
    mut state: Checkpoint,
) -> Result<Checkpoint, TrainError> {
    // Weights and the order of the crops follow from these two.
    if state.run.widths != options.widths || state.run.seed != options.seed {
        return Err(TrainError::checkpoint(
            path,
            format!(
                "is of a run with widths {:?} and seed {}, asked for are {:?} and {}: use another folder",
                state.run.widths, state.run.seed, options.widths, options.seed
            ),
        ));
    }
    if state.run.layout().teachers != data.teachers() {
        return Err(TrainError::checkpoint(
            path,
            format!(
                "learnt from {:?}, asked for are {:?}: use another folder",
                state.run.teachers,
                data.teachers()
                    .iter()
                    .map(|teacher| &teacher.name)
                    .collect::<Vec<_>>()
            ),
        ));
    }
    if !state.run.styles.is_empty() && state.run.styles != data.style_names() {
        return Err(TrainError::checkpoint(
            path,
            format!(
                "knows {} groove styles, the prepared music has {}: use another folder",
                state.run.styles.len(),
                data.style_names().len()
            ),
        ));
    }
    if state.run.styles.is_empty() && options.losses.style > 0.0 {
        return Err(TrainError::checkpoint(
            path,
            "was begun without groove styles: use another folder",
        ));
    }
    // Their order is that of `data.teachers`, which was opened with these names and has just been
    // compared.
    if !options.teachers.is_empty() {
        state.run.weights = options.teachers.iter().map(|(_, weight)| *weight).collect();
    }
    Ok(state)
}

/// The state before the first step.
pub(super) fn begin(
    options: &TrainOptions,
    data: &TrainingSet,
    crops: &[usize],
    origin: Origin,
) -> Result<Checkpoint, TrainError> {
    let styles = if options.losses.style > 0.0 {
        data.style_names().to_vec()
    } else {
        Vec::new()
    };
    if options.losses.style > 0.0 && styles.len() < 2 {
        return Err(TrainError::Options(
            "the style objective needs prepared grooves of two styles or more: prepare some, or leave it out"
                .to_owned(),
        ));
    }
    let layout = Layout {
        teachers: data.teachers().to_vec(),
        styles: styles.len(),
    };
    let (mut mean, mut deviation) = moments(data, crops);
    // Styles are labels, not targets: nothing is taken off their logits.
    mean.resize(layout.outputs(), 0.0);
    deviation.resize(layout.outputs(), 1.0);
    let mut head = TeacherHead::seeded(options.widths[7], layout.outputs(), options.seed);
    let mut windows_before = 0;
    let network = match origin {
        Origin::Seeded => OpenL3Weights::seeded(options.seed, &options.widths),
        Origin::Model(weights) => {
            // Fitted to the network as it is; widening then shares the columns of the head among
            // the copies.
            let fitted = probe::fit(data, crops, &weights, &layout, &mean, &deviation)?;
            let (network, wide) = widen(&weights, &fitted, &options.widths, options.seed)?;
            head = wide;
            network
        }
        Origin::Run(from) => {
            windows_before = from.run.windows + from.run.windows_before;
            let (network, wide) = widen(
                &from.average,
                &from.head_average,
                &options.widths,
                options.seed,
            )?;
            let old = from.run.layout();
            let inputs = head.inputs;
            // Rows of the head, with the statistics that they were learnt against: under other
            // means and deviations they would predict something else.
            let mut take = |to: usize, at: usize, n: usize| {
                let (rows, bias) = head.parameters.split_at_mut(layout.outputs() * inputs);
                let (old_rows, old_bias) = wide.parameters.split_at(old.outputs() * inputs);
                rows[to * inputs..(to + n) * inputs]
                    .copy_from_slice(&old_rows[at * inputs..(at + n) * inputs]);
                bias[to..to + n].copy_from_slice(&old_bias[at..at + n]);
                mean[to..to + n].copy_from_slice(&from.target_mean[at..at + n]);
                deviation[to..to + n].copy_from_slice(&from.target_deviation[at..at + n]);
            };
            // Teachers that both know keep their rows; new ones begin at random.
            for (teacher, to) in layout.spans() {
                if let Some((_, at)) = old.spans().find(|(known, _)| *known == teacher) {
                    take(to, at, teacher.outputs());
                }
            }
            if !styles.is_empty() && styles == from.run.styles {
                take(layout.targets(), old.targets(), styles.len());
            }
            network
        }
    };
    // Adam begins anew in any case: its means belong to the shape of the network they were gathered
    // in.
    let zeros = |n: usize| (vec![0.0; n], vec![0.0; n]);
    let adam = [
        zeros(flatten(&network).0.len()),
        zeros(head.parameters.len()),
    ];
    let mut run = Run {
        format: Checkpoint::format(),
        step: 0,
        windows: 0,
        windows_before,
        seconds: 0.0,
        widths: options.widths.to_vec(),
        batch: options.batch,
        seed: options.seed,
        losses: options.losses,
        teachers: layout
            .teachers
            .iter()
            .map(|teacher| teacher.name.clone())
            .collect(),
        outputs: layout
            .teachers
            .iter()
            .map(|teacher| [teacher.penultimate, teacher.tags])
            .collect(),
        weights: options.teachers.iter().map(|(_, weight)| *weight).collect(),
        styles,
        data: String::new(),
        tracks: 0,
        crops: 0,
    };
    run.weights.resize(run.teachers.len(), 1.0);
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

/// Mean and deviation of every target over `crops`.
fn moments(data: &TrainingSet, crops: &[usize]) -> (Vec<f32>, Vec<f32>) {
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
            (
                mean as f32,
                // Rounding may bring the variance below 0.
                (square / n - mean * mean).max(0.0).sqrt().max(1e-3) as f32,
            )
        })
        .unzip()
}
