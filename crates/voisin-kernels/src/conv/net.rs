//! The whole OpenL3 network on a CPU, forward.

use std::ops::Range;
use std::sync::Mutex;

use super::act::{Act, Shape};
use super::filters::WinogradFilters;
use super::first::{self, First};
use super::layer::{self, PaddedInput, Plan, Target, TileBlock, with_scratch};
use super::weights::{OpenL3Weights, is_pooled};
use super::winograd::{Epilogue, Tile};
use crate::buffer::{Buffer, SharedSlice};
use crate::team::{Team, with_team};
use crate::{Isa, Precision};

/// Mel bands of a window.
pub const MELS: usize = 128;
/// Frames of a window.
pub const FRAMES: usize = 199;
/// Values of a window's mel spectrogram.
pub const WINDOW: usize = MELS * FRAMES;

/// Windows that go through the deep layers together, so that their filters are read once for all.
const GROUP: usize = 8;
/// Windows that go through the early layers together.
const SUB: usize = 2;

/// OpenL3 mel128 on a CPU, in f32: batch norm folded, Winograd convolutions with fused bias, ReLU and
/// pooling. Immutable after construction; any number of threads may call [`FastOpenL3::forward`].
#[derive(Debug)]
pub struct FastOpenL3 {
    isa: Isa,
    /// Input batch norm as an affine map.
    scale: f32,
    shift: f32,
    /// First convolution, `[9][c]` and `[c]`.
    first_weight: Vec<f32>,
    first_bias: Vec<f32>,
    strips: Strips,
    filters: Vec<WinogradFilters>,
    plans: Vec<Plan>,
    pool: Mutex<Vec<Workspace>>,
}

/// How the second layer's tiles are cut into strips, each of which computes its own part of the
/// first layer (so that the first layer's output is never stored).
#[derive(Debug)]
struct Strips {
    strips: Vec<Strip>,
    /// The second layer's tiles with `src` relative to their strip.
    tiles: Vec<Tile>,
}

#[derive(Clone, Debug)]
struct Strip {
    tile_row: usize,
    /// Tile columns.
    columns: Range<usize>,
    /// Its tiles in `Strips::tiles`.
    tiles: Range<usize>,
}

#[derive(Debug)]
struct Workspace {
    /// Normalised mel spectrograms with a border of zeros.
    image: Buffer,
    /// Outputs of layers 2 to 7.
    acts: Vec<Act>,
    /// V and M of the phased layers.
    work: Buffer,
}

impl Strips {
    fn new(plan: &Plan, longest: usize) -> Self {
        let (wide, high) = (plan.from.tiles_wide(), plan.from.tiles_high());
        let per_row = wide.div_ceil(longest);
        let (mut strips, mut tiles) = (Vec::new(), Vec::new());
        for tile_row in 0..high {
            for i in 0..per_row {
                let columns = layer::part(wide, per_row, i);
                let cols = 4 * columns.len() + 2;
                let first = tiles.len();
                for tile in &plan.tiles {
                    let (row, column) = (
                        tile.src as usize / (4 * plan.from.row()),
                        tile.src as usize % (4 * plan.from.row()) / (4 * plan.from.c),
                    );
                    if row == tile_row && columns.contains(&column) {
                        debug_assert!(cols >= 6);
                        tiles
                            .push(Tile { src: (4 * (column - columns.start) * plan.from.c) as u32, ..*tile });
                    }
                }
                if tiles.len() > first {
                    strips.push(Strip { tile_row, columns, tiles: first..tiles.len() });
                }
            }
        }
        Self { strips, tiles }
    }
}

impl FastOpenL3 {
    /// Folds and transforms `weights`, for products in a given precision (f32 where `isa` has no other).
    pub fn new(weights: &OpenL3Weights, isa: Isa, precision: Precision) -> Self {
        let (scale, shift) = weights.input_norm.affine();
        let folded: Vec<_> = weights
            .convs
            .iter()
            .enumerate()
            .map(|(i, conv)| weights.norms.get(i).map_or_else(|| conv.clone(), |norm| conv.folded(norm)))
            .collect();
        let c = folded[0].cout;
        let mut first_weight = vec![0.0; 9 * c];
        for o in 0..c {
            for tap in 0..9 {
                first_weight[tap * c + o] = folded[0].weight[o * 9 + tap];
            }
        }
        let mut plans: Vec<Plan> = Vec::with_capacity(7);
        let mut shape = Shape { h: MELS, w: FRAMES, c };
        for (i, conv) in folded.iter().enumerate().skip(1) {
            let epilogue = match i {
                i if is_pooled(i) => Epilogue::ReluPool,
                7 => Epilogue::Linear,
                _ => Epilogue::Relu,
            };
            let plan = Plan::new(shape, conv.cout, epilogue);
            shape = plan.to;
            plans.push(plan);
        }
        let filters = folded[1..]
            .iter()
            .map(|conv| WinogradFilters::new(isa, precision, &conv.weight, &conv.bias, conv.cin, conv.cout))
            .collect();
        Self {
            isa,
            scale: scale[0],
            shift: shift[0],
            first_weight,
            first_bias: folded[0].bias.clone(),
            strips: Strips::new(&plans[0], 14),
            filters,
            plans,
            pool: Mutex::new(Vec::new()),
        }
    }

    /// The instruction set that the kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The precision of the products.
    pub fn precision(&self) -> Precision {
        if self.filters.iter().any(|f| f.half) { Precision::Bf16 } else { Precision::F32 }
    }

    /// Length of a window's embedding (512 for OpenL3).
    pub fn dimension(&self) -> usize {
        self.filters.last().map_or(0, |f| f.n)
    }

    /// Embeds `n` windows. `mels` holds n · 128 · 199 values (dB, `[window][mel][frame]`); `out` takes
    /// n · [`dimension`](Self::dimension). A window's result is the same bits whatever the batch and
    /// the number of threads. Runs on rayon's current pool.
    ///
    /// # Panics
    /// If a slice is shorter than stated.
    pub fn forward(&self, mels: &[f32], n: usize, out: &mut [f32]) {
        let dimension = self.dimension();
        assert!(mels.len() >= n * WINDOW, "expected {n} windows of {WINDOW} values, found {}", mels.len());
        assert!(out.len() >= n * dimension, "expected room for {n} embeddings, found {}", out.len());
        let pooled = self.pool.lock().ok().and_then(|mut pool| pool.pop());
        let mut work = pooled.unwrap_or_else(|| self.workspace());
        with_team(|team| {
            for start in (0..n).step_by(GROUP) {
                let count = GROUP.min(n - start);
                let mels = &mels[start * WINDOW..(start + count) * WINDOW];
                let out = &mut out[start * dimension..(start + count) * dimension];
                self.group(team, mels, count, out, &mut work);
            }
        });
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(work);
        }
    }

    fn workspace(&self) -> Workspace {
        let acts = self.plans[..6].iter().map(|plan| Act::new(plan.to, 0)).collect();
        Workspace { image: Buffer::default(), acts, work: Buffer::default() }
    }

    /// At most [`GROUP`] windows through the whole network.
    fn group(&self, team: &Team, mels: &[f32], n: usize, out: &mut [f32], space: &mut Workspace) {
        let Workspace { image, acts, work } = space;
        let image_len = (MELS + 2) * (FRAMES + 2);
        image.reserve(n.min(SUB) * image_len);
        for (i, act) in acts.iter_mut().enumerate() {
            act.reserve(if i < 4 { n.min(SUB) } else { n });
        }
        for start in (0..n).step_by(SUB) {
            let count = SUB.min(n - start);
            self.normalise(&mels[start * WINDOW..(start + count) * WINDOW], image.as_mut_slice());
            self.first_pair(team, image, &mut acts[0].buf, count);
            for i in 1..5 {
                let (before, after) = acts.split_at_mut(i);
                let (src, dst) = (&before[i - 1].buf, &mut after[0].buf);
                if i < 3 {
                    let src = PaddedInput { buf: src, first: 0 };
                    layer::fused(team, &self.filters[i], &self.plans[i], src, dst, 0, count, None);
                } else {
                    let at = if i == 4 { start } else { 0 };
                    let target = Target::Act(dst, at);
                    let src = PaddedInput { buf: src, first: 0 };
                    layer::phased(team, &self.filters[i], &self.plans[i], src, target, count, work, None);
                }
            }
        }
        let (before, after) = acts.split_at_mut(5);
        let target = Target::Act(&mut after[0].buf, 0);
        layer::phased(
            team,
            &self.filters[5],
            &self.plans[5],
            PaddedInput { buf: &before[4].buf, first: 0 },
            target,
            n,
            work,
            None,
        );
        layer::phased(
            team,
            &self.filters[6],
            &self.plans[6],
            PaddedInput { buf: &after[0].buf, first: 0 },
            Target::GlobalMax(out),
            n,
            work,
            None,
        );
    }

    /// The input batch norm, into images with a border of zeros (the convolution pads after it).
    fn normalise(&self, mels: &[f32], image: &mut [f32]) {
        let wide = FRAMES + 2;
        for (window, image) in mels.chunks_exact(WINDOW).zip(image.chunks_exact_mut((MELS + 2) * wide)) {
            for (row, to) in window.chunks_exact(FRAMES).zip(image[wide..].chunks_exact_mut(wide)) {
                for (x, y) in row.iter().zip(&mut to[1..=FRAMES]) {
                    *y = x * self.scale + self.shift;
                }
            }
        }
    }

    /// The first two layers, strip by strip.
    fn first_pair(&self, team: &Team, image: &Buffer, dst: &mut Buffer, n: usize) {
        let (filters, plan) = (&self.filters[0], &self.plans[0]);
        let strips = &self.strips.strips;
        let target = dst.share();
        let c = plan.from.c;
        team.run(n * strips.len(), |task| {
            let (window, strip) = (task / strips.len(), &strips[task % strips.len()]);
            let block = TileBlock { filters, plan, tiles: &self.strips.tiles[strip.tiles.clone()] };
            let cols = 4 * strip.columns.len() + 2;
            with_scratch(6 * cols * c + block.scratch(), |scratch| {
                let (pixels, scratch) = scratch.split_at_mut(6 * cols * c);
                // Real pixels of the first layer's output that the strip sees.
                let (top, left) = (4 * strip.tile_row, 4 * strip.columns.start);
                let rows = usize::from(top == 0)..(plan.from.h + 1 - top).min(6);
                let columns = usize::from(left == 0)..(plan.from.w + 1 - left).min(cols);
                for (y, row) in pixels.chunks_exact_mut(cols * c).enumerate() {
                    if rows.contains(&y) {
                        row[..columns.start * c].fill(0.0);
                        row[columns.end * c..].fill(0.0);
                    } else {
                        row.fill(0.0);
                    }
                }
                let wide = FRAMES + 2;
                let corner = (top + rows.start - 1) * wide + left + columns.start - 1;
                let first = First {
                    src: &image.as_slice()[window * (MELS + 2) * wide + corner..],
                    src_row: wide,
                    dst: SharedSlice::new(&mut pixels[(rows.start * cols + columns.start) * c..]),
                    dst_row: cols * c,
                    rows: rows.len(),
                    cols: columns.len(),
                    c,
                    weight: &self.first_weight,
                    bias: &self.first_bias,
                    relu: true,
                };
                // SAFETY: the scratch is this thread's; each task writes its own tiles of its window.
                unsafe {
                    first::first(self.isa, &first);
                    block.run(pixels, cols * c, scratch, target.skip(window * plan.to.len()));
                }
            });
        });
    }
}
