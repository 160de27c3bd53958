//! Checkpoints, from which a run resumes bit for bit.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::layout::{Layout, PENULTIMATE, Teacher};
use super::{LossWeights, TeacherHead, TrainError};
use voisin_base::regular_file;
use voisin_encoder::openl3::OpenL3Weights;
use voisin_train::session::{LARGEST, read_state, write_state};

/// Key of the run in a checkpoint's header.
const KEY: &str = "run";
/// Version of the layout: 2 has the number of outputs of each teacher, and may have styles.
const FORMAT: u32 = 2;
/// The oldest layout that is read: one kind of teacher, no styles.
const OLDEST: u32 = 1;
/// Tags of every teacher in version 1.
const TAGS: usize = 50;

/// A run's settings and its progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Version of the layout.
    pub format: u32,
    /// Optimiser steps done.
    pub step: u64,
    /// Windows trained on.
    pub windows: u64,
    /// Windows that the runs from which this one was started were trained on.
    pub windows_before: u64,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
    /// Channels of the eight convolutions.
    pub widths: Vec<usize>,
    /// Windows per step.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Objectives.
    pub losses: LossWeights,
    /// Teachers, in the order of the head's outputs.
    pub teachers: Vec<String>,
    /// Penultimate values and tags of each teacher; 200 and 50 by default.
    #[serde(default)]
    pub outputs: Vec<[usize; 2]>,
    /// Weight of each teacher; 1 by default.
    #[serde(default)]
    pub weights: Vec<f32>,
    /// Groove styles, in the order of the head's last outputs.
    #[serde(default)]
    pub styles: Vec<String>,
    /// Identity of the prepared music in the latest session.
    pub data: String,
    /// Tracks that were trained on in the latest session.
    pub tracks: usize,
    /// Crops that were trained on in the latest session.
    pub crops: usize,
}

impl Run {
    /// The meaning of each output of the head.
    pub(super) fn layout(&self) -> Layout {
        let teachers = self.teachers.iter().enumerate().map(|(i, name)| {
            let [penultimate, tags] = self.outputs.get(i).copied().unwrap_or([PENULTIMATE, TAGS]);
            Teacher {
                name: name.clone(),
                penultimate,
                tags,
            }
        });
        Layout {
            teachers: teachers.collect(),
            styles: self.styles.len(),
        }
    }

    /// A weight for each teacher.
    pub(super) fn teacher_weights(&self) -> Vec<f32> {
        (0..self.teachers.len())
            .map(|i| self.weights.get(i).copied().unwrap_or(1.0))
            .collect()
    }
}

/// A run's state: weights, their average, optimiser, target statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The run's settings and progress.
    pub run: Run,
    /// The network as trained.
    pub network: OpenL3Weights,
    /// Its moving average, which is validated and exported.
    pub average: OpenL3Weights,
    /// The head as trained.
    pub head: TeacherHead,
    /// Its moving average.
    pub head_average: TeacherHead,
    /// Mean of every target over the training crops.
    pub target_mean: Vec<f32>,
    /// Deviation of every target over the training crops.
    pub target_deviation: Vec<f32>,
    /// Adam's means and mean squares: of the network, then of the head.
    pub adam: [(Vec<f32>, Vec<f32>); 2],
}

/// Trainable parameters and running statistics, each in network order.
pub(super) fn flatten(weights: &OpenL3Weights) -> (Vec<f32>, Vec<f32>) {
    let mut parameters = Vec::new();
    let mut statistics = Vec::new();
    weights.for_each(|name, _, values| {
        // Running statistics are no parameters: averaged, but without gradient.
        if name.contains(".running_") {
            &mut statistics
        } else {
            &mut parameters
        }
        .extend_from_slice(values);
    });
    (parameters, statistics)
}

/// The inverse of [`flatten`]; `None` if a length does not fit.
pub(super) fn unflatten(
    widths: &[usize],
    parameters: &[f32],
    statistics: &[f32],
) -> Option<OpenL3Weights> {
    let widths: [usize; 8] = widths.try_into().ok()?;
    let mut named = HashMap::new();
    let mut parameters = parameters;
    let mut statistics = statistics;
    // Counted before anything is allocated: a damaged file may state any widths.
    let weights: usize = std::iter::once(1)
        .chain(widths)
        .zip(widths)
        .map(|(cin, cout)| cout * (9 * cin + 1))
        .sum();
    let norms = 1 + widths[..7].iter().sum::<usize>();
    if parameters.len() != weights + 2 * norms || statistics.len() != 2 * norms {
        return None;
    }
    // For the names and shapes; the values are not used.
    OpenL3Weights::seeded(0, &widths).for_each(|name, _, values| {
        let from = if name.contains(".running_") {
            &mut statistics
        } else {
            &mut parameters
        };
        let (values, rest) = from.split_at(values.len());
        named.insert(name.to_owned(), values.to_vec());
        *from = rest;
    });
    OpenL3Weights::from_named(|name| named.remove(name)).ok()
}

impl Checkpoint {
    /// Writes the file under another name, then renames it: a crash leaves the old one or the new one.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let (parameters, statistics) = flatten(&self.network);
        let (average, average_statistics) = flatten(&self.average);
        let [net, head] = &self.adam;
        let vectors = [
            ("network", parameters),
            ("network.statistics", statistics),
            ("average", average),
            ("average.statistics", average_statistics),
            ("head", self.head.parameters.clone()),
            ("head.average", self.head_average.parameters.clone()),
            ("target.mean", self.target_mean.clone()),
            ("target.deviation", self.target_deviation.clone()),
            ("adam.network.mean", net.0.clone()),
            ("adam.network.square", net.1.clone()),
            ("adam.head.mean", head.0.clone()),
            ("adam.head.square", head.1.clone()),
        ];
        let tensors = vectors.map(|(name, values)| (name.to_owned(), vec![values.len()], values));
        write_state(path, Some((KEY, &self.run)), tensors)
    }

    /// Whether a file is a checkpoint, by its header alone.
    pub fn is_one(path: &Path) -> bool {
        regular_file::read(path, LARGEST).is_ok_and(|bytes| {
            SafeTensors::read_metadata(&bytes).is_ok_and(|(_, header)| {
                header
                    .metadata()
                    .as_ref()
                    .is_some_and(|m| m.contains_key(KEY))
            })
        })
    }

    /// Reads and checks a file that [`save`](Self::save) wrote.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let bad = |reason: String| TrainError::checkpoint(path, reason);
        let (mut run, tensors): (Run, _) = read_state(path, KEY, "a training run")?;
        if !(OLDEST..=FORMAT).contains(&run.format) {
            return Err(bad(format!(
                "has format {}, expected {OLDEST} to {FORMAT}",
                run.format
            )));
        }
        let take = |name: &str| {
            tensors
                .get(name)
                .cloned()
                .ok_or_else(|| bad(format!("tensor \"{name}\" is missing")))
        };
        // The kernels of the training step need multiples of 16; the bound keeps a damaged header
        // from allocating any amount of memory.
        if run
            .widths
            .iter()
            .any(|width| !(16..=4096).contains(width) || width % 16 != 0)
        {
            return Err(bad(format!(
                "has widths {:?}, expected multiples of 16",
                run.widths
            )));
        }
        let network = |parameters: &str, statistics: &str| {
            unflatten(&run.widths, &take(parameters)?, &take(statistics)?).ok_or_else(|| {
                bad(format!(
                    "tensor \"{parameters}\" does not fit widths {:?}",
                    run.widths
                ))
            })
        };
        let target_mean = take("target.mean")?;
        let target_deviation = take("target.deviation")?;
        let inputs = run.widths.get(7).copied().unwrap_or(0);
        let outputs = target_mean.len();
        // Counts come from a file, so they are added with overflow checks.
        let counted = run
            .outputs
            .iter()
            .flatten()
            .copied()
            .chain([run.styles.len()]);
        let counted = counted.fold(0usize, usize::saturating_add);
        if (!run.outputs.is_empty() && run.outputs.len() != run.teachers.len())
            || counted > outputs
            || run.layout().outputs() != outputs
            || run.teachers.is_empty()
        {
            return Err(bad(format!(
                "its teachers' and styles' outputs do not add up to {outputs}"
            )));
        }
        run.format = FORMAT;
        let head = |name: &str| -> Result<TeacherHead, TrainError> {
            let parameters = take(name)?;
            if parameters.len() != outputs * (inputs + 1) || outputs == 0 {
                return Err(bad(format!(
                    "tensor \"{name}\" does not fit {inputs} × {outputs}"
                )));
            }
            Ok(TeacherHead {
                inputs,
                outputs,
                parameters,
            })
        };
        let checkpoint = Self {
            network: network("network", "network.statistics")?,
            average: network("average", "average.statistics")?,
            head: head("head")?,
            head_average: head("head.average")?,
            target_mean,
            target_deviation,
            adam: [
                (take("adam.network.mean")?, take("adam.network.square")?),
                (take("adam.head.mean")?, take("adam.head.square")?),
            ],
            run,
        };
        let sizes = [
            flatten(&checkpoint.network).0.len(),
            checkpoint.head.parameters.len(),
        ];
        let fits = checkpoint
            .adam
            .iter()
            .zip(sizes)
            .all(|((m, v), n)| m.len() == n && v.len() == n);
        if !fits || checkpoint.target_deviation.len() != outputs {
            return Err(bad(
                "the optimiser's state does not fit the network".to_owned()
            ));
        }
        Ok(checkpoint)
    }

    /// The format that [`Run::format`] has.
    pub(super) const fn format() -> u32 {
        FORMAT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_encoder::openl3::OpenL3Train;
    use voisin_kernels::isa;

    #[test]
    fn flat_order_is_the_trainers() {
        let weights = OpenL3Weights::seeded(8, &[16, 32, 16, 16, 16, 16, 16, 48]);
        let (parameters, statistics) = flatten(&weights);
        assert_eq!(
            OpenL3Train::new(&weights, isa().unwrap()).parameters(),
            parameters
        );
        assert_eq!(
            unflatten(&weights.widths(), &parameters, &statistics),
            Some(weights.clone())
        );
        assert_eq!(
            unflatten(&weights.widths(), &parameters[1..], &statistics),
            None
        );
        // Weights of these widths would have a billion numbers.
        assert_eq!(unflatten(&[4096; 8], &parameters, &statistics), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_checkpoint() {
        assert!(!Checkpoint::is_one(Path::new("/dev/zero")));
    }
}
