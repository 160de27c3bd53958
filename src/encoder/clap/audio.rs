//! HTSAT: a Swin transformer over a spectrogram folded into a square.
//!
//! Chen, Du, Zhu, Ma, Berg-Kirkpatrick, Dubnov, "HTS-AT: a hierarchical token-semantic audio
//! transformer for sound classification and detection", ICASSP 2022; Liu et al., "Swin transformer",
//! ICCV 2021. Dropout and the fusion of several crops, which only training and fused models need,
//! are left out.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{LayerNorm, Linear, Module, VarBuilder, layer_norm, linear, linear_no_bias};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::{ClapProjection, ClapTowers};
use crate::EncoderError;
use crate::backend::{Backend, Pass};

/// Mel bands and frames of a window.
pub(crate) const SHAPE: [usize; 2] = [64, 1001];
pub(super) const CELLS: usize = SHAPE[0] * SHAPE[1];
/// Frames after stretching; the square is as high as four pieces of the spectrogram.
const STRETCHED: usize = 1024;
const SQUARE: usize = 256;
/// Side of a patch of the square, and patches in a row.
const PATCH: usize = 4;
const GRID: usize = SQUARE / PATCH;
/// Side of a window of attention, in patches.
const WINDOW: usize = 8;
const TOKENS: usize = WINDOW * WINDOW;
const EPSILON: f64 = 1e-5;

pub(crate) struct ClapAudio {
    device: Device,
    fold: SpectrogramFold,
    patches: Linear,
    norm_of_patches: LayerNorm,
    stages: Vec<SwinStage>,
    norm: LayerNorm,
    projection: ClapProjection,
}

struct SpectrogramFold {
    /// Factor and summand of each band: the batch norm.
    scale: Vec<f32>,
    shift: Vec<f32>,
    stretch: Vec<StretchTaps>,
}

/// Interpolation of a stretched frame: four frames and their weights.
struct StretchTaps {
    frames: [usize; 4],
    weights: [f32; 4],
}

struct SwinStage {
    /// Patches in a row.
    side: usize,
    blocks: Vec<SwinBlock>,
    /// Merging to half as many in a row, twice as wide.
    merging: Option<(LayerNorm, Linear)>,
}

struct SwinBlock {
    shift: usize,
    heads: usize,
    norms: [LayerNorm; 2],
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Added to scores, `[windows or 1, heads, 64, 64]`: by relative position, and to mask
    /// attention across the seam of a shifted grid.
    bias: Tensor,
    mlp: [Linear; 2],
}

/// Frames of bicubic interpolation with aligned corners (kernel of Keys, a = -0.75).
fn stretching() -> Vec<StretchTaps> {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let last = SHAPE[1] - 1;
    (0..STRETCHED)
        .map(|i| {
            let at = (i * last) as f64 / (STRETCHED - 1) as f64;
            let floor = at.floor();
            let t = at - floor;
            let frame = |step: i64| (floor as i64 + step).clamp(0, last as i64) as usize;
            StretchTaps {
                frames: [frame(-1), frame(0), frame(1), frame(2)],
                weights: [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)].map(|w| w as f32),
            }
        })
        .collect()
}

impl SpectrogramFold {
    /// The patches of a spectrogram, `[64 · 64][16]`: bands normalised, frames stretched, the four
    /// quarters of its time laid one below the other.
    fn fold(&self, mel: &[f32], patches: &mut [f32]) {
        for (band, frames) in mel.chunks_exact(SHAPE[1]).enumerate() {
            for (i, taps) in self.stretch.iter().enumerate() {
                let sum: f32 = (0..4)
                    .map(|k| taps.weights[k] * frames[taps.frames[k]])
                    .sum();
                // The weights of a frame add up to 1, so the norm may follow.
                let value = sum * self.scale[band] + self.shift[band];
                let row = i / SQUARE * SHAPE[0] + band;
                let column = i % SQUARE;
                let patch = row / PATCH * GRID + column / PATCH;
                patches[patch * PATCH * PATCH + row % PATCH * PATCH + column % PATCH] = value;
            }
        }
    }
}

impl ClapAudio {
    pub(super) fn new(
        towers: &ClapTowers,
        variables: &VarBuilder,
        device: &Device,
    ) -> std::result::Result<Self, EncoderError> {
        let sizes = &towers.audio;
        let encoder = variables.pp("audio_model.audio_encoder");
        let bands = |name: &str| -> Result<Vec<f32>> {
            encoder.pp("batch_norm").get(SHAPE[0], name)?.to_vec1()
        };
        let variance = bands("running_var")?;
        let scale: Vec<f32> = bands("weight")?
            .iter()
            .zip(&variance)
            .map(|(w, v)| (f64::from(*w) / (f64::from(*v) + EPSILON).sqrt()) as f32)
            .collect();
        let shift = bands("bias")?
            .iter()
            .zip(bands("running_mean")?)
            .zip(&scale)
            .map(|((b, m), s)| b - m * s)
            .collect();
        let embed = encoder.pp("patch_embed");
        let kernel = embed.get(
            (sizes.patch_embeds_hidden_size, 1, PATCH, PATCH),
            "proj.weight",
        )?;
        let bias = embed.get(sizes.patch_embeds_hidden_size, "proj.bias")?;
        // A convolution whose stride is its own size is a product with each patch.
        let patches = Linear::new(
            kernel.reshape((sizes.patch_embeds_hidden_size, ()))?,
            Some(bias),
        );
        let stages = (0..4)
            .map(|i| SwinStage::new(towers, i, &encoder.pp(format!("layers.{i}"))))
            .collect::<Result<_>>()?;
        let widest = sizes.patch_embeds_hidden_size << 3;
        Ok(Self {
            device: device.clone(),
            fold: SpectrogramFold {
                scale,
                shift,
                stretch: stretching(),
            },
            patches,
            norm_of_patches: layer_norm(sizes.patch_embeds_hidden_size, EPSILON, embed.pp("norm"))?,
            stages,
            norm: layer_norm(widest, EPSILON, encoder.pp("norm"))?,
            projection: ClapProjection::new(
                widest,
                towers.projection,
                variables.pp("audio_projection"),
            )?,
        })
    }

    /// The output of each stage, beginning with the embedded patches, `[n, patches, channels]`.
    pub(super) fn stages(&self, mels: &[f32], mut visit: impl FnMut(&Tensor)) -> Result<Tensor> {
        let n = mels.len() / CELLS;
        let mut patches = vec![0.0; n * SQUARE * SQUARE];
        for (mel, patches) in mels
            .chunks_exact(CELLS)
            .zip(patches.chunks_exact_mut(SQUARE * SQUARE))
        {
            self.fold.fold(mel, patches);
        }
        let patches = Tensor::from_vec(patches, (n, GRID * GRID, PATCH * PATCH), &self.device)?;
        let mut x = self
            .norm_of_patches
            .forward(&self.patches.forward(&patches)?)?;
        visit(&x);
        for stage in &self.stages {
            x = stage.forward(&x)?;
            visit(&x);
        }
        self.norm.forward(&x)?.mean(1)
    }

    /// The vectors of windows, concatenated.
    pub(super) fn vector(&self, mel: &[f32]) -> std::result::Result<Vec<f32>, EncoderError> {
        let pooled = self.stages(mel, |_| ())?;
        Ok(self.projection.vectors(&pooled)?.concat())
    }
}

impl Backend for ClapAudio {
    fn forward(&self, mels: &[f32], n: usize) -> std::result::Result<Pass, EncoderError> {
        // One window at a time on a CPU, as the last bits of Candle's products depend on the batch.
        let together = if self.device.is_cpu() { 1 } else { n.max(1) };
        let vectors: std::result::Result<Vec<Vec<f32>>, EncoderError> = mels
            .par_chunks(together * CELLS)
            .map(|mels| self.vector(mels))
            .collect();
        Ok(Pass {
            embeddings: vectors?.concat(),
            logits: Vec::new(),
        })
    }
}

impl SwinStage {
    fn new(towers: &ClapTowers, i: usize, variables: &VarBuilder) -> Result<Self> {
        let side = GRID >> i;
        let channels = towers.audio.patch_embeds_hidden_size << i;
        let blocks = (0..towers.audio.depths[i])
            .map(|j| {
                // The whole grid is one window in the last stage: nothing to shift.
                let shift = if j % 2 == 0 || side == WINDOW {
                    0
                } else {
                    WINDOW / 2
                };
                let hidden = towers.audio.mlp_ratio as usize * channels;
                let sizes = [channels, towers.audio.num_attention_heads[i], hidden];
                SwinBlock::new(sizes, side, shift, &variables.pp(format!("blocks.{j}")))
            })
            .collect::<Result<_>>()?;
        let merging = if i < 3 {
            let merging = variables.pp("downsample");
            Some((
                layer_norm(4 * channels, EPSILON, merging.pp("norm"))?,
                linear_no_bias(4 * channels, 2 * channels, merging.pp("reduction"))?,
            ))
        } else {
            None
        };
        Ok(Self {
            side,
            blocks,
            merging,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.blocks {
            x = block.forward(&x, self.side)?;
        }
        let Some((norm, reduction)) = &self.merging else {
            return Ok(x);
        };
        let (n, _, channels) = x.dims3()?;
        let half = self.side / 2;
        // The two patches of the left column, then those of the right.
        let joined = x
            .reshape(vec![n, half, 2, half, 2, channels])?
            .permute(vec![0, 1, 3, 4, 2, 5])?
            .contiguous()?
            .reshape((n, half * half, 4 * channels))?;
        reduction.forward(&norm.forward(&joined)?)
    }
}

impl SwinBlock {
    /// - `sizes`: channels, heads, hidden layer
    fn new(
        [channels, heads, hidden]: [usize; 3],
        side: usize,
        shift: usize,
        variables: &VarBuilder,
    ) -> Result<Self> {
        let attention = variables.pp("attention.self");
        let square = |name| linear(channels, channels, attention.pp(name));
        let norm = |name| layer_norm(channels, EPSILON, variables.pp(name));
        let table = attention.get(
            ((2 * WINDOW - 1) * (2 * WINDOW - 1), heads),
            "relative_position_bias_table",
        )?;
        Ok(Self {
            shift,
            heads,
            norms: [norm("layernorm_before")?, norm("layernorm_after")?],
            query: square("query")?,
            key: square("key")?,
            value: square("value")?,
            output: linear(channels, channels, variables.pp("attention.output.dense"))?,
            bias: bias(&table, side, shift)?,
            mlp: [
                linear(channels, hidden, variables.pp("intermediate.dense"))?,
                linear(hidden, channels, variables.pp("output.dense"))?,
            ],
        })
    }

    /// - `x`: `[n, side · side, channels]`
    fn forward(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        let (n, patches, channels) = x.dims3()?;
        let in_row = side / WINDOW;
        let shift = self.shift as i32;
        let grid = self.norms[0]
            .forward(x)?
            .reshape((n, side, side, channels))?;
        let shifted = if shift > 0 {
            grid.roll(-shift, 1)?.roll(-shift, 2)?
        } else {
            grid
        };
        // Rows of patches into windows: the same swap brings them back.
        let windows = shifted
            .reshape((n * in_row, WINDOW, in_row, WINDOW * channels))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((n * in_row * in_row, TOKENS, channels))?;
        let heard = self
            .attend(&windows, n)?
            .reshape((n * in_row, in_row, WINDOW, WINDOW * channels))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((n, side, side, channels))?;
        let heard = if shift > 0 {
            heard.roll(shift, 1)?.roll(shift, 2)?
        } else {
            heard
        };
        let x = (x + heard.reshape((n, patches, channels))?)?;
        let hidden = self.mlp[0]
            .forward(&self.norms[1].forward(&x)?)?
            .gelu_erf()?;
        x + self.mlp[1].forward(&hidden)?
    }

    /// - `windows`: `[n · windows, 64, channels]`
    fn attend(&self, windows: &Tensor, n: usize) -> Result<Tensor> {
        let (count, tokens, channels) = windows.dims3()?;
        let size = channels / self.heads;
        let apart = |layer: &Linear| {
            layer
                .forward(windows)?
                .reshape((count, tokens, self.heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let query = (apart(&self.query)? / (size as f64).sqrt())?;
        let scores = query.matmul(&apart(&self.key)?.t()?)?;
        let of_grid = self.bias.dim(0)?;
        // An unshifted grid has one bias for all windows; a shifted one has one per window,
        // repeated for every example.
        let repeats = if of_grid == 1 { count } else { n };
        let scores = scores
            .reshape((repeats, of_grid, self.heads, tokens, tokens))?
            .broadcast_add(&self.bias)?
            .reshape((count, self.heads, tokens, tokens))?;
        let joined = softmax_last_dim(&scores)?
            .matmul(&apart(&self.value)?)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((count, tokens, channels))?;
        self.output.forward(&joined)
    }
}

/// Summands of scores.
///
/// - `table`: by relative position, `[15 · 15, heads]`
fn bias(table: &Tensor, side: usize, shift: usize) -> Result<Tensor> {
    /// Masks attention across a seam, as in training.
    const SEAM: f32 = -100.0;
    let heads = table.dim(1)?;
    let device = table.device();
    let table = table.to_vec2::<f32>()?;
    let in_row = if shift > 0 { side / WINDOW } else { 1 };
    // A shifted grid joins three parts in each direction.
    let part = |at: usize| {
        if shift == 0 || at < side - WINDOW {
            0
        } else if at < side - shift {
            1
        } else {
            2
        }
    };
    let mut all = Vec::with_capacity(in_row * in_row * heads * TOKENS * TOKENS);
    for window in 0..in_row * in_row {
        let place = |token: usize| {
            let row = window / in_row * WINDOW + token / WINDOW;
            let column = window % in_row * WINDOW + token % WINDOW;
            [part(row), part(column)]
        };
        for head in 0..heads {
            for from in 0..TOKENS {
                for to in 0..TOKENS {
                    // From -7 to 7 rows apart, counted from 0.
                    let down = from / WINDOW + WINDOW - 1 - to / WINDOW;
                    let along = from % WINDOW + WINDOW - 1 - to % WINDOW;
                    let seam = if place(from) == place(to) { 0.0 } else { SEAM };
                    all.push(table[down * (2 * WINDOW - 1) + along][head] + seam);
                }
            }
        }
    }
    Tensor::from_vec(all, (in_row * in_row, heads, TOKENS, TOKENS), device)
}
