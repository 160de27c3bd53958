//! How a network is trained, as `[training]` of a run's configuration has it.

use serde::{Deserialize, Serialize};

use super::Decision;
use crate::cosine;

/// Epochs in which the validation loss does not fall, after which [`Schedule::Plateau`] halves the rate.
const PLATEAU: usize = 3;

/// How the learning rate goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It rises in the first epoch and then falls along a cosine.
    Cosine,
    /// It is halved whenever the validation loss has not fallen for three epochs.
    Plateau,
}

/// How much a track counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every track the same.
    None,
    /// Every class the same.
    Balanced,
}

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassTraining {
    /// Times that every example is learnt from.
    pub epochs: usize,
    /// Examples of a step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// How it goes on.
    pub schedule: Schedule,
    /// Adam's addition to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices and kernels.
    pub weight_decay: f64,
    /// The weight in the loss of the sum of their absolute values.
    #[serde(default)]
    pub l1: f64,
    /// The weight in the loss of the sum of their squares, as Keras means it.
    pub l2: f64,
    /// Longest gradient; 0: any.
    pub clip: f64,
    /// Epochs without a better one that end the training; 0: none.
    pub patience: usize,
    /// How much a track counts.
    pub class_weights: ClassWeights,
    /// Share of every answer that belongs to all classes alike.
    pub label_smoothing: f64,
    /// How much examples are mixed with others and their answers likewise: both parameters of a beta distribution; 0: not.
    pub mixup: f64,
    /// Largest share of the bands, and of the frames, that is blanked at a time; 0: none.
    pub mask: f64,
    /// Of `space`: what it counts in the loss where tracks are nearer to each other, or farther, than the model that it
    /// begins with had them; 0: nothing.
    #[serde(default)]
    pub anchor: f64,
    /// Whether the earliest epoch within one standard error of the best is kept, rather than the best.
    #[serde(default)]
    pub within_error: bool,
    /// How what is said of a track's windows or crops becomes one answer.
    #[serde(default)]
    pub decide: Decision,
}

impl ClassTraining {
    /// Says which setting cannot be worked with.
    pub fn check(&self) -> Result<(), String> {
        for (fits, key, expected) in [
            (
                (1..=100_000).contains(&self.epochs),
                "epochs",
                "1 to 100000",
            ),
            ((2..=4096).contains(&self.batch), "batch", "2 to 4096"),
            (
                self.rate > 0.0 && self.rate <= 10.0,
                "rate",
                "more than 0, at most 10",
            ),
            (
                self.epsilon > 0.0 && self.epsilon <= 1.0,
                "epsilon",
                "more than 0, at most 1",
            ),
            (
                (0.0..=1.0).contains(&self.weight_decay),
                "weight_decay",
                "0 to 1",
            ),
            ((0.0..=1.0).contains(&self.l1), "l1", "0 to 1"),
            ((0.0..=1.0).contains(&self.l2), "l2", "0 to 1"),
            ((0.0..=1e9).contains(&self.clip), "clip", "0 or more"),
            (
                (0.0..1.0).contains(&self.label_smoothing),
                "label_smoothing",
                "0 to below 1",
            ),
            ((0.0..=1.0).contains(&self.mixup), "mixup", "0 to 1"),
            ((0.0..=0.5).contains(&self.mask), "mask", "0 to 0.5"),
            ((0.0..=1e6).contains(&self.anchor), "anchor", "0 to 1000000"),
        ] {
            if !fits {
                return Err(format!("training.{key}: expected {expected}"));
            }
        }
        Ok(())
    }

    /// The learning rate of a step.
    ///
    /// - `share`: of all steps that are done
    /// - `losses`: on the validation part, of every epoch so far
    pub(super) fn rate_at(&self, share: f64, losses: impl Iterator<Item = f64>) -> f64 {
        match self.schedule {
            Schedule::Constant => self.rate,
            // The rise takes the first epoch; of a run of one epoch half of it.
            Schedule::Cosine => cosine(self.rate, share, 1.0 / self.epochs.max(2) as f64),
            Schedule::Plateau => {
                // From the history alone, so that a resumed run finds the same rate.
                let mut least = f64::INFINITY;
                let mut waited = 0;
                let mut rate = self.rate;
                for loss in losses {
                    waited += 1;
                    if loss < least {
                        (least, waited) = (loss, 0);
                    } else if waited == PLATEAU {
                        // The count begins anew: the smaller rate gets as many epochs to show
                        // itself.
                        (rate, waited) = (rate / 2.0, 0);
                    }
                }
                rate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::NetworkRecipe;

    #[test]
    fn plateaus_halve_the_rate() {
        let plain = NetworkRecipe::named("baseline-cnn").unwrap().training;
        let training = ClassTraining {
            schedule: Schedule::Plateau,
            rate: 1.0,
            ..plain
        };
        let rate = |losses: &[f64]| training.rate_at(0.5, losses.iter().copied());
        assert_eq!(rate(&[]), 1.0);
        assert_eq!(rate(&[3.0, 2.0, 2.5, 2.0]), 1.0);
        assert_eq!(rate(&[3.0, 2.0, 2.5, 2.0, 2.1]), 0.5);
        assert_eq!(rate(&[3.0, 2.0, 2.5, 2.0, 2.1, 1.9, 2.0, 2.0, 2.0]), 0.25);
        assert!(
            plain.check().is_ok()
                && ClassTraining {
                    mixup: 2.0,
                    ..plain
                }
                .check()
                .is_err()
        );
    }
}
