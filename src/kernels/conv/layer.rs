//! One 3×3 convolution by Winograd: filters transformed once, blocks of tiles that stay in cache.

#![allow(unsafe_code, reason = "hands disjoint parts of shared buffers to the kernels")]

use std::cell::RefCell;

use half::bf16;
use rayon::prelude::*;

use super::act::{Shape, c16};
use crate::kernels::buffer::{Buf, Shared};
use super::grad_kernels;
use crate::kernels::isa::{Isa, Precision};
use super::kernels::{self, A, B, Epilogue, Gemm, Groups, Input, Output, POS, Tile};
use super::norm_kernels;
use crate::kernels::team::Team;

thread_local! {
    /// A task's V and M.
    static SCRATCH: RefCell<Buf> = RefCell::new(Buf::default());
}

/// Runs `f` with this thread's scratch of at least `len` floats.
pub(super) fn with_scratch<R>(len: usize, f: impl FnOnce(*mut f32) -> R) -> R {
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        scratch.reserve(len);
        f(scratch.as_mut_ptr())
    })
}

/// Floats from one position to the next for `len` floats each: an odd number of cache lines, so that
/// the 36 positions do not fall on the same cache sets.
pub(super) fn stride(len: usize) -> usize {
    let lines = len.div_ceil(16);
    (lines | 1) * 16
}

/// A 3×3 filter bank in the Winograd domain with its bias.
#[derive(Debug)]
pub(super) struct Filters {
    pub(super) isa: Isa,
    /// Whether U, and so V, is in bf16 (pairs of input channels side by side).
    pub(super) half: bool,
    /// Input and output channels, rounded up to 16.
    pub(super) k: usize,
    pub(super) n: usize,
    /// Output channels that one pass over a block computes.
    group: usize,
    u: Buf,
    pub(super) bias: Vec<f32>,
}

impl Filters {
    /// From `[out][in][3][3]` weights and `out` biases.
    pub(super) fn new(
        isa: Isa,
        precision: Precision,
        weight: &[f32],
        bias: &[f32],
        cin: usize,
        cout: usize,
    ) -> Self {
        let half = precision == Precision::Bf16 && precision.is_available(isa);
        let (k, n) = (c16(cin), c16(cout));
        let mut padded = bias.to_vec();
        padded.resize(n, 0.0);
        let mut filters =
            Self { isa, half, k, n, group: 64.min(n), u: Buf::zeroed(POS * k * n), bias: padded };
        filters.set(weight, cin, cout, |o, i, tap| (o * cin + i) * 9 + tap);
        filters
    }

    /// Filters of zeros, for [`Filters::refresh`].
    pub(super) fn empty(isa: Isa, precision: Precision, k: usize, n: usize) -> Self {
        let half = precision == Precision::Bf16 && precision.is_available(isa);
        assert!(k.is_multiple_of(16) && n.is_multiple_of(16), "channels are multiples of 16");
        Self { isa, half, k, n, group: 64.min(n), u: Buf::zeroed(POS * k * n), bias: vec![0.0; n] }
    }

    /// Transforms `weight` anew; `index(out, in, tap)` says where a tap lies in it.
    pub(super) fn set(
        &mut self,
        weight: &[f32],
        cin: usize,
        cout: usize,
        index: impl Fn(usize, usize, usize) -> usize + Sync,
    ) {
        let (k, depth, n, group, half) = (self.k, self.depth(), self.n, self.group, self.half);
        let u = Shared(self.u.as_mut_ptr());
        let width = kernels::panel_width(self.isa);
        (0..n).into_par_iter().for_each(|o| {
            let (block, in_block) = (o / group, o % group);
            let group_n = group.min(n - block * group);
            let panel = in_block / width;
            let panel_n = width.min(group_n - panel * width);
            let base = POS * depth * group * block + panel * depth * width + in_block % width;
            for i in 0..k {
                let mut g = [0.0f32; 9];
                if o < cout && i < cin {
                    for (tap, g) in g.iter_mut().enumerate() {
                        *g = weight[index(o, i, tap)];
                    }
                }
                for (pos, value) in transform_filter(&g).into_iter().enumerate() {
                    // SAFETY: every (o, i, pos) has its own slot in U's POS · depth · n floats.
                    unsafe {
                        if half {
                            let slot = u.at(base + pos * depth * group_n + i / 2 * panel_n).cast::<bf16>();
                            *slot.add(i % 2) = bf16::from_f32(value);
                        } else {
                            *u.at(base + pos * depth * group_n + i * panel_n) = value;
                        }
                    }
                }
            }
        });
    }

    /// As [`Filters::set`] in f32 and vectorised, for weights that change at every training step.
    pub(super) fn refresh(
        &mut self,
        weight: &[f32],
        cin: usize,
        cout: usize,
        index: impl Fn(usize, usize, usize) -> usize + Sync,
    ) {
        let (k, n, group, isa, half) = (self.k, self.n, self.group, self.isa, self.half);
        let depth = self.depth();
        assert!(cin == k && cout == n, "channels are multiples of 16");
        let u = Shared(self.u.as_mut_ptr());
        let width = kernels::panel_width(isa);
        (0..n / 16).into_par_iter().with_max_len(1).for_each(|block| {
            // 16 outputs lie in one panel, or in 16 / width panels that follow each other.
            let o = block * 16;
            let (b, in_block) = (o / group, o % group);
            let group_n = group.min(n - b * group);
            let panel = in_block / width;
            let panel_n = width.min(group_n - panel * width);
            let base = POS * depth * group * b + panel * depth * width + in_block % width;
            let mut taps = [[[0.0f32; 16]; 9]; 2];
            for i in 0..k {
                for o in 0..16 {
                    for (tap, taps) in taps[i % 2].iter_mut().enumerate() {
                        taps[o] = weight[index(block * 16 + o, i, tap)];
                    }
                }
                // SAFETY: the 16 outputs' slots of U, which no other task writes.
                unsafe {
                    if !half {
                        let u = u.at(base + i * panel_n);
                        grad_kernels::filter(isa, &taps[i % 2], u, k * group_n, k * width, panel_n);
                    } else if i % 2 == 1 {
                        grad_kernels::filter_pair(&taps, u.at(base + i / 2 * panel_n), depth * group_n);
                    }
                }
            }
        });
    }

    /// Floats that a tile's input channels take in V (and an output channel's in U).
    pub(super) fn depth(&self) -> usize {
        if self.half { self.k / 2 } else { self.k }
    }

    fn groups_of_channels(&self) -> usize {
        self.n.div_ceil(self.group)
    }

    /// First channel, number of channels and filters of channel group `b`.
    fn channel_group(&self, b: usize) -> (usize, usize, *const f32) {
        let n = self.group.min(self.n - b * self.group);
        (b * self.group, n, self.u.as_slice()[POS * self.depth() * self.group * b..].as_ptr())
    }
}

/// G g Gᵀ in f64, rounded once.
fn transform_filter(g: &[f32; 9]) -> [f32; POS] {
    fn rows(g: [f64; 3]) -> [f64; 6] {
        let (a, b) = (f64::from(A), f64::from(B));
        let (a2, b2) = (a * a, b * b);
        let (na, nb) = (2.0 * a2 * (a2 - b2), 2.0 * b2 * (b2 - a2));
        let (p, r) = (g[0] + a2 * g[2], g[0] + b2 * g[2]);
        let (q, s) = (a * g[1], b * g[1]);
        [g[0] / (a2 * b2), (p + q) / na, (p - q) / na, (r + s) / nb, (r - s) / nb, g[2]]
    }
    let mut half = [[0.0; 3]; 6];
    for x in 0..3 {
        let column = rows([f64::from(g[x]), f64::from(g[3 + x]), f64::from(g[6 + x])]);
        for y in 0..6 {
            half[y][x] = column[y];
        }
    }
    let mut out = [0.0; POS];
    for y in 0..6 {
        for (x, value) in rows(half[y]).into_iter().enumerate() {
            out[y * 6 + x] = value as f32;
        }
    }
    out
}

/// A convolution's geometry: shapes, tiles and how they are cut into blocks.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) from: Shape,
    pub(super) to: Shape,
    pub(super) epilogue: Epilogue,
    pub(super) tiles: Vec<Tile>,
}

impl Plan {
    pub(super) fn new(from: Shape, cout: usize, epilogue: Epilogue) -> Self {
        let pool = epilogue == Epilogue::ReluPool;
        let to = if pool { from.pooled(cout) } else { Shape { c: cout, ..from } };
        Self { from, to, epilogue, tiles: from.tiles(to, pool) }
    }
}

/// The evenly cut part `i` of `parts` of `0..len`.
pub(super) fn part(len: usize, parts: usize, i: usize) -> (usize, usize) {
    (len * i / parts, len * (i + 1) / parts)
}

/// The products and the inverse transform of a block whose `V` is ready: channel group by channel
/// group, so that `M` stays small.
///
/// # Safety
/// `v` and `m` hold the block's V and one channel group's M; `dst` is a padded window that no other
/// task writes at these tiles.
pub(super) unsafe fn finish_block(
    filters: &Filters,
    plan: &Plan,
    tiles: &[Tile],
    groups: Groups,
    v: *const f32,
    v_stride: usize,
    m: *mut f32,
    dst: *mut f32,
) {
    for b in 0..filters.groups_of_channels() {
        let (channel, n, u) = filters.channel_group(b);
        let m_stride = stride(tiles.len() * n);
        // SAFETY: as the caller promises.
        unsafe {
            let gemm = Gemm {
                k: filters.depth(),
                n,
                groups,
                pos: (0, POS),
                v,
                v_stride,
                u,
                u_stride: filters.depth() * n,
                m,
                m_stride,
                half: filters.half,
            };
            kernels::gemm(filters.isa, &gemm);
            let output = Output {
                m,
                m_stride,
                n,
                groups,
                tiles,
                first: 0,
                bias: filters.bias[channel..].as_ptr(),
                dst: dst.add(channel),
                row: plan.to.row(),
                c: plan.to.c,
                epilogue: plan.epilogue,
            };
            kernels::output(filters.isa, &output);
        }
    }
}

/// Floats of scratch that a block of `tiles` needs: (V's stride, V's floats, M's floats).
pub(super) fn block_scratch(filters: &Filters, tiles: usize) -> (usize, usize, usize) {
    let v_stride = stride(tiles * filters.depth());
    (v_stride, POS * v_stride, POS * stride(tiles * filters.group))
}

/// Transform, products and inverse of each block of about `block` tiles in one task, for `n` windows
/// of `src`, into `dst` from window `at` on.
pub(super) fn fused(
    team: &Team,
    filters: &Filters,
    plan: &Plan,
    src: Source<'_>,
    dst: &mut Buf,
    at: usize,
    n: usize,
    block: usize,
    stats: Option<&mut Sums>,
) {
    let mut blocks = plan.tiles.len().div_ceil(block);
    if stats.is_none() && n * blocks < 8 * team.threads() {
        // Few tasks: as many for each thread. (Sums are added task by task, so their number must not change.)
        blocks = (n * blocks).next_multiple_of(team.threads()).div_ceil(n).min(plan.tiles.len());
    }
    let (source, target) = (Shared(src.buf.as_ptr().cast_mut()), Shared(dst.as_mut_ptr()));
    let sums = stats.map(|sums| sums.extend(n * blocks, plan.to.c));
    team.run(n * blocks, |task| {
        let (window, part_index) = (task / blocks, task % blocks);
        let (start, end) = part(plan.tiles.len(), blocks, part_index);
        let tiles = &plan.tiles[start..end];
        let (v_stride, v_len, m_len) = block_scratch(filters, tiles.len());
        let groups = Groups::new(tiles.len(), kernels::mr(filters.isa));
        with_scratch(v_len + m_len, |v| {
            // SAFETY: the scratch is this thread's; each task writes its own tiles of its window.
            unsafe {
                let input = Input {
                    src: source.at((src.first + window) * plan.from.len()),
                    row: plan.from.row(),
                    c: plan.from.c,
                    tiles,
                    first: 0,
                    groups,
                    v,
                    v_stride,
                    half: filters.half,
                };
                kernels::input(filters.isa, &input);
                let dst = target.at((at + window) * plan.to.len());
                finish_block(filters, plan, tiles, groups, v, v_stride, v.add(v_len), dst);
                if let Some(sums) = sums {
                    let out = sums.at(task * 2 * plan.to.c);
                    norm_kernels::tile_sums(filters.isa, dst, tiles, plan.to.row(), plan.to.c, out);
                }
            }
        });
    });
}

/// Sums over tasks, kept apart so that they are added in a fixed order: `[task][2][c]`.
#[derive(Debug, Default)]
pub(super) struct Sums {
    values: Vec<f32>,
    used: usize,
    c: usize,
}

impl Sums {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Makes room for `tasks` tasks in all.
    pub(super) fn room(&mut self, tasks: usize, c: usize) {
        if self.values.len() < tasks * 2 * c {
            self.values.resize(tasks * 2 * c, 0.0);
        }
    }

    /// Room for `tasks` more. Pointers from before stay valid only if [`Sums::room`] had been made.
    pub(super) fn extend(&mut self, tasks: usize, c: usize) -> Shared {
        let start = self.used;
        self.c = c;
        self.used += tasks * 2 * c;
        if self.values.len() < self.used {
            self.values.resize(self.used, 0.0);
        }
        Shared(self.values[start..].as_mut_ptr())
    }

    /// The two totals of every channel.
    pub(super) fn totals(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut first, mut second) = (vec![0.0; self.c], vec![0.0; self.c]);
        for task in self.values[..self.used].chunks_exact(2 * self.c) {
            let (a, b) = task.split_at(self.c);
            for i in 0..self.c {
                first[i] += f64::from(a[i]);
                second[i] += f64::from(b[i]);
            }
        }
        (first, second)
    }
}

/// Padded activations, from a window on.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) buf: &'a Buf,
    pub(super) first: usize,
}

/// Tasks of the phased form per window and step: enough that any number of threads has work, few
/// enough that starting them costs little.
pub(super) fn phased_parts(plan: &Plan) -> usize {
    plan.tiles.len().div_ceil(8)
}

/// Where the phased form leaves its result.
pub(super) enum Target<'a> {
    /// Padded activations, from this window on.
    Act(&'a mut Buf, usize),
    /// One maximum per window and channel: `[window][n]`.
    GlobalMax(&'a mut [f32]),
}

/// The three steps one after the other over all `n` windows, each step parallel: for layers whose
/// filters are larger than the cache, so that these are read once per call.
pub(super) fn phased(
    team: &Team,
    filters: &Filters,
    plan: &Plan,
    src: Source<'_>,
    target: Target<'_>,
    n: usize,
    work: &mut Buf,
    stats: Option<&mut Sums>,
) {
    let per_window = plan.tiles.len();
    let total = per_window * n;
    let groups = Groups::new(total, kernels::mr(filters.isa));
    let v_stride = stride(total * filters.depth());
    let m_stride = stride(total * filters.group);
    let channel_groups = filters.groups_of_channels();
    work.reserve(POS * (v_stride + m_stride * channel_groups));
    let v = Shared(work.as_mut_ptr());
    let m = Shared(v.0.wrapping_add(POS * v_stride));
    let source = Shared(src.buf.as_ptr().cast_mut());
    let parts = phased_parts(plan);
    team.run(n * parts, |task| {
        let (window, index) = (task / parts, task % parts);
        let (start, end) = part(per_window, parts, index);
        // SAFETY: each task writes the V of its own tiles.
        unsafe {
            let input = Input {
                src: source.at((src.first + window) * plan.from.len()),
                row: plan.from.row(),
                c: plan.from.c,
                tiles: &plan.tiles[start..end],
                first: window * per_window + start,
                groups,
                v: v.at(0),
                v_stride,
                half: filters.half,
            };
            kernels::input(filters.isa, &input);
        }
    });
    team.run(POS * channel_groups, |task| {
        // One window's V stays in cache, so filters are read in their order in memory; several windows' does not.
        let (b, pos) =
            if n == 1 { (task / POS, task % POS) } else { (task % channel_groups, task / channel_groups) };
        let (_, width, u) = filters.channel_group(b);
        // SAFETY: each task writes its own position and channel group of M.
        unsafe {
            let gemm = Gemm {
                k: filters.depth(),
                n: width,
                groups,
                pos: (pos, pos + 1),
                v: v.at(0),
                v_stride,
                u,
                u_stride: filters.depth() * width,
                m: m.at(POS * m_stride * b),
                m_stride,
                half: filters.half,
            };
            kernels::gemm(filters.isa, &gemm);
        }
    });
    let output = |b: usize, window: usize, (start, end): (usize, usize), dst: *mut f32| {
        let (channel, width, _) = filters.channel_group(b);
        Output {
            // SAFETY: inside M.
            m: unsafe { m.at(POS * m_stride * b) },
            m_stride,
            n: width,
            groups,
            tiles: &plan.tiles[start..end],
            first: window * per_window + start,
            bias: filters.bias[channel..].as_ptr(),
            dst,
            row: plan.to.row(),
            c: plan.to.c,
            epilogue: plan.epilogue,
        }
    };
    match target {
        Target::Act(dst, at) => {
            let dst = Shared(dst.as_mut_ptr());
            let sums = stats.map(|sums| sums.extend(n * parts, plan.to.c));
            team.run(n * parts, |task| {
                let (window, index) = (task / parts, task % parts);
                for b in 0..channel_groups {
                    // SAFETY: each task writes its own tiles of its window.
                    unsafe {
                        let dst = dst.at((at + window) * plan.to.len() + filters.channel_group(b).0);
                        kernels::output(filters.isa, &output(b, window, part(per_window, parts, index), dst));
                    }
                }
                if let Some(sums) = sums {
                    let (start, end) = part(per_window, parts, index);
                    // SAFETY: reads the tiles that this task wrote; each task has its own sums.
                    unsafe {
                        let dst = dst.at((at + window) * plan.to.len());
                        let out = sums.at(task * 2 * plan.to.c);
                        let tiles = &plan.tiles[start..end];
                        norm_kernels::tile_sums(filters.isa, dst, tiles, plan.to.row(), plan.to.c, out);
                    }
                }
            });
        }
        Target::GlobalMax(out) => {
            let channels = filters.n;
            assert!(out.len() >= n * channels, "one maximum per window and channel");
            let out = Shared(out.as_mut_ptr());
            team.run(n * channel_groups, |task| {
                let (window, b) = (task / channel_groups, task % channel_groups);
                let (channel, width, _) = filters.channel_group(b);
                // SAFETY: each task writes its own channels of its window.
                unsafe {
                    let dst = out.at(window * channels + channel);
                    let output = output(b, window, (0, per_window), dst);
                    kernels::global_max(filters.isa, &output, 0, width);
                }
            });
        }
    }
}
