//! A 3×3 filter bank in the Winograd domain, transformed once.

use rayon::prelude::*;

use super::act::c16;
use super::grad_kernels;
use super::winograd::{self, A, B, POS};
use voisin_kernels::Isa;
use voisin_kernels::buffer::Buffer;

/// A 3×3 filter bank in the Winograd domain with its bias.
#[derive(Debug)]
pub(super) struct WinogradFilters {
    pub(super) isa: Isa,
    /// Input and output channels, rounded up to 16.
    pub(super) k: usize,
    pub(super) n: usize,
    /// Output channels that one pass over a block computes.
    pub(super) group: usize,
    u: Buffer,
    pub(super) bias: Vec<f32>,
}

impl WinogradFilters {
    /// From `[out][in][3][3]` weights and `out` biases.
    pub(super) fn new(isa: Isa, weight: &[f32], bias: &[f32], cin: usize, cout: usize) -> Self {
        let mut filters = Self::empty(isa, c16(cin), c16(cout));
        filters.bias[..cout].copy_from_slice(bias);
        filters.set(weight, cin, cout);
        filters
    }

    /// Filters of zeros, to be set.
    pub(super) fn empty(isa: Isa, k: usize, n: usize) -> Self {
        assert!(
            k.is_multiple_of(16) && n.is_multiple_of(16),
            "channels are multiples of 16"
        );
        Self {
            isa,
            k,
            n,
            group: 64.min(n),
            u: Buffer::zeroed(POS * k * n),
            bias: vec![0.0; n],
        }
    }

    /// Layout of output channel `o` in U, from the first position and input channel: offset, floats
    /// from one position to the next, and from one input channel to the next.
    fn place(&self, o: usize) -> (usize, usize, usize) {
        let depth = self.k;
        let width = winograd::panel_width(self.isa);
        let group = o / self.group;
        let in_group = o % self.group;
        let channels = self.group.min(self.n - group * self.group);
        let panel = in_group / width;
        let panel_width = width.min(channels - panel * width);
        let offset = POS * depth * self.group * group + panel * depth * width + in_group % width;
        (offset, depth * channels, panel_width)
    }

    /// Transforms `weight`, `[out][in][3][3]`, in f64.
    fn set(&mut self, weight: &[f32], cin: usize, cout: usize) {
        let places: Vec<_> = (0..self.n).map(|o| self.place(o)).collect();
        let k = self.k;
        let u = self.u.share();
        places
            .into_par_iter()
            .enumerate()
            .for_each(|(o, (offset, next_position, next_input))| {
                for i in 0..k {
                    let mut g = [0.0f32; 9];
                    if o < cout && i < cin {
                        g.copy_from_slice(&weight[(o * cin + i) * 9..][..9]);
                    }
                    for (position, value) in transform_filter(&g).into_iter().enumerate() {
                        let at = offset + position * next_position + i * next_input;
                        // SAFETY: every output channel has slots of its own in U, and one task.
                        unsafe { u.slice_mut(at..at + 1)[0] = value };
                    }
                }
            });
    }

    /// Transforms weights that change at every training step, in f32 and vectorised;
    /// `index(out, in, tap)` is the index of a tap.
    fn refresh(&mut self, weight: &[f32], index: impl Fn(usize, usize, usize) -> usize + Sync) {
        assert_eq!(
            weight.len(),
            9 * self.k * self.n,
            "nine weights for each pair of channels"
        );
        let k = self.k;
        let cout = self.n;
        let isa = self.isa;
        let next_panel = k * winograd::panel_width(isa);
        let places: Vec<_> = (0..cout).step_by(16).map(|o| self.place(o)).collect();
        let u = self.u.share();
        places.into_par_iter().enumerate().with_max_len(1).for_each(
            |(block, (offset, next_position, next_input))| {
                // 16 outputs lie in one panel, or in 16 / width panels that follow each other.
                let mut taps = [[0.0f32; 16]; 9];
                for i in 0..k {
                    for o in 0..16 {
                        for (tap, taps) in taps.iter_mut().enumerate() {
                            taps[o] = weight[index(block * 16 + o, i, tap)];
                        }
                    }
                    // SAFETY: the 16 outputs' slots of U, which no other task writes.
                    unsafe {
                        let u = u.skip(offset + i * next_input);
                        grad_kernels::filter(isa, &taps, u, next_position, next_panel, next_input);
                    }
                }
            },
        );
    }

    /// Sets `[out][in][3][3]` weights and biases, as [`refresh`](Self::refresh) does.
    pub(super) fn set_forward(&mut self, weight: &[f32], bias: &[f32]) {
        let cin = self.k;
        self.refresh(weight, |o, i, tap| (o * cin + i) * 9 + tap);
        self.bias.copy_from_slice(bias);
    }

    /// Sets the weights of the convolution for the input's gradient: in and out swapped, the kernel
    /// turned by 180°.
    pub(super) fn set_backward(&mut self, weight: &[f32]) {
        let cin = self.n;
        self.refresh(weight, |o, i, tap| (i * cin + o) * 9 + 8 - tap);
    }

    pub(super) fn groups_of_channels(&self) -> usize {
        self.n.div_ceil(self.group)
    }

    /// First channel, number of channels and filters of channel group `b`.
    pub(super) fn channel_group(&self, b: usize) -> (usize, usize, &[f32]) {
        let n = self.group.min(self.n - b * self.group);
        let u = &self.u.as_slice()[POS * self.k * self.group * b..];
        (b * self.group, n, &u[..POS * self.k * n])
    }
}

/// G g Gᵀ in f64, rounded once.
fn transform_filter(g: &[f32; 9]) -> [f32; POS] {
    fn rows(g: [f64; 3]) -> [f64; 6] {
        // Toom-Cook's evaluation at 0, ±a, ±b and ∞ with its factors (Lavin and Gray, 2016).
        let a = f64::from(A);
        let b = f64::from(B);
        let a2 = a * a;
        let b2 = b * b;
        let na = 2.0 * a2 * (a2 - b2);
        let nb = 2.0 * b2 * (b2 - a2);
        let p = g[0] + a2 * g[2];
        let r = g[0] + b2 * g[2];
        let q = a * g[1];
        let s = b * g[1];
        [
            g[0] / (a2 * b2),
            (p + q) / na,
            (p - q) / na,
            (r + s) / nb,
            (r - s) / nb,
            g[2],
        ]
    }
    // G g Gᵀ is separable: columns first, then rows.
    let mut half = [[0.0; 3]; 6];
    for x in 0..3 {
        let column = rows([f64::from(g[x]), f64::from(g[3 + x]), f64::from(g[6 + x])]);
        for y in 0..6 {
            half[y][x] = column[y];
        }
    }
    let mut out = [0.0; POS];
    for y in 0..6 {
        for (x, value) in rows(half[y]).into_iter().enumerate() {
            out[y * 6 + x] = value as f32;
        }
    }
    out
}
