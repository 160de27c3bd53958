//! Measured scales: maps measures of the sound to 0 to 100.
//!
//! Anchors were chosen on development data and are fixed, so that a value means the same in every library.

use voisin_features::Measures;
use voisin_library::{SCALES, ScaleName, ScaleValue, Scales};

/// The values of the first [`SCALES`], those of the sound alone.
pub(crate) fn measured_scales(
    measures: Option<&Measures>,
    loudness: Option<f64>,
    range: Option<f64>,
) -> Scales {
    // On a logarithmic scale; the floor avoids the logarithm of zero.
    let ratio = |value: f64, from: f64, to: f64| between(value.max(1e-9).ln(), from.ln(), to.ln());
    let dfa = measures.and_then(|measures| measures.dfa);
    let dfa = dfa.map(|dfa| ratio(dfa, 0.8, 2.5));
    let percussiveness = measures.map(|measures| between(measures.percussiveness, 0.15, 0.7));
    let brightness = measures.map(|measures| ratio(measures.brightness, 500.0, 3000.0));
    let pulse = measures.map(|measures| between(measures.pulse_clarity, 0.0, 0.55));
    // Weights were chosen on one half of the development set's artists and validated on the other.
    let energy = measures.zip(loudness).map(|(measures, loudness)| {
        let loudness = between(loudness, -30.0, -8.0);
        let flux = ratio(measures.flux, 0.03, 0.17);
        let onsets = between(measures.onset_rate, 0.0, 8.0);
        (2.0 * loudness + 2.0 * flux + onsets) / 5.0
    });
    let danceability = dfa.zip(percussiveness).zip(pulse);
    let danceability = danceability
        .map(|((dfa, percussiveness), pulse)| (dfa + 2.0 * percussiveness + pulse) / 4.0);
    let values = [
        energy,
        danceability,
        dfa,
        percussiveness,
        brightness,
        range.map(|range| between(range, 0.0, 20.0)),
        pulse,
    ];
    SCALES.iter().zip(values).filter_map(scale).collect()
}

/// A scale with its value, unless it is not known.
pub(crate) fn scale(
    ((name, error), value): (&(&str, f64), Option<f64>),
) -> Option<(ScaleName, ScaleValue)> {
    let value = ScaleValue::new(value?, Some(*error))?;
    Some((name.parse().ok()?, value))
}

/// Linear from 0 at one anchor to 100 at the other, clamped.
fn between(value: f64, from: f64, to: f64) -> f64 {
    (100.0 * (value - from) / (to - from)).clamp(0.0, 100.0)
}
