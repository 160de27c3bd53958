//! The backward pass of a chain that is trained.

use rayon::prelude::*;

use super::{TrainBlock, TrainChain, only_if};
use crate::conv::chain::Tail;
use crate::conv::first;
use crate::conv::layer::{PaddedInput, convolve, with_scratch};
use crate::conv::norm_kernels::axpy;

/// Rows of the first convolution's gradient that are summed in f32, where the image has no batch
/// norm.
const STRIP: usize = 16;

impl TrainChain {
    /// Gradients of all parameters from that of the last [`forward`](Self::forward)'s output;
    /// read them with [`gradients`](Self::gradients).
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
            d.par_chunks_exact(c * h * w)
                .zip(windows)
                .for_each(|(d, da)| {
                    for (at, d) in d.iter().enumerate() {
                        da[shape.plane(at)] = *d;
                    }
                });
        }
        self.sums.clear();
        // The gradient of block i's output is in da[side].
        let mut side = 0;
        self.norm_sums(last, 0, n, side);
        let mut first_parts = Vec::new();
        for i in (0..=last).rev() {
            self.finish_norm_sums(i);
            self.sums.clear();
            // A few examples at a time, through norm, filters and input, while their gradient is in
            // cache.
            for (first, count) in self.blocks[i].chunks(n) {
                let block = &self.blocks[i];
                let dy = &mut self.dys[block.dy];
                block.pass().backward(
                    self.isa,
                    self.da[side].as_slice(),
                    &mut dy.buf,
                    first,
                    count,
                );
                let (Some((forward, _)), Some((plan, filters))) = (&block.forward, &block.backward)
                else {
                    self.first_backward(first, count, &mut first_parts);
                    continue;
                };
                let dy = PaddedInput {
                    buf: &dy.buf,
                    first: 0,
                };
                let a = PaddedInput {
                    buf: &self.blocks[i - 1].a.buf,
                    first,
                };
                self.weight_grad.add(forward, a, dy, count);
                convolve(
                    filters,
                    plan,
                    dy,
                    &mut self.da[1 - side],
                    first,
                    count,
                    &mut self.work,
                    None,
                );
                self.norm_sums(i - 1, first, count, 1 - side);
            }
            let block = &self.blocks[i];
            if let Some((forward, _)) = &block.forward {
                self.weight_grad
                    .finish(forward, &mut self.grads[block.ranges.weight.clone()]);
            }
            side = 1 - side;
        }
        self.finish_first(&first_parts);
    }

    /// The last block's maximum: its gradient is one pixel per example and channel.
    fn maximum_backward(&mut self, d: &[f32]) {
        let n = self.n;
        let isa = self.isa;
        let [.., before, last] = &self.blocks[..] else {
            unreachable!("a maximum stands behind a block")
        };
        let shape = before.a.shape;
        let y = last.y.shape;
        let cin = shape.c;
        let cout = y.c;
        // A maximum passes each example's gradient to one pixel, so the bias gets the plain sum.
        for (o, bias) in self.grads[last.ranges.bias.clone()].iter_mut().enumerate() {
            *bias = (0..n).map(|window| d[window * cout + o]).sum();
        }
        // A pixel's offset in the padded output → the corner of its 3×3 patch in the padded input.
        let corner = |offset: u32| {
            let row = offset as usize / y.row();
            let col = offset as usize % y.row() / cout;
            (row - 1) * shape.row() + (col - 1) * cin
        };
        let a = before.a.buf.as_slice();
        let argmax = &self.argmax;
        let grads = &mut self.grads[last.ranges.weight.clone()];
        grads
            .par_chunks_exact_mut(cin * 9)
            .enumerate()
            .for_each(|(o, grad)| {
                with_scratch(9 * cin, |taps| {
                    taps.fill(0.0);
                    for window in 0..n {
                        let at = corner(argmax[window * cout + o]);
                        for (tap, taps) in taps.chunks_exact_mut(cin).enumerate() {
                            let patch =
                                window * shape.len() + at + tap / 3 * shape.row() + tap % 3 * cin;
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
        turned
            .par_chunks_exact_mut(9 * cin)
            .zip(weight.par_chunks_exact(9 * cin))
            .for_each(|(to, from)| {
                for (i, value) in from.iter().enumerate() {
                    to[i % 9 * cin + i / 9] = *value;
                }
            });
        let turned = &*turned;
        let da = &mut self.da[0].as_mut_slice()[..n * shape.len()];
        da.par_chunks_exact_mut(shape.len())
            .with_max_len(1)
            .enumerate()
            .for_each(|(window, da)| {
                da.fill(0.0);
                for (o, filter) in turned.chunks_exact(9 * cin).enumerate() {
                    let at = corner(argmax[window * cout + o]);
                    for (tap, filter) in filter.chunks_exact(cin).enumerate() {
                        let patch = at + tap / 3 * shape.row() + tap % 3 * cin;
                        axpy(
                            isa,
                            d[window * cout + o],
                            filter,
                            &mut da[patch..patch + cin],
                        );
                    }
                }
            });
    }

    /// Sums over all examples that the norm of block `i` needs, from the gradient of the block's
    /// output, which goes through dropout first.
    fn norm_sums(&mut self, i: usize, first: usize, count: usize, side: usize) {
        let block = &self.blocks[i];
        let da = &mut self.da[side];
        if let Some(factor) = block.factor {
            let len = block.a.shape.len();
            let range = first * len..(first + count) * len;
            let a = &block.a.buf.as_slice()[range.clone()];
            // Dropped outputs are zero, and so are those cut by ReLU, which have no gradient
            // either.
            da.as_mut_slice()[range]
                .par_chunks_mut(1 << 14)
                .zip(a.par_chunks(1 << 14))
                .for_each(|(da, a)| {
                    for (da, a) in da.iter_mut().zip(a) {
                        *da = only_if(*a > 0.0, *da * factor);
                    }
                });
        }
        block.pass().sums(
            self.isa,
            da.as_slice(),
            first,
            count,
            self.n,
            &mut self.sums,
        );
    }

    /// Gradients of bias, γ and β from their sums, and what the norm's backward subtracts.
    fn finish_norm_sums(&mut self, i: usize) {
        let TrainBlock {
            ranges, stats, y, ..
        } = &mut self.blocks[i];
        let (s1, s2) = self.sums.totals();
        let count = (self.n * y.shape.h * y.shape.w) as f64;
        let Some([gamma, beta]) = &ranges.norm else {
            for (bias, s1) in self.grads[ranges.bias.clone()].iter_mut().zip(s1) {
                *bias = s1 as f32;
            }
            return;
        };
        for ch in 0..y.shape.c {
            let scale = f64::from(stats.scale[ch]);
            let inv_std = f64::from(stats.inv_std[ch]);
            let xhat = s2[ch] * inv_std;
            self.grads[gamma.start + ch] = xhat as f32;
            self.grads[beta.start + ch] = s1[ch] as f32;
            stats.c0[ch] = (scale * s1[ch] / count) as f32;
            stats.c1[ch] = (scale * inv_std * xhat / count) as f32;
        }
        // Batch norm cancels any constant, so a bias before it has no gradient.
        self.grads[ranges.bias.clone()].fill(0.0);
    }

    /// Adds the parts of the first convolution's gradient, `[9][out]` of each strip of rows; for an
    /// image with a batch norm, of each example as it is normalised and of ones in its place.
    fn first_backward(&self, first: usize, count: usize, parts: &mut Vec<f32>) {
        let isa = self.isa;
        let [h, w] = self.plan.input;
        let block = &self.blocks[0];
        let shape = block.y.shape;
        let dy = self.dys[block.dy].buf.as_slice();
        let padded = (h + 2) * (w + 2);
        // The gradient of the image's shift is that of an image of ones (zeros in the border, which
        // is added after the norm).
        let mut ones = vec![0.0f32; padded];
        for row in ones[w + 2..padded - w - 2].chunks_exact_mut(w + 2) {
            row[1..=w].fill(1.0);
        }
        let (rows, kinds, images) = if self.input.is_some() {
            (h, 2, &self.hat)
        } else {
            (STRIP, 1, &self.image)
        };
        let strips = h.div_ceil(rows);
        let len = 9 * shape.c;
        let start = parts.len();
        parts.resize(start + count * strips * kinds * len, 0.0);
        parts[start..]
            .par_chunks_exact_mut(len)
            .with_max_len(1)
            .enumerate()
            .for_each(|(task, part)| {
                let window = task / kinds / strips;
                let top = task / kinds % strips * rows;
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
        // The parts are f32; their sum over all windows is taken in f64.
        let mut totals = vec![0.0f64; if self.input.is_some() { 18 * c } else { 9 * c }];
        for part in parts.chunks_exact(totals.len()) {
            for (total, value) in totals.iter_mut().zip(part) {
                *total += f64::from(*value);
            }
        }
        let start = self.blocks[0].ranges.weight.start;
        let input = self
            .input
            .as_ref()
            .map(|norm| norm.each_ref().map(|range| range.start));
        let mut dg = 0.0;
        let mut db = 0.0;
        for at in 0..9 * c {
            let turned = at % 9 * c + at / 9;
            let p = totals[turned];
            self.grads[start + at] = if let Some([gamma, beta]) = input {
                let q = totals[9 * c + turned];
                // d/dγ and d/dβ: every weight times the gradient that it would have with x̂, or
                // with ones, as its input.
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
