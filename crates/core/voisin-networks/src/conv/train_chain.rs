//! Training a chain of convolutions on a CPU: forward with train-mode batch norm, backward by hand.
//!
//! Convolutions are Winograd F(4×4, 3×3) in all three directions. Towards the input it is the same
//! kernel with flipped, transposed filters; towards the filters it is the transposed bilinear
//! algorithm, `dg = Gᵀ [ Σ_tiles (Bᵀ d B) ⊙ (A dy Aᵀ) ] G`. A tail that is a maximum makes its
//! gradient sparse (one pixel per channel), so its backward needs no convolution at all.
//!
//! A block without a batch norm has a norm with scale 1 and shift 0; the gradient of its shift is
//! that of the convolution's bias.

mod backward;

use std::ops::Range;

use rayon::prelude::*;

use super::act::{Act, Shape};
use super::chain::{BlockPlan, BlockTensors, ChainPlan, NormPlace, Tail, turn_first};
use super::filters::WinogradFilters;
use super::layer::{BLOCK, PaddedInput, Plan, convolve, phased_parts};
use super::norm_pass::{NormPass, ROWS, Stats, first_convolution};
use super::sums::TaskSums;
use super::weight_grad::WeightGrad;
use super::winograd::Epilogue;
use crate::team::Team;
use voisin_kernels::Isa;
use voisin_kernels::buffer::Buffer;

/// Ranges of a block's tensors in the flat vectors.
#[derive(Clone, Debug)]
struct BlockRanges {
    weight: Range<usize>,
    bias: Range<usize>,
    /// γ and β.
    norm: Option<[Range<usize>; 2]>,
}

/// The outputs of a block that dropout keeps.
#[derive(Clone, Debug)]
pub struct BlockMask {
    /// Whether a number is kept, `[n][row][column][channel]`.
    pub kept: Vec<bool>,
    /// Factor of those that are kept.
    pub factor: f32,
}

/// Gradients of a block's tensors.
#[derive(Clone, Copy, Debug)]
pub struct BlockGradients<'a> {
    /// `[out][in][3][3]`.
    pub weight: &'a [f32],
    /// `[out]`; zeros before a batch norm, which cancels any constant.
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
    /// Output of the convolution; output of the block.
    y: Act,
    a: Act,
    /// Which of the chain's `dys` takes the gradient of `y`.
    dy: usize,
    stats: Stats,
    /// Factor of the last dropout.
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
        (0..n)
            .step_by(size)
            .map(move |first| (first, size.min(n - first)))
    }

    /// Batch norm, ReLU, pool and dropout.
    fn activate(&mut self, isa: Isa, first: usize, count: usize, mask: Option<&BlockMask>) {
        let shape = self.a.shape;
        let pass = self.stats.pass(self.plan.pool, &self.y, shape);
        pass.forward(isa, &Team::rayon(), &mut self.a.buf, first, first, count);
        let Some(BlockMask { kept, factor }) = mask else {
            return;
        };
        let factor = *factor;
        let Shape { h, w, c } = shape;
        let windows = self.a.buf.as_mut_slice().par_chunks_exact_mut(shape.len());
        let kept = kept.par_chunks_exact(c * h * w);
        windows
            .zip(kept)
            .skip(first)
            .take(count)
            .for_each(|(a, kept)| {
                let rows = a
                    .par_chunks_exact_mut(shape.row())
                    .skip(1)
                    .zip(kept.par_chunks_exact(w * c));
                rows.for_each(|(a, kept)| {
                    for (a, kept) in a[c..].iter_mut().zip(kept) {
                        *a = only_if(*kept, *a * factor);
                    }
                });
            });
    }
}

/// A chain of convolutions in training. [`forward`](Self::forward) stores the values that
/// [`backward`](Self::backward) needs, and buffers are reused between steps. Results do not depend
/// on the number of threads. Runs on rayon's current pool.
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
    /// Gradients of outputs, a few examples at a time and one buffer per shape, and of what a block
    /// and the one before it make.
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
    ///
    /// # Panics
    /// If the plan is invalid ([`ChainPlan`]), or has pools other than 2 × 2.
    pub fn new(plan: ChainPlan, input_norm: bool, isa: Isa) -> Self {
        let mut len = 0;
        // Parameters are laid out in the order of the blocks.
        let mut add = |values: usize| {
            len += values;
            len - values..len
        };
        let input = input_norm.then(|| [add(1), add(1)]);
        let mut blocks = Vec::new();
        let mut dys = Vec::<Act>::new();
        for (i, (block, shapes)) in plan.blocks.iter().zip(plan.shapes()).enumerate() {
            assert!(
                matches!(block.pool, [1, 1] | [2, 2]),
                "gradients know pools of 2 × 2"
            );
            let c = block.out;
            let cin = if i == 0 { 1 } else { shapes.from.c };
            let winograd = |from: Shape, c: usize| {
                let filters = WinogradFilters::empty(isa, from.c, c);
                (Plan::new(from, c, Epilogue::Linear), filters)
            };
            let is_bare = plan.is_bare(i);
            // Neighbouring blocks of one shape share a gradient buffer: the deeper one's is used up
            // before the other is filled.
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
                forward: (i > 0).then(|| winograd(shapes.from, c)),
                backward: (i > 0 && !is_bare).then(|| winograd(shapes.y, cin)),
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
            weight_grad: WeightGrad::new(isa),
        }
    }

    /// Sets the tensors of all blocks, and of the image's batch norm.
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
            assert_eq!(
                ranges.is_some(),
                norm.is_some(),
                "tensors of every batch norm"
            );
            let (Some([gamma, beta]), Some(norm)) = (ranges, norm) else {
                return;
            };
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

    /// All trainable parameters, one after the other: γ and β of the image, then each block's
    /// weight, bias, γ and β.
    pub fn parameters(&self) -> &[f32] {
        &self.params
    }

    /// Gradients from the last [`backward`](Self::backward), laid out like the parameters.
    pub fn gradients(&self) -> &[f32] {
        &self.grads
    }

    /// The same, mutable, for gradients computed elsewhere.
    pub fn gradients_mut(&mut self) -> &mut [f32] {
        &mut self.grads
    }

    /// Parameters to change and gradients to read, for an optimiser.
    pub fn parameters_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.params, &self.grads)
    }

    /// Gradients of a block from the last [`backward`](Self::backward).
    pub fn block_gradients(&self, block: usize) -> BlockGradients<'_> {
        let BlockRanges { weight, bias, norm } = &self.blocks[block].ranges;
        let slice = |range: &Range<usize>| &self.grads[range.clone()];
        BlockGradients {
            weight: slice(weight),
            bias: slice(bias),
            norm: norm.as_ref().map(|norm| norm.each_ref().map(slice)),
        }
    }

    /// Sets the running mean and variance of the image's batch norm, or of a block's.
    pub fn set_running(&mut self, block: Option<usize>, mean: Vec<f32>, variance: Vec<f32>) {
        let stats = match block {
            Some(block) => &mut self.blocks[block].stats,
            None => &mut self.input_stats,
        };
        stats.running_mean = mean;
        stats.running_var = variance;
    }

    /// Running mean and variance of the image's batch norm, or of a block's, moved by the last
    /// [`forward`](Self::forward).
    pub fn running(&self, block: Option<usize>) -> [&[f32]; 2] {
        let stats = block.map_or(&self.input_stats, |block| &self.blocks[block].stats);
        [&stats.running_mean, &stats.running_var]
    }

    /// Transforms the filters of the present parameters.
    fn refresh(&mut self) {
        turn_first(
            &self.params[self.blocks[0].ranges.weight.clone()],
            &mut self.first_weight,
        );
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
                // A bare last block passes on its maxima alone, so their places suffice for its
                // gradient.
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

    /// Outputs of `n` examples `[n][row][column]`, with batch statistics, which also move the
    /// running ones.
    ///
    /// - `mask`: the numbers that dropout keeps, for a block's length
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
        assert!(
            n > 0 && x.len() >= n * h * w,
            "expected {n} windows of {h} × {w}, found {}",
            x.len()
        );
        self.reserve(n);
        self.refresh();
        self.take_images(&x[..n * h * w]);
        let mut mask_before = None;
        for i in 0..self.blocks.len() {
            let shape = self.blocks[i].a.shape;
            let cells = n * shape.c * shape.h * shape.w;
            let mask = if self.plan.is_bare(i) {
                None
            } else {
                mask(i, cells)
            };
            assert!(
                mask.as_ref().is_none_or(|mask| mask.kept.len() == cells),
                "one of every number"
            );
            self.blocks[i].factor = mask.as_ref().map(|mask| mask.factor);
            self.convolve(i, mask_before.as_ref(), mask.as_ref());
            mask_before = mask;
            let block = &mut self.blocks[i];
            if let Some(norm) = &block.ranges.norm {
                let count = (n * block.y.shape.h * block.y.shape.w) as f64;
                let [gamma, beta] = norm.each_ref().map(|range| &self.params[range.clone()]);
                block
                    .stats
                    .set(self.sums.totals(), count, [gamma, beta], self.plan.epsilon);
            }
        }
        let isa = self.isa;
        let last = self.blocks.len() - 1;
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
            x.par_chunks_exact(h * w)
                .zip(images)
                .for_each(|(x, image)| {
                    for (row, x) in x.chunks_exact(w).enumerate() {
                        image[(row + 1) * (w + 2) + 1..][..w].copy_from_slice(x);
                    }
                });
            return;
        };
        // One partial sum a window, added in the order of the windows: the same bits for any number
        // of threads.
        let parts: Vec<(f64, f64)> = x
            .par_chunks(h * w)
            .map(|window| {
                window.iter().fold((0.0, 0.0), |(s, q), &x| {
                    let x = f64::from(x);
                    (s + x, q + x * x)
                })
            })
            .collect();
        let (sum, square) = parts
            .iter()
            .fold((0.0, 0.0), |(s, q), p| (s + p.0, q + p.1));
        let norm = norm.each_ref().map(|range| &self.params[range.clone()]);
        let stats = &mut self.input_stats;
        stats.set(
            (vec![sum], vec![square]),
            x.len() as f64,
            norm,
            self.plan.epsilon,
        );
        let mean = stats.mean[0];
        let inv_std = stats.inv_std[0];
        let [gamma, beta] = norm.map(|values| values[0]);
        let hats = self.hat.as_mut_slice().par_chunks_exact_mut(padded);
        x.par_chunks_exact(h * w)
            .zip(hats.zip(images))
            .for_each(|(x, (hat, image))| {
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

    /// Convolution `i` of all examples, with its sums where the block has a batch norm; else with
    /// all of the block. Includes the rest of the previous block.
    fn convolve(&mut self, i: usize, mask_before: Option<&BlockMask>, mask: Option<&BlockMask>) {
        self.sums.clear();
        let isa = self.isa;
        let n = self.n;
        let is_bare = self.plan.is_bare(i);
        let (before, after) = self.blocks.split_at_mut(i);
        let block = &mut after[0];
        let has_norm = block.has_norm();
        if has_norm {
            let tasks = block
                .forward
                .as_ref()
                .map_or(block.y.shape.h.div_ceil(ROWS), |(plan, _)| {
                    plan.tiles.len().div_ceil(BLOCK).max(phased_parts(plan))
                });
            // Room for all tasks at once, so that the sums of earlier chunks are not moved.
            self.sums.room(n * tasks, block.plan.out);
        }
        for (first, count) in block.chunks(n) {
            let sums = has_norm.then_some(&mut self.sums);
            if let (Some((plan, filters)), Some(before)) = (&block.forward, before.last_mut()) {
                // The block before ends with its norm, whose statistics are known only now that all
                // its examples are through.
                if before.has_norm() {
                    before.activate(isa, first, count, mask_before);
                }
                let src = PaddedInput {
                    buf: &before.a.buf,
                    first,
                };
                convolve(
                    filters,
                    plan,
                    src,
                    &mut block.y.buf,
                    first,
                    count,
                    &mut self.work,
                    sums,
                );
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
        let shape = y.shape;
        let c = shape.c;
        let mut out = vec![f32::NEG_INFINITY; self.n * c];
        let windows = y.buf.as_slice().par_chunks_exact(shape.len());
        let found = out
            .par_chunks_exact_mut(c)
            .zip(self.argmax.par_chunks_exact_mut(c));
        windows.zip(found).for_each(|(y, (out, argmax))| {
            for r in 0..shape.h {
                for x in 0..shape.w {
                    let at = shape.at(r, x);
                    for ((&z, best), arg) in y[at..at + c].iter().zip(&mut *out).zip(&mut *argmax) {
                        // `>` and not `>=`: the first of equal maxima gets the gradient.
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
        let shape = last.shape;
        let Shape { h, w, c } = shape;
        let mut out = vec![0.0; self.n * c * h * w];
        let windows = last.buf.as_slice().par_chunks_exact(shape.len());
        out.par_chunks_exact_mut(c * h * w)
            .zip(windows)
            .for_each(|(out, a)| {
                for (at, out) in out.iter_mut().enumerate() {
                    *out = a[shape.plane(at)];
                }
            });
        out
    }
}

/// The number or 0, without a branch: in a loop, many at once.
fn only_if(condition: bool, number: f32) -> f32 {
    f32::from_bits(number.to_bits() & 0u32.wrapping_sub(u32::from(condition)))
}
