//! Fourier transform of two real frames at once, as one complex transform of length R · C.
//!
//! ```text
//! n = n1 C + n2, k = k1 + R k2:   Z[k] = Σ_n2 w_C^(n2 k2) · w_RC^(n2 k1) · Σ_n1 w_R^(n1 k1) z[n]
//! ```
//!
//! Both sums run over whole vectors (first along n2, then along k1), so that the only shuffles are one transposition
//! between them: Bailey, "FFTs in External or Hierarchical Memory", 1989. Each sum is two butterflies of 4 or 8.
#![allow(unsafe_code)]
// What is not inlined into the functions that enable vector instructions would run without them.
#![allow(clippy::inline_always)]

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use super::lanes::Lanes;

/// A complex number per lane: real and imaginary parts.
type Complex<V> = [V; 2];

/// The lengths that [`Plan`] can do, each with its two factors, each of these with its own two.
pub(super) const LENGTHS: [usize; 5] = [256, 512, 1024, 2048, 4096];

/// Twiddle factors and window of one length.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) length: usize,
    /// `R`; `C = length / R`
    rows: usize,
    /// Analysis window, `length` numbers.
    hann: Vec<f64>,
    /// `w_RC^(n2 k1)`: real parts then imaginary parts, each `[k1][n2]`.
    between: Vec<f64>,
    /// Twiddles inside a sum of 16, 32, 64, see `inner_twiddles`.
    inner: [Vec<f64>; 3],
}

/// Work space of one thread.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The transform: real parts, then imaginary ones, each `length + LINE` numbers.
    z: Vec<f64>,
    /// Results of a sum's first and second butterflies, for one vector of columns.
    small: Vec<f64>,
}

/// Numbers of a cache line: buffers start on one.
const LINE: usize = 8;
/// Most numbers in a vector.
const MAX_LANES: usize = 8;
/// Longest sum.
const MAX_SUM: usize = 64;

impl Plan {
    /// `None` for a length that is not among [`LENGTHS`].
    pub(super) fn new(hann: &[f64]) -> Option<Self> {
        let length = hann.len();
        if !LENGTHS.contains(&length) {
            return None;
        }
        let rows = match length {
            256 | 512 => 16,
            1024 | 2048 => 32,
            _ => 64,
        };
        let columns = length / rows;
        let mut between = vec![0.0; 2 * length];
        for k1 in 0..rows {
            for n2 in 0..columns {
                let (re, im) = twiddle(k1 * n2, length);
                between[k1 * columns + n2] = re;
                between[length + k1 * columns + n2] = im;
            }
        }
        let inner = [inner_twiddles(4, 4), inner_twiddles(4, 8), inner_twiddles(8, 8)];
        Some(Self { length, rows, hann: hann.to_vec(), between, inner })
    }

    pub(super) fn work(&self) -> Work {
        Work {
            z: vec![0.0; 2 * (self.length + LINE) + LINE],
            small: vec![0.0; 4 * MAX_SUM * MAX_LANES + LINE],
        }
    }
}

impl Work {
    /// The two buffers, from cache line boundaries on.
    fn aligned(&mut self) -> (&mut [f64], &mut [f64]) {
        fn align(buffer: &mut [f64]) -> &mut [f64] {
            // `align_offset` may refuse in theory; then the buffer is only slower.
            let offset = buffer.as_ptr().align_offset(8 * LINE).min(LINE);
            &mut buffer[offset..]
        }
        (align(&mut self.z), align(&mut self.small))
    }
}

/// `exp(-2πi a / n)`
fn twiddle(a: usize, n: usize) -> (f64, f64) {
    let angle = TAU * (a % n) as f64 / n as f64;
    (angle.cos(), -angle.sin())
}

/// `w_AB^(k j)`, `[k][j]` of pairs.
fn inner_twiddles(a: usize, b: usize) -> Vec<f64> {
    (0..a).flat_map(|k| (0..b).map(move |j| twiddle(k * j, a * b))).flat_map(|(re, im)| [re, im]).collect()
}

/// Power or magnitude spectra of two frames.
///
/// - `frames`: two times `length` samples
/// - `out`: two rows of at least `length / 2 + MAX_LANES` numbers; bins `0..=length / 2` are written, what follows
///   within the last vector is undefined
///
/// # Safety
/// As [`Lanes`]: the CPU must have what `V` needs, and the caller must enable it.
#[inline(always)]
pub(super) unsafe fn spectra<V: Lanes>(
    plan: &Plan,
    work: &mut Work,
    frames: [&[f32]; 2],
    out: [&mut [f32]; 2],
    magnitude: bool,
) {
    let n = plan.length;
    assert!(frames[0].len() >= n && frames[1].len() >= n);
    assert!(out[0].len() >= n / 2 + MAX_LANES && out[1].len() >= n / 2 + MAX_LANES);
    let (z, small) = work.aligned();
    assert!(z.len() >= 2 * (n + LINE) && small.len() >= 4 * MAX_SUM * V::N);
    let (re, small) = (z.as_mut_ptr(), small.as_mut_ptr());
    // SAFETY: the assertions above bound every offset: z holds n + LINE real parts and then as many imaginary ones.
    unsafe {
        let im = re.add(n + LINE);
        let frames = [frames[0].as_ptr(), frames[1].as_ptr()];
        match n {
            256 => complex::<V, 4, 4, 4, 4>(plan, frames, re, im, small),
            512 => complex::<V, 4, 4, 4, 8>(plan, frames, re, im, small),
            1024 => complex::<V, 4, 8, 4, 8>(plan, frames, re, im, small),
            2048 => complex::<V, 4, 8, 8, 8>(plan, frames, re, im, small),
            _ => complex::<V, 8, 8, 8, 8>(plan, frames, re, im, small),
        }
        // Bin n is bin 0: bins and their mirror images can be read alike.
        *re.add(n) = *re;
        *im.add(n) = *im;
        if magnitude {
            separate::<V, true>(re, im, n, out);
        } else {
            separate::<V, false>(re, im, n, out);
        }
    }
}

/// The transform of `frames[0] + i frames[1]`, windowed, into `re` and `im`; R = A · B, C = D · E.
///
/// SAFETY: as [`spectra`]'s, which made the buffers' lengths sure.
#[inline(always)]
unsafe fn complex<V: Lanes, const A: usize, const B: usize, const D: usize, const E: usize>(
    plan: &Plan,
    frames: [*const f32; 2],
    re: *mut f64,
    im: *mut f64,
    small: *mut f64,
) {
    let (rows, columns) = (A * B, D * E);
    debug_assert_eq!(rows, plan.rows);
    let inner = |a, b| match (a, b) {
        (4, 4) => plan.inner[0].as_ptr(),
        (4, 8) => plan.inner[1].as_ptr(),
        _ => plan.inner[2].as_ptr(),
    };
    // SAFETY: n2 + V::N <= C, k1 + V::N <= R, so that all offsets stay below R · C = n.
    unsafe {
        let ordered = small.add(2 * MAX_SUM * V::N);
        let between = plan.between.as_ptr();
        for n2 in (0..columns).step_by(V::N) {
            let load = |n1: usize| {
                let at = n1 * columns + n2;
                let hann = V::load(plan.hann.as_ptr().add(at));
                [V::widen(frames[0].add(at)).mul(hann), V::widen(frames[1].add(at)).mul(hann)]
            };
            let store = |k1: usize, x: Complex<V>| {
                let w = between.add(k1 * columns + n2);
                let [re, im] = multiply(x, [V::load(w), V::load(w.add(plan.length))]);
                re.store(ordered.add(2 * k1 * V::N));
                im.store(ordered.add((2 * k1 + 1) * V::N));
            };
            sum::<V, A, B>(inner(A, B), small, load, store);
            for k1 in (0..rows).step_by(V::N) {
                let from = ordered.add(2 * k1 * V::N);
                V::transpose(from, 2 * V::N, re.add(n2 * rows + k1), rows);
                V::transpose(from.add(V::N), 2 * V::N, im.add(n2 * rows + k1), rows);
            }
        }
        for k1 in (0..rows).step_by(V::N) {
            let load = |n2: usize| [V::load(re.add(n2 * rows + k1)), V::load(im.add(n2 * rows + k1))];
            let store = |k2: usize, x: Complex<V>| {
                x[0].store(re.add(k2 * rows + k1));
                x[1].store(im.add(k2 * rows + k1));
            };
            sum::<V, D, E>(inner(D, E), small, load, store);
        }
    }
}

/// `X[k + A m] = Σ_j w_B^(j m) · w_AB^(j k) · Σ_i w_A^(i k) x[j + B i]`, for as many columns as lanes. All of `load` is
/// done before the first `store`.
///
/// SAFETY: `small` has room for 2 · A · B vectors; the closures are given indices below A · B.
#[inline(always)]
unsafe fn sum<V: Lanes, const A: usize, const B: usize>(
    twiddles: *const f64,
    small: *mut f64,
    load: impl Fn(usize) -> Complex<V>,
    store: impl Fn(usize, Complex<V>),
) {
    unsafe {
        for j in 0..B {
            let mut x = [load(j); A];
            for (i, x) in x.iter_mut().enumerate().skip(1) {
                *x = load(j + B * i);
            }
            let x = butterfly(x);
            for (k, &x) in x.iter().enumerate() {
                let x = if k == 0 {
                    x
                } else {
                    let w = twiddles.add(2 * (k * B + j));
                    multiply(x, [V::splat(*w), V::splat(*w.add(1))])
                };
                let to = small.add(2 * (k * B + j) * V::N);
                x[0].store(to);
                x[1].store(to.add(V::N));
            }
        }
        for k in 0..A {
            let at = |j: usize| {
                let from = small.add(2 * (k * B + j) * V::N);
                [V::load(from), V::load(from.add(V::N))]
            };
            let mut x = [at(0); B];
            for (j, x) in x.iter_mut().enumerate().skip(1) {
                *x = at(j);
            }
            for (m, &x) in butterfly(x).iter().enumerate() {
                store(k + A * m, x);
            }
        }
    }
}

/// SAFETY: as [`Lanes`].
#[inline(always)]
unsafe fn multiply<V: Lanes>(x: Complex<V>, w: Complex<V>) -> Complex<V> {
    unsafe { [x[0].mul_sub(w[0], x[1].mul(w[1])), x[0].mul_add(w[1], x[1].mul(w[0]))] }
}

/// Transform of 4 or 8 numbers.
///
/// SAFETY: as [`Lanes`].
#[inline(always)]
unsafe fn butterfly<V: Lanes, const K: usize>(x: [Complex<V>; K]) -> [Complex<V>; K] {
    unsafe {
        let mut y = x;
        if K == 4 {
            y.copy_from_slice(&butterfly4([x[0], x[1], x[2], x[3]]));
        } else {
            y.copy_from_slice(&butterfly8([x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]]));
        }
        y
    }
}

/// SAFETY: as [`Lanes`].
#[inline(always)]
unsafe fn butterfly4<V: Lanes>(x: [Complex<V>; 4]) -> [Complex<V>; 4] {
    unsafe {
        let plus = |p: Complex<V>, q: Complex<V>| [p[0].add(q[0]), p[1].add(q[1])];
        let minus = |p: Complex<V>, q: Complex<V>| [p[0].sub(q[0]), p[1].sub(q[1])];
        let (a, b) = (plus(x[0], x[2]), minus(x[0], x[2]));
        let (c, d) = (plus(x[1], x[3]), minus(x[1], x[3]));
        let third = [b[0].sub(d[1]), b[1].add(d[0])];
        [plus(a, c), [b[0].add(d[1]), b[1].sub(d[0])], minus(a, c), third]
    }
}

/// SAFETY: as [`Lanes`].
#[inline(always)]
unsafe fn butterfly8<V: Lanes>(x: [Complex<V>; 8]) -> [Complex<V>; 8] {
    unsafe {
        let even = butterfly4([x[0], x[2], x[4], x[6]]);
        let odd = butterfly4([x[1], x[3], x[5], x[7]]);
        let half = V::splat(FRAC_1_SQRT_2);
        let turned = [
            odd[0],
            [odd[1][0].add(odd[1][1]).mul(half), odd[1][1].sub(odd[1][0]).mul(half)],
            // times -i: the sum and the difference below take it into account
            odd[2],
            // without the sign of its imaginary part
            [odd[3][1].sub(odd[3][0]).mul(half), odd[3][0].add(odd[3][1]).mul(half)],
        ];
        let (e, t) = (even, turned);
        [
            [e[0][0].add(t[0][0]), e[0][1].add(t[0][1])],
            [e[1][0].add(t[1][0]), e[1][1].add(t[1][1])],
            [e[2][0].add(t[2][1]), e[2][1].sub(t[2][0])],
            [e[3][0].add(t[3][0]), e[3][1].sub(t[3][1])],
            [e[0][0].sub(t[0][0]), e[0][1].sub(t[0][1])],
            [e[1][0].sub(t[1][0]), e[1][1].sub(t[1][1])],
            [e[2][0].sub(t[2][1]), e[2][1].add(t[2][0])],
            [e[3][0].sub(t[3][0]), e[3][1].add(t[3][1])],
        ]
    }
}

/// Takes the spectra of two real frames, a and b, out of the transform of a + i b:
/// `|A_k|² = ((p + r)² + (q - s)²) / 4` and `|B_k|² = ((q + s)² + (r - p)²) / 4` with `Z_k = p + i q` and
/// `Z_(n-k) = r + i s`.
///
/// SAFETY: as [`spectra`]'s; `re` and `im` hold n + 1 numbers, `first` and `second` n / 2 + `MAX_LANES`.
#[inline(always)]
unsafe fn separate<V: Lanes, const MAGNITUDE: bool>(
    re: *const f64,
    im: *const f64,
    n: usize,
    [first, second]: [&mut [f32]; 2],
) {
    unsafe {
        let quarter = V::splat(0.25);
        let [first, second] = [first.as_mut_ptr(), second.as_mut_ptr()];
        // The last vector starts at n / 2, whose mirror image is itself.
        for block in 0..=n / 2 / V::N {
            let k = block * V::N;
            let mirror = n - k - (V::N - 1);
            let (p, q) = (V::load(re.add(k)), V::load(im.add(k)));
            let (r, s) = (V::load(re.add(mirror)).reverse(), V::load(im.add(mirror)).reverse());
            let (x, y, u, v) = (p.add(r), q.sub(s), q.add(s), r.sub(p));
            let a = x.mul_add(x, y.mul(y)).mul(quarter);
            let b = u.mul_add(u, v.mul(v)).mul(quarter);
            if MAGNITUDE {
                a.narrow_root(first.add(k));
                b.narrow_root(second.add(k));
            } else {
                a.narrow(first.add(k));
                b.narrow(second.add(k));
            }
        }
    }
}
