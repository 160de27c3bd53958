//! Training OpenL3 on a CPU: forward with train-mode batch norm, backward by hand.
//!
//! Convolutions are Winograd F(4×4, 3×3) in all three directions. Towards the input it is the same
//! kernel with flipped, transposed filters; towards the filters it is the transposed bilinear
//! algorithm, `dg = Gᵀ [ Σ_tiles (Bᵀ d B) ⊙ (A dy Aᵀ) ] G`. The last layer's maximum over the window
//! makes its gradient sparse (one pixel per channel), so its backward needs no convolution at all.

use std::ops::Range;

use rayon::prelude::*;

use super::act::{Act, Shape};
use super::filters::WinogradFilters;
use super::layer::{self, BLOCK, PaddedInput, Plan, convolve};
use super::norm_pass::{Stats, first_convolution};
use super::openl3::{FRAMES, MELS};
use super::sums::TaskSums;
use super::train_steps::{chunk, chunks};
use super::weight_grad::WeightGrad;
use super::weights::{BATCH_NORM_EPS, ConvWeights, NormWeights, OpenL3Weights, is_pooled};
use super::winograd::Epilogue;
use crate::buffer::Buffer;
use crate::team::Team;
use crate::{Isa, Precision};

/// A tensor's place in the flat parameter and gradient vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// torchopenl3's name, such as `conv2d_3.weight`.
    pub name: String,
    /// Its shape; `[out, in, 3, 3]` for filters.
    pub shape: Vec<usize>,
    /// Where it lies in [`OpenL3Train::parameters`] and [`OpenL3Train::gradients`].
    pub range: Range<usize>,
    /// Whether it is a filter bank, to which weight decay applies (biases and batch norms are not).
    pub decays: bool,
}

/// Where a layer's tensors lie in the flat vectors.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    /// Batch norm's γ and β (all layers but the last).
    pub(super) norm: Option<(Range<usize>, Range<usize>)>,
}

/// An OpenL3-shaped network in training. [`forward`](Self::forward) keeps what
/// [`backward`](Self::backward) needs; all buffers are reused from step to step. Gradients are the same
/// bits whatever the number of threads. Runs on rayon's current pool.
#[derive(Debug)]
pub struct OpenL3Train {
    pub(super) isa: Isa,
    /// Mel bands and frames of the input.
    pub(super) input: (usize, usize),
    pub(super) widths: Vec<usize>,
    pub(super) layout: Vec<Parameter>,
    pub(super) input_norm: (Range<usize>, Range<usize>),
    pub(super) ranges: Vec<Ranges>,
    pub(super) params: Vec<f32>,
    pub(super) grads: Vec<f32>,
    /// `[0]` is the input's; `[i + 1]` follows convolution i.
    pub(super) stats: Vec<Stats>,
    /// Convolutions 1 to 7 (0 is direct): forward, and 1 to 6 backward towards the input.
    pub(super) forward_filters: Vec<WinogradFilters>,
    pub(super) backward_filters: Vec<WinogradFilters>,
    pub(super) forward_plans: Vec<Plan>,
    pub(super) backward_plans: Vec<Plan>,
    /// The first layer's filters, `[9][c]`.
    pub(super) first_weight: Vec<f32>,
    pub(super) n: usize,
    /// Normalised input, before and after γ and β, and ones; all with a border of zeros.
    pub(super) hat: Buffer,
    pub(super) image: Buffer,
    /// Convolution outputs, and what follows batch norm, ReLU and pooling.
    pub(super) ys: Vec<Act>,
    pub(super) activations: Vec<Act>,
    /// Gradients of outputs, a few windows at a time and one buffer per resolution, and of activations, of
    /// one layer and the layer before it.
    pub(super) dys: Vec<Act>,
    pub(super) da: [Buffer; 2],
    /// Where each window's maximum lies: offset of the pixel in the last layer's padded output.
    pub(super) argmax: Vec<u32>,
    pub(super) work: Buffer,
    pub(super) sums: TaskSums,
    pub(super) weight_grad: WeightGrad,
}

impl OpenL3Train {
    /// A trainer that starts from `weights`, for windows of 128 × 199, with the precision of the products forward and
    /// backward.
    pub fn new(weights: &OpenL3Weights, isa: Isa, forward: Precision, backward: Precision) -> Self {
        Self::with_input(weights, MELS, FRAMES, isa, forward, backward)
    }

    /// As [`OpenL3Train::new`] for windows of `mels` × `frames` (each at least 8), a given instruction
    /// set, and the precision of the products forward and backward (bf16 counts as f32 where the
    /// processor lacks it). Parameters, activations, batch norm and sums are always f32. Bf16 forward
    /// may move a window's maximum to another pixel and so its gradient; bf16 backward only rounds.
    ///
    /// # Panics
    /// If a window is smaller than 8 × 8.
    pub fn with_input(
        weights: &OpenL3Weights,
        mels: usize,
        frames: usize,
        isa: Isa,
        forward: Precision,
        backward: Precision,
    ) -> Self {
        assert!(mels >= 8 && frames >= 8, "three 2×2 pools need windows of 8 × 8 or more");
        let widths = weights.widths();
        let (mut layout, mut params) = (Vec::new(), Vec::new());
        let mut add = |name: String, shape: Vec<usize>, values: &[f32]| {
            let range = params.len()..params.len() + values.len();
            params.extend_from_slice(values);
            layout.push(Parameter { name, decays: shape.len() == 4, shape, range: range.clone() });
            range
        };
        let norm = |i: usize, norm: &NormWeights, add: &mut dyn FnMut(String, Vec<usize>, &[f32]) -> _| {
            let name = format!("batch_normalization_{i}");
            let shape = vec![norm.weight.len()];
            (
                add(format!("{name}.weight"), shape.clone(), &norm.weight),
                add(format!("{name}.bias"), shape, &norm.bias),
            )
        };
        let input_norm = norm(1, &weights.input_norm, &mut add);
        let mut ranges = Vec::with_capacity(8);
        for (i, conv) in weights.convs.iter().enumerate() {
            let name = super::weights::conv_name(i);
            ranges.push(Ranges {
                weight: add(format!("{name}.weight"), vec![conv.cout, conv.cin, 3, 3], &conv.weight),
                bias: add(format!("{name}.bias"), vec![conv.cout], &conv.bias),
                norm: weights.norms.get(i).map(|n| norm(i + 2, n, &mut add)),
            });
        }
        let stats = std::iter::once(&weights.input_norm)
            .chain(&weights.norms)
            .map(|norm| Stats {
                running_mean: norm.running_mean.clone(),
                running_var: norm.running_var.clone(),
                ..Stats::identity(norm.weight.len())
            })
            .collect();

        let mut shape = Shape { h: mels, w: frames, c: widths[0] };
        let (mut ys, mut activations, mut dys) = (vec![Act::new(shape, 0)], Vec::new(), Vec::new());
        let (mut forward_plans, mut backward_plans) = (Vec::new(), Vec::new());
        let (mut forward_filters, mut backward_filters) = (Vec::new(), Vec::new());
        activations.push(Act::new(shape, 0));
        for i in 1..8 {
            let (cin, cout) = (widths[i - 1], widths[i]);
            let plan = Plan::new(shape, cout, Epilogue::Linear);
            let y = plan.to;
            if i < 7 {
                backward_plans.push(Plan::new(y, cin, Epilogue::Linear));
                backward_filters.push(WinogradFilters::empty(isa, backward, cout, cin));
            }
            forward_plans.push(plan);
            forward_filters.push(WinogradFilters::empty(isa, forward, cin, cout));
            ys.push(Act::new(y, 0));
            shape = if is_pooled(i) { y.pooled(cout) } else { y };
            activations.push(Act::new(shape, 0));
        }
        for y in &ys[..7] {
            if dys.last().is_none_or(|last: &Act| last.shape != y.shape) {
                dys.push(Act::new(y.shape, 0));
            }
        }
        Self {
            isa,
            input: (mels, frames),
            layout,
            input_norm,
            ranges,
            grads: vec![0.0; params.len()],
            params,
            stats,
            forward_filters,
            backward_filters,
            forward_plans,
            backward_plans,
            first_weight: vec![0.0; 9 * widths[0]],
            widths,
            n: 0,
            hat: Buffer::default(),
            image: Buffer::default(),
            ys,
            activations,
            dys,
            da: [Buffer::default(), Buffer::default()],
            argmax: Vec::new(),
            work: Buffer::default(),
            sums: TaskSums::default(),
            weight_grad: WeightGrad::new(isa, backward),
        }
    }

    /// Every trainable tensor and its place in the flat vectors.
    pub fn layout(&self) -> &[Parameter] {
        &self.layout
    }

    /// All trainable parameters, one after the other.
    pub fn parameters(&self) -> &[f32] {
        &self.params
    }

    /// Gradients from the last [`backward`](Self::backward), laid out like the parameters.
    pub fn gradients(&self) -> &[f32] {
        &self.grads
    }

    /// The same, to be filled by who computes them elsewhere.
    pub fn gradients_mut(&mut self) -> &mut [f32] {
        &mut self.grads
    }

    /// Moves the running statistics of norm `i` (0: the input's) by a batch's, of `count` values each.
    pub fn observe(&mut self, i: usize, mean: &[f32], variance: &[f32], count: usize) {
        let unbiased = count as f32 / (count as f32 - 1.0).max(1.0);
        let stats = &mut self.stats[i];
        for (c, (mean, variance)) in mean.iter().zip(variance).enumerate() {
            stats.move_running(c, *mean, variance * unbiased);
        }
    }

    /// Parameters to change and gradients to read, for an optimiser.
    pub fn parameters_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.params, &self.grads)
    }

    /// Length of an embedding.
    pub fn dimension(&self) -> usize {
        self.widths[7]
    }

    /// The parameters and running statistics as they are now.
    pub fn weights(&self) -> OpenL3Weights {
        let take = |range: &Range<usize>| self.params[range.clone()].to_vec();
        let norm = |(weight, bias): &(Range<usize>, Range<usize>), stats: &Stats| NormWeights {
            weight: take(weight),
            bias: take(bias),
            running_mean: stats.running_mean.clone(),
            running_var: stats.running_var.clone(),
        };
        let mut cin = 1;
        let mut convs = Vec::with_capacity(8);
        for (ranges, &cout) in self.ranges.iter().zip(&self.widths) {
            convs.push(ConvWeights { weight: take(&ranges.weight), bias: take(&ranges.bias), cin, cout });
            cin = cout;
        }
        let norms =
            self.ranges.iter().zip(&self.stats[1..]).filter_map(|(r, s)| Some(norm(r.norm.as_ref()?, s)));
        OpenL3Weights { input_norm: norm(&self.input_norm, &self.stats[0]), norms: norms.collect(), convs }
    }

    fn reserve(&mut self, n: usize) {
        self.n = n;
        let image = n * (self.input.0 + 2) * (self.input.1 + 2);
        self.hat.reserve(image);
        self.image.reserve(image);
        for act in self.ys.iter_mut().chain(&mut self.activations) {
            act.reserve(n);
        }
        for dy in &mut self.dys {
            dy.reserve(n.min(chunk(7)));
        }
        let longest = self.activations.iter().map(|a| a.shape.len()).max().unwrap_or(0);
        for da in &mut self.da {
            da.reserve(n * longest);
        }
        self.argmax.resize(n * self.dimension(), 0);
    }

    /// Transforms the filters of the parameters as they are now.
    fn refresh(&mut self) {
        let c = self.widths[0];
        for (i, w) in self.params[self.ranges[0].weight.clone()].iter().enumerate() {
            self.first_weight[i % 9 * c + i / 9] = *w;
        }
        for i in 1..8 {
            let weight = &self.params[self.ranges[i].weight.clone()];
            let bias = &self.params[self.ranges[i].bias.clone()];
            self.forward_filters[i - 1].set_forward(weight, bias);
            if i < 7 {
                self.backward_filters[i - 1].set_backward(weight);
            }
        }
    }

    /// Embeddings of `n` windows (`[window][mel][frame]`, dB) with batch statistics, which also move
    /// the running ones. Returns n · [`dimension`](Self::dimension) values.
    ///
    /// # Panics
    /// If `mels` is shorter than stated, or `n` is 0.
    pub fn forward(&mut self, mels: &[f32], n: usize) -> Vec<f32> {
        let (h, w) = self.input;
        assert!(n > 0 && mels.len() >= n * h * w, "expected {n} windows of {h} × {w}, found {}", mels.len());
        self.reserve(n);
        self.refresh();
        self.normalise_input(&mels[..n * h * w]);
        self.first();
        for i in 0..7 {
            self.finish_stats(i);
            let plan = &self.forward_plans[i];
            let blocks = plan.tiles.len().div_ceil(BLOCK).max(layer::phased_parts(plan));
            self.sums.clear();
            self.sums.room(n * blocks, plan.to.c);
            for (first, count) in chunks(i, n) {
                self.normalise(i, first, count);
                let (filters, plan) = (&self.forward_filters[i], &self.forward_plans[i]);
                let src = PaddedInput { buf: &self.activations[i].buf, first };
                let sums = (i < 6).then_some(&mut self.sums);
                let dst = &mut self.ys[i + 1].buf;
                convolve(filters, plan, src, dst, first, count, &mut self.work, sums);
            }
        }
        self.global_max()
    }

    fn normalise_input(&mut self, mels: &[f32]) {
        let (h, w) = self.input;
        let count = mels.len() as f64;
        let parts: Vec<(f64, f64)> = mels
            .par_chunks(h * w)
            .map(|window| {
                window.iter().fold((0.0, 0.0), |(s, q), &x| {
                    let x = f64::from(x);
                    (s + x, q + x * x)
                })
            })
            .collect();
        let (sum, square) = parts.iter().fold((0.0, 0.0), |(s, q), p| (s + p.0, q + p.1));
        let (gamma, beta) = (self.params[self.input_norm.0.start], self.params[self.input_norm.1.start]);
        let epsilon = f64::from(BATCH_NORM_EPS);
        self.stats[0].set((vec![sum], vec![square]), count, [&[gamma], &[beta]], epsilon);
        let (mean, inv_std) = (self.stats[0].mean[0], self.stats[0].inv_std[0]);
        let padded = (h + 2) * (w + 2);
        let hats = self.hat.as_mut_slice().par_chunks_exact_mut(padded);
        let images = self.image.as_mut_slice().par_chunks_exact_mut(padded);
        mels.par_chunks_exact(h * w).zip(hats.zip(images)).for_each(|(window, (hat, image))| {
            for (y, row) in window.chunks_exact(w).enumerate() {
                let at = (y + 1) * (w + 2) + 1;
                for (x, value) in row.iter().enumerate() {
                    let normal = (value - mean) * inv_std;
                    hat[at + x] = normal;
                    image[at + x] = normal * gamma + beta;
                }
            }
        });
    }

    /// The first convolution and its sums.
    fn first(&mut self) {
        self.sums.clear();
        let filters = (self.first_weight.as_slice(), &self.params[self.ranges[0].bias.clone()]);
        let image = self.image.as_slice();
        first_convolution(self.isa, image, &mut self.ys[0], filters, 0, self.n, Some(&mut self.sums));
    }

    /// Batch statistics of convolution `i` from its sums.
    fn finish_stats(&mut self, i: usize) {
        let shape = self.ys[i].shape;
        let (gamma, beta) = self.ranges[i].norm.clone().expect("convolutions 0 to 6 have a batch norm");
        let count = (self.n * shape.h * shape.w) as f64;
        let (gamma, beta) = (&self.params[gamma], &self.params[beta]);
        let epsilon = f64::from(BATCH_NORM_EPS);
        self.stats[i + 1].set(self.sums.totals(), count, [gamma, beta], epsilon);
    }

    /// Batch norm, ReLU and pooling of convolution `i`'s output.
    fn normalise(&mut self, i: usize, first: usize, count: usize) {
        let shape = self.activations[i].shape;
        let pass = self.stats[i + 1].pass(pool(i), &self.ys[i], shape);
        pass.forward(self.isa, &Team::rayon(), &mut self.activations[i].buf, first, first, count);
    }

    fn global_max(&mut self) -> Vec<f32> {
        let (shape, dimension) = (self.ys[7].shape, self.dimension());
        let mut out = vec![f32::NEG_INFINITY; self.n * dimension];
        let windows = self.ys[7].buf.as_slice().par_chunks_exact(shape.len());
        let out_windows = out.par_chunks_exact_mut(dimension);
        windows.zip(out_windows.zip(self.argmax.par_chunks_exact_mut(dimension))).for_each(
            |(y, (out, argmax))| {
                for r in 0..shape.h {
                    for x in 0..shape.w {
                        let at = shape.at(r, x);
                        for ((&z, best), arg) in y[at..at + dimension].iter().zip(&mut *out).zip(&mut *argmax)
                        {
                            if z > *best {
                                *best = z;
                                *arg = at as u32;
                            }
                        }
                    }
                }
            },
        );
        out
    }
}

/// Rows and columns that the pool behind convolution `i` joins.
pub(super) fn pool(i: usize) -> [usize; 2] {
    if is_pooled(i) { [2, 2] } else { [1, 1] }
}
