//! The VGG network of the `musicnn` package (its `MSD_vgg`) on a CPU, forward.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::act::{Act, Shape};
use super::filters::WinogradFilters;
use super::first::{self, First};
use super::layer::{self, PaddedInput, Plan, Target, with_scratch};
use super::winograd::Epilogue;
use crate::buffer::{Buffer, SharedSlice};
use crate::simd::{Simd, dispatch};
use crate::team::Team;
use crate::{Isa, Precision};

/// Mel bands of a patch.
const BANDS: usize = 96;
/// Frames of a patch.
const FRAMES: usize = 187;
/// Channels of every convolution.
const CHANNELS: usize = 128;
/// Values before the last layer: the fifth pool, `[2 times][128]`.
pub const PENULTIMATE: usize = 256;
/// Tags.
pub const TAGS: usize = 50;
/// Patches that go through the network together, so that the deep layers' filters are read once for all.
const GROUP: usize = 8;
/// Bands and frames that each pool joins.
const POOLS: [(usize, usize); 5] = [(1, 4), (4, 1), (2, 2), (2, 2), (4, 4)];
/// Row length of the padded image, and of the first convolution's output in the scratch.
const WIDE: usize = FRAMES + 2;

/// One convolution's parameters and the affine map that its batch norm is, applied after ReLU.
pub struct VggLayer {
    /// `[128][in][3 times][3 frequencies]`
    pub weight: Vec<f32>,
    /// Bias of each output channel.
    pub bias: Vec<f32>,
    /// Scale of each output channel, after ReLU.
    pub scale: Vec<f32>,
    /// What is added to each output channel after the scale.
    pub shift: Vec<f32>,
}

/// Parameters of the network.
pub struct VggParameters {
    /// The input's batch norm.
    pub scale: f32,
    /// What is added to each input value after its scale.
    pub shift: f32,
    /// The convolutions, in order.
    pub layers: Vec<VggLayer>,
    /// `[50][256]` and `[50]`
    pub dense: (Vec<f32>, Vec<f32>),
}

/// What the network gives, patch after patch.
pub struct VggOutputs {
    /// `[n][256]`
    pub penultimate: Vec<f32>,
    /// `[n][50]`, before the sigmoid
    pub logits: Vec<f32>,
}

/// The network, prepared for one instruction set. Any number of threads may use it.
///
/// Rows are mel bands and columns frames.
#[derive(Debug)]
pub struct FastVgg {
    isa: Isa,
    input: (f32, f32),
    /// `[9][128]` and `[128]`
    first: (Vec<f32>, Vec<f32>),
    filters: Vec<WinogradFilters>,
    plans: Vec<Plan>,
    /// Scale and shift after each ReLU.
    norms: Vec<(Vec<f32>, Vec<f32>)>,
    dense: (Vec<f32>, Vec<f32>),
    idle: Mutex<Vec<VggWorkspace>>,
}

#[derive(Debug)]
struct VggWorkspace {
    /// Normalised spectrograms with a border of zeros.
    image: Buffer,
    /// Inputs of the second to fifth convolution.
    inputs: Vec<Act>,
    /// Their outputs, before batch norm.
    outputs: Vec<Act>,
    work: Buffer,
}

/// A max pool over an affine map, for one row of outputs.
pub(super) struct MaxPool<'a> {
    /// Pixels of [`CHANNELS`] from the first window's corner on, and floats from one row to the next.
    src: &'a [f32],
    src_row: usize,
    /// Rows and columns that are joined.
    window: (usize, usize),
    /// For each channel.
    scale: &'a [f32],
    shift: &'a [f32],
}

/// # Safety
/// `cols` windows lie in the source, as many pixels are at `out`, and there is a scale and a shift for each channel.
#[inline(always)]
unsafe fn pool_generic<S: Simd>(simd: S, a: &MaxPool<'_>, out: *mut f32, cols: usize) {
    for x in 0..cols {
        for channel in (0..CHANNELS).step_by(S::LANES) {
            // SAFETY: the extents above; the channels are a multiple of the lanes.
            unsafe {
                let corner = a.src.as_ptr().add(x * a.window.1 * CHANNELS + channel);
                let scale = simd.load(a.scale.as_ptr().add(channel));
                let shift = simd.load(a.shift.as_ptr().add(channel));
                let mut most = simd.fma(simd.load(corner), scale, shift);
                for dy in 0..a.window.0 {
                    for dx in 0..a.window.1 {
                        let pixel = simd.load(corner.add(dy * a.src_row + dx * CHANNELS));
                        most = simd.max(most, simd.fma(pixel, scale, shift));
                    }
                }
                simd.store(out.add(x * CHANNELS + channel), most);
            }
        }
    }
}

dispatch! {
    pool_unchecked => pool_generic(a: &MaxPool<'_>, out: *mut f32, cols: usize)
}

/// Batch norm, then max pool, into whole pixels. Negative scales are why it is not the other way about.
fn pool(isa: Isa, a: &MaxPool<'_>, out: &mut [f32]) {
    let cols = out.len() / CHANNELS;
    assert!(a.scale.len() == CHANNELS && a.shift.len() == CHANNELS, "a scale and a shift per channel");
    assert!(
        a.src.len() >= (a.window.0 - 1) * a.src_row + cols * a.window.1 * CHANNELS,
        "whole windows lie in the source"
    );
    // SAFETY: the extents just checked.
    unsafe { pool_unchecked(isa, a, out.as_mut_ptr(), cols) }
}

impl FastVgg {
    /// Packs the weights for an instruction set.
    pub fn new(parameters: &VggParameters, isa: Isa) -> Self {
        let layers = &parameters.layers;
        let mut first = vec![0.0; 9 * CHANNELS];
        for o in 0..CHANNELS {
            for (time, row) in layers[0].weight[o * 9..(o + 1) * 9].chunks_exact(3).enumerate() {
                for (band, &w) in row.iter().enumerate() {
                    first[(band * 3 + time) * CHANNELS + o] = w;
                }
            }
        }
        let mut shape = Shape { h: BANDS, w: FRAMES / POOLS[0].1, c: CHANNELS };
        let (mut filters, mut plans) = (Vec::new(), Vec::new());
        for (layer, (rows, cols)) in layers[1..].iter().zip(&POOLS[1..]) {
            let mut made = WinogradFilters::empty(isa, Precision::F32, CHANNELS, CHANNELS);
            made.set(&layer.weight, CHANNELS, CHANNELS, |o, i, tap| {
                (o * CHANNELS + i) * 9 + tap % 3 * 3 + tap / 3
            });
            made.bias.clone_from(&layer.bias);
            filters.push(made);
            plans.push(Plan::new(shape, CHANNELS, Epilogue::Relu));
            shape = Shape { h: shape.h / rows, w: shape.w / cols, c: CHANNELS };
        }
        Self {
            isa,
            input: (parameters.scale, parameters.shift),
            first: (first, layers[0].bias.clone()),
            filters,
            plans,
            norms: layers.iter().map(|layer| (layer.scale.clone(), layer.shift.clone())).collect(),
            dense: parameters.dense.clone(),
            idle: Mutex::default(),
        }
    }

    /// - `mels`: `[n][96][187]`
    pub fn forward(&self, mels: &[f32], n: usize) -> VggOutputs {
        assert_eq!(mels.len(), n * BANDS * FRAMES, "the encoder hands over whole patches");
        let mut penultimate = vec![0.0; n * PENULTIMATE];
        // A panic elsewhere cannot leave the memory in a bad state: halos are never written, the rest is overwritten.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut space = idle.unwrap_or_else(|| self.workspace());
        for (mels, out) in
            mels.chunks(GROUP * BANDS * FRAMES).zip(penultimate.chunks_mut(GROUP * PENULTIMATE))
        {
            self.group(mels, out, &mut space);
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        let (weight, bias) = &self.dense;
        let mut logits = Vec::with_capacity(n * TAGS);
        for row in penultimate.chunks_exact(PENULTIMATE) {
            for (weight, bias) in weight.chunks_exact(PENULTIMATE).zip(bias) {
                let mut lanes = [0.0f32; 16];
                for (a, b) in weight.as_chunks::<16>().0.iter().zip(row.as_chunks::<16>().0) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += a * b;
                    }
                }
                logits.push(bias + lanes.iter().sum::<f32>());
            }
        }
        VggOutputs { penultimate, logits }
    }

    fn workspace(&self) -> VggWorkspace {
        VggWorkspace {
            image: Buffer::default(),
            inputs: self.plans.iter().map(|plan| Act::new(plan.from, 0)).collect(),
            outputs: self.plans.iter().map(|plan| Act::new(plan.to, 0)).collect(),
            work: Buffer::default(),
        }
    }

    /// At most [`GROUP`] patches.
    fn group(&self, mels: &[f32], out: &mut [f32], space: &mut VggWorkspace) {
        let _span = tracing::trace_span!("vgg").entered();
        let VggWorkspace { image, inputs, outputs, work } = space;
        let n = mels.len() / (BANDS * FRAMES);
        image.reserve(n * (BANDS + 2) * WIDE);
        for act in inputs.iter_mut().chain(outputs.iter_mut()) {
            act.reserve(n);
        }
        let (scale, shift) = self.input;
        let images = image.as_mut_slice().chunks_exact_mut((BANDS + 2) * WIDE);
        for (mel, image) in mels.chunks_exact(BANDS * FRAMES).zip(images) {
            for (row, to) in mel.chunks_exact(FRAMES).zip(image[WIDE..].chunks_exact_mut(WIDE)) {
                for (x, y) in row.iter().zip(&mut to[1..=FRAMES]) {
                    *y = x * scale + shift;
                }
            }
        }
        let team = Team::rayon();
        self.first(image, &mut inputs[0], n);
        for i in 0..4 {
            let source = PaddedInput { buf: &inputs[i].buf, first: 0 };
            let (filters, plan) = (&self.filters[i], &self.plans[i]);
            let target = &mut outputs[i].buf;
            if i < 2 {
                layer::fused(&team, filters, plan, source, target, 0, n, None);
            } else {
                layer::phased(&team, filters, plan, source, Target::Act(target, 0), n, work, None);
            }
            if i < 3 {
                self.pool(i, &outputs[i], &mut inputs[i + 1], n);
            } else {
                self.last_pool(&outputs[i], out);
            }
        }
    }

    /// The first convolution, row by row, and its pool.
    fn first(&self, image: &Buffer, to: &mut Act, n: usize) {
        let shape = to.shape;
        let target = to.buf.share();
        let (scale, shift) = &self.norms[0];
        (0..n * shape.h).into_par_iter().with_max_len(4).for_each(|task| {
            let (patch, row) = (task / shape.h, task % shape.h);
            with_scratch(FRAMES * CHANNELS, |pixels| {
                let convolution = First {
                    src: &image.as_slice()[(patch * (BANDS + 2) + row) * WIDE..],
                    src_row: WIDE,
                    dst: SharedSlice::new(pixels),
                    dst_row: FRAMES * CHANNELS,
                    rows: 1,
                    cols: FRAMES,
                    c: CHANNELS,
                    weight: &self.first.0,
                    bias: &self.first.1,
                    relu: true,
                };
                // SAFETY: the scratch is this thread's.
                unsafe { first::first(self.isa, &convolution) };
                let window = POOLS[0];
                let at = patch * shape.len() + shape.at(row, 0);
                // SAFETY: each task writes its own row of its patch.
                let out = unsafe { target.slice_mut(at..at + shape.w * CHANNELS) };
                pool(self.isa, &MaxPool { src: pixels, src_row: 0, window, scale, shift }, out);
            });
        });
    }

    /// The pool after convolution `index + 2`.
    fn pool(&self, index: usize, from: &Act, to: &mut Act, n: usize) {
        let (before, after) = (from.shape, to.shape);
        let target = to.buf.share();
        let (scale, shift) = &self.norms[index + 1];
        let window = POOLS[index + 1];
        (0..n * after.h).into_par_iter().with_max_len(4).for_each(|task| {
            let (patch, row) = (task / after.h, task % after.h);
            let src = &from.buf.as_slice()[patch * before.len() + before.at(window.0 * row, 0)..];
            let at = patch * after.len() + after.at(row, 0);
            // SAFETY: each task writes its own row of its patch.
            let out = unsafe { target.slice_mut(at..at + after.w * CHANNELS) };
            pool(self.isa, &MaxPool { src, src_row: before.row(), window, scale, shift }, out);
        });
    }

    /// 4×4 pool after the last convolution: one band, two times.
    fn last_pool(&self, from: &Act, out: &mut [f32]) {
        let (scale, shift) = &self.norms[4];
        for (patch, out) in out.chunks_exact_mut(PENULTIMATE).enumerate() {
            let src = &from.buf.as_slice()[patch * from.shape.len() + from.shape.at(0, 0)..];
            let pooled = MaxPool { src, src_row: from.shape.row(), window: POOLS[4], scale, shift };
            pool(self.isa, &pooled, out);
        }
    }
}
