//! The five convolutions over the spectrogram, each with its maximum over bands, by Fourier transforms.
//!
//! A timbral kernel (7 frames × 38 or 67 bands) is a product over 49 frequencies of the band axis, summed over 7
//! frames; a temporal one (128, 64 or 32 frames × 1 band) is a product over 256 frequencies of the time axis.
//! Filters lie side by side in the lanes. Outputs are reduced to their maximum as they leave the last butterfly:
//! no map is ever stored.

#![allow(clippy::too_many_arguments, reason = "kernels take pointers that the compiler must know apart")]
#![allow(unsafe_code, reason = "SIMD kernels behind a run-time feature check")]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

use super::fft::{self, C};
use super::{BANDS, FRAMES};
use crate::kernels::dispatch::dispatch;
use crate::kernels::simd::Simd;

/// Frequencies of a real signal of 96 bands.
pub(super) const BAND_BINS: usize = BANDS / 2 + 1;
/// Points of the transform over time. `FRAMES + 127` values overlap by less than the outputs that are dropped.
pub(super) const TIME_BINS: usize = 256;
/// Pairs of bands: band p is the real part, band p + 48 the imaginary part of one signal.
pub(super) const PAIRS: usize = BANDS / 2;
/// Frames that one pass of the timbral kernel yields.
pub(super) const TILE: usize = 4;
/// Taps of a timbral kernel in time.
pub(super) const TAPS: usize = 7;
/// Length of a row of band spectra: 3 frames of zeros, 187 frames, and zeros for the last tile and vector.
pub(super) const ROW: usize = 208;
/// Length of a row of normalised bands.
pub(super) const BAND_ROW: usize = 192;

/// `e^{2πi k/N}` for the sizes in use.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) r32: [[f32; 2]; 32],
    pub(super) r96: [[f32; 2]; 96],
    pub(super) r256: [[f32; 2]; 256],
    /// `e^{2πi k·band/96}`, `[band][k]`.
    bands: Vec<[[f32; 2]; BAND_BINS]>,
}

impl Roots {
    pub(super) fn new() -> Self {
        let r96 = fft::roots();
        let bands = (0..BANDS).map(|band| std::array::from_fn(|k| r96[k * band % BANDS])).collect();
        Self { r32: fft::roots(), r96, r256: fft::roots(), bands }
    }
}

/// What becomes of a maximum m, lane by lane: `scale · relu(sign · m + bias) + shift`.
///
/// Batch norm with a negative factor turns the maximum into a minimum; its filters are stored negated, so that the
/// maximum of their outputs is the one wanted, and `sign` restores it.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    /// Sign, bias, scale and shift: four vectors.
    pub(super) table: *const f32,
}

impl Epilogue {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, m: S::V) -> S::V {
        // SAFETY: the table holds four vectors; the caller runs with the features of `S`.
        unsafe {
            let at = |i: usize| S::load(self.table.add(i * S::LANES));
            let x = S::max(S::fma(m, at(0), at(1)), S::splat(0.0));
            S::fma(x, at(2), at(3))
        }
    }
}

/// Transforms the bands of every frame.
///
/// - `bands`: `[96][BAND_ROW]`, zero from frame 187 on
/// - `out`: `[49][re, im][ROW]`; frame t at column t + 3, zeros around
///
/// # Safety
/// The pointers are valid for these extents; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn band_spectra_generic<S: Simd>(bands: *const f32, roots: &Roots, out: *mut f32) {
    // A dense transform: 1 % of the whole, and its loads are contiguous.
    const AT_ONCE: usize = 7;
    for t in (0..BAND_ROW).step_by(S::LANES) {
        for k0 in (0..BAND_BINS).step_by(AT_ONCE) {
            // SAFETY: rows of 192 read at t < 192; columns t + 3 + LANES ≤ 208 written; k < 49 = 7 · 7.
            unsafe {
                let mut re = [S::splat(0.0); AT_ONCE];
                let mut im = [S::splat(0.0); AT_ONCE];
                for (band, row) in roots.bands.iter().enumerate() {
                    let x = S::load(bands.add(band * BAND_ROW + t));
                    for i in 0..AT_ONCE {
                        let [c, s] = row[k0 + i];
                        re[i] = S::fma(x, S::splat(c), re[i]);
                        im[i] = S::fnma(x, S::splat(s), im[i]);
                    }
                }
                for i in 0..AT_ONCE {
                    let row = out.add(2 * (k0 + i) * ROW + t + 3);
                    S::store(row, re[i]);
                    S::store(row.add(ROW), im[i]);
                }
            }
        }
    }
}

dispatch!(
    /// See [`band_spectra_generic`].
    band_spectra => band_spectra_generic(bands: *const f32, roots: &Roots, out: *mut f32)
);

/// Transforms each pair of bands over time.
///
/// - `frames`: `[187][96]`
/// - `work`: 256 complex vectors
/// - `out`: `[48][256][re, im]`
///
/// # Safety
/// The pointers are valid for these extents; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn time_spectra_generic<S: Simd>(frames: *const f32, roots: &Roots, work: *mut f32, out: *mut f32) {
    let step = 2 * S::LANES;
    for pair in (0..PAIRS).step_by(S::LANES) {
        // SAFETY: pairs pair..pair + LANES ≤ 48, since 48 is a multiple of every LANES; frames below 187.
        unsafe {
            // Real and imaginary parts change places here and when written: the transform is then forward.
            fft::dft256_first::<S>(work, &roots.r256, |t| {
                if t < FRAMES {
                    let p = frames.add(t * BANDS + pair);
                    C { re: S::load(p.add(PAIRS)), im: S::load(p) }
                } else {
                    C { re: S::splat(0.0), im: S::splat(0.0) }
                }
            });
            let mut lanes = [[0.0_f32; 16]; 2];
            for residue in 0..8 {
                let part = work.add(32 * residue * step);
                fft::dft32_first::<S>(part, &roots.r32);
                for q in 0..4 {
                    for (p, y) in fft::dft32_second::<S>(part, q).into_iter().enumerate() {
                        let k = residue + 8 * (q + 4 * p);
                        S::store(lanes[0].as_mut_ptr(), y.im);
                        S::store(lanes[1].as_mut_ptr(), y.re);
                        for (lane, (&re, &im)) in lanes[0].iter().zip(&lanes[1]).enumerate().take(S::LANES) {
                            let to = out.add(((pair + lane) * TIME_BINS + k) * 2);
                            *to = re;
                            *to.add(1) = im;
                        }
                    }
                }
            }
        }
    }
}

dispatch!(
    /// See [`time_spectra_generic`].
    time_spectra => time_spectra_generic(frames: *const f32, roots: &Roots, work: *mut f32, out: *mut f32)
);

/// One vector of timbral filters over all frames.
///
/// - `spectra`: what `band_spectra` wrote
/// - `filters`: `[49][7 frames][re, im][LANES]`, conjugated, over 96
/// - `work`: 6 × 32 complex vectors
/// - `out`: a column of `LANES` of the front's `[187][width]`
///
/// # Safety
/// The pointers are valid for these extents; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn timbral_generic<S: Simd, const OUTPUTS: usize>(
    spectra: *const f32,
    filters: *const f32,
    roots: &Roots,
    work: *mut f32,
    epilogue: Epilogue,
    out: *mut f32,
    width: usize,
) {
    let step = 2 * S::LANES;
    let part = 32 * step;
    for t0 in (0..FRAMES).step_by(TILE) {
        // SAFETY: columns read are t0 + 3 + 6 ≤ 196 < ROW; the six parts of `work` and rows below 187 of `out`.
        unsafe {
            // Outputs of frame i: y[n] = E[n mod 32] + 2 Re(e^{2πi n/96} · D[n mod 32]), where E is the transform of
            // the frequencies 0, 3, 6 …, which is real, so that two frames share one, and D that of 1, 4, 7 …,
            // whose upper half are the conjugates of 47, 44 … (Y[96 − k] = conj Y[k]).
            let even = |pair: usize, m: usize| work.add(pair * part + m * step);
            let odd = |frame: usize, m: usize| work.add((2 + frame) * part + m * step);
            for m in 0..16 {
                let y = product::<S>(spectra.add(t0), filters, 3 * m);
                for pair in 0..2 {
                    let (a, b) = (y[2 * pair], y[2 * pair + 1]);
                    fft::store::<S>(even(pair, m), fft::add_i::<S>(a, b));
                    if m > 0 {
                        // conj(a) + i·conj(b)
                        let mirrored = C { re: S::add(a.re, b.im), im: S::sub(b.re, a.im) };
                        fft::store::<S>(even(pair, 32 - m), mirrored);
                    }
                }
                let y = product::<S>(spectra.add(t0), filters, 3 * m + 1);
                for (frame, y) in y.into_iter().enumerate() {
                    fft::store::<S>(odd(frame, m), y);
                }
                let y = product::<S>(spectra.add(t0), filters, 3 * m + 2);
                for (frame, y) in y.into_iter().enumerate() {
                    fft::store::<S>(odd(frame, 31 - m), C { re: y.re, im: S::sub(S::splat(0.0), y.im) });
                }
            }
            let y = product::<S>(spectra.add(t0), filters, 48);
            for pair in 0..2 {
                fft::store::<S>(even(pair, 16), fft::add_i::<S>(y[2 * pair], y[2 * pair + 1]));
            }

            for pair in 0..2 {
                let x = even(pair, 0);
                fft::dft32_first::<S>(x, &roots.r32);
                for q in 0..4 {
                    for (p, y) in fft::dft32_second::<S>(x, q).into_iter().enumerate() {
                        fft::store::<S>(x.add((8 * q + p) * step), y);
                    }
                }
                for frame in 2 * pair..2 * pair + 2 {
                    let real = x.add((frame % 2) * S::LANES).cast_const();
                    let max = maximum::<S, OUTPUTS>(odd(frame, 0), real, roots);
                    if t0 + frame < FRAMES {
                        S::store(out.add((t0 + frame) * width), epilogue.apply::<S>(max));
                    }
                }
            }
        }
    }
}

/// Frequency k of four frames: the sum over 7 frames of spectrum times filter.
#[inline(always)]
unsafe fn product<S: Simd>(spectra: *const f32, filters: *const f32, k: usize) -> [C<S::V>; TILE] {
    // SAFETY: the caller's extents; `spectra` points at the tile's first column.
    unsafe {
        let zero = S::splat(0.0);
        let mut y = [C { re: zero, im: zero }; TILE];
        let rows = spectra.add(2 * k * ROW);
        for tap in 0..TAPS {
            let w = fft::load::<S>(filters.add((k * TAPS + tap) * 2 * S::LANES));
            for (frame, y) in y.iter_mut().enumerate() {
                let re = S::splat(*rows.add(tap + frame));
                let im = S::splat(*rows.add(ROW + tap + frame));
                y.re = S::fnma(im, w.im, S::fma(re, w.re, y.re));
                y.im = S::fma(im, w.re, S::fma(re, w.im, y.im));
            }
        }
        y
    }
}

/// The largest of the outputs 0 to `OUTPUTS` − 1 of one frame; `odd` is transformed on the way.
#[inline(always)]
unsafe fn maximum<S: Simd, const OUTPUTS: usize>(odd: *mut f32, real: *const f32, roots: &Roots) -> S::V {
    let step = 2 * S::LANES;
    // SAFETY: the caller's extents.
    unsafe {
        fft::dft32_first::<S>(odd, &roots.r32);
        let mut max = S::splat(f32::NEG_INFINITY);
        for q in 0..4 {
            for (p, y) in fft::dft32_second::<S>(odd, q).into_iter().enumerate() {
                let low = q + 4 * p;
                if low < OUTPUTS {
                    let e = S::load(real.add((8 * q + p) * step));
                    let mut n = low;
                    while n < OUTPUTS {
                        let [c, s] = roots.r96[n];
                        let value = S::fnma(y.im, S::splat(2.0 * s), S::fma(y.re, S::splat(2.0 * c), e));
                        max = S::max(max, value);
                        n += 32;
                    }
                }
            }
        }
        max
    }
}

#[inline(always)]
unsafe fn timbral_38_generic<S: Simd>(
    spectra: *const f32,
    filters: *const f32,
    roots: &Roots,
    work: *mut f32,
    epilogue: Epilogue,
    out: *mut f32,
    width: usize,
) {
    // SAFETY: passed on.
    unsafe { timbral_generic::<S, { BANDS - 38 + 1 }>(spectra, filters, roots, work, epilogue, out, width) }
}

#[inline(always)]
unsafe fn timbral_67_generic<S: Simd>(
    spectra: *const f32,
    filters: *const f32,
    roots: &Roots,
    work: *mut f32,
    epilogue: Epilogue,
    out: *mut f32,
    width: usize,
) {
    // SAFETY: passed on.
    unsafe { timbral_generic::<S, { BANDS - 67 + 1 }>(spectra, filters, roots, work, epilogue, out, width) }
}

dispatch!(
    /// [`timbral_generic`] for kernels of 38 bands.
    timbral_38 => timbral_38_generic(spectra: *const f32, filters: *const f32, roots: &Roots, work: *mut f32,
        epilogue: Epilogue, out: *mut f32, width: usize)
);
dispatch!(
    /// [`timbral_generic`] for kernels of 67 bands.
    timbral_67 => timbral_67_generic(spectra: *const f32, filters: *const f32, roots: &Roots, work: *mut f32,
        epilogue: Epilogue, out: *mut f32, width: usize)
);

/// One vector of temporal filters over all bands.
///
/// - `spectra`: what `time_spectra` wrote
/// - `filters`: `[256][re, im][LANES]`, conjugated, over 256
/// - `work`: 256 complex vectors
/// - `maxima`: 192 vectors
/// - `out`: a column of `LANES` of the front's `[187][width]`
///
/// # Safety
/// The pointers are valid for these extents; the caller runs with the features of `S`.
#[inline(always)]
unsafe fn temporal_generic<S: Simd>(
    spectra: *const f32,
    filters: *const f32,
    roots: &Roots,
    work: *mut f32,
    maxima: *mut f32,
    epilogue: Epilogue,
    out: *mut f32,
    width: usize,
) {
    let step = 2 * S::LANES;
    // SAFETY: the extents above; outputs n < 192 only are kept, and rows below 187 written.
    unsafe {
        for n in 0..192 {
            S::store(maxima.add(n * S::LANES), S::splat(f32::NEG_INFINITY));
        }
        for pair in 0..PAIRS {
            let row = spectra.add(pair * TIME_BINS * 2);
            fft::dft256_first::<S>(work, &roots.r256, |k| {
                let x = C { re: S::splat(*row.add(2 * k)), im: S::splat(*row.add(2 * k + 1)) };
                fft::multiply::<S>(x, fft::load::<S>(filters.add(k * step)))
            });
            for residue in 0..8 {
                let part = work.add(32 * residue * step);
                fft::dft32_first::<S>(part, &roots.r32);
                for q in 0..4 {
                    // n = residue + 8 (q + 4 p) < 192 for p < 6.
                    for (p, y) in fft::dft32_second::<S>(part, q).into_iter().enumerate().take(6) {
                        let to = maxima.add((residue + 8 * (q + 4 * p)) * S::LANES);
                        S::store(to, S::max(S::load(to), S::max(y.re, y.im)));
                    }
                }
            }
        }
        for t in 0..FRAMES {
            S::store(out.add(t * width), epilogue.apply::<S>(S::load(maxima.add(t * S::LANES))));
        }
    }
}

dispatch!(
    /// See [`temporal_generic`].
    temporal => temporal_generic(spectra: *const f32, filters: *const f32, roots: &Roots, work: *mut f32,
        maxima: *mut f32, epilogue: Epilogue, out: *mut f32, width: usize)
);
