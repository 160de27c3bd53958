//! The meaning of the head's outputs: teacher after teacher, its penultimate layer, then its tag logits.

use serde::{Deserialize, Serialize};

/// A teacher, and the number of its outputs for a crop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Teacher {
    /// Its model's name.
    pub name: String,
    pub penultimate: usize,
    pub tags: usize,
}

impl Teacher {
    pub fn outputs(&self) -> usize {
        self.penultimate + self.tags
    }
}

pub fn outputs(teachers: &[Teacher]) -> usize {
    teachers.iter().map(Teacher::outputs).sum()
}

/// Each teacher with its first output.
pub fn spans(teachers: &[Teacher]) -> impl Iterator<Item = (&Teacher, usize)> {
    teachers.iter().scan(0, |at, teacher| {
        let start = *at;
        *at += teacher.outputs();
        Some((teacher, start))
    })
}

/// Scales raw targets to mean 0 and deviation 1.
pub fn standardise(raw: &[f32], mean: &[f32], deviation: &[f32], out: &mut [f32]) {
    for (((y, x), mean), deviation) in out.iter_mut().zip(raw).zip(mean).zip(deviation) {
        *y = (x - mean) / deviation;
    }
}
