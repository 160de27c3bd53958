//! Sound below 20 Hz, which nobody hears: a constant offset, the rumble of a turntable.

use voisin_base::vector::squared_norm;

/// A Butterworth high-pass of second order at 20 Hz.
pub(super) struct HighPass {
    gain: f64,
    feedback: [f64; 2],
    state: Option<[f64; 2]>,
}

impl HighPass {
    pub(super) fn new(rate: u32) -> Self {
        let bend = (std::f64::consts::PI * 20.0 / f64::from(rate)).tan();
        let damping = std::f64::consts::SQRT_2 * bend;
        let gain = 1.0 / (1.0 + damping + bend * bend);
        Self {
            gain,
            feedback: [
                2.0 * (bend * bend - 1.0) * gain,
                (1.0 - damping + bend * bend) * gain,
            ],
            state: None,
        }
    }

    pub(super) fn next(&mut self, sample: f32) -> f64 {
        let input = self.gain * f64::from(sample);
        // As if the first sample had always been.
        let [one, two] = self.state.unwrap_or([-input, input]);
        let output = input + one;
        let [a, b] = self.feedback;
        self.state = Some([two - 2.0 * input - a * output, input - b * output]);
        output
    }
}

/// A window without what is below 20 Hz, if that has at least half the power of the rest. Of most music it has a
/// hundredth, and removing it would change vectors for nothing.
pub(super) fn removed(window: &[f32], rate: u32) -> Option<Vec<f32>> {
    const MUCH: f64 = 1.5;
    let mut filter = HighPass::new(rate);
    let rest: Vec<f32> = window.iter().map(|&x| filter.next(x) as f32).collect();
    (squared_norm(window) > MUCH * squared_norm(&rest)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_and_rumble_are_removed_and_a_bass_is_not() {
        let tone = |hertz: f32, offset: f32| -> Vec<f32> {
            let step = std::f32::consts::TAU * hertz / 16_000.0;
            (0..32_000)
                .map(|i| 0.1 * (i as f32 * step).sin() + offset)
                .collect()
        };
        assert_eq!(removed(&tone(30.0, 0.0), 16_000), None);
        let level = |samples: &[f32]| (squared_norm(samples) / 32_000.0).sqrt();
        let rumble = removed(&tone(4.0, 0.0), 16_000).unwrap();
        assert!(level(&rumble) < 0.004, "{}", level(&rumble));
        let heard = removed(&tone(440.0, 0.3), 16_000).unwrap();
        assert!((level(&heard) - level(&tone(440.0, 0.0))).abs() < 1e-4);
    }
}
