//! `AdamW` and its schedule.

use rayon::prelude::*;

/// Adam's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Share of the old mean gradient that is kept.
    pub beta1: f32,
    /// Share of the old mean square that is kept.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019) over a flat vector.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    options: AdamWOptions,
    /// Mean gradient of each parameter.
    pub mean: Vec<f32>,
    /// Mean square of it.
    pub square: Vec<f32>,
    /// Steps so far.
    pub steps: u64,
}

impl AdamW {
    /// For `n` parameters.
    pub fn new(n: usize, options: AdamWOptions) -> Self {
        Self {
            options,
            mean: vec![0.0; n],
            square: vec![0.0; n],
            steps: 0,
        }
    }

    /// One step.
    ///
    /// - `scale`: factor of the gradients (1 unless they are clipped)
    /// - `decay`: weight decay of each parameter, before the learning rate
    ///
    /// # Panics
    /// If a slice has another length than the optimiser.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        gradients: &[f32],
        rate: f32,
        scale: f32,
        decay: &[f32],
    ) {
        let n = self.mean.len();
        assert!(
            parameters.len() == n && gradients.len() == n && decay.len() == n,
            "one value per parameter"
        );
        self.steps += 1;
        let AdamWOptions {
            beta1,
            beta2,
            epsilon,
        } = self.options;
        // Beyond 2^24 steps the corrections are 1 in single precision; the bound keeps the cast to
        // `i32` safe.
        let power = self.steps.min(1 << 24) as i32;
        let bias1 = 1.0 - beta1.powi(power);
        let bias2 = (1.0 - beta2.powi(power)).sqrt();
        // Both bias corrections in one factor, as Kingma and Ba suggest at the end of section 2.
        let rate1 = rate * bias2 / bias1;
        let eps = epsilon * bias2;
        // Each parameter is computed alone, so the result does not depend on the number of threads.
        let chunk = 1 << 14;
        parameters
            .par_chunks_mut(chunk)
            .zip(gradients.par_chunks(chunk))
            .zip(
                self.mean
                    .par_chunks_mut(chunk)
                    .zip(self.square.par_chunks_mut(chunk)),
            )
            .zip(decay.par_chunks(chunk))
            .for_each(|(((p, g), (m, v)), d)| {
                for ((((p, g), m), v), d) in p.iter_mut().zip(g).zip(m).zip(v).zip(d) {
                    let g = g * scale;
                    *m += (1.0 - beta1) * (g - *m);
                    *v += (1.0 - beta2) * (g * g - *v);
                    *p -= rate1 * *m / (v.sqrt() + eps) + rate * d * *p;
                }
            });
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
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn first_step_is_the_rate_in_the_gradients_direction() {
        let mut adam = AdamW::new(3, AdamWOptions::default());
        let mut p = vec![1.0, 1.0, 1.0];
        adam.step(&mut p, &[0.5, -2e-3, 0.0], 0.1, 1.0, &[0.0, 0.0, 1.0]);
        assert!(
            (p[0] - 0.9).abs() < 1e-5 && (p[1] - 1.1).abs() < 1e-4,
            "{p:?}"
        );
        assert!((p[2] - 0.9).abs() < 1e-6, "decay alone: {p:?}");
    }

    #[test]
    fn finds_a_minimum() {
        let mut adam = AdamW::new(2, AdamWOptions::default());
        let mut p = vec![5.0, -3.0];
        for step in 0..2000 {
            let g = [2.0 * (p[0] - 1.0), 200.0 * (p[1] - 2.0)];
            adam.step(
                &mut p,
                &g,
                cosine(0.1, f64::from(step) / 2000.0, 0.05) as f32,
                1.0,
                &[0.0; 2],
            );
        }
        assert!(
            (p[0] - 1.0).abs() < 1e-3 && (p[1] - 2.0).abs() < 1e-3,
            "{p:?}"
        );
    }

    #[test]
    fn schedule_rises_and_falls() {
        assert_eq!(cosine(1.0, 0.05, 0.1), 0.5);
        assert_eq!(cosine(1.0, 0.1, 0.1), 1.0);
        assert!((cosine(1.0, 0.55, 0.1) - 0.505).abs() < 1e-9);
        assert!(
            (cosine(1.0, 1.0, 0.1) - 0.01).abs() < 1e-9
                && (cosine(1.0, 2.0, 0.1) - 0.01).abs() < 1e-9
        );
    }
}
