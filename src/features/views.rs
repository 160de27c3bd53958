//! Spectra and bands of a clip for plots, from which descriptors are computed, too.

use ndarray::{Array2, Axis};

use super::clip::{Clip, RANGE_DB, cepstrum, decibels};
use super::mel::centres;

/// Four representations of a clip. Matrices have a column for each frame, and the lowest row first.
#[derive(Debug, Clone)]
pub struct ClipViews {
    pub bin_hz: f64,
    /// Mean amplitude of each bin, in decibels below the strongest.
    pub spectrum: Vec<f64>,
    pub bins: Array2<f64>,
    pub mel: Array2<f64>,
    /// Centre frequencies of the mel bands, Hz.
    pub mel_hz: Vec<f64>,
    pub mfcc: Array2<f64>,
}

impl ClipViews {
    /// - `samples`: mono, at `rate`; those that are not finite count as silence
    pub fn new(samples: &[f32], rate: u32) -> Self {
        let clip = Clip::new(samples, rate);
        let amplitudes = clip.power.mapv(|power| f64::from(power).sqrt());
        let mean = amplitudes.mean_axis(Axis(0)).unwrap_or_default();
        let spectrum = below_loudest(decibels((&mean * &mean).insert_axis(Axis(0))));
        let mel = clip.mel_decibels();
        let mfcc = cepstrum(&mel, 20);
        Self {
            bin_hz: clip.bin_hz(),
            spectrum: spectrum.into_iter().collect(),
            bins: below_loudest(decibels(clip.power.t().mapv(f64::from))),
            mel_hz: centres(&clip.mel_config()),
            mel: below_loudest(mel),
            mfcc,
        }
    }
}

/// Decibels with maximum 0; silence is 80 below.
fn below_loudest(mut cells: Array2<f64>) -> Array2<f64> {
    let most = cells.fold(f64::NEG_INFINITY, |most, v| most.max(*v));
    // decibels() begins at 1e-10.
    let is_silent = most <= -100.0;
    cells.mapv_inplace(|v| if is_silent { -RANGE_DB } else { v - most });
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_at_its_pitch_in_every_view() {
        let wave: Vec<f32> = (0..44_100)
            .map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / 22_050.0).sin())
            .collect();
        let views = ClipViews::new(&wave, 22_050);
        let most = |numbers: Vec<f64>| {
            (0..numbers.len()).max_by(|a, b| numbers[*a].total_cmp(&numbers[*b]))
        };
        assert_eq!(most(views.spectrum), Some(41));
        assert_eq!(most(views.bins.column(60).to_vec()), Some(41));
        let band = most(views.mel.column(60).to_vec()).unwrap();
        assert!((views.mel_hz[band] - 440.0).abs() < 30.0);
        let silence = ClipViews::new(&[0.0; 4000], 22_050);
        let all = silence.bins.iter().chain(&silence.mel);
        assert!(all.chain(&silence.spectrum).all(|db| *db <= -80.0));
    }
}
