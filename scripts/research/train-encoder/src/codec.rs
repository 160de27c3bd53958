//! A model of lossy codecs: they lose bands above an edge, and detail for which there are no bits.
//!
//! A simplified transform codec like MP3 and AAC (Brandenburg, "MP3 and AAC explained", AES 1999;
//! Bosi and Goldberg, "Introduction to digital audio coding and standards", 2003): MDCT with a sine
//! window, bands of about half a Bark with noise some dB below them, a quantiser with exponent 3/4,
//! and one gain over all bands that is reduced until the estimated bits fit the rate. No block
//! switching, no reservoir, no stereo.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use voisin_base::random::Random;

/// Lines of the transforms at 48 kHz: MP3 at 44.1 or 48 kHz; MP3 at 22.05 or 24 kHz, and nearly AAC.
const SIZES: [usize; 2] = [576, 1152];
/// Rates for one channel, bit/s.
const RATES: (f64, f64) = (20_000.0, 72_000.0);
/// dB a Bark by which the noise may come nearer to the music. At 64 kbit/s LAME leaves the lowest
/// sixteenth of the mel bands within 0.6 dB, those below the edge within 2.1.
const SLOPE: f64 = 1.3;
/// Most steps of the gain, of 1.5 dB each.
const GAINS: u32 = 60;

/// Encodes and decodes; shared by threads.
pub struct LossyCodec {
    rate: f64,
    transforms: Vec<Mdct>,
}

/// Codec settings of a copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodecSetting {
    /// Index into [`SIZES`].
    size: usize,
    /// bit/s.
    rate: f64,
    /// Highest coded frequency, Hz.
    edge: f64,
    /// Target noise below the lowest band's level, dB; [`SLOPE`] less for each Bark above.
    distance: f64,
}

impl CodecSetting {
    /// Draws settings. Encoders lower the edge with the rate: near 11 kHz at 32 kbit/s a channel, near 16 kHz at 64.
    pub fn draw(random: &mut Random) -> Self {
        // Uniform in octaves: 20 to 40 kbit/s is as likely as 36 to 72.
        let rate = RATES.0 * (RATES.1 / RATES.0).powf(random.f64());
        let edge = 11_000.0 * (rate / 32_000.0).powf(0.55) * random.range(0.9, 1.1);
        Self {
            size: random.below(SIZES.len()),
            rate,
            edge,
            distance: random.range(22.0, 34.0),
        }
    }
}

impl LossyCodec {
    /// - `rate`: sample rate of the input, Hz
    pub fn new(rate: u32) -> Self {
        let transforms = SIZES.iter().map(|&n| Mdct::new(n)).collect();
        Self {
            rate: f64::from(rate),
            transforms,
        }
    }

    /// Replaces `samples` by their decoded copy, in place and without delay.
    pub fn round_trip(&self, setting: CodecSetting, samples: &mut [f32]) {
        let transform = &self.transforms[setting.size];
        let n = transform.size;
        let hertz = self.rate / (2.0 * n as f64);
        let lines = ((setting.edge / hertz) as usize).clamp(1, n);
        let bands = bands(lines, hertz);
        // Bits a frame: each hop of `n` samples is one frame.
        let budget = setting.rate / self.rate * n as f64;
        let level = |line: usize| SLOPE * bark(line as f64 * hertz) - setting.distance;
        let noise = bands
            .iter()
            .map(|&line| 10f32.powf((level(line) / 20.0) as f32));
        let noise: Vec<f32> = noise.collect();
        let mut scratch = transform.scratch();
        let mut decoded = vec![0.0; samples.len() + 2 * n];
        let mut frame = vec![0.0; 2 * n];
        let mut spectrum = vec![0.0; n];
        // The first frame begins one hop early, so that every sample is in two.
        for at in (0..samples.len() + n).step_by(n) {
            for (i, x) in frame.iter_mut().enumerate() {
                *x = (at + i)
                    .checked_sub(n)
                    .and_then(|i| samples.get(i))
                    .copied()
                    .unwrap_or(0.0);
            }
            transform.forward(&frame, &mut spectrum, &mut scratch);
            quantise(&mut spectrum, &bands, budget, &noise);
            transform.backward(&spectrum, &mut frame, &mut scratch);
            for (y, x) in decoded[at..].iter_mut().zip(&frame) {
                *y += x;
            }
        }
        // The extra hop is dropped, so that the copy has no delay.
        samples.copy_from_slice(&decoded[n..][..samples.len()]);
    }
}

/// Zwicker and Terhardt's scale of critical bands.
fn bark(hertz: f64) -> f64 {
    let khz = hertz / 1000.0;
    13.0 * (0.76 * khz).atan() + 3.5 * (khz / 7.5).powi(2).atan()
}

/// First lines of bands about half a Bark wide, and the end of the last.
fn bands(lines: usize, hertz: f64) -> Vec<usize> {
    let bark = |line: usize| bark(line as f64 * hertz);
    let mut edges = vec![0];
    for line in 1..lines {
        let begin = edges[edges.len() - 1];
        // At least four lines: at low frequencies half a Bark has one or two, too few to estimate a power.
        if line - begin >= 4 && bark(line) - bark(begin) >= 0.5 {
            edges.push(line);
        }
    }
    edges.push(lines);
    edges
}

/// Quantises a frame so that it takes at most `budget` bits; lines above the last band are dropped.
///
/// - `noise`: target noise of each band, relative to its RMS
fn quantise(spectrum: &mut [f32], bands: &[usize], budget: f64, noise: &[f32]) {
    let steps: Vec<f32> = bands
        .windows(2)
        .zip(noise)
        .map(|(edges, noise)| {
            let band = &spectrum[edges[0]..edges[1]];
            let power = band.iter().map(|x| x * x).sum::<f32>() / band.len() as f32;
            // A step s leaves noise of s / √12; never below that of a 16-bit file.
            (12f32.sqrt() * power.sqrt() * noise).max(1e-5)
        })
        .collect();
    let bits = |gain: f32| -> f64 {
        bands
            .windows(2)
            .zip(&steps)
            .map(|(edges, step)| {
                let scale = 1.0 / (step * gain);
                // The approximate cost of Huffman codes for small numbers; a band of zeros costs almost nothing.
                let bits = |x: &f32| {
                    let q = f64::from(level(x.abs() * scale));
                    if q == 0.0 { 0.3 } else { 1.5 + 1.6 * q.log2() }
                };
                let band = &spectrum[edges[0]..edges[1]];
                if band.iter().all(|x| level(x.abs() * scale) == 0.0) {
                    1.0
                } else {
                    band.iter().map(bits).sum()
                }
            })
            .sum()
    };
    let gain_of = |turns: u32| 10f32.powf(0.075 * turns as f32);
    // The smallest gain that fits, by bisection: bits nearly always fall with it.
    let mut low = 0;
    let mut high = GAINS;
    while low < high {
        let middle = low.midpoint(high);
        if bits(gain_of(middle)) <= budget {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let gain = gain_of(low);
    for (edges, step) in bands.windows(2).zip(&steps) {
        let step = step * gain;
        for x in &mut spectrum[edges[0]..edges[1]] {
            *x = (level(x.abs() / step).powf(4.0 / 3.0) * step).copysign(*x);
        }
    }
    let end = bands[bands.len() - 1];
    spectrum[end..].fill(0.0);
}

/// The quantiser of MP3 and AAC.
fn level(x: f32) -> f32 {
    // Rounds `x^0.75 - 0.0946`, as the example encoder of ISO/IEC 11172-3.
    (x.powf(0.75) + 0.4054).floor()
}

/// A modified discrete cosine transform of `size` lines with a sine window, by a complex FFT.
struct Mdct {
    size: usize,
    window: Vec<f32>,
    /// e^(-iπn/2N) for each of 2N samples.
    before: Vec<Complex32>,
    /// e^(-iπ(k + ½)(N + 1)/2N) for each of N lines.
    after: Vec<Complex32>,
    /// e^(iπk(N + 1)/2N) for each of N lines.
    back_before: Vec<Complex32>,
    /// e^(iπ(n + (N + 1)/2)/2N) for each of 2N samples.
    back_after: Vec<Complex32>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
}

impl Mdct {
    fn new(size: usize) -> Self {
        let n = size as f64;
        let turn = |angle: f64| Complex32::new(angle.cos() as f32, angle.sin() as f32);
        let middle = 0.5 * (n + 1.0);
        let turns = |count: usize, angle: &dyn Fn(f64) -> f64| -> Vec<Complex32> {
            (0..count)
                .map(|at| turn(PI * angle(at as f64) / n))
                .collect()
        };
        let window = |i| (PI * (f64::from(i) + 0.5) / (2.0 * n)).sin() as f32;
        let mut planner = FftPlanner::new();
        Self {
            size,
            window: (0..2 * size as u32).map(window).collect(),
            before: turns(2 * size, &|i| -i / 2.0),
            after: turns(size, &|k| -(k + 0.5) * middle),
            back_before: turns(size, &|k| k * middle),
            back_after: turns(2 * size, &|i| (i + middle) / 2.0),
            forward: planner.plan_fft_forward(2 * size),
            inverse: planner.plan_fft_inverse(2 * size),
        }
    }

    fn scratch(&self) -> (Vec<Complex32>, Vec<Complex32>) {
        let more = self
            .forward
            .get_inplace_scratch_len()
            .max(self.inverse.get_inplace_scratch_len());
        (
            vec![Complex32::default(); 2 * self.size],
            vec![Complex32::default(); more],
        )
    }

    /// Lines of a frame of 2N samples, scaled to preserve power.
    fn forward(
        &self,
        frame: &[f32],
        lines: &mut [f32],
        (buffer, more): &mut (Vec<Complex32>, Vec<Complex32>),
    ) {
        for (((y, x), window), turn) in buffer
            .iter_mut()
            .zip(frame)
            .zip(&self.window)
            .zip(&self.before)
        {
            *y = turn * (x * window);
        }
        self.forward.process_with_scratch(buffer, more);
        let scale = (2.0 / self.size as f32).sqrt();
        for ((line, x), turn) in lines.iter_mut().zip(&*buffer).zip(&self.after) {
            *line = (x * turn).re * scale;
        }
    }

    /// The windowed frame whose overlapped sum is the signal.
    fn backward(
        &self,
        lines: &[f32],
        frame: &mut [f32],
        (buffer, more): &mut (Vec<Complex32>, Vec<Complex32>),
    ) {
        // The upper half stays 0: N lines are transformed with one of 2N.
        buffer.fill(Complex32::default());
        for ((y, line), turn) in buffer.iter_mut().zip(lines).zip(&self.back_before) {
            *y = turn * line;
        }
        self.inverse.process_with_scratch(buffer, more);
        let scale = (2.0 / self.size as f32).sqrt();
        for (((y, x), window), turn) in frame
            .iter_mut()
            .zip(&*buffer)
            .zip(&self.window)
            .zip(&self.back_after)
        {
            *y = (x * turn).re * window * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<f32> {
        let mut random = Random::stream(5, 0);
        (0..length)
            .map(|_| random.range(-0.5, 0.5) as f32)
            .collect()
    }

    fn error(a: &[f32], b: &[f32]) -> f64 {
        let power = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>();
        10.0 * (power(&mut a.iter().zip(b).map(|(a, b)| a - b)) / power(&mut a.iter().copied()))
            .log10()
    }

    #[test]
    fn the_transform_comes_back() {
        for &size in &SIZES {
            let transform = Mdct::new(size);
            let mut scratch = transform.scratch();
            let signal = noise(6 * size);
            let mut lines = vec![0.0; size];
            let mut sum = vec![0.0; signal.len()];
            let mut frame = vec![0.0; 2 * size];
            for at in (0..=4 * size).step_by(size) {
                transform.forward(&signal[at..at + 2 * size], &mut lines, &mut scratch);
                transform.backward(&lines, &mut frame, &mut scratch);
                for (y, x) in sum[at..].iter_mut().zip(&frame) {
                    *y += x;
                }
            }
            let inner = size..5 * size;
            assert!(error(&signal[inner.clone()], &sum[inner]) < -110.0);
        }
    }
}
