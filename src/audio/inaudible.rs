//! Sound below 20 Hz, which nobody hears: a constant offset, the rumble of a turntable.

use std::f64::consts::PI;

use voisin_base::vector::squared_norm;

/// A Butterworth high-pass of order eight at 22 Hz.
pub(super) struct HighPass {
    sections: [Section; 4],
}

impl HighPass {
    pub(super) fn new(rate: u32) -> Self {
        let bend = (PI * 22.0 / f64::from(rate)).tan();
        // The poles lie at equal angles.
        let sections = [1.0, 3.0, 5.0, 7.0].map(|odd| {
            let damping = 2.0 * (PI * odd / 16.0).cos() * bend;
            let gain = 1.0 / (1.0 + damping + bend * bend);
            let one_back = 2.0 * (bend * bend - 1.0) * gain;
            let two_back = (1.0 - damping + bend * bend) * gain;
            Section {
                gain,
                feedback: [one_back, two_back],
                state: None,
            }
        });
        Self { sections }
    }

    pub(super) fn next(&mut self, sample: f32) -> f64 {
        let sections = self.sections.iter_mut();
        sections.fold(f64::from(sample), |input, section| section.next(input))
    }
}

/// A high-pass of second order.
struct Section {
    gain: f64,
    feedback: [f64; 2],
    state: Option<[f64; 2]>,
}

impl Section {
    fn next(&mut self, input: f64) -> f64 {
        let input = self.gain * input;
        // As if the first sample had always been.
        let [one, two] = self.state.unwrap_or([-input, input]);
        let output = input + one;
        let [a, b] = self.feedback;
        self.state = Some([two - 2.0 * input - a * output, input - b * output]);
        output
    }
}

/// A window without what is below 20 Hz, if that has at least half the power of the rest. Of most music it has less, and
/// removing it would change vectors for nothing.
pub(super) fn removed(window: &[f32], rate: u32) -> Option<Vec<f32>> {
    // Means of a 64th of a second keep most of its power, and of a bass next to nothing.
    let parts = window.chunks(rate as usize / 64);
    let means = parts.map(|part| part.iter().sum::<f32>().powi(2) / part.len() as f32);
    let all = squared_norm(window);
    // Of a few periods alone a bass looks the same.
    if window.len() < rate as usize / 5 || f64::from(means.sum::<f32>()) < 0.1 * all {
        return None;
    }
    let mut filter = HighPass::new(rate);
    let rest: Vec<f32> = window.iter().map(|&x| filter.next(x) as f32).collect();
    (all > 1.5 * squared_norm(&rest)).then_some(rest)
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
        for hertz in [4.0, 12.0] {
            let rumble = removed(&tone(hertz, 0.0), 16_000).unwrap();
            assert!(level(&rumble) < 0.004, "{hertz} Hz: {}", level(&rumble));
        }
        let info = crate::AudioInfo::of_samples(100_000, 44_100);
        let request = crate::WindowRequest::new(16_000, &[0, 24_000], 24_000);
        crate::windows_of_samples(&vec![0.3; 100_000], &info, request, &mut |i, window| {
            assert!(squared_norm(window) < 1e-3, "{i}: {}", squared_norm(window));
        })
        .unwrap();
        let heard = removed(&tone(440.0, 0.3), 16_000).unwrap();
        assert!((level(&heard) - level(&tone(440.0, 0.0))).abs() < 1e-4);
    }
}
