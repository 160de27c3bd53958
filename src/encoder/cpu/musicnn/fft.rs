//! Small discrete Fourier transforms of vectors: every lane is a signal of its own.
//!
//! All are inverse (`e^{+2πi jk/N}`) and not scaled. A forward transform is the inverse one with
//! real and imaginary parts exchanged on both sides.

use crate::cpu::simd::Simd;

#[derive(Clone, Copy)]
pub(super) struct C<V> {
    pub(super) re: V,
    pub(super) im: V,
}

#[inline(always)]
fn add<S: Simd>(simd: S, a: C<S::V>, b: C<S::V>) -> C<S::V> {
    C {
        re: simd.add(a.re, b.re),
        im: simd.add(a.im, b.im),
    }
}

#[inline(always)]
fn sub<S: Simd>(simd: S, a: C<S::V>, b: C<S::V>) -> C<S::V> {
    C {
        re: simd.sub(a.re, b.re),
        im: simd.sub(a.im, b.im),
    }
}

/// a + i·b
#[inline(always)]
pub(super) fn add_i<S: Simd>(simd: S, a: C<S::V>, b: C<S::V>) -> C<S::V> {
    C {
        re: simd.sub(a.re, b.im),
        im: simd.add(a.im, b.re),
    }
}

/// a − i·b
#[inline(always)]
fn sub_i<S: Simd>(simd: S, a: C<S::V>, b: C<S::V>) -> C<S::V> {
    C {
        re: simd.add(a.re, b.im),
        im: simd.sub(a.im, b.re),
    }
}

/// a · (re + i·im), the same factor in all lanes.
#[inline(always)]
fn twiddle<S: Simd>(simd: S, a: C<S::V>, factor: [f32; 2]) -> C<S::V> {
    let re = simd.splat(factor[0]);
    let im = simd.splat(factor[1]);
    C {
        re: simd.fnma(a.im, im, simd.mul(a.re, re)),
        im: simd.fma(a.re, im, simd.mul(a.im, re)),
    }
}

/// a · b
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, a: C<S::V>, b: C<S::V>) -> C<S::V> {
    C {
        re: simd.fnma(a.im, b.im, simd.mul(a.re, b.re)),
        im: simd.fma(a.re, b.im, simd.mul(a.im, b.re)),
    }
}

/// # Safety
/// `p` is valid for reads of a complex vector: real parts, then imaginary parts.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(simd: S, p: *const f32) -> C<S::V> {
    // SAFETY: as the caller promises.
    unsafe {
        C {
            re: simd.load(p),
            im: simd.load(p.add(S::LANES)),
        }
    }
}

/// # Safety
/// `p` is valid for writes of a complex vector.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(simd: S, p: *mut f32, x: C<S::V>) {
    // SAFETY: as the caller promises.
    unsafe {
        simd.store(p, x.re);
        simd.store(p.add(S::LANES), x.im);
    }
}

#[inline(always)]
fn dft4<S: Simd>(simd: S, x: [C<S::V>; 4]) -> [C<S::V>; 4] {
    let a = add(simd, x[0], x[2]);
    let b = sub(simd, x[0], x[2]);
    let c = add(simd, x[1], x[3]);
    let d = sub(simd, x[1], x[3]);
    [
        add(simd, a, c),
        add_i(simd, b, d),
        sub(simd, a, c),
        sub_i(simd, b, d),
    ]
}

#[inline(always)]
pub(super) fn dft8<S: Simd>(simd: S, x: [C<S::V>; 8]) -> [C<S::V>; 8] {
    let even = dft4(
        simd,
        [
            add(simd, x[0], x[4]),
            add(simd, x[1], x[5]),
            add(simd, x[2], x[6]),
            add(simd, x[3], x[7]),
        ],
    );
    let d0 = sub(simd, x[0], x[4]);
    let d1 = sub(simd, x[1], x[5]);
    let d2 = sub(simd, x[2], x[6]);
    let d3 = sub(simd, x[3], x[7]);
    // d1 · (1 + i)/√2 and d3 · (−1 + i)/√2
    let half = simd.splat(std::f32::consts::FRAC_1_SQRT_2);
    let e1 = C {
        re: simd.mul(simd.sub(d1.re, d1.im), half),
        im: simd.mul(simd.add(d1.re, d1.im), half),
    };
    let minus = simd.splat(-std::f32::consts::FRAC_1_SQRT_2);
    let e3 = C {
        re: simd.mul(simd.add(d3.re, d3.im), minus),
        im: simd.mul(simd.sub(d3.re, d3.im), half),
    };
    // d2 · i enters as ± i·d2.
    let a = add_i(simd, d0, d2);
    let b = sub_i(simd, d0, d2);
    let c = add(simd, e1, e3);
    let d = sub(simd, e1, e3);
    let odd = [
        add(simd, a, c),
        add_i(simd, b, d),
        sub(simd, a, c),
        sub_i(simd, b, d),
    ];
    [
        even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3],
    ]
}

/// `e^{2πi j/N}` for j in 0..N, as (re, im).
pub(super) fn roots<const N: usize>() -> [[f32; 2]; N] {
    std::array::from_fn(|j| {
        let angle = 2.0 * std::f64::consts::PI * j as f64 / N as f64;
        [angle.cos() as f32, angle.sin() as f32]
    })
}

/// First half of a transform of 32 points, in place: radix 4 and twiddles. Place `8q + j` then
/// holds term j of residue q.
///
/// # Safety
/// `x` is valid for 32 complex vectors.
#[inline(always)]
pub(super) unsafe fn dft32_first<S: Simd>(simd: S, x: *mut f32, roots32: &[[f32; 2]; 32]) {
    let step = 2 * S::LANES;
    for j in 0..8 {
        // SAFETY: places j, j + 8, j + 16, j + 24 of 32.
        unsafe {
            let p = x.add(j * step);
            let y = dft4(
                simd,
                [
                    load(simd, p),
                    load(simd, p.add(8 * step)),
                    load(simd, p.add(16 * step)),
                    load(simd, p.add(24 * step)),
                ],
            );
            store(simd, p, y[0]);
            store(simd, p.add(8 * step), twiddle(simd, y[1], roots32[j]));
            store(simd, p.add(16 * step), twiddle(simd, y[2], roots32[2 * j]));
            store(simd, p.add(24 * step), twiddle(simd, y[3], roots32[3 * j]));
        }
    }
}

/// Second half: the outputs `q + 4p`, for p in 0..8.
///
/// # Safety
/// `x` is valid for 32 complex vectors, `q` < 4.
#[inline(always)]
pub(super) unsafe fn dft32_second<S: Simd>(simd: S, x: *const f32, q: usize) -> [C<S::V>; 8] {
    let step = 2 * S::LANES;
    // SAFETY: places 8q to 8q + 7 of 32.
    unsafe {
        let p = x.add(8 * q * step);
        dft8(
            simd,
            [
                load(simd, p),
                load(simd, p.add(step)),
                load(simd, p.add(2 * step)),
                load(simd, p.add(3 * step)),
                load(simd, p.add(4 * step)),
                load(simd, p.add(5 * step)),
                load(simd, p.add(6 * step)),
                load(simd, p.add(7 * step)),
            ],
        )
    }
}

/// First third of a transform of 256 points: radix 8 over `term(k)`, with twiddles, into `work`,
/// whose places `32q` to `32q + 31` then hold a transform of 32 points that yields the outputs
/// `q + 8n`.
///
/// # Safety
/// `work` is valid for 256 complex vectors; `term` is called with 0 to 255.
#[inline(always)]
pub(super) unsafe fn dft256_first<S: Simd>(
    simd: S,
    work: *mut f32,
    roots256: &[[f32; 2]; 256],
    term: impl Fn(usize) -> C<S::V>,
) {
    let step = 2 * S::LANES;
    for j in 0..32 {
        // SAFETY: places j + 32q of 256.
        unsafe {
            let y = dft8(
                simd,
                [
                    term(j),
                    term(j + 32),
                    term(j + 64),
                    term(j + 96),
                    term(j + 128),
                    term(j + 160),
                    term(j + 192),
                    term(j + 224),
                ],
            );
            store(simd, work.add(j * step), y[0]);
            for q in 1..8 {
                store(
                    simd,
                    work.add((32 * q + j) * step),
                    twiddle(simd, y[q], roots256[j * q]),
                );
            }
        }
    }
}

/// The rest: calls `sink` with the outputs below `32 · KEEP` and their numbers.
///
/// # Safety
/// `work` is valid for 256 complex vectors.
#[inline(always)]
pub(super) unsafe fn dft256_rest<S: Simd, const KEEP: usize>(
    simd: S,
    work: *mut f32,
    roots32: &[[f32; 2]; 32],
    mut sink: impl FnMut(usize, C<S::V>),
) {
    for residue in 0..8 {
        // SAFETY: a part of 32 vectors.
        unsafe {
            let part = work.add(32 * residue * 2 * S::LANES);
            dft32_first(simd, part, roots32);
            for q in 0..4 {
                for (p, y) in dft32_second(simd, part, q)
                    .into_iter()
                    .enumerate()
                    .take(KEEP)
                {
                    sink(residue + 8 * (q + 4 * p), y);
                }
            }
        }
    }
}
