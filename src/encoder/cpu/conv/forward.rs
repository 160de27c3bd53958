//! A chain of convolutions on a CPU, forward: weights transformed once, any number of threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::act::{Act, Shape};
use super::chain::{BlockPlan, BlockShapes, BlockTensors, ChainPlan, turn_first};
use super::filters::WinogradFilters;
use super::first::{self, First};
use super::layer::{self, BLOCK, Plan, Target, TileBlock, with_scratch};
use super::winograd::Tile;
use crate::cpu::team::Team;
use voisin_simd::Isa;
use voisin_simd::buffer::{Buffer, SharedSlice};

/// Most tile columns of a strip of the first two convolutions.
const STRIP_TILES: usize = 14;

/// A chain of convolutions, prepared for one instruction set. Immutable after construction; any
/// number of threads may call [`forward`](Self::forward).
#[derive(Debug)]
pub struct FastChain {
    isa: Isa,
    plan: ChainPlan,
    /// Scale and shift of the image.
    input: (f32, f32),
    /// The first convolution's filters, `[9][out]`, and biases.
    first: (Vec<f32>, Vec<f32>),
    blocks: Vec<FastBlock>,
    idle: Mutex<Vec<ChainWorkspace>>,
}

/// A block, or the first two as one.
#[derive(Debug)]
struct FastBlock {
    kind: FastKind,
    plan: BlockPlan,
    shapes: BlockShapes,
}

#[derive(Debug)]
enum FastKind {
    /// The first two blocks, strip by strip, so that the first one's output is never stored.
    Pair(Strips, Plan, WinogradFilters),
    /// Transform, products and inverse as one step per few tiles.
    Fused(Plan, WinogradFilters),
    /// The three as steps over all tiles: for many filters, or few tiles.
    Phased(Plan, WinogradFilters),
}

/// The strips of the second convolution's tiles, each of which computes its own part of the first
/// one's output.
#[derive(Debug)]
struct Strips {
    strips: Vec<Strip>,
    /// The tiles with `src` relative to their strip.
    tiles: Vec<Tile>,
}

#[derive(Clone, Debug)]
struct Strip {
    tile_row: usize,
    columns: Range<usize>,
    /// Its tiles in `Strips::tiles`.
    tiles: Range<usize>,
}

#[derive(Debug)]
struct ChainWorkspace {
    /// Images with a border of zeros.
    image: Buffer,
    acts: Vec<Act>,
    /// V and M of the phased form.
    work: Buffer,
}

impl Strips {
    fn new(plan: &Plan) -> Self {
        let wide = plan.from.tiles_wide();
        let high = plan.from.tiles_high();
        let per_row = wide.div_ceil(STRIP_TILES);
        let mut strips = Vec::new();
        let mut tiles = Vec::new();
        for tile_row in 0..high {
            for i in 0..per_row {
                let columns = layer::part(wide, per_row, i);
                let first = tiles.len();
                for tile in &plan.tiles {
                    let row_bytes = 4 * plan.from.row();
                    let row = tile.src as usize / row_bytes;
                    let column = tile.src as usize % row_bytes / (4 * plan.from.c);
                    if row == tile_row && columns.contains(&column) {
                        tiles.push(Tile {
                            src: (4 * (column - columns.start) * plan.from.c) as u32,
                            ..*tile
                        });
                    }
                }
                if tiles.len() > first {
                    strips.push(Strip {
                        tile_row,
                        columns,
                        tiles: first..tiles.len(),
                    });
                }
            }
        }
        Self { strips, tiles }
    }
}

impl FastChain {
    /// - `input`: scale and shift of the image
    /// - `tensors`: of every block
    ///
    /// # Panics
    /// If the plan does not fit the tensors, or is invalid ([`ChainPlan`]).
    pub fn new(plan: ChainPlan, input: (f32, f32), tensors: &[BlockTensors], isa: Isa) -> Self {
        assert_eq!(tensors.len(), plan.blocks.len(), "tensors of every block");
        assert!(
            tensors.len() > 2,
            "the first two blocks are one, and the last is reduced"
        );
        let shapes = plan.shapes();
        let mut first = (vec![0.0; 9 * plan.blocks[0].out], tensors[0].bias.clone());
        turn_first(&tensors[0].weight, &mut first.0);
        let last = shapes.len() - 1;
        let mut blocks = Vec::with_capacity(last);
        // The first block is part of the second one.
        for i in 1..=last {
            let block = plan.blocks[i];
            let from = shapes[i].from;
            let BlockTensors { weight, bias, .. } = &tensors[i];
            let filters = WinogradFilters::new(isa, weight, bias);
            let convolution = Plan::new(from, block.out, block.is_pooled);
            let kind = if i == 1 {
                FastKind::Pair(Strips::new(&convolution), convolution, filters)
            } else if layer::is_small(&filters) && convolution.tiles.len() >= BLOCK && i < last {
                FastKind::Fused(convolution, filters)
            } else {
                FastKind::Phased(convolution, filters)
            };
            blocks.push(FastBlock {
                kind,
                plan: block,
                shapes: shapes[i],
            });
        }
        Self {
            isa,
            plan,
            input,
            first,
            blocks,
            idle: Mutex::default(),
        }
    }

    /// Length of an example's output: the last block's channels.
    pub fn dimension(&self) -> usize {
        self.blocks[self.blocks.len() - 1].shapes.a.c
    }

    /// Writes the results of `n` examples `[n][row][column]`, concatenated, to `out`. An example's
    /// result has the same bits in any batch and with any number of threads. Runs on rayon's
    /// current pool.
    ///
    /// # Panics
    /// If a slice is shorter than stated.
    pub fn forward(&self, x: &[f32], n: usize, out: &mut [f32]) {
        let cells = self.plan.input[0] * self.plan.input[1];
        let dimension = self.dimension();
        assert!(
            x.len() >= n * cells,
            "expected {n} examples of {cells} values, found {}",
            x.len()
        );
        assert!(
            out.len() >= n * dimension,
            "expected room for {n} results, found {}",
            out.len()
        );
        // Safe after a panic elsewhere: halos are never written, the rest is overwritten.
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut space = idle.unwrap_or_else(|| ChainWorkspace {
            image: Buffer::default(),
            acts: self
                .blocks
                .iter()
                .map(|block| Act::new(block.shapes.a, 0))
                .collect(),
            work: Buffer::default(),
        });
        let most = self.blocks[self.blocks.len() - 1].plan.together;
        let team = Team::pool();
        for start in (0..n).step_by(most) {
            let count = most.min(n - start);
            let x = &x[start * cells..(start + count) * cells];
            self.group(&team, x, count, &mut out[start * dimension..], &mut space);
        }
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(space);
    }

    /// Runs examples that share the last block's pass, with fewer per pass in the first blocks.
    fn group(&self, team: &Team, x: &[f32], n: usize, out: &mut [f32], space: &mut ChainWorkspace) {
        let cells = x.len() / n;
        let together = self.blocks[0].plan.together;
        // The first blocks have the largest activations: few examples at a time keep them in the
        // cache.
        let early = self
            .blocks
            .iter()
            .take_while(|block| block.plan.together == together)
            .count();
        let few = together.min(n);
        let [h, w] = self.plan.input;
        space.image.reserve(few * (h + 2) * (w + 2));
        // The last block's output is never stored.
        for (i, act) in space.acts[..self.blocks.len() - 1].iter_mut().enumerate() {
            act.reserve(if i + 1 < early { few } else { n });
        }
        for start in (0..n).step_by(few) {
            let count = few.min(n - start);
            self.take_images(
                // Early blocks reuse their buffers for each few examples; only the last of them
                // keeps all.
                &x[start * cells..(start + count) * cells],
                space.image.as_mut_slice(),
            );
            for i in 0..early {
                self.block(
                    i,
                    team,
                    if i + 1 == early { start } else { 0 },
                    count,
                    out,
                    space,
                );
            }
        }
        for i in early..self.blocks.len() {
            self.block(i, team, 0, n, out, space);
        }
    }

    /// The input's affine map, into images with a border of zeros (the convolution pads after it).
    fn take_images(&self, x: &[f32], image: &mut [f32]) {
        let [h, w] = self.plan.input;
        let (scale, shift) = self.input;
        for (x, image) in x
            .chunks_exact(h * w)
            .zip(image.chunks_exact_mut((h + 2) * (w + 2)))
        {
            for (row, to) in x
                .chunks_exact(w)
                .zip(image[w + 2..].chunks_exact_mut(w + 2))
            {
                for (x, y) in row.iter().zip(&mut to[1..=w]) {
                    *y = x * scale + shift;
                }
            }
        }
    }

    /// Block `i` of `n` examples, into its activations from example `at` on.
    fn block(
        &self,
        i: usize,
        team: &Team,
        at: usize,
        n: usize,
        out: &mut [f32],
        ChainWorkspace { image, acts, work }: &mut ChainWorkspace,
    ) {
        let block = &self.blocks[i];
        let (before, after) = acts.split_at_mut(i);
        let a = &mut after[0].buf;
        let (plan, filters) = match &block.kind {
            FastKind::Pair(strips, plan, filters) => {
                return self.first_pair(team, strips, plan, filters, image, a, at, n);
            }
            FastKind::Fused(plan, filters) | FastKind::Phased(plan, filters) => (plan, filters),
        };
        let src = &before[i - 1].buf;
        if i + 1 == self.blocks.len() {
            let target = Target::GlobalMax(&mut out[at * filters.n..][..n * filters.n]);
            return layer::phased(team, filters, plan, src, target, n, work);
        }
        if matches!(block.kind, FastKind::Fused(..)) {
            layer::fused(team, filters, plan, src, a, at, n);
        } else {
            layer::phased(team, filters, plan, src, Target::Act(a, at), n, work);
        }
    }

    fn first_pair(
        &self,
        team: &Team,
        strips: &Strips,
        plan: &Plan,
        filters: &WinogradFilters,
        image: &Buffer,
        a: &mut Buffer,
        at: usize,
        n: usize,
    ) {
        let target = a.share();
        let Shape { h, w, c } = plan.from;
        let wide = w + 2;
        let per_window = strips.strips.len();
        team.run(n * per_window, |task| {
            let window = task / per_window;
            let strip = &strips.strips[task % per_window];
            let block = TileBlock {
                filters,
                plan,
                tiles: &strips.tiles[strip.tiles.clone()],
            };
            let cols = 4 * strip.columns.len() + 2;
            with_scratch(6 * cols * c + block.scratch(), |scratch| {
                let (pixels, scratch) = scratch.split_at_mut(6 * cols * c);
                // Real pixels of the first convolution's output in the strip.
                let top = 4 * strip.tile_row;
                let left = 4 * strip.columns.start;
                let rows = usize::from(top == 0)..(h + 1 - top).min(6);
                let columns = usize::from(left == 0)..(w + 1 - left).min(cols);
                for (y, row) in pixels.chunks_exact_mut(cols * c).enumerate() {
                    let inside = if rows.contains(&y) {
                        columns.clone()
                    } else {
                        0..0
                    };
                    // The scratch holds the last strip's pixels.
                    row[..inside.start * c].fill(0.0);
                    row[inside.end * c..].fill(0.0);
                }
                let corner = (top + rows.start - 1) * wide + left + columns.start - 1;
                let first = First {
                    src: &image.as_slice()[window * (h + 2) * wide + corner..],
                    src_row: wide,
                    dst: SharedSlice::new(&mut pixels[(rows.start * cols + columns.start) * c..]),
                    dst_row: cols * c,
                    rows: rows.len(),
                    cols: columns.len(),
                    c,
                    weight: &self.first.0,
                    bias: &self.first.1,
                };
                let to = target.skip((at + window) * plan.to.len());
                // SAFETY: the scratch is this thread's; each task writes its own tiles of its
                // window.
                unsafe {
                    first::first(self.isa, &first);
                    block.run(pixels, cols * c, scratch, to);
                }
            });
        });
    }
}
