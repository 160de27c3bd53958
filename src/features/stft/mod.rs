//! The fast path of the front end: frames in pairs, eight frames a group, in `f64` with the widest vectors at hand.
//!
//! Double precision is no luxury. A window spans 80 dB with a factor of 10 on *amplitudes*: its floor is 1e-8 of its
//! loudest cell, about the rounding of an `f32` transform, so that with single precision the quiet cells would be
//! noise, and a different noise on each machine.
#![allow(unsafe_code)]
// What is not inlined into the functions that enable vector instructions would run without them.
#![allow(clippy::inline_always)]

mod fft;
mod lanes;

use lanes::{Lanes, Portable};

use super::MelConfig;
use super::config::Spectrum;
use super::mel::Triangles;

/// Frames that go through the mel projection together.
const GROUP: usize = 8;
/// What a spectrum's row has beyond `n_fft / 2` bins: whole vectors, and a shift against cache aliasing.
const SLACK: usize = 40;

/// Which vectors the CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// AVX-512F.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// Anything else.
    Portable,
}

impl Isa {
    /// The widest there are; the environment variable `VOISIN_ISA` (`avx512`, `avx2`, `portable`) can ask for less.
    pub(super) fn detect() -> Self {
        let wanted = std::env::var("VOISIN_ISA").unwrap_or_default().to_ascii_lowercase();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let portable = !matches!(wanted.as_str(), "" | "avx512" | "avx2");
            if is_x86_feature_detected!("avx512f") && avx2 && !portable && wanted != "avx2" {
                return Self::Avx512;
            }
            if avx2 && !portable {
                return Self::Avx2;
            }
        }
        let _ = wanted;
        Self::Portable
    }
}

/// Samples beyond this are clipped, so that powers stay finite in `f32`.
const LOUDEST: f32 = 1e15;

/// Copies the window behind `pad_left` zeros, and zeros behind it; what does not fit is no frame's. What is not a
/// number becomes zero.
pub(super) fn pad(isa: Isa, samples: &[f32], pad_left: usize, padded: &mut [f32]) {
    match isa {
        // SAFETY: `Isa::detect` found the features, or a test did.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { pad_avx512(samples, pad_left, padded) },
        _ => pad_inline(samples, pad_left, padded),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn pad_avx512(samples: &[f32], pad_left: usize, padded: &mut [f32]) {
    pad_inline(samples, pad_left, padded);
}

#[inline(always)]
fn pad_inline(samples: &[f32], pad_left: usize, padded: &mut [f32]) {
    let pad_left = pad_left.min(padded.len());
    let (left, rest) = padded.split_at_mut(pad_left);
    let (middle, right) = rest.split_at_mut(samples.len().min(rest.len()));
    left.fill(0.0);
    for (to, &x) in middle.iter_mut().zip(samples) {
        *to = if x.is_nan() { 0.0 } else { x.clamp(-LOUDEST, LOUDEST) };
    }
    right.fill(0.0);
}

/// Windowed FFT and mel projection of all frames of a window.
#[derive(Debug, Clone)]
pub(super) struct Stft {
    plan: fft::Plan,
    isa: Isa,
}

/// Buffers of one thread.
#[derive(Debug, Clone)]
pub(super) struct Work {
    fft: fft::Work,
    /// `[GROUP][n_fft / 2 + SLACK]`
    spectra: Vec<f32>,
}

impl Stft {
    /// `None` if the FFT's length is none that the plan can do.
    pub(super) fn new(hann: &[f64], isa: Isa) -> Option<Self> {
        Some(Self { plan: fft::Plan::new(hann)?, isa })
    }

    pub(super) fn work(&self) -> Work {
        Work { fft: self.plan.work(), spectra: vec![0.0; GROUP * (self.plan.length / 2 + SLACK)] }
    }

    /// Sums of all bands and frames, before any square root of the sum.
    ///
    /// - `padded`: the window with its zeros on either side, `(n_frames - 1) · hop + n_fft` samples
    /// - `out`: `[n_mels][n_frames]`
    pub(super) fn bands(
        &self,
        config: &MelConfig,
        mel: &Triangles,
        padded: &[f32],
        work: &mut Work,
        out: &mut [f32],
    ) {
        match self.isa {
            // SAFETY: `Isa::detect` found the features, or a test did.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { bands_avx512(&self.plan, config, mel, padded, work, out) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { bands_avx2(&self.plan, config, mel, padded, work, out) },
            // SAFETY: portable lanes need nothing.
            _ => unsafe { bands::<Portable>(&self.plan, config, mel, padded, work, out) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn bands_avx512(
    plan: &fft::Plan,
    config: &MelConfig,
    mel: &Triangles,
    padded: &[f32],
    work: &mut Work,
    out: &mut [f32],
) {
    // SAFETY: this function enables what the lanes need.
    unsafe { bands::<lanes::Avx512>(plan, config, mel, padded, work, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn bands_avx2(
    plan: &fft::Plan,
    config: &MelConfig,
    mel: &Triangles,
    padded: &[f32],
    work: &mut Work,
    out: &mut [f32],
) {
    // SAFETY: this function enables what the lanes need.
    unsafe { bands::<lanes::Avx2>(plan, config, mel, padded, work, out) }
}

/// SAFETY: as [`Lanes`].
#[inline(always)]
unsafe fn bands<V: Lanes>(
    plan: &fft::Plan,
    config: &MelConfig,
    mel: &Triangles,
    padded: &[f32],
    work: &mut Work,
    out: &mut [f32],
) {
    let stride = plan.length / 2 + SLACK;
    let magnitude = config.spectrum == Spectrum::Magnitude;
    let Work { fft: fft_work, spectra } = work;
    let last = config.n_frames - 1;
    for first in (0..config.n_frames).step_by(GROUP) {
        for (pair, rows) in spectra.chunks_exact_mut(2 * stride).enumerate() {
            // Frames past the end are the last one again; their results are not written.
            let frame = |i: usize| &padded[(first + 2 * pair + i).min(last) * config.hop..][..plan.length];
            let (a, b) = rows.split_at_mut(stride);
            // SAFETY: the caller's, passed on.
            unsafe { fft::spectra::<V>(plan, fft_work, [frame(0), frame(1)], [a, b], magnitude) };
        }
        let count = GROUP.min(config.n_frames - first);
        for part in (0..count).step_by(V::N) {
            let rows = &spectra[part * stride..];
            let frames = V::N.min(count - part);
            // SAFETY: the caller's, passed on; V::N <= GROUP rows are there.
            unsafe {
                project::<V>(mel, rows, stride, &mut |band, sums| {
                    let cells = &mut out[band * config.n_frames + first + part..][..frames];
                    if frames == V::N {
                        sums.narrow(cells.as_mut_ptr());
                    } else {
                        let mut narrow = [0f32; GROUP];
                        sums.narrow(narrow.as_mut_ptr());
                        cells.copy_from_slice(&narrow[..frames]);
                    }
                });
            }
        }
    }
}

/// Projects `V::N` spectra (rows `stride` apart) onto the bands; `sink(band, sum per frame)`.
///
/// SAFETY: as [`Lanes`]; `rows` must hold `V::N` rows of whole vectors beyond the last bin that has a weight.
#[inline(always)]
unsafe fn project<V: Lanes>(mel: &Triangles, rows: &[f32], stride: usize, sink: &mut impl FnMut(usize, V)) {
    let bins = mel.last_bin + 1;
    assert!(bins + V::N <= stride && rows.len() >= (V::N - 1) * stride + bins + V::N);
    let mut tile = [0f64; GROUP * GROUP];
    // SAFETY: a tile reads V::N bins from a multiple of V::N that is at most `last_bin`.
    unsafe {
        let mut rising_before = V::splat(0.0);
        let mut tile_at = usize::MAX;
        for (segment, range) in mel.segments.iter().enumerate() {
            let (mut rising, mut falling) = (V::splat(0.0), V::splat(0.0));
            let mut bin = range.start;
            while bin < range.end {
                let start = bin - bin % V::N;
                if start != tile_at {
                    V::transpose_widening(rows.as_ptr().add(start), stride, tile.as_mut_ptr(), V::N);
                    tile_at = start;
                }
                let end = range.end.min(start + V::N);
                for (x, [rise, fall]) in (bin - start..).zip(&mel.weights[bin..end]) {
                    let x = V::load(tile.as_ptr().add(x * V::N));
                    rising = x.mul_add(V::splat(*rise), rising);
                    falling = x.mul_add(V::splat(*fall), falling);
                }
                bin = end;
            }
            if segment > 0 {
                sink(segment - 1, rising_before.add(falling));
            }
            rising_before = rising;
        }
    }
}
