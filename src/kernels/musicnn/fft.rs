//! Small discrete Fourier transforms of vectors: every lane is a signal of its own.
//!
//! All are inverse (`e^{+2πi jk/N}`) and not scaled. A forward transform is the inverse one with real and imaginary
//! parts exchanged on both sides.

#![allow(unsafe_code, reason = "SIMD kernels behind a run-time feature check")]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

use crate::kernels::simd::Simd;

/// Complex numbers, one per lane.
#[derive(Clone, Copy)]
pub(super) struct C<V> {
    pub(super) re: V,
    pub(super) im: V,
}

#[inline(always)]
unsafe fn add<S: Simd>(a: C<S::V>, b: C<S::V>) -> C<S::V> {
    // SAFETY (for all one-line helpers here): the caller runs with the features of `S`.
    unsafe { C { re: S::add(a.re, b.re), im: S::add(a.im, b.im) } }
}

#[inline(always)]
unsafe fn sub<S: Simd>(a: C<S::V>, b: C<S::V>) -> C<S::V> {
    unsafe { C { re: S::sub(a.re, b.re), im: S::sub(a.im, b.im) } }
}

/// a + i·b
#[inline(always)]
pub(super) unsafe fn add_i<S: Simd>(a: C<S::V>, b: C<S::V>) -> C<S::V> {
    unsafe { C { re: S::sub(a.re, b.im), im: S::add(a.im, b.re) } }
}

/// a − i·b
#[inline(always)]
unsafe fn sub_i<S: Simd>(a: C<S::V>, b: C<S::V>) -> C<S::V> {
    unsafe { C { re: S::add(a.re, b.im), im: S::sub(a.im, b.re) } }
}

/// a · (re + i·im), the same factor in all lanes.
#[inline(always)]
unsafe fn twiddle<S: Simd>(a: C<S::V>, factor: [f32; 2]) -> C<S::V> {
    unsafe {
        let (re, im) = (S::splat(factor[0]), S::splat(factor[1]));
        C { re: S::fnma(a.im, im, S::mul(a.re, re)), im: S::fma(a.re, im, S::mul(a.im, re)) }
    }
}

/// a · b
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(a: C<S::V>, b: C<S::V>) -> C<S::V> {
    unsafe { C { re: S::fnma(a.im, b.im, S::mul(a.re, b.re)), im: S::fma(a.re, b.im, S::mul(a.im, b.re)) } }
}

#[inline(always)]
pub(super) unsafe fn load<S: Simd>(p: *const f32) -> C<S::V> {
    unsafe { C { re: S::load(p), im: S::load(p.add(S::LANES)) } }
}

#[inline(always)]
pub(super) unsafe fn store<S: Simd>(p: *mut f32, x: C<S::V>) {
    unsafe {
        S::store(p, x.re);
        S::store(p.add(S::LANES), x.im);
    }
}

#[inline(always)]
unsafe fn dft4<S: Simd>(x: [C<S::V>; 4]) -> [C<S::V>; 4] {
    unsafe {
        let (a, b) = (add::<S>(x[0], x[2]), sub::<S>(x[0], x[2]));
        let (c, d) = (add::<S>(x[1], x[3]), sub::<S>(x[1], x[3]));
        [add::<S>(a, c), add_i::<S>(b, d), sub::<S>(a, c), sub_i::<S>(b, d)]
    }
}

#[inline(always)]
pub(super) unsafe fn dft8<S: Simd>(x: [C<S::V>; 8]) -> [C<S::V>; 8] {
    unsafe {
        let even = dft4::<S>([
            add::<S>(x[0], x[4]),
            add::<S>(x[1], x[5]),
            add::<S>(x[2], x[6]),
            add::<S>(x[3], x[7]),
        ]);
        let (d0, d1) = (sub::<S>(x[0], x[4]), sub::<S>(x[1], x[5]));
        let (d2, d3) = (sub::<S>(x[2], x[6]), sub::<S>(x[3], x[7]));
        // d1 · (1 + i)/√2 and d3 · (−1 + i)/√2
        let half = S::splat(std::f32::consts::FRAC_1_SQRT_2);
        let e1 = C { re: S::mul(S::sub(d1.re, d1.im), half), im: S::mul(S::add(d1.re, d1.im), half) };
        let minus = S::splat(-std::f32::consts::FRAC_1_SQRT_2);
        let e3 = C { re: S::mul(S::add(d3.re, d3.im), minus), im: S::mul(S::sub(d3.re, d3.im), half) };
        // d2 · i enters as ± i·d2.
        let (a, b) = (add_i::<S>(d0, d2), sub_i::<S>(d0, d2));
        let (c, d) = (add::<S>(e1, e3), sub::<S>(e1, e3));
        let odd = [add::<S>(a, c), add_i::<S>(b, d), sub::<S>(a, c), sub_i::<S>(b, d)];
        [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
    }
}

/// `e^{2πi j/N}` for j in 0..N, as (re, im).
pub(super) fn roots<const N: usize>() -> [[f32; 2]; N] {
    std::array::from_fn(|j| {
        let angle = 2.0 * std::f64::consts::PI * j as f64 / N as f64;
        [angle.cos() as f32, angle.sin() as f32]
    })
}

/// First half of a transform of 32 points, in place: radix 4 and twiddles. Place `8q + j` then holds term j of
/// residue q.
///
/// # Safety
/// `x` is valid for 32 complex vectors.
#[inline(always)]
pub(super) unsafe fn dft32_first<S: Simd>(x: *mut f32, roots32: &[[f32; 2]; 32]) {
    let step = 2 * S::LANES;
    for j in 0..8 {
        // SAFETY: places j, j + 8, j + 16, j + 24 of 32.
        unsafe {
            let p = x.add(j * step);
            let y = dft4::<S>([
                load::<S>(p),
                load::<S>(p.add(8 * step)),
                load::<S>(p.add(16 * step)),
                load::<S>(p.add(24 * step)),
            ]);
            store::<S>(p, y[0]);
            store::<S>(p.add(8 * step), twiddle::<S>(y[1], roots32[j]));
            store::<S>(p.add(16 * step), twiddle::<S>(y[2], roots32[2 * j]));
            store::<S>(p.add(24 * step), twiddle::<S>(y[3], roots32[3 * j]));
        }
    }
}

/// Second half: the outputs `q + 4p`, for p in 0..8.
///
/// # Safety
/// `x` is valid for 32 complex vectors, `q` < 4.
#[inline(always)]
pub(super) unsafe fn dft32_second<S: Simd>(x: *const f32, q: usize) -> [C<S::V>; 8] {
    let step = 2 * S::LANES;
    // SAFETY: places 8q to 8q + 7 of 32.
    unsafe {
        let p = x.add(8 * q * step);
        dft8::<S>([
            load::<S>(p),
            load::<S>(p.add(step)),
            load::<S>(p.add(2 * step)),
            load::<S>(p.add(3 * step)),
            load::<S>(p.add(4 * step)),
            load::<S>(p.add(5 * step)),
            load::<S>(p.add(6 * step)),
            load::<S>(p.add(7 * step)),
        ])
    }
}

/// First third of a transform of 256 points: radix 8 over `term(k)`, with twiddles, into `work`, whose places
/// `32q` to `32q + 31` then hold a transform of 32 points that yields the outputs `q + 8n`.
///
/// # Safety
/// `work` is valid for 256 complex vectors; `term` is called with 0 to 255.
#[inline(always)]
pub(super) unsafe fn dft256_first<S: Simd>(
    work: *mut f32,
    roots256: &[[f32; 2]; 256],
    term: impl Fn(usize) -> C<S::V>,
) {
    let step = 2 * S::LANES;
    for j in 0..32 {
        // SAFETY: places j + 32q of 256.
        unsafe {
            let y = dft8::<S>([
                term(j),
                term(j + 32),
                term(j + 64),
                term(j + 96),
                term(j + 128),
                term(j + 160),
                term(j + 192),
                term(j + 224),
            ]);
            store::<S>(work.add(j * step), y[0]);
            for q in 1..8 {
                store::<S>(work.add((32 * q + j) * step), twiddle::<S>(y[q], roots256[j * q]));
            }
        }
    }
}
