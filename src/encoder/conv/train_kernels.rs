//! Kernels that only training needs: batch norm, ReLU and pooling with their gradients, and the
//! Winograd-domain product for the gradient of the filters.

#![allow(unsafe_code, reason = "SIMD kernels on raw pointers; each entry states what its caller guarantees")]

use super::isa::Isa;
use super::kernels::{self, A, B, POS, Tile, dispatch, dispatch_half};
use super::simd::Simd;

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

/// The filter transform's divisors at ±a and ±b, inverted.
const NA: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const NB: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

/// One-dimensional transform of an output gradient, A d.
#[inline(always)]
unsafe fn a4<S: Simd>(d: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let (a2, b2) = (S::splat(A * A), S::splat(B * B));
        let p = S::fma(a2, d[2], d[0]);
        let q = S::mul(S::splat(A), S::fma(a2, d[3], d[1]));
        let r = S::fma(b2, d[2], d[0]);
        let s = S::mul(S::splat(B), S::fma(b2, d[3], d[1]));
        [d[0], S::add(p, q), S::sub(p, q), S::add(r, s), S::sub(r, s), d[3]]
    }
}

/// The columns' half of A dy Aᵀ for the 4×4 pixels at `dy`.
#[inline(always)]
unsafe fn dy_patch<S: Simd>(dy: *const f32, row: usize, c: usize) -> [[S::V; 4]; 6] {
    // SAFETY: the pixels lie inside the padded window.
    unsafe {
        let mut rows = [[S::splat(0.0); 4]; 6];
        for x in 0..4 {
            let column = a4::<S>([
                S::load(dy.add(x * c)),
                S::load(dy.add(row + x * c)),
                S::load(dy.add(2 * row + x * c)),
                S::load(dy.add(3 * row + x * c)),
            ]);
            for r in 0..6 {
                rows[r][x] = column[r];
            }
        }
        rows
    }
}

/// Transforms output gradients, `A dy Aᵀ`, into `[36][c / 16][tile][16]`.
#[derive(Clone, Copy)]
pub(super) struct OutGrad<'a> {
    /// A padded window (zero where no output exists).
    pub(super) dy: *const f32,
    pub(super) row: usize,
    pub(super) c: usize,
    pub(super) tiles: &'a [Tile],
    /// Index of the first tile, and tiles of the block.
    pub(super) first: usize,
    pub(super) total: usize,
    pub(super) out: *mut f32,
    pub(super) stride: usize,
}

#[inline(always)]
unsafe fn out_grad_generic<S: Simd>(p: &OutGrad<'_>) {
    for (i, tile) in p.tiles.iter().enumerate() {
        // SAFETY: the tile's 4×4 pixels lie inside the padded window, its slots inside the block.
        unsafe {
            let dy = p.dy.add(tile.dst as usize);
            let mut ch = 0;
            while ch < p.c {
                let dy = dy.add(ch);
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let rows = dy_patch::<S>(dy, p.row, p.c);
                for (r, row) in rows.into_iter().enumerate() {
                    for (x, value) in a4::<S>(row).into_iter().enumerate() {
                        S::store(out.add((r * 6 + x) * p.stride), value);
                    }
                }
                ch += S::LANES;
            }
        }
    }
}

dispatch! {
    /// A dy Aᵀ of every tile and channel.
    out_grad => out_grad_generic(p: &OutGrad<'_>)
}

/// `dU[p] += V[p]ᵀ · Y[p]`, summed over the tiles of a block.
#[derive(Clone, Copy)]
pub(super) struct WeightGemm {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) tiles: usize,
    pub(super) pos: (usize, usize),
    /// `[36][k / 16][tile][16]`, or with `half` `[36][k / 16][pair of tiles][16][2]` in bf16; `tiles` then
    /// counts pairs.
    pub(super) v: *const f32,
    pub(super) v_stride: usize,
    /// `[36][n / 16][tile][16]`, or in pairs.
    pub(super) y: *const f32,
    pub(super) y_stride: usize,
    /// `[36][k][n]`
    pub(super) du: *mut f32,
    /// Whether `du` holds nothing yet.
    pub(super) fresh: bool,
    pub(super) half: bool,
}

#[inline(always)]
unsafe fn weight_micro<S: Simd, const HALF: bool, const MR: usize, const NV: usize>(
    tiles: usize,
    v: *const f32,
    y: [*const f32; NV],
    du: *mut f32,
    n: usize,
    fresh: bool,
) {
    // SAFETY: both streams hold `tiles` lines of 16 floats; du takes MR rows of n floats.
    unsafe {
        let mut acc = [[S::splat(0.0); NV]; MR];
        for t in 0..tiles {
            let mut b = [S::splat(0.0); NV];
            for j in 0..NV {
                b[j] = S::load(y[j].add(t * 16));
            }
            for i in 0..MR {
                let a = S::splat(*v.add(t * 16 + i));
                for j in 0..NV {
                    acc[i][j] = if HALF { S::dot2(a, b[j], acc[i][j]) } else { S::fma(a, b[j], acc[i][j]) };
                }
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let p = du.add(i * n + j * S::LANES);
                S::store(p, if fresh { acc[i][j] } else { S::add(S::load(p), acc[i][j]) });
            }
        }
    }
}

#[inline(always)]
unsafe fn weight_rows<S: Simd, const HALF: bool, const MR: usize>(p: &WeightGemm) {
    for pos in p.pos.0..p.pos.1 {
        // SAFETY: channels and positions stay inside V, Y and dU.
        unsafe {
            let (v, y) = (p.v.add(pos * p.v_stride), p.y.add(pos * p.y_stride));
            let du = p.du.add(pos * p.k * p.n);
            let line = |base: *const f32, ch: usize| base.add(ch / 16 * p.tiles * 16 + ch % 16);
            let mut k = 0;
            while k < p.k {
                let v = line(v, k);
                let mut ch = 0;
                while ch + 2 * S::LANES <= p.n {
                    let y = [line(y, ch), line(y, ch + S::LANES)];
                    weight_micro::<S, HALF, MR, 2>(p.tiles, v, y, du.add(k * p.n + ch), p.n, p.fresh);
                    ch += 2 * S::LANES;
                }
                while ch < p.n {
                    weight_micro::<S, HALF, MR, 1>(
                        p.tiles,
                        v,
                        [line(y, ch)],
                        du.add(k * p.n + ch),
                        p.n,
                        p.fresh,
                    );
                    ch += S::LANES;
                }
                k += MR;
            }
        }
    }
}

#[inline(always)]
unsafe fn weight_gemm_generic<S: Simd, const HALF: bool>(p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe {
        if S::MR > 8 {
            weight_rows::<S, HALF, 8>(p);
        } else {
            weight_rows::<S, HALF, 4>(p);
        }
    }
}

#[inline(always)]
unsafe fn weight_gemm_full<S: Simd>(p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe { weight_gemm_generic::<S, false>(p) }
}

dispatch! {
    /// The products of `p` in f32.
    weight_gemm_f32 => weight_gemm_full(p: &WeightGemm)
}

dispatch_half! {
    /// The products of `p` in bf16, summed in f32.
    weight_gemm_half => weight_gemm_generic(p: &WeightGemm)
}

/// The products of `p`; tiles are summed in ascending order.
///
/// # Safety
/// As for [`weight_gemm_f32`]; with `half`, as for [`weight_gemm_half`] too.
pub(super) unsafe fn weight_gemm(isa: Isa, p: &WeightGemm) {
    // SAFETY: passed on from the caller.
    unsafe { if p.half { weight_gemm_half(p) } else { weight_gemm_f32(isa, p) } }
}

/// Bᵀ d B of tiles in pairs, as bf16: `[36][c / 16][pair][16][2]`.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    /// A padded window: input, or gradient of the output.
    pub(super) src: *const f32,
    pub(super) row: usize,
    pub(super) c: usize,
    pub(super) tiles: &'a [Tile],
    /// Index of the first pair, and pairs of the block.
    pub(super) first: usize,
    pub(super) total: usize,
    pub(super) out: *mut f32,
    pub(super) stride: usize,
}

#[inline(always)]
unsafe fn input_pairs_generic<S: Simd, const HALF: bool>(p: &Pairs<'_>) {
    for (i, pair) in p.tiles.chunks(2).enumerate() {
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: patches lie inside the padded window, slots inside the block.
            unsafe {
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let mut values = [[S::splat(0.0); POS]; 2];
                for (tile, values) in pair.iter().zip(&mut values) {
                    let rows = kernels::patch::<S>(p.src.add(tile.src as usize + ch), p.row, p.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        values[y * 6..y * 6 + 6].copy_from_slice(&kernels::bt::<S>(row));
                    }
                }
                for pos in 0..POS {
                    S::store(out.add(pos * p.stride), S::pack2(values[0][pos], values[1][pos]));
                }
            }
        }
    }
}

dispatch_half! {
    /// Bᵀ d B of `p`'s tiles in pairs.
    input_pairs => input_pairs_generic(p: &Pairs<'_>)
}

#[inline(always)]
unsafe fn out_grad_pairs_generic<S: Simd, const HALF: bool>(p: &Pairs<'_>) {
    for (i, pair) in p.tiles.chunks(2).enumerate() {
        for ch in (0..p.c).step_by(S::LANES) {
            // SAFETY: as in `input_pairs_generic`.
            unsafe {
                let out = p.out.add((ch / 16 * p.total + p.first + i) * 16 + ch % 16);
                let mut values = [[S::splat(0.0); POS]; 2];
                for (tile, values) in pair.iter().zip(&mut values) {
                    let rows = dy_patch::<S>(p.src.add(tile.dst as usize + ch), p.row, p.c);
                    for (y, row) in rows.into_iter().enumerate() {
                        values[y * 6..y * 6 + 6].copy_from_slice(&a4::<S>(row));
                    }
                }
                for pos in 0..POS {
                    S::store(out.add(pos * p.stride), S::pack2(values[0][pos], values[1][pos]));
                }
            }
        }
    }
}

dispatch_half! {
    /// A dy Aᵀ of `p`'s tiles in pairs.
    out_grad_pairs => out_grad_pairs_generic(p: &Pairs<'_>)
}

/// Gᵀ d (6 → 3).
#[inline(always)]
unsafe fn gt<S: Simd>(d: [S::V; 6]) -> [S::V; 3] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let p = S::mul(S::splat(NA), S::add(d[1], d[2]));
        let q = S::mul(S::splat(NA * A), S::sub(d[1], d[2]));
        let r = S::mul(S::splat(NB), S::add(d[3], d[4]));
        let s = S::mul(S::splat(NB * B), S::sub(d[3], d[4]));
        let last = S::fma(S::splat(A * A), p, S::fma(S::splat(B * B), r, d[5]));
        [S::fma(S::splat(1.0 / (A * A * B * B)), d[0], S::add(p, r)), S::add(q, s), last]
    }
}

#[inline(always)]
unsafe fn filter_grad_generic<S: Simd>(du: *const f32, stride: usize, out: &mut [[f32; 16]; 9]) {
    let mut lane = 0;
    while lane < 16 {
        // SAFETY: 36 positions, `stride` apart, of 16 floats each.
        unsafe {
            let du = du.add(lane);
            let mut rows = [[S::splat(0.0); 6]; 3];
            for x in 0..6 {
                let column = gt::<S>([
                    S::load(du.add(x * stride)),
                    S::load(du.add((6 + x) * stride)),
                    S::load(du.add((12 + x) * stride)),
                    S::load(du.add((18 + x) * stride)),
                    S::load(du.add((24 + x) * stride)),
                    S::load(du.add((30 + x) * stride)),
                ]);
                for r in 0..3 {
                    rows[r][x] = column[r];
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (x, value) in gt::<S>(row).into_iter().enumerate() {
                    S::store(out[r * 3 + x].as_mut_ptr().add(lane), value);
                }
            }
        }
        lane += S::LANES;
    }
}

dispatch! {
    /// Gᵀ dU G of 16 output channels.
    filter_grad => filter_grad_generic(du: *const f32, stride: usize, out: &mut [[f32; 16]; 9])
}

/// G d (3 → 6).
#[inline(always)]
unsafe fn g3<S: Simd>(d: [S::V; 3]) -> [S::V; 6] {
    // SAFETY: the caller runs with S's features.
    unsafe {
        let p = S::mul(S::splat(NA), S::fma(S::splat(A * A), d[2], d[0]));
        let q = S::mul(S::splat(NA * A), d[1]);
        let r = S::mul(S::splat(NB), S::fma(S::splat(B * B), d[2], d[0]));
        let s = S::mul(S::splat(NB * B), d[1]);
        [
            S::mul(S::splat(1.0 / (A * A * B * B)), d[0]),
            S::add(p, q),
            S::sub(p, q),
            S::add(r, s),
            S::sub(r, s),
            d[2],
        ]
    }
}

#[inline(always)]
unsafe fn filter_generic<S: Simd>(
    taps: &[[f32; 16]; 9],
    u: *mut f32,
    stride: usize,
    next_panel: usize,
    panel: usize,
) {
    let mut lane = 0;
    while lane < 16 {
        // SAFETY: the slots of 16 output channels at 36 positions.
        unsafe {
            let u = u.add(lane / panel * next_panel + lane % panel);
            let mut rows = [[S::splat(0.0); 3]; 6];
            for x in 0..3 {
                let column = g3::<S>([
                    S::load(taps[x].as_ptr().add(lane)),
                    S::load(taps[3 + x].as_ptr().add(lane)),
                    S::load(taps[6 + x].as_ptr().add(lane)),
                ]);
                for r in 0..6 {
                    rows[r][x] = column[r];
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (x, value) in g3::<S>(row).into_iter().enumerate() {
                    S::store(u.add((r * 6 + x) * stride), value);
                }
            }
        }
        lane += S::LANES;
    }
}

dispatch! {
    /// G g Gᵀ of 16 output channels, into U.
    filter => filter_generic(taps: &[[f32; 16]; 9], u: *mut f32, stride: usize, next_panel: usize, panel: usize)
}

#[inline(always)]
unsafe fn filter_pair_generic<S: Simd, const HALF: bool>(
    taps: &[[[f32; 16]; 9]; 2],
    u: *mut f32,
    stride: usize,
) {
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the slots of 16 output channels and a pair of input channels at 36 positions.
        unsafe {
            let mut values = [[S::splat(0.0); POS]; 2];
            for (taps, values) in taps.iter().zip(&mut values) {
                let mut rows = [[S::splat(0.0); 3]; 6];
                for x in 0..3 {
                    let column = g3::<S>([
                        S::load(taps[x].as_ptr().add(lane)),
                        S::load(taps[3 + x].as_ptr().add(lane)),
                        S::load(taps[6 + x].as_ptr().add(lane)),
                    ]);
                    for r in 0..6 {
                        rows[r][x] = column[r];
                    }
                }
                for (r, row) in rows.into_iter().enumerate() {
                    values[r * 6..r * 6 + 6].copy_from_slice(&g3::<S>(row));
                }
            }
            for pos in 0..POS {
                S::store(u.add(lane + pos * stride), S::pack2(values[0][pos], values[1][pos]));
            }
        }
    }
}

dispatch_half! {
    /// G g Gᵀ of 16 output channels and two input channels, as bf16 pairs into U.
    filter_pair => filter_pair_generic(taps: &[[[f32; 16]; 9]; 2], u: *mut f32, stride: usize)
}

#[inline(always)]
unsafe fn first_grad_generic<S: Simd>(
    dy: *const f32,
    cols: usize,
    c: usize,
    image: *const f32,
    image_row: usize,
    out: *mut f32,
) {
    let mut ch = 0;
    while ch < c {
        // SAFETY: `cols` pixels at dy, three rows of `cols + 2` at image, 9 · c floats at out.
        unsafe {
            let mut acc = [S::splat(0.0); 9];
            for (tap, acc) in acc.iter_mut().enumerate() {
                *acc = S::load(out.add(tap * c + ch));
            }
            for x in 0..cols {
                let d = S::load(dy.add(x * c + ch));
                for tap in 0..9 {
                    let s = S::splat(*image.add(tap / 3 * image_row + tap % 3 + x));
                    acc[tap] = S::fma(s, d, acc[tap]);
                }
            }
            for (tap, acc) in acc.into_iter().enumerate() {
                S::store(out.add(tap * c + ch), acc);
            }
        }
        ch += S::LANES;
    }
}

dispatch! {
    /// Adds one row's part of the first layer's weight gradient to `out`, `[9][c]`.
    first_grad => first_grad_generic(
        dy: *const f32, cols: usize, c: usize, image: *const f32, image_row: usize, out: *mut f32
    )
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

const _: () = assert!(POS == 36, "the transforms above are written out for F(4×4, 3×3)");
