//! Packed weights for the fast path: filters in lanes, spectra computed, batch norms folded,
//! constant outputs removed.
//!
//! Training with weight decay leaves filters whose kernels are zero: their outputs are constants.
//! Of `musicnn-msd`'s 408 timbral filters 370 are, of its 153 temporal ones 126, of the 64 of its
//! first middle layer 44. They are found here by their weights, whatever the model, and enter the
//! next layer's bias instead of being computed.

use super::front::{BAND_BINS, TAPS, TIME_BINS};
use super::{BANDS, EPSILON, FRAMES, FRONT, JOINED, MIDDLE, MusicnnTensors, PENULTIMATE, TAGS};
use crate::cpu::conv::{NormNumbers, affine};
use voisin_simd::buffer::Buffer;

/// Below this, a filter's weights change outputs by no more than rounding (spectrograms are below
/// 10).
const NOTHING: f64 = 1e-10;

fn norm(numbers: &NormNumbers) -> Vec<(f64, f64)> {
    affine(numbers, EPSILON)
}

struct NormedConvolution<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    norm: Vec<(f64, f64)>,
}

impl NormedConvolution<'_> {
    fn taps(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    fn kernel(&self, filter: usize) -> &[f32] {
        &self.weight[filter * self.taps()..(filter + 1) * self.taps()]
    }

    /// The constant output of a filter that ignores its input; `None` for others.
    fn constant(&self, filter: usize) -> Option<f64> {
        let (scale, shift) = self.norm[filter];
        let reach: f64 = self.kernel(filter).iter().map(|w| f64::from(w.abs())).sum();
        (reach * scale.abs() <= NOTHING)
            .then(|| scale * f64::from(self.bias[filter]).max(0.0) + shift)
    }

    /// Filters that must be computed, then the constant ones.
    fn live_first(&self) -> (Vec<usize>, usize) {
        let (mut order, constant): (Vec<usize>, Vec<usize>) =
            (0..self.bias.len()).partition(|&f| self.constant(f).is_none());
        let live = order.len();
        order.extend(constant);
        (order, live)
    }
}

/// Filters of the front that are computed side by side.
#[derive(Debug)]
pub(super) struct Bank {
    pub(super) vectors: usize,
    pub(super) filters: Buffer,
    pub(super) block: usize,
    /// Sign, bias, scale and shift of each vector.
    pub(super) epilogues: Buffer,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) struct PackedMatrix {
    pub(super) inner: usize,
    /// A multiple of two vectors.
    pub(super) outputs: usize,
    /// `[panel][inner][2 · LANES]`
    pub(super) values: Buffer,
    /// `[rows][outputs]`
    pub(super) bias: Buffer,
    pub(super) scale: Buffer,
    pub(super) shift: Buffer,
}

#[derive(Debug)]
pub(super) struct Packed {
    pub(super) input: (f32, f32),
    pub(super) banks: [Bank; 3],
    pub(super) front_width: usize,
    pub(super) middle: [PackedMatrix; 3],
    pub(super) dense: PackedMatrix,
    pub(super) logits: PackedMatrix,
    /// For each frame, the row of a middle layer's bias.
    pub(super) bias_rows: Vec<u8>,
}

/// A column of the pooled activations, and its channel of the 753 joined ones.
type Column = Option<usize>;
type Inputs = Vec<(Column, Option<f64>)>;

impl Packed {
    pub(super) fn new(tensors: &MusicnnTensors, lanes: usize) -> Self {
        let layers = tensors.convolutions.iter().map(|layer| {
            let of = layer.norm.as_ref();
            NormedConvolution {
                weight: &layer.weight,
                bias: &layer.bias,
                norm: norm(of.expect("each convolution has a batch norm")),
            }
        });
        let layers: Vec<NormedConvolution> = layers.collect();

        let PackedFront {
            banks,
            mut columns,
            mut constants,
        } = pack_front(&layers, lanes);
        let front_width = columns.len();

        // The middle: channels in an order that puts the first layer's computed ones in front.
        let (order, live) = layers[5].live_first();
        let first_width = live.next_multiple_of(2 * lanes).min(MIDDLE);
        let computed = order[..first_width].to_vec();
        for &f in &order[first_width..] {
            constants[FRONT + f] = layers[5].constant(f);
        }
        let known = (0..FRONT).filter(|&c| constants[c].is_some());
        let known = known.map(|c| (Some(c), constants[c]));
        let front_inputs: Inputs = columns.iter().map(|&c| (c, None)).chain(known).collect();
        let constant = |f: usize| constants[FRONT + f].filter(|_| !computed.contains(&f));
        let first_inputs: Inputs = order.iter().map(|&f| (Some(f), constant(f))).collect();
        let second_inputs: Inputs = order.iter().map(|&f| (Some(f), None)).collect();
        let mut middle = [
            pack_middle(&layers[5], FRONT, &front_inputs, &computed, lanes),
            pack_middle(&layers[6], MIDDLE, &first_inputs, &order, lanes),
            pack_middle(&layers[7], MIDDLE, &second_inputs, &order, lanes),
        ];
        for (i, &f) in order.iter().enumerate().skip(first_width) {
            // The residual of a channel that is not computed.
            middle[1].shift.as_mut_slice()[i] += constants[FRONT + f].unwrap_or(0.0) as f32;
        }

        // The back.
        columns.extend(computed.iter().map(|&f| Some(FRONT + f)));
        for stage in 1..3 {
            columns.extend(order.iter().map(|&f| Some(FRONT + MIDDLE * stage + f)));
        }
        let (scale, shift) = norm(&tensors.input)[0];
        Self {
            input: (scale as f32, shift as f32),
            banks,
            front_width,
            middle,
            dense: pack_dense(tensors, &columns, &constants, lanes),
            logits: pack_logits(&tensors.tags, lanes),
            bias_rows: (0..FRAMES).map(bias_row).collect(),
        }
    }
}

struct PackedFront {
    banks: [Bank; 3],
    /// Of its rows.
    columns: Vec<Column>,
    /// Of the 753 joined channels, those whose value is known.
    constants: Vec<Option<f64>>,
}

/// Columns of computed filters, and constants for the rest.
fn pack_front(layers: &[NormedConvolution], lanes: usize) -> PackedFront {
    let mut constants = vec![None; JOINED];
    let mut columns: Vec<Column> = Vec::new();
    let mut bank = |members: &[usize], first: usize| {
        let mut list: Vec<(usize, usize, Option<f64>)> = Vec::new();
        for &i in members {
            list.extend((0..layers[i].bias.len()).map(|f| (i, f, layers[i].constant(f))));
        }
        list.sort_by_key(|(_, _, constant)| constant.is_some());
        let live = list
            .iter()
            .filter(|(_, _, constant)| constant.is_none())
            .count();
        let vectors = live.div_ceil(lanes);
        let channel =
            |i: usize, f: usize| first + (i - members[0]) * layers[members[0]].bias.len() + f;
        let column = columns.len();
        let mut filters = Vec::new();
        for slot in 0..vectors * lanes {
            filters.push(
                list.get(slot)
                    .map(|&(i, f, constant)| (i, f, constant.is_some())),
            );
            columns.push(list.get(slot).map(|&(i, f, _)| channel(i, f)));
        }
        for &(i, f, constant) in list.iter().skip(vectors * lanes) {
            constants[channel(i, f)] = constant;
        }
        (column, filters)
    };
    let front = [bank(&[0], 0), bank(&[1], 204), bank(&[2, 3, 4], 408)];
    let banks = front.map(|(column, filters)| pack_bank(layers, &filters, column, lanes));
    PackedFront {
        banks,
        columns,
        constants,
    }
}

/// Frames 0, 1, 2 and the last three have zeros on one side and their own bias; all others share
/// number 3.
fn bias_row(frame: usize) -> u8 {
    match frame {
        0..3 => frame as u8,
        _ if frame + 3 >= FRAMES => (frame + 7 - FRAMES) as u8,
        _ => 3,
    }
}

/// A frame that uses bias row `row`.
fn frame_of(row: usize) -> usize {
    match row {
        0..=3 => row,
        _ => FRAMES + row - 7,
    }
}

/// Bin `k` of the spectrum of a kernel that begins `from` samples in, conjugated.
fn spectrum(kernel: &[f32], roots: &[(f64, f64)], k: usize, from: usize) -> (f64, f64) {
    let mut re = 0.0;
    let mut im = 0.0;
    for (j, &w) in kernel.iter().enumerate() {
        let (sin, cos) = roots[k * (j + from) % roots.len()];
        re += f64::from(w) * cos;
        im += f64::from(w) * sin;
    }
    (re, im)
}

/// Spectra and epilogues of filters `(layer, filter, constant)`.
fn pack_bank(
    layers: &[NormedConvolution],
    filters: &[Option<(usize, usize, bool)>],
    column: usize,
    lanes: usize,
) -> Bank {
    let vectors = filters.len() / lanes;
    let any = filters.iter().flatten().next();
    let timbral = any.is_none_or(|&(layer, ..)| layer < 2);
    let (size, bins, taps) = if timbral {
        (BANDS, BAND_BINS, TAPS)
    } else {
        (TIME_BINS, TIME_BINS, 1)
    };
    let roots: Vec<(f64, f64)> = (0..size)
        .map(|i| (2.0 * std::f64::consts::PI * i as f64 / size as f64).sin_cos())
        .collect();
    let block = bins * taps * 2 * lanes;
    let mut spectra = Buffer::zeroed(vectors * block);
    let mut epilogues = Buffer::zeroed(vectors * 4 * lanes);
    for (slot, filter) in filters.iter().enumerate() {
        let Some((layer, filter, constant)) = *filter else {
            continue;
        };
        let vector = slot / lanes;
        let lane = slot % lanes;
        let layer = &layers[layer];
        let (scale, shift) = layer.norm[filter];
        let sign = if scale < 0.0 { -1.0 } else { 1.0 };
        for (i, value) in [sign, f64::from(layer.bias[filter]), scale, shift]
            .into_iter()
            .enumerate()
        {
            epilogues.as_mut_slice()[(vector * 4 + i) * lanes + lane] = value as f32;
        }
        if constant {
            continue;
        }
        // The conjugate of the kernel's spectrum makes a correlation of the product.
        let kernel = layer.kernel(filter);
        let length = kernel.len() / taps;
        let before = if timbral { 0 } else { (length - 1) / 2 };
        for k in 0..bins {
            for tap in 0..taps {
                let taps_of = &kernel[tap * length..(tap + 1) * length];
                let (re, im) = spectrum(taps_of, &roots, k, size - before);
                let at = vector * block + (k * taps + tap) * 2 * lanes + lane;
                spectra.as_mut_slice()[at] = (sign * re / size as f64) as f32;
                spectra.as_mut_slice()[at + lanes] = (sign * im / size as f64) as f32;
            }
        }
    }
    Bank {
        vectors,
        filters: spectra,
        block,
        epilogues,
        column,
    }
}

impl PackedMatrix {
    fn new(inner: usize, outputs: usize, bias_rows: usize, lanes: usize) -> Self {
        let outputs = outputs.next_multiple_of(2 * lanes);
        Self {
            inner,
            outputs,
            values: Buffer::zeroed(inner * outputs),
            bias: Buffer::zeroed(bias_rows * outputs),
            scale: Buffer::zeroed(outputs),
            shift: Buffer::zeroed(outputs),
        }
    }

    fn set(&mut self, row: usize, output: usize, value: f64, lanes: usize) {
        let panel = output / (2 * lanes);
        let lane = output % (2 * lanes);
        self.values.as_mut_slice()[(panel * self.inner + row) * 2 * lanes + lane] = value as f32;
    }
}

/// A convolution over 7 frames and all channels, as a product of rows that overlap.
///
/// - `inputs`: for each column of the input its channel, then channels that are constant, with
///   their value
/// - `outputs`: channels in the order of the output's columns
fn pack_middle(
    layer: &NormedConvolution,
    channels: usize,
    inputs: &[(Column, Option<f64>)],
    outputs: &[usize],
    lanes: usize,
) -> PackedMatrix {
    let width = inputs
        .iter()
        .filter(|(_, constant)| constant.is_none())
        .count();
    let mut matrix = PackedMatrix::new(TAPS * width, outputs.len(), 7, lanes);
    for (o, &output) in outputs.iter().enumerate() {
        let kernel = layer.kernel(output); // [channels][7]
        let is_constant = layer.constant(output).is_some();
        let weight = |channel: usize, tap: usize| f64::from(kernel[channel * TAPS + tap]);
        let mut bias = [f64::from(layer.bias[output]); 7];
        for (i, &(channel, constant)) in inputs.iter().enumerate() {
            let Some(channel) = channel.filter(|_| !is_constant) else {
                continue;
            };
            debug_assert!(channel < channels, "inputs name the layer's own channels");
            for tap in 0..TAPS {
                match constant {
                    None => matrix.set(tap * width + i, o, weight(channel, tap), lanes),
                    Some(value) => {
                        for (row, bias) in bias.iter_mut().enumerate() {
                            if (3..FRAMES + 3).contains(&(frame_of(row) + tap)) {
                                *bias += value * weight(channel, tap);
                            }
                        }
                    }
                }
            }
        }
        for (row, bias) in bias.into_iter().enumerate() {
            let at = row * matrix.outputs + o;
            matrix.bias.as_mut_slice()[at] = bias as f32;
        }
        matrix.scale.as_mut_slice()[o] = layer.norm[output].0 as f32;
        matrix.shift.as_mut_slice()[o] = layer.norm[output].1 as f32;
    }
    matrix
}

/// Batch norm of the pools, dense layer, and the penultimate layer's batch norm.
///
/// Inputs are the maxima of all columns, then their means.
fn pack_dense(
    tensors: &MusicnnTensors,
    columns: &[Column],
    constants: &[Option<f64>],
    lanes: usize,
) -> PackedMatrix {
    let (weight, bias) = &tensors.dense;
    let inputs = 2 * JOINED;
    let pools = norm(&tensors.pools);
    let after = norm(&tensors.penultimate);
    let mut matrix = PackedMatrix::new(2 * columns.len(), PENULTIMATE, 1, lanes);
    for o in 0..PENULTIMATE {
        // `2 · channel` is a channel's maximum, `2 · channel + 1` its mean.
        let weight = |input: usize| f64::from(weight[o * inputs + input]);
        let mut sum = f64::from(bias[o]);
        for (input, &(_, shift)) in pools.iter().enumerate() {
            sum += weight(input) * shift;
        }
        for (channel, constant) in constants.iter().enumerate() {
            for input in [2 * channel, 2 * channel + 1] {
                sum += constant.map_or(0.0, |value| weight(input) * pools[input].0 * value);
            }
        }
        for (i, column) in columns.iter().enumerate() {
            let Some(channel) = *column else { continue };
            for half in 0..2 {
                let input = 2 * channel + half;
                matrix.set(
                    half * columns.len() + i,
                    o,
                    weight(input) * pools[input].0,
                    lanes,
                );
            }
        }
        matrix.bias.as_mut_slice()[o] = sum as f32;
        matrix.scale.as_mut_slice()[o] = after[o].0 as f32;
        matrix.shift.as_mut_slice()[o] = after[o].1 as f32;
    }
    matrix
}

fn pack_logits((weight, bias): &(Vec<f32>, Vec<f32>), lanes: usize) -> PackedMatrix {
    let mut matrix = PackedMatrix::new(PENULTIMATE, TAGS, 1, lanes);
    for o in 0..TAGS {
        for i in 0..PENULTIMATE {
            matrix.set(i, o, f64::from(weight[o * PENULTIMATE + i]), lanes);
        }
        matrix.bias.as_mut_slice()[o] = bias[o];
    }
    matrix
}
