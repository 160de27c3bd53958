//! The backward half of [`OpenL3Train`].

use rayon::prelude::*;

use super::first;
use super::layer::{self, PaddedInput, convolve};
use super::norm_kernels as nk;
use super::train::{OpenL3Train, pool};
use super::train_steps::chunks;

impl OpenL3Train {
    /// Gradients of all parameters from the gradient of the embeddings that the last
    /// [`forward`](Self::forward) returned; read them with [`gradients`](Self::gradients).
    ///
    /// # Panics
    /// If `d_embeddings` has another length than those.
    pub fn backward(&mut self, d_embeddings: &[f32]) {
        assert_eq!(d_embeddings.len(), self.n * self.dimension(), "one gradient per embedding value");
        let n = self.n;
        self.last_backward(d_embeddings);
        self.sums.clear();
        self.norm_sums(6, 0, n, 0);
        let mut first_parts = vec![0.0f32; n * 18 * self.widths[0]];
        let mut resolution = self.dys.len();
        // The gradient of activation i lies in da[side].
        let mut side = 0;
        for i in (0..7).rev() {
            while resolution == self.dys.len() || self.dys[resolution].shape != self.ys[i].shape {
                resolution -= 1;
            }
            self.finish_norm_sums(i);
            self.sums.clear();
            for (first, count) in chunks(i, n) {
                self.norm_backward(i, resolution, first, count, side);
                if i == 0 {
                    self.first_backward(resolution, first, count, &mut first_parts);
                    continue;
                }
                let dy = PaddedInput { buf: &self.dys[resolution].buf, first: 0 };
                let a = PaddedInput { buf: &self.activations[i - 1].buf, first };
                self.weight_grad.add(&self.forward_plans[i - 1], a, dy, count);
                let (filters, plan) = (&self.backward_filters[i - 1], &self.backward_plans[i - 1]);
                let da = &mut self.da[1 - side];
                convolve(filters, plan, dy, da, first, count, &mut self.work, None);
                self.norm_sums(i - 1, first, count, 1 - side);
            }
            if i > 0 {
                let grads = &mut self.grads[self.ranges[i].weight.clone()];
                self.weight_grad.finish(&self.forward_plans[i - 1], grads);
            }
            side = 1 - side;
        }
        self.finish_first(&first_parts);
    }

    /// The last layer: its gradient is one pixel per window and channel.
    fn last_backward(&mut self, d: &[f32]) {
        let (n, isa) = (self.n, self.isa);
        let (shape, y) = (self.activations[6].shape, self.ys[7].shape);
        let (cin, cout) = (shape.c, y.c);
        let ranges = self.ranges[7].clone();
        for (o, bias) in self.grads[ranges.bias.clone()].iter_mut().enumerate() {
            *bias = (0..n).map(|window| d[window * cout + o]).sum();
        }
        // A pixel's offset in the padded output → the corner of its 3×3 patch in the padded input.
        let corner = |offset: u32| {
            let (row, col) = (offset as usize / y.row(), offset as usize % y.row() / cout);
            (row - 1) * shape.row() + (col - 1) * cin
        };
        let a = self.activations[6].buf.as_slice();
        let argmax = &self.argmax;
        self.grads[ranges.weight.clone()].par_chunks_exact_mut(cin * 9).enumerate().for_each(|(o, grad)| {
            layer::with_scratch(9 * cin, |taps| {
                taps.fill(0.0);
                for window in 0..n {
                    let at = corner(argmax[window * cout + o]);
                    for (tap, taps) in taps.chunks_exact_mut(cin).enumerate() {
                        let patch = window * shape.len() + at + tap / 3 * shape.row() + tap % 3 * cin;
                        nk::axpy(isa, d[window * cout + o], &a[patch..patch + cin], taps);
                    }
                }
                for (i, value) in grad.iter_mut().enumerate() {
                    *value = taps[i % 9 * cin + i / 9];
                }
            });
        });
        // Filters as [out][tap][in], then scattered to each maximum's patch.
        self.work.reserve(cout * 9 * cin);
        let weight = &self.params[ranges.weight];
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
                    nk::axpy(isa, d[window * cout + o], filter, &mut da[patch..patch + cin]);
                }
            }
        });
    }

    /// What the batch norm of convolution `i` needs to know of all windows, from the gradient of its
    /// activation.
    fn norm_sums(&mut self, i: usize, first: usize, count: usize, side: usize) {
        let pass = self.stats[i + 1].pass(pool(i), &self.ys[i], self.activations[i].shape);
        pass.sums(self.isa, self.da[side].as_slice(), first, count, self.n, &mut self.sums);
    }

    /// Gradients of a batch norm's parameters, and what its backward subtracts, from its sums.
    fn finish_norm_sums(&mut self, i: usize) {
        let ys = self.ys[i].shape;
        let (s1, s2) = self.sums.totals();
        let count = (self.n * ys.h * ys.w) as f64;
        let (gamma, beta) = self.ranges[i].norm.clone().expect("convolutions 0 to 6 have a batch norm");
        let stats = &mut self.stats[i + 1];
        for ch in 0..ys.c {
            let (scale, inv_std) = (f64::from(stats.scale[ch]), f64::from(stats.inv_std[ch]));
            let xhat = s2[ch] * inv_std;
            self.grads[gamma.start + ch] = xhat as f32;
            self.grads[beta.start + ch] = s1[ch] as f32;
            stats.c0[ch] = (scale * s1[ch] / count) as f32;
            stats.c1[ch] = (scale * inv_std * xhat / count) as f32;
        }
        // Batch norm takes out any constant, so a bias before it has no gradient.
        self.grads[self.ranges[i].bias.clone()].fill(0.0);
    }

    /// From the gradient of activation `i` to that of convolution output `i`, for `count` windows; they
    /// lie at the start of the resolution's `dys`.
    fn norm_backward(&mut self, i: usize, resolution: usize, first: usize, count: usize, side: usize) {
        let pass = self.stats[i + 1].pass(pool(i), &self.ys[i], self.activations[i].shape);
        pass.backward(self.isa, self.da[side].as_slice(), &mut self.dys[resolution].buf, first, count);
    }

    /// Each window's part of the first convolution's gradient: from the normalised input, and from ones.
    fn first_backward(&mut self, resolution: usize, first: usize, count: usize, parts: &mut [f32]) {
        let (isa, (h, w)) = (self.isa, self.input);
        let shape = self.ys[0].shape;
        let c = shape.c;
        let (dy, hat) = (self.dys[resolution].buf.as_slice(), self.hat.as_slice());
        let mut ones = vec![0.0f32; (h + 2) * (w + 2)];
        for row in 1..=h {
            ones[row * (w + 2) + 1..row * (w + 2) + 1 + w].fill(1.0);
        }
        let parts = &mut parts[first * 18 * c..(first + count) * 18 * c];
        parts.par_chunks_exact_mut(9 * c).with_max_len(1).enumerate().for_each(|(task, part)| {
            let (window, of_ones) = (task / 2, task % 2 == 1);
            let image = if of_ones { &ones } else { &hat[(first + window) * (h + 2) * (w + 2)..] };
            for y in 0..h {
                let dy = &dy[window * shape.len() + shape.at(y, 0)..];
                first::first_grad(isa, dy, w, &image[y * (w + 2)..], w + 2, part);
            }
        });
    }

    /// Gradients of the first convolution and of the input's batch norm, from every window's part.
    fn finish_first(&mut self, parts: &[f32]) {
        let c = self.widths[0];
        let mut totals = vec![0.0f64; 18 * c];
        for part in parts.chunks_exact(18 * c) {
            for (total, value) in totals.iter_mut().zip(part) {
                *total += f64::from(*value);
            }
        }
        let (gamma, beta) = (self.input_norm.0.start, self.input_norm.1.start);
        let (g, b) = (f64::from(self.params[gamma]), f64::from(self.params[beta]));
        let (mut dg, mut db) = (0.0, 0.0);
        for o in 0..c {
            for tap in 0..9 {
                let index = self.ranges[0].weight.start + o * 9 + tap;
                let (p, q) = (totals[tap * c + o], totals[(9 + tap) * c + o]);
                self.grads[index] = (g * p + b * q) as f32;
                dg += f64::from(self.params[index]) * p;
                db += f64::from(self.params[index]) * q;
            }
        }
        self.grads[gamma] = dg as f32;
        self.grads[beta] = db as f32;
    }
}
