//! The table `[network]` of a run's configuration.

use serde::{Deserialize, Serialize};

use crate::config::in_range;
use crate::training::{ClassTraining, NetworkRecipe, RecipeInput};
use voisin_encoder::{Stack, StackShape};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Seconds of a clip, for networks of clips.
    pub seconds: f64,
    /// Seconds that are cut out of a clip each time, at random in training and evenly spread in the evaluation; 0: no crops.
    pub crop: f64,
    /// Augmented copies of every track for training: up to a tenth faster or slower, with noise 20 to 50 dB below.
    pub copies: usize,
    pub training: ClassTraining,
}

impl NetworkSettings {
    pub fn of(recipe: &NetworkRecipe) -> Self {
        Self {
            seconds: recipe.seconds(),
            crop: recipe.crop,
            copies: 0,
            training: recipe.training,
        }
    }

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

    /// Checks all settings; the error names the first one out of range.
    pub(crate) fn check(&self, recipe: &NetworkRecipe) -> Result<(), String> {
        let takes_clips = matches!(recipe.input, RecipeInput::Clip);
        let takes_crop = takes_clips && (0.5..=self.seconds).contains(&self.crop);
        if self.crop != 0.0 && !takes_crop {
            let expected = "0, or for networks of clips 0.5 to the length of a clip";
            return Err(format!("network.crop: expected {expected}"));
        }
        let seconds = if takes_clips { self.seconds } else { 1.0 };
        in_range(&[
            ("seconds", seconds, 0.5, 120.0),
            ("copies", self.copies as f64, 0.0, 20.0),
        ])
        .map_err(|problem| format!("network.{problem}"))?;
        self.training
            .check()
            .map_err(|problem| format!("network.{problem}"))?;
        // The number of classes depends on the data; any number shows whether the layers fit each other.
        let fitting = Stack::new(&recipe.layers(), self.input(recipe), 2);
        fitting
            .map(|_| ())
            .map_err(|error| format!("network.seconds: {error}"))
    }
}
