//! Training a chain of convolutions on a CPU: forward with train-mode batch norm, backward by hand.
//!
//! Convolutions are Winograd F(4×4, 3×3) in all three directions. Towards the input it is the same
//! kernel with flipped, transposed filters; towards the filters it is the transposed bilinear
//! algorithm, `dg = Gᵀ [ Σ_tiles (Bᵀ d B) ⊙ (A dy Aᵀ) ] G`. A tail that is a maximum makes its gradient sparse (one pixel
//! per channel), so its backward needs no convolution at all.
//!
//! A block without a batch norm is one whose norm scales by 1 and shifts by 0; the sum that would be the gradient of its
//! shift is that of the convolution's bias.

use std::ops::Range;

use rayon::prelude::*;

use super::act::{Act, Shape};
use super::chain::{BlockPlan, BlockTensors, ChainPlan, NormPlace, Tail, turn_first};
use super::filters::WinogradFilters;
use super::first;
use super::layer::{BLOCK, PaddedInput, Plan, convolve, phased_parts, with_scratch};
use super::norm_kernels::axpy;
use super::norm_pass::{NormPass, ROWS, Stats, first_convolution};
use super::sums::TaskSums;
use super::weight_grad::WeightGrad;
use super::winograd::Epilogue;
use crate::buffer::Buffer;
use crate::networks::team::Team;
use crate::{Isa, Precision};

/// Rows of the first convolution's gradient that are summed in f32, where the image has no batch norm.
const STRIP: usize = 16;

/// Where a block's tensors lie in the flat vectors.
#[derive(Clone, Debug)]
struct BlockRanges {
    weight: Range<usize>,
    bias: Range<usize>,
    /// γ and β.
    norm: Option<[Range<usize>; 2]>,
}

/// What dropout leaves of a block's outputs.
#[derive(Clone, Debug)]
pub struct BlockMask {
    /// Whether a number stays, `[n][row][column][channel]`.
    pub kept: Vec<bool>,
    /// What those that stay are multiplied by.
    pub factor: f32,
}

/// Gradients of a block's tensors.
#[derive(Clone, Copy, Debug)]
pub struct BlockGradients<'a> {
    /// `[out][in][3][3]`.
    pub weight: &'a [f32],
    /// `[out]`; zeros before a batch norm, which takes out any constant.
    pub bias: &'a [f32],
    /// Of γ and β.
    pub norm: Option<[&'a [f32]; 2]>,
}

#[derive(Debug)]
struct TrainBlock {
    plan: BlockPlan,
    ranges: BlockRanges,
    /// The first block's convolution is direct.
    forward: Option<(Plan, WinogradFilters)>,
    /// Towards the input; the first block's has no gradient, a maximum's is sparse.
    backward: Option<(Plan, WinogradFilters)>,
    /// Output of the convolution; what the block makes of it.
    y: Act,
    a: Act,
    /// Which of the chain's `dys` takes the gradient of `y`.
    dy: usize,
    stats: Stats,
    /// What the last dropout multiplied by.
    factor: Option<f32>,
}

impl TrainBlock {
    fn pass(&self) -> NormPass<'_> {
        self.stats.pass(self.plan.pool, &self.y, self.a.shape)
    }

    fn has_norm(&self) -> bool {
        self.plan.norm != NormPlace::Absent
    }

    /// Groups of examples, first and count.
    fn chunks(&self, n: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let size = self.plan.together;
        (0..n).step_by(size).map(move |first| (first, size.min(n - first)))
    }

    /// Batch norm, ReLU, pool and dropout.
    fn activate(&mut self, isa: Isa, first: usize, count: usize, mask: Option<&BlockMask>) {
        let shape = self.a.shape;
        let pass = self.stats.pass(self.plan.pool, &self.y, shape);
        pass.forward(isa, &Team::rayon(), &mut self.a.buf, first, first, count);
        let Some(BlockMask { kept, factor }) = mask else { return };
        let factor = *factor;
        let Shape { h, w, c } = shape;
        let windows = self.a.buf.as_mut_slice().par_chunks_exact_mut(shape.len());
        let kept = kept.par_chunks_exact(c * h * w);
        windows.zip(kept).skip(first).take(count).for_each(|(a, kept)| {
            let rows = a.par_chunks_exact_mut(shape.row()).skip(1).zip(kept.par_chunks_exact(w * c));
            rows.for_each(|(a, kept)| {
                for (a, kept) in a[c..].iter_mut().zip(kept) {
                    *a = only_if(*kept, *a * factor);
                }
            });
        });
    }
}

/// A chain of convolutions in training. [`forward`](Self::forward) keeps what [`backward`](Self::backward) needs, and
/// buffers are used again from step to step. The same bits whatever the number of threads. Runs on rayon's current pool.
#[derive(Debug)]
pub struct TrainChain {
    isa: Isa,
    plan: ChainPlan,
    /// Where γ and β of the image's batch norm lie, if it has one, and its statistics.
    input: Option<[Range<usize>; 2]>,
    input_stats: Stats,
    blocks: Vec<TrainBlock>,
    params: Vec<f32>,
    grads: Vec<f32>,
    /// The first convolution's filters, `[9][out]`.
    first_weight: Vec<f32>,
    n: usize,
    /// Images with a border of zeros, and before γ and β if they have a batch norm.
    image: Buffer,
    hat: Buffer,
    /// Gradients of outputs, a few examples at a time and one buffer per shape, and of what a block and the one before it
    /// make.
    dys: Vec<Act>,
    da: [Buffer; 2],
    /// Where each example's maximum lies: offset of the pixel in the last block's padded output.
    argmax: Vec<u32>,
    work: Buffer,
    sums: TaskSums,
    weight_grad: WeightGrad,
}

impl TrainChain {
    /// A chain of zeros.
    ///
    /// - `input_norm`: whether the image has a batch norm
    /// - `forward`, `backward`: precision of the products (bf16 counts as f32 where the processor lacks it). Parameters,
    ///   activations, batch norm and sums are always f32
    ///
    /// # Panics
    /// If the plan cannot be ([`ChainPlan`]), has pools other than 2 × 2 or batch norms behind ReLU.
    pub fn new(plan: ChainPlan, input_norm: bool, isa: Isa, forward: Precision, backward: Precision) -> Self {
        let mut len = 0;
        let mut add = |values: usize| {
            len += values;
            len - values..len
        };
        let input = input_norm.then(|| [add(1), add(1)]);
        let (mut blocks, mut dys) = (Vec::new(), Vec::<Act>::new());
        for (i, (block, shapes)) in plan.blocks.iter().zip(plan.shapes()).enumerate() {
            assert!(
                block.norm != NormPlace::AfterRelu && matches!(block.pool, [1, 1] | [2, 2]),
                "gradients know batch norms before ReLU and pools of 2 × 2"
            );
            let (c, cin) = (block.out, if i == 0 { 1 } else { shapes.from.c });
            let winograd = |from: Shape, c: usize, precision: Precision| {
                let filters = WinogradFilters::empty(isa, precision, from.c, c);
                (Plan::new(from, c, Epilogue::Linear), filters)
            };
            let is_bare = plan.is_bare(i);
            if !is_bare && dys.last().is_none_or(|last| last.shape != shapes.y) {
                dys.push(Act::new(shapes.y, 0));
            }
            let ranges = BlockRanges {
                weight: add(9 * cin * c),
                bias: add(c),
                norm: (block.norm != NormPlace::Absent).then(|| [add(c), add(c)]),
            };
            blocks.push(TrainBlock {
                plan: *block,
                ranges,
                forward: (i > 0).then(|| winograd(shapes.from, c, forward)),
                backward: (i > 0 && !is_bare).then(|| winograd(shapes.y, cin, backward)),
                y: Act::new(shapes.y, 0),
                a: Act::new(shapes.a, 0),
                dy: dys.len().saturating_sub(1),
                stats: Stats::identity(c),
                factor: None,
            });
        }
        Self {
            isa,
            input,
            input_stats: Stats::identity(1),
            blocks,
            params: vec![0.0; len],
            grads: vec![0.0; len],
            first_weight: vec![0.0; 9 * plan.blocks[0].out],
            plan,
            n: 0,
            image: Buffer::default(),
            hat: Buffer::default(),
            dys,
            da: [Buffer::default(), Buffer::default()],
            argmax: Vec::new(),
            work: Buffer::default(),
            sums: TaskSums::default(),
            weight_grad: WeightGrad::new(isa, backward),
        }
    }

    /// Takes over the tensors of all blocks, and of the image's batch norm.
    ///
    /// # Panics
    /// If there are more or fewer of them, or of other lengths.
    pub fn set(&mut self, input: Option<[&[f32]; 4]>, tensors: &[BlockTensors<'_>]) {
        assert_eq!(tensors.len(), self.blocks.len(), "tensors of every block");
        let params = &mut self.params;
        let norm = |stats: &mut Stats,
                    ranges: &Option<[Range<usize>; 2]>,
                    norm: Option<[&[f32]; 4]>,
                    params: &mut [f32]| {
            assert_eq!(ranges.is_some(), norm.is_some(), "tensors of every batch norm");
            let (Some([gamma, beta]), Some(norm)) = (ranges, norm) else { return };
            params[gamma.clone()].copy_from_slice(norm[0]);
            params[beta.clone()].copy_from_slice(norm[1]);
            stats.running_mean = norm[2].to_vec();
            stats.running_var = norm[3].to_vec();
        };
        norm(&mut self.input_stats, &self.input, input, params);
        for (block, tensors) in self.blocks.iter_mut().zip(tensors) {
            params[block.ranges.weight.clone()].copy_from_slice(tensors.weight);
            params[block.ranges.bias.clone()].copy_from_slice(tensors.bias);
            norm(&mut block.stats, &block.ranges.norm, tensors.norm, params);
        }
    }

    /// All trainable parameters, one after the other: γ and β of the image, then each block's weight, bias, γ and β.
    pub fn parameters(&self) -> &[f32] {
        &self.params
    }

    /// Gradients from the last [`backward`](Self::backward), laid out like the parameters.
    pub fn gradients(&self) -> &[f32] {
        &self.grads
    }

    /// The same, to be filled by who computes them elsewhere.
    pub(super) fn gradients_mut(&mut self) -> &mut [f32] {
        &mut self.grads
    }

    /// Parameters to change and gradients to read, for an optimiser.
    pub fn parameters_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.params, &self.grads)
    }

    /// Gradients of a block from the last [`backward`](Self::backward).
    pub fn block_gradients(&self, block: usize) -> BlockGradients<'_> {
        let BlockRanges { weight, bias, norm } = &self.blocks[block].ranges;
        let of = |range: &Range<usize>| &self.grads[range.clone()];
        BlockGradients {
            weight: of(weight),
            bias: of(bias),
            norm: norm.as_ref().map(|norm| norm.each_ref().map(of)),
        }
    }

    /// Statistics of the image's batch norm, or of a block's.
    pub(super) fn stats_mut(&mut self, block: Option<usize>) -> &mut Stats {
        match block {
            Some(block) => &mut self.blocks[block].stats,
            None => &mut self.input_stats,
        }
    }

    /// Running mean and variance of the image's batch norm, or of a block's, moved by the last [`forward`](Self::forward).
    pub fn running(&self, block: Option<usize>) -> [&[f32]; 2] {
        let stats = block.map_or(&self.input_stats, |block| &self.blocks[block].stats);
        [&stats.running_mean, &stats.running_var]
    }

    /// Transforms the filters of the parameters as they are now.
    fn refresh(&mut self) {
        turn_first(&self.params[self.blocks[0].ranges.weight.clone()], &mut self.first_weight);
        for block in &mut self.blocks {
            let weight = &self.params[block.ranges.weight.clone()];
            if let Some((_, filters)) = &mut block.forward {
                filters.set_forward(weight, &self.params[block.ranges.bias.clone()]);
            }
            if let Some((_, filters)) = &mut block.backward {
                filters.set_backward(weight);
            }
        }
    }

    fn reserve(&mut self, n: usize) {
        self.n = n;
        let image = n * (self.plan.input[0] + 2) * (self.plan.input[1] + 2);
        self.image.reserve(image);
        if self.input.is_some() {
            self.hat.reserve(image);
        }
        let mut longest = 0;
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.y.reserve(n);
            if self.plan.is_bare(i) {
                self.argmax.resize(n * block.plan.out, 0);
                continue;
            }
            block.a.reserve(n);
            self.dys[block.dy].reserve(n.min(block.plan.together));
            longest = longest.max(block.a.shape.len());
        }
        for da in &mut self.da {
            da.reserve(n * longest);
        }
    }

    /// What comes of `n` examples `[n][row][column]`, with batch statistics, which also move the running ones.
    ///
    /// - `mask`: what dropout leaves of `n` times so many numbers of a block
    ///
    /// # Panics
    /// If `x` is shorter than stated, a mask has another length, or `n` is 0.
    pub fn forward(
        &mut self,
        x: &[f32],
        n: usize,
        mask: &mut dyn FnMut(usize, usize) -> Option<BlockMask>,
    ) -> Vec<f32> {
        let [h, w] = self.plan.input;
        assert!(n > 0 && x.len() >= n * h * w, "expected {n} windows of {h} × {w}, found {}", x.len());
        self.reserve(n);
        self.refresh();
        self.take_images(&x[..n * h * w]);
        let mut mask_before = None;
        for i in 0..self.blocks.len() {
            let shape = self.blocks[i].a.shape;
            let cells = n * shape.c * shape.h * shape.w;
            let mask = if self.plan.is_bare(i) { None } else { mask(i, cells) };
            assert!(mask.as_ref().is_none_or(|mask| mask.kept.len() == cells), "one of every number");
            self.blocks[i].factor = mask.as_ref().map(|mask| mask.factor);
            self.convolve(i, mask_before.as_ref(), mask.as_ref());
            mask_before = mask;
            let block = &mut self.blocks[i];
            if let Some(norm) = &block.ranges.norm {
                let count = (n * block.y.shape.h * block.y.shape.w) as f64;
                let [gamma, beta] = norm.each_ref().map(|range| &self.params[range.clone()]);
                block.stats.set(self.sums.totals(), count, [gamma, beta], self.plan.epsilon);
            }
        }
        let (isa, last) = (self.isa, self.blocks.len() - 1);
        if self.plan.tail == Tail::Maximum {
            return self.global_max();
        }
        if self.blocks[last].has_norm() {
            self.blocks[last].activate(isa, 0, n, mask_before.as_ref());
        }
        self.result()
    }

    /// The images with a border of zeros, by their batch norm if they have one.
    fn take_images(&mut self, x: &[f32]) {
        let [h, w] = self.plan.input;
        let padded = (h + 2) * (w + 2);
        let images = self.image.as_mut_slice().par_chunks_exact_mut(padded);
        let Some(norm) = &self.input else {
            x.par_chunks_exact(h * w).zip(images).for_each(|(x, image)| {
                for (row, x) in x.chunks_exact(w).enumerate() {
                    image[(row + 1) * (w + 2) + 1..][..w].copy_from_slice(x);
                }
            });
            return;
        };
        let parts: Vec<(f64, f64)> = x
            .par_chunks(h * w)
            .map(|window| {
                window.iter().fold((0.0, 0.0), |(s, q), &x| {
                    let x = f64::from(x);
                    (s + x, q + x * x)
                })
            })
            .collect();
        let (sum, square) = parts.iter().fold((0.0, 0.0), |(s, q), p| (s + p.0, q + p.1));
        let norm = norm.each_ref().map(|range| &self.params[range.clone()]);
        let stats = &mut self.input_stats;
        stats.set((vec![sum], vec![square]), x.len() as f64, norm, self.plan.epsilon);
        let (mean, inv_std, [gamma, beta]) = (stats.mean[0], stats.inv_std[0], norm.map(|values| values[0]));
        let hats = self.hat.as_mut_slice().par_chunks_exact_mut(padded);
        x.par_chunks_exact(h * w).zip(hats.zip(images)).for_each(|(x, (hat, image))| {
            for (y, row) in x.chunks_exact(w).enumerate() {
                let at = (y + 1) * (w + 2) + 1;
                for (x, value) in row.iter().enumerate() {
                    let normal = (value - mean) * inv_std;
                    hat[at + x] = normal;
                    image[at + x] = normal * gamma + beta;
                }
            }
        });
    }

    /// Convolution `i` of all examples, with its sums where the block has a batch norm; else with all of the block. What the
    /// block before it has left to do goes along.
    fn convolve(&mut self, i: usize, mask_before: Option<&BlockMask>, mask: Option<&BlockMask>) {
        self.sums.clear();
        let (isa, n, is_bare) = (self.isa, self.n, self.plan.is_bare(i));
        let (before, after) = self.blocks.split_at_mut(i);
        let block = &mut after[0];
        let has_norm = block.has_norm();
        if has_norm {
            let tasks = block.forward.as_ref().map_or(block.y.shape.h.div_ceil(ROWS), |(plan, _)| {
                plan.tiles.len().div_ceil(BLOCK).max(phased_parts(plan))
            });
            self.sums.room(n * tasks, block.plan.out);
        }
        for (first, count) in block.chunks(n) {
            let sums = has_norm.then_some(&mut self.sums);
            if let (Some((plan, filters)), Some(before)) = (&block.forward, before.last_mut()) {
                if before.has_norm() {
                    before.activate(isa, first, count, mask_before);
                }
                let src = PaddedInput { buf: &before.a.buf, first };
                convolve(filters, plan, src, &mut block.y.buf, first, count, &mut self.work, sums);
            } else {
                let bias = &self.params[block.ranges.bias.clone()];
                let filters = (self.first_weight.as_slice(), bias);
                let image = self.image.as_slice();
                first_convolution(isa, image, &mut block.y, filters, first, count, sums);
            }
            if !has_norm && !is_bare {
                block.activate(isa, first, count, mask);
            }
        }
    }

    fn global_max(&mut self) -> Vec<f32> {
        let y = &self.blocks[self.blocks.len() - 1].y;
        let (shape, c) = (y.shape, y.shape.c);
        let mut out = vec![f32::NEG_INFINITY; self.n * c];
        let windows = y.buf.as_slice().par_chunks_exact(shape.len());
        let found = out.par_chunks_exact_mut(c).zip(self.argmax.par_chunks_exact_mut(c));
        windows.zip(found).for_each(|(y, (out, argmax))| {
            for r in 0..shape.h {
                for x in 0..shape.w {
                    let at = shape.at(r, x);
                    for ((&z, best), arg) in y[at..at + c].iter().zip(&mut *out).zip(&mut *argmax) {
                        if z > *best {
                            *best = z;
                            *arg = at as u32;
                        }
                    }
                }
            }
        });
        out
    }

    /// `[n][channel][row][column]`.
    fn result(&self) -> Vec<f32> {
        let last = &self.blocks[self.blocks.len() - 1].a;
        let (shape, Shape { h, w, c }) = (last.shape, last.shape);
        let mut out = vec![0.0; self.n * c * h * w];
        let windows = last.buf.as_slice().par_chunks_exact(shape.len());
        out.par_chunks_exact_mut(c * h * w).zip(windows).for_each(|(out, a)| {
            for (at, out) in out.iter_mut().enumerate() {
                *out = a[shape.plane(at)];
            }
        });
        out
    }

    /// Gradients of all parameters from that of what the last [`forward`](Self::forward) returned; read them with
    /// [`gradients`](Self::gradients).
    ///
    /// # Panics
    /// If `d` has another length than that.
    pub fn backward(&mut self, d: &[f32]) {
        let [c, h, w] = self.plan.output();
        assert_eq!(d.len(), self.n * c * h * w, "one gradient of every number");
        let n = self.n;
        let mut last = self.blocks.len() - 1;
        if self.plan.tail == Tail::Maximum {
            self.maximum_backward(d);
            last -= 1;
        } else {
            let shape = self.blocks[last].a.shape;
            let windows = self.da[0].as_mut_slice().par_chunks_exact_mut(shape.len());
            d.par_chunks_exact(c * h * w).zip(windows).for_each(|(d, da)| {
                for (at, d) in d.iter().enumerate() {
                    da[shape.plane(at)] = *d;
                }
            });
        }
        self.sums.clear();
        // The gradient of what block i makes lies in da[side].
        let mut side = 0;
        self.norm_sums(last, 0, n, side);
        let mut first_parts = Vec::new();
        for i in (0..=last).rev() {
            self.finish_norm_sums(i);
            self.sums.clear();
            for (first, count) in self.blocks[i].chunks(n) {
                let block = &self.blocks[i];
                let dy = &mut self.dys[block.dy];
                block.pass().backward(self.isa, self.da[side].as_slice(), &mut dy.buf, first, count);
                let (Some((forward, _)), Some((plan, filters))) = (&block.forward, &block.backward) else {
                    self.first_backward(first, count, &mut first_parts);
                    continue;
                };
                let dy = PaddedInput { buf: &dy.buf, first: 0 };
                let a = PaddedInput { buf: &self.blocks[i - 1].a.buf, first };
                self.weight_grad.add(forward, a, dy, count);
                convolve(filters, plan, dy, &mut self.da[1 - side], first, count, &mut self.work, None);
                self.norm_sums(i - 1, first, count, 1 - side);
            }
            let block = &self.blocks[i];
            if let Some((forward, _)) = &block.forward {
                self.weight_grad.finish(forward, &mut self.grads[block.ranges.weight.clone()]);
            }
            side = 1 - side;
        }
        self.finish_first(&first_parts);
    }

    /// The last block's maximum: its gradient is one pixel per example and channel.
    fn maximum_backward(&mut self, d: &[f32]) {
        let (n, isa) = (self.n, self.isa);
        let [.., before, last] = &self.blocks[..] else { unreachable!("a maximum stands behind a block") };
        let (shape, y) = (before.a.shape, last.y.shape);
        let (cin, cout) = (shape.c, y.c);
        for (o, bias) in self.grads[last.ranges.bias.clone()].iter_mut().enumerate() {
            *bias = (0..n).map(|window| d[window * cout + o]).sum();
        }
        // A pixel's offset in the padded output → the corner of its 3×3 patch in the padded input.
        let corner = |offset: u32| {
            let (row, col) = (offset as usize / y.row(), offset as usize % y.row() / cout);
            (row - 1) * shape.row() + (col - 1) * cin
        };
        let a = before.a.buf.as_slice();
        let argmax = &self.argmax;
        let grads = &mut self.grads[last.ranges.weight.clone()];
        grads.par_chunks_exact_mut(cin * 9).enumerate().for_each(|(o, grad)| {
            with_scratch(9 * cin, |taps| {
                taps.fill(0.0);
                for window in 0..n {
                    let at = corner(argmax[window * cout + o]);
                    for (tap, taps) in taps.chunks_exact_mut(cin).enumerate() {
                        let patch = window * shape.len() + at + tap / 3 * shape.row() + tap % 3 * cin;
                        axpy(isa, d[window * cout + o], &a[patch..patch + cin], taps);
                    }
                }
                for (i, value) in grad.iter_mut().enumerate() {
                    *value = taps[i % 9 * cin + i / 9];
                }
            });
        });
        // Filters as [out][tap][in], then scattered to each maximum's patch.
        self.work.reserve(cout * 9 * cin);
        let weight = &self.params[last.ranges.weight.clone()];
        let turned = &mut self.work.as_mut_slice()[..cout * 9 * cin];
        turned.par_chunks_exact_mut(9 * cin).zip(weight.par_chunks_exact(9 * cin)).for_each(|(to, from)| {
            for (i, value) in from.iter().enumerate() {
                to[i % 9 * cin + i / 9] = *value;
            }
        });
        let turned = &*turned;
        let da = &mut self.da[0].as_mut_slice()[..n * shape.len()];
        da.par_chunks_exact_mut(shape.len()).with_max_len(1).enumerate().for_each(|(window, da)| {
            da.fill(0.0);
            for (o, filter) in turned.chunks_exact(9 * cin).enumerate() {
                let at = corner(argmax[window * cout + o]);
                for (tap, filter) in filter.chunks_exact(cin).enumerate() {
                    let patch = at + tap / 3 * shape.row() + tap % 3 * cin;
                    axpy(isa, d[window * cout + o], filter, &mut da[patch..patch + cin]);
                }
            }
        });
    }

    /// What the norm of block `i` needs to know of all examples, from the gradient of what the block makes; that one goes
    /// through dropout first.
    fn norm_sums(&mut self, i: usize, first: usize, count: usize, side: usize) {
        let block = &self.blocks[i];
        let da = &mut self.da[side];
        if let Some(factor) = block.factor {
            let len = block.a.shape.len();
            let range = first * len..(first + count) * len;
            let a = &block.a.buf.as_slice()[range.clone()];
            // What was dropped is zero; so is what the ReLU held back, which has no gradient either.
            da.as_mut_slice()[range].par_chunks_mut(1 << 14).zip(a.par_chunks(1 << 14)).for_each(
                |(da, a)| {
                    for (da, a) in da.iter_mut().zip(a) {
                        *da = only_if(*a > 0.0, *da * factor);
                    }
                },
            );
        }
        block.pass().sums(self.isa, da.as_slice(), first, count, self.n, &mut self.sums);
    }

    /// Gradients of bias, γ and β from their sums, and what the norm's backward subtracts.
    fn finish_norm_sums(&mut self, i: usize) {
        let TrainBlock { ranges, stats, y, .. } = &mut self.blocks[i];
        let (s1, s2) = self.sums.totals();
        let count = (self.n * y.shape.h * y.shape.w) as f64;
        let Some([gamma, beta]) = &ranges.norm else {
            for (bias, s1) in self.grads[ranges.bias.clone()].iter_mut().zip(s1) {
                *bias = s1 as f32;
            }
            return;
        };
        for ch in 0..y.shape.c {
            let (scale, inv_std) = (f64::from(stats.scale[ch]), f64::from(stats.inv_std[ch]));
            let xhat = s2[ch] * inv_std;
            self.grads[gamma.start + ch] = xhat as f32;
            self.grads[beta.start + ch] = s1[ch] as f32;
            stats.c0[ch] = (scale * s1[ch] / count) as f32;
            stats.c1[ch] = (scale * inv_std * xhat / count) as f32;
        }
        // Batch norm takes out any constant, so a bias before it has no gradient.
        self.grads[ranges.bias.clone()].fill(0.0);
    }

    /// Adds the parts of the first convolution's gradient, `[9][out]` of each strip of rows; for an image with a batch norm,
    /// of each example as it is normalised and of ones in its place.
    fn first_backward(&self, first: usize, count: usize, parts: &mut Vec<f32>) {
        let (isa, [h, w]) = (self.isa, self.plan.input);
        let block = &self.blocks[0];
        let (shape, dy) = (block.y.shape, self.dys[block.dy].buf.as_slice());
        let padded = (h + 2) * (w + 2);
        let mut ones = vec![0.0f32; padded];
        for row in ones[w + 2..padded - w - 2].chunks_exact_mut(w + 2) {
            row[1..=w].fill(1.0);
        }
        let (rows, kinds, images) =
            if self.input.is_some() { (h, 2, &self.hat) } else { (STRIP, 1, &self.image) };
        let (strips, len) = (h.div_ceil(rows), 9 * shape.c);
        let start = parts.len();
        parts.resize(start + count * strips * kinds * len, 0.0);
        parts[start..].par_chunks_exact_mut(len).with_max_len(1).enumerate().for_each(|(task, part)| {
            let (window, top) = (task / kinds / strips, task / kinds % strips * rows);
            let image = &images.as_slice()[(first + window) * padded..];
            let image = if task % kinds == 1 { &ones } else { image };
            for y in top..h.min(top + rows) {
                let dy = &dy[window * shape.len() + shape.at(y, 0)..];
                first::first_grad(isa, dy, w, &image[y * (w + 2)..], w + 2, part);
            }
        });
    }

    /// Gradients of the first convolution and of the image's batch norm, from all parts.
    fn finish_first(&mut self, parts: &[f32]) {
        let c = self.plan.blocks[0].out;
        let mut totals = vec![0.0f64; if self.input.is_some() { 18 * c } else { 9 * c }];
        for part in parts.chunks_exact(totals.len()) {
            for (total, value) in totals.iter_mut().zip(part) {
                *total += f64::from(*value);
            }
        }
        let start = self.blocks[0].ranges.weight.start;
        let input = self.input.as_ref().map(|norm| norm.each_ref().map(|range| range.start));
        let (mut dg, mut db) = (0.0, 0.0);
        for at in 0..9 * c {
            let turned = at % 9 * c + at / 9;
            let p = totals[turned];
            self.grads[start + at] = if let Some([gamma, beta]) = input {
                let q = totals[9 * c + turned];
                dg += f64::from(self.params[start + at]) * p;
                db += f64::from(self.params[start + at]) * q;
                (f64::from(self.params[gamma]) * p + f64::from(self.params[beta]) * q) as f32
            } else {
                p as f32
            };
        }
        if let Some([gamma, beta]) = input {
            self.grads[gamma] = dg as f32;
            self.grads[beta] = db as f32;
        }
    }
}

/// The number or 0, without a branch: in a loop, many at once.
fn only_if(condition: bool, number: f32) -> f32 {
    f32::from_bits(number.to_bits() & 0u32.wrapping_sub(u32::from(condition)))
}
