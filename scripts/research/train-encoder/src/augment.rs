//! Augmentations: speed, noise, lossy codecs, low-pass, spectral tilt.

use crate::codec::{CodecSetting, LossyCodec};
use crate::mix::at_speed;
use voisin_base::random::Random;
use voisin_encoder::openl3::{FRAMES, MELS};
use voisin_lab::training::power;

/// Cuts `out.len()` samples out of `patch` at a random position, with random speed (± 3 %, pitch
/// and tempo together), noise, and a lossy codec. Each is omitted at times.
pub fn degrade(patch: &[f32], codec: &LossyCodec, random: &mut Random, out: &mut [f32]) {
    let speed = if random.f64() < 0.4 {
        random.range(0.97, 1.03)
    } else {
        1.0
    };
    at_speed(patch, speed, random, out);
    if random.f64() < 0.3 {
        let power = power(out);
        // White, or falling with frequency as a one-pole low-pass does.
        let keep = if random.f64() < 0.5 {
            0.0
        } else {
            random.range(0.5, 0.98)
        };
        // `1 - keep²` keeps the power of the filtered noise at that of the white one.
        let level = (power * 10f64.powf(random.range(-5.0, -2.0)) * (1.0 - keep * keep)).sqrt();
        let mut state = 0.0;
        for y in &mut *out {
            // Uniform within the root of three has a power of one.
            state = keep * state + level * random.range(-1.732, 1.732);
            *y += state as f32;
        }
    }
    if random.f64() < 0.35 {
        codec.round_trip(CodecSetting::draw(random), out);
    }
}

/// Changes a spectrogram `[mel][frame]` in dB below its maximum: a tilt, a soft low-pass. Keeps −80..=0 with the
/// maximum at 0.
pub fn colour(mel: &mut [f32], random: &mut Random) {
    let tilt = (random.f64() < 0.5).then(|| random.range(-4.0, 4.0) as f32);
    // Bands 60 to 127 are 3.6 to 23.6 kHz; a steep fall of 4 dB a band.
    let edge = if random.f64() < 0.25 {
        62 + random.below(60)
    } else {
        MELS
    };
    if tilt.is_none() && edge == MELS {
        return;
    }
    let tilt = tilt.unwrap_or(0.0);
    let mut loudest = f32::NEG_INFINITY;
    for (band, row) in mel.chunks_exact_mut(FRAMES).enumerate() {
        let gain =
            tilt * (band as f32 / (MELS - 1) as f32 - 0.5) - 4.0 * band.saturating_sub(edge) as f32;
        for x in row {
            *x += gain;
            loudest = loudest.max(*x);
        }
    }
    // Again relative to the loudest cell, as in the front end.
    for x in mel {
        *x = (*x - loudest).max(-80.0);
    }
}
