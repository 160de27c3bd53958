//! The table `[network]` of a run's configuration.

use serde::{Deserialize, Serialize};

use voisin_encoder::{FirstWeights, ModelRef, Stack, StackShape};
use voisin_train::classifier::{ClassTraining, NetworkRecipe, RecipeInput};

/// The model from which `space` starts: voisin's model of a single network.
const START: &str = "voisin-3";

/// Settings of a network and its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Its layers; none for `space`, which is OpenL3's network.
    pub layers: Vec<String>,
    /// For `space` from random weights: the divisor of OpenL3's width, 1, 2 or 4.
    pub width: usize,
    /// For `space`: the initial model, of OpenL3's shape; empty: random weights.
    pub start: String,
    /// For `space` that starts from a model: whether its network stays frozen, so that only the
    /// linear layer that computes search vectors is trained.
    pub frozen: bool,
    /// For `space`: windows of one second of each track.
    pub windows: usize,
    /// Seconds of a clip, for networks of clips.
    pub seconds: f64,
    /// Seconds that are cut out of a clip each time, at random in training and evenly spread in the evaluation; 0: no crops.
    pub crop: f64,
    /// Augmented copies of every track for training: up to a tenth faster or slower, with noise 20 to 50 dB below.
    pub copies: usize,
    /// Initialisation of the weights; `space` ignores it.
    pub initialise: FirstWeights,
    /// Settings of training.
    pub training: ClassTraining,
}

impl NetworkSettings {
    /// Defaults of a recipe.
    pub fn of(recipe: &NetworkRecipe) -> Self {
        let is_space = recipe.input == RecipeInput::Windows;
        Self {
            layers: recipe.layers().into_iter().map(str::to_owned).collect(),
            width: 4,
            start: if is_space {
                START.to_owned()
            } else {
                String::new()
            },
            frozen: is_space,
            windows: if is_space { 4 } else { 1 },
            seconds: recipe.seconds(),
            crop: recipe.crop as f64 / 1000.0,
            copies: recipe.copies,
            initialise: recipe.first,
            training: recipe.training,
        }
    }

    /// Shape of the network's input.
    pub fn input(&self, recipe: &NetworkRecipe) -> StackShape {
        recipe.example(if self.crop > 0.0 {
            self.crop
        } else {
            self.seconds
        })
    }

    /// Number of crops of a clip, evenly spread, whose predictions are combined.
    pub fn crops(&self) -> usize {
        if self.crop > 0.0 {
            (self.seconds / self.crop).ceil() as usize
        } else {
            1
        }
    }

    /// The initial model.
    pub fn start(&self) -> Option<ModelRef> {
        let text = self.start.trim();
        let model = text
            .parse()
            // Any text parses as a model; whether it exists is checked when it is opened.
            .unwrap_or_else(|never: std::convert::Infallible| match never {});
        if text.is_empty() { None } else { Some(model) }
    }

    /// Whether the initial network stays frozen.
    pub(super) fn keeps_weights(&self) -> bool {
        self.frozen && self.start().is_some()
    }

    /// Checks all settings; the error names the first one out of range.
    pub(crate) fn check(&self, recipe: &NetworkRecipe) -> Result<(), String> {
        let is_space = recipe.input == RecipeInput::Windows;
        let takes_clips = matches!(recipe.input, RecipeInput::Clip(_));
        for (fits, key, expected) in [
            ([1, 2, 4].contains(&self.width), "width", "1, 2 or 4"),
            (
                self.start.is_empty() || self.width == 4,
                "width",
                "4: the initial model has its own; start= takes random weights of any width",
            ),
            (
                is_space || self.training.anchor == 0.0,
                "training.anchor",
                "0: only the recipe space has an initial model",
            ),
            (
                is_space || self.start.is_empty(),
                "start",
                "nothing: only the recipe space has an initial model",
            ),
            (
                is_space || !self.frozen,
                "frozen",
                "false: only the recipe space has an initial model",
            ),
            ((1..=600).contains(&self.windows), "windows", "1 to 600"),
            (
                is_space || self.windows == 1,
                "windows",
                "1: only the recipe space takes several",
            ),
            (
                !takes_clips || (0.5..=120.0).contains(&self.seconds),
                "seconds",
                "0.5 to 120",
            ),
            (
                self.crop == 0.0 || (takes_clips && (0.5..=self.seconds).contains(&self.crop)),
                "crop",
                "0, or for networks of clips 0.5 to the length of a clip",
            ),
            ((0..=20).contains(&self.copies), "copies", "0 to 20"),
        ] {
            if !fits {
                return Err(format!("network.{key}: expected {expected}"));
            }
        }
        self.training
            .check()
            .map_err(|problem| format!("network.{problem}"))?;
        if is_space {
            return if self.layers.is_empty() {
                Ok(())
            } else {
                Err("network.layers: expected none, the recipe space has OpenL3's".to_owned())
            };
        }
        // The number of classes depends on the data; any number shows whether the layers fit each other.
        let fitting = Stack::new(&self.layers, self.input(recipe), 2);
        fitting
            .map(|_| ())
            .map_err(|error| format!("network.layers: {error}"))
    }
}
