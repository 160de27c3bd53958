//! Checkpoints, from which a run resumes bit for bit.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use voisin_encoder::openl3::{self, FRAMES, MELS};
use voisin_encoder::{Stack, StackShape, StackTensor};
use voisin_lab::training::session::{read_state, write_state};

use crate::head::TeacherHead;
use crate::layout::{Teacher, outputs};

/// Key of the run in a checkpoint's header.
const KEY: &str = "run";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub step: u64,
    pub windows: u64,
    /// Windows that the runs from which this one was started were trained on.
    pub windows_before: u64,
    /// Channels of the eight convolutions.
    pub widths: [usize; 8],
    pub seed: u64,
    /// Teachers, in the order of the head's outputs.
    pub teachers: Vec<Teacher>,
    pub tracks: usize,
}

/// A run's state: weights, their average, optimiser, target statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub run: Run,
    pub network: Vec<StackTensor>,
    /// Its moving average, which is exported.
    pub average: Vec<StackTensor>,
    pub head: TeacherHead,
    pub head_average: TeacherHead,
    /// Mean of every target over the training crops.
    pub mean: Vec<f32>,
    /// Deviation of every target over the training crops.
    pub deviation: Vec<f32>,
    /// Adam's means and mean squares: of the network, then of the head.
    pub adam: (Vec<f32>, Vec<f32>),
}

/// The layers of a network with these channels.
pub fn layers(widths: &[usize; 8]) -> anyhow::Result<Stack> {
    let image = StackShape::Image(1, MELS, FRAMES);
    Ok(Stack::new(&openl3::layers(widths), image, widths[7])?)
}

/// Trainable parameters and running statistics, each in network order.
pub fn flatten(tensors: &[StackTensor]) -> (Vec<f32>, Vec<f32>) {
    let of = |learnt: bool| {
        let tensors = tensors.iter().filter(|one| one.is_parameter() == learnt);
        tensors.flat_map(|one| one.values.iter().copied()).collect()
    };
    (of(true), of(false))
}

/// The inverse of [`flatten`].
pub fn unflatten<'a>(
    widths: &[usize; 8],
    mut parameters: &'a [f32],
    mut statistics: &'a [f32],
) -> anyhow::Result<Vec<StackTensor>> {
    let mut tensors = layers(widths)?.tensors(0);
    let sizes = flatten(&tensors);
    ensure!(
        parameters.len() == sizes.0.len() && statistics.len() == sizes.1.len(),
        "the weights do not fit widths {widths:?}"
    );
    for tensor in &mut tensors {
        let from = if tensor.is_parameter() {
            &mut parameters
        } else {
            &mut statistics
        };
        let (values, rest) = from.split_at(tensor.values.len());
        tensor.values.copy_from_slice(values);
        *from = rest;
    }
    Ok(tensors)
}

impl Checkpoint {
    /// Writes the file under another name, then renames it: a crash leaves the old one or the new one.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let (parameters, statistics) = flatten(&self.network);
        let (average, average_statistics) = flatten(&self.average);
        let vectors = [
            ("network", parameters),
            ("network.statistics", statistics),
            ("average", average),
            ("average.statistics", average_statistics),
            ("head", self.head.parameters.clone()),
            ("head.average", self.head_average.parameters.clone()),
            ("target.mean", self.mean.clone()),
            ("target.deviation", self.deviation.clone()),
            ("adam.mean", self.adam.0.clone()),
            ("adam.square", self.adam.1.clone()),
        ];
        let tensors = vectors.map(|(name, values)| (name.to_owned(), vec![values.len()], values));
        Ok(write_state(path, Some((KEY, &self.run)), tensors)?)
    }

    /// Reads and checks a file that [`save`](Self::save) wrote.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let (run, mut tensors): (Run, _) = read_state(path, KEY, "a training run")?;
        let mut take = |name: &str, length: Option<usize>| {
            let values = tensors.remove(name).with_context(|| format!("no {name}"))?;
            ensure!(
                length.is_none_or(|length| length == values.len()),
                "{name} is of another length"
            );
            anyhow::Ok(values)
        };
        let outputs = outputs(&run.teachers);
        let inputs = run.widths[7];
        let size = outputs * (inputs + 1);
        let mut network = |parameters: &str, statistics: &str| {
            let [parameters, statistics] = [take(parameters, None)?, take(statistics, None)?];
            unflatten(&run.widths, &parameters, &statistics)
        };
        let now = network("network", "network.statistics")?;
        let average = network("average", "average.statistics")?;
        let parameters = flatten(&now).0.len();
        let mut head = |name: &str| {
            anyhow::Ok(TeacherHead {
                inputs,
                outputs,
                parameters: take(name, Some(size))?,
            })
        };
        let [head, head_average] = [head("head")?, head("head.average")?];
        let all = Some(parameters + size);
        let adam = (take("adam.mean", all)?, take("adam.square", all)?);
        Ok(Self {
            network: now,
            average,
            head,
            head_average,
            mean: take("target.mean", Some(outputs))?,
            deviation: take("target.deviation", Some(outputs))?,
            adam,
            run,
        })
    }
}
