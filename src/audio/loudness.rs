//! Integrated loudness (EBU R 128, ITU-R BS.1770) of the decoded parts of a file.

use ebur128::{Channel, EbuR128, Mode};

use super::Loudness;

/// Length in tenths of a second of the pieces measured of a file that is not decoded as a whole: the standard's block,
/// so that as many places as possible are measured at the same cost.
const PIECE_TENTHS: u32 = 4;
/// Stretches that a track is divided into, with one measured piece each: a window has one, a long unbroken stretch as
/// many as its share of the track.
const STRETCHES: u64 = 24;

/// Most pieces that are measured: each takes some 300 kB, and a damaged file may have many gaps.
const MOST_PIECES: usize = 128;

/// The channels of a decoded packet.
#[derive(Debug, Default)]
pub(super) struct Planes {
    pub kinds: Vec<Channel>,
    /// The samples of each channel, equally many.
    pub samples: Vec<Vec<f32>>,
}

impl Planes {
    pub(super) fn clear(&mut self) {
        self.kinds.clear();
        self.samples.iter_mut().for_each(Vec::clear);
    }

    /// Sets this number of frames to silence.
    pub(super) fn fill(&mut self, kinds: &[Channel], frames: usize) {
        self.kinds = kinds.to_vec();
        // Planes of a packet with more channels are kept for their memory; `kinds` gives how many
        // count.
        self.samples
            .resize_with(kinds.len().max(self.samples.len()), Vec::new);
        for plane in &mut self.samples {
            plane.clear();
            plane.resize(frames, 0.0);
        }
    }

    fn frames(&self) -> usize {
        self.samples.first().map_or(0, Vec::len)
    }

    /// Replaces `mono` by the mean of the channels without low-frequency effects.
    pub(super) fn mix(&self, mono: &mut Vec<f32>) {
        let planes = self.samples.iter().zip(&self.kinds);
        let audible = planes.filter(|(_, kind)| **kind != Channel::Unused);
        let audible: Vec<&[f32]> = audible.map(|(plane, _)| plane.as_slice()).collect();
        mono.clear();
        match audible[..] {
            // Mono and stereo, as nearly all music is, in one pass.
            [only] => mono.extend_from_slice(only),
            [left, right] => mono.extend(left.iter().zip(right).map(|(l, r)| 0.5 * (l + r))),
            _ => {
                mono.resize(self.frames(), 0.0);
                for plane in &audible {
                    for (sum, sample) in mono.iter_mut().zip(*plane) {
                        *sum += sample;
                    }
                }
                let scale = 1.0 / audible.len() as f32;
                mono.iter_mut().for_each(|sample| *sample *= scale);
            }
        }
    }
}

/// Measures stretches of a track, in ascending order.
pub(super) struct LoudnessMeter {
    rate: u32,
    complete: bool,
    /// Frames of a piece, and between the starts of two pieces.
    piece: u64,
    apart: u64,
    /// One meter for each piece: a filter must not run over a gap.
    pieces: Vec<EbuR128>,
    /// Frame at which the present stretch would continue.
    next: u64,
    /// Frame at which the next piece begins, and how much of the present one was measured.
    due: u64,
    measured: u64,
}

impl LoudnessMeter {
    /// - `whole`: the track comes without gaps, and all of it counts
    pub(super) fn new(rate: u32, whole: bool, frames: u64) -> Self {
        let piece = if whole {
            u64::MAX
        } else {
            u64::from(PIECE_TENTHS * rate.div_ceil(10))
        };
        Self {
            rate,
            complete: whole,
            piece,
            apart: (frames / STRETCHES).max(piece),
            pieces: Vec::new(),
            // No stretch continues at this frame, so that the first push begins a piece.
            next: u64::MAX,
            due: 0,
            measured: 0,
        }
    }

    /// Adds frames `from..to` of `planes`; the first is frame `start` of the track.
    pub(super) fn push(&mut self, start: u64, planes: &Planes, from: usize, to: usize) {
        let to = to.min(planes.frames());
        if from >= to || planes.kinds.is_empty() {
            return;
        }
        let fits = |meter: &EbuR128| meter.channel_map() == planes.kinds;
        let breaks = self.next != start || !self.pieces.last().is_some_and(fits);
        if breaks || start >= self.due {
            if self.pieces.len() == MOST_PIECES {
                self.complete = false;
                return;
            }
            // Rates and numbers of channels beyond the standard are not measured.
            let Ok(mut meter) = EbuR128::new(planes.kinds.len() as u32, self.rate, Mode::I) else {
                return;
            };
            if meter.set_channel_map(&planes.kinds).is_err() {
                return;
            }
            self.pieces.push(meter);
            self.measured = 0;
            self.due = start.saturating_add(self.apart);
        }
        self.next = start + (to - from) as u64;
        // After the end of a piece frames are skipped until the next one is due.
        let taken = (self.piece - self.measured).min((to - from) as u64) as usize;
        self.measured += taken as u64;
        if let Some(meter) = self.pieces.last_mut()
            && taken > 0
        {
            let frames: Vec<&[f32]> = planes.samples[..planes.kinds.len()]
                .iter()
                .map(|plane| &plane[from..from + taken])
                .collect();
            // It only fails for another number of channels.
            let _ = meter.add_frames_planar_f32(&frames);
        }
    }

    /// `None` for silence and for less than the 0.4 s of a block.
    pub(super) fn loudness(&self) -> Option<Loudness> {
        let lufs = EbuR128::loudness_global_multiple(self.pieces.iter()).ok()?;
        lufs.is_finite().then_some(Loudness {
            lufs,
            exact: self.complete,
        })
    }
}

/// Seconds of a block of short-term loudness.
pub const SHORT_TERM_SECONDS: u32 = 3;

/// Measures the short-term loudness of pieces of mono samples.
pub struct ShortTermMeter {
    /// `None` for a rate outside the standard.
    meter: Option<EbuR128>,
    block: usize,
    /// Whether every second sample is measured.
    is_halved: bool,
    halved: Vec<f32>,
}

impl ShortTermMeter {
    /// - `rate`: Hz; 32 kHz and more are halved, since little above 11 kHz affects loudness ranges
    pub fn new(rate: u32) -> Self {
        let is_halved = rate >= 32_000;
        let rate = if is_halved { rate / 2 } else { rate };
        Self {
            meter: EbuR128::new(1, rate, Mode::S).ok(),
            block: (SHORT_TERM_SECONDS * rate) as usize,
            is_halved,
            halved: Vec::new(),
        }
    }

    /// Loudness of the first 3 s of a piece, LUFS; `None` for silence and shorter pieces.
    pub fn loudness(&mut self, samples: &[f32]) -> Option<f64> {
        let meter = self.meter.as_mut()?;
        let mut piece = samples;
        if self.is_halved {
            self.halved.clear();
            // Binomial taps, as onsets are halved.
            let pairs = samples
                .chunks_exact(2)
                .zip(samples[2.min(samples.len())..].chunks_exact(2));
            self.halved
                .extend(pairs.map(|(a, b)| 0.125 * (a[0] + b[1]) + 0.375 * (a[1] + b[0])));
            // The taps of the last sample reach into the next block.
            self.halved.extend(self.halved.last().copied());
            piece = &self.halved;
        }
        meter.reset();
        // Below 3 s there is no short-term loudness.
        meter.add_frames_f32(piece.get(..self.block)?).ok()?;
        let loudness = meter.loudness_shortterm().ok()?;
        loudness.is_finite().then_some(loudness)
    }
}

/// Loudness range (EBU Tech 3342) of blocks of short-term loudness, LU: from the 10th to the 95th percentile of those that
/// are above -70 LUFS and no more than 20 LU below their mean. `None` for fewer than three.
pub fn loudness_range(blocks: &[f64]) -> Option<f64> {
    let power = |lufs: &f64| 10f64.powf(lufs / 10.0);
    let mut loud: Vec<f64> = blocks
        .iter()
        .copied()
        .filter(|lufs| *lufs >= -70.0)
        .collect();
    let mean = loud.iter().map(power).sum::<f64>() / loud.len().max(1) as f64;
    loud.retain(|lufs| *lufs >= 10.0 * mean.log10() - 20.0);
    loud.sort_unstable_by(f64::total_cmp);
    let last = loud.len().checked_sub(1).filter(|last| *last >= 2)?;
    // The nearest rank, as the reference code of Tech 3342 takes it.
    let percentile = |share: f64| loud[(share * last as f64 + 0.5) as usize];
    Some(percentile(0.95) - percentile(0.10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loudness_range_is_that_of_the_reference() {
        // Halved.
        let rate = 44_100;
        // A tone of 60 s that swells and fades, with a silence in it.
        let at = |i: u32| {
            let time = i as f32 / rate as f32;
            let level = if (20.0..27.0).contains(&time) {
                1e-5
            } else {
                0.3 * (0.11 * time).sin().abs()
            };
            level * (std::f32::consts::TAU * 600.0 * time).sin()
        };
        let samples: Vec<f32> = (0..60 * rate).map(at).collect();
        let mut meter = EbuR128::new(1, rate, Mode::LRA).unwrap();
        meter.add_frames_f32(&samples).unwrap();
        let reference = meter.loudness_range().unwrap();
        let mut short_term = ShortTermMeter::new(rate);
        let block = |second: u32| {
            let start = (second * rate) as usize;
            short_term.loudness(&samples[start..start + (3 * rate) as usize])
        };
        let blocks: Vec<f64> = (0..=57).filter_map(block).collect();
        let range = loudness_range(&blocks).unwrap();
        assert!(
            (range - reference).abs() < 0.3 && range > 5.0,
            "{range} {reference}"
        );
        assert_eq!(loudness_range(&blocks[..2]), None);
        let silence = vec![0.0; samples.len()];
        assert_eq!(short_term.loudness(&samples[..40_000]), None);
        assert_eq!(short_term.loudness(&silence), None);
    }
}
