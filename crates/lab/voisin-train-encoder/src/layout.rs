//! The meaning of the head's outputs.

use serde::{Deserialize, Serialize};

/// Values of MusiCNN's penultimate layer, the default of files that do not state it.
pub(super) const PENULTIMATE: usize = 200;

/// A teacher, and the number of its outputs for a crop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Teacher {
    /// Its model's name.
    pub name: String,
    /// Values of its penultimate layer.
    pub penultimate: usize,
    /// Its tag logits.
    pub tags: usize,
}

impl Teacher {
    /// Values in all.
    pub fn outputs(&self) -> usize {
        self.penultimate + self.tags
    }
}

/// The head's outputs: teacher after teacher (penultimate layer, tag logits), then one logit per style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub teachers: Vec<Teacher>,
    pub styles: usize,
}

/// The kind of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputKind {
    Penultimate,
    Tag,
    Style,
}

impl Layout {
    /// Outputs of the teachers.
    pub(super) fn targets(&self) -> usize {
        self.teachers.iter().map(Teacher::outputs).sum()
    }

    /// All outputs.
    pub(super) fn outputs(&self) -> usize {
        self.targets() + self.styles
    }

    /// Each teacher with its first output.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Teacher, usize)> {
        self.teachers.iter().scan(0, |at, teacher| {
            let start = *at;
            *at += teacher.outputs();
            Some((teacher, start))
        })
    }

    /// The kind of each output.
    pub(super) fn kinds(&self) -> Vec<OutputKind> {
        let mut kinds = Vec::with_capacity(self.outputs());
        for teacher in &self.teachers {
            kinds.extend(std::iter::repeat_n(
                OutputKind::Penultimate,
                teacher.penultimate,
            ));
            kinds.extend(std::iter::repeat_n(OutputKind::Tag, teacher.tags));
        }
        kinds.extend(std::iter::repeat_n(OutputKind::Style, self.styles));
        kinds
    }
}

/// Scales raw targets to mean 0 and deviation 1.
pub(super) fn standardise(raw: &[f32], mean: &[f32], deviation: &[f32], out: &mut [f32]) {
    for (((y, x), mean), deviation) in out.iter_mut().zip(raw).zip(mean).zip(deviation) {
        *y = (x - mean) / deviation;
    }
}
