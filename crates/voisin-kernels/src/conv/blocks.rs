//! Blocks "3×3 convolution, batch norm or none, ReLU, 2×2 maximum pool or none, dropout or none", one after the other,
//! in training: what a genre network of the laboratory begins with.
//!
//! The pieces are those that train OpenL3 ([`super::train`]). A block without a batch norm is one whose norm scales by 1
//! and shifts by 0; the sum that would be the gradient of its shift is that of the convolution's bias.

use rayon::prelude::*;

use super::act::{Act, Shape};
use super::chain::{BlockPlan, BlockTensors, NormPlace, turn_first};
use super::filters::WinogradFilters;
use super::first;
use super::layer::{BLOCK, PaddedInput, Plan, convolve, phased_parts};
use super::norm_pass::ROWS;
use super::sums::TaskSums;
use super::train::first_convolution;
use super::train_steps::{Stats, set_stats};
use super::weight_grad::WeightGrad;
use super::winograd::Epilogue;
use crate::buffer::Buffer;
use crate::team::Team;
use crate::{Isa, Precision};

/// Rows of the first convolution's gradient that are summed in f32.
const STRIP: usize = 16;

/// Gradients of a block's tensors.
#[derive(Clone, Debug)]
pub struct BlockGradients {
    /// `[out][in][3][3]`.
    pub weight: Vec<f32>,
    /// `[out]`; zeros before a batch norm, which takes out any constant.
    pub bias: Vec<f32>,
    /// Of γ and β.
    pub norm: Option<[Vec<f32>; 2]>,
}

/// What dropout leaves of a block's outputs.
#[derive(Clone, Debug)]
pub struct BlockMask {
    /// Whether a number stays, `[n][row][column][channel]`.
    pub kept: Vec<bool>,
    /// What those that stay are multiplied by.
    pub factor: f32,
}

#[derive(Debug)]
struct ConvBlock {
    plan: BlockPlan,
    /// Towards the output, and towards the input; the first block's convolution is direct and has no gradient of its input.
    winograd: Option<[(Plan, WinogradFilters); 2]>,
    /// Output of the convolution; what the block makes of it.
    y: Act,
    a: Act,
    /// The gradient of `y`, a few examples at a time.
    dy: Act,
    stats: Stats,
    /// What the last dropout multiplied by.
    factor: Option<f32>,
}

/// Blocks from an image of one channel on. [`forward`](Self::forward) keeps what [`backward`](Self::backward) needs, and
/// buffers are used again from step to step. The same bits whatever the number of threads. Runs on rayon's current pool.
#[derive(Debug)]
pub struct ConvBlocks {
    isa: Isa,
    /// Rows and columns of the image.
    input: [usize; 2],
    epsilon: f64,
    blocks: Vec<ConvBlock>,
    /// The first convolution's filters, `[9][out]`, and bias.
    first: (Vec<f32>, Vec<f32>),
    /// Images with a border of zeros.
    image: Buffer,
    n: usize,
    /// Gradients of what a block makes, and of what the one before it makes.
    da: [Buffer; 2],
    work: Buffer,
    sums: TaskSums,
    weight_grad: WeightGrad,
}

impl ConvBlocks {
    /// Blocks for images of so many rows and columns.
    ///
    /// - `epsilon`: added to a variance before its root
    /// - returns: `None` without a block
    ///
    /// # Panics
    /// If channels are no multiple of 16, or nothing is left of an image.
    pub fn new(plans: &[BlockPlan], input: [usize; 2], epsilon: f64, isa: Isa) -> Option<Self> {
        let mut blocks = Vec::new();
        let mut shape = Shape { h: input[0], w: input[1], c: plans.first()?.out };
        for (at, plan) in plans.iter().enumerate() {
            let from = shape;
            shape.c = plan.out;
            assert!(
                shape.h * shape.w > 0 && shape.c > 0 && shape.c.is_multiple_of(16),
                "whole registers of channels"
            );
            let filters = |k, n| WinogradFilters::empty(isa, Precision::F32, k, n);
            let winograd = (at > 0).then(|| {
                let plans =
                    [Plan::new(from, shape.c, Epilogue::Linear), Plan::new(shape, from.c, Epilogue::Linear)];
                let [forward, backward] = plans;
                [(forward, filters(from.c, shape.c)), (backward, filters(shape.c, from.c))]
            });
            let y = shape;
            if plan.pool == [2, 2] {
                shape = y.pooled(y.c);
            }
            let [y, a, dy] = [y, shape, y].map(|shape| Act::new(shape, 0));
            blocks.push(ConvBlock { plan: *plan, winograd, y, a, dy, stats: Stats::default(), factor: None });
        }
        Some(Self {
            isa,
            input,
            epsilon,
            blocks,
            first: (vec![0.0; 9 * plans[0].out], Vec::new()),
            image: Buffer::default(),
            n: 0,
            da: [Buffer::default(), Buffer::default()],
            work: Buffer::default(),
            sums: TaskSums::default(),
            weight_grad: WeightGrad::new(isa, Precision::F32),
        })
    }

    /// Channels, rows and columns of what the last block makes.
    pub fn output(&self) -> [usize; 3] {
        let shape = self.blocks.last().expect("there is a block").a.shape;
        [shape.c, shape.h, shape.w]
    }

    /// Takes over the tensors of all blocks, for the passes that follow.
    ///
    /// # Panics
    /// If there are more or fewer of them, or of other lengths.
    pub fn set(&mut self, tensors: &[BlockTensors<'_>]) {
        assert_eq!(tensors.len(), self.blocks.len(), "tensors of every block");
        let mut cin = 1;
        for (block, tensors) in self.blocks.iter_mut().zip(tensors) {
            let c = block.plan.out;
            assert_eq!(
                (tensors.weight.len(), tensors.bias.len()),
                (9 * cin * c, c),
                "a filter bank and its biases"
            );
            let weight = tensors.weight;
            if let Some([(_, forward), (_, backward)]) = &mut block.winograd {
                forward.set_forward(weight, tensors.bias);
                backward.set_backward(weight);
            } else {
                turn_first(weight, &mut self.first.0);
                self.first.1 = tensors.bias.to_vec();
            }
            let stats = &mut block.stats;
            for part in [&mut stats.scale, &mut stats.shift, &mut stats.mean, &mut stats.c0, &mut stats.c1] {
                part.clear();
                part.resize(c, 0.0);
            }
            stats.scale.fill(1.0);
            if let Some([gamma, beta, mean, variance]) = tensors.norm {
                for at in 0..c {
                    let scale = f64::from(gamma[at]) / (f64::from(variance[at]) + self.epsilon).sqrt();
                    stats.scale[at] = scale as f32;
                    stats.shift[at] = (f64::from(beta[at]) - f64::from(mean[at]) * scale) as f32;
                }
                stats.running_mean = mean.to_vec();
                stats.running_var = variance.to_vec();
            }
            cin = c;
        }
    }

    /// What the last block makes of `n` examples `[n][row][column]`, in training: batch norms by the batch.
    ///
    /// - `norms`: γ and β of each block with a batch norm
    /// - `mask`: what dropout leaves of `n` times so many numbers of a block
    /// - returns: `[n][channel][row][column]`
    ///
    /// # Panics
    /// If `x` or a mask has another length.
    pub fn forward(
        &mut self,
        x: &[f32],
        n: usize,
        norms: &[Option<[&[f32]; 2]>],
        mask: &mut dyn FnMut(usize, usize) -> Option<BlockMask>,
    ) -> Vec<f32> {
        self.reserve(n);
        self.take_images(x);
        for (i, norm) in norms.iter().enumerate() {
            let cells = {
                let shape = self.blocks[i].a.shape;
                shape.c * shape.h * shape.w
            };
            let mask = mask(i, n * cells);
            self.blocks[i].factor = mask.as_ref().map(|mask| mask.factor);
            self.convolve(i, norm.is_some(), mask.as_ref());
            if let Some([gamma, beta]) = norm {
                let shape = self.blocks[i].y.shape;
                let (sum, square) = self.sums.totals();
                let count = (n * shape.h * shape.w) as f64;
                set_stats(&mut self.blocks[i].stats, &sum, &square, count, gamma, beta, self.epsilon);
                self.activate(i, 0, n, mask.as_ref());
            }
        }
        self.result()
    }

    /// Running mean and variance of a block's batch norm, moved by the last [`forward`](Self::forward).
    pub fn running(&self, block: usize) -> [&[f32]; 2] {
        let stats = &self.blocks[block].stats;
        [&stats.running_mean, &stats.running_var]
    }

    /// Gradients of all tensors from that of what the last [`forward`](Self::forward) returned.
    ///
    /// # Panics
    /// If `d` has another length than that.
    pub fn backward(&mut self, d: &[f32]) -> Vec<BlockGradients> {
        let (n, last) = (self.n, self.blocks.len() - 1);
        self.take_gradient(d);
        self.sums.clear();
        // The gradient of what block i makes lies in da[side].
        let mut side = 0;
        self.norm_sums(last, 0, n, side);
        let mut found = Vec::new();
        for i in (0..=last).rev() {
            let mut gradients = self.finish_norm_sums(i);
            self.sums.clear();
            let chunk = self.blocks[i].plan.together;
            let mut first_parts = Vec::new();
            for first in (0..n).step_by(chunk) {
                let count = chunk.min(n - first);
                self.norm_backward(i, first, count, side);
                if i == 0 {
                    self.first_backward(first, count, &mut first_parts);
                    continue;
                }
                let (before, block) = (&self.blocks[i - 1], &self.blocks[i]);
                let [(forward, _), (plan, filters)] =
                    block.winograd.as_ref().expect("only the first has none");
                let dy = PaddedInput { buf: &block.dy.buf, first: 0 };
                self.weight_grad.add(forward, PaddedInput { buf: &before.a.buf, first }, dy, count);
                convolve(filters, plan, dy, &mut self.da[1 - side], first, count, &mut self.work, None);
                self.norm_sums(i - 1, first, count, 1 - side);
            }
            if i > 0 {
                let [(forward, _), _] = self.blocks[i].winograd.as_ref().expect("only the first has none");
                gradients.weight = vec![0.0; 9 * forward.from.c * forward.to.c];
                self.weight_grad.finish(forward, &mut gradients.weight);
            } else {
                gradients.weight = finish_first(&first_parts, self.blocks[0].plan.out);
            }
            found.push(gradients);
            side = 1 - side;
        }
        found.reverse();
        found
    }

    fn reserve(&mut self, n: usize) {
        self.n = n;
        self.image.reserve(n * (self.input[0] + 2) * (self.input[1] + 2));
        let mut longest = 0;
        for block in &mut self.blocks {
            block.y.reserve(n);
            block.a.reserve(n);
            block.dy.reserve(n.min(block.plan.together));
            longest = longest.max(block.a.shape.len());
        }
        for da in &mut self.da {
            da.reserve(n * longest);
        }
    }

    fn take_images(&mut self, x: &[f32]) {
        let [h, w] = self.input;
        assert_eq!(x.len(), self.n * h * w, "{} images of {h} x {w}", self.n);
        let images = self.image.as_mut_slice().par_chunks_exact_mut((h + 2) * (w + 2));
        x.par_chunks_exact(h * w).zip(images).for_each(|(x, image)| {
            for (row, x) in x.chunks_exact(w).enumerate() {
                image[(row + 1) * (w + 2) + 1..][..w].copy_from_slice(x);
            }
        });
    }

    /// Convolution `i` of all examples: with its sums where the batch is to be known first, else with all of its block.
    fn convolve(&mut self, i: usize, has_norm: bool, mask: Option<&BlockMask>) {
        self.sums.clear();
        let n = self.n;
        let chunk = self.blocks[i].plan.together;
        if has_norm {
            let block = &self.blocks[i];
            let tasks = block.winograd.as_ref().map_or(block.y.shape.h.div_ceil(ROWS), |[(plan, _), _]| {
                plan.tiles.len().div_ceil(BLOCK).max(phased_parts(plan))
            });
            self.sums.room(n * tasks, block.plan.out);
        }
        for first in (0..n).step_by(chunk) {
            let count = chunk.min(n - first);
            if i == 0 {
                let sums = has_norm.then_some(&mut self.sums);
                let filters = (self.first.0.as_slice(), self.first.1.as_slice());
                let (image, y) = (self.image.as_slice(), &mut self.blocks[0].y);
                first_convolution(self.isa, image, y, filters, first, count, sums);
            } else {
                let (before, after) = self.blocks.split_at_mut(i);
                let ConvBlock { winograd, y, .. } = &mut after[0];
                let [(plan, filters), _] = winograd.as_ref().expect("only the first has none");
                let src = PaddedInput { buf: &before[i - 1].a.buf, first };
                let sums = has_norm.then_some(&mut self.sums);
                convolve(filters, plan, src, &mut y.buf, first, count, &mut self.work, sums);
            }
            if !has_norm {
                self.activate(i, first, count, mask);
            }
        }
    }

    /// Batch norm, ReLU, pool and dropout of block `i`.
    fn activate(&mut self, i: usize, first: usize, count: usize, mask: Option<&BlockMask>) {
        let block = &mut self.blocks[i];
        let shape = block.a.shape;
        let pass = block.stats.pass(block.plan.pool == [2, 2], &block.y, shape);
        pass.forward(self.isa, &Team::rayon(), &mut block.a.buf, first, first, count);
        let Some(BlockMask { kept, factor }) = mask else { return };
        let factor = *factor;
        let Shape { h, w, c } = shape;
        assert_eq!(kept.len(), self.n * c * h * w, "one of every number");
        let windows = block.a.buf.as_mut_slice().par_chunks_exact_mut(shape.len());
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

    fn result(&self) -> Vec<f32> {
        let [c, h, w] = self.output();
        let last = &self.blocks.last().expect("there is a block").a;
        let shape = last.shape;
        let mut out = vec![0.0; self.n * c * h * w];
        let windows = last.buf.as_slice().par_chunks_exact(shape.len());
        out.par_chunks_exact_mut(c * h * w).zip(windows).for_each(|(out, a)| {
            for (at, out) in out.iter_mut().enumerate() {
                *out = a[shape.at(at / w % h, at % w) + at / (h * w)];
            }
        });
        out
    }

    fn take_gradient(&mut self, d: &[f32]) {
        let [c, h, w] = self.output();
        let shape = self.blocks.last().expect("there is a block").a.shape;
        assert_eq!(d.len(), self.n * c * h * w, "a gradient of every number");
        let windows = self.da[0].as_mut_slice().par_chunks_exact_mut(shape.len());
        d.par_chunks_exact(c * h * w).zip(windows).for_each(|(d, da)| {
            for (at, d) in d.iter().enumerate() {
                da[shape.at(at / w % h, at % w) + at / (h * w)] = *d;
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
        let pass = block.stats.pass(block.plan.pool == [2, 2], &block.y, block.a.shape);
        pass.sums(self.isa, da.as_slice(), first, count, self.n, &mut self.sums);
    }

    /// Gradients of bias, γ and β from their sums, and what the norm's backward subtracts.
    fn finish_norm_sums(&mut self, i: usize) -> BlockGradients {
        let block = &mut self.blocks[i];
        let shape = block.y.shape;
        let (s1, s2) = self.sums.totals();
        let count = (self.n * shape.h * shape.w) as f64;
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        if block.plan.norm == NormPlace::Absent {
            return BlockGradients { weight: Vec::new(), bias: single(&s1), norm: None };
        }
        let stats = &mut block.stats;
        let mut gamma = vec![0.0; shape.c];
        for at in 0..shape.c {
            let (scale, inv_std) = (f64::from(stats.scale[at]), f64::from(stats.inv_std[at]));
            gamma[at] = s2[at] * inv_std;
            stats.c0[at] = (scale * s1[at] / count) as f32;
            stats.c1[at] = (scale * inv_std * gamma[at] / count) as f32;
        }
        BlockGradients {
            weight: Vec::new(),
            bias: vec![0.0; shape.c],
            norm: Some([single(&gamma), single(&s1)]),
        }
    }

    /// From the gradient of what block `i` makes to that of its convolution's output, for `count` examples; they lie at
    /// the start of `dy`.
    fn norm_backward(&mut self, i: usize, first: usize, count: usize, side: usize) {
        let block = &mut self.blocks[i];
        let pass = block.stats.pass(block.plan.pool == [2, 2], &block.y, block.a.shape);
        pass.backward(self.isa, self.da[side].as_slice(), &mut block.dy.buf, first, count);
    }

    /// Adds the parts of the first convolution's gradient, `[9][out]` of each strip of rows.
    fn first_backward(&mut self, first: usize, count: usize, parts: &mut Vec<f32>) {
        let (isa, [h, w]) = (self.isa, self.input);
        let shape = self.blocks[0].y.shape;
        let (dy, image) = (self.blocks[0].dy.buf.as_slice(), self.image.as_slice());
        let (strips, len) = (h.div_ceil(STRIP), 9 * shape.c);
        let start = parts.len();
        parts.resize(start + count * strips * len, 0.0);
        parts[start..].par_chunks_exact_mut(len).with_max_len(1).enumerate().for_each(|(task, part)| {
            let (window, top) = (task / strips, task % strips * STRIP);
            for y in top..h.min(top + STRIP) {
                let dy = &dy[window * shape.len() + shape.at(y, 0)..];
                let image = &image[((first + window) * (h + 2) + y) * (w + 2)..];
                first::first_grad(isa, dy, w, image, w + 2, part);
            }
        });
    }
}

/// The number or 0, without a branch: in a loop, many at once.
fn only_if(condition: bool, number: f32) -> f32 {
    f32::from_bits(number.to_bits() & 0u32.wrapping_sub(u32::from(condition)))
}

/// The first convolution's gradient `[out][1][3][3]` from its parts.
fn finish_first(parts: &[f32], c: usize) -> Vec<f32> {
    let mut totals = vec![0.0f64; 9 * c];
    for part in parts.chunks_exact(9 * c) {
        for (total, value) in totals.iter_mut().zip(part) {
            *total += f64::from(*value);
        }
    }
    (0..9 * c).map(|at| totals[at % 9 * c + at / 9] as f32).collect()
}
