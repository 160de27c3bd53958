//! The initial state of a run: random weights, another run, a finished model, or its checkpoint.

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
    /// Random weights.
    Seeded,
    /// Another run, with its head and the statistics of its targets.
    Run(Box<Checkpoint>),
    /// A finished model's network; a head is fitted to it.
    Model(OpenL3Weights),
}

/// Reads the origin of a new run; a resumed run needs none.
pub(super) fn origin(options: &TrainOptions, is_new: bool) -> Result<Origin, TrainError> {
    Ok(match &options.start {
        Start::From(path) if is_new => Origin::Run(Box::new(Checkpoint::load(path)?)),
        Start::Model(model) if is_new => Origin::Model(model_weights(model)?),
        _ => Origin::Seeded,
    })
}

/// Names of the teachers to learn from; `None` for all.
pub(super) fn teachers(
    options: &TrainOptions,
    resumed: Option<&Checkpoint>,
    origin: &Origin,
) -> Option<Vec<String>> {
    if options.teachers.is_empty() {
        // These names give the order of the head's outputs, which a resumed run has to keep.
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

/// Checks that a run's checkpoint fits the current options, and updates its description.
pub(super) fn resume(
    options: &TrainOptions,
    data: &TrainingSet,
    path: &Path,
    mut state: Checkpoint,
) -> Result<Checkpoint, TrainError> {
    // Weights and the order of the crops depend on these two.
    if state.run.widths != options.widths || state.run.seed != options.seed {
        return Err(TrainError::checkpoint(
            path,
            format!(
                "expected widths {:?} and seed {}, found {:?} and {}: use another folder",
                options.widths, options.seed, state.run.widths, state.run.seed
            ),
        ));
    }
    if state.run.layout().teachers != data.teachers() {
        return Err(TrainError::checkpoint(
            path,
            format!(
                "found teachers {:?}, expected {:?}: use another folder",
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
                "has {} groove styles, the prepared music {}: use another folder",
                state.run.styles.len(),
                data.style_names().len()
            ),
        ));
    }
    if state.run.styles.is_empty() && options.losses.style > 0.0 {
        return Err(TrainError::checkpoint(
            path,
            "expected a run with groove styles, found one without: use another folder",
        ));
    }
    // In the order of `data.teachers`, which was opened with these names.
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
            "the style objective needs prepared grooves of two styles or more: prepare some, or omit it"
                .to_owned(),
        ));
    }
    let layout = Layout {
        teachers: data.teachers().to_vec(),
        styles: styles.len(),
    };
    let (mut mean, mut deviation) = moments(data, crops);
    // Styles are labels, not targets: their logits are not standardised.
    mean.resize(layout.outputs(), 0.0);
    deviation.resize(layout.outputs(), 1.0);
    let mut head = TeacherHead::seeded(options.widths[7], layout.outputs(), options.seed);
    let mut windows_before = 0;
    let network = match origin {
        Origin::Seeded => OpenL3Weights::seeded(options.seed, &options.widths),
        Origin::Model(weights) => {
            // Fitted before widening, which then shares the columns of the head among the copies.
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
            // Rows of the head with their target statistics: with other means and deviations their predictions would change.
            let mut take = |to: usize, at: usize, n: usize| {
                let (rows, bias) = head.parameters.split_at_mut(layout.outputs() * inputs);
                let (old_rows, old_bias) = wide.parameters.split_at(old.outputs() * inputs);
                rows[to * inputs..(to + n) * inputs]
                    .copy_from_slice(&old_rows[at * inputs..(at + n) * inputs]);
                bias[to..to + n].copy_from_slice(&old_bias[at..at + n]);
                mean[to..to + n].copy_from_slice(&from.target_mean[at..at + n]);
                deviation[to..to + n].copy_from_slice(&from.target_deviation[at..at + n]);
            };
            // Common teachers keep their rows; new ones start at random.
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
    // Adam starts anew in any case, since its means belong to the former network's shape.
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
            // A constant target is not scaled up.
            (
                mean as f32,
                // Rounding may bring the variance below 0.
                (square / n - mean * mean).max(0.0).sqrt().max(1e-3) as f32,
            )
        })
        .unzip()
}
