//! Settings of training, `[training]` in a run's configuration.

use serde::{Deserialize, Serialize};

use super::cosine;

/// Epochs without a lower validation loss after which [`Schedule::Plateau`] halves the rate.
const PLATEAU: usize = 3;

/// The schedule of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It is constant.
    Constant,
    /// It rises in the first epoch and then falls along a cosine.
    Cosine,
    /// It is halved after three epochs without a lower validation loss.
    Plateau,
}

/// Settings of training a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassTraining {
    /// Epochs.
    pub epochs: usize,
    /// Examples a step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// Schedule of the learning rate.
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
    /// Checks that all settings are in range.
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
            (
                (0.0..1.0).contains(&self.label_smoothing),
                "label_smoothing",
                "0 to below 1",
            ),
            ((0.0..=1.0).contains(&self.mixup), "mixup", "0 to 1"),
            ((0.0..=0.5).contains(&self.mask), "mask", "0 to 0.5"),
        ] {
            if !fits {
                return Err(format!("training.{key}: expected {expected}"));
            }
        }
        Ok(())
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
