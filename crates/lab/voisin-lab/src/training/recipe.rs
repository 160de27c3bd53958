//! The laboratory's networks as data: input, layers, settings of training.

use super::{ClassTraining, ClassWeights, Schedule};
use voisin_encoder::StackShape;

/// A network's input from a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeInput {
    /// One clip from the beginning, padded with zeros: mel bands × frames in decibels, of mean 0 and deviation 1.
    Clip(ClipNumbers),
    /// The means of 40 mel-frequency cepstral coefficients.
    Cepstrum,
}

/// Numbers of a clip's spectrogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipNumbers {
    /// Hz.
    pub sample_rate: u32,
    /// Samples of a frame.
    pub n_fft: usize,
    /// Samples between frames.
    pub hop: usize,
    /// Mel bands.
    pub bands: usize,
    /// Milliseconds of a clip.
    pub length: usize,
}

/// 29.9 s in 128 bands and 1288 frames.
const USUAL_CLIP: ClipNumbers = ClipNumbers {
    sample_rate: 22_050,
    n_fft: 2048,
    hop: 512,
    bands: 128,
    length: 29_900,
};

impl ClipNumbers {
    /// Samples of a clip of this length.
    pub fn samples(&self, seconds: f64) -> usize {
        (seconds * f64::from(self.sample_rate)).round() as usize
    }

    /// Frames of its spectrogram.
    pub fn frames(&self, seconds: f64) -> usize {
        1 + self.samples(seconds) / self.hop
    }
}

/// A network and its default settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkRecipe {
    /// Its name in configurations.
    pub name: &'static str,
    /// The network's input.
    pub input: RecipeInput,
    /// Its layers, with commas between them.
    pub layers: &'static str,
    /// Milliseconds that are cut out of a clip each time; 0: the whole clip is used.
    pub crop: usize,
    /// Augmented copies of every track.
    pub copies: usize,
    /// Settings of the training.
    pub training: ClassTraining,
}

/// The settings of most recipes.
const USUAL: NetworkRecipe = NetworkRecipe {
    name: "",
    input: RecipeInput::Clip(USUAL_CLIP),
    layers: "",
    crop: 0,
    copies: 0,
    training: PLAIN,
};
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
    clip: 0.0,
    patience: 0,
    class_weights: ClassWeights::None,
    label_smoothing: 0.0,
    mixup: 0.0,
    mask: 0.0,
};

impl NetworkRecipe {
    /// Every network of the laboratory.
    pub const ALL: [Self; 5] = [
        Self {
            name: "baseline-cnn",
            layers: "conv 16 3x3 same, relu, pool 2x2, dropout 0.1, \
                     conv 32 3x3 same, relu, pool 2x2, dropout 0.1, \
                     conv 64 3x3 same, relu, pool 2x2, dropout 0.1, \
                     conv 128 3x3 same, relu, pool 2x2, dropout 0.1, \
                     flatten, linear classes",
            ..USUAL
        },
        Self {
            name: "baseline-cnn-bn",
            layers: "conv 16 3x3 same, batch-norm, relu, pool 2x2, dropout 0.1, \
                     conv 32 3x3 same, batch-norm, relu, pool 2x2, dropout 0.1, \
                     conv 64 3x3 same, batch-norm, relu, pool 2x2, dropout 0.1, \
                     conv 128 3x3 same, batch-norm, relu, pool 2x2, dropout 0.1, \
                     flatten, linear classes",
            ..USUAL
        },
        Self {
            name: "cnn-gap",
            layers: "conv 16 3x3 same, batch-norm, relu, pool 2x2, dropout 0.2, \
                     conv 32 3x3 same, batch-norm, relu, pool 2x2, dropout 0.2, \
                     conv 64 3x3 same, batch-norm, relu, pool 2x2, dropout 0.2, \
                     conv 128 3x3 same, batch-norm, relu, pool 2x2, dropout 0.2, \
                     gap, linear classes",
            crop: 10_000,
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
            ..USUAL
        },
        Self {
            name: "cnn-lstm-mfcc",
            input: RecipeInput::Cepstrum,
            layers: "sequence, conv1 16 2 valid, relu, pool1 2, dropout 0.2, \
                     lstm 64 last one-bias, linear classes",
            training: ClassTraining {
                epochs: 50,
                patience: 5,
                epsilon: 1e-7,
                ..PLAIN
            },
            ..USUAL
        },
        Self {
            name: "cnn-lstm-time",
            layers: "frames, \
                     conv1 64 5 same, batch-norm, relu, pool1 4, dropout 0.2, \
                     conv1 128 5 same, batch-norm, relu, pool1 4, dropout 0.2, \
                     lstm 128 last, dropout 0.3, linear classes",
            training: ClassTraining {
                patience: 5,
                l2: 1e-4,
                ..PLAIN
            },
            ..USUAL
        },
    ];

    /// The recipe of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.name == name)
    }

    /// Its layers as a list.
    pub fn layers(&self) -> Vec<&'static str> {
        self.layers.split(", ").collect()
    }

    /// Seconds of its clips by default.
    pub fn seconds(&self) -> f64 {
        match self.input {
            RecipeInput::Clip(clip) => clip.length as f64 / 1000.0,
            RecipeInput::Cepstrum => 0.0,
        }
    }

    /// Shape of an example.
    ///
    /// - `seconds`: of a clip
    pub fn example(&self, seconds: f64) -> StackShape {
        match self.input {
            RecipeInput::Clip(clip) => StackShape::Image(1, clip.bands, clip.frames(seconds)),
            RecipeInput::Cepstrum => StackShape::Vector(40),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_encoder::Stack;

    /// Numbers in a network's tensors: parameters and running statistics.
    fn numbers(recipe: NetworkRecipe, classes: usize) -> (usize, usize) {
        let input = recipe.example(recipe.seconds());
        let tensors = Stack::new(&recipe.layers(), input, classes)
            .unwrap()
            .tensors(1);
        assert!(
            tensors
                .iter()
                .all(|one| one.shape.iter().product::<usize>() == one.values.len())
        );
        let count = |is_parameter: bool| {
            tensors
                .iter()
                .filter(|one| one.is_parameter() == is_parameter)
                .map(|one| one.values.len())
                .sum()
        };
        (count(true), count(false))
    }

    #[test]
    fn every_network_has_the_parameters_of_its_description() {
        for (name, classes, input, expected) in [
            (
                "baseline-cnn",
                8,
                StackShape::Image(1, 128, 1288),
                (752_520, 0),
            ),
            (
                "baseline-cnn-bn",
                8,
                StackShape::Image(1, 128, 1288),
                (753_000, 480),
            ),
            ("cnn-gap", 8, StackShape::Image(1, 128, 1288), (98_664, 480)),
            ("cnn-lstm-mfcc", 10, StackShape::Vector(40), (21_434, 0)),
            (
                "cnn-lstm-time",
                8,
                StackShape::Image(1, 128, 1288),
                (215_624, 384),
            ),
        ] {
            let recipe = NetworkRecipe::named(name).unwrap();
            assert_eq!(recipe.example(recipe.seconds()), input, "{name}");
            assert_eq!(numbers(recipe, classes), expected, "{name}");
        }
    }
}
