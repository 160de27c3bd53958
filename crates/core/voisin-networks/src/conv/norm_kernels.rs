//! Element-wise kernels: batch norm, ReLU and pooling, with their gradients for training.

use std::ops::Range;

use super::winograd::Tile;
use crate::simd::{Simd, dispatch};
use voisin_kernels::Isa;
use voisin_kernels::buffer::SharedSlice;

/// # Safety
/// The tiles' existing pixels lie at `y`; `out` takes 2 · c floats.
#[inline(always)]
unsafe fn tile_sums_generic<S: Simd>(
    simd: S,
    y: *const f32,
    tiles: &[Tile],
    row: usize,
    c: usize,
    out: *mut f32,
) {
    for channel in (0..c).step_by(S::LANES) {
        // SAFETY: the extents above; `c` is a multiple of the lanes.
        unsafe {
            // Two sums each, of even and odd columns: one alone would wait for its own additions.
            let mut sum = [simd.splat(0.0); 2];
            let mut square = [simd.splat(0.0); 2];
            for tile in tiles {
                let y = y.add(tile.dst as usize + channel);
                for r in 0..tile.rows as usize {
                    for x in 0..tile.cols as usize {
                        let z = simd.load(y.add(r * row + x * c));
                        sum[x & 1] = simd.add(sum[x & 1], z);
                        square[x & 1] = simd.fma(z, z, square[x & 1]);
                    }
                }
            }
            simd.store(out.add(channel), simd.add(sum[0], sum[1]));
            simd.store(out.add(c + channel), simd.add(square[0], square[1]));
        }
    }
}

dispatch! {
    tile_sums_unchecked => tile_sums_generic(y: *const f32, tiles: &[Tile], row: usize, c: usize, out: *mut f32)
}

/// Per channel: the sum and the sum of squares over the tiles' outputs in the window `y`, into
/// `out`, `[2][c]`.
///
/// # Safety
/// Nothing writes these tiles' outputs meanwhile.
pub(super) unsafe fn tile_sums(
    isa: Isa,
    y: SharedSlice<'_>,
    tiles: &[Tile],
    row: usize,
    c: usize,
    out: &mut [f32],
) {
    let inside = |tile: &Tile| {
        let rows = tile.rows as usize;
        let cols = tile.cols as usize;
        rows > 0 && tile.dst as usize + (rows - 1) * row + cols * c <= y.len()
    };
    assert!(
        c.is_multiple_of(16) && out.len() == 2 * c && tiles.iter().all(inside),
        "tiles lie in the window"
    );
    // SAFETY: the extents just checked; the rest is the caller's.
    unsafe { tile_sums_unchecked(isa, y.as_mut_ptr(), tiles, row, c, out.as_mut_ptr()) }
}

/// A batch norm's numbers, one of each per channel.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) mean: &'a [f32],
    /// Backward: dy = scale · dz − c0 − (y − mean) · c1.
    pub(super) c0: &'a [f32],
    pub(super) c1: &'a [f32],
}

impl<'a> Norm<'a> {
    /// Scale and shift alone, for a pass forward.
    pub(super) fn forward((scale, shift): &'a (Vec<f32>, Vec<f32>)) -> Self {
        Self {
            scale,
            shift,
            mean: &[],
            c0: &[],
            c1: &[],
        }
    }
}

/// Rows of pixels: `y` before batch norm; `a`, after batch norm, ReLU and maybe pooling, is a
/// kernel's argument.
#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "rows and row lengths")]
pub(super) struct PixelRows<'a> {
    /// From the first pixel of the first row on; floats between rows.
    pub(super) y: &'a [f32],
    pub(super) y_row: usize,
    /// Rows of `y` and pixels in each.
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Channels, a multiple of 16.
    pub(super) c: usize,
    /// Floats between rows of `a`.
    pub(super) a_row: usize,
    /// Rows and columns of a max pool; gradients support 1 × 1 and 2 × 2.
    pub(super) pool: [usize; 2],
    pub(super) norm: Norm<'a>,
}

impl<'a> PixelRows<'a> {
    /// Parts that a kernel takes at once, with the offsets of their first pixel in `y` and in `a`:
    /// all rows; with pooling those of one window, or fewer at the end.
    fn parts(self) -> impl Iterator<Item = (Self, usize, usize)> + use<'a> {
        let step = if self.is_pooled() {
            self.pool[0]
        } else {
            self.rows.max(1)
        };
        (0..self.rows).step_by(step).map(move |row| {
            let at = row * self.y_row;
            let part = Self {
                y: &self.y[at..],
                rows: step.min(self.rows - row),
                ..self
            };
            (part, at, row / self.pool[0] * self.a_row)
        })
    }

    fn is_pooled(&self) -> bool {
        self.pool != [1, 1]
    }

    /// Rows and pixels of `a`.
    fn made(&self) -> (usize, usize) {
        (self.rows / self.pool[0], self.cols / self.pool[1])
    }

    /// Floats from the first pixel to the last in `y`.
    fn y_len(&self) -> usize {
        (self.rows - 1) * self.y_row + self.cols * self.c
    }

    /// The same in `a`, which rows left over do not reach when pooling.
    fn a_len(&self) -> usize {
        let (rows, cols) = self.made();
        if rows == 0 {
            0
        } else {
            (rows - 1) * self.a_row + cols * self.c
        }
    }

    fn check(&self, a_len: usize, norm: &[&[f32]]) {
        assert!(
            self.c.is_multiple_of(16) && norm.iter().all(|values| values.len() == self.c),
            "channels"
        );
        assert!(
            self.y_len() <= self.y.len() && self.a_len() <= a_len,
            "rows lie in the windows"
        );
    }

    /// The same for a gradient.
    fn check_gradient(&self, a_len: usize, norm: &[&[f32]]) {
        assert!(matches!(self.pool, [1, 1] | [2, 2]), "pools of 2 × 2");
        self.check(a_len, norm);
    }
}

/// The register of channels from `ch` on.
///
/// # Safety
/// There are that many values from `ch` on.
#[inline(always)]
unsafe fn channels<S: Simd>(simd: S, values: &[f32], ch: usize) -> S::V {
    // SAFETY: as the caller promises.
    unsafe { simd.load(values.as_ptr().add(ch)) }
}

/// # Safety
/// `p` fits, one of its [`PixelRows::parts`], and `a` takes its activations.
#[inline(always)]
unsafe fn norm_forward_generic<S: Simd>(simd: S, p: &PixelRows<'_>, a: *mut f32) {
    // SAFETY: as the caller promises. Loops over windows of a size that the compiler knows are
    // unrolled.
    unsafe {
        match p.pool {
            [1, 1] => norm_windows(simd, p, [1, 1], a),
            [2, 2] => norm_windows(simd, p, [2, 2], a),
            pool => norm_windows(simd, p, pool, a),
        }
    }
}

/// # Safety
/// As [`norm_forward_generic`]; `pool` is that of `p`.
#[inline(always)]
unsafe fn norm_windows<S: Simd>(simd: S, p: &PixelRows<'_>, pool: [usize; 2], a: *mut f32) {
    let zero = simd.splat(0.0);
    let rows = p.rows / pool[0];
    let cols = p.cols / pool[1];
    for r in 0..rows {
        for x in 0..cols {
            for ch in (0..p.c).step_by(S::LANES) {
                // SAFETY: rows, columns and channels stay inside the windows.
                unsafe {
                    let scale = channels(simd, p.norm.scale, ch);
                    let shift = channels(simd, p.norm.shift, ch);
                    let corner =
                        p.y.as_ptr()
                            .add(r * pool[0] * p.y_row + x * pool[1] * p.c + ch);
                    // Normalised before the maximum, as a negative scale reverses the order of the
                    // pixels.
                    let mut most = simd.fma(simd.load(corner), scale, shift);
                    for dy in 0..pool[0] {
                        for dx in usize::from(dy == 0)..pool[1] {
                            let pixel = simd.load(corner.add(dy * p.y_row + dx * p.c));
                            most = simd.max(most, simd.fma(pixel, scale, shift));
                        }
                    }
                    let most = simd.max(most, zero);
                    simd.store(a.add(r * p.a_row + x * p.c + ch), most);
                }
            }
        }
    }
}

dispatch! {
    norm_forward_unchecked => norm_forward_generic(p: &PixelRows<'_>, a: *mut f32)
}

/// Batch norm, ReLU or not, and maximum pool, into the activation `a`, from its first pixel on.
///
/// # Safety
/// Nothing else reads or writes these rows' activations meanwhile.
pub(super) unsafe fn norm_forward(isa: Isa, rows: PixelRows<'_>, a: SharedSlice<'_>) {
    for (part, _, at) in rows.parts() {
        let a = a.skip(at);
        part.check(a.len(), &[part.norm.scale, part.norm.shift]);
        // SAFETY: it fits; activations are kept apart by the caller.
        unsafe { norm_forward_unchecked(isa, &part, a.as_mut_ptr()) }
    }
}

/// The four normalised values of a pooling window.
///
/// # Safety
/// Two rows and two columns exist at `y`.
#[inline(always)]
unsafe fn four<S: Simd>(
    simd: S,
    y: *const f32,
    p: &PixelRows<'_>,
    scale: S::V,
    shift: S::V,
) -> [S::V; 4] {
    // SAFETY: those pixels.
    unsafe {
        [
            simd.fma(simd.load(y), scale, shift),
            simd.fma(simd.load(y.add(p.c)), scale, shift),
            simd.fma(simd.load(y.add(p.y_row)), scale, shift),
            simd.fma(simd.load(y.add(p.y_row + p.c)), scale, shift),
        ]
    }
}

/// The gradient before ReLU of a pooling window: all of it goes to the (first) maximum, if
/// positive.
#[inline(always)]
fn route<S: Simd>(simd: S, z: [S::V; 4], da: S::V) -> [S::V; 4] {
    let zero = simd.splat(0.0);
    let best = simd.max(simd.max(z[0], z[1]), simd.max(z[2], z[3]));
    let mut rest = simd.keep_gt(best, zero, da);
    let mut dz = [zero; 4];
    for i in 0..4 {
        // Only the first of equal maxima gets the gradient, as in PyTorch.
        dz[i] = simd.select_eq(z[i], best, rest, zero);
        rest = simd.select_eq(z[i], best, zero, rest);
    }
    dz
}

/// Pixels that [`norm_sums`] processes channel by channel, so that they stay in the first cache.
const RUN: usize = 32;

/// # Safety
/// `p` fits, one of its [`PixelRows::parts`]; `da` holds its activations' gradient, and `sums` 2 ·
/// c floats.
#[inline(always)]
unsafe fn norm_sums_generic<S: Simd>(simd: S, p: &PixelRows<'_>, da: *const f32, sums: *mut f32) {
    // With pooling a call has two rows, which count as one of pooled pixels.
    let (rows, cols) = p.made();
    for r in 0..rows {
        for start in (0..cols).step_by(RUN) {
            let run = start..cols.min(start + RUN);
            for ch in (0..p.c).step_by(S::LANES) {
                // SAFETY: the run's pixels exist.
                unsafe { sum_run(simd, p, da, r, run.clone(), ch, sums) };
            }
        }
    }
}

/// The sums of one register of channels over a run of pixels.
///
/// # Safety
/// As [`norm_sums_generic`]; the run's pixels exist.
#[inline(always)]
unsafe fn sum_run<S: Simd>(
    simd: S,
    p: &PixelRows<'_>,
    da: *const f32,
    r: usize,
    run: Range<usize>,
    ch: usize,
    sums: *mut f32,
) {
    // SAFETY: the extents above.
    unsafe {
        let scale = channels(simd, p.norm.scale, ch);
        let shift = channels(simd, p.norm.shift, ch);
        let mean = channels(simd, p.norm.mean, ch);
        let zero = simd.splat(0.0);
        let mut s1 = [zero; 2];
        let mut s2 = [zero; 2];
        if p.is_pooled() {
            for x in run {
                let y = p.y.as_ptr().add(2 * x * p.c + ch);
                let z = four(simd, y, p, scale, shift);
                let dz = route(simd, z, simd.load(da.add(x * p.c + ch)));
                let at = [0, p.c, p.y_row, p.y_row + p.c];
                for i in 0..4 {
                    s1[i & 1] = simd.add(s1[i & 1], dz[i]);
                    s2[i & 1] = simd.fma(dz[i], simd.sub(simd.load(y.add(at[i])), mean), s2[i & 1]);
                }
            }
        } else {
            for x in run {
                let y = simd.load(p.y.as_ptr().add(r * p.y_row + x * p.c + ch));
                let da = simd.load(da.add(r * p.a_row + x * p.c + ch));
                let dz = simd.keep_gt(simd.fma(y, scale, shift), zero, da);
                s1[x & 1] = simd.add(s1[x & 1], dz);
                s2[x & 1] = simd.fma(dz, simd.sub(y, mean), s2[x & 1]);
            }
        }
        let first = sums.add(ch);
        let second = sums.add(p.c + ch);
        simd.store(first, simd.add(simd.load(first), simd.add(s1[0], s1[1])));
        simd.store(second, simd.add(simd.load(second), simd.add(s2[0], s2[1])));
    }
}

dispatch! {
    norm_sums_unchecked => norm_sums_generic(p: &PixelRows<'_>, da: *const f32, sums: *mut f32)
}

/// Adds to `sums`, `[2][c]`, what batch norm's backward needs of every channel: Σ dz and Σ dz · (y
/// − mean).
pub(super) fn norm_sums(isa: Isa, rows: PixelRows<'_>, da: &[f32], sums: &mut [f32]) {
    assert_eq!(sums.len(), 2 * rows.c, "two sums per channel");
    for (part, _, at) in rows.parts() {
        let da = &da[at..];
        part.check_gradient(
            da.len(),
            &[part.norm.scale, part.norm.shift, part.norm.mean],
        );
        // SAFETY: it fits.
        unsafe { norm_sums_unchecked(isa, &part, da.as_ptr(), sums.as_mut_ptr()) }
    }
}

/// # Safety
/// `p` fits, one of its [`PixelRows::parts`]; `da` holds its activations' gradient, and `dy` takes
/// rows like those of `y`.
#[inline(always)]
unsafe fn norm_backward_generic<S: Simd>(simd: S, p: &PixelRows<'_>, da: *const f32, dy: *mut f32) {
    let zero = simd.splat(0.0);
    for x in 0..p.cols {
        let pooled = p.is_pooled() && p.rows >= 2 && x < p.cols / 2 * 2;
        if pooled && x % 2 == 1 {
            continue;
        }
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: rows, columns and channels stay inside the windows.
            unsafe {
                let norm = &p.norm;
                let scale = channels(simd, norm.scale, ch);
                let shift = channels(simd, norm.shift, ch);
                let mean = channels(simd, norm.mean, ch);
                let c0 = channels(simd, norm.c0, ch);
                let c1 = channels(simd, norm.c1, ch);
                let offset = x * p.c + ch;
                if pooled {
                    let y = p.y.as_ptr().add(offset);
                    let z = four(simd, y, p, scale, shift);
                    let dz = route(simd, z, simd.load(da.add(x / 2 * p.c + ch)));
                    let at = [0, p.c, p.y_row, p.y_row + p.c];
                    for i in 0..4 {
                        let y = simd.load(y.add(at[i]));
                        let rest = simd.fma(simd.sub(y, mean), c1, c0);
                        simd.store(
                            dy.add(offset + at[i]),
                            simd.sub(simd.mul(scale, dz[i]), rest),
                        );
                    }
                } else {
                    for r in 0..p.rows {
                        let y = simd.load(p.y.as_ptr().add(r * p.y_row + offset));
                        let dz = if p.is_pooled() {
                            zero
                        } else {
                            let da = simd.load(da.add(r * p.a_row + offset));
                            simd.keep_gt(simd.fma(y, scale, shift), zero, da)
                        };
                        let rest = simd.fma(simd.sub(y, mean), c1, c0);
                        simd.store(
                            dy.add(r * p.y_row + offset),
                            simd.sub(simd.mul(scale, dz), rest),
                        );
                    }
                }
            }
        }
    }
}

dispatch! {
    norm_backward_unchecked => norm_backward_generic(p: &PixelRows<'_>, da: *const f32, dy: *mut f32)
}

/// The gradient of `y` from that of `a`, by way of pooling, ReLU and train-mode batch norm, into
/// rows like those of `y`.
///
/// # Safety
/// Nothing else reads or writes these rows of `dy` meanwhile.
pub(super) unsafe fn norm_backward(isa: Isa, rows: PixelRows<'_>, da: &[f32], dy: SharedSlice<'_>) {
    for (part, y_at, at) in rows.parts() {
        let da = &da[at..];
        let dy = dy.skip(y_at);
        let norm = part.norm;
        part.check_gradient(
            da.len(),
            &[norm.scale, norm.shift, norm.mean, norm.c0, norm.c1],
        );
        assert!(part.y_len() <= dy.len(), "rows lie in the window");
        // SAFETY: it fits; rows are kept apart by the caller.
        unsafe { norm_backward_unchecked(isa, &part, da.as_ptr(), dy.as_mut_ptr()) }
    }
}

/// # Safety
/// There are `n` floats, a multiple of 16, at both.
#[inline(always)]
unsafe fn axpy_generic<S: Simd>(simd: S, n: usize, a: f32, x: *const f32, y: *mut f32) {
    let a = simd.splat(a);
    for i in (0..n).step_by(S::LANES) {
        // SAFETY: the extents above.
        unsafe {
            simd.store(
                y.add(i),
                simd.fma(a, simd.load(x.add(i)), simd.load(y.add(i))),
            );
        };
    }
}

dispatch! {
    axpy_unchecked => axpy_generic(n: usize, a: f32, x: *const f32, y: *mut f32)
}

/// y += a · x, for a multiple of 16 values.
pub(super) fn axpy(isa: Isa, a: f32, x: &[f32], y: &mut [f32]) {
    assert!(
        x.len() == y.len() && x.len().is_multiple_of(16),
        "as many, and whole registers"
    );
    // SAFETY: the extents just checked.
    unsafe { axpy_unchecked(isa, x.len(), a, x.as_ptr(), y.as_mut_ptr()) }
}
