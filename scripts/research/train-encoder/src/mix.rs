//! Mixtures as augmentation: another speed, another balance, two tracks and a voice at once.
//!
//! The teachers' input is the mixture too, so their outputs are right for it. Distillation on such
//! inputs learns the teachers' function instead of their outputs on a few tracks (Beyer and others,
//! "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).

use std::f64::consts::TAU;

use voisin_base::random::Random;
use voisin_lab::training::{cubic, power};

/// Slowest and fastest speed; pitch and tempo change together.
const SPEED: (f64, f64) = (0.72, 1.35);

/// Samples of a source that suffice to cut `length` at any speed.
pub fn reach(length: usize) -> usize {
    (length as f64 * SPEED.1).ceil() as usize + 4
}

/// A mixture of `own` with, at times, a `partner` and an `overlay`; each [`reach`] long.
pub fn invent(
    signal: &[f32],
    partner: Option<&[f32]>,
    overlay: Option<&[f32]>,
    random: &mut Random,
    rate: u32,
    out: &mut [f32],
) {
    let change = random.f64() < 0.7;
    at_speed(
        signal,
        if change { speed(random) } else { 1.0 },
        random,
        out,
    );
    let mut other = vec![0.0; out.len()];
    if let Some(partner) = partner.filter(|_| random.f64() < 0.6) {
        at_speed(partner, speed(random), random, &mut other);
        add(&other, random.range(-15.0, 0.0), out);
    }
    for _ in 0..random.below(4) {
        // 60 Hz to 9 kHz, uniform in octaves.
        let frequency = 60.0 * 150f64.powf(random.f64());
        peak(
            out,
            rate,
            frequency,
            random.range(0.4, 2.0),
            random.range(-10.0, 10.0),
        );
    }
    if let Some(overlay) = overlay.filter(|_| random.f64() < 0.5) {
        at_speed(overlay, random.range(0.85, 1.2), random, &mut other);
        add(&other, random.range(-10.0, 5.0), out);
    }
    if random.f64() < 0.2 {
        saturate(out, random.range(0.5, 6.0));
    }
}

fn speed(random: &mut Random) -> f64 {
    SPEED.0 * (SPEED.1 / SPEED.0).powf(random.f64())
}

/// Cuts `out.len()` samples at a random position.
pub fn at_speed(source: &[f32], speed: f64, random: &mut Random, out: &mut [f32]) {
    // Three more samples: the cubic reads one before its position and two after it.
    let needed = (out.len() as f64 * speed).ceil() as usize + 3;
    let start = random.below(source.len().saturating_sub(needed)) as f64 + 1.0;
    for (i, y) in out.iter_mut().enumerate() {
        let at = start + i as f64 * speed;
        *y = cubic(source, at as usize, (at - at.floor()) as f32);
    }
}

fn rms(samples: &[f32]) -> f64 {
    power(samples).sqrt()
}

/// Adds `other` at a level in dB relative to `out`, unless one of them is silent.
fn add(other: &[f32], level: f64, out: &mut [f32]) {
    let there = rms(out);
    let new = rms(other);
    if there < 1e-6 || new < 1e-6 {
        return;
    }
    let gain = (there / new * 10f64.powf(level / 20.0)) as f32;
    for (y, x) in out.iter_mut().zip(other) {
        *y += gain * x;
    }
}

/// A peaking filter (Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients").
fn peak(samples: &mut [f32], rate: u32, frequency: f64, q: f64, gain: f64) {
    let omega = TAU * frequency / f64::from(rate);
    let alpha = omega.sin() / (2.0 * q);
    let a = 10f64.powf(gain / 40.0);
    let scale = 1.0 / (1.0 + alpha / a);
    let b0 = (1.0 + alpha * a) * scale;
    let b1 = -2.0 * omega.cos() * scale;
    let b2 = (1.0 - alpha * a) * scale;
    let a1 = b1;
    let a2 = (1.0 - alpha / a) * scale;
    // Transposed direct form II.
    let mut s1 = 0.0;
    let mut s2 = 0.0;
    for sample in samples {
        let x = f64::from(*sample);
        let y = b0 * x + s1;
        s1 = b1 * x - a1 * y + s2;
        s2 = b2 * x - a2 * y;
        *sample = y as f32;
    }
}

/// Soft saturation, as of an overdriven amplifier: the curve bends at `drive` times the RMS.
fn saturate(samples: &mut [f32], drive: f64) {
    let gain = (drive / rms(samples).max(1e-6)) as f32;
    for x in samples {
        *x = (*x * gain).tanh();
    }
}
