//! The laboratory's networks as data: input, layers, settings of training.

use super::{ClassTraining, Schedule};
use voisin_encoder::StackShape;

/// A clip's spectrogram: samples a second, of a frame, between frames; mel bands.
pub(crate) const RATE: u32 = 22_050;
pub(crate) const FRAME: usize = 2048;
pub(crate) const HOP: usize = 512;
pub(crate) const BANDS: usize = 128;

pub(crate) fn samples(seconds: f64) -> usize {
    (seconds * f64::from(RATE)).round() as usize
}

pub(crate) fn frames(seconds: f64) -> usize {
    1 + samples(seconds) / HOP
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeInput {
    /// One clip from the beginning, padded with zeros: mel bands × frames in decibels, of mean 0 and deviation 1.
    Clip,
    /// The means of 40 mel-frequency cepstral coefficients.
    Cepstrum,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layers {
    /// Four convolutions that each halve both sides, with or without norms, and their dropout; then the head.
    Blocks(bool, f64, &'static str),
    /// With commas between them.
    List(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkRecipe {
    pub name: &'static str,
    pub input: RecipeInput,
    layers: Layers,
    /// Seconds that are cut out of a clip each time; 0: the whole clip is used.
    pub crop: f64,
    pub training: ClassTraining,
}

/// Adam without regularisation.
const PLAIN: ClassTraining = ClassTraining {
    epochs: 20,
    batch: 32,
    rate: 1e-3,
    schedule: Schedule::Constant,
    epsilon: 1e-8,
    weight_decay: 0.0,
    l1: 0.0,
    l2: 0.0,
    patience: 0,
    label_smoothing: 0.0,
    mixup: 0.0,
    mask: 0.0,
};

const BASELINE: NetworkRecipe = NetworkRecipe {
    name: "",
    input: RecipeInput::Clip,
    layers: Layers::Blocks(false, 0.1, "flatten"),
    crop: 0.0,
    training: PLAIN,
};

impl NetworkRecipe {
    pub const ALL: [Self; 5] = [
        Self {
            name: "baseline-cnn",
            ..BASELINE
        },
        Self {
            name: "baseline-cnn-bn",
            layers: Layers::Blocks(true, 0.1, "flatten"),
            ..BASELINE
        },
        Self {
            name: "cnn-gap",
            layers: Layers::Blocks(true, 0.2, "gap"),
            crop: 10.0,
            training: ClassTraining {
                epochs: 60,
                schedule: Schedule::Cosine,
                weight_decay: 1e-4,
                patience: 10,
                label_smoothing: 0.1,
                mixup: 0.2,
                mask: 0.15,
                ..PLAIN
            },
            ..BASELINE
        },
        Self {
            name: "cnn-lstm-mfcc",
            input: RecipeInput::Cepstrum,
            layers: Layers::List(
                "sequence, conv1 16 2 valid, relu, pool1 2, dropout 0.2, \
                 lstm 64 last one-bias, linear classes",
            ),
            training: ClassTraining {
                epochs: 50,
                patience: 5,
                epsilon: 1e-7,
                ..PLAIN
            },
            ..BASELINE
        },
        Self {
            name: "cnn-lstm-time",
            layers: Layers::List(
                "frames, \
                 conv1 64 5 same, batch-norm, relu, pool1 4, dropout 0.2, \
                 conv1 128 5 same, batch-norm, relu, pool1 4, dropout 0.2, \
                 lstm 128 last, dropout 0.3, linear classes",
            ),
            training: ClassTraining {
                patience: 5,
                l2: 1e-4,
                ..PLAIN
            },
            ..BASELINE
        },
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.name == name)
    }

    pub fn layers(&self) -> Vec<String> {
        let (norm, dropout, head) = match self.layers {
            Layers::List(list) => return list.split(", ").map(str::to_owned).collect(),
            Layers::Blocks(norm, dropout, head) => (norm, dropout, head),
        };
        let mut layers = Vec::new();
        for channels in [16, 32, 64, 128] {
            layers.push(format!("conv {channels} 3x3 same"));
            if norm {
                layers.push("batch-norm".to_owned());
            }
            layers.extend(["relu", "pool 2x2"].map(str::to_owned));
            layers.push(format!("dropout {dropout}"));
        }
        layers.extend([head, "linear classes"].map(str::to_owned));
        layers
    }

    /// Seconds of its clips by default.
    pub fn seconds(&self) -> f64 {
        match self.input {
            RecipeInput::Clip => 29.9,
            RecipeInput::Cepstrum => 0.0,
        }
    }

    /// Shape of an example.
    ///
    /// - `seconds`: of a clip
    pub fn example(&self, seconds: f64) -> StackShape {
        match self.input {
            RecipeInput::Clip => StackShape::Image(1, BANDS, frames(seconds)),
            RecipeInput::Cepstrum => StackShape::Vector(40),
        }
    }
}
