//! Resampling from the native rate to a model's, in blocks at fixed positions.
//!
//! rubato's synchronous FFT resampler works on blocks: a block of input gives a block of output that overlaps
//! into the next. Blocks always begin at multiples of the block size, counted from the start of the track, so
//! block `b` of the output is a function of input blocks `b - 1` and `b` alone: a window read on its own comes
//! out bit for bit as in a full run.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::AudioError;

/// Frames that an FFT block should have at the lower of the two rates: long enough that the transition band is
/// 1 % of the band, short enough to stay in cache.
const BLOCK: usize = 1024;

/// Converts blocks of mono samples from one rate to another.
pub(super) struct Resampler {
    inner: Option<Fft<f32>>,
    block_in: usize,
    block_out: usize,
    output: Vec<f32>,
}

impl Resampler {
    /// Accepts any rates but zero. Equal rates leave samples unchanged.
    pub(super) fn new(from: u32, to: u32) -> Result<Self, AudioError> {
        let error = || AudioError::Rate { from, to };
        if from == 0 || to == 0 {
            return Err(error());
        }
        if from == to {
            return Ok(Self {
                inner: None,
                block_in: BLOCK,
                block_out: BLOCK,
                output: vec![0.0; BLOCK],
            });
        }
        let from = from as usize;
        let to = to as usize;
        // Blocks are multiples of the reduced ratio, so that each is whole at both rates.
        let gcd = gcd(from, to);
        let unit_in = from / gcd;
        let unit_out = to / gcd;
        // Even sizes: the filter is centred on half a block, which must be a whole sample at both rates.
        let step = if unit_in % 2 == 1 || unit_out % 2 == 1 {
            2
        } else {
            1
        };
        let blocks = BLOCK.div_ceil(unit_in.min(unit_out)).next_multiple_of(step);
        let inner = Fft::new_custom(
            from,
            to,
            blocks * unit_in,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|_| error())?;
        let block_in = inner.fft_size_in();
        let block_out = inner.fft_size_out();
        Ok(Self {
            inner: Some(inner),
            block_in,
            block_out,
            output: vec![0.0; block_out],
        })
    }

    /// Frames of a block at the native rate.
    pub(super) fn block_in(&self) -> usize {
        self.block_in
    }

    /// Samples of a block at the new rate.
    pub(super) fn block_out(&self) -> usize {
        self.block_out
    }

    /// Samples at the new rate by which the output lags behind the input.
    pub(super) fn delay(&self) -> usize {
        if self.inner.is_some() {
            self.block_out / 2
        } else {
            0
        }
    }

    /// Input blocks that must be fed before the first requested one.
    pub(super) fn warm_up(&self) -> u64 {
        u64::from(self.inner.is_some())
    }

    /// Clears the overlap of the last block.
    pub(super) fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
    }

    /// Converts one block of `block_in` frames to one of `block_out` samples.
    pub(super) fn block(&mut self, input: &[f32]) -> &[f32] {
        match &mut self.inner {
            None => self.output.copy_from_slice(input),
            Some(inner) => {
                let from =
                    SequentialSlice::new(input, 1, self.block_in).expect("input is a whole block");
                let mut to = SequentialSlice::new_mut(&mut self.output, 1, self.block_out)
                    .expect("output was made one block long");
                inner
                    .process_into_buffer(&from, &mut to, None)
                    .expect("both buffers have the sizes asked for");
            }
        }
        &self.output
    }
}

/// Converts windows to another rate, for networks that take the same sound at several rates.
pub struct WindowResampler {
    resampler: Resampler,
    block: Vec<f32>,
}

impl WindowResampler {
    /// - `from`, `to`: Hz
    pub fn new(from: u32, to: u32) -> Result<Self, AudioError> {
        let resampler = Resampler::new(from, to)?;
        let block = vec![0.0; resampler.block_in()];
        Ok(Self { resampler, block })
    }

    /// Samples needed before and after a window.
    pub fn reach(&self) -> usize {
        self.resampler.block_in()
    }

    /// Fills `out` with the window that begins [`reach`](Self::reach) into `samples`, as in a full run.
    pub fn run(&mut self, samples: &[f32], out: &mut [f32]) {
        self.resampler.reset();
        // Samples between the first block's input and the window's first output.
        let late = self.resampler.block_out() + self.resampler.delay();
        let mut at = 0;
        for start in (0..usize::MAX).step_by(self.block.len()) {
            let rest = samples.get(start..).unwrap_or_default();
            let given = rest.len().min(self.block.len());
            self.block[..given].copy_from_slice(&rest[..given]);
            self.block[given..].fill(0.0);
            let made = self.resampler.block(&self.block);
            // `at` counts samples out, from the first block on.
            let first = late.max(at);
            let end = (late + out.len()).min(at + made.len());
            if first < end {
                out[first - late..end - late].copy_from_slice(&made[first - at..end - at]);
            }
            at += made.len();
            if at >= late + out.len() {
                return;
            }
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Samples of `frames` at another rate, rounded up.
pub(super) fn resampled(frames: u64, from: u32, to: u32) -> u64 {
    (u128::from(frames) * u128::from(to)).div_ceil(u128::from(from.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// All of `input` at the new rate without the delay, as when reading windows.
    fn whole(input: &[f32], from: u32, to: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to).expect("a valid pair");
        let length = resampled(input.len() as u64, from, to) as usize;
        let size = resampler.block_in();
        let delay = resampler.delay();
        let mut output = Vec::new();
        let mut padded = input.to_vec();
        while output.len() < length + delay {
            padded.resize(padded.len().next_multiple_of(size) + size, 0.0);
            let block = output.len() / resampler.block_out();
            output.extend_from_slice(resampler.block(&padded[block * size..(block + 1) * size]));
        }
        output[delay..delay + length].to_vec()
    }

    fn tone(hz: f64, rate: u32, seconds: f64, phase: f64) -> Vec<f32> {
        (0..(seconds * f64::from(rate)) as usize)
            .map(|i| (0.5 * (TAU * hz * i as f64 / f64::from(rate) + phase).sin()) as f32)
            .collect()
    }

    #[test]
    fn a_window_alone_is_as_in_a_full_run() {
        let mut state = 1_u32;
        let noise: Vec<f32> = (0..60_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        for (from, to) in [(48_000, 16_000), (44_100, 16_000), (24_000, 48_000)] {
            let full = whole(&noise, from, to);
            let mut alone = WindowResampler::new(from, to).expect("a valid pair");
            // Where samples of both rates coincide.
            let unit_in = (from / gcd(from as usize, to as usize) as u32) as usize;
            let unit_out = (to / gcd(from as usize, to as usize) as u32) as usize;
            let reach = alone.reach();
            let length = 5000 * unit_in / unit_out;
            for start in [reach, 9000, 20_001] {
                let start = start
                    .next_multiple_of(unit_in)
                    .max(reach.next_multiple_of(unit_in));
                let mut out = vec![0.0; 5000];
                alone.run(&noise[start - reach..start + length + reach], &mut out);
                for (found, expected) in out.iter().zip(&full[start / unit_in * unit_out..]) {
                    assert!(
                        (found - expected).abs() < 1e-3,
                        "{from} to {to}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn tones_in_the_band_arrive_in_time_and_in_tune() {
        for (from, to) in [(44_100, 48_000), (96_000, 16_000), (44_056, 48_000)] {
            let hz = 0.4 * f64::from(from.min(to));
            let made = whole(&tone(hz, from, 1.0, 0.3), from, to);
            let meant = tone(hz, to, 1.0, 0.3);
            // The middle half, where no edge of the signal is near.
            let middle = made.len() / 4..3 * made.len() / 4;
            let pairs = made[middle.clone()].iter().zip(&meant[middle]);
            let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-4, "{from} to {to}, {hz:.0} Hz: {error}");
        }
    }

    #[test]
    fn lengths_cover_the_last_frame() {
        assert_eq!(resampled(44_100, 44_100, 48_000), 48_000);
        assert_eq!(resampled(1, 44_100, 48_000), 2);
        assert_eq!(resampled(0, 44_100, 48_000), 0);
    }
}
