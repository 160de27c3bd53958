//! One 3×3 convolution by Winograd, in blocks of tiles that stay in cache.

use std::cell::RefCell;
use std::ops::Range;

use super::act::Shape;
use super::filters::WinogradFilters;
use super::winograd::{self, Gemm, Groups, Input, Output, POS, Tile};
use crate::cpu::team::Team;
use voisin_simd::buffer::{Buffer, SharedSlice};

pub(super) const BLOCK: usize = 28;
/// Filters (input times output channels) up to which a convolution is fused rather than phased.
const SMALL: usize = 128 * 128;

thread_local! {
    /// A task's V and M.
    static SCRATCH: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// Runs `f` with `len` floats of this thread's scratch, with arbitrary contents.
pub(super) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        scratch.reserve(len);
        f(&mut scratch.as_mut_slice()[..len])
    })
}

/// Floats from one position to the next for `len` floats each: an odd number of cache lines, so
/// that the 36 positions do not fall on the same cache sets.
pub(super) fn stride(len: usize) -> usize {
    let lines = len.div_ceil(16);
    (lines | 1) * 16
}

/// A convolution's geometry: shapes, tiles and how they are cut into blocks.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) from: Shape,
    pub(super) to: Shape,
    /// Whether 2 × 2 outputs become their maximum.
    pub(super) pool: bool,
    pub(super) tiles: Vec<Tile>,
}

impl Plan {
    pub(super) fn new(from: Shape, cout: usize, pool: bool) -> Self {
        let to = if pool {
            from.pooled(cout)
        } else {
            Shape { c: cout, ..from }
        };
        Self {
            from,
            to,
            pool,
            tiles: from.tiles(to, pool),
        }
    }
}

/// The evenly cut part `i` of `parts` of `0..len`.
pub(super) fn part(len: usize, parts: usize, i: usize) -> Range<usize> {
    len * i / parts..len * (i + 1) / parts
}

/// One block of a fused convolution, with its own scratch memory.
pub(super) struct TileBlock<'a> {
    pub(super) filters: &'a WinogradFilters,
    pub(super) plan: &'a Plan,
    pub(super) tiles: &'a [Tile],
}

impl TileBlock<'_> {
    /// Floats of scratch that [`TileBlock::run`] needs.
    pub(super) fn scratch(&self) -> usize {
        POS * (self.v_stride() + stride(self.tiles.len() * self.filters.group))
    }

    fn v_stride(&self) -> usize {
        stride(self.tiles.len() * self.filters.k)
    }

    /// Transform, products and inverse, channel group by channel group, so that `M` stays small.
    ///
    /// - `src`: the padded input, `row` floats from one row to the next
    /// - `dst`: the padded output of the window
    ///
    /// # Safety
    /// Nothing else reads or writes the outputs of these tiles meanwhile.
    pub(super) unsafe fn run(
        &self,
        src: &[f32],
        row: usize,
        scratch: &mut [f32],
        dst: SharedSlice<'_>,
    ) {
        let Self {
            filters,
            plan,
            tiles,
        } = *self;
        let groups = Groups::new(tiles.len(), filters.isa);
        let v_stride = self.v_stride();
        let (v, m) = scratch.split_at_mut(POS * v_stride);
        let input = Input {
            src,
            row,
            c: plan.from.c,
            tiles,
            first: 0,
            groups,
            v: SharedSlice::new(v),
            v_stride,
        };
        // SAFETY: the scratch is this block's alone.
        unsafe { winograd::input(filters.isa, &input) };
        // M of one channel group stays in cache between products and inverse; V is read again for
        // each group.
        for b in 0..filters.groups_of_channels() {
            let (channel, n, u) = filters.channel_group(b);
            let m_stride = stride(tiles.len() * n);
            let gemm = Gemm {
                k: filters.k,
                n,
                groups,
                positions: 0..POS,
                v,
                v_stride,
                u,
                u_stride: filters.k * n,
                m: SharedSlice::new(m),
                m_stride,
            };
            // SAFETY: as above.
            unsafe { winograd::gemm(filters.isa, &gemm) };
            let output = Output {
                m,
                m_stride,
                n,
                groups,
                tiles,
                first: 0,
                bias: &filters.bias[channel..],
                dst: dst.skip(channel),
                row: plan.to.row(),
                c: plan.to.c,
                pool: plan.pool,
            };
            // SAFETY: the tiles are kept apart by the caller.
            unsafe { winograd::output(filters.isa, &output) };
        }
    }
}

/// Transform, products and inverse of each block of about [`BLOCK`] tiles in one task, for `n`
/// windows of `src`, into `dst` from window `at` on.
pub(super) fn fused(
    team: &Team,
    filters: &WinogradFilters,
    plan: &Plan,
    src: &Buffer,
    dst: &mut Buffer,
    at: usize,
    n: usize,
) {
    let mut blocks = plan.tiles.len().div_ceil(BLOCK);
    if n * blocks < 8 * team.threads() {
        // Few tasks: as many for each thread.
        blocks = (n * blocks)
            .next_multiple_of(team.threads())
            .div_ceil(n)
            .min(plan.tiles.len());
    }
    let target = dst.share();
    team.run(n * blocks, |task| {
        let window = task / blocks;
        let block = task % blocks;
        let tiles = &plan.tiles[part(plan.tiles.len(), blocks, block)];
        let block = TileBlock {
            filters,
            plan,
            tiles,
        };
        with_scratch(block.scratch(), |scratch| {
            let dst = target.skip((at + window) * plan.to.len());
            // SAFETY: each task writes its own tiles of its window.
            unsafe {
                block.run(
                    padded(src, window, plan.from),
                    plan.from.row(),
                    scratch,
                    dst,
                );
            }
        });
    });
}

/// A window of padded activations.
fn padded(src: &Buffer, window: usize, shape: Shape) -> &[f32] {
    &src.as_slice()[window * shape.len()..][..shape.len()]
}

/// Tasks of the phased form per window and step: enough that any number of threads has work, few
/// enough that starting them costs little.
fn phased_parts(plan: &Plan) -> usize {
    plan.tiles.len().div_ceil(8)
}

pub(super) enum Target<'a> {
    /// Padded activations, from this window on.
    Act(&'a mut Buffer, usize),
    /// One maximum per window and channel: `[window][n]`.
    GlobalMax(&'a mut [f32]),
}

/// The three steps in order over all `n` windows, each step parallel: for layers whose
/// filters are larger than the cache, so that these are read once per call.
pub(super) fn phased(
    team: &Team,
    filters: &WinogradFilters,
    plan: &Plan,
    src: &Buffer,
    target: Target<'_>,
    n: usize,
    work: &mut Buffer,
) {
    let total = plan.tiles.len() * n;
    let phases = Phases {
        team,
        filters,
        plan,
        n,
        groups: Groups::new(total, filters.isa),
        v_stride: stride(total * filters.k),
        m_stride: stride(total * filters.group),
    };
    let of_m = phases.m_stride * filters.groups_of_channels();
    work.reserve(POS * (phases.v_stride + of_m));
    let (v, m) = work.as_mut_slice().split_at_mut(POS * phases.v_stride);
    phases.transform(src, v);
    phases.multiply(v, m);
    phases.invert(m, target);
}

struct Phases<'a> {
    team: &'a Team,
    filters: &'a WinogradFilters,
    plan: &'a Plan,
    n: usize,
    groups: Groups,
    v_stride: usize,
    m_stride: usize,
}

impl Phases<'_> {
    fn transform(&self, src: &Buffer, v: &mut [f32]) {
        let per_window = self.plan.tiles.len();
        let parts = phased_parts(self.plan);
        let v = SharedSlice::new(v);
        self.team.run(self.n * parts, |task| {
            let window = task / parts;
            let tiles = part(per_window, parts, task % parts);
            let input = Input {
                src: padded(src, window, self.plan.from),
                row: self.plan.from.row(),
                c: self.plan.from.c,
                first: window * per_window + tiles.start,
                tiles: &self.plan.tiles[tiles],
                groups: self.groups,
                v,
                v_stride: self.v_stride,
            };
            // SAFETY: each task writes the V of its own tiles.
            unsafe { winograd::input(self.filters.isa, &input) };
        });
    }

    fn multiply(&self, v: &[f32], m: &mut [f32]) {
        let filters = self.filters;
        let channel_groups = filters.groups_of_channels();
        let products = SharedSlice::new(m);
        self.team.run(POS * channel_groups, |task| {
            // One window's V stays in cache, so filters are read in their order in memory; several
            // windows' does not.
            let (b, position) = if self.n == 1 {
                (task / POS, task % POS)
            } else {
                (task % channel_groups, task / channel_groups)
            };
            let (_, width, u) = filters.channel_group(b);
            let gemm = Gemm {
                k: filters.k,
                n: width,
                groups: self.groups,
                positions: position..position + 1,
                v,
                v_stride: self.v_stride,
                u,
                u_stride: filters.k * width,
                m: products.skip(POS * self.m_stride * b),
                m_stride: self.m_stride,
            };
            // SAFETY: each task writes its own position and channel group of M.
            unsafe { winograd::gemm(filters.isa, &gemm) };
        });
    }

    /// The inverse of some tiles of a window, for channel group `b`.
    fn output<'a>(
        &'a self,
        m: &'a [f32],
        b: usize,
        window: usize,
        tiles: Range<usize>,
        dst: SharedSlice<'a>,
    ) -> Output<'a> {
        let (channel, width, _) = self.filters.channel_group(b);
        Output {
            m: &m[POS * self.m_stride * b..],
            m_stride: self.m_stride,
            n: width,
            groups: self.groups,
            first: window * self.plan.tiles.len() + tiles.start,
            tiles: &self.plan.tiles[tiles],
            bias: &self.filters.bias[channel..],
            dst,
            row: self.plan.to.row(),
            c: self.plan.to.c,
            pool: self.plan.pool,
        }
    }

    fn invert(&self, m: &[f32], target: Target<'_>) {
        let Self {
            team,
            filters,
            plan,
            n,
            ..
        } = *self;
        let per_window = plan.tiles.len();
        let channel_groups = filters.groups_of_channels();
        match target {
            Target::Act(dst, at) => {
                let dst = dst.share();
                let parts = phased_parts(plan);
                team.run(n * parts, |task| {
                    let window = task / parts;
                    let tiles = part(per_window, parts, task % parts);
                    let dst = dst.skip((at + window) * plan.to.len());
                    for b in 0..channel_groups {
                        let dst = dst.skip(filters.channel_group(b).0);
                        let output = self.output(m, b, window, tiles.clone(), dst);
                        // SAFETY: each task writes its own tiles of its window.
                        unsafe { winograd::output(filters.isa, &output) };
                    }
                });
            }
            Target::GlobalMax(out) => {
                let channels = filters.n;
                assert!(
                    out.len() >= n * channels,
                    "one maximum per window and channel"
                );
                let out = SharedSlice::new(out);
                team.run(n * channel_groups, |task| {
                    let window = task / channel_groups;
                    let b = task % channel_groups;
                    let dst = out.skip(window * channels + filters.channel_group(b).0);
                    let output = self.output(m, b, window, 0..per_window, dst);
                    // SAFETY: each task writes its own channels of its window.
                    unsafe { winograd::global_max(filters.isa, &output) };
                });
            }
        }
    }
}

/// Whether a convolution has few enough filters to be [`fused`].
pub(super) fn is_small(filters: &WinogradFilters) -> bool {
    filters.k * filters.n <= SMALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;
    use voisin_simd::Isa;

    /// Uniform numbers in [-1, 1).
    fn uniform(seed: u64, len: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..len).map(|_| 2.0 * random.f32() - 1.0).collect()
    }

    /// The convolution by its definition with zeros around, and ReLU, `[n][out][h][w]`, from
    /// `[n][in][h][w]`.
    fn direct(x: &[f32], weight: &[f32], bias: &[f32], cin: usize, h: usize, w: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for x in x.chunks_exact(cin * h * w) {
            for (filter, bias) in weight.chunks_exact(cin * 9).zip(bias) {
                for at in 0..h * w {
                    let mut sum = f64::from(*bias);
                    for (i, tap) in filter.iter().enumerate() {
                        let row = at / w + i % 9 / 3;
                        let column = at % w + i % 3;
                        if (1..=h).contains(&row) && (1..=w).contains(&column) {
                            let x = x[(i / 9 * h + row - 1) * w + column - 1];
                            sum += f64::from(*tap) * f64::from(x);
                        }
                    }
                    out.push(sum.max(0.0) as f32);
                }
            }
        }
        out
    }

    /// Maxima over 2 × 2 squares.
    fn pooled(x: &[f32], h: usize, w: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for x in x.chunks_exact(h * w) {
            for at in 0..(h / 2) * (w / 2) {
                let corner = at / (w / 2) * 2 * w + at % (w / 2) * 2;
                let window = [0, 1, w, w + 1].map(|i| x[corner + i]);
                out.push(window.into_iter().fold(f32::MIN, f32::max));
            }
        }
        out
    }

    #[test]
    fn both_forms_equal_the_definition_for_every_shape() {
        // (windows, in, out, rows, columns): odd sizes, sizes below a tile, many windows.
        let shapes = [
            (1, 16, 16, 1, 1),
            (1, 16, 64, 13, 7),
            (3, 32, 48, 6, 2),
            (2, 48, 80, 9, 11),
            (5, 32, 16, 1, 17),
            (17, 16, 32, 15, 4),
        ];
        for (case, (n, cin, cout, h, w)) in shapes.into_iter().enumerate() {
            let seed = case as u64 * 10 + 1;
            let x = uniform(seed, n * cin * h * w);
            let bias = uniform(seed + 1, cout);
            let weight = uniform(seed + 2, cout * cin * 9);
            let relu = direct(&x, &weight, &bias, cin, h, w);
            let shape = Shape { h, w, c: cin };
            let mut src = Buffer::zeroed(shape.len() * n);
            for (i, x) in x.iter().enumerate() {
                let window = i / (cin * h * w);
                let channel = i / (h * w) % cin;
                let at = i % (h * w);
                let to = window * shape.len() + shape.at(at / w, at % w) + channel;
                src.as_mut_slice()[to] = *x;
            }
            for (pool, expected) in [(true, pooled(&relu, h, w)), (false, relu)] {
                let plan = Plan::new(shape, cout, pool);
                let scale = expected.iter().fold(1e-20f32, |most, x| most.max(x.abs()));
                let all = Isa::available().into_iter();
                for isa in all.filter(|isa| *isa != Isa::PORTABLE) {
                    let filters = WinogradFilters::new(isa, &weight, &bias);
                    let team = Team::alone();
                    let [mut one, mut other] = [(); 2].map(|()| Buffer::zeroed(plan.to.len() * n));
                    fused(&team, &filters, &plan, &src, &mut one, 0, n);
                    let target = Target::Act(&mut other, 0);
                    let mut work = Buffer::default();
                    phased(&team, &filters, &plan, &src, target, n, &mut work);
                    let found = one.as_slice();
                    assert_eq!(found, other.as_slice(), "{isa:?} {pool} case {case}");
                    let pixels = plan.to.h * plan.to.w;
                    for (i, expected) in expected.iter().enumerate() {
                        let at = i % pixels;
                        let place = i / (cout * pixels) * plan.to.len()
                            + plan.to.at(at / plan.to.w, at % plan.to.w)
                            + i / pixels % cout;
                        let error = (found[place] - expected).abs() / scale;
                        assert!(error < 1e-4, "{isa:?} {pool} case {case}: {error:e}");
                    }
                }
            }
        }
    }
}
