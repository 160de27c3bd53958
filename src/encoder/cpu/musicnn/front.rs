//! The five convolutions over the spectrogram, each with its maximum over bands, by Fourier
//! transforms.
//!
//! A timbral kernel (7 frames × 38 or 67 bands) is a product over 49 frequencies of the band axis,
//! summed over 7 frames; a temporal one (128, 64 or 32 frames × 1 band) is a product over 256
//! frequencies of the time axis. Filters lie side by side in the lanes. Outputs are reduced to
//! their maximum as they leave the last butterfly: no map is ever stored.

use super::fft::{self, C};
use super::{BANDS, FRAMES};
use crate::cpu::simd::{Simd, dispatch};
use voisin_simd::Isa;
use voisin_simd::buffer::SharedSlice;

/// Frequencies of a real signal of 96 bands.
pub(super) const BAND_BINS: usize = BANDS / 2 + 1;
/// Points of the transform over time. `FRAMES + 127` values overlap by less than the outputs that
/// are dropped.
pub(super) const TIME_BINS: usize = 256;
/// Pairs of bands: band p is the real part, band p + 48 the imaginary part of one signal.
pub(super) const PAIRS: usize = BANDS / 2;
/// Frames that one pass of the timbral kernel yields.
pub(super) const TILE: usize = 4;
/// Taps of a timbral kernel in time.
pub(super) const TAPS: usize = 7;
/// Length of a row of band spectra: 3 frames of zeros, 187 frames, and zeros for the last tile and
/// vector.
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
        let bands = (0..BANDS)
            .map(|band| std::array::from_fn(|k| r96[k * band % BANDS]))
            .collect();
        Self {
            r32: fft::roots(),
            r96,
            r256: fft::roots(),
            bands,
        }
    }
}

/// Transforms the bands of every frame.
///
/// # Safety
/// The extents that [`band_spectra`] states.
#[inline(always)]
unsafe fn band_spectra_generic<S: Simd>(simd: S, bands: *const f32, roots: &Roots, out: *mut f32) {
    // A dense transform: 1 % of the whole, and its loads are contiguous.
    const AT_ONCE: usize = 7;
    for t in (0..BAND_ROW).step_by(S::LANES) {
        for k0 in (0..BAND_BINS).step_by(AT_ONCE) {
            // SAFETY: rows of 192 read at t < 192; columns t + 3 + LANES ≤ 208 written; k < 49 = 7
            // · 7.
            unsafe {
                let mut re = [simd.splat(0.0); AT_ONCE];
                let mut im = [simd.splat(0.0); AT_ONCE];
                for (band, row) in roots.bands.iter().enumerate() {
                    let x = simd.load(bands.add(band * BAND_ROW + t));
                    for i in 0..AT_ONCE {
                        let [c, s] = row[k0 + i];
                        re[i] = simd.fma(x, simd.splat(c), re[i]);
                        im[i] = simd.fnma(x, simd.splat(s), im[i]);
                    }
                }
                for i in 0..AT_ONCE {
                    let row = out.add(2 * (k0 + i) * ROW + t + 3);
                    simd.store(row, re[i]);
                    simd.store(row.add(ROW), im[i]);
                }
            }
        }
    }
}

dispatch! {
    band_spectra_unchecked => band_spectra_generic(bands: *const f32, roots: &Roots, out: *mut f32)
}

/// Transforms the bands of every frame.
///
/// - `bands`: `[96][BAND_ROW]`, zero from frame 187 on
/// - `out`: `[49][re, im][ROW]`; frame t at column t + 3, zeros around
pub(super) fn band_spectra(isa: Isa, bands: &[f32], roots: &Roots, out: &mut [f32]) {
    assert!(
        bands.len() >= BANDS * BAND_ROW && out.len() >= 2 * BAND_BINS * ROW,
        "whole spectrograms"
    );
    // SAFETY: the extents just checked.
    unsafe { band_spectra_unchecked(isa, bands.as_ptr(), roots, out.as_mut_ptr()) }
}

/// # Safety
/// The extents that [`time_spectra`] states.
#[inline(always)]
unsafe fn time_spectra_generic<S: Simd>(
    simd: S,
    frames: *const f32,
    roots: &Roots,
    work: *mut f32,
    out: *mut f32,
) {
    for pair in (0..PAIRS).step_by(S::LANES) {
        // SAFETY: pairs pair..pair + LANES ≤ 48, since 48 is a multiple of every LANES; frames
        // below 187.
        unsafe {
            // Real and imaginary parts change places here and when written: the transform is then
            // forward.
            fft::dft256_first(simd, work, &roots.r256, |t| {
                if t < FRAMES {
                    let p = frames.add(t * BANDS + pair);
                    C {
                        re: simd.load(p.add(PAIRS)),
                        im: simd.load(p),
                    }
                } else {
                    C {
                        re: simd.splat(0.0),
                        im: simd.splat(0.0),
                    }
                }
            });
            let mut lanes = [[0.0_f32; 16]; 2];
            fft::dft256_rest::<S, 8>(simd, work, &roots.r32, |k, y| {
                simd.store(lanes[0].as_mut_ptr(), y.im);
                simd.store(lanes[1].as_mut_ptr(), y.re);
                for (lane, (&re, &im)) in lanes[0].iter().zip(&lanes[1]).enumerate().take(S::LANES)
                {
                    let to = out.add(((pair + lane) * TIME_BINS + k) * 2);
                    *to = re;
                    *to.add(1) = im;
                }
            });
        }
    }
}

dispatch! {
    time_spectra_unchecked => time_spectra_generic(
        frames: *const f32, roots: &Roots, work: *mut f32, out: *mut f32
    )
}

/// Transforms each pair of bands over time.
///
/// - `frames`: `[187][96]`
/// - `work`: 256 complex vectors
/// - `out`: `[48][256][re, im]`
pub(super) fn time_spectra(
    isa: Isa,
    frames: &[f32],
    roots: &Roots,
    work: &mut [f32],
    out: &mut [f32],
) {
    assert!(
        frames.len() >= FRAMES * BANDS && out.len() >= 2 * PAIRS * TIME_BINS,
        "whole spectrograms"
    );
    assert!(
        work.len() >= 2 * TIME_BINS * isa.lanes(),
        "room for a transform"
    );
    // SAFETY: the extents just checked.
    unsafe {
        time_spectra_unchecked(
            isa,
            frames.as_ptr(),
            roots,
            work.as_mut_ptr(),
            out.as_mut_ptr(),
        );
    }
}

/// One vector of filters over the whole spectrogram, and where their maxima go.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    /// Output of [`band_spectra`], or for temporal filters of [`time_spectra`].
    pub(super) spectra: &'a [f32],
    /// Conjugated spectra over the transform's length: `[49][7 frames][re, im][LANES]` of timbral
    /// filters, `[256][re, im][LANES]` of temporal ones.
    pub(super) filters: &'a [f32],
    pub(super) roots: &'a Roots,
    /// Map of a maximum m, lane by lane: `scale · relu(sign · m + bias) + shift`, as four vectors:
    /// sign, bias, scale and shift.
    ///
    /// Batch norm with a negative factor turns the maximum into a minimum; its filters are stored
    /// negated, so that the maximum of their outputs is the one wanted, and `sign` restores it.
    pub(super) epilogue: &'a [f32],
    /// The front's `[187][width]`, from this vector's column on.
    pub(super) out: SharedSlice<'a>,
    pub(super) width: usize,
}

impl Vector<'_> {
    /// Whether everything is there for filters of `filter` values a lane over `spectra` values.
    fn fits(&self, isa: Isa, spectra: usize, filter: usize) -> bool {
        let lanes = isa.lanes();
        self.spectra.len() >= spectra
            && self.filters.len() >= filter * lanes
            && self.epilogue.len() >= 4 * lanes
            && (FRAMES - 1) * self.width + lanes <= self.out.len()
    }

    /// Stores the mapped maximum of frame `t`.
    ///
    /// # Safety
    /// It fits, `t` is below 187, and nothing else reads or writes this place.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, simd: S, t: usize, maximum: S::V) {
        // SAFETY: the epilogue has four vectors; the frame's row lies in the output.
        unsafe {
            let table = self.epilogue.as_ptr();
            let sign = simd.load(table);
            let bias = simd.load(table.add(S::LANES));
            let scale = simd.load(table.add(2 * S::LANES));
            let shift = simd.load(table.add(3 * S::LANES));
            let x = simd.max(simd.fma(maximum, sign, bias), simd.splat(0.0));
            simd.store(
                self.out.as_mut_ptr().add(t * self.width),
                simd.fma(x, scale, shift),
            );
        }
    }
}

/// Timbral filters whose kernels leave `OUTPUTS` places in the band axis.
///
/// # Safety
/// `a` fits, `work` has room for 6 × 32 complex vectors, and nothing else reads or writes the
/// column.
#[inline(always)]
#[expect(clippy::too_many_lines, reason = "one sequence of steps")]
unsafe fn timbral<S: Simd, const OUTPUTS: usize>(simd: S, a: &Vector<'_>, work: *mut f32) {
    let Vector { roots, .. } = *a;
    let spectra = a.spectra.as_ptr();
    let filters = a.filters.as_ptr();
    let step = 2 * S::LANES;
    let part = 32 * step;
    for t0 in (0..FRAMES).step_by(TILE) {
        // SAFETY: columns read are t0 + 3 + 6 ≤ 196 < ROW; the six parts of `work` and rows below
        // 187 of `out`.
        unsafe {
            // Outputs of frame i: y[n] = E[n mod 32] + 2 Re(e^{2πi n/96} · D[n mod 32]), where E is
            // the transform of the frequencies 0, 3, 6 …, which is real, so that two frames share
            // one, and D that of 1, 4, 7 …, whose upper half are the conjugates of 47, 44 … (Y[96 −
            // k] = conj Y[k]).
            let even = |pair: usize, m: usize| work.add(pair * part + m * step);
            let odd = |frame: usize, m: usize| work.add((2 + frame) * part + m * step);
            for m in 0..16 {
                let y = product(simd, spectra.add(t0), filters, 3 * m);
                for pair in 0..2 {
                    let a = y[2 * pair];
                    let b = y[2 * pair + 1];
                    fft::store(simd, even(pair, m), fft::add_i(simd, a, b));
                    if m > 0 {
                        // conj(a) + i·conj(b)
                        let mirrored = C {
                            re: simd.add(a.re, b.im),
                            im: simd.sub(b.re, a.im),
                        };
                        fft::store(simd, even(pair, 32 - m), mirrored);
                    }
                }
                let y = product(simd, spectra.add(t0), filters, 3 * m + 1);
                for (frame, y) in y.into_iter().enumerate() {
                    fft::store(simd, odd(frame, m), y);
                }
                let y = product(simd, spectra.add(t0), filters, 3 * m + 2);
                for (frame, y) in y.into_iter().enumerate() {
                    fft::store(
                        simd,
                        odd(frame, 31 - m),
                        C {
                            re: y.re,
                            im: simd.sub(simd.splat(0.0), y.im),
                        },
                    );
                }
            }
            let y = product(simd, spectra.add(t0), filters, 48);
            for pair in 0..2 {
                fft::store(
                    simd,
                    even(pair, 16),
                    fft::add_i(simd, y[2 * pair], y[2 * pair + 1]),
                );
            }

            for pair in 0..2 {
                let x = even(pair, 0);
                fft::dft32_first(simd, x, &roots.r32);
                for q in 0..4 {
                    for (p, y) in fft::dft32_second(simd, x, q).into_iter().enumerate() {
                        fft::store(simd, x.add((8 * q + p) * step), y);
                    }
                }
                for frame in 2 * pair..2 * pair + 2 {
                    let real = x.add((frame % 2) * S::LANES).cast_const();
                    let max = maximum::<S, OUTPUTS>(simd, odd(frame, 0), real, roots);
                    if t0 + frame < FRAMES {
                        a.put(simd, t0 + frame, max);
                    }
                }
            }
        }
    }
}

/// Frequency k of four frames: the sum over 7 frames of spectrum times filter.
///
/// # Safety
/// `spectra` points at the tile's first column of what [`band_spectra`] wrote; `filters` as
/// [`timbral`]'s.
#[inline(always)]
unsafe fn product<S: Simd>(
    simd: S,
    spectra: *const f32,
    filters: *const f32,
    k: usize,
) -> [C<S::V>; TILE] {
    // SAFETY: the caller's extents.
    unsafe {
        let zero = simd.splat(0.0);
        let mut y = [C { re: zero, im: zero }; TILE];
        let rows = spectra.add(2 * k * ROW);
        for tap in 0..TAPS {
            let w = fft::load(simd, filters.add((k * TAPS + tap) * 2 * S::LANES));
            for (frame, y) in y.iter_mut().enumerate() {
                let re = simd.splat(*rows.add(tap + frame));
                let im = simd.splat(*rows.add(ROW + tap + frame));
                y.re = simd.fnma(im, w.im, simd.fma(re, w.re, y.re));
                y.im = simd.fma(im, w.re, simd.fma(re, w.im, y.im));
            }
        }
        y
    }
}

/// The largest of the outputs 0 to `OUTPUTS` − 1 of one frame; `odd` is transformed on the way.
///
/// # Safety
/// 32 complex vectors at `odd`, and every other one of them at `real`.
#[inline(always)]
unsafe fn maximum<S: Simd, const OUTPUTS: usize>(
    simd: S,
    odd: *mut f32,
    real: *const f32,
    roots: &Roots,
) -> S::V {
    let step = 2 * S::LANES;
    // SAFETY: the caller's extents.
    unsafe {
        fft::dft32_first(simd, odd, &roots.r32);
        let mut max = simd.splat(f32::NEG_INFINITY);
        for q in 0..4 {
            for (p, y) in fft::dft32_second(simd, odd, q).into_iter().enumerate() {
                let low = q + 4 * p;
                if low < OUTPUTS {
                    let e = simd.load(real.add((8 * q + p) * step));
                    let mut n = low;
                    while n < OUTPUTS {
                        let [c, s] = roots.r96[n];
                        let value = simd.fnma(
                            y.im,
                            simd.splat(2.0 * s),
                            simd.fma(y.re, simd.splat(2.0 * c), e),
                        );
                        max = simd.max(max, value);
                        n += 32;
                    }
                }
            }
        }
        max
    }
}

/// # Safety
/// As [`timbral`].
#[inline(always)]
unsafe fn timbral_38_generic<S: Simd>(simd: S, a: &Vector<'_>, work: *mut f32) {
    // SAFETY: as the caller promises.
    unsafe { timbral::<S, { BANDS - 38 + 1 }>(simd, a, work) }
}

/// # Safety
/// As [`timbral`].
#[inline(always)]
unsafe fn timbral_67_generic<S: Simd>(simd: S, a: &Vector<'_>, work: *mut f32) {
    // SAFETY: as the caller promises.
    unsafe { timbral::<S, { BANDS - 67 + 1 }>(simd, a, work) }
}

dispatch! {
    timbral_38_unchecked => timbral_38_generic(a: &Vector<'_>, work: *mut f32)
}
dispatch! {
    timbral_67_unchecked => timbral_67_generic(a: &Vector<'_>, work: *mut f32)
}

/// # Safety
/// `a` fits, `work` has room for 256 complex vectors and `maxima` for 192 vectors; nothing else
/// reads or writes the column.
#[inline(always)]
unsafe fn temporal_generic<S: Simd>(simd: S, a: &Vector<'_>, work: *mut f32, maxima: *mut f32) {
    let step = 2 * S::LANES;
    // SAFETY: the extents above; outputs n < 192 only are kept, and rows below 187 written.
    unsafe {
        for n in 0..192 {
            simd.store(maxima.add(n * S::LANES), simd.splat(f32::NEG_INFINITY));
        }
        let filters = a.filters.as_ptr();
        for pair in 0..PAIRS {
            let row = a.spectra.as_ptr().add(pair * TIME_BINS * 2);
            fft::dft256_first(simd, work, &a.roots.r256, |k| {
                let x = C {
                    re: simd.splat(*row.add(2 * k)),
                    im: simd.splat(*row.add(2 * k + 1)),
                };
                fft::multiply(simd, x, fft::load(simd, filters.add(k * step)))
            });
            fft::dft256_rest::<S, 6>(simd, work, &a.roots.r32, |n, y| {
                let to = maxima.add(n * S::LANES);
                simd.store(to, simd.max(simd.load(to), simd.max(y.re, y.im)));
            });
        }
        for t in 0..FRAMES {
            a.put(simd, t, simd.load(maxima.add(t * S::LANES)));
        }
    }
}

dispatch! {
    temporal_unchecked => temporal_generic(a: &Vector<'_>, work: *mut f32, maxima: *mut f32)
}

#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Timbral38,
    Timbral67,
    /// 128, 64 or 32 frames × 1 band.
    Temporal,
}

/// One vector of filters over the whole spectrogram.
///
/// - `work`: 256 complex vectors
/// - `maxima`: 192 vectors
///
/// # Safety
/// Nothing else reads or writes this vector's column of the output meanwhile.
pub(super) unsafe fn filter(
    isa: Isa,
    kernel: Kernel,
    a: &Vector<'_>,
    work: &mut [f32],
    maxima: &mut [f32],
) {
    let lanes = isa.lanes();
    assert!(
        work.len() >= 2 * TIME_BINS * lanes && maxima.len() >= 192 * lanes,
        "room for a transform"
    );
    let fits = match kernel {
        Kernel::Temporal => a.fits(isa, 2 * PAIRS * TIME_BINS, 2 * TIME_BINS),
        Kernel::Timbral38 | Kernel::Timbral67 => {
            a.fits(isa, 2 * BAND_BINS * ROW, 2 * BAND_BINS * TAPS)
        }
    };
    assert!(fits, "spectra, filters and rows of these sizes");
    // SAFETY: the extents just checked (6 × 32 vectors are fewer than 256); columns are kept apart
    // by the caller.
    unsafe {
        match kernel {
            Kernel::Timbral38 => timbral_38_unchecked(isa, a, work.as_mut_ptr()),
            Kernel::Timbral67 => timbral_67_unchecked(isa, a, work.as_mut_ptr()),
            Kernel::Temporal => temporal_unchecked(isa, a, work.as_mut_ptr(), maxima.as_mut_ptr()),
        }
    }
}
