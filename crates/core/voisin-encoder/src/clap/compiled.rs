//! HTSAT on a CPU: the layers of [`ClapAudio`], with their weights packed for its products.
//!
//! The results are those of the Candle module, which is used on GPUs and as the reference in tests
//! (`--engine candle`). Windows, and parts of one window, run on different threads; the result does
//! not depend on their number.

use candle_core::{Device, Result, Tensor};
use candle_nn::{LayerNorm, Linear};
use rayon::prelude::*;
use voisin_kernels::Isa;
use voisin_networks::rows::{self, Panels, WIDTH};
use voisin_networks::transformer::{gelu, layer_norm, softmax};

use super::ClapProjection;
use super::audio::{
    CELLS, ClapAudio, GRID, PATCH, SQUARE, SpectrogramFold, SwinBlock, SwinStage, TOKENS, WINDOW,
};
use crate::EncoderError;
use crate::backend::{Backend, Pass};

/// Patches per task: two windows of attention. More would share reads of the weights, but leave
/// threads idle in the last stages.
const TASK: usize = 2 * TOKENS;

/// The compiled audio encoder.
pub(crate) struct CompiledClapAudio {
    isa: Isa,
    fold: SpectrogramFold,
    patches: Panels,
    norm_of_patches: RowNorm,
    stages: Vec<CompiledStage>,
    norm: RowNorm,
    projection: ClapProjection,
}

struct RowNorm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

struct CompiledStage {
    side: usize,
    blocks: Vec<CompiledBlock>,
    merging: Option<(RowNorm, Panels)>,
}

struct CompiledBlock {
    shift: usize,
    heads: usize,
    norms: [RowNorm; 2],
    /// Queries, keys and values of all heads in one product, so that rows are read once.
    attention: Panels,
    output: Panels,
    /// `[windows or 1][heads][64][64]`
    bias: Vec<f32>,
    mlp: [Panels; 2],
}

impl RowNorm {
    fn new(layer: &LayerNorm) -> Result<Self> {
        let scale = layer.weight().to_vec1::<f32>()?;
        let shift = match layer.bias() {
            Some(bias) => bias.to_vec1()?,
            None => vec![0.0; scale.len()],
        };
        Ok(Self { scale, shift })
    }

    /// - `input`: rows that begin `stride` apart
    /// - returns: `[rows][length]`
    fn rows(&self, isa: Isa, input: &[f32], stride: usize) -> Vec<f32> {
        let length = self.scale.len();
        let mut out = vec![0.0; input.len() / stride * length];
        for (row, out) in input.chunks_exact(stride).zip(out.chunks_exact_mut(length)) {
            self.row(isa, &row[..length], out);
        }
        out
    }

    fn row(&self, isa: Isa, row: &[f32], out: &mut [f32]) {
        layer_norm(isa, row, &self.scale, &self.shift, out);
    }
}

/// Joins layers of the same input into one with concatenated outputs, each times its factor.
fn panels(isa: Isa, layers: &[(&Linear, f32)]) -> Result<Panels> {
    let mut weights = Vec::new();
    let mut biases = Vec::new();
    let mut inner = 0;
    for (layer, factor) in layers {
        let rows = layer.weight().to_vec2::<f32>()?;
        inner = rows.first().map_or(0, Vec::len);
        let bias = match layer.bias() {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => vec![0.0; rows.len()],
        };
        biases.extend(bias.into_iter().map(|b| b * factor));
        weights.extend(rows.into_iter().flatten().map(|w| w * factor));
    }
    let value = |from: usize, to: usize| weights[to * inner + from];
    Ok(Panels::new(isa, inner, biases.len(), value).with_bias(&biases))
}

/// Rows of `input`, `stride` apart, times a layer: `[rows][layer.width()]`.
fn multiply(layer: &Panels, input: &[f32], stride: usize) -> Vec<f32> {
    let mut out = vec![0.0; input.len() / stride * layer.width()];
    layer.multiply(input, stride, &mut out);
    out
}

/// Window, and token in it, of each patch of a grid that is shifted by this many patches in both
/// directions.
fn place(patch: usize, side: usize, shift: usize) -> usize {
    let row = (patch / side + side - shift) % side;
    let column = (patch % side + side - shift) % side;
    let window = row / WINDOW * (side / WINDOW) + column / WINDOW;
    window * TOKENS + row % WINDOW * WINDOW + column % WINDOW
}

impl CompiledClapAudio {
    pub(super) fn new(module: ClapAudio, isa: Isa) -> std::result::Result<Self, EncoderError> {
        let stages = module
            .stages
            .iter()
            .map(|stage| CompiledStage::new(stage, isa))
            .collect::<Result<_>>()?;
        Ok(Self {
            isa,
            patches: panels(isa, &[(&module.patches, 1.0)])?,
            norm_of_patches: RowNorm::new(&module.norm_of_patches)?,
            stages,
            norm: RowNorm::new(&module.norm)?,
            fold: module.fold,
            projection: module.projection,
        })
    }

    /// The mean of the last stage's patches.
    ///
    /// - `visit`: called with the output of each stage, beginning with the embedded patches,
    ///   `[patches][channels]`
    pub(super) fn pooled(&self, mel: &[f32], mut visit: impl FnMut(&[f32])) -> Vec<f32> {
        let mut patches = vec![0.0; SQUARE * SQUARE];
        self.fold.fold(mel, &mut patches);
        let mut x = vec![0.0; GRID * GRID * self.norm_of_patches.scale.len()];
        let length = self.norm_of_patches.scale.len();
        x.par_chunks_mut(TASK * length)
            .zip(patches.par_chunks(TASK * PATCH * PATCH))
            .for_each(|(x, patches)| {
                let embedded = multiply(&self.patches, patches, PATCH * PATCH);
                x.copy_from_slice(&self.norm_of_patches.rows(
                    self.isa,
                    &embedded,
                    self.patches.width(),
                ));
            });
        visit(&x);
        for stage in &self.stages {
            x = stage.forward(self.isa, x);
            visit(&x);
        }
        let length = self.norm.scale.len();
        let normed = self.norm.rows(self.isa, &x, length);
        let count = (normed.len() / length) as f32;
        let mut mean = vec![0.0; length];
        for row in normed.chunks_exact(length) {
            for (sum, x) in mean.iter_mut().zip(row) {
                *sum += x;
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }

    /// The vector of one window.
    pub(super) fn vector(&self, mel: &[f32]) -> std::result::Result<Vec<f32>, EncoderError> {
        let pooled = self.pooled(mel, |_| ());
        let length = pooled.len();
        let pooled = Tensor::from_vec(pooled, (1, length), &Device::Cpu)?;
        Ok(self.projection.vectors(&pooled)?.concat())
    }
}

impl Backend for CompiledClapAudio {
    fn forward(&self, mels: &[f32], _: usize) -> std::result::Result<Pass, EncoderError> {
        let vectors = mels
            .par_chunks(CELLS)
            .map(|mel| self.vector(mel))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Pass {
            embeddings: vectors.concat(),
            logits: Vec::new(),
        })
    }
}

impl CompiledStage {
    fn new(stage: &SwinStage, isa: Isa) -> Result<Self> {
        let merging = match &stage.merging {
            Some((norm, reduction)) => {
                Some((RowNorm::new(norm)?, panels(isa, &[(reduction, 1.0)])?))
            }
            None => None,
        };
        Ok(Self {
            side: stage.side,
            blocks: stage
                .blocks
                .iter()
                .map(|block| CompiledBlock::new(block, isa))
                .collect::<Result<_>>()?,
            merging,
        })
    }

    /// - `x`: `[side · side][channels]`
    fn forward(&self, isa: Isa, mut x: Vec<f32>) -> Vec<f32> {
        for block in &self.blocks {
            block.forward(isa, &mut x, self.side);
        }
        let Some((norm, reduction)) = &self.merging else {
            return x;
        };
        let channels = norm.scale.len() / 4;
        let half = self.side / 2;
        let mut merged = vec![0.0; half * half * 2 * channels];
        let rows = merged.par_chunks_mut(half * 2 * channels);
        rows.enumerate().for_each(|(row, merged)| {
            let mut joined = Vec::with_capacity(half * 4 * channels);
            for column in 0..half {
                // Of four patches first the two of the left column, then those of the right.
                for [down, along] in [[0, 0], [1, 0], [0, 1], [1, 1]] {
                    let patch = (2 * row + down) * self.side + 2 * column + along;
                    joined.extend_from_slice(&x[patch * channels..][..channels]);
                }
            }
            let normed = norm.rows(isa, &joined, 4 * channels);
            let reduced = multiply(reduction, &normed, 4 * channels);
            let reduced = reduced.chunks_exact(reduction.width());
            for (merged, reduced) in merged.chunks_exact_mut(2 * channels).zip(reduced) {
                merged.copy_from_slice(&reduced[..2 * channels]);
            }
        });
        merged
    }
}

impl CompiledBlock {
    fn new(block: &SwinBlock, isa: Isa) -> Result<Self> {
        let channels = block.norms[0].weight().dim(0)?;
        // Scores are products of queries and keys over the root of their length.
        let factor = 1.0 / ((channels / block.heads) as f32).sqrt();
        Ok(Self {
            shift: block.shift,
            heads: block.heads,
            norms: [
                RowNorm::new(&block.norms[0])?,
                RowNorm::new(&block.norms[1])?,
            ],
            attention: panels(
                isa,
                &[
                    (&block.query, factor),
                    (&block.key, 1.0),
                    (&block.value, 1.0),
                ],
            )?,
            output: panels(isa, &[(&block.output, 1.0)])?,
            bias: block.bias.flatten_all()?.to_vec1()?,
            mlp: [
                panels(isa, &[(&block.mlp[0], 1.0)])?,
                panels(isa, &[(&block.mlp[1], 1.0)])?,
            ],
        })
    }

    /// - `x`: `[side · side][channels]`
    fn forward(&self, isa: Isa, x: &mut [f32], side: usize) {
        let channels = self.norms[0].scale.len();
        let width = self.output.width();
        let patch_of: Vec<usize> = {
            let mut patches = vec![0; side * side];
            (0..side * side).for_each(|patch| patches[place(patch, side, self.shift)] = patch);
            patches
        };
        let mut heard = vec![0.0; side * side * width];
        let tasks = heard
            .par_chunks_mut(TASK * width)
            .zip(patch_of.par_chunks(TASK));
        tasks.enumerate().for_each(|(task, (heard, patches))| {
            let mut normed = vec![0.0; patches.len() * channels];
            for (patch, normed) in patches.iter().zip(normed.chunks_exact_mut(channels)) {
                self.norms[0].row(isa, &x[patch * channels..][..channels], normed);
            }
            let joined = self.attend(isa, &normed, task * TASK / TOKENS);
            self.output.multiply(&joined, channels, heard);
        });
        let tasks = x.par_chunks_mut(TASK * channels).enumerate();
        tasks.for_each(|(task, x)| {
            for (at, x) in x.chunks_exact_mut(channels).enumerate() {
                let row = place(task * TASK + at, side, self.shift) * width;
                add(x, &heard[row..]);
            }
            let normed = self.norms[1].rows(isa, x, channels);
            let mut hidden = multiply(&self.mlp[0], &normed, channels);
            gelu(isa, &mut hidden);
            let through = multiply(&self.mlp[1], &hidden, self.mlp[0].width());
            let through = through.chunks_exact(self.mlp[1].width());
            for (x, through) in x.chunks_exact_mut(channels).zip(through) {
                add(x, through);
            }
        });
    }

    /// The heads' concatenated outputs, `[tokens][channels]`.
    ///
    /// - `windows`: whole windows, `[tokens][channels]`
    /// - `first`: which of the grid's windows is the first
    fn attend(&self, isa: Isa, windows: &[f32], first: usize) -> Vec<f32> {
        let channels = self.norms[0].scale.len();
        let size = channels / self.heads;
        let length = self.attention.width();
        let all = multiply(&self.attention, windows, channels);
        let mut joined = vec![0.0; windows.len()];
        let mut query = vec![0.0; TOKENS * size];
        let mut key = vec![0.0; size * TOKENS];
        // Products take whole registers; the padding stays zero.
        let padded = size.next_multiple_of(WIDTH);
        let mut value = vec![0.0; TOKENS * padded];
        let mut scores = vec![0.0; TOKENS * TOKENS];
        let mut answer = vec![0.0; TOKENS * padded];
        let of_grid = self.bias.len() / (self.heads * TOKENS * TOKENS);
        for window in 0..windows.len() / (TOKENS * channels) {
            let rows = &all[window * TOKENS * length..][..TOKENS * length];
            for head in 0..self.heads {
                for (token, row) in rows.chunks_exact(length).enumerate() {
                    let part = |kind: usize| &row[kind * channels + head * size..][..size];
                    query[token * size..][..size].copy_from_slice(part(0));
                    for (at, x) in part(1).iter().enumerate() {
                        key[at * TOKENS + token] = *x;
                    }
                    value[token * padded..][..size].copy_from_slice(part(2));
                }
                rows::multiply(isa, &query, &key, TOKENS, &mut scores);
                // An unshifted grid has one bias for all windows.
                let of_window = (first + window) % of_grid * self.heads + head;
                let bias = &self.bias[of_window * TOKENS * TOKENS..];
                softmax(isa, &mut scores, bias, TOKENS);
                rows::multiply(isa, &scores, &value, padded, &mut answer);
                for (token, answer) in answer.chunks_exact(padded).enumerate() {
                    let at = (window * TOKENS + token) * channels + head * size;
                    joined[at..][..size].copy_from_slice(&answer[..size]);
                }
            }
        }
        joined
    }
}

/// Adds as many numbers as `to` has.
fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
