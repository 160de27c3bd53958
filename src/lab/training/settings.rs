//! Settings of training, `[training]` in a run's configuration, and the rate of each step.

use serde::{Deserialize, Serialize};

use super::cosine;
use crate::config::in_range;

/// Epochs without a lower validation loss after which [`Schedule::Plateau`] halves the rate.
const PLATEAU: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Constant,
    /// It rises in the first epoch and then falls along a cosine.
    Cosine,
    /// It is halved after three epochs without a lower validation loss.
    Plateau,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassTraining {
    pub epochs: usize,
    pub batch: usize,
    pub rate: f64,
    pub schedule: Schedule,
    /// Adam's epsilon, added to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices and kernels.
    pub weight_decay: f64,
    /// Weight of the sum of their absolute values in the loss.
    pub l1: f64,
    /// Weight of the sum of their squares in the loss, as in Keras.
    pub l2: f64,
    /// Epochs without improvement that end the training; 0: no limit.
    pub patience: usize,
    /// Share of every target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Both parameters of the beta distribution by which examples and targets are mixed; 0: no mixing.
    pub mixup: f64,
    /// Largest share of the bands, and of the frames, that is masked at a time; 0: none.
    pub mask: f64,
}

impl ClassTraining {
    pub fn check(&self) -> Result<(), String> {
        in_range(&[
            ("epochs", self.epochs as f64, 1.0, 1e5),
            ("batch", self.batch as f64, 2.0, 4096.0),
            ("rate", self.rate, 1e-9, 10.0),
            ("epsilon", self.epsilon, 1e-30, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 1.0),
            ("l1", self.l1, 0.0, 1.0),
            ("l2", self.l2, 0.0, 1.0),
            ("label_smoothing", self.label_smoothing, 0.0, 0.999),
            ("mixup", self.mixup, 0.0, 1.0),
            ("mask", self.mask, 0.0, 0.5),
        ])
        .map_err(|problem| format!("training.{problem}"))
    }

    /// The learning rate of a step.
    ///
    /// - `share`: steps done, as a share of all
    /// - `losses`: on the validation part, of every epoch so far
    pub(super) fn rate_at(&self, share: f64, losses: impl Iterator<Item = f64>) -> f64 {
        match self.schedule {
            Schedule::Constant => self.rate,
            // The rise takes the first epoch, or half of a single one.
            Schedule::Cosine => cosine(self.rate, share, 1.0 / self.epochs.max(2) as f64),
            Schedule::Plateau => {
                // From the history alone, so that a resumed run has the same rate.
                let mut least = f64::INFINITY;
                let mut waited = 0;
                let mut rate = self.rate;
                for loss in losses {
                    waited += 1;
                    if loss < least {
                        (least, waited) = (loss, 0);
                    } else if waited == PLATEAU {
                        // The count starts again, so that the lower rate gets as many epochs.
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
    use crate::training::NetworkRecipe;

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
    }
}
