//! The VGG network of the `musicnn` package (its `MSD_vgg`) on a CPU, forward.

#![allow(unsafe_code, reason = "hands disjoint parts of shared buffers to the kernels")]

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::act::{Act, Shape};
use crate::kernels::buffer::{Buf, Shared};
use crate::kernels::dispatch::dispatch;
use super::first::{self, First};
use crate::kernels::isa::{Isa, Precision, isa};
use super::kernels::Epilogue;
use super::layer::{self, Filters, Plan, Source, Target, with_scratch};
use crate::kernels::simd::Simd;
use crate::kernels::team::Team;

/// Mel bands of a patch.
const BANDS: usize = 96;
/// Frames of a patch.
const FRAMES: usize = 187;
/// Channels of every convolution.
const CHANNELS: usize = 128;
/// Values before the last layer: the fifth pool, `[2 times][128]`.
pub(crate) const PENULTIMATE: usize = 256;
/// Tags.
pub(crate) const TAGS: usize = 50;
/// Patches that go through the network together, so that the deep layers' filters are read once for all.
const GROUP: usize = 8;
/// Bands and frames that each pool joins.
const POOLS: [(usize, usize); 5] = [(1, 4), (4, 1), (2, 2), (2, 2), (4, 4)];
/// Row length of the padded image, and of the first convolution's output in the scratch.
const WIDE: usize = FRAMES + 2;

/// One convolution's parameters and the affine map that its batch norm is, applied after ReLU.
pub(super) struct VggLayer {
    /// `[128][in][3 times][3 frequencies]`
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

/// Parameters of the network.
pub(super) struct VggParameters {
    /// The input's batch norm.
    pub(super) scale: f32,
    pub(super) shift: f32,
    pub(super) layers: Vec<VggLayer>,
    /// `[50][256]` and `[50]`
    pub(super) dense: (Vec<f32>, Vec<f32>),
}

/// What the network gives, patch after patch.
pub(super) struct VggOutputs {
    /// `[n][256]`
    pub(super) penultimate: Vec<f32>,
    /// `[n][50]`, before the sigmoid
    pub(super) logits: Vec<f32>,
}

/// The network, prepared for one instruction set. Any number of threads may use it.
///
/// Rows are mel bands and columns frames.
#[derive(Debug)]
pub(super) struct FastVgg {
    isa: Isa,
    input: (f32, f32),
    /// `[9][128]` and `[128]`
    first: (Vec<f32>, Vec<f32>),
    filters: Vec<Filters>,
    plans: Vec<Plan>,
    /// Scale and shift after each ReLU.
    norms: Vec<(Vec<f32>, Vec<f32>)>,
    dense: (Vec<f32>, Vec<f32>),
    idle: Mutex<Vec<Workspace>>,
}

#[derive(Debug)]
struct Workspace {
    /// Normalised spectrograms with a border of zeros.
    image: Buf,
    /// Inputs of the second to fifth convolution.
    inputs: Vec<Act>,
    /// Their outputs, before batch norm.
    outputs: Vec<Act>,
    work: Buf,
}

/// A max pool over an affine map of `[row][column][c]` pixels.
pub(super) struct Pool {
    src: *const f32,
    src_row: usize,
    dst: *mut f32,
    dst_row: usize,
    rows: usize,
    cols: usize,
    c: usize,
    /// Rows and columns that are joined.
    window: (usize, usize),
    scale: *const f32,
    shift: *const f32,
}

#[inline(always)]
unsafe fn pool_generic<S: Simd>(a: &Pool) {
    // SAFETY: every window lies in the source, every output in the destination; `c` is a multiple of the lanes.
    unsafe {
        for y in 0..a.rows {
            for x in 0..a.cols {
                let corner = a.src.add(y * a.window.0 * a.src_row + x * a.window.1 * a.c);
                let out = a.dst.add(y * a.dst_row + x * a.c);
                let mut channel = 0;
                while channel < a.c {
                    let (scale, shift) = (S::load(a.scale.add(channel)), S::load(a.shift.add(channel)));
                    let mut most = S::fma(S::load(corner.add(channel)), scale, shift);
                    for dy in 0..a.window.0 {
                        for dx in 0..a.window.1 {
                            let pixel = S::load(corner.add(dy * a.src_row + dx * a.c + channel));
                            most = S::max(most, S::fma(pixel, scale, shift));
                        }
                    }
                    S::store(out.add(channel), most);
                    channel += S::LANES;
                }
            }
        }
    }
}

dispatch! {
    /// Batch norm, then max pool. Negative scales are why it is not the other way about.
    pool => pool_generic(a: &Pool)
}

impl FastVgg {
    pub(super) fn new(parameters: &VggParameters) -> Self {
        Self::with_isa(parameters, isa())
    }

    /// For a given instruction set (the best one if this processor lacks it).
    pub(super) fn with_isa(parameters: &VggParameters, isa: Isa) -> Self {
        let isa = if isa.is_available() { isa } else { Isa::best() };
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
            let mut made = Filters::empty(isa, Precision::F32, CHANNELS, CHANNELS);
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
    pub(super) fn forward(&self, mels: &[f32], n: usize) -> VggOutputs {
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

    fn workspace(&self) -> Workspace {
        Workspace {
            image: Buf::default(),
            inputs: self.plans.iter().map(|plan| Act::new(plan.from, 0)).collect(),
            outputs: self.plans.iter().map(|plan| Act::new(plan.to, 0)).collect(),
            work: Buf::default(),
        }
    }

    /// At most [`GROUP`] patches.
    fn group(&self, mels: &[f32], out: &mut [f32], space: &mut Workspace) {
        let _span = tracing::trace_span!("vgg").entered();
        let Workspace { image, inputs, outputs, work } = space;
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
            let source = Source { buf: &inputs[i].buf, first: 0 };
            let (filters, plan) = (&self.filters[i], &self.plans[i]);
            let target = &mut outputs[i].buf;
            if i < 2 {
                layer::fused(&team, filters, plan, source, target, 0, n, 28, None);
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
    fn first(&self, image: &Buf, to: &mut Act, n: usize) {
        let shape = to.shape;
        let image = Shared(image.as_ptr().cast_mut());
        let target = Shared(to.buf.as_mut_ptr());
        let (scale, shift) = &self.norms[0];
        (0..n * shape.h).into_par_iter().with_max_len(4).for_each(|task| {
            let (patch, row) = (task / shape.h, task % shape.h);
            with_scratch(FRAMES * CHANNELS, |pixels| {
                // SAFETY: the rows row … row + 2 of the bordered image exist; the scratch holds a row of
                // outputs; each task writes its own row of its patch.
                unsafe {
                    let convolution = First {
                        src: image.at((patch * (BANDS + 2) + row) * WIDE),
                        src_row: WIDE,
                        dst: pixels,
                        dst_row: FRAMES * CHANNELS,
                        rows: 1,
                        cols: FRAMES,
                        c: CHANNELS,
                        weight: self.first.0.as_ptr(),
                        bias: self.first.1.as_ptr(),
                        relu: true,
                    };
                    first::first(self.isa, &convolution);
                    let pooled = Pool {
                        src: pixels,
                        src_row: 0,
                        dst: target.at(patch * shape.len() + shape.at(row, 0)),
                        dst_row: 0,
                        rows: 1,
                        cols: shape.w,
                        c: CHANNELS,
                        window: POOLS[0],
                        scale: scale.as_ptr(),
                        shift: shift.as_ptr(),
                    };
                    pool(self.isa, &pooled);
                }
            });
        });
    }

    /// The pool after convolution `index + 2`.
    fn pool(&self, index: usize, from: &Act, to: &mut Act, n: usize) {
        let (before, after) = (from.shape, to.shape);
        let source = Shared(from.buf.as_ptr().cast_mut());
        let target = Shared(to.buf.as_mut_ptr());
        let (scale, shift) = &self.norms[index + 1];
        let window = POOLS[index + 1];
        (0..n * after.h).into_par_iter().with_max_len(4).for_each(|task| {
            let (patch, row) = (task / after.h, task % after.h);
            // SAFETY: the rows that output row `row` joins exist; each task writes its own row of its patch.
            unsafe {
                let pooled = Pool {
                    src: source.at(patch * before.len() + before.at(window.0 * row, 0)),
                    src_row: before.row(),
                    dst: target.at(patch * after.len() + after.at(row, 0)),
                    dst_row: 0,
                    rows: 1,
                    cols: after.w,
                    c: CHANNELS,
                    window,
                    scale: scale.as_ptr(),
                    shift: shift.as_ptr(),
                };
                pool(self.isa, &pooled);
            }
        });
    }

    /// 4×4 pool after the last convolution: one band, two times.
    fn last_pool(&self, from: &Act, out: &mut [f32]) {
        let (scale, shift) = &self.norms[4];
        for (patch, out) in out.chunks_exact_mut(PENULTIMATE).enumerate() {
            let corner = &from.buf.as_slice()[patch * from.shape.len() + from.shape.at(0, 0)..];
            // SAFETY: 4 rows of 8 pixels exist (6 × 11 are there); `out` holds two pixels.
            unsafe {
                let pooled = Pool {
                    src: corner.as_ptr(),
                    src_row: from.shape.row(),
                    dst: out.as_mut_ptr(),
                    dst_row: 0,
                    rows: 1,
                    cols: 2,
                    c: CHANNELS,
                    window: POOLS[4],
                    scale: scale.as_ptr(),
                    shift: shift.as_ptr(),
                };
                pool(self.isa, &pooled);
            }
        }
    }
}
