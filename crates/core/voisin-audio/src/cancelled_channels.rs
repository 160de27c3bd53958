//! Channels that others cancel, as where one has its poles swapped: the mean leaves them out, as
//! what would be left of the music is little more than what the encoder did to it.
//!
//! For: finding them. Not for: the mean (`loudness`).

use std::ops::Range;
use std::path::Path;

use super::decoder::PacketFormat;
use super::loudness::MOST_CHANNELS;
use super::stream::Stream;

/// The channels that are left out of the mean, one bit each.
pub(super) fn find(path: &Path, bytes: &Range<u64>, actual: PacketFormat) -> u8 {
    /// Seconds of sound from which on channels that have more in common than not are known to, those after which it is
    /// decided in any case, and those of the file that are looked through for sound.
    const LEAST: u64 = 1;
    const ENOUGH: u64 = 10;
    const MOST: u64 = 60;
    /// Power of all channels below which there is no sound: -60 dB.
    const QUIET: f64 = 1e-6;
    if !(2..=MOST_CHANNELS).contains(&usize::from(actual.channels)) {
        return 0;
    }
    let Ok(mut stream) = Stream::open(path, bytes, false, false) else {
        return 0;
    };
    stream.keep_channels();
    let rate = u64::from(actual.rate);
    let mut heard = 0;
    let mut products = Products::default();
    while let Ok(Some(chunk)) = stream.next(0) {
        let at = chunk.start;
        let planes: Vec<(usize, &[f32])> = chunk
            .planes
            .map(|planes| planes.audible().collect())
            .unwrap_or_default();
        let frames = planes.iter().map(|(_, plane)| plane.len()).min();
        for frame in 0..frames.unwrap_or(0) {
            let sample = |plane: &[f32]| f64::from(plane[frame]);
            let power: f64 = planes.iter().map(|(_, p)| sample(p).powi(2)).sum();
            if power > QUIET {
                for &(i, one) in &planes {
                    for &(j, other) in &planes {
                        products[i][j] += sample(one) * sample(other);
                    }
                }
                heard += 1;
            }
        }
        let is_common = heard >= LEAST * rate && products.iter().flatten().all(|&p| p >= 0.0);
        if is_common || heard >= ENOUGH * rate || at >= MOST * rate {
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

/// The products of each two channels, summed over the frames: on the diagonal a channel's power.
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
/// - `heard`: the channels with sound that are not left out yet
fn next_cancelled(products: &Products, heard: u8) -> Option<u8> {
    /// Of 232 recordings the least share was 0.48. Of music with swapped poles, in Vorbis, Opus, MP3 and AAC at the rates
    /// of radio, the greatest was 0.07; noise in Vorbis has more, as its coder then no longer knows one channel's sign.
    const FAR_BELOW: f64 = 0.2;
    let product = |one: u8, other: u8| product(products, one, other);
    let channels = || members(heard).map(|i| 1_u8 << i);
    let cancels = |set: u8, channel: u8| {
        let apart = product(set, set) + product(channel, channel);
        let common = 2.0 * product(set, channel);
        apart + common < FAR_BELOW * (apart - common)
    };
    // Of three channels of which one cancels the others each is the others' negative: the one that stands alone is strongest.
    let may_go = |set: u8, channel: u8| {
        let power = product(channel, channel);
        members(set).count() == 1 || members(set).all(|i| products[i][i] <= power)
    };
    // Sides are often made of left less right and right less left. They hide nothing of the front, and one of them without
    // the other would: no channel that is heard in the mean may lose a quarter, the one to leave out among them.
    let loses_nothing = |channel: u8| {
        channels().all(|any| {
            let share = product(any, heard);
            let is_heard = 2.0 * share >= product(any, any);
            !is_heard || 4.0 * product(any, channel) <= share
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

    /// Writes a WAV of these samples at 8 kHz and reads it, which gives the same in one go and in windows.
    fn heard_of(path: &Path, channels: u8, frames: impl Iterator<Item = i16>) -> Vec<f32> {
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
        // The level of three tones in what is heard of WAVE's six channels: L R C LFE Ls Rs.
        let heard = |name: &str, channels: [[f64; 3]; 6]| {
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
            let samples = heard_of(&folder.path().join(name), 6, frames);
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
            heard("two pairs", [a, minus(a), b, b, c, minus(c)]),
            1.0 / 3.0,
        );
        let both = [1.0, 1.0, 0.0];
        near(heard("centre", [a, b, minus(both), none, c, none]), 0.25);
        let apart = [1.0, -1.0, 0.0];
        near(heard("sides", [a, b, c, none, apart, minus(apart)]), 0.2);
    }

    #[test]
    fn of_channels_that_cancel_one_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let heard = |name: &str, right: fn(i16) -> i16| {
            let left = |i: u32| ((f64::from(i) * 0.05).sin() * 9000.0) as i16;
            let frames = (0..16_000).flat_map(|i| [left(i), right(left(i))]);
            heard_of(&folder.path().join(name), 2, frames)
                .iter()
                .fold(0.0_f32, |peak, s| peak.max(s.abs()))
        };
        let full = 9000.0 / 32_768.0;
        let near = |peak: f32, expected: f32| assert!((peak - expected).abs() < 0.01, "{peak}");
        near(heard("same", |left| left), full);
        near(heard("swapped", |left| -left), full);
        near(heard("residue", |left| -left + left / 2), full);
        near(heard("one", |_| 0), full / 2.0);
        near(heard("wide", |left| -left / 4), full * 0.375);
    }
}
