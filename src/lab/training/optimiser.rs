//! `AdamW` over the blocks of a network, and the cosine curve of its rate.

use std::borrow::Cow;

use rayon::prelude::*;
use voisin_base::vector::squared_norm;

use crate::LabError;

/// Shares of the old mean gradient and of the old mean square that are kept.
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
/// Parameters that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// Parameters, their gradients, and whether they decay.
pub type Block<'a> = (&'a mut [f32], &'a [f32], bool);

#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub mean: Vec<f32>,
    /// Mean square of it.
    pub square: Vec<f32>,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), and one gradient norm over all blocks.
pub struct Optimiser {
    /// One per block, in the order of the blocks.
    pub moments: Vec<Moments>,
    pub steps: u64,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Decoupled decay of the parameters that decay.
    pub decay: f32,
    /// Weight of the L1 penalty on decaying parameters in the loss.
    pub l1: f64,
    /// Weight of the L2 penalty on decaying parameters in the loss.
    pub l2: f64,
    /// Maximum norm of the gradient; 0: no limit.
    pub clip: f64,
}

impl Optimiser {
    /// Starts without decay, penalties and clipping.
    pub fn new<'a>(blocks: impl IntoIterator<Item = Block<'a>>) -> Self {
        let moments = blocks.into_iter().map(|(parameters, ..)| Moments {
            mean: vec![0.0; parameters.len()],
            square: vec![0.0; parameters.len()],
        });
        Self {
            moments: moments.collect(),
            steps: 0,
            epsilon: 1e-8,
            decay: 0.0,
            l1: 0.0,
            l2: 0.0,
            clip: 0.0,
        }
    }

    /// Makes one step.
    ///
    /// - `loss`: of the step; if that or the gradient is not finite, nothing is changed
    /// - `blocks`: in the order of [`new`](Self::new)
    pub fn step(&mut self, rate: f32, loss: f32, blocks: &mut [Block<'_>]) -> Result<(), LabError> {
        // The norm over all blocks comes first, since one factor clips them all and keeps the direction.
        let squares = blocks
            .iter()
            .map(|block| squared_norm(&self.penalised(block)));
        let length = squares.sum::<f64>().sqrt();
        // Before anything is changed, so that the weights in memory stay valid.
        if !(length.is_finite() && loss.is_finite()) {
            let step = self.steps;
            return Err(LabError::Diverged { step, loss });
        }
        let scale = if self.clip > 0.0 {
            (self.clip / length.max(1e-12)).min(1.0) as f32
        } else {
            1.0
        };
        self.steps += 1;
        // Beyond 2^24 steps the corrections are 1 in single precision; the bound keeps the cast to
        // `i32` safe.
        let power = self.steps.min(1 << 24) as i32;
        let bias2 = (1.0 - BETA2.powi(power)).sqrt();
        // Both bias corrections in one factor, as Kingma and Ba suggest at the end of section 2.
        let rate1 = rate * bias2 / (1.0 - BETA1.powi(power));
        let epsilon = self.epsilon * bias2;
        let mut moments = std::mem::take(&mut self.moments);
        for (block, moments) in blocks.iter_mut().zip(&mut moments) {
            let gradients = self.penalised(block);
            let decay = if block.2 { rate * self.decay } else { 0.0 };
            let means = moments.mean.par_chunks_mut(CHUNK);
            let squares = moments.square.par_chunks_mut(CHUNK);
            // Each parameter is computed alone, so the result does not depend on the number of threads.
            let parameters = block.0.par_chunks_mut(CHUNK);
            let chunks = parameters.zip(gradients.par_chunks(CHUNK));
            let chunks = chunks.zip(means.zip(squares));
            chunks.for_each(|((p, g), (m, v))| {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g * scale;
                    *m += (1.0 - BETA1) * (g - *m);
                    *v += (1.0 - BETA2) * (g * g - *v);
                    *p -= rate1 * *m / (v.sqrt() + epsilon) + decay * *p;
                }
            });
        }
        self.moments = moments;
        Ok(())
    }

    /// Gradients with those of the L1 and L2 penalties.
    fn penalised<'a>(&self, (parameters, gradients, decays): &Block<'a>) -> Cow<'a, [f32]> {
        if !decays || (self.l1 == 0.0 && self.l2 == 0.0) {
            return Cow::Borrowed(*gradients);
        }
        let penalty = |p: f32| {
            // `signum` of 0 is 1, which would push a weight away from 0 again.
            let sign = if p == 0.0 { 0.0 } else { p.signum() };
            self.l1 as f32 * sign + 2.0 * self.l2 as f32 * p
        };
        let pairs = parameters.iter().zip(*gradients);
        pairs.map(|(p, g)| g + penalty(*p)).collect()
    }
}

/// Learning rate at a share of the run: from 0 to `peak` in the first `warm` of it, then a half cosine to 1 % of it
/// (Loshchilov and Hutter, 2017).
pub fn cosine(peak: f64, progress: f64, warm: f64) -> f64 {
    if progress < warm {
        // Not 0 at the first step, which would have no effect.
        return peak * (progress / warm).max(0.01);
    }
    // A longer run than planned stays at the lowest rate.
    let at = ((progress - warm) / (1.0 - warm).max(1e-9)).min(1.0);
    peak * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * at).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_change_the_gradients_of_decaying_weights() {
        let mut adam = Optimiser::new([]);
        (adam.l1, adam.l2) = (0.25, 0.1);
        let mut p = [-1.0, 0.0];
        let found = |p: &mut [f32], decays| adam.penalised(&(p, &[0.5, 0.5], decays)).to_vec();
        let all: Vec<Vec<f32>> = [true, false].map(|decays| found(&mut p, decays)).into();
        assert!((all[0][0] - 0.05).abs() < 1e-6 && all[0][1] == 0.5 && all[1] == [0.5, 0.5]);
    }
}
