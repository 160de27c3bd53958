//! Element-wise kernels that only training needs: batch norm, ReLU and pooling with their gradients.

#![allow(unsafe_code, reason = "SIMD kernels on raw pointers; each entry states what its caller guarantees")]

use crate::kernels::dispatch::dispatch;
use super::kernels::Tile;
use crate::kernels::simd::Simd;

#[inline(always)]
unsafe fn tile_sums_generic<S: Simd>(y: *const f32, tiles: &[Tile], row: usize, c: usize, out: *mut f32) {
    let mut channel = 0;
    while channel < c {
        // SAFETY: the tiles' existing pixels lie inside `y`; `out` takes 2 · c floats.
        unsafe {
            let mut sum = [S::splat(0.0); 2];
            let mut square = [S::splat(0.0); 2];
            for tile in tiles {
                let y = y.add(tile.dst as usize + channel);
                for r in 0..tile.rows as usize {
                    for x in 0..tile.cols as usize {
                        let z = S::load(y.add(r * row + x * c));
                        sum[x & 1] = S::add(sum[x & 1], z);
                        square[x & 1] = S::fma(z, z, square[x & 1]);
                    }
                }
            }
            S::store(out.add(channel), S::add(sum[0], sum[1]));
            S::store(out.add(c + channel), S::add(square[0], square[1]));
        }
        channel += S::LANES;
    }
}

dispatch! {
    /// Per channel: the sum and the sum of squares over the tiles' outputs, at `out[c]` and `out[c + c]`.
    tile_sums => tile_sums_generic(y: *const f32, tiles: &[Tile], row: usize, c: usize, out: *mut f32)
}

/// A batch norm's numbers, `c` each.
#[derive(Clone, Copy)]
pub(super) struct Norm {
    pub(super) scale: *const f32,
    pub(super) shift: *const f32,
    pub(super) mean: *const f32,
    /// Backward: dy = scale · dz − c0 − (y − mean) · c1.
    pub(super) c0: *const f32,
    pub(super) c1: *const f32,
}

// SAFETY: pointers to vectors that outlive the parallel loops and that nobody writes meanwhile.
unsafe impl Sync for Norm {}
// SAFETY: as above.
unsafe impl Send for Norm {}

/// Rows of pixels: `y` before batch norm, `a` after batch norm, ReLU and maybe pooling.
#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "rows and row lengths")]
pub(super) struct Rows {
    /// First pixel of the first row; floats between rows.
    pub(super) y: *const f32,
    pub(super) y_row: usize,
    /// Rows of `y` and pixels in each. With pooling `rows` is 2 or, for a last odd row, 1.
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) c: usize,
    /// `a` (forward, written) or its gradient (backward, read).
    pub(super) a: *mut f32,
    pub(super) a_row: usize,
    /// Gradient of `y` (written), laid out like `y`.
    pub(super) dy: *mut f32,
    pub(super) pool: bool,
    pub(super) norm: Norm,
    /// Per channel: Σ dz, then Σ dz · (y − mean) (added to).
    pub(super) sums: *mut f32,
}

#[inline(always)]
unsafe fn norm_forward_generic<S: Simd>(p: &Rows) {
    // SAFETY: rows, columns and channels stay inside the padded buffers.
    unsafe {
        let zero = S::splat(0.0);
        if p.pool {
            if p.rows < 2 {
                return;
            }
            for x in 0..p.cols / 2 {
                let (y, a) = (p.y.add(2 * x * p.c), p.a.add(x * p.c));
                let mut ch = 0;
                while ch < p.c {
                    let (scale, shift) = (S::load(p.norm.scale.add(ch)), S::load(p.norm.shift.add(ch)));
                    let y = y.add(ch);
                    let z = four::<S>(y, p, scale, shift);
                    let best = S::max(S::max(z[0], z[1]), S::max(z[2], z[3]));
                    S::store(a.add(ch), S::max(best, zero));
                    ch += S::LANES;
                }
            }
        } else {
            for r in 0..p.rows {
                for x in 0..p.cols {
                    let (y, a) = (p.y.add(r * p.y_row + x * p.c), p.a.add(r * p.a_row + x * p.c));
                    let mut ch = 0;
                    while ch < p.c {
                        let z = S::fma(
                            S::load(y.add(ch)),
                            S::load(p.norm.scale.add(ch)),
                            S::load(p.norm.shift.add(ch)),
                        );
                        S::store(a.add(ch), S::max(z, zero));
                        ch += S::LANES;
                    }
                }
            }
        }
    }
}

dispatch! {
    /// Batch norm, ReLU and maybe 2×2 max pool.
    norm_forward => norm_forward_generic(p: &Rows)
}

/// The four normalised values of a pooling window.
#[inline(always)]
unsafe fn four<S: Simd>(y: *const f32, p: &Rows, scale: S::V, shift: S::V) -> [S::V; 4] {
    // SAFETY: two rows and two columns exist at `y`.
    unsafe {
        [
            S::fma(S::load(y), scale, shift),
            S::fma(S::load(y.add(p.c)), scale, shift),
            S::fma(S::load(y.add(p.y_row)), scale, shift),
            S::fma(S::load(y.add(p.y_row + p.c)), scale, shift),
        ]
    }
}

/// The gradient before ReLU of a pooling window: all of it goes to the (first) maximum, if positive.
#[inline(always)]
unsafe fn route<S: Simd>(z: [S::V; 4], da: S::V) -> [S::V; 4] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let zero = S::splat(0.0);
        let best = S::max(S::max(z[0], z[1]), S::max(z[2], z[3]));
        let mut rest = S::keep_gt(best, zero, da);
        let mut dz = [zero; 4];
        for i in 0..4 {
            dz[i] = S::select_eq(z[i], best, rest, zero);
            rest = S::select_eq(z[i], best, zero, rest);
        }
        dz
    }
}

/// Pixels that [`norm_sums`] goes over channel by channel, so that they stay in the first cache.
const RUN: usize = 32;

#[inline(always)]
unsafe fn norm_sums_generic<S: Simd>(p: &Rows) {
    // With pooling a call has two rows, which count as one of pooled pixels.
    let (rows, cols) = match (p.pool, p.rows) {
        (false, rows) => (rows, p.cols),
        (true, 2) => (1, p.cols / 2),
        (true, _) => (0, 0),
    };
    for r in 0..rows {
        for start in (0..cols).step_by(RUN) {
            let run = start..cols.min(start + RUN);
            for ch in (0..p.c).step_by(S::LANES) {
                // SAFETY: as in `norm_forward_generic`; `sums` has 2 · c floats.
                unsafe { sum_run::<S>(p, r, run.clone(), ch) };
            }
        }
    }
}

/// The sums of one register of channels over a run of pixels.
#[inline(always)]
unsafe fn sum_run<S: Simd>(p: &Rows, r: usize, run: std::ops::Range<usize>, ch: usize) {
    // SAFETY: the run's pixels exist.
    unsafe {
        let (scale, shift) = (S::load(p.norm.scale.add(ch)), S::load(p.norm.shift.add(ch)));
        let mean = S::load(p.norm.mean.add(ch));
        let zero = S::splat(0.0);
        let (mut s1, mut s2) = ([zero; 2], [zero; 2]);
        if p.pool {
            for x in run {
                let y = p.y.add(2 * x * p.c + ch);
                let z = four::<S>(y, p, scale, shift);
                let dz = route::<S>(z, S::load(p.a.add(x * p.c + ch)));
                let at = [0, p.c, p.y_row, p.y_row + p.c];
                for i in 0..4 {
                    s1[i & 1] = S::add(s1[i & 1], dz[i]);
                    s2[i & 1] = S::fma(dz[i], S::sub(S::load(y.add(at[i])), mean), s2[i & 1]);
                }
            }
        } else {
            for x in run {
                let y = S::load(p.y.add(r * p.y_row + x * p.c + ch));
                let da = S::load(p.a.add(r * p.a_row + x * p.c + ch));
                let dz = S::keep_gt(S::fma(y, scale, shift), zero, da);
                s1[x & 1] = S::add(s1[x & 1], dz);
                s2[x & 1] = S::fma(dz, S::sub(y, mean), s2[x & 1]);
            }
        }
        let (first, second) = (p.sums.add(ch), p.sums.add(p.c + ch));
        S::store(first, S::add(S::load(first), S::add(s1[0], s1[1])));
        S::store(second, S::add(S::load(second), S::add(s2[0], s2[1])));
    }
}

dispatch! {
    /// Adds to `sums` what batch norm's backward needs of every channel.
    norm_sums => norm_sums_generic(p: &Rows)
}

#[inline(always)]
unsafe fn norm_backward_generic<S: Simd>(p: &Rows) {
    // SAFETY: as in `norm_forward_generic`.
    unsafe {
        let zero = S::splat(0.0);
        for x in 0..p.cols {
            let pooled = p.pool && p.rows >= 2 && x < p.cols / 2 * 2;
            if pooled && x % 2 == 1 {
                continue;
            }
            let mut ch = 0;
            while ch < p.c {
                let (scale, shift) = (S::load(p.norm.scale.add(ch)), S::load(p.norm.shift.add(ch)));
                let (mean, c0, c1) =
                    (S::load(p.norm.mean.add(ch)), S::load(p.norm.c0.add(ch)), S::load(p.norm.c1.add(ch)));
                let offset = x * p.c + ch;
                if pooled {
                    let y = p.y.add(offset);
                    let z = four::<S>(y, p, scale, shift);
                    let dz = route::<S>(z, S::load(p.a.add(x / 2 * p.c + ch)));
                    let at = [0, p.c, p.y_row, p.y_row + p.c];
                    for i in 0..4 {
                        let y = S::load(y.add(at[i]));
                        let rest = S::fma(S::sub(y, mean), c1, c0);
                        S::store(p.dy.add(offset + at[i]), S::sub(S::mul(scale, dz[i]), rest));
                    }
                } else {
                    for r in 0..p.rows {
                        let y = S::load(p.y.add(r * p.y_row + offset));
                        let dz = if p.pool {
                            zero
                        } else {
                            let da = S::load(p.a.add(r * p.a_row + offset));
                            S::keep_gt(S::fma(y, scale, shift), zero, da)
                        };
                        let rest = S::fma(S::sub(y, mean), c1, c0);
                        S::store(p.dy.add(r * p.y_row + offset), S::sub(S::mul(scale, dz), rest));
                    }
                }
                ch += S::LANES;
            }
        }
    }
}

dispatch! {
    /// The gradient of `y` from that of `a`, by way of pooling, ReLU and train-mode batch norm.
    norm_backward => norm_backward_generic(p: &Rows)
}

#[inline(always)]
unsafe fn axpy_generic<S: Simd>(n: usize, a: f32, x: *const f32, y: *mut f32) {
    // SAFETY: n floats, a multiple of 16, at both.
    unsafe {
        let a = S::splat(a);
        let mut i = 0;
        while i < n {
            S::store(y.add(i), S::fma(a, S::load(x.add(i)), S::load(y.add(i))));
            i += S::LANES;
        }
    }
}

dispatch! {
    /// y += a · x
    axpy => axpy_generic(n: usize, a: f32, x: *const f32, y: *mut f32)
}
