//! Channels that cancel others, such as one of inverted polarity: the downmix leaves them out, as
//! little more than coding noise would remain.
//!
//! For: finding them. Not for: the downmix (`loudness`).

use std::path::Path;

use super::decoder::PacketFormat;
use super::loudness::MOST_CHANNELS;
use super::stream::Stream;

/// The channels that are left out of the downmix, one bit each, by the beginning of the file's sound.
pub(super) fn find(path: &Path, actual: PacketFormat) -> u8 {
    /// Seconds of sound after which channels that are all positively correlated are accepted, after which the decision
    /// is made in any case, and of the file that are searched for sound.
    const LEAST: u64 = 1;
    const ENOUGH: u64 = 10;
    const MOST: u64 = 60;
    /// Power of all channels below which there is no sound: -60 dB.
    const QUIET: f64 = 1e-6;
    if !(2..=MOST_CHANNELS).contains(&usize::from(actual.channels)) {
        return 0;
    }
    let rate = u64::from(actual.rate);
    let Ok(mut stream) = Stream::open(path, false, false) else {
        return 0;
    };
    stream.keep_channels();
    let mut sounding = 0;
    let mut products = Products::default();
    while let Ok(Some(chunk)) = stream.next(0) {
        let at = chunk.start;
        let planes: Vec<(usize, &[f32])> = chunk
            .planes
            .map(|planes| planes.audible().collect())
            .unwrap_or_default();
        let length = planes.iter().map(|(_, plane)| plane.len()).min();
        for frame in 0..length.unwrap_or(0) {
            let sample = |plane: &[f32]| f64::from(plane[frame]);
            let power: f64 = planes.iter().map(|(_, p)| sample(p).powi(2)).sum();
            if power > QUIET {
                for &(i, one) in &planes {
                    for &(j, other) in &planes {
                        products[i][j] += sample(one) * sample(other);
                    }
                }
                sounding += 1;
            }
        }
        let is_common = sounding >= LEAST * rate && products.iter().flatten().all(|&p| p >= 0.0);
        if is_common || sounding >= ENOUGH * rate || at >= MOST * rate {
            break;
        }
    }
    let sounding = members(u8::MAX).filter(|&i| products[i][i] > 0.0);
    let all = sounding.fold(0, |set, i| set | 1_u8 << i);
    let mut left_out = 0_u8;
    while let Some(channel) = next_cancelled(&products, all & !left_out) {
        left_out |= channel;
    }
    left_out
}

/// Products of each two channels, summed over the frames; the diagonal is each channel's power.
type Products = [[f64; MOST_CHANNELS]; MOST_CHANNELS];

/// The channels of a set, ascending.
fn members(set: u8) -> impl DoubleEndedIterator<Item = usize> {
    (0..MOST_CHANNELS).filter(move |i| set >> i & 1 == 1)
}

/// The product of the sums of two sets of channels.
fn product(products: &Products, one: u8, other: u8) -> f64 {
    let row = |i: usize| members(other).map(|j| products[i][j]).sum::<f64>();
    members(one).map(row).sum()
}

/// The channel to leave out next: one that the sum of two weaker ones cancels (a centre against left and right), or else
/// the later of two that cancel each other.
///
/// - `kept`: the channels with sound that are not left out yet
fn next_cancelled(products: &Products, kept: u8) -> Option<u8> {
    /// The least share of 232 recordings was 0.48. The greatest of music with inverted polarity, in Vorbis, Opus, MP3
    /// and AAC at the rates of radio, was 0.07; noise in Vorbis has more, as its coder then no longer knows one
    /// channel's sign.
    const FAR_BELOW: f64 = 0.2;
    let product = |one: u8, other: u8| product(products, one, other);
    let channels = || members(kept).map(|i| 1_u8 << i);
    let cancels = |set: u8, channel: u8| {
        let apart = product(set, set) + product(channel, channel);
        let common = 2.0 * product(set, channel);
        apart + common < FAR_BELOW * (apart - common)
    };
    // If one of three channels cancels the other two, each is the negative of the others' sum: the one that cancels
    // both is strongest.
    let may_go = |set: u8, channel: u8| {
        let power = product(channel, channel);
        members(set).count() == 1 || members(set).all(|i| products[i][i] <= power)
    };
    // Side channels are often left minus right and right minus left. Both together cancel nothing of the front, but one
    // alone would: no channel that is audible in the downmix may lose a quarter, including the one to leave out.
    let loses_nothing = |channel: u8| {
        channels().all(|any| {
            let share = product(any, kept);
            let is_audible = 2.0 * share >= product(any, any);
            !is_audible || 4.0 * product(any, channel) <= share
        })
    };
    let later = |one: u8| channels().filter(move |&other| other > one);
    let twos = channels().flat_map(|one| later(one).map(move |other| one | other));
    twos.chain(channels()).find_map(|set| {
        channels().rev().find(|&channel| {
            channel & set == 0
                && may_go(set, channel)
                && cancels(set, channel)
                && loses_nothing(channel)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a WAV of these samples at 8 kHz and reads it, as a whole and in windows.
    fn downmix(path: &Path, channels: u8, frames: impl Iterator<Item = i16>) -> Vec<f32> {
        let data: Vec<u8> = frames.flat_map(i16::to_le_bytes).collect();
        let size = (data.len() as u32).to_le_bytes();
        let mut wav =
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x10\0data"
                .to_vec();
        wav[22] = channels;
        wav[28..32].copy_from_slice(&(16_000 * u32::from(channels)).to_le_bytes());
        wav[32] = 2 * channels;
        wav.extend_from_slice(&size);
        wav.extend_from_slice(&data);
        std::fs::write(path, wav).unwrap();
        let (whole, _) = crate::read_all(path, 8000).unwrap();
        let info = crate::probe(path).unwrap();
        let mut window = Vec::new();
        let starts = [9000];
        crate::read_windows(path, &info, 8000, &starts, 500, &mut |_, samples| {
            window.extend_from_slice(samples);
        })
        .unwrap();
        assert_eq!(window, whole.samples[9000..9500], "{}", path.display());
        whole.samples
    }

    #[test]
    fn surround_channels_that_cancel_keep_their_music() {
        let folder = tempfile::tempdir().unwrap();
        // The level of three tones in the downmix of WAVE's six channels: L R C LFE Ls Rs.
        let level = |name: &str, channels: [[f64; 3]; 6]| {
            let tone = |k: usize, frame: u32| {
                let hertz = [500.0, 700.0, 1100.0][k];
                (std::f64::consts::TAU * hertz * f64::from(frame) / 8000.0).sin()
            };
            let frames = (0..16_000).flat_map(|frame| {
                channels.map(|levels| {
                    let tones = levels.iter().enumerate();
                    let sum: f64 = tones.map(|(k, level)| level * tone(k, frame)).sum();
                    (4000.0 * sum).round() as i16
                })
            });
            let samples = downmix(&folder.path().join(name), 6, frames);
            [0, 1, 2].map(|k| {
                let products = (0..).zip(&samples).map(|(i, &s)| tone(k, i) * f64::from(s));
                2.0 * products.sum::<f64>() / 16_000.0 / (4000.0 / 32_768.0)
            })
        };
        let near = |found: [f64; 3], expected: f64| {
            let is_near = found.iter().all(|level| (level - expected).abs() < 0.02);
            assert!(is_near, "{found:?}, expected {expected}");
        };
        let none = [0.0; 3];
        let a = [1.0, 0.0, 0.0];
        let b = [0.0, 1.0, 0.0];
        let c = [0.0, 0.0, 1.0];
        let minus = |tones: [f64; 3]| tones.map(|level| -level);
        near(
            level("two pairs", [a, minus(a), b, b, c, minus(c)]),
            1.0 / 3.0,
        );
        let both = [1.0, 1.0, 0.0];
        near(level("centre", [a, b, minus(both), none, c, none]), 0.25);
        let apart = [1.0, -1.0, 0.0];
        near(level("sides", [a, b, c, none, apart, minus(apart)]), 0.2);
    }

    #[test]
    fn one_of_two_cancelling_channels_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let level = |name: &str, right: fn(i16) -> i16| {
            let left = |i: u32| ((f64::from(i) * 0.05).sin() * 9000.0) as i16;
            let frames = (0..16_000).flat_map(|i| [left(i), right(left(i))]);
            downmix(&folder.path().join(name), 2, frames)
                .iter()
                .fold(0.0_f32, |peak, s| peak.max(s.abs()))
        };
        let full = 9000.0 / 32_768.0;
        let near = |peak: f32, expected: f32| assert!((peak - expected).abs() < 0.01, "{peak}");
        near(level("same", |left| left), full);
        near(level("swapped", |left| -left), full);
        near(level("residue", |left| -left + left / 2), full);
        near(level("one", |_| 0), full / 2.0);
        near(level("wide", |left| -left / 4), full * 0.375);
    }
}
