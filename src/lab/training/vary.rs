//! Sound at other speeds, so that a network does not memorise recordings.

use voisin_base::random::Random;

/// Sound at another speed, up to a tenth (pitch and tempo together), with white noise 20 to 50 dB below it.
pub fn vary(samples: &[f32], random: &mut Random) -> Vec<f32> {
    let speed = random.range(0.9, 1.1);
    // A ratio of powers, -50 to -20 dB.
    let level = (power(samples) * 10f64.powf(random.range(-5.0, -2.0))).sqrt();
    let count = (samples.len() as f64 / speed) as usize;
    let varied = (0..count).map(|i| {
        let at = i as f64 * speed;
        // uniform within the root of three has a power of one
        cubic(samples, at as usize, (at - at.floor()) as f32)
            + (level * random.range(-1.732, 1.732)) as f32
    });
    varied.collect()
}

pub fn power(samples: &[f32]) -> f64 {
    samples
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        / samples.len().max(1) as f64
}

/// Catmull and Rom's cubic through the four samples around place `at + t`, `t` from 0 to 1; beyond the ends all is 0.
pub fn cubic(x: &[f32], at: usize, t: f32) -> f32 {
    let get = |i: usize| x.get(i).copied().unwrap_or(0.0);
    // Before the first sample the index wraps to the largest number, which is beyond the end.
    let a = get(at.wrapping_sub(1));
    let b = get(at);
    let c = get(at + 1);
    let d = get(at + 2);
    b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varied_sound_is_faster_or_slower_and_hardly_louder() {
        let tone: Vec<f32> = (0..20_000).map(|i| (i as f32 * 0.1).sin()).collect();
        for seed in 0..20 {
            let varied = vary(&tone, &mut Random::stream(seed, 2));
            let share = varied.len() as f64 / 20_000.0;
            assert!((0.9..1.12).contains(&share) && share != 1.0, "{share}");
            let power = varied.iter().map(|x| x * x).sum::<f32>() / varied.len() as f32;
            assert!((0.49..0.52).contains(&power), "{power}");
            // a tone of 0.1 a sample crosses zero once in every 31.4
            let crossings = varied
                .windows(2)
                .filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0))
                .count() as f64;
            assert!(crossings >= 630.0, "{crossings}");
        }
    }
}
