//! The table `[network]` of a run's configuration.

use serde::{Deserialize, Serialize};

use crate::encoder::{ModelRef, Stack};
use crate::train::classifier::{NetworkRecipe, RecipeInput, Schedule};

/// How a network is made and trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Its layers; none for `space`, which is OpenL3's network.
    pub layers: Vec<String>,
    /// Of `space`: 1, 2 or 4, the part of OpenL3's width that it has.
    pub width: usize,
    /// Of `space`: a model of OpenL3's shape to begin with; empty: random weights.
    pub start: String,
    /// Of `space`: windows of one second of each track.
    pub windows: usize,
    /// Seconds of a clip, of networks that hear one.
    pub seconds: f64,
    /// Times that every spectrogram is learnt from.
    pub epochs: usize,
    /// Spectrograms of a step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// How it goes on.
    pub schedule: Schedule,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Longest gradient; 0: any.
    pub clip: f64,
    /// Epochs without a better one that end the training; 0: none.
    pub patience: usize,
}

impl NetworkSettings {
    /// What a recipe has.
    pub fn of(recipe: &NetworkRecipe) -> Self {
        let is_space = recipe.input == RecipeInput::Windows;
        Self {
            layers: recipe.layers().into_iter().map(str::to_owned).collect(),
            width: 4,
            start: String::new(),
            windows: if is_space { 12 } else { 1 },
            seconds: recipe.seconds(),
            epochs: recipe.epochs,
            batch: recipe.batch,
            rate: recipe.rate,
            schedule: recipe.schedule,
            weight_decay: recipe.weight_decay,
            clip: if is_space { 5.0 } else { 0.0 },
            patience: recipe.patience,
        }
    }

    /// The model to begin with.
    pub fn start(&self) -> Option<ModelRef> {
        let text = self.start.trim();
        let model = text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
        if text.is_empty() { None } else { Some(model) }
    }

    /// Says which setting cannot be worked with.
    pub(in crate::lab) fn check(&self, recipe: &NetworkRecipe) -> Result<(), String> {
        let is_space = recipe.input == RecipeInput::Windows;
        let hears_clips = matches!(recipe.input, RecipeInput::Clip(_));
        for (fits, key, expected) in [
            ([1, 2, 4].contains(&self.width), "width", "1, 2 or 4"),
            (
                is_space || self.start.is_empty(),
                "start",
                "nothing: only the recipe space begins with a model",
            ),
            ((1..=600).contains(&self.windows), "windows", "1 to 600"),
            (is_space || self.windows == 1, "windows", "1: only the recipe space hears several"),
            (!hears_clips || (0.5..=120.0).contains(&self.seconds), "seconds", "0.5 to 120"),
            ((1..=100_000).contains(&self.epochs), "epochs", "1 to 100000"),
            ((2..=4096).contains(&self.batch), "batch", "2 to 4096"),
            (self.rate > 0.0 && self.rate <= 10.0, "rate", "more than 0, at most 10"),
            ((0.0..=1.0).contains(&self.weight_decay), "weight_decay", "0 to 1"),
            ((0.0..=1e9).contains(&self.clip), "clip", "0 or more"),
        ] {
            if !fits {
                return Err(format!("network.{key}: expected {expected}"));
            }
        }
        if is_space {
            return if self.layers.is_empty() {
                Ok(())
            } else {
                Err("network.layers: expected none, the recipe space has OpenL3's".to_owned())
            };
        }
        // How many classes there are is known when the data is; any number shows whether the layers fit each other.
        let fitting = Stack::new(&self.layers, recipe.example(self.seconds), 2);
        fitting.map(|_| ()).map_err(|error| format!("network.layers: {error}"))
    }
}
