//! Chooses the windows of a track to analyse, and detects near-silent ones.
//!
//! All positions are in samples at the model's rate. A start may be negative, and a window may extend
//! beyond the end, with zeros there.

/// Level below which a window is near-silent, dB relative to full scale (RMS).
pub const SILENCE_DBFS: f32 = -70.0;

/// The windows of the openl3 package: every `hop` samples, covering everything.
///
/// - returns: at least one start, window `i` centred on `i · hop`; an empty track has none
pub fn reference(len: u64, window: usize, hop: usize) -> Vec<i64> {
    if len == 0 {
        return Vec::new();
    }
    let window = window as u64;
    let hop = hop.max(1) as u64;
    let pad = window / 2;
    let count = 1 + (len + pad).saturating_sub(window).div_ceil(hop);
    (0..count).map(|i| (i * hop) as i64 - pad as i64).collect()
}

/// `n` windows spread evenly over the whole track.
///
/// If they fit without overlap, each is in the middle of one of `n` equal parts. If not, the first one
/// starts with the track, the last one ends with it, and the others are evenly between, but at least
/// `hop` samples apart, so that a short track has fewer. A track shorter than a window gets a single
/// one from its first sample; an empty track, or `n = 0`, none.
pub fn spread(len: u64, window: usize, n: usize, hop: usize) -> Vec<i64> {
    if len == 0 || n == 0 {
        return Vec::new();
    }
    let window = window.max(1) as u64;
    let Some(last) = len.checked_sub(window) else {
        return vec![0];
    };
    // In 128 bits, because products may exceed 64.
    let share = |of: u64, i: u64, n: u64| (u128::from(of) * u128::from(i) / u128::from(n)) as u64;
    let n = n as u64;
    if n <= len / window {
        let middle = |i: u64| share(len, 2 * i + 1, 2 * n);
        let start = |i| middle(i).saturating_sub(window / 2).min(last) as i64;
        return (0..n).map(start).collect();
    }
    match n.min(1 + last / hop.max(1) as u64) {
        // With room for only one window, it is in the middle.
        1 => vec![(last / 2) as i64],
        n => (0..n).map(|i| share(last, i, n - 1) as i64).collect(),
    }
}

/// One window per second within a part of the track: starts at `from`, `from + rate`, … as long as the
/// window fits before `to`; if none fits, a single one around the part's middle, inside the track if
/// that is long enough.
///
/// - `from`, `to`: samples; a part is cut at the end of the track, one outside it has no windows
pub fn part(len: u64, window: usize, rate: u32, from: u64, to: u64) -> Vec<i64> {
    let to = to.min(len);
    if from >= to {
        return Vec::new();
    }
    let window = window as u64;
    if let Some(room) = (to - from).checked_sub(window) {
        let starts = (from..=from + room).step_by(rate.max(1) as usize);
        return starts.map(|start| start as i64).collect();
    }
    let start = (from + (to - from) / 2).saturating_sub(window / 2);
    vec![start.min(len.saturating_sub(window)) as i64]
}

/// Whether a window is near-silent: RMS about its mean below [`SILENCE_DBFS`], so that a constant
/// offset is silence. Samples that are not finite count as zero; an empty window is silent.
pub fn is_near_silent(samples: &[f32]) -> bool {
    let mut sums = [0f64; 8];
    let mut squares = [0f64; 8];
    // Eight independent sums, which the compiler vectorises.
    for block in samples.chunks(8) {
        for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(block) {
            let x = f64::from(if x.is_finite() { x } else { 0.0 });
            *sum += x;
            *square += x * x;
        }
    }
    let n = samples.len().max(1) as f64;
    let mean = sums.iter().sum::<f64>() / n;
    let variance = squares.iter().sum::<f64>() / n - mean * mean;
    variance < 10f64.powf(f64::from(SILENCE_DBFS) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_window_per_second() {
        let starts = |from, to| part(100_000, 3000, 1000, from, to);
        assert_eq!(starts(10_500, 15_500), [10_500, 11_500, 12_500]);
        assert_eq!(starts(10_000, 12_000), [9500], "around a short part");
        assert_eq!(starts(99_000, 200_000), [97_000], "inside the track");
        assert_eq!(part(2000, 3000, 1000, 0, 2000), [0]);
        assert!(starts(100_000, 200_000).is_empty());
    }

    #[test]
    fn reference_windows_agree_with_openl3() {
        let starts = reference(480_001, 48_000, 4800);
        assert_eq!(starts.len(), 97);
        assert_eq!(&starts[..3], &[-24_000, -19_200, -14_400]);
        assert_eq!(reference(10, 48_000, 4800), [-24_000]);
        assert!(reference(0, 48_000, 4800).is_empty());
    }

    #[test]
    fn spread_is_even_and_inside() {
        assert_eq!(spread(400, 10, 4, 5), [45, 145, 245, 345]);
        assert_eq!(spread(39, 10, 4, 5), [0, 9, 19, 29]); // only three fit beside each other
        assert_eq!(spread(22, 10, 9, 5), [0, 6, 12]); // no closer than 5
        assert_eq!(spread(14, 10, 4, 5), [2]);
        assert_eq!(spread(9, 10, 4, 5), [0]);
        assert!(spread(0, 10, 4, 5).is_empty() && spread(100, 10, 0, 5).is_empty());
        for (len, n) in (10..200).flat_map(|len| (1..30).map(move |n| (len, n))) {
            let starts = spread(len, 10, n, 5);
            let last = starts[starts.len() - 1];
            assert!(starts.len() <= n && starts[0] >= 0 && last <= len as i64 - 10);
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 5));
        }
    }

    #[test]
    fn silence_is_measured_about_the_mean() {
        let tone = |amplitude: f32, offset: f32| -> Vec<f32> {
            let sample = |i| amplitude * (i as f32 * 0.1).sin() + offset;
            (0..48_000).map(sample).collect()
        };
        // RMS of a sine is 3.01 dB below its amplitude.
        assert!(!is_near_silent(&tone(10f32.powf(-66.5 / 20.0), 0.0)));
        assert!(is_near_silent(&tone(10f32.powf(-67.5 / 20.0), 0.25)));
        assert!(is_near_silent(&[f32::NAN; 100]));
    }
}
